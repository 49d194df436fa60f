// Rows of the Jacobian that are averages: each block of centers makes partial sums for the atoms that it touches, and
// these are added in order.
#pragma once

#include "descriptors/jacobian_rows.hpp"

namespace castile {

/// With "outer", the derivatives of the features are summed in place. With "inner", those of the mean coefficients are
/// summed first, which are no longer of rank two, and then go through the head.
template <typename T>
class DensityDescriptor<T>::AveragedJacobian {
 public:
  explicit AveragedJacobian(const JacobianRows& rows)
      : rows_(rows),
        descriptor_(rows.descriptor()),
        batch_(rows.batch()),
        inner_(descriptor_.parameters_.average == Average::inner),
        all_(descriptor_.all_channels()),
        size_(inner_ ? static_cast<std::int64_t>(all_.values.size()) : rows.n_features()) {}

  void fill();

 private:
  /// Sums over a block of centers, of `size_` numbers each.
  struct Partial {
    std::vector<std::int64_t> moving;        ///< sorted
    std::vector<T> mean, gradients, strain;  ///< (size_), (n_moving, 3, size_), (6, size_)

    T* gradient(std::int64_t id, std::int64_t size) {
      const auto found = std::lower_bound(moving.begin(), moving.end(), id) - moving.begin();
      return gradients.data() + found * 3 * size;
    }
  };
  /// Sums over the centers of a row.
  struct RowSum {
    std::int64_t row, frame;
    std::vector<JacobianBlock<T>> blocks;
    std::vector<T> mean, strain;  ///< (size_), (6, size_)
    std::vector<T> gradients;     ///< inner: (n_blocks, 3, size_); outer: the blocks hold them
    std::vector<T> unit_row;      ///< if rows are normalised
    double length = 0.0;
    T* gradient(std::size_t block, std::int64_t size) {
      return gradients.empty() ? blocks[block].values : gradients.data() + static_cast<std::int64_t>(block) * 3 * size;
    }
  };

  bool with_strain() const { return rows_.strain_of(0) != nullptr; }
  std::int64_t blocks_per_round() const;
  RowSum start_row(std::int64_t row, std::int64_t frame) const;
  void sum_block(Worker& worker, const CenterBlock& block, Partial& partial) const;
  void add_feature_gradients(Worker& worker, const CenterBlock& block, std::int64_t center,
                             CenterDerivatives<T>& buffers, Partial& partial) const;
  void add_coefficient_gradients(Worker& worker, const CenterBlock& block, std::int64_t center,
                                 CenterDerivatives<T>& buffers, Partial& partial) const;
  void add_partials(std::vector<Partial>& partials, std::int64_t first, std::vector<RowSum>& sums) const;
  void finish_rows(std::vector<RowSum>& sums, std::size_t n_finished) const;
  void finish_block(Worker& worker, RowSum& sum, std::size_t block) const;
  void finish_strain(Worker& worker, RowSum& sum) const;

  const JacobianRows& rows_;
  const DensityDescriptor& descriptor_;
  const Batch& batch_;
  bool inner_;
  Coefficients<T> all_;
  std::int64_t size_;
};

}  // namespace castile
