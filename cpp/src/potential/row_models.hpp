// Energies as functions of a row of features: sums of kernels with sparse points, and what they collapse to.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/potential/descriptor_term.hpp"

namespace castile {

/// Rows that a model takes at once: enough for its matrix products, few enough for the cache.
constexpr std::int64_t rows_at_once = 32;

/// Where the energies of the members of a committee are summed.
struct SegmentSums {
  double* values = nullptr;  ///< (n_segments, n_members); null if they are not wanted
  int n_members = 0;
  const std::int64_t* segments = nullptr;  ///< of each row; rising from one call to the next
};

class RowModel {
 public:
  struct Workspace {
    AlignedVector<double> kernel, power, slopes, values, gemm;
    AlignedVector<double> members;
    AlignedVector<double> components, by_components;
    // Rows that are kept until the last one has come, how many of them each segment has, and what is made of them.
    struct Run {
      std::int64_t segment, n_rows;
    };
    std::vector<Run> runs;
    AlignedVector<double> rows, columns, moments;
  };

  virtual ~RowModel() = default;

  /// energies[r] of n <= rows_at_once rows (n, n_features) and, unless they are null, their gradients (n, n_features)
  /// and the energies of the members of a committee, which are added to those of the rows' segments.
  virtual void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients,
                        const SegmentSums& members, Workspace& workspace) const = 0;

  /// Adds to the members' energies what needs all rows of a segment; called when there are no more rows.
  virtual void finish(const SegmentSums&, Workspace&) const {}
};

/// Σ_m weights[m] (row · points[m])^zeta in the form that takes the fewest operations: of all points, a quadratic form
/// (zeta 2) or a vector (zeta 1).
std::unique_ptr<RowModel> make_row_model(double zeta, std::int64_t n_features, const SparsePoints& points);

}  // namespace castile
