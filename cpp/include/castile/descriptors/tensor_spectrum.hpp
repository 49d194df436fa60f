#pragma once

#include "castile/descriptors/feature_head.hpp"

namespace castile {

/// Tensor-reduced power spectrum: with two mixtures A_k = Σ_q W1_{l,k,q} c_q and B_k = Σ_q W2_{l,k,q} c_q of all
/// channels and radial functions q = (channel, n), p_{k,l} = (2l+1)^{-1/2} Σ_m A_{k,lm} B_{k,lm}. For random matrices
/// of entries with mean zero and variance one, dot products of rows over the number of features per degree are unbiased
/// estimates of those of the full power spectrum; the matrices hold that factor.
///
/// Columns (l, k).
/// Darby, Kovács, Batatia, Caro, Hart, Ortner, Csányi, Phys. Rev. Lett. 131, 028001 (2023),
/// doi:10.1103/PhysRevLett.131.028001.
template <typename T>
class TensorSpectrum final : public FeatureHead<T> {
 public:
  using typename FeatureHead<T>::Scratch;

  /// Throws std::invalid_argument unless there are features and the matrices have their shape.
  explicit TensorSpectrum(const FeatureHeadParameters& parameters);

  std::int64_t n_features() const override { return static_cast<std::int64_t>(this->l_max() + 1) * n_per_degree_; }
  void forward(const Coefficients<T>& c, T* features, Scratch& scratch) const override;
  void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot, Scratch& scratch) const override;
  void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c, Scratch& scratch) const override;
  std::vector<ColumnRange> columns_of_channels(const std::vector<std::int32_t>& /*channels*/) const override {
    return this->all_columns();
  }
  std::vector<ColumnRange> columns_touched_by(std::int32_t /*channel*/) const override { return this->all_columns(); }
  void prepare_center(const Coefficients<T>& c, Scratch& scratch) const override;
  void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, const TouchedChannels<T>& touched,
                     Scratch& scratch, T* out) const override;

 private:
  /// W of one side and degree for one channel, (n_max, n_padded).
  const T* matrix(int side, int l, std::int32_t channel) const;
  /// mixed[side][lm][k] = Σ_q W[side][l][q][k] values[lm][q].
  void mix(const Coefficients<T>& layout, const std::vector<T>& values, Scratch& scratch, std::vector<T>& mixed) const;
  std::int64_t side_size() const { return this->n_lm() * n_padded_; }

  int n_per_degree_;
  int n_padded_;             ///< the same in whole vectors
  std::vector<T> matrices_;  ///< (2, l_max + 1, n_channels, n_max, n_padded), k fastest
  std::vector<T> weights_;   ///< (2l+1)^{-1/2}
};

}  // namespace castile
