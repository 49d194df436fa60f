#pragma once

#include <vector>

#include "castile/basis/projected_basis.hpp"

namespace castile {

/// Polynomials φ_k(x) = (cutoff - x)^{k+2} on [0, cutoff], k = 1..n_max, made orthonormal with the symmetric inverse
/// root of their overlap as it stands (not normalized): DScribe's `polynomial`.
///
/// Himanen et al., Computer Physics Communications 247, 106949 (2020), doi:10.1016/j.cpc.2019.106949; Bartók, Kondor,
/// Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.
///
/// The overlap's condition number is 1e33 at n_max = 16 and 5 Å. It is never formed: with t = 1 - x/cutoff, φ = L u of
/// the orthonormal u_m = cutoff^{-3/2} t³ π_m(t), where π_m are the Jacobi polynomials of the weight t⁶ (1 - t)² and L
/// is known in closed form, so that g = Q u with the orthogonal factor Q of L.
class PolynomialBasis final : public ProjectedBasis {
 public:
  static constexpr int largest_n_max = 16;

  explicit PolynomialBasis(const RadialBasisParameters& parameters);

  void radial_function(double x, double* values, double* first, double* second) const override;
  double length_scale() const override;

 private:
  std::vector<double> transform_;  ///< Q, (n_max, n_max)
  /// t π_m = a_m π_m + b_m π_{m-1} + b_{m+1} π_{m+1}
  std::vector<double> recurrence_a_, recurrence_b_;
  double lowest_;  ///< π_0
};

}  // namespace castile
