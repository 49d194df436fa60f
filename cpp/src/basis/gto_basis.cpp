#include "castile/basis/gto_basis.hpp"

#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "castile/math/special_functions.hpp"

namespace castile {
namespace {

using Matrix = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
constexpr long double pi = 3.14159265358979323846264338327950288L;

long double primitive_width(int n, const RadialBasisParameters& p) {
  return static_cast<long double>(p.cutoff) * std::max(std::sqrt(static_cast<long double>(n)), 1.0L) /
         static_cast<long double>(p.n_max);
}

/// ∫ x² φ_n φ_m dx over [0, ∞).
long double overlap(int n, int m, const RadialBasisParameters& p) {
  const long double width_n = primitive_width(n, p);
  const long double width_m = primitive_width(m, p);
  const long double exponent = 0.5L * (1.0L / (width_n * width_n) + 1.0L / (width_m * width_m));
  const long double half_power = 0.5L * static_cast<long double>(n + m + 3);
  return 0.5L * std::tgamma(half_power) * std::pow(exponent, -half_power);
}

/// Symmetric inverse root of the normalised overlap, times the norms of the primitives.
Matrix orthonormalizer(const RadialBasisParameters& p) {
  Matrix normalized(p.n_max, p.n_max);
  Matrix norms = Matrix::Zero(p.n_max, p.n_max);
  for (int n = 0; n < p.n_max; ++n) norms(n, n) = 1.0L / std::sqrt(overlap(n, n, p));
  for (int n = 0; n < p.n_max; ++n) {
    for (int m = 0; m < p.n_max; ++m) normalized(n, m) = overlap(n, m, p) * norms(n, n) * norms(m, m);
  }
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(normalized);
  return solver.operatorInverseSqrt() * norms;
}

}  // namespace

GtoBasis::GtoBasis(const RadialBasisParameters& p) : RadialBasis(p) {
  if (p.n_max > largest_n_max) {
    throw std::invalid_argument("n_max must be at most " + std::to_string(largest_n_max) +
                                " for radial_basis 'gto', whose functions become linearly dependent, got " +
                                std::to_string(p.n_max));
  }
  const auto sigma = static_cast<long double>(p.sigma);
  for (int l = 0; l <= p.l_max; ++l) {
    for (int n = 0; n < p.n_max; ++n) {
      const long double width = primitive_width(n, p);
      const long double exponent = 0.5L * (1.0L / (sigma * sigma) + 1.0L / (width * width));
      Primitive primitive;
      primitive.a = 0.5L * static_cast<long double>(n + l + 3);
      primitive.b = static_cast<long double>(l) + 1.5L;
      primitive.prefactor = std::pow(pi, 1.5L) * std::tgamma(primitive.a) / std::tgamma(primitive.b) *
                            std::pow(exponent, -primitive.a) *
                            std::pow(0.5L / (sigma * sigma), static_cast<long double>(l));
      primitive.beta = 0.5L / (sigma * sigma + width * width);
      primitive.gamma = 0.25L / (exponent * sigma * sigma * sigma * sigma);
      primitives_.push_back(primitive);
    }
  }
  const Matrix transform = orthonormalizer(p);
  orthonormalizer_.resize(static_cast<std::size_t>(p.n_max * p.n_max));
  Eigen::Map<Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(orthonormalizer_.data(),
                                                                                          p.n_max, p.n_max) = transform;
}

void GtoBasis::Primitive::evaluate(int l, long double r, long double* derivatives) const {
  const long double z = gamma * r * r;
  // d/dz [exp(-z) 1F1(a; b; z)] = (a-b)/b exp(-z) 1F1(a; b+1; z): no cancellation.
  const long double g = scaled_kummer(a, b, z);
  const long double dg = (a - b) / b * scaled_kummer(a, b + 1.0L, z);
  const long double d2g = (a - b) / b * (a - b - 1.0L) / (b + 1.0L) * scaled_kummer(a, b + 2.0L, z);
  // E(s) = exp(-β s) G(γ s) as a function of s = r², then r^l E(r²).
  const long double envelope = prefactor * std::exp(-beta * r * r);
  const long double e0 = envelope * g;
  const long double e1 = envelope * (gamma * dg - beta * g);
  const long double e2 = envelope * (gamma * gamma * d2g - 2.0L * beta * gamma * dg + beta * beta * g);
  const auto power = [r](int exponent) {
    return exponent < 0 ? 0.0L : std::pow(r, static_cast<long double>(exponent));
  };
  const auto degree = static_cast<long double>(l);
  derivatives[0] = power(l) * e0;
  derivatives[1] = degree * power(l - 1) * e0 + 2.0L * power(l + 1) * e1;
  derivatives[2] =
      degree * (degree - 1.0L) * power(l - 2) * e0 + (4.0L * degree + 2.0L) * power(l) * e1 + 4.0L * power(l + 2) * e2;
}

void GtoBasis::evaluate(double r, double* values, double* first, double* second) const {
  const int n_max = parameters().n_max;
  const auto size = static_cast<std::size_t>(n_max);
  std::vector<long double> primitive(3 * size);
  for (int l = 0; l <= parameters().l_max; ++l) {
    const auto row = static_cast<std::size_t>(l) * size;
    for (std::size_t k = 0; k < size; ++k) {
      primitives_[row + k].evaluate(l, static_cast<long double>(r), &primitive[3 * k]);
    }
    for (std::size_t n = 0; n < size; ++n) {
      long double sums[3] = {0.0L, 0.0L, 0.0L};
      for (std::size_t k = 0; k < size; ++k) {
        for (std::size_t order = 0; order < 3; ++order) {
          sums[order] += orthonormalizer_[n * size + k] * primitive[3 * k + order];
        }
      }
      values[row + n] = static_cast<double>(sums[0]);
      first[row + n] = static_cast<double>(sums[1]);
      second[row + n] = static_cast<double>(sums[2]);
    }
  }
}

}  // namespace castile
