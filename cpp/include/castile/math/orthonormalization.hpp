#pragma once

#include <vector>

#include "castile/math/extended.hpp"

namespace castile {

/// The symmetric inverse root S^{-1/2} of a positive definite matrix (n, n), row by row.
struct InverseRoot {
  std::vector<Extended> matrix;
  /// Largest entry of S^{-1/2} S S^{-1/2} - 1: the condition number of S (with unit diagonal) times the rounding
  /// error, infinite if S is singular to the precision of Extended.
  double defect;
};
InverseRoot symmetric_inverse_root(const std::vector<Extended>& S, int n);

/// The orthogonal factor Q of the polar decomposition L = H Q with H = (L Lᵀ)^{1/2}, for matrices (n, n), row by row.
///
/// With functions φ = L u of orthonormal u, S^{-1/2} φ = Q u: no large numbers cancel there, and Q keeps the digits
/// that S has lost, whose condition number is the square of L's.
std::vector<Extended> orthogonal_polar_factor(const std::vector<Extended>& L, int n);

}  // namespace castile
