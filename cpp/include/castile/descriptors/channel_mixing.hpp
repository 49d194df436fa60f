#pragma once

#include <cstdint>
#include <vector>

#include "castile/descriptors/density_expansion.hpp"

namespace castile {

/// Linear combinations of the species' densities, c'_{k,n,lm} = Σ_a U_{k,a} c_{a,n,lm}: fewer channels for many
/// species. Without a matrix the species are the channels.
///
/// Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018), doi:10.1039/C8CP05921G.
template <typename T>
class ChannelMixing {
 public:
  /// `matrix` is U (n_channels, n_species), or empty. Throws std::invalid_argument for another size.
  ChannelMixing(int n_species, int n_channels, const std::vector<double>& matrix);

  bool mixes() const { return !matrix_.empty(); }
  int n_channels() const { return n_channels_; }
  /// U_{k,a} over all channels k.
  const T* column(std::int32_t species) const { return matrix_.data() + std::int64_t{species} * n_channels_; }

  /// Writes all channels from those of the species that are there.
  void apply(const Coefficients<T>& c, Coefficients<T>& mixed) const;

  /// Writes dE/dc in the layout of c from dE/dc', which has all channels.
  void apply_adjoint(const std::vector<T>& grad_mixed, const Coefficients<T>& c, std::vector<T>& grad_c) const;

 private:
  int n_channels_;
  std::vector<T> matrix_;  ///< (n_species, n_channels)
};

}  // namespace castile
