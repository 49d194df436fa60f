#pragma once

#include <vector>

#include "castile/basis/gaussian_functions.hpp"
#include "castile/basis/radial_basis.hpp"

namespace castile {

/// Gaussian type orbitals that depend on l: φ_kl(x) = x^l exp(-α_kl x²), α_kl = (ln 1000 + l ln a_k)/a_k², so that
/// φ_kl(a_k) = 1/1000, with a_k spaced evenly from 1 Å to the cutoff. For each l, S^{-1/2} of the overlap of the
/// primitives as they stand (not normalized) makes them orthonormal on [0, ∞).
///
/// Himanen et al., Computer Physics Communications 247, 106949 (2020), doi:10.1016/j.cpc.2019.106949 (DScribe's `gto`;
/// the numbers depend on the unit of length).
///
/// The integrals are of the same form: Σ_k β_nk π^{3/2} η^l (α+η)^{-l-3/2} r^l exp(-αη r²/(α+η)), η = 1/2σ².
class GtoLBasis final : public RadialBasis {
 public:
  static constexpr int largest_n_max = 16;

  explicit GtoLBasis(const RadialBasisParameters& parameters);

  void evaluate(double r, double* values, double* first, double* second) const override;
  void radial_function(double x, double* values, double* first, double* second) const override;
  double length_scale() const override;

 private:
  std::vector<GaussianFunctions> radial_functions_;  ///< g_nl, (l_max + 1)
  std::vector<GaussianFunctions> integrals_;         ///< R_nl, (l_max + 1)
};

}  // namespace castile
