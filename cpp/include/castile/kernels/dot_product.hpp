#pragma once

#include <cstdint>

namespace castile {

/// Rows of numbers behind each other; a view, the array belongs to the caller.
struct FeatureRows {
  std::int64_t n_rows = 0;
  std::int64_t n_features = 0;
  const double* data = nullptr;  ///< (n_rows, n_features)
};

/// k(x, y) = (x · y)^zeta, of rows divided by their norms if `normalize` is set: the SOAP kernel of
/// Bartók et al., Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.
///
/// A row whose norm is below the smallest normal number counts as zero: its kernel is zero. An integer power
/// is repeated multiplication; for any other a negative base counts as zero.
struct DotProductKernel {
  double zeta = 2.0;  ///< above zero
  bool normalize = true;
};

/// K[a][b] = k(x_a, y_b), written into `K`, (x.n_rows, y.n_rows).
///
/// Every element is computed in one order that depends on the number of features alone: its bits are the same
/// for any other rows, any number of threads, and for K[b][a] of the exchanged arguments. If y.data == x.data
/// (and the shapes agree), one half is computed and mirrored.
/// Throws std::invalid_argument for zeta that is not above zero and for numbers of features that differ.
void dot_product_kernel(const DotProductKernel& kernel, const FeatureRows& x, const FeatureRows& y, double* K);

/// Rows in groups that follow each other: those of group g are [offsets[g], offsets[g + 1]).
struct RowGroups {
  std::int64_t n_groups = 0;
  const std::int64_t* offsets = nullptr;  ///< (n_groups + 1), rising from 0 to the number of rows
};

/// K[A][B] = Σ_{a in A} Σ_{b in B} k(x_a, y_b), written into `K`, (x_groups.n_groups, y_groups.n_groups).
///
/// The matrix of all pairs of rows is never stored: a thread needs a block of 384 × 384 and as many rows of
/// sums. Summed over b, then over a, in the order of the rows, so that bits do not depend on other groups or
/// on threads; if x and y are the same rows in the same groups, the lower half is mirrored.
/// Throws as dot_product_kernel does, and for offsets that do not fit the rows.
void dot_product_kernel_sums(const DotProductKernel& kernel, const FeatureRows& x, const RowGroups& x_groups,
                             const FeatureRows& y, const RowGroups& y_groups, double* K);

}  // namespace castile
