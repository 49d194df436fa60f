#pragma once

#include <vector>

#include "castile/basis/radial_basis.hpp"

namespace castile {

/// Gaussian type orbitals φ_n(x) = x^n exp(-x²/2σ_n²), σ_n = cutoff max(√n, 1)/n_max, n = 0..n_max-1, made
/// orthonormal on [0, ∞) with the symmetric inverse root of their overlap.
///
/// The integrals are closed: see Musil et al., J. Chem. Phys. 154, 114109 (2021), doi:10.1063/5.0044689.
/// The overlap's condition number grows to 6e10 at n_max = 16, hence long double, and no more than 16.
class GtoBasis final : public RadialBasis {
 public:
  static constexpr int largest_n_max = 16;

  explicit GtoBasis(const RadialBasisParameters& parameters);

  void evaluate(double r, double* values, double* first, double* second) const override;

 private:
  /// The integral of one primitive: K r^l exp(-β r²) G(γ r²), G = exp(-z) 1F1(a; b; z).
  struct Primitive {
    long double a, b, prefactor, beta, gamma;
    void evaluate(int l, long double r, long double* derivatives) const;
  };

  std::vector<Primitive> primitives_;         ///< (l_max + 1, n_max)
  std::vector<long double> orthonormalizer_;  ///< (n_max, n_max), norms of the primitives included
};

}  // namespace castile
