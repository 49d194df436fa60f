#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "castile/math/quadrature.hpp"

TEST_CASE("n nodes of Gauss and Legendre integrate polynomials up to degree 2n - 1, and no further") {
  for (const int n : {1, 2, 3, 8, 24, 33}) {
    const auto rule = castile::gauss_legendre(n);
    const auto integral = [&](int power) {
      double sum = 0.0;
      for (std::size_t k = 0; k < rule.nodes.size(); ++k) sum += rule.weights[k] * std::pow(rule.nodes[k], power);
      return sum;
    };
    for (int power = 0; power <= 2 * n - 1; ++power) {
      CHECK(std::abs(integral(power) - (power % 2 == 0 ? 2.0 / (power + 1) : 0.0)) < 1e-14);
    }
    if (n <= 8) CHECK(std::abs(integral(2 * n) - 2.0 / (2 * n + 1)) > 1e-6);
    for (std::size_t k = 1; k < rule.nodes.size(); ++k) CHECK(rule.nodes[k] > rule.nodes[k - 1]);
  }
}

TEST_CASE("Legendre polynomials are orthogonal and one at one") {
  const auto rule = castile::gauss_legendre(16);
  std::vector<double> P(12);
  std::vector<double> overlap(144, 0.0);
  for (std::size_t q = 0; q < rule.nodes.size(); ++q) {
    castile::legendre_polynomials(12, rule.nodes[q], P.data());
    for (std::size_t k = 0; k < 144; ++k) overlap[k] += rule.weights[q] * P[k / 12] * P[k % 12];
  }
  for (std::size_t k = 0; k < 144; ++k) {
    const double expected = k / 12 == k % 12 ? 2.0 / (2.0 * static_cast<double>(k % 12) + 1.0) : 0.0;
    CHECK(std::abs(overlap[k] - expected) < 1e-14);
  }
  castile::legendre_polynomials(12, 1.0, P.data());
  for (const double value : P) CHECK(value == 1.0);
}
