#pragma once

#include "castile/descriptors/feature_head.hpp"

namespace castile {

/// The coefficients themselves, columns (species, n, lm).
template <typename T>
class SphericalExpansion final : public FeatureHead<T> {
 public:
  using FeatureHead<T>::FeatureHead;
  using typename FeatureHead<T>::Scratch;

  std::int64_t n_features() const override;
  void forward(const Coefficients<T>& c, T* features) const override;
  void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot) const override;
  void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c) const override;
  std::vector<ColumnRange> columns_of_species(const std::vector<std::int32_t>& species) const override;
  std::vector<ColumnRange> columns_of_neighbor(std::int32_t species) const override;
  void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, int channel, Scratch& scratch,
                     T* out) const override;

 private:
  std::int64_t n_lm() const { return static_cast<std::int64_t>(this->l_max() + 1) * (this->l_max() + 1); }
  std::int64_t block_size() const { return this->n_max() * n_lm(); }
  void write(const Coefficients<T>& layout, const std::vector<T>& values, T* features) const;
};

}  // namespace castile
