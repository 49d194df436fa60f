#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "castile/math/special_functions.hpp"

namespace {

constexpr long double pi = 3.14159265358979323846264338327950288L;
const std::vector<long double> arguments = {0.0L,  1e-12L, 1e-6L,  1e-3L,  0.1L,   0.5L,   1.0L,   2.0L,    5.0L,
                                            17.0L, 60.0L,  200.0L, 500.0L, 599.9L, 600.0L, 600.1L, 1000.0L, 2000.0L};

/// The series of exp(-z) 1F1(a; b; z), summed outwards from its largest term, which the gamma function gives.
long double series_from_largest_term(long double a, long double b, long double z) {
  if (z == 0.0L) return 1.0L;
  const long double start = std::floor(z);
  const long double largest = std::exp(std::lgamma(a + start) - std::lgamma(a) - std::lgamma(b + start) +
                                       std::lgamma(b) + start * std::log(z) - std::lgamma(start + 1.0L) - z);
  long double sum = largest;
  long double term = largest;
  for (long double s = start; term > 1e-22L * sum; s += 1.0L) sum += term *= (a + s) / (b + s) * z / (s + 1.0L);
  term = largest;
  for (long double s = start; s > 0.0L; s -= 1.0L) sum += term *= (b + s - 1.0L) / (a + s - 1.0L) * s / z;
  return sum;
}

double relative_error(long double value, long double expected) {
  return static_cast<double>(std::abs(value / expected - 1.0L));
}

}  // namespace

TEST_SUITE("extended precision") {
  TEST_CASE("the scaled Kummer function is one at z = 0 and for a = b") {
    for (const long double a : {0.5L, 1.5L, 4.0L, 17.5L}) {
      CHECK(castile::scaled_kummer(a, 3.5L, 0.0L) == 1.0L);
      for (const long double z : arguments) CHECK(castile::scaled_kummer(a, a, z) == 1.0L);
    }
  }

  TEST_CASE("the scaled Kummer function has its closed forms") {
    for (const long double z : arguments) {
      if (z == 0.0L) continue;
      CAPTURE(static_cast<double>(z));
      // 1F1(1; 2; z) = (exp(z) - 1)/z and exp(-z) 1F1(1; 3/2; z) = √π erf(√z)/(2√z).
      CHECK(relative_error(castile::scaled_kummer(1.0L, 2.0L, z), -std::expm1(-z) / z) < 1e-14);
      const long double root = std::sqrt(z);
      CHECK(relative_error(castile::scaled_kummer(1.0L, 1.5L, z), 0.5L * std::sqrt(pi) * std::erf(root) / root) <
            1e-14);
    }
  }

  TEST_CASE("the scaled Kummer function is a polynomial where a - b is a whole number") {
    for (const long double b : {1.5L, 4.5L, 9.5L, 16.5L}) {
      for (int n = 1; n <= 7; ++n) {
        for (const long double z : arguments) {
          // Kummer's transformation: exp(-z) 1F1(b + n; b; z) = 1F1(-n; b; -z), whose terms are positive.
          long double term = 1.0L;
          long double sum = 1.0L;
          for (int k = 0; k < n; ++k) {
            const auto s = static_cast<long double>(k);
            sum += term *= (static_cast<long double>(n) - s) / (b + s) * z / (s + 1.0L);
          }
          CHECK(relative_error(castile::scaled_kummer(b + static_cast<long double>(n), b, z), sum) < 1e-14);
        }
      }
    }
  }

  TEST_CASE("series and asymptotic expansion agree with a sum from the largest term, on both sides of 600") {
    double worst = 0.0;
    for (int k = 0; k < 16; ++k) {
      for (int l = 0; l <= 30; l += 3) {
        const long double a = 0.5L * static_cast<long double>(k + l + 3);
        const long double b = static_cast<long double>(l) + 1.5L;
        for (const long double z : arguments) {
          for (const long double shift : {0.0L, 1.0L, 2.0L}) {  // b + 1 and b + 2 are in the derivatives
            const long double expected = series_from_largest_term(a, b + shift, z);
            worst = std::max(worst, relative_error(castile::scaled_kummer(a, b + shift, z), expected));
          }
        }
      }
    }
    CHECK(worst < 1e-14);
  }

  TEST_CASE("the derivative of the scaled Kummer function is the one that the bases use") {
    const long double h = 1e-4L;
    for (const long double z : {0.5L, 10.0L, 300.0L, 900.0L}) {
      const auto f = [](long double x) { return castile::scaled_kummer(6.0L, 3.5L, x); };
      const long double numeric = (8.0L * (f(z + h) - f(z - h)) - (f(z + 2 * h) - f(z - 2 * h))) / (12.0L * h);
      CHECK(relative_error(2.5L / 3.5L * castile::scaled_kummer(6.0L, 4.5L, z), numeric) < 1e-12);
    }
  }
}
