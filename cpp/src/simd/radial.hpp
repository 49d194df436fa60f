// Interpolation in the radial table: lanes over the functions n, or transposed with lanes over neighbors.
#pragma once

#include "simd/kernels.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// The first of the K weights of neighbor j; the others follow `lanes` apart.
template <int K, typename T>
[[gnu::always_inline]] inline const T* weights_of(const T* weights, std::int64_t j) {
  constexpr int W = lanes<T>;
  return weights + j / W * K * W + j % W;
}

/// Two neighboring rows of the table follow each other, so the interpolation is one short dot product.
template <int N, int K, typename T>
[[gnu::always_inline]] inline Vector<T, N> interpolate(const T* entry, std::int64_t row_length, const T* weights) {
  Vector<T, N> sum = weights[0] * load<N>(entry);
#pragma GCC unroll 6
  for (int k = 1; k < K; ++k) sum += weights[k * lanes<T>] * load<N>(entry + k * row_length);
  return sum;
}

template <int K, typename T>
void radial_rows(const RadialTableView<T>& table, std::int64_t count, const std::int32_t* row, const T* weights,
                 T* out) {
  constexpr int N = native_lanes<T>;
  constexpr int tail = half_lanes<T>;
  const std::int64_t length = table.row_length;
  for (std::int64_t j = 0; j < count; ++j) {
    const T* entry = table.data + static_cast<std::int64_t>(row[j]) * table.orders * length;
    const T* w = weights_of<K>(weights, j);
    T* values = out + j * length;
    std::int64_t q = 0;
    for (; q + N <= length; q += N) store<N>(values + q, interpolate<N, K>(entry + q, length, w));
    if constexpr (tail < N) {
      if (q < length) store<tail>(values + q, interpolate<tail, K>(entry + q, length, w));
    }
  }
}

template <typename T>
void radial(const RadialTableView<T>& table, std::int64_t count, const std::int32_t* row, const T* weights, T* out) {
  if (table.orders == 2) {
    radial_rows<4>(table, count, row, weights, out);
  } else {
    radial_rows<6>(table, count, row, weights, out);
  }
  end_kernel();
}

template <typename T>
[[gnu::always_inline]] inline void transpose_4x4(Vector<T, 4> a, Vector<T, 4> b, Vector<T, 4> c, Vector<T, 4> d, T* out,
                                                 std::int64_t stride) {
#if defined(__clang__) || __GNUC__ >= 12
  const auto ab_even = __builtin_shufflevector(a, b, 0, 4, 2, 6);
  const auto ab_odd = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  const auto cd_even = __builtin_shufflevector(c, d, 0, 4, 2, 6);
  const auto cd_odd = __builtin_shufflevector(c, d, 1, 5, 3, 7);
  store<4>(out, Vector<T, 4>(__builtin_shufflevector(ab_even, cd_even, 0, 1, 4, 5)));
  store<4>(out + stride, Vector<T, 4>(__builtin_shufflevector(ab_odd, cd_odd, 0, 1, 4, 5)));
  store<4>(out + 2 * stride, Vector<T, 4>(__builtin_shufflevector(ab_even, cd_even, 2, 3, 6, 7)));
  store<4>(out + 3 * stride, Vector<T, 4>(__builtin_shufflevector(ab_odd, cd_odd, 2, 3, 6, 7)));
#else
  for (int column = 0; column < 4; ++column) {
    out[column * stride] = a[column];
    out[column * stride + 1] = b[column];
    out[column * stride + 2] = c[column];
    out[column * stride + 3] = d[column];
  }
#endif
}

/// values[l n][lane] and derivatives[l n][lane] of one block of neighbors.
template <int K, typename T>
void radial_transposed(const RadialTableView<T>& table, const std::int32_t* row, const T* weights,
                       const T* derivative_weights, T* values, T* derivatives) {
  constexpr int W = lanes<T>;
  const std::int64_t length = table.row_length;
  for (int j = 0; j < W; j += 4) {
    const T* entry[4];
    for (int k = 0; k < 4; ++k) {
      entry[k] = table.data + static_cast<std::int64_t>(row[j + k]) * table.orders * length;
    }
    for (std::int64_t q = 0; q < length; q += 4) {
      Vector<T, 4> value[4];
      Vector<T, 4> derivative[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        value[k] = interpolate<4, K>(entry[k] + q, length, weights + j + k);
        derivative[k] = interpolate<4, K>(entry[k] + q, length, derivative_weights + j + k);
      }
      transpose_4x4<T>(value[0], value[1], value[2], value[3], values + q * W + j, W);
      transpose_4x4<T>(derivative[0], derivative[1], derivative[2], derivative[3], derivatives + q * W + j, W);
    }
  }
}

}  // namespace
}  // namespace castile::simd
