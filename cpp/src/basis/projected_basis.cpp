#include "castile/basis/projected_basis.hpp"

#include <algorithm>
#include <cstddef>

namespace castile {

void ProjectedBasis::project(const std::vector<double>& edges) {
  const RadialBasisParameters& p = parameters();
  use_directly(edges.back());
  if (p.sigma == 0.0) return;
  std::vector<double> derivatives(2 * static_cast<std::size_t>(p.n_max * (p.l_max + 1)));
  double* first = derivatives.data();
  double* second = first + derivatives.size() / 2;
  const auto values_alone = [this, first, second](double x, double* values) {
    radial_function(x, values, first, second);
  };
  projection_.emplace(values_alone, p.l_max, p.n_max, p.sigma, edges);
}

void ProjectedBasis::evaluate(double r, double* values, double* first, double* second) const {
  if (projection_) {
    projection_->evaluate(r, values, first, second);
  } else {
    radial_function(r, values, first, second);
  }
}

double ProjectedBasis::support() const { return projection_ ? RadialBasis::support() : extent_; }

}  // namespace castile
