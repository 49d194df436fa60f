#include "castile/basis/polynomial_basis.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "castile/math/orthonormalization.hpp"

namespace castile {
namespace {

// Exponents of the weight t^below (1 - t)^above that x² and the two factors t³ leave.
constexpr int below = 6;
constexpr int above = 2;

Extended factorial(int n) { return gamma_of_half(2 * n + 2); }

/// ∫ P_m² t^below (1 - t)^above dt of the Jacobi polynomials on [0, 1] (NIST DLMF 18.3.1).
Extended norm_squared(int m) {
  return factorial(m + above) * factorial(m + below) /
         (factorial(m) * factorial(m + above + below) * (2 * m + above + below + 1));
}

/// L of φ_k = Σ_m L_km u_m: ∫ t^j P_m t^below (1 - t)^above dt = binomial(j, m) B(j + below + 1, m + above + 1) by the
/// formula of Rodrigues, times cutoff^{k+7/2}, with j = k - 1.
std::vector<Extended> expansion_in_orthonormal(int n, double cutoff) {
  const auto size = static_cast<std::size_t>(n);
  std::vector<Extended> L(size * size);
  Extended scale = power(cutoff, 4) * sqrt(cutoff);
  for (int j = 0; j < n; ++j, scale = scale * cutoff) {
    for (int m = 0; m <= j; ++m) {
      const Extended binomial = factorial(j) / (factorial(m) * factorial(j - m));
      const Extended beta = factorial(j + below) * factorial(m + above) / factorial(j + below + m + above + 1);
      L[static_cast<std::size_t>(j) * size + static_cast<std::size_t>(m)] =
          scale * binomial * beta / sqrt(norm_squared(m));
    }
  }
  return L;
}

}  // namespace

PolynomialBasis::PolynomialBasis(const RadialBasisParameters& p) : ProjectedBasis(p) {
  require_n_max_at_most(largest_n_max, p);
  for (const Extended& entry : orthogonal_polar_factor(expansion_in_orthonormal(p.n_max, p.cutoff), p.n_max)) {
    transform_.push_back(entry.high);
  }
  for (int m = 0; m < p.n_max; ++m) {
    // NIST DLMF 18.9.2, from [-1, 1] to [0, 1].
    const double s = 2.0 * m + above + below;
    recurrence_a_.push_back(0.5 + 0.5 * (below * below - above * above) / (s * (s + 2.0)));
    recurrence_b_.push_back(
        m == 0 ? 0.0 : std::sqrt(m * (m + above) * (m + below) * (m + above + below) / (s - 1.0) / (s + 1.0)) / s);
  }
  lowest_ = 1.0 / std::sqrt(norm_squared(0).high);
  project({0.0, p.cutoff});
}

void PolynomialBasis::radial_function(double x, double* values, double* first, double* second) const {
  const RadialBasisParameters& p = parameters();
  const auto n_max = static_cast<std::size_t>(p.n_max);
  const std::size_t size = n_max * (static_cast<std::size_t>(p.l_max) + 1);
  for (double* functions : {values, first, second}) std::fill_n(functions, size, 0.0);
  if (x > p.cutoff) return;
  const double t = 1.0 - x / p.cutoff;
  const double scale = std::pow(p.cutoff, -1.5);
  // π_m and two derivatives by t, starting from π_{-1} = 0.
  std::array<double, 3> previous{};
  std::array<double, 3> current{lowest_, 0.0, 0.0};
  for (std::size_t m = 0; m < n_max; ++m) {
    const double u = scale * t * t * t * current[0];
    const double du = scale * t * t * (3.0 * current[0] + t * current[1]);
    const double d2u = scale * t * (6.0 * current[0] + 6.0 * t * current[1] + t * t * current[2]);
    for (std::size_t n = 0; n < n_max; ++n) {
      const double q = transform_[n * n_max + m];
      values[n] += q * u;
      first[n] -= q * du / p.cutoff;
      second[n] += q * d2u / (p.cutoff * p.cutoff);
    }
    if (m + 1 == n_max) break;
    const double a = recurrence_a_[m];
    const double b = recurrence_b_[m];
    const double next_b = recurrence_b_[m + 1];
    const std::array<double, 3> next = {
        ((t - a) * current[0] - b * previous[0]) / next_b,
        ((t - a) * current[1] + current[0] - b * previous[1]) / next_b,
        ((t - a) * current[2] + 2.0 * current[1] - b * previous[2]) / next_b,
    };
    previous = current;
    current = next;
  }
  for (double* functions : {values, first, second}) {
    for (std::size_t l = 1; l <= static_cast<std::size_t>(p.l_max); ++l) {
      std::copy_n(functions, n_max, functions + l * n_max);
    }
  }
}

double PolynomialBasis::length_scale() const {
  return std::max(parameters().sigma, parameters().cutoff / (4.0 * parameters().n_max));
}

}  // namespace castile
