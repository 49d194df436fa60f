#pragma once

#include <memory>
#include <vector>

#include "castile/basis/radial_basis.hpp"

namespace castile {

/// Linear combinations of another basis' functions, `RadialBasisParameters::contraction`: few functions for the cost of
/// few, whatever the number of primitives, since only the table is longer to fill.
///
/// Goscinski, Musil, Pozdnyakov, Nigam, Ceriotti, J. Chem. Phys. 155, 104106 (2021), doi:10.1063/5.0057229.
class ContractedBasis final : public RadialBasis {
 public:
  /// `primitives` has the contraction's number of functions.
  ContractedBasis(const RadialBasisParameters& parameters, std::unique_ptr<RadialBasis> primitives);

  void evaluate(double r, double* values, double* first, double* second) const override;
  void radial_function(double x, double* values, double* first, double* second) const override;
  double support() const override { return primitives_->support(); }
  std::vector<double> breakpoints() const override { return primitives_->breakpoints(); }
  double length_scale() const override { return primitives_->length_scale(); }

 private:
  /// Combines value and derivatives of the primitives, (3, l_max + 1, n_primitives).
  void combine(const std::vector<double>& primitives, double* values, double* first, double* second) const;

  std::unique_ptr<RadialBasis> primitives_;
};

/// The parameters of the primitive functions of a contraction, which is checked first; throws std::invalid_argument.
RadialBasisParameters primitive_parameters(const RadialBasisParameters& parameters);

}  // namespace castile
