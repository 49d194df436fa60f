#include "castile/basis/contracted_basis.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace castile {

RadialBasisParameters primitive_parameters(const RadialBasisParameters& p) {
  const RadialContraction& contraction = *p.contraction;
  if (contraction.n_primitives < 1) {
    throw std::invalid_argument("contraction must have 1 or more primitive functions, got " +
                                std::to_string(contraction.n_primitives));
  }
  const auto expected = static_cast<std::size_t>(p.l_max + 1) * static_cast<std::size_t>(p.n_max) *
                        static_cast<std::size_t>(contraction.n_primitives);
  const auto& coefficients = contraction.coefficients;
  if (coefficients.size() != expected) {
    std::ostringstream message;
    message << "contraction must have the shape (l_max + 1, n_max, n_primitives) = (" << p.l_max + 1 << ", " << p.n_max
            << ", " << contraction.n_primitives << "), which is " << expected << " numbers, got "
            << coefficients.size();
    throw std::invalid_argument(message.str());
  }
  if (!std::all_of(coefficients.begin(), coefficients.end(), [](double c) { return std::isfinite(c); }) ||
      std::all_of(coefficients.begin(), coefficients.end(), [](double c) { return c == 0.0; })) {
    throw std::invalid_argument("contraction must hold finite numbers that are not all zero");
  }
  RadialBasisParameters primitive = p;
  primitive.n_max = contraction.n_primitives;
  primitive.contraction = nullptr;
  return primitive;
}

ContractedBasis::ContractedBasis(const RadialBasisParameters& parameters, std::unique_ptr<RadialBasis> primitives)
    : RadialBasis(parameters), primitives_(std::move(primitives)) {}

void ContractedBasis::evaluate(double r, double* values, double* first, double* second) const {
  const std::size_t size = parameters().contraction->coefficients.size() / static_cast<std::size_t>(parameters().n_max);
  std::vector<double> primitives(3 * size);
  primitives_->evaluate(r, &primitives[0], &primitives[size], &primitives[2 * size]);
  combine(primitives, values, first, second);
}

void ContractedBasis::radial_function(double x, double* values, double* first, double* second) const {
  const std::size_t size = parameters().contraction->coefficients.size() / static_cast<std::size_t>(parameters().n_max);
  std::vector<double> primitives(3 * size);
  primitives_->radial_function(x, &primitives[0], &primitives[size], &primitives[2 * size]);
  combine(primitives, values, first, second);
}

void ContractedBasis::combine(const std::vector<double>& primitives, double* values, double* first,
                              double* second) const {
  const auto n_max = static_cast<std::size_t>(parameters().n_max);
  const auto n_l = static_cast<std::size_t>(parameters().l_max) + 1;
  const auto n_primitives = static_cast<std::size_t>(parameters().contraction->n_primitives);
  double* const out[3] = {values, first, second};
  for (std::size_t order = 0; order < 3; ++order) {
    const double* row = parameters().contraction->coefficients.data();
    for (std::size_t k = 0; k < n_l * n_max; ++k, row += n_primitives) {
      const double* functions = &primitives[(order * n_l + k / n_max) * n_primitives];
      double sum = 0.0;
      for (std::size_t j = 0; j < n_primitives; ++j) sum += row[j] * functions[j];
      out[order][k] = sum;
    }
  }
}

}  // namespace castile
