#pragma once

#include <vector>

#include "castile/basis/projected_basis.hpp"

namespace castile {

/// Eigenfunctions of the Laplacian in a sphere, g_nl(x) = √(2/cutoff³) j_l(z_nl x/cutoff)/|j_{l+1}(z_nl)| on [0,
/// cutoff], with z_nl the n-th positive zero of j_l: the smoothest functions that vanish at the cutoff.
///
/// Bigi et al., J. Chem. Phys. 157, 234101 (2022), doi:10.1063/5.0124363.
class LaplacianBasis final : public ProjectedBasis {
 public:
  static constexpr int largest_n_max = 100;

  explicit LaplacianBasis(const RadialBasisParameters& parameters);

  void radial_function(double x, double* values, double* first, double* second) const override;
  double length_scale() const override;

 private:
  std::vector<double> wave_numbers_;  ///< z_nl/cutoff, (l_max + 1, n_max)
  std::vector<double> norms_;         ///< (l_max + 1, n_max)
};

}  // namespace castile
