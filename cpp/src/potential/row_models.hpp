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

class RowModel {
 public:
  struct Workspace {
    AlignedVector<double> kernel, power, slopes, values, gemm;
  };

  virtual ~RowModel() = default;

  /// energies[r] of n <= rows_at_once rows (n, n_features) and, unless they are null, their gradients (n, n_features)
  /// and the energies of the members of a committee (n, n_members).
  virtual void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, double* members,
                        Workspace& workspace) const = 0;
};

/// Σ_m weights[m] (row · points[m])^zeta in the form that takes the fewest operations: of all points, a quadratic form
/// (zeta 2) or a vector (zeta 1).
std::unique_ptr<RowModel> make_row_model(double zeta, std::int64_t n_features, const SparsePoints& points);

}  // namespace castile
