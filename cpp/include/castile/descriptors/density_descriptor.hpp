#pragma once

#include <cstddef>
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

/// Rows of features, (n_rows, n_features), or some of their entries as in scipy's CSR; a view.
template <typename T>
struct FeatureRows {
  const T* values;
  std::int64_t n_features;
  const std::int64_t* row_offsets = nullptr;  ///< (n_rows + 1); null: `values` holds whole rows
  const std::int32_t* columns = nullptr;

  /// The row as it stands, or null if it has to be copied.
  const T* dense_row(std::int64_t row) const { return row_offsets == nullptr ? values + row * n_features : nullptr; }

  /// The columns of some ranges, ascending; of a sparse row, whatever else it has is left out.
  void copy_row(std::int64_t row, const std::vector<ColumnRange>& ranges, std::vector<T>& out) const {
    out.clear();
    if (row_offsets == nullptr) {
      for (const ColumnRange range : ranges) {
        const T* first = values + row * n_features + range.first;
        out.insert(out.end(), first, first + range.size);
      }
      return;
    }
    std::int64_t size = 0;
    for (const ColumnRange range : ranges) size += range.size;
    out.assign(static_cast<std::size_t>(size), T(0));
    auto range = ranges.begin();
    std::int64_t start = 0;  // of the range in `out`
    for (std::int64_t k = row_offsets[row]; k < row_offsets[row + 1]; ++k) {
      if (k > row_offsets[row] && columns[k] < columns[k - 1]) {  // seldom: rows are mostly in order
        range = ranges.begin();
        start = 0;
      }
      for (; range != ranges.end() && columns[k] >= range->first + range->size; ++range) start += range->size;
      if (range == ranges.end() || columns[k] < range->first) continue;
      out[static_cast<std::size_t>(start + columns[k] - range->first)] += values[k];
    }
  }
};

/// How fast everything moves.
struct Rates {
  const double* velocities;        ///< (n_atoms_total, 3)
  const double* strain;            ///< (n_frames, 3, 3); its symmetric part counts
  const double* point_velocities;  ///< (n_centers, 3), read for centers that are points; null: they stand still
};

/// Blocks of an explicit Jacobian that share a moving species and a set of columns.
struct JacobianGroup {
  std::int32_t species;      ///< of the moving atom; n_species for centers that are points
  std::int64_t channel_set;  ///< that the rows see
  bool all_columns;          ///< that rows with these channels have; otherwise those that the species touches
  std::int64_t n_columns;
  std::vector<std::int64_t> row;  ///< per block: row of the feature matrix
  std::vector<std::int64_t> frame;
  std::vector<std::int64_t> atom;  ///< index within the frame; for points, that of the center among the frame's
  std::int64_t n_blocks() const { return static_cast<std::int64_t>(row.size()); }
};

/// Rows of an explicit Jacobian that have the same columns.
struct ChannelSet {
  std::vector<std::int32_t> channels;  ///< that the rows can see, ascending
  std::int64_t n_columns;
  std::vector<std::int64_t> rows;  ///< ascending
};

/// Where every block of an explicit Jacobian goes; made before any memory for values is taken.
struct JacobianLayout {
  struct Block {
    std::int64_t group;
    std::int64_t index;  ///< in the group
  };
  std::vector<ChannelSet> sets;
  std::vector<JacobianGroup> groups;
  std::vector<std::int64_t> set_of_row;     ///< (n_rows)
  std::vector<std::int64_t> index_in_set;   ///< (n_rows)
  std::vector<std::int64_t> block_offsets;  ///< (n_rows + 1): blocks of row r
  std::vector<Block> blocks;
};

template <typename T>
class NarrowHeads;

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
  const ChannelMixing<T>& mixing() const { return mixing_; }
  const FeatureHead<T>& head() const { return *head_; }
  std::int64_t n_features() const { return head_->n_features(); }
  /// Species, or mixtures of them.
  int n_channels() const { return head_->n_channels(); }
  static std::int64_t n_rows(Average average, const Structures& structures, const Centers& centers);
  std::int64_t n_rows(const Structures& structures, const Centers& centers) const {
    return n_rows(parameters_.average, structures, centers);
  }

  /// Features (n_rows, n_features); `zeroed` tells that they hold zeros, which then need not be written.
  void transform(const Structures& structures, const Centers& centers, T* features, bool zeroed = false) const;

  /// The same without the columns of absent channels.
  SparseRows<T> transform_sparse(const Structures& structures, const Centers& centers) const;

  /// Adds dE/dpositions (n_atoms_total, 3), dE/dpoints (n_centers, 3; zero for atoms; may be null) and dE/dstrain
  /// (n_frames, 3, 3; symmetric) from dE/dfeatures.
  void vjp(const Structures& structures, const Centers& centers, const FeatureRows<T>& grad_features,
           double* grad_positions, double* grad_points, double* grad_strain) const;

  /// Derivative of the features (n_rows, n_features).
  void jvp(const Structures& structures, const Centers& centers, const Rates& rates, T* features_dot) const;

  /// The same without the columns of absent channels.
  SparseRows<T> jvp_sparse(const Structures& structures, const Centers& centers, const Rates& rates) const;

  /// With `sparse`, rows have the columns of the channels that they can see, as in `transform_sparse`.
  JacobianLayout jacobian_layout(const Structures& structures, const Centers& centers, bool sparse) const;

  /// Columns of the feature matrix that rows with these channels have; those that a change of one of the channels
  /// can touch, if `touched_by` is its index among them.
  std::vector<std::int64_t> columns(const std::vector<std::int32_t>& channels, int touched_by = -1) const;

  /// Fills values[group] (n_blocks, 3, n_columns) and, unless it is empty, strain[set] (n_rows of the set, 3, 3,
  /// n_columns).
  void jacobian(const Structures& structures, const Centers& centers, const JacobianLayout& layout,
                const std::vector<T*>& values, const std::vector<T*>& strain) const;

 private:
  class Batch;
  struct Worker;
  class JacobianRows;
  class AveragedJacobian;
  struct BlockGradients;
  struct RowCotangents;
  struct RowSpace;
  struct RowSpaces;
  struct SparseRow {
    std::vector<ColumnRange> ranges;
    std::vector<T> values;
  };

  Batch make_batch(const Structures& structures, const Centers& centers) const;
  bool averages() const { return parameters_.average != Average::off; }
  /// The columns of rows that see all channels, or some of them.
  RowSpace whole_space() const;
  RowSpace space_of(std::vector<std::int32_t> channels) const;
  RowSpaces whole_spaces() const;
  /// Of averaged rows, which see what is in their frame.
  RowSpaces spaces_of_frames(const Batch& batch) const;
  /// Coefficients of zero in the channels of a row.
  Coefficients<T> zero_coefficients(const RowSpace& space) const;
  std::int64_t n_coefficients(const RowSpace& space) const;
  /// Calls finish(worker, row, mean) with the mean coefficients (inner) or features (outer) of every row.
  template <typename Finish>
  void for_each_mean(const Batch& batch, const RowSpaces& spaces, const Finish& finish) const;
  void stream_row(Worker& worker, T* out) const;
  /// The raw row of a mean; kept by the worker or the mean.
  const T* mean_row(Worker& worker, const RowSpace& space, const std::vector<T>& mean) const;
  /// What moves a center's row: atoms, itself among them, ascending, and the species that its density has.
  struct Moving {
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> species;
  };
  std::vector<Moving> moving_with_centers(const Batch& batch) const;
  static std::vector<std::int32_t> species_among(const Batch& batch, std::int64_t frame,
                                                 const std::vector<std::int64_t>& ids);
  static SparseRows<T> join_rows(std::vector<SparseRow>& rows);
  RowCotangents split_averages(const Batch& batch, const FeatureRows<T>& grad_features) const;
  void center_cotangent(Worker& worker, const Batch& batch, std::int64_t row, std::int64_t frame, std::int64_t center,
                        const FeatureRows<T>& grad_features, const RowCotangents& cotangents) const;
  /// Calls write(row, space, derivative) for every row; `space_of_center` tells the space where rows are centers.
  template <typename SpaceOf, typename Write>
  void differentiate_rows(const Batch& batch, const Rates& rates, const RowSpaces& spaces,
                          const SpaceOf& space_of_center, const Write& write) const;
  void scatter(const Batch& batch, const std::vector<BlockGradients>& gradients, std::int64_t first_block,
               double* grad_positions, double* grad_points, double* grad_strain) const;

  DensityDescriptorParameters parameters_;
  std::unique_ptr<FeatureHead<T>> head_;
  DensityExpansion<T> expansion_;
  ChannelMixing<T> mixing_;
  std::unique_ptr<const NarrowHeads<T>> narrow_heads_;  ///< of rows that see fewer channels; null if there are none
};

}  // namespace castile
