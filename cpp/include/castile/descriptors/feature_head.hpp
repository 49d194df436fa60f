#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/descriptors/density_expansion.hpp"
#include "castile/descriptors/product_rule.hpp"

namespace castile {

/// A run of columns of the feature matrix.
struct ColumnRange {
  std::int64_t first;
  std::int64_t size;
};

struct FeatureHeadParameters {
  std::string name = "power_spectrum";
  int n_channels = 1;
  int n_max = 1;
  int l_max = 0;
  /// Of "tensor_spectrum": features per degree and its two matrices, (2, l_max + 1, n_features_per_l, n_channels,
  /// n_max).
  int n_tensor_features = 0;
  std::vector<double> tensor_matrices;
  ProductRule product_rule;  ///< of "product_spectrum"
};

/// The channels that one neighbor adds to: its weight in each channel of the coefficients, in their order.
template <typename T>
struct TouchedChannels {
  const T* weights = nullptr;
  int only = -1;  ///< index of the one channel with weight one, or -1 if all channels are touched
};

template <typename T>
class RowStream;
template <typename T>
class GradientStream;

/// The last stage: from one center's density coefficients to its row of features, and the derivatives of that
/// step. Columns are laid out for `n_channels` channels (the species, or mixtures of them); channels that the
/// coefficients lack leave zeros.
template <typename T>
class FeatureHead {
 public:
  /// Buffers that a thread keeps between calls.
  struct Scratch {
    /// If not null, `forward` may hand over parts of its row as soon as they are done; then it must do so for all
    /// that is not zero, and need not write zeros, because they are there.
    RowStream<T>* stream = nullptr;
    /// The same for `pair_jacobian`.
    GradientStream<T>* gradient_stream = nullptr;
    std::vector<T> forms, other, contracted, left, right, mixed, mixed_dot, total;
    AlignedVector<T> nodes, node_derivatives;
  };

  explicit FeatureHead(const FeatureHeadParameters& p) : n_channels_(p.n_channels), n_max_(p.n_max), l_max_(p.l_max) {}
  virtual ~FeatureHead() = default;
  FeatureHead(const FeatureHead&) = delete;
  FeatureHead& operator=(const FeatureHead&) = delete;

  virtual std::int64_t n_features() const = 0;

  /// Writes the whole row.
  virtual void forward(const Coefficients<T>& c, T* features, Scratch& scratch) const = 0;

  /// Writes the row's derivative along a change of the coefficients (same layout as c).
  virtual void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot, Scratch& scratch) const = 0;

  /// Writes dE/dc (same layout as c) from dE/dfeatures.
  virtual void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c,
                   Scratch& scratch) const = 0;

  /// Writes the rows (n, n_features) of several centers, each with the bits that `forward` gives it.
  virtual void forward_rows(std::int64_t n, const Coefficients<T>* const* centers, T* features, Scratch& scratch) const;

  /// Writes their dE/dc from dE/dfeatures (n, n_features), after `forward_rows` of the same centers with the same
  /// scratch.
  virtual void vjp_rows(std::int64_t n, const Coefficients<T>* const* centers, const T* grad_features,
                        std::vector<T>* const* grad_c, Scratch& scratch) const;

  /// How many radial functions of each degree the rows depend on, not rising; empty: on all.
  virtual std::vector<int> functions_of_degree() const { return {}; }

  /// Columns that can be non-zero when only these channels (ascending) are there, ascending.
  virtual std::vector<ColumnRange> columns_of_channels(const std::vector<std::int32_t>& channels) const = 0;

  /// Columns that a change of this channel alone can change, ascending.
  virtual std::vector<ColumnRange> columns_touched_by(std::int32_t channel) const = 0;

  /// To be called for a center before `pair_jacobian` is called for its neighbors, with the same scratch.
  virtual void prepare_center(const Coefficients<T>& /*c*/, Scratch& /*scratch*/) const {}

  /// Derivative of the row with respect to one neighbor's pair vector: out (3, n), n the columns touched by
  /// `touched.only` or, if that is -1, all columns.
  virtual void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, const TouchedChannels<T>& touched,
                             Scratch& scratch, T* out) const = 0;

  /// The same for several neighbors of one species, `size` numbers each.
  virtual void pair_jacobians(const Coefficients<T>& c, const PairTerms<T>* terms, std::int64_t n,
                              const TouchedChannels<T>& touched, std::int64_t size, Scratch& scratch, T* out) const;

  int n_channels() const { return n_channels_; }
  int n_max() const { return n_max_; }
  int l_max() const { return l_max_; }

 protected:
  std::vector<ColumnRange> all_columns() const { return {{0, n_features()}}; }
  std::int64_t n_lm() const { return static_cast<std::int64_t>(l_max_ + 1) * (l_max_ + 1); }

 private:
  int n_channels_;
  int n_max_;
  int l_max_;
};

/// "spherical_expansion", "radial_spectrum", "power_spectrum", "crossover_spectrum", "total_spectrum",
/// "tensor_spectrum" or "product_spectrum"; throws std::invalid_argument for another.
template <typename T>
std::unique_ptr<FeatureHead<T>> make_feature_head(const FeatureHeadParameters& parameters);

/// The names that `make_feature_head` knows.
std::vector<std::string> feature_head_names();

}  // namespace castile
