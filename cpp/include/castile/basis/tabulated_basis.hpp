#pragma once

#include <vector>

#include "castile/basis/projected_basis.hpp"

namespace castile {

/// The user's own functions, `RadialBasisParameters::tabulated`. They are taken as they are, orthonormal or not.
///
/// What goes into the table without projection (expansion integrals, or a delta density) must have a continuous value
/// and first derivative, because forces need it.
class TabulatedBasis final : public ProjectedBasis {
 public:
  explicit TabulatedBasis(const RadialBasisParameters& parameters);

  void radial_function(double x, double* values, double* first, double* second) const override;
  std::vector<double> breakpoints() const override;
  double length_scale() const override;

 private:
  const TabulatedFunctions& functions() const { return *parameters().tabulated; }
  void require_continuity() const;
};

}  // namespace castile
