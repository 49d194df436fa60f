#pragma once

#include "castile/descriptors/feature_head.hpp"

namespace castile {

/// The power spectrum of each channel with the sum of all, p_{(a,n),n',l} = (2l+1)^{-1/2} Σ_m c_{a,n,lm} Σ_b
/// c_{b,n',lm}
/// ("mu1nu1"): linear in the number of species.
///
/// Columns (a, l, n, n'), all n and n'.
/// Darby, Kermode, Csányi, npj Comput. Mater. 8, 166 (2022), doi:10.1038/s41524-022-00847-y.
template <typename T>
class TotalSpectrum final : public FeatureHead<T> {
 public:
  using typename FeatureHead<T>::Scratch;

  explicit TotalSpectrum(const FeatureHeadParameters& parameters);

  std::int64_t n_features() const override { return this->n_channels() * block_size(); }
  void forward(const Coefficients<T>& c, T* features, Scratch& scratch) const override;
  void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot, Scratch& scratch) const override;
  void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c, Scratch& scratch) const override;
  std::vector<ColumnRange> columns_of_channels(const std::vector<std::int32_t>& channels) const override;
  std::vector<ColumnRange> columns_touched_by(std::int32_t /*channel*/) const override { return this->all_columns(); }
  void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, const TouchedChannels<T>& touched,
                     Scratch& scratch, T* out) const override;

 private:
  std::int64_t block_size() const {
    return static_cast<std::int64_t>(this->l_max() + 1) * this->n_max() * this->n_max();
  }
  void pack(const T* forms, int n_padded, T* out) const;

  std::vector<T> weights_;  ///< (2l+1)^{-1/2}
};

}  // namespace castile
