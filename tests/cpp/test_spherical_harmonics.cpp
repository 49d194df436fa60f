#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <complex>
#include <cstddef>
#include <limits>
#include <vector>

#include "castile/math/spherical_harmonics.hpp"
#include "kernel_levels.hpp"
#include "support.hpp"

namespace {

using castile::lm_index;
using castile::n_lm;
using castile::test::GaussLegendre;
using castile::test::kernel_levels;
using castile::test::random_directions;
using castile::test::reference_harmonics;
using Direction = std::array<double, 3>;

/// Random directions, the poles, and others where something could be divided by zero.
std::vector<Direction> directions() {
  std::vector<Direction> result = {{0, 0, 1},  {0, 0, -1},    {1, 0, 0},     {-1, 0, 0},   {0, 1, 0},
                                   {0, -1, 0}, {0.6, 0.8, 0}, {0.6, 0, 0.8}, {0, 1e-9, 1}, {-1e-200, 0, -1}};
  for (const Direction& u : random_directions(22, 1)) result.push_back(u);
  return result;
}

/// Directions in blocks of lanes, as the kernels take them.
template <typename T>
struct Blocks {
  std::vector<T> x, y, z, inverse_distance;

  Blocks(const std::vector<Direction>& units, double distance) {
    const auto W = static_cast<std::size_t>(castile::simd::lanes<T>);
    const std::size_t size = (units.size() + W - 1) / W * W;
    x.assign(size, T(0));
    y.assign(size, T(0));
    z.assign(size, T(1));
    inverse_distance.assign(size, static_cast<T>(1.0 / distance));
    for (std::size_t k = 0; k < units.size(); ++k) {
      x[k] = static_cast<T>(units[k][0]);
      y[k] = static_cast<T>(units[k][1]);
      z[k] = static_cast<T>(units[k][2]);
    }
  }

  castile::simd::NeighborBlocks<T> view() const {
    castile::simd::NeighborBlocks<T> blocks{};
    blocks.n_blocks = static_cast<std::int64_t>(x.size()) / castile::simd::lanes<T>;
    blocks.x = x.data();
    blocks.y = y.data();
    blocks.z = z.data();
    blocks.inverse_distance = inverse_distance.data();
    return blocks;
  }
};

/// Where harmonic lm of direction k is in the kernels' output, with `rows` rows per block.
template <typename T>
std::size_t entry(std::size_t k, int rows, int row) {
  const auto W = static_cast<std::size_t>(castile::simd::lanes<T>);
  return (k / W * static_cast<std::size_t>(rows) + static_cast<std::size_t>(row)) * W + k % W;
}

/// Largest deviation of the kernels' harmonics, made orthonormal, from the reference.
template <typename T>
double value_error(const castile::simd::Kernels<T>& kernels, int l_max) {
  const auto units = directions();
  const Blocks<T> blocks(units, 1.0);
  const auto factors = castile::monic_to_orthonormal(l_max);
  std::vector<T> Y(blocks.x.size() * factors.size());
  kernels.harmonics(l_max, blocks.view(), Y.data());
  double error = 0.0;
  for (std::size_t k = 0; k < units.size(); ++k) {
    const auto expected = reference_harmonics<long double>(l_max, units[k][0], units[k][1], units[k][2]);
    for (int lm = 0; lm < n_lm(l_max); ++lm) {
      const auto index = static_cast<std::size_t>(lm);
      const double value = factors[index] * static_cast<double>(Y[entry<T>(k, n_lm(l_max), lm)]);
      error = std::max(error, std::abs(value - static_cast<double>(expected[index])));
    }
  }
  return error;
}

/// Largest deviation of the kernels' gradients from those by imaginary steps, relative to l/r.
template <typename T>
double gradient_error(const castile::simd::Kernels<T>& kernels, int l_max) {
  using Complex = std::complex<long double>;
  const double distance = 1.7;
  const long double step = 1e-40L;
  const auto units = directions();
  const Blocks<T> blocks(units, distance);
  const auto factors = castile::monic_to_orthonormal(l_max);
  std::vector<T> dY(3 * blocks.x.size() * factors.size());
  kernels.harmonics_gradients(l_max, blocks.view(), dY.data());
  double error = 0.0;
  for (std::size_t k = 0; k < units.size(); ++k) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      std::array<Complex, 3> D;
      for (std::size_t a = 0; a < 3; ++a) {
        D[a] = Complex(static_cast<long double>(units[k][a]) * distance, a == axis ? step : 0.0L);
      }
      const auto expected = reference_harmonics<Complex>(l_max, D[0], D[1], D[2]);
      for (int l = 0; l <= l_max; ++l) {
        for (int m = -l; m <= l; ++m) {
          const auto lm = static_cast<std::size_t>(lm_index(l, m));
          const int row = static_cast<int>(axis) * n_lm(l_max) + lm_index(l, m);
          const double value = factors[lm] * static_cast<double>(dY[entry<T>(k, 3 * n_lm(l_max), row)]);
          const double difference = value - static_cast<double>(expected[lm].imag() / step);
          error = std::max(error, std::abs(difference) * distance / std::max(l, 1));
        }
      }
    }
  }
  return error;
}

}  // namespace

TEST_CASE("l = 1 is y, z, x, and indices count l² + l + m") {
  CHECK(n_lm(0) == 1);
  CHECK(n_lm(30) == 961);
  CHECK(lm_index(0, 0) == 0);
  CHECK(lm_index(3, -3) == 9);
  CHECK(lm_index(3, 3) == 15);
  const double c = std::sqrt(3.0 / (4.0 * 3.14159265358979323846));
  const auto Y = reference_harmonics<long double>(1, 0.36L, 0.48L, 0.8L);
  CHECK(std::abs(static_cast<double>(Y[1]) - c * 0.48) < 1e-15);
  CHECK(std::abs(static_cast<double>(Y[2]) - c * 0.8) < 1e-15);
  CHECK(std::abs(static_cast<double>(Y[3]) - c * 0.36) < 1e-15);
}

TEST_CASE("harmonics equal the Legendre recurrence in extended precision up to the highest degree") {
  for (const auto& level : kernel_levels<double>()) {
    CAPTURE(level.name);
    for (const int l_max : {0, 1, 2, 3, 6, 12, 13, 20, castile::largest_l_max}) {
      CAPTURE(l_max);
      CHECK(value_error(*level.kernels, l_max) < 1e-13);
    }
  }
}

TEST_CASE("gradients of harmonics equal imaginary steps up to the highest degree") {
  for (const auto& level : kernel_levels<double>()) {
    CAPTURE(level.name);
    for (const int l_max : {0, 1, 2, 3, 6, 12, 13, castile::largest_l_max}) {
      CAPTURE(l_max);
      CHECK(gradient_error(*level.kernels, l_max) < 1e-13);
    }
  }
}

TEST_CASE("float harmonics and their gradients keep float precision") {
  const double epsilon = std::numeric_limits<float>::epsilon();
  for (const auto& level : kernel_levels<float>()) {
    CAPTURE(level.name);
    for (const int l_max : {0, 1, 4, 9, 12}) {
      CAPTURE(l_max);
      CHECK(value_error(*level.kernels, l_max) < 100 * epsilon);
      CHECK(gradient_error(*level.kernels, l_max) < 100 * epsilon);
    }
  }
}

TEST_CASE("harmonics are orthonormal on a product grid") {
  const int l_max = 10;
  const GaussLegendre polar(l_max + 1);
  const int n_azimuth = 2 * l_max + 2;
  const auto size = static_cast<std::size_t>(n_lm(l_max));
  const auto factors = castile::monic_to_orthonormal(l_max);
  std::vector<Direction> units;
  std::vector<double> weights;
  for (std::size_t k = 0; k < polar.nodes.size(); ++k) {
    const double z = static_cast<double>(polar.nodes[k]);
    for (int a = 0; a < n_azimuth; ++a) {
      const double phi = 2.0 * 3.14159265358979323846 * (a + 0.3) / n_azimuth;
      units.push_back({std::sqrt(1 - z * z) * std::cos(phi), std::sqrt(1 - z * z) * std::sin(phi), z});
      weights.push_back(static_cast<double>(polar.weights[k]) * 2.0 * 3.14159265358979323846 / n_azimuth);
    }
  }
  const Blocks<double> blocks(units, 1.0);
  std::vector<double> Y(blocks.x.size() * size);
  castile::simd::kernels<double>().harmonics(l_max, blocks.view(), Y.data());
  double error = 0.0;
  for (int p = 0; p < n_lm(l_max); ++p) {
    for (int q = p; q < n_lm(l_max); ++q) {
      double overlap = 0.0;
      for (std::size_t k = 0; k < units.size(); ++k) {
        overlap += weights[k] * Y[entry<double>(k, n_lm(l_max), p)] * Y[entry<double>(k, n_lm(l_max), q)];
      }
      overlap *= factors[static_cast<std::size_t>(p)] * factors[static_cast<std::size_t>(q)];
      error = std::max(error, std::abs(overlap - (p == q ? 1.0 : 0.0)));
    }
  }
  CHECK(error < 1e-13);
}
