#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "castile/descriptors/density_expansion.hpp"

namespace castile {

/// A run of columns of the feature matrix.
struct ColumnRange {
  std::int64_t first;
  std::int64_t size;
};

/// The last stage: from one center's density coefficients to its row of features, and the derivatives of that
/// step. Columns are laid out for `n_species` species; species without a channel leave zeros.
template <typename T>
class FeatureHead {
 public:
  FeatureHead(int n_species, int n_max, int l_max) : n_species_(n_species), n_max_(n_max), l_max_(l_max) {}
  virtual ~FeatureHead() = default;
  FeatureHead(const FeatureHead&) = delete;
  FeatureHead& operator=(const FeatureHead&) = delete;

  virtual std::int64_t n_features() const = 0;

  /// Writes the whole row.
  virtual void forward(const Coefficients<T>& c, T* features) const = 0;

  /// Writes the row's derivative along a change of the coefficients (same layout as c).
  virtual void jvp(const Coefficients<T>& c, const std::vector<T>& c_dot, T* features_dot) const = 0;

  /// Writes dE/dc (same layout as c) from dE/dfeatures.
  virtual void vjp(const Coefficients<T>& c, const T* grad_features, std::vector<T>& grad_c) const = 0;

  /// Columns that can be non-zero when only these species (ascending) are present, ascending.
  virtual std::vector<ColumnRange> columns_of_species(const std::vector<std::int32_t>& species) const = 0;

  /// Columns that a neighbor of this species can change, ascending.
  virtual std::vector<ColumnRange> columns_of_neighbor(std::int32_t species) const = 0;

  /// Buffers that `pair_jacobian` needs.
  struct Scratch {
    std::vector<T> contracted, left, right, block;
  };

  /// Derivative of the row with respect to one neighbor's pair vector: out (3, columns of columns_of_neighbor),
  /// `channel` is that of the neighbor's species.
  virtual void pair_jacobian(const Coefficients<T>& c, const PairTerms<T>& terms, int channel, Scratch& scratch,
                             T* out) const = 0;

  int n_species() const { return n_species_; }
  int n_max() const { return n_max_; }
  int l_max() const { return l_max_; }

 private:
  int n_species_;
  int n_max_;
  int l_max_;
};

/// "spherical_expansion", "radial_spectrum" or "power_spectrum"; throws std::invalid_argument for another.
template <typename T>
std::unique_ptr<FeatureHead<T>> make_feature_head(const std::string& name, int n_species, int n_max, int l_max);

}  // namespace castile
