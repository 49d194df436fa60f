#pragma once

#include <optional>
#include <vector>

#include "castile/basis/radial_basis.hpp"
#include "castile/basis/radial_projection.hpp"

namespace castile {

/// A basis known by its functions g_nl on [0, extent], whose integrals are made by quadrature.
class ProjectedBasis : public RadialBasis {
 public:
  void evaluate(double r, double* values, double* first, double* second) const final;
  double support() const override;

 protected:
  using RadialBasis::RadialBasis;

  /// For the end of the constructor: reads radial_function() between `edges`, which ascend from 0 to the extent and
  /// between which it is smooth. For delta densities the functions serve as they are.
  void project(const std::vector<double>& edges);
  /// Instead of it: R_nl is radial_function() itself, for every sigma.
  void use_directly(double extent) { extent_ = extent; }
  bool is_projected() const { return projection_.has_value(); }

 private:
  double extent_ = 0.0;
  std::optional<RadialProjection> projection_;
};

}  // namespace castile
