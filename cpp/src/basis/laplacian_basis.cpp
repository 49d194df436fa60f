#include "castile/basis/laplacian_basis.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "castile/math/special_functions.hpp"

namespace castile {
namespace {

struct Derivatives {
  double value, first, second;
};

/// j_l by j_l' = (l/x) j_l - j_{l+1}, twice; no terms cancel at small x.
Derivatives bessel_derivatives(int l, double x, std::vector<double>& j) {
  if (x < 1e-100) {
    const double second = l == 0 ? -1.0 / 3.0 : l == 2 ? 2.0 / 15.0 : 0.0;
    return {l == 0 ? 1.0 : 0.0, l == 1 ? 1.0 / 3.0 : 0.0, second};
  }
  spherical_bessel(l + 2, x, j.data());
  const double* at = &j[static_cast<std::size_t>(l)];
  return {at[0], l / x * at[0] - at[1], l * (l - 1) / (x * x) * at[0] - (2 * l + 1) / x * at[1] + at[2]};
}

}  // namespace

LaplacianBasis::LaplacianBasis(const RadialBasisParameters& p) : ProjectedBasis(p) {
  require_n_max_at_most(largest_n_max, p);
  const std::vector<double> zeros = spherical_bessel_zeros(p.l_max, p.n_max);
  std::vector<double> j(static_cast<std::size_t>(p.l_max) + 2);
  for (std::size_t k = 0; k < zeros.size(); ++k) {
    const int l = static_cast<int>(k) / p.n_max;
    spherical_bessel(l + 1, zeros[k], j.data());
    norms_.push_back(std::sqrt(2.0 / (p.cutoff * p.cutoff * p.cutoff)) / std::abs(j[static_cast<std::size_t>(l) + 1]));
    wave_numbers_.push_back(zeros[k] / p.cutoff);
  }
  project({0.0, p.cutoff});
}

void LaplacianBasis::radial_function(double x, double* values, double* first, double* second) const {
  const bool inside = x <= parameters().cutoff;
  std::vector<double> j(static_cast<std::size_t>(parameters().l_max) + 3);
  for (std::size_t k = 0; k < wave_numbers_.size(); ++k) {
    const double wave_number = wave_numbers_[k];
    const int l = static_cast<int>(k) / parameters().n_max;
    const Derivatives f = inside ? bessel_derivatives(l, wave_number * x, j) : Derivatives{};
    values[k] = norms_[k] * f.value;
    first[k] = norms_[k] * wave_number * f.first;
    second[k] = norms_[k] * wave_number * wave_number * f.second;
  }
}

double LaplacianBasis::length_scale() const { return std::max(parameters().sigma, 1.0 / wave_numbers_.back()); }

}  // namespace castile
