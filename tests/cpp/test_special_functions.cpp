#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "castile/math/special_functions.hpp"
#include "radial_reference.hpp"

namespace {

constexpr int l_max = 32;

std::vector<double> bessel(double x, int highest = l_max) {
  std::vector<double> values(static_cast<std::size_t>(highest) + 1);
  castile::spherical_bessel(highest, x, values.data());
  return values;
}

std::vector<double> modified(double y, int highest = l_max) {
  std::vector<double> values(static_cast<std::size_t>(highest) + 1);
  castile::scaled_modified_spherical_bessel(highest, y, values.data());
  return values;
}

}  // namespace

TEST_SUITE("extended precision") {
  TEST_CASE("the scaled modified spherical Bessel functions equal their series, for any highest l") {
    for (const int highest : {0, 1, 2, 8, 14, 32}) {
      for (const double y : {1e-300, 1e-6, 1e-3, 0.1, 0.9, 1.0, 1.1, 3.0, 10.0, 31.9, 32.1, 60.0, 100.0, 300.0, 511.0,
                             513.0, 1000.0, 5000.0}) {
        CAPTURE(highest);
        CAPTURE(y);
        const auto values = modified(y, highest);
        for (int l = 0; l <= highest; ++l) {
          const auto expected = static_cast<double>(castile::test::bessel_series(l, static_cast<long double>(y)));
          CHECK(std::abs(values[static_cast<std::size_t>(l)] - expected) <= 1e-14 * expected);
        }
      }
    }
  }
}

TEST_CASE("the scaled modified spherical Bessel functions at zero are those of a constant") {
  const auto values = modified(0.0);
  CHECK(values[0] == 1.0);
  for (std::size_t l = 1; l < values.size(); ++l) CHECK(values[l] == 0.0);
}

TEST_CASE("spherical Bessel functions have their closed forms at l = 0, 1 and 2") {
  for (const double x : {0.5, 1.0, 1.5, 2.5, 7.0, 31.0, 33.0, 250.0}) {
    const auto j = bessel(x);
    const double sine = std::sin(x) / x;
    CHECK(std::abs(j[0] - sine) < 1e-15);
    CHECK(std::abs(j[1] - (sine / x - std::cos(x) / x)) < 5e-15);
    CHECK(std::abs(j[2] - ((3.0 / (x * x) - 1.0) * sine - 3.0 * std::cos(x) / (x * x))) < 5e-14);
  }
}

TEST_CASE("spherical Bessel functions satisfy the addition theorem and start as x^l/(2l+1)!!") {
  // Σ (2l+1) j_l² = 1, of all l.
  for (const double x : {0.0, 1e-9, 0.01, 0.99, 1.0, 5.3, 12.0, 20.9}) {
    const auto j = bessel(x, 60);
    double sum = 0.0;
    for (std::size_t l = 0; l < j.size(); ++l) sum += (2.0 * static_cast<double>(l) + 1.0) * j[l] * j[l];
    CHECK(std::abs(sum - 1.0) < 1e-13);
  }
  for (const double x : {1e-5, 1e-3}) {
    const auto j = bessel(x, 8);
    double leading = 1.0;
    for (std::size_t l = 0; l < j.size(); ++l) {
      if (l > 0) leading *= x / (2.0 * static_cast<double>(l) + 1.0);
      const double next = 1.0 - 0.5 * x * x / (2.0 * static_cast<double>(l) + 3.0);
      CHECK(std::abs(j[l] - leading * next) < 1e-13 * leading);
    }
  }
}

TEST_CASE("zeros of spherical Bessel functions are the printed ones, and none is left out") {
  const int n = 20;
  const auto zeros = castile::spherical_bessel_zeros(30, n);
  REQUIRE(zeros.size() == 31 * n);
  // Abramowitz and Stegun, table 10.6.
  CHECK(std::abs(zeros[0] - 3.141593) < 1e-6);
  CHECK(std::abs(zeros[n] - 4.493409) < 1e-6);
  CHECK(std::abs(zeros[n + 1] - 7.725252) < 1e-6);
  CHECK(std::abs(zeros[2 * n] - 5.763459) < 1e-6);
  CHECK(std::abs(zeros[3 * n] - 6.987932) < 1e-6);
  for (int l = 0; l <= 30; ++l) {
    for (int k = 0; k < n; ++k) {
      const double z = zeros[static_cast<std::size_t>(l * n + k)];
      const auto j = bessel(z, l + 1);
      // One rounding of z beside an exact zero.
      CHECK(std::abs(j[static_cast<std::size_t>(l)]) < 4e-16 * z * std::abs(j[static_cast<std::size_t>(l) + 1]));
      const double before = k == 0 ? 0.5 * l : zeros[static_cast<std::size_t>(l * n + k - 1)];
      // Consecutive zeros are less than a half wave of the lowest kind apart, and the function has one sign between.
      int changes = 0;
      double last = 0.0;
      for (int step = 1; step < 40; ++step) {
        const double value = bessel(before + (z - before) * step / 40.0, l)[static_cast<std::size_t>(l)];
        changes += last * value < 0.0 ? 1 : 0;
        last = value;
      }
      CHECK(changes == 0);
    }
  }
}
