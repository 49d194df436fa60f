#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/descriptors/density_descriptor.hpp"
#include "castile/potential/descriptor_term.hpp"

namespace castile {

/// Rows of a design matrix and what they stand for; a view. Row numbers of -1 are not wanted.
struct DesignRows {
  double* values = nullptr;              ///< first column of row 0
  std::int64_t stride = 0;               ///< between rows
  const std::int64_t* energy = nullptr;  ///< (n_frames) row of the energy
  const std::int64_t* force = nullptr;   ///< (n_atoms) first of three rows of dE/dposition
  const std::int64_t* strain = nullptr;  ///< (n_frames) first of six rows of dE/dstrain, xx yy zz yz xz xy
  const double* factors = nullptr;       ///< (n_rows) what each row is multiplied by
};

/// The columns of a term that is linear in its weights: what each sparse point adds to energies and their derivatives,
/// Σ_i k(p_i, points[m]) over the centers of the point's species.
///
/// The same bits for any number of threads, and per frame in any batch.
class DescriptorColumns {
 public:
  /// Of a kernel; `points` (n_species), whose weights are not read. Throws as DescriptorTerm does.
  DescriptorColumns(std::shared_ptr<const DensityDescriptor<double>> descriptor, FeatureKernel kernel,
                    const std::vector<SparsePoints>& points);

  /// Columns that are the features themselves, of centers of each species.
  explicit DescriptorColumns(std::shared_ptr<const DensityDescriptor<double>> descriptor);

  std::int64_t n_columns() const { return first_column_.back(); }
  /// First column of each species, and the end (n_species + 1).
  const std::vector<std::int64_t>& first_columns() const { return first_column_; }

  /// Writes, does not add to, all columns of the rows that are wanted.
  void write(const Structures& structures, const DesignRows& rows) const;

 private:
  struct Species;
  class FrameWork;
  struct Item;

  std::vector<Item> items(const Structures& structures) const;
  std::int64_t n_features() const { return descriptor_->n_features(); }
  void find_touched_columns();

  std::shared_ptr<const DensityDescriptor<double>> descriptor_;
  FeatureKernel kernel_;
  bool linear_ = false;
  double cutoff_ = 0.0;
  std::vector<std::vector<ColumnRange>> touched_;  ///< by the species of the neighbor
  std::vector<std::int64_t> n_touched_;
  std::vector<std::shared_ptr<const Species>> species_;  ///< of the center
  std::vector<std::int64_t> first_column_;
};

}  // namespace castile
