#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "castile/math/extended.hpp"

namespace {

using castile::Extended;

/// |a - b| relative to b, which may be below the digits of double.
double difference(Extended a, Extended b) { return std::abs((a - b).high) / std::abs(b.high); }

constexpr double precision = 8 * castile::extended_epsilon;

}  // namespace

TEST_CASE("sums and products keep what double loses") {
  const Extended tiny = 1e-25;
  CHECK(((Extended(1) + tiny) - 1.0).high == 1e-25);
  CHECK(((Extended(1) - tiny) - 1.0).high == -1e-25);
  // (1 + d)(1 - d) = 1 - d² with d² = 2^-80.
  const double d = 0x1p-40;
  CHECK((Extended(1.0 + d) * Extended(1.0 - d) - 1.0).high == -0x1p-80);
  CHECK(difference(Extended(1) / 3 * 3.0, 1) < precision);
  CHECK(difference(Extended(7) / (Extended(7) / 11), 11) < precision);
  CHECK((Extended(2) < Extended(2) + tiny));
  CHECK_FALSE((Extended(2) + tiny < Extended(2)));
  CHECK(abs(Extended(-2) - tiny).low == 1e-25);
  CHECK(difference(power(Extended(1) / 3, -5), 243) < precision);
  CHECK(power(Extended(7), 0).high == 1.0);
}

TEST_CASE("constants have their 32 digits") {
  // e and ln 10 as sums of two doubles.
  CHECK(difference(exp(Extended(1)), {2.718281828459045091e+00, 1.445646891729250158e-16}) < precision);
  CHECK(difference(log(Extended(10)), {2.302585092994045901e+00, -2.170756223382249351e-16}) < precision);
  // Machin: π = 16 arctan(1/5) - 4 arctan(1/239).
  const auto arctangent_of_inverse = [](int x) {
    Extended sum = 0;
    Extended term = Extended(1) / x;
    for (int k = 0; k < 30; ++k) {
      sum = sum + (k % 2 == 0 ? term : -term) / (2 * k + 1);
      term = term / (x * x);
    }
    return sum;
  };
  CHECK(difference(arctangent_of_inverse(5) * 16.0 - arctangent_of_inverse(239) * 4.0, castile::extended_pi) <
        precision);
}

TEST_CASE("root, exponential and logarithm undo each other and keep their functional equations") {
  for (const double x : {1e-10, 0.3, 0.5, 2.0, 77.7, 650.0}) {
    CHECK(difference(sqrt(Extended(x)) * sqrt(Extended(x)), x) < precision);
    CHECK(difference(exp(Extended(-x)) * exp(Extended(x)), 1) < 700 * precision);
    CHECK(difference(log(exp(Extended(x))), x) < precision * std::max(1.0, 1.0 / x));
    CHECK(difference(exp(Extended(x) / 2) * exp(Extended(x) / 2), exp(Extended(x))) < 700 * precision);
  }
  CHECK(sqrt(Extended(0)).high == 0.0);
  CHECK(exp(Extended(-1000)).high == 0.0);
  CHECK(exp(Extended(0)).high == 1.0);
}

TEST_CASE("the gamma function of halves is factorials and their interpolation") {
  CHECK(castile::gamma_of_half(2).high == 1.0);
  CHECK(castile::gamma_of_half(12).high == 120.0);
  CHECK(difference(castile::gamma_of_half(1) * castile::gamma_of_half(1), castile::extended_pi) < precision);
  // Γ(z) Γ(z + 1/2) = 2^{1-2z} √π Γ(2z).
  for (int k = 1; k < 40; ++k) {
    const Extended left = castile::gamma_of_half(k) * castile::gamma_of_half(k + 1);
    const Extended right = power(Extended(2), 1 - k) * castile::gamma_of_half(1) * castile::gamma_of_half(2 * k);
    CHECK(difference(left, right) < 60 * precision);
  }
}

TEST_CASE("a sum of products loses none of the digits between large terms") {
  const std::vector<Extended> a{1e16, 1.0, -1e16};
  const std::vector<Extended> b{1e10, 1e-6, 1e10};
  CHECK(std::abs(dot(a.data(), b.data(), 3).high - 1e-6) < 1e-5);
  CHECK(dot(a.data(), b.data(), 0).high == 0.0);
}
