#include "castile/basis/gaussian_functions.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace castile {
namespace {

constexpr double largest_defect = 1e-12;
constexpr double negligible = -52.0;  // ln 1e-17, and the coefficients of nearly dependent functions reach 1e5

/// φ and two derivatives.
void evaluate_primitive(const GaussianPrimitive& primitive, Extended x, Extended* value, Extended* first,
                        Extended* second) {
  const int p = primitive.power;
  const Extended s = primitive.exponent * x * x;
  const Extended envelope = exp(-s);
  const auto term = [&](int exponent, Extended factor) {
    return exponent < 0 ? Extended(0) : factor * power(x, exponent) * envelope;
  };
  // At powers 0 and 1 the lowest terms have the factor zero, which the division by x must not spoil.
  const Extended slope = primitive.exponent * 2.0;
  *value = term(p, 1);
  *first = term(p - 1, p) - term(p + 1, slope);
  *second = term(p - 2, p * (p - 1)) - term(p, slope * (2 * p + 1)) + term(p + 2, slope * slope);
}

}  // namespace

std::vector<Extended> overlap_matrix(const std::vector<GaussianPrimitive>& primitives) {
  std::vector<Extended> S;
  S.reserve(primitives.size() * primitives.size());
  for (const auto& a : primitives) {
    for (const auto& b : primitives) {
      const Extended exponent = a.exponent + b.exponent;
      const int twice = a.power + b.power + 3;
      const Extended root = twice % 2 == 0 ? Extended(1) : sqrt(exponent);
      S.push_back(gamma_of_half(twice) * 0.5 / (power(exponent, twice / 2) * root));
    }
  }
  return S;
}

std::vector<Extended> checked_inverse_root(const std::vector<Extended>& S, const RadialBasisParameters& p) {
  InverseRoot root = symmetric_inverse_root(S, p.n_max);
  if (!(root.defect <= largest_defect)) {
    std::ostringstream message;
    message << "n_max = " << p.n_max << " functions of radial_basis '" << p.name
            << "' are linearly dependent at a cutoff"
            << " of " << p.cutoff << " Å; use a smaller n_max or a larger cutoff";
    throw std::invalid_argument(message.str());
  }
  return std::move(root.matrix);
}

GaussianFunctions::GaussianFunctions(std::vector<GaussianPrimitive> primitives, std::vector<Extended> coefficients)
    : primitives_(std::move(primitives)), coefficients_(std::move(coefficients)) {}

double GaussianFunctions::extent() const {
  double extent = 0.0;
  for (const GaussianPrimitive& primitive : primitives_) {
    const double width = 1.0 / std::sqrt(2.0 * primitive.exponent.high);
    const auto log_value = [&](double x) { return primitive.power * std::log(x) - primitive.exponent.high * x * x; };
    double x = width * std::sqrt(std::max(primitive.power, 1));
    const double end = log_value(x) + negligible;
    while (log_value(x) > end) x += 0.1 * width;
    extent = std::max(extent, x);
  }
  return extent;
}

void GaussianFunctions::evaluate(double x, double* values, double* first, double* second) const {
  const std::size_t n = primitives_.size();
  std::vector<Extended> phi(3 * n);
  for (std::size_t k = 0; k < n; ++k) {
    evaluate_primitive(primitives_[k], x, &phi[k], &phi[n + k], &phi[2 * n + k]);
  }
  for (std::size_t f = 0; f < n; ++f) {
    const Extended* row = &coefficients_[f * n];
    values[f] = dot(row, &phi[0], n).high;
    first[f] = dot(row, &phi[n], n).high;
    second[f] = dot(row, &phi[2 * n], n).high;
  }
}

}  // namespace castile
