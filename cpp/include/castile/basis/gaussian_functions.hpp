#pragma once

#include <cstddef>
#include <vector>

#include "castile/basis/radial_basis.hpp"
#include "castile/math/extended.hpp"
#include "castile/math/orthonormalization.hpp"

namespace castile {

/// x^power exp(-exponent x²).
struct GaussianPrimitive {
  int power;
  Extended exponent;  ///< 1/Å²
};

/// ∫ x² φ_k φ_m dx over [0, ∞), (n, n) of n primitives.
std::vector<Extended> overlap_matrix(const std::vector<GaussianPrimitive>& primitives);

/// S^{-1/2} with the check that its defect is below 1e-12: otherwise the primitives are linearly dependent to all
/// digits, and an std::invalid_argument names n_max.
std::vector<Extended> checked_inverse_root(const std::vector<Extended>& S, const RadialBasisParameters& parameters);

/// Functions f_n(x) = Σ_k C_nk φ_k(x) in extended precision, because the terms of an orthonormal set cancel.
class GaussianFunctions {
 public:
  /// `coefficients` (n, n) of n primitives.
  GaussianFunctions(std::vector<GaussianPrimitive> primitives, std::vector<Extended> coefficients);

  std::size_t size() const { return primitives_.size(); }
  /// Beyond, all functions are negligible.
  double extent() const;

  /// f_n and two derivatives at x >= 0, each (n).
  void evaluate(double x, double* values, double* first, double* second) const;

 private:
  std::vector<GaussianPrimitive> primitives_;
  std::vector<Extended> coefficients_;
};

}  // namespace castile
