#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "castile/descriptors/density_expansion.hpp"
#include "castile/descriptors/feature_head.hpp"
#include "castile/geometry/neighbor_search.hpp"
#include "castile/geometry/structure.hpp"

namespace castile {

/// How the rows of a structure's centers become one.
enum class Average {
  off,    ///< one row per center
  inner,  ///< features of the mean coefficients
  outer,  ///< mean of the features
};

/// "off", "inner" or "outer"; throws std::invalid_argument for another.
Average average_from_name(const std::string& name);

struct DensityDescriptorParameters {
  DensityExpansionParameters expansion;
  std::string head = "power_spectrum";
  int n_species = 1;
  bool normalize = false;  ///< rows of norm one (zero rows stay zero), after averaging
  Average average = Average::off;
};

/// Which atoms of each structure are centers; a view.
struct Centers {
  const std::int64_t* atoms = nullptr;    ///< indices within the structure, each once, (n_centers)
  const std::int64_t* offsets = nullptr;  ///< (n_frames + 1): centers of frame f
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
  std::int32_t species;               ///< of the moving atom
  bool all_columns;                   ///< then `columns` is left empty
  std::vector<std::int64_t> columns;  ///< ascending
  std::int64_t n_columns;
  std::vector<std::int64_t> row;  ///< per block: row of the feature matrix
  std::vector<std::int64_t> frame;
  std::vector<std::int64_t> atom;  ///< index within the frame
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
  std::int64_t n_rows(const Structures& structures, const Centers& centers) const;

  /// Features (n_rows, n_features).
  void transform(const Structures& structures, const Centers& centers, T* features) const;

  /// The same without the columns of absent species.
  SparseRows<T> transform_sparse(const Structures& structures, const Centers& centers) const;

  /// Adds dE/dpositions (n_atoms_total, 3) and dE/dstrain (n_frames, 3, 3; symmetric) from dE/dfeatures.
  void vjp(const Structures& structures, const Centers& centers, const T* grad_features, double* grad_positions,
           double* grad_strain) const;

  /// Derivative of the features along velocities (n_atoms_total, 3) and strain rates (n_frames, 3, 3; symmetric).
  void jvp(const Structures& structures, const Centers& centers, const double* velocities, const double* strain,
           T* features_dot) const;

  JacobianLayout jacobian_layout(const Structures& structures, const Centers& centers) const;

  /// Fills values[group] (n_blocks, 3, n_columns) and, unless null, strain (n_rows, 3, 3, n_features).
  void jacobian(const Structures& structures, const Centers& centers, const JacobianLayout& layout,
                const std::vector<T*>& values, T* strain) const;

 private:
  class Batch;
  struct Worker;
  class JacobianRows;
  struct BlockGradients;
  struct CenterCotangents;
  struct SparseRow {
    std::vector<ColumnRange> ranges;
    std::vector<T> values;
  };

  Batch make_batch(const Structures& structures, const Centers& centers) const;
  /// Features before normalisation.
  void transform_raw(const Batch& batch, T* features) const;
  void keep_columns(T* row, const std::vector<std::int32_t>& species, SparseRow& kept) const;
  static SparseRows<T> join_rows(std::vector<SparseRow>& rows);
  /// Mean coefficients of each frame, with channels for all species.
  std::vector<Coefficients<T>> mean_coefficients(const Batch& batch) const;
  Coefficients<T> all_channels() const;
  /// Takes the cotangents of averaged rows back through normalisation and mean.
  CenterCotangents split_average(const Batch& batch, const T* grad_features) const;
  void center_cotangent(Worker& worker, const Batch& batch, std::int64_t frame, std::int64_t center,
                        const T* grad_features, const CenterCotangents& cotangents) const;
  void scatter(const Batch& batch, const std::vector<BlockGradients>& gradients, double* grad_positions,
               double* grad_strain) const;

  DensityDescriptorParameters parameters_;
  DensityExpansion<T> expansion_;
  std::unique_ptr<FeatureHead<T>> head_;
};

}  // namespace castile
