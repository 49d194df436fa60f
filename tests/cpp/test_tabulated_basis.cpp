#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/basis/radial_basis.hpp"
#include "radial_reference.hpp"

namespace {

using castile::make_radial_basis;
using castile::RadialBasis;
using castile::RadialBasisParameters;
using castile::TabulatedFunctions;
using Quantity = TabulatedFunctions::Quantity;

/// Cubic polynomials with continuous second derivative: random jumps of the third one at the breakpoints.
TabulatedFunctions random_splines(std::vector<double> breakpoints, int n_l, int n_max, unsigned seed) {
  const auto per_power = static_cast<std::size_t>(n_l * n_max);
  const std::size_t n_intervals = breakpoints.size() - 1;
  TabulatedFunctions f;
  f.n_l = n_l;
  f.coefficients = castile::test::random_numbers(n_intervals * 4 * per_power, seed);
  for (std::size_t k = 1; k < n_intervals; ++k) {
    const double h = breakpoints[k] - breakpoints[k - 1];
    for (std::size_t i = 0; i < per_power; ++i) {
      const double* left = &f.coefficients[(k - 1) * 4 * per_power + i];
      double* right = &f.coefficients[k * 4 * per_power + i];
      const double c0 = left[0], c1 = left[per_power], c2 = left[2 * per_power], c3 = left[3 * per_power];
      right[0] = c0 + h * (c1 + h * (c2 + h * c3));
      right[per_power] = c1 + h * (2 * c2 + 3 * h * c3);
      right[2 * per_power] = c2 + 3 * h * c3;
      right[3 * per_power] -= c3;  // so that the curvature does not run away
    }
  }
  f.breakpoints = std::move(breakpoints);
  return f;
}

std::unique_ptr<RadialBasis> make(const TabulatedFunctions& f, double sigma, int n_max, int l_max) {
  return make_radial_basis({"tabulated", 4.0, sigma, n_max, l_max, std::make_shared<const TabulatedFunctions>(f)});
}

std::string message(const std::function<void(TabulatedFunctions&)>& change, double sigma = 0.4) {
  TabulatedFunctions f = random_splines({0.0, 1.0, 2.5, 4.0}, 3, 2, 1);
  change(f);
  try {
    make(f, sigma, 2, 2);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

const std::vector<double> uneven = {0.0, 0.3, 0.35, 1.1, 2.0, 2.6, 3.7};

}  // namespace

TEST_CASE("tabulated functions are their cubic polynomials, for every l or for each, and end with the last one") {
  for (const int n_l : {1, 4}) {
    const TabulatedFunctions f = random_splines(uneven, n_l, 3, 7);
    const auto basis = make(f, 0.0, 3, 3);
    CHECK(basis->support() == 3.7);
    CHECK(basis->breakpoints() == uneven);
    std::vector<double> g(36);
    for (const double x : {0.0, 0.2, 0.3, 0.34, 1.5, 3.6, 3.7}) {
      basis->radial_function(x, &g[0], &g[12], &g[24]);
      std::size_t interval = 0;
      while (interval + 2 < uneven.size() && uneven[interval + 1] <= x) ++interval;
      const double t = x - uneven[interval];
      for (std::size_t k = 0; k < 12; ++k) {
        const auto c = [&](std::size_t power) {
          const std::size_t functions = 3 * static_cast<std::size_t>(n_l);
          return f.coefficients[(interval * 4 + power) * functions + k % functions];
        };
        CHECK(g[k] == doctest::Approx(c(0) + c(1) * t + c(2) * t * t + c(3) * t * t * t).epsilon(1e-13));
        CHECK(g[12 + k] == doctest::Approx(c(1) + 2 * c(2) * t + 3 * c(3) * t * t).epsilon(1e-13));
        CHECK(g[24 + k] == doctest::Approx(2 * c(2) + 6 * c(3) * t).epsilon(1e-13));
      }
    }
    for (const double x : {std::nextafter(3.7, 4.0), 5.0}) {
      basis->radial_function(x, &g[0], &g[12], &g[24]);
      CHECK(castile::test::largest(g) == 0.0);
    }
  }
}

TEST_CASE("expansion integrals are used as they are, for every sigma") {
  TabulatedFunctions f = random_splines(uneven, 4, 3, 8);
  f.quantity = Quantity::expansion_integrals;
  for (const double sigma : {0.0, 0.5}) {
    const auto basis = make(f, sigma, 3, 3);
    CHECK(basis->support() == 3.7);
    CHECK(basis->breakpoints() == uneven);
    std::vector<double> R(36);
    std::vector<double> g(36);
    for (const double x : {0.0, 0.34, 1.5, 3.7, 3.8}) {
      basis->evaluate(x, &R[0], &R[12], &R[24]);
      basis->radial_function(x, &g[0], &g[12], &g[24]);
      CHECK(R == g);
    }
  }
}

TEST_SUITE("extended precision") {
  TEST_CASE("projected functions equal quadrature of the defining integral, also with jumps and fine breakpoints") {
    std::vector<double> fine;
    for (int k = 0; k <= 300; ++k) fine.push_back(3.7 * k / 300);
    for (const auto& breakpoints : {uneven, fine}) {
      TabulatedFunctions f = random_splines(breakpoints, 4, 2, 9);
      if (breakpoints.size() < 10) {
        f.coefficients = castile::test::random_numbers(f.coefficients.size(), 10);  // functions that jump
      }
      const auto basis = make(f, 0.45, 2, 3);
      CHECK(basis->support() == std::numeric_limits<double>::infinity());
      CHECK(basis->breakpoints().empty());
      std::vector<double> found(24);
      for (int l = 0; l <= 3; ++l) {
        const auto primitive = [&](std::size_t k, long double x) {
          std::vector<double> g(24);
          basis->radial_function(static_cast<double>(x), &g[0], &g[8], &g[16]);
          return static_cast<castile::test::Quad>(g[static_cast<std::size_t>(l) * 2 + k]);
        };
        const std::vector<long double> edges(breakpoints.begin(), breakpoints.end());
        const castile::test::RadialReference reference{primitive, {{1, 0}, {0, 1}}, edges};
        for (const double r : {1e-4, 0.3, 1.9, 3.7, 4.5}) {
          basis->evaluate(r, &found[0], &found[8], &found[16]);
          const auto expected = reference.adaptive_integrals(l, static_cast<long double>(r), 0.45L);
          for (std::size_t order = 0; order < 3; ++order) {
            double scale = 0.0;
            for (const long double value : expected[order])
              scale = std::max(scale, static_cast<double>(std::abs(value)));
            for (std::size_t n = 0; n < 2; ++n) {
              const double value = found[order * 8 + static_cast<std::size_t>(l) * 2 + n];
              CHECK(std::abs(value - static_cast<double>(expected[order][n])) < 1e-12 * scale);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("tabulated functions that make no sense are refused, and the message says what is wrong") {
  const auto says = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(message([](auto&) {}) == "");
  const std::vector<std::vector<double>> wrong = {
      {}, {0.0}, {0.1, 1.0, 2.0, 3.0}, {0.0, 2.0, 1.0, 3.0}, {0.0, 1.0, 1.0, 3.0}, {0.0, 1.0, 2.0, INFINITY}};
  for (const auto& breakpoints : wrong) {
    CHECK(says(message([&](auto& f) { f.breakpoints = breakpoints; }), "breakpoints must"));
  }
  CHECK(says(message([](auto& f) { f.n_l = 2; }), "each of the 3 l up to l_max, got 2"));
  CHECK(says(message([](auto& f) { f.coefficients.pop_back(); }), "shape (3, 4, 3, 2)"));
  CHECK(says(message([](auto& f) { f.coefficients[5] = NAN; }), "coefficients must be finite"));
  CHECK(says(message([](auto& f) { std::fill(f.coefficients.begin(), f.coefficients.end(), 0.0); }), "all be zero"));
  CHECK_THROWS_WITH_AS(make_radial_basis({"tabulated", 5.0, 0.4, 2, 2}),
                       doctest::Contains("give breakpoints and coefficients"), std::invalid_argument);
}

TEST_CASE("a jump or a kink is refused where no Gaussian smooths it, and named") {
  // Interval 1, power 0 and 1, l = 2, n = 1.
  for (const std::size_t power : {std::size_t{0}, std::size_t{1}}) {
    const auto spoil = [power](TabulatedFunctions& f) { f.coefficients[(4 + power) * 6 + 5] += 1e-3; };
    const auto as_integrals = [&](TabulatedFunctions& f) {
      spoil(f);
      f.quantity = Quantity::expansion_integrals;
    };
    const std::string expected = "n = 1, l = 2 has a jump or a kink at 1 Å";
    CHECK(message(spoil, 0.4) == "");
    CHECK(message(spoil, 0.0).find(expected) != std::string::npos);
    CHECK(message(as_integrals, 0.4).find(expected) != std::string::npos);
  }
  const auto bend = [](TabulatedFunctions& f) { f.coefficients[(2 * 4 + 2) * 6 + 5] += 1e-3; };
  CHECK(message(bend, 0.0) == "");
}
