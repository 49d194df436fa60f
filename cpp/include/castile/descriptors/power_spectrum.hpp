#pragma once

#include "castile/descriptors/feature_head.hpp"

namespace castile {

/// Which pairs of channels a power spectrum holds.
enum class ChannelPairs {
  all,   ///< a <= b
  like,  ///< a = b alone ("crossover")
};

/// SOAP: p_{qq'l} = (2l+1)^{-1/2} Σ_m c_{q,lm} c_{q',lm}, q = (channel, n), each unordered pair q <= q' once and
/// off-diagonal entries times √2, so that dot products are those of the full tensor.
///
/// Columns (a <= a', l, n, n'), with n <= n' where a = a'.
/// Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.
template <typename T>
class PowerSpectrum final : public FeatureHead<T> {
 public:
  using typename FeatureHead<T>::Scratch;

  explicit PowerSpectrum(const FeatureHeadParameters& parameters, ChannelPairs pairs = ChannelPairs::all);

  std::int64_t n_features() const override;
  void forward(const Coefficients<T>& c, T* features, Scratch& scratch) const override;
  void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot, Scratch& scratch) const override;
  void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c, Scratch& scratch) const override;
  std::vector<ColumnRange> columns_of_channels(const std::vector<std::int32_t>& channels) const override;
  std::vector<ColumnRange> columns_touched_by(std::int32_t channel) const override;
  void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, const TouchedChannels<T>& touched,
                     Scratch& scratch, T* out) const override;

 private:
  std::int64_t block_size(bool like_channels) const;
  /// First column of the block of channels a <= b.
  std::int64_t block_start(std::int32_t a, std::int32_t b) const;
  /// How many columns one channel touches.
  std::int64_t n_touched() const;
  /// Calls body(a, b, first column) for the pairs of channels, by their index in the coefficients.
  template <typename Body>
  void for_each_block(const Coefficients<T>& c, const Body& body) const;
  /// Packs forms (l, n, n' padded) of one pair of channels.
  void pack(bool like_channels, const T* forms, int n_padded, T* out) const;

  ChannelPairs pairs_;
  std::vector<T> weights_;  ///< (2l+1)^{-1/2}
};

}  // namespace castile
