#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>

#include "castile/geometry/lattice.hpp"

namespace {

using Cell = std::array<double, 9>;
using Vector = std::array<double, 3>;

constexpr std::array<bool, 3> periodic{true, true, true};

double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/// The basis vector in Cartesian coordinates.
Vector vector(const castile::ReducedLattice& lattice, std::size_t k) {
  Vector sum{};
  for (std::size_t m = 0; m < 3; ++m) {
    for (std::size_t x = 0; x < 3; ++x) sum[x] += lattice.basis[k][m] * lattice.axes[m][x];
  }
  return sum;
}

void check_consistent(const castile::ReducedLattice& lattice, const Cell& cell) {
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(lattice.basis[k][k] > 0.0);
    for (std::size_t m = 0; m < 3; ++m) {
      CHECK(dot(lattice.axes[k], lattice.axes[m]) == doctest::Approx(k == m ? 1.0 : 0.0).epsilon(1e-14));
      if (m > k) CHECK(lattice.basis[k][m] == 0.0);
    }
  }
  for (std::size_t k = 0; k < static_cast<std::size_t>(lattice.n_periodic); ++k) {
    for (std::size_t x = 0; x < 3; ++x) {
      double sum = 0.0;
      double scale = 1.0;
      for (std::size_t m = 0; m < 3; ++m) {
        const double term = static_cast<double>(lattice.transformation[k][m]) * cell[3 * m + x];
        sum += term;
        scale += std::abs(term);
      }
      CHECK(std::abs(vector(lattice, k)[x] - sum) < 1e-14 * scale);
    }
  }
}

/// Minkowski: no vector gets shorter by adding the others.
void check_reduced(const castile::ReducedLattice& lattice) {
  const int n = lattice.n_periodic;
  for (int a = -2; a <= 2; ++a) {
    for (int b = -2; b <= 2; ++b) {
      for (int k = 1; k < n; ++k) {
        Vector sum = vector(lattice, static_cast<std::size_t>(k));
        const double length2 = dot(sum, sum);
        const Vector first = vector(lattice, 0);
        const Vector second = vector(lattice, k == 2 ? 1 : 0);
        for (std::size_t x = 0; x < 3; ++x) sum[x] += a * first[x] + (k == 2 ? b : 0) * second[x];
        CHECK(dot(sum, sum) >= length2 * (1.0 - 1e-9));
      }
    }
  }
}

std::int64_t determinant(const castile::ReducedLattice& lattice) {
  const auto& t = lattice.transformation;
  return t[0][0] * (t[1][1] * t[2][2] - t[1][2] * t[2][1]) - t[0][1] * (t[1][0] * t[2][2] - t[1][2] * t[2][0]) +
         t[0][2] * (t[1][0] * t[2][1] - t[1][1] * t[2][0]);
}

}  // namespace

TEST_CASE("skewed cells are reduced to their shortest vectors") {
  const Cell cell{1.0, 0.0, 0.0, 100.3, 1.0, 0.0, 0.0, 0.0, 4.0};
  const auto lattice = castile::reduce_lattice(cell, periodic);
  check_consistent(lattice, cell);
  check_reduced(lattice);
  CHECK(lattice.basis[0][0] == doctest::Approx(1.0));
  CHECK(lattice.basis[1][0] == doctest::Approx(0.3));
  CHECK(lattice.basis[1][1] == doctest::Approx(1.0));
  CHECK(lattice.basis[2][2] == doctest::Approx(4.0));
}

TEST_CASE("random cells are reduced by a unimodular transformation") {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int> step(-30, 30);
  for (int repeat = 0; repeat < 300; ++repeat) {
    Cell cell;
    for (double& value : cell) value = normal(random);
    for (std::size_t x = 0; x < 3; ++x) cell[3 + x] += step(random) * cell[x];
    for (std::size_t x = 0; x < 3; ++x) cell[6 + x] += step(random) * cell[x] + step(random) * cell[3 + x];
    const auto lattice = castile::reduce_lattice(cell, periodic);
    check_consistent(lattice, cell);
    check_reduced(lattice);
    CHECK(std::abs(determinant(lattice)) == 1);
  }
}

TEST_CASE("axes that are not periodic are completed by unit vectors") {
  for (int mask = 0; mask < 8; ++mask) {
    const std::array<bool, 3> pbc{(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0};
    Cell cell{1.0, 2.0, 0.5, -0.3, 1.0, 7.0, 1.0, 1.0, 1.0};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      for (std::size_t x = 0; x < 3 && !pbc[axis]; ++x) cell[3 * axis + x] = 0.0;
    }
    const auto lattice = castile::reduce_lattice(cell, pbc);
    CHECK(lattice.n_periodic == pbc[0] + pbc[1] + pbc[2]);
    check_consistent(lattice, cell);
    check_reduced(lattice);
    for (auto k = static_cast<std::size_t>(lattice.n_periodic); k < 3; ++k) {
      CHECK(lattice.transformation[k] == std::array<std::int64_t, 3>{});
      CHECK(lattice.basis[k][k] == 1.0);
    }
    for (std::size_t axis = 0; axis < 3; ++axis) {
      for (std::size_t k = 0; k < 3 && !pbc[axis]; ++k) CHECK(lattice.transformation[k][axis] == 0);
    }
  }
}

TEST_CASE("cells as skewed as doubles allow still terminate") {
  const Cell cell{1.0, 0.0, 0.0, 1e8 + 0.25, 1.0, 0.0, 3e7 + 0.5, 2e7 + 0.5, 1.0};
  const auto lattice = castile::reduce_lattice(cell, {true, true, false});
  CHECK(lattice.basis[1][1] == doctest::Approx(1.0));
  CHECK(lattice.basis[1][0] == doctest::Approx(0.25));
}

TEST_CASE("bad cells are refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_AS(castile::reduce_lattice(Cell{1, 0, 0, 0, 0, 0, 0, 0, 1}, periodic),
                       doctest::Contains("pbc is True along axis 1, but the cell has no vector there"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(castile::reduce_lattice(Cell{1, 0, 0, 0, 1, 0, 1, 1, 0}, periodic),
                       doctest::Contains("span no volume"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(castile::reduce_lattice(Cell{1, 2, 3, 2, 4, 6, 0, 0, 0}, {true, true, false}),
                       doctest::Contains("span no volume"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(castile::reduce_lattice(Cell{nan, 0, 0, 0, 1, 0, 0, 0, 1}, periodic),
                       doctest::Contains("cell vector 0 must be finite"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(castile::reduce_lattice(Cell{1e-3, 0, 0, 2e6, 1e-3, 0, 0, 0, 1}, periodic),
                       doctest::Contains("too skewed"), std::invalid_argument);
}
