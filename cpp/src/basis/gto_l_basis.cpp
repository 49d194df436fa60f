#include "castile/basis/gto_l_basis.hpp"

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace castile {
namespace {

constexpr double smallest_extent = 1.0;  // Å
constexpr double pi = 3.14159265358979323846;

void check(const RadialBasisParameters& p) {
  require_n_max_at_most(GtoLBasis::largest_n_max, p);
  if (!(p.cutoff > smallest_extent)) {
    std::ostringstream message;
    message << "cutoff must be above 1 Å for radial_basis 'gto_l', whose narrowest function ends there, got "
            << p.cutoff << "; use 'gto'";
    throw std::invalid_argument(message.str());
  }
}

/// α_kl of all k for one l. The a_k are rounded to double, as a list of numbers from 1 to the cutoff is elsewhere.
std::vector<GaussianPrimitive> primitives(const RadialBasisParameters& p, int l) {
  std::vector<GaussianPrimitive> result;
  const double spacing = p.n_max > 1 ? (p.cutoff - smallest_extent) / (p.n_max - 1) : 0.0;
  for (int k = 0; k < p.n_max; ++k) {
    const bool last = k > 0 && k == p.n_max - 1;
    const Extended extent = last ? p.cutoff : smallest_extent + k * spacing;
    result.push_back({l, (log(1000) + log(extent) * l) / (extent * extent)});
  }
  return result;
}

/// Primitives and coefficients of R_nl from those of g_nl.
GaussianFunctions integrals(std::vector<GaussianPrimitive> primitives, std::vector<Extended> coefficients, int l,
                            double sigma) {
  const std::size_t n = primitives.size();
  const Extended eta = Extended(0.5) / (Extended(sigma) * sigma);
  const Extended root_of_pi = sqrt(extended_pi);
  for (std::size_t k = 0; k < n; ++k) {
    Extended& alpha = primitives[k].exponent;
    const Extended sum = alpha + eta;
    // The power of a quotient: those of its parts overflow for narrow Gaussians.
    const Extended factor = power(root_of_pi, 3) * power(eta / sum, l) / (sum * sqrt(sum));
    for (std::size_t f = 0; f < n; ++f) coefficients[f * n + k] = coefficients[f * n + k] * factor;
    alpha = alpha * eta / sum;
  }
  return {std::move(primitives), std::move(coefficients)};
}

void evaluate_every_l(const std::vector<GaussianFunctions>& functions, double x, double* values, double* first,
                      double* second) {
  for (const GaussianFunctions& of_l : functions) {
    of_l.evaluate(x, values, first, second);
    values += of_l.size();
    first += of_l.size();
    second += of_l.size();
  }
}

}  // namespace

GtoLBasis::GtoLBasis(const RadialBasisParameters& p) : RadialBasis(p) {
  check(p);
  for (int l = 0; l <= p.l_max; ++l) {
    const auto phi = primitives(p, l);
    const auto beta = checked_inverse_root(overlap_matrix(phi), p);
    radial_functions_.emplace_back(phi, beta);
    if (p.sigma > 0.0) integrals_.push_back(integrals(phi, beta, l, p.sigma));
  }
}

void GtoLBasis::evaluate(double r, double* values, double* first, double* second) const {
  evaluate_every_l(parameters().sigma > 0.0 ? integrals_ : radial_functions_, r, values, first, second);
}

void GtoLBasis::radial_function(double x, double* values, double* first, double* second) const {
  evaluate_every_l(radial_functions_, x, values, first, second);
}

double GtoLBasis::length_scale() const {
  return std::max(parameters().sigma, parameters().cutoff / (pi * parameters().n_max));
}

}  // namespace castile
