// How loops over degrees and rows are cut into register tiles whose size the compiler knows.
#pragma once

#include "castile/math/spherical_harmonics.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// Accumulators that fit into the register file beside the operands.
constexpr int max_accumulators = register_count == 32 ? 27 : 12;

/// Widest vector that rows of n_padded numbers (a multiple of 32 bytes) divide into.
template <typename T>
constexpr int native_lanes = static_cast<int>(register_bytes / sizeof(T));
template <typename T>
constexpr int half_lanes = register_bytes > 32 ? native_lanes<T> / 2 : native_lanes<T>;

/// A number that the type system carries (the standard library's is a template, hence a weak symbol).
template <int value_>
struct Constant {
  static constexpr int value = value_;
};

/// Degree of row lm, at compile time.
constexpr int degree_of(int lm) {
  int l = 0;
  while ((l + 1) * (l + 1) <= lm) ++l;
  return l;
}

struct DegreeTable {
  int degree[13 * 13];
};
constexpr DegreeTable make_degree_table() {
  DegreeTable table{};
  for (int lm = 0; lm < 13 * 13; ++lm) table.degree[lm] = degree_of(lm);
  return table;
}
constexpr DegreeTable degree_table = make_degree_table();

/// Last degree of the group that starts at l0 and keeps at most max_rows rows (lm) in registers.
constexpr int group_end(int l0, int max_rows) {
  int l1 = l0;
  while ((l1 + 2) * (l1 + 2) - l0 * l0 <= max_rows) ++l1;
  return l1;
}

/// Calls kernel.rows<n>(...) with n known at compile time, 1 <= n <= MaxRows.
template <int MaxRows, typename Kernel, typename... Arguments>
[[gnu::always_inline]] inline void with_rows(const Kernel& kernel, int n_rows, Arguments... arguments) {
  if constexpr (MaxRows > 1) {
    if (n_rows < MaxRows) return with_rows<MaxRows - 1>(kernel, n_rows, arguments...);
  }
  kernel.template rows<MaxRows>(arguments...);
}

/// Cuts n_rows into nearly equal tiles of at most MaxRows and calls kernel.rows<size>(first row, ...).
template <int MaxRows, typename Kernel, typename... Arguments>
[[gnu::always_inline]] inline void for_row_tiles(const Kernel& kernel, int n_rows, Arguments... arguments) {
  const int n_tiles = (n_rows + MaxRows - 1) / MaxRows;
  int first = 0;
  for (int tile = 0; tile < n_tiles; ++tile) {
    const int size = (n_rows - first + (n_tiles - tile) - 1) / (n_tiles - tile);
    with_rows<MaxRows>(kernel, size, first, arguments...);
    first += size;
  }
}

template <int L0, int L1, typename Kernel>
[[gnu::always_inline]] inline void with_degrees(const Kernel& kernel, int l1) {
  if constexpr (L1 > L0) {
    if (l1 < L1) return with_degrees<L0, L1 - 1>(kernel, l1);
  }
  kernel.template degrees<L0, L1>();
}

/// Covers the rows lm of all degrees up to l_max: kernel.degrees<L0, L1>() for groups of whole degrees that fit
/// into MaxRows rows, kernel.rows<n>(first, l) for tiles of a single degree that does not.
template <int MaxRows, typename Kernel, int L0 = 0>
inline void for_degree_groups(const Kernel& kernel, int l_max) {
  constexpr int L1 = group_end(L0, MaxRows);
  if constexpr (2 * L0 + 1 <= MaxRows && L1 <= 12) {
    with_degrees<L0, L1>(kernel, l_max < L1 ? l_max : L1);
    if (l_max > L1) for_degree_groups<MaxRows, Kernel, L1 + 1>(kernel, l_max);
  } else {
    for (int l = L0; l <= l_max; ++l) for_row_tiles<MaxRows>(kernel, 2 * l + 1, l);
  }
}

}  // namespace
}  // namespace castile::simd
