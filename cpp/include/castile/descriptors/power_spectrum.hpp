#pragma once

#include "castile/descriptors/feature_head.hpp"

namespace castile {

/// SOAP: p_{qq'l} = (2l+1)^{-1/2} Σ_m c_{q,lm} c_{q',lm}, q = (species, n), each unordered pair q <= q' once and
/// off-diagonal entries times √2, so that dot products are those of the full tensor.
///
/// Columns (a <= a', l, n, n'), with n <= n' where a = a'.
/// Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.
template <typename T>
class PowerSpectrum final : public FeatureHead<T> {
 public:
  using typename FeatureHead<T>::Scratch;

  PowerSpectrum(int n_species, int n_max, int l_max);

  std::int64_t n_features() const override;
  void forward(const Coefficients<T>& c, T* features) const override;
  void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot) const override;
  void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c) const override;
  std::vector<ColumnRange> columns_of_species(const std::vector<std::int32_t>& species) const override;
  std::vector<ColumnRange> columns_of_neighbor(std::int32_t species) const override;
  void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, int channel, Scratch& scratch,
                     T* out) const override;

 private:
  std::int64_t block_size(bool like_species) const;
  /// First column of the block of species a <= b.
  std::int64_t block_start(std::int32_t a, std::int32_t b) const;
  /// Packs forms (l, n, n' padded) of two different species.
  void pack_unlike(const T* forms, int n_padded, T* out) const;
  /// The same for one species: entries n <= n'.
  void pack_like(const T* forms, int n_padded, T* out) const;

  std::vector<T> weights_;  ///< (2l+1)^{-1/2}
};

}  // namespace castile
