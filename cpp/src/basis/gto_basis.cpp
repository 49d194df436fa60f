#include "castile/basis/gto_basis.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace castile {
namespace {

constexpr double pi = 3.14159265358979323846;

std::vector<GaussianPrimitive> primitives(const RadialBasisParameters& p) {
  require_n_max_at_most(GtoBasis::largest_n_max, p);
  const Extended unit = Extended(p.cutoff) / p.n_max;
  std::vector<GaussianPrimitive> result;
  for (int n = 0; n < p.n_max; ++n) result.push_back({n, Extended(0.5) / (unit * unit * std::max(n, 1))});
  return result;
}

/// Symmetric inverse root of the normalized overlap, times the norms of the primitives.
std::vector<Extended> orthonormalizer(const std::vector<GaussianPrimitive>& primitives,
                                      const RadialBasisParameters& p) {
  const std::size_t size = primitives.size();
  auto S = overlap_matrix(primitives);
  std::vector<Extended> norms;
  for (std::size_t n = 0; n < size; ++n) norms.push_back(Extended(1) / sqrt(S[n * size + n]));
  for (std::size_t k = 0; k < size * size; ++k) S[k] = S[k] * norms[k / size] * norms[k % size];
  auto root = checked_inverse_root(S, p);
  for (std::size_t k = 0; k < size * size; ++k) root[k] = root[k] * norms[k % size];
  return root;
}

GaussianFunctions orthonormal_functions(const RadialBasisParameters& p) {
  const auto phi = primitives(p);
  return {phi, orthonormalizer(phi, p)};
}

}  // namespace

GtoBasis::GtoBasis(const RadialBasisParameters& p) : ProjectedBasis(p), functions_(orthonormal_functions(p)) {
  project({0.0, functions_.extent()});
}

void GtoBasis::radial_function(double x, double* values, double* first, double* second) const {
  functions_.evaluate(x, values, first, second);
  const auto n_max = static_cast<std::ptrdiff_t>(parameters().n_max);
  for (double* functions : {values, first, second}) {
    for (std::ptrdiff_t l = 1; l <= parameters().l_max; ++l) std::copy_n(functions, n_max, functions + l * n_max);
  }
}

double GtoBasis::length_scale() const {
  return std::max(parameters().sigma, parameters().cutoff / (pi * parameters().n_max));
}

}  // namespace castile
