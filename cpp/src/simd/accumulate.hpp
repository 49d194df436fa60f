// c[lm][n] += Σ_j Y_lm(j) R_l[n](j): lanes over n, a tile of rows lm kept in registers over all neighbors.
#pragma once

#include "simd/kernels.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// One strip of NV vectors of N lanes each.
template <typename T, int N, int NV>
struct AccumulateStrip {
  std::int64_t count;
  const T* Y;
  const T* R;
  T* c;
  std::int64_t c_stride;
  std::int64_t row_length;
  int n_lm;
  int n_padded;

  template <int L0, int L1>
  void degrees() const {
    tile<(L1 + 1) * (L1 + 1) - L0 * L0>(L0 * L0, [](int row) { return degree_table.degree[L0 * L0 + row]; });
  }

  template <int Rows>
  void rows(int first, int l) const {
    tile<Rows>(l * l + first, [l](int) { return l; });
  }

  template <int Rows, typename DegreeOf>
  [[gnu::always_inline]] inline void tile(int lm0, DegreeOf degree) const {
    constexpr int W = lanes<T>;
    Vector<T, N> sum[Rows][NV];
#pragma GCC unroll 32
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[row][v] = load<N>(c + (lm0 + row) * c_stride + v * N);
    }
    for (std::int64_t j = 0; j < count; ++j) {
      const T* y = Y + ((j / W) * n_lm + lm0) * W + j % W;
      const T* r = R + j * row_length;
#pragma GCC unroll 32
      for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) sum[row][v] += y[row * W] * load<N>(r + degree(row) * n_padded + v * N);
      }
    }
#pragma GCC unroll 32
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) store<N>(c + (lm0 + row) * c_stride + v * N, sum[row][v]);
    }
  }
};

template <typename T, int N>
void accumulate_strips(int l_max, int n_padded, std::int64_t count, const T* Y, const T* R, T* c,
                       std::int64_t c_stride) {
  constexpr int strip = max_accumulators >= 27 ? 3 : 2;
  const std::int64_t row_length = static_cast<std::int64_t>(l_max + 1) * n_padded;
  int n = 0;
  const auto run = [&](auto strip_vectors) {
    constexpr int NV = decltype(strip_vectors)::value;
    const AccumulateStrip<T, N, NV> kernel{count, Y, R + n, c + n, c_stride, row_length, n_lm(l_max), n_padded};
    for_degree_groups<max_accumulators / NV>(kernel, l_max);
    n += NV * N;
  };
  while (n_padded - n >= strip * N) run(Constant<strip>{});
  if constexpr (strip == 3) {
    if (n_padded - n >= 2 * N) run(Constant<2>{});
  }
  if (n_padded - n >= N) run(Constant<1>{});
}

template <typename T>
void accumulate(int l_max, int n_padded, std::int64_t count, const T* Y, const T* R, T* c, std::int64_t c_stride) {
  if (n_padded % native_lanes<T> == 0) {
    accumulate_strips<T, native_lanes<T>>(l_max, n_padded, count, Y, R, c, c_stride);
  } else {
    accumulate_strips<T, half_lanes<T>>(l_max, n_padded, count, Y, R, c, c_stride);
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
