// From products of a center's Jacobian with many points to rows of a design matrix.
#pragma once

#include <cstdint>

#include "simd/kernels.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// Columns [k, k + N) of all pairs; the sums over pairs stay in registers.
template <int N, bool with_strain, typename T>
[[gnu::always_inline]] inline void add_some_columns(std::int64_t k, const PairColumns<T>& in) {
  using V = Vector<T, N>;
  const V scale = load<N>(in.scale + k);
  const V slope = load<N>(in.slope + k);
  V own[3] = {};
  V strain[6] = {};
  for (std::int64_t pair = 0; pair < in.n_pairs; ++pair) {
    T* rows = in.rows + in.row_of[pair] * in.row_stride + k;
    const T* products = in.products + 3 * pair * in.product_stride + k;
    V g[3];
#pragma GCC unroll 3
    for (int axis = 0; axis < 3; ++axis) {
      g[axis] = unfused(load<N>(products + axis * in.product_stride) * scale) + in.along[3 * pair + axis] * slope;
      T* row = rows + axis * in.row_stride;
      store<N>(row, load<N>(row) + g[axis]);
      own[axis] += g[axis];
    }
    if constexpr (with_strain) {
      const T x = static_cast<T>(in.D[3 * pair]);
      const T y = static_cast<T>(in.D[3 * pair + 1]);
      const T z = static_cast<T>(in.D[3 * pair + 2]);
      const T half_x = T(0.5) * x, half_y = T(0.5) * y, half_z = T(0.5) * z;
      strain[0] += x * g[0];
      strain[1] += y * g[1];
      strain[2] += z * g[2];
      strain[3] += half_y * g[2];
      strain[4] += half_x * g[2];
      strain[5] += half_x * g[1];
      strain[3] += half_z * g[1];
      strain[4] += half_z * g[0];
      strain[5] += half_y * g[0];
    }
  }
#pragma GCC unroll 3
  for (int axis = 0; axis < 3; ++axis) {
    T* row = in.rows + (in.own_row + axis) * in.row_stride + k;
    store<N>(row, load<N>(row) - own[axis]);
  }
  if constexpr (with_strain) {
#pragma GCC unroll 6
    for (int v = 0; v < 6; ++v) {
      T* row = in.rows + (in.strain_row + v) * in.row_stride + k;
      store<N>(row, load<N>(row) + strain[v]);
    }
  }
}

template <bool with_strain, typename T>
void add_all_columns(std::int64_t n, const PairColumns<T>& in) {
  constexpr int width = register_bytes / static_cast<int>(sizeof(T));
  for (std::int64_t k = 0; k < n; k += width) add_some_columns<width, with_strain>(k, in);
}

template <typename T>
void add_pair_columns(std::int64_t n, const PairColumns<T>& pairs) {
  if (pairs.strain_row >= 0) {
    add_all_columns<true>(n, pairs);
  } else {
    add_all_columns<false>(n, pairs);
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
