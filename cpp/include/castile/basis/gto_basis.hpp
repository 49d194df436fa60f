#pragma once

#include "castile/basis/gaussian_functions.hpp"
#include "castile/basis/projected_basis.hpp"

namespace castile {

/// Gaussian type orbitals φ_n(x) = x^n exp(-x²/2σ_n²), σ_n = cutoff max(√n, 1)/n_max, n = 0..n_max-1, made
/// orthonormal on [0, ∞) with the symmetric inverse root of their overlap.
///
/// See Musil et al., J. Chem. Phys. 154, 114109 (2021), doi:10.1063/5.0044689. The integrals are confluent
/// hypergeometric functions; the quadrature of other bases costs less and keeps more digits.
class GtoBasis final : public ProjectedBasis {
 public:
  static constexpr int largest_n_max = 16;

  explicit GtoBasis(const RadialBasisParameters& parameters);

  void radial_function(double x, double* values, double* first, double* second) const override;
  double support() const override { return RadialBasis::support(); }
  double length_scale() const override;

 private:
  GaussianFunctions functions_;
};

}  // namespace castile
