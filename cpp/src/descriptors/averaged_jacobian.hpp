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
        inner_(descriptor_.parameters_.average == Average::inner) {}

  void fill();

 private:
  /// Sums over a block of centers, of `size(row)` numbers each.
  struct Partial {
    std::vector<std::int64_t> moving;        ///< sorted
    std::vector<T> mean, gradients, strain;  ///< (size), (n_moving, 3, size), (6, size)

    T* gradient(std::int64_t id, std::int64_t size) {
      const auto found = std::lower_bound(moving.begin(), moving.end(), id) - moving.begin();
      return gradients.data() + found * 3 * size;
    }
  };
  /// Sums over the centers of a row.
  struct RowSum {
    std::int64_t row, frame;
    std::vector<JacobianBlock<T>> blocks;
    std::vector<T> mean, strain;  ///< (size), (6, size)
    std::vector<T> gradients;     ///< inner: (n_blocks, 3, size); outer: the blocks hold them
    std::vector<T> unit_row;      ///< if rows are normalised
    double length = 0.0;
    T* gradient(std::size_t block, std::int64_t size) {
      return gradients.empty() ? blocks[block].values : gradients.data() + static_cast<std::int64_t>(block) * 3 * size;
    }
  };

  bool with_strain() const { return rows_.with_strain(); }
  std::int64_t size(const RowSpace& space) const { return inner_ ? descriptor_.n_coefficients(space) : space.size(); }
  std::int64_t size(std::int64_t row) const { return size(rows_.space(row)); }
  /// The mean coefficients of a row, as the head takes them.
  const Coefficients<T>& mean_coefficients(Worker& worker, const RowSum& sum) const;
  std::int64_t blocks_per_round() const;
  RowSum start_row(std::int64_t row, std::int64_t frame) const;
  void sum_block(Worker& worker, const CenterBlock& block, Partial& partial) const;
  void add_feature_gradients(Worker& worker, const CenterBlock& block, std::int64_t center,
                             CenterDerivatives<T>& buffers, Partial& partial) const;
  void add_coefficient_gradients(Worker& worker, const CenterBlock& block, std::int64_t center,
                                 CenterDerivatives<T>& buffers, Partial& partial) const;
  void add_partials(std::vector<Partial>& partials, std::int64_t first, std::vector<RowSum>& sums) const;
  void finish_rows(std::vector<RowSum>& sums, std::size_t n_finished) const;
  void push_through_head(Worker& worker, const RowSum& sum, std::int64_t n_rows, const T* derivatives, T* out) const;
  void finish_block(Worker& worker, RowSum& sum, std::size_t block) const;
  void finish_strain(Worker& worker, RowSum& sum) const;

  const JacobianRows& rows_;
  const DensityDescriptor& descriptor_;
  const Batch& batch_;
  bool inner_;
};

}  // namespace castile
