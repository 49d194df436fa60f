// Products of small matrices whose rows are a few vectors long: the power spectrum and its derivatives.
#pragma once

#include "simd/kernels.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// Row i of the left matrix starts at a + i * a_row, its entries are a_k apart; rows of the right one b_k apart.
template <typename T, int N, int NV, bool add>
struct ProductStrip {
  int depth;
  const T* a;
  std::int64_t a_row;
  std::int64_t a_k;
  const T* b;
  std::int64_t b_k;
  T* out;
  std::int64_t out_row;

  template <int Rows>
  void rows(int first) const {
    Vector<T, N> sum[Rows][NV];
#pragma GCC unroll 32
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        sum[row][v] = add ? load<N>(out + (first + row) * out_row + v * N) : Vector<T, N>{};
      }
    }
    for (int k = 0; k < depth; ++k) {
      const T* left = a + first * a_row + k * a_k;
      const T* right = b + k * b_k;
#pragma GCC unroll 32
      for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) sum[row][v] += left[row * a_row] * load<N>(right + v * N);
      }
    }
#pragma GCC unroll 32
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) store<N>(out + (first + row) * out_row + v * N, sum[row][v]);
    }
  }
};

template <bool add, int N, typename T>
void product_strips(int n_rows, int n_columns, int depth, const T* a, std::int64_t a_row, std::int64_t a_k, const T* b,
                    std::int64_t b_k, T* out, std::int64_t out_row) {
  constexpr int max_rows = 6;
  int column = 0;
  for (; n_columns - column >= 2 * N; column += 2 * N) {
    const ProductStrip<T, N, 2, add> strip{depth, a, a_row, a_k, b + column, b_k, out + column, out_row};
    for_row_tiles<max_rows>(strip, n_rows);
  }
  if (n_columns - column >= N) {
    const ProductStrip<T, N, 1, add> strip{depth, a, a_row, a_k, b + column, b_k, out + column, out_row};
    for_row_tiles<2 * max_rows>(strip, n_rows);
  }
}

template <bool add, typename T>
void product(int n_rows, int n_columns, int depth, const T* a, std::int64_t a_row, std::int64_t a_k, const T* b,
             std::int64_t b_k, T* out, std::int64_t out_row) {
  const auto strips = n_columns % native_lanes<T> == 0 ? product_strips<add, native_lanes<T>, T>
                                                       : product_strips<add, half_lanes<T>, T>;
  strips(n_rows, n_columns, depth, a, a_row, a_k, b, b_k, out, out_row);
}

template <typename T>
void small_product(int n_rows, int n_columns, int depth, const T* a, std::int64_t a_row, std::int64_t a_k, const T* b,
                   std::int64_t b_k, T* out, std::int64_t out_row) {
  product<false>(n_rows, n_columns, depth, a, a_row, a_k, b, b_k, out, out_row);
  end_kernel();
}

template <typename T>
void bilinear_forms(int l_max, int n, int n_padded, const T* a, const T* b, std::int64_t stride, T* out) {
  for (int l = 0; l <= l_max; ++l) {
    product<false>(n, n_padded, 2 * l + 1, a + l * l * stride, 1, stride, b + l * l * stride, stride, out, n_padded);
    out += n * n_padded;
  }
  end_kernel();
}

template <typename T>
void bilinear_adjoint(int l_max, int n, int n_padded, const T* W, const T* c, T* g, std::int64_t stride) {
  for (int l = 0; l <= l_max; ++l) {
    product<true>(2 * l + 1, n_padded, n, c + l * l * stride, stride, 1, W, n_padded, g + l * l * stride, stride);
    W += n * n_padded;
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
