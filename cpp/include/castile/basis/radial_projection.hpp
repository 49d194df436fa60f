#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace castile {

/// The projection of an atom's Gaussian on functions g_nl that have no closed integrals,
///
///   R_nl(r) = 4π ∫ x² g_nl(x) K_l(x, r) dx,  K_l(x, r) = exp(-(x² + r²)/2σ²) i_l(xr/σ²).
///
/// K_l changes over σ alone, however fine the structure of g_nl: on panels of a few σ it is interpolated by Legendre
/// polynomials, and only their integrals with x² g_nl, which do not depend on r, are refined until they stand still. So
/// the cost of an evaluation depends on σ alone.
class RadialProjection {
 public:
  /// Writes g_nl(x), (l_max + 1, n_max).
  using Functions = std::function<void(double x, double* values)>;

  /// `edges` ascend from 0 to where the functions end; between two of them the functions are smooth.
  /// Throws std::invalid_argument if sigma is too small for the number of panels.
  RadialProjection(const Functions& functions, int l_max, int n_max, double sigma, const std::vector<double>& edges);

  /// R_nl and its first two derivatives, each (l_max + 1, n_max). Relative to R/σ and R/σ², these have rounding errors
  /// of r/σ and (r/σ)² times that of one operation.
  void evaluate(double r, double* values, double* first, double* second) const;

 private:
  int l_max_;
  std::size_t n_max_;
  double sigma_;
  double panel_width_;
  std::vector<double> nodes_;
  std::vector<double> weighted_functions_;  ///< (n_nodes, l_max + 1, n_max): weights of K_l at the nodes
};

}  // namespace castile
