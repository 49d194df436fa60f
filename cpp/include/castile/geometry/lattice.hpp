#pragma once

#include <array>
#include <cstdint>

namespace castile {

/// A basis of a structure's periodic directions whose vectors are as short as they can be.
///
/// Rows 0 to n_periodic - 1 span the same lattice as the periodic cell vectors, sorted by length; the other
/// rows are unit vectors orthogonal to those and to each other. The basis may be left-handed.
struct ReducedLattice {
  int n_periodic = 0;
  /// (3, 3) row k = sum over m of transformation[k][m] * cell[m]; zero for rows that are not periodic.
  std::array<std::array<std::int64_t, 3>, 3> transformation{};
  /// (3, 3) orthonormal rows: axis k lies in the span of the basis vectors 0 to k.
  std::array<std::array<double, 3>, 3> axes{};
  /// (3, 3) the basis along these axes: lower triangular, with a positive diagonal.
  std::array<std::array<double, 3>, 3> basis{};
};

/// Reduces the periodic cell vectors (Minkowski); cell is (3, 3), its rows the vectors in Å.
///
/// Throws std::invalid_argument for a periodic axis without a cell vector, for periodic vectors that are not
/// finite or span no volume, and for cells too skewed for 32-bit cell shifts.
ReducedLattice reduce_lattice(const std::array<double, 9>& cell, const std::array<bool, 3>& pbc);

}  // namespace castile
