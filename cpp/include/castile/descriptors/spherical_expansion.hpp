#pragma once

#include "castile/descriptors/feature_head.hpp"

namespace castile {

/// The coefficients themselves, columns (channel, n, lm).
template <typename T>
class SphericalExpansion final : public FeatureHead<T> {
 public:
  using FeatureHead<T>::FeatureHead;
  using typename FeatureHead<T>::Scratch;

  std::int64_t n_features() const override;
  void forward(const Coefficients<T>& c, T* features, Scratch& scratch) const override;
  void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot, Scratch& scratch) const override;
  void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c, Scratch& scratch) const override;
  std::vector<ColumnRange> columns_of_channels(const std::vector<std::int32_t>& channels) const override;
  std::vector<ColumnRange> columns_touched_by(std::int32_t channel) const override;
  void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, const TouchedChannels<T>& touched,
                     Scratch& scratch, T* out) const override;

 private:
  std::int64_t block_size() const { return this->n_max() * this->n_lm(); }
  void write(const Coefficients<T>& layout, const std::vector<T>& values, T* features) const;
};

}  // namespace castile
