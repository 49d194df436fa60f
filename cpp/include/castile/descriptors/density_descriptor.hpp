#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "castile/descriptors/centers.hpp"
#include "castile/descriptors/channel_mixing.hpp"
#include "castile/descriptors/density_expansion.hpp"
#include "castile/descriptors/feature_head.hpp"
#include "castile/geometry/neighbor_search.hpp"
#include "castile/geometry/structure.hpp"

namespace castile {

/// How the rows of several centers become one.
enum class Average {
  off,    ///< one row per center
  inner,  ///< features of the mean coefficients
  outer,  ///< mean of the features
};

/// "off", "inner" or "outer"; throws std::invalid_argument for another.
Average average_from_name(const std::string& name);

struct DensityDescriptorParameters {
  DensityExpansionParameters expansion;
  int n_species = 1;
  /// (n_channels, n_species): mixes the species into channels; empty: the species are the channels.
  std::vector<double> species_mixing;
  int n_channels = 0;          ///< read if `species_mixing` is given
  FeatureHeadParameters head;  ///< whose sizes follow from the above
  bool normalize = false;      ///< rows of norm one (zero rows stay zero), after averaging
  Average average = Average::off;
};

/// Sparse rows as in scipy's CSR.
template <typename T>
struct SparseRows {
  std::vector<std::int64_t> row_offsets;
  std::vector<std::int32_t> columns;
  std::vector<T> values;
};

/// Blocks of an explicit Jacobian that share a moving species and a set of columns.
struct JacobianGroup {
  std::int32_t species;               ///< of the moving atom; n_species for centers that are points
  bool all_columns;                   ///< then `columns` is left empty
  std::vector<std::int64_t> columns;  ///< ascending
  std::int64_t n_columns;
  std::vector<std::int64_t> row;  ///< per block: row of the feature matrix
  std::vector<std::int64_t> frame;
  std::vector<std::int64_t> atom;  ///< index within the frame; for points, that of the center among the frame's
  std::int64_t n_blocks() const { return static_cast<std::int64_t>(row.size()); }
};

/// Where every block of an explicit Jacobian goes; made before any memory for values is taken.
struct JacobianLayout {
  std::vector<JacobianGroup> groups;
  /// (n_rows, n_groups): first block of each row in each group.
  std::vector<std::int64_t> first_block;
};

/// A descriptor made of a density expansion, a head and optional averaging and normalisation, with all its
/// derivatives. Immutable and shared between threads; every result has the same bits for any number of threads.
template <typename T>
class DensityDescriptor {
 public:
  /// Throws std::invalid_argument, naming the parameter that is out of range.
  explicit DensityDescriptor(const DensityDescriptorParameters& parameters);
  ~DensityDescriptor();
  DensityDescriptor(const DensityDescriptor&) = delete;
  DensityDescriptor& operator=(const DensityDescriptor&) = delete;

  const DensityDescriptorParameters& parameters() const { return parameters_; }
  const DensityExpansion<T>& expansion() const { return expansion_; }
  std::int64_t n_features() const { return head_->n_features(); }
  /// Species, or mixtures of them.
  int n_channels() const { return head_->n_channels(); }
  static std::int64_t n_rows(Average average, const Structures& structures, const Centers& centers);
  std::int64_t n_rows(const Structures& structures, const Centers& centers) const {
    return n_rows(parameters_.average, structures, centers);
  }

  /// Features (n_rows, n_features).
  void transform(const Structures& structures, const Centers& centers, T* features) const;

  /// The same without the columns of absent channels.
  SparseRows<T> transform_sparse(const Structures& structures, const Centers& centers) const;

  /// Adds dE/dpositions (n_atoms_total, 3), dE/dpoints (n_centers, 3; zero for atoms; may be null) and dE/dstrain
  /// (n_frames, 3, 3; symmetric) from dE/dfeatures.
  void vjp(const Structures& structures, const Centers& centers, const T* grad_features, double* grad_positions,
           double* grad_points, double* grad_strain) const;

  /// Derivative of the features along velocities of the atoms (n_atoms_total, 3), of the centers that are points
  /// (n_centers, 3; null: they stand still) and strain rates (n_frames, 3, 3; symmetric).
  void jvp(const Structures& structures, const Centers& centers, const double* velocities,
           const double* point_velocities, const double* strain, T* features_dot) const;

  JacobianLayout jacobian_layout(const Structures& structures, const Centers& centers) const;

  /// Fills values[group] (n_blocks, 3, n_columns) and, unless null, strain (n_rows, 3, 3, n_features).
  void jacobian(const Structures& structures, const Centers& centers, const JacobianLayout& layout,
                const std::vector<T*>& values, T* strain) const;

 private:
  class Batch;
  struct Worker;
  class JacobianRows;
  class AveragedJacobian;
  struct BlockGradients;
  struct RowCotangents;
  struct SparseRow {
    std::vector<ColumnRange> ranges;
    std::vector<T> values;
  };

  Batch make_batch(const Structures& structures, const Centers& centers) const;
  bool averages() const { return parameters_.average != Average::off; }
  /// Coefficients of zero in all channels.
  Coefficients<T> all_channels() const;
  /// Calls finish(worker, row, mean) with the mean coefficients (inner) or features (outer) of every row.
  template <typename Finish>
  void for_each_mean(const Batch& batch, const Finish& finish) const;
  void keep_columns(T* row, const std::vector<std::int32_t>& channels, SparseRow& kept) const;
  std::vector<std::int32_t> channels_of_frame(const Batch& batch, std::int64_t frame) const;
  static SparseRows<T> join_rows(std::vector<SparseRow>& rows);
  RowCotangents split_averages(const Batch& batch, const T* grad_features) const;
  void center_cotangent(Worker& worker, const Batch& batch, std::int64_t row, std::int64_t frame, std::int64_t center,
                        const T* grad_features, const RowCotangents& cotangents) const;
  void scatter(const Batch& batch, const std::vector<BlockGradients>& gradients, std::int64_t first_block,
               double* grad_positions, double* grad_points, double* grad_strain) const;

  DensityDescriptorParameters parameters_;
  DensityExpansion<T> expansion_;
  ChannelMixing<T> mixing_;
  std::unique_ptr<FeatureHead<T>> head_;
};

}  // namespace castile
