#pragma once

#include <cstdint>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/descriptors/feature_head.hpp"
#include "castile/descriptors/product_basis.hpp"

namespace castile {

namespace simd {
template <typename T>
struct ProductList;
}

/// Invariant products of up to five density coefficients; columns are the functions of a ProductBasis.
template <typename T>
class ProductSpectrum final : public FeatureHead<T> {
 public:
  using typename FeatureHead<T>::Scratch;

  explicit ProductSpectrum(const FeatureHeadParameters& parameters);

  const ProductBasis& basis() const { return basis_; }

  std::int64_t n_features() const override;
  void forward(const Coefficients<T>& c, T* features, Scratch& scratch) const override;
  void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot, Scratch& scratch) const override;
  void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c, Scratch& scratch) const override;
  void forward_rows(std::int64_t n, const Coefficients<T>* const* centers, T* features,
                    Scratch& scratch) const override;
  void vjp_rows(std::int64_t n, const Coefficients<T>* const* centers, const T* grad_features,
                std::vector<T>* const* grad_c, Scratch& scratch) const override;
  std::vector<int> functions_of_degree() const override;
  std::vector<ColumnRange> columns_of_channels(const std::vector<std::int32_t>& channels) const override;
  std::vector<ColumnRange> columns_touched_by(std::int32_t channel) const override;
  void prepare_center(const Coefficients<T>& c, Scratch& scratch) const override;
  void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, const TouchedChannels<T>& touched,
                     Scratch& scratch, T* out) const override;
  void pair_jacobians(const Coefficients<T>& c, const PairTerms<T>* terms, std::int64_t n,
                      const TouchedChannels<T>& touched, std::int64_t size, Scratch& scratch, T* out) const override;

 private:
  /// Writes what a shift of a neighbor along an axis does to the inputs.
  void write_direction(const Coefficients<T>& c, const PairTerms<T>& terms, std::size_t axis,
                       const TouchedChannels<T>& touched, T* lane) const;
  template <typename Wanted>
  std::vector<ColumnRange> columns_where(const Wanted& wanted) const;
  simd::ProductList<T> list() const;
  std::int64_t nodes_size() const;  ///< numbers of all nodes
  /// Writes `values`, laid out as the coefficients c, to the inputs in `n_lanes` lanes from `lane` on, which are zero.
  void write_inputs(const Coefficients<T>& c, const std::vector<T>& values, std::int64_t lane, std::int64_t n_lanes,
                    T* nodes) const;
  void read_gradients(const Coefficients<T>& c, const T* gradients, std::int64_t lane, std::vector<T>& grad_c) const;
  /// Calls visit(input, index of its channel in c) for the inputs whose channels are there.
  template <typename Visit>
  void for_each_input(const Coefficients<T>& c, const Visit& visit) const;
  std::int64_t first_feature() const { return basis_.n_nodes() - n_features(); }

  ProductBasis basis_;
  std::vector<std::int32_t> left_, right_;
  std::vector<T> coefficients_;
  std::vector<std::vector<ColumnRange>> touched_;  ///< by channel
};

}  // namespace castile
