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

/// Calls piece(Constant<size>, place in a table row, place among the functions [l][n]) for all functions, in pieces of
/// N as far as possible, else of M.
template <int N, int M, typename T, typename Piece>
[[gnu::always_inline]] inline void for_each_piece(const RadialTableView<T>& table, const Piece& piece) {
  // A single strip is in the same order as the functions.
  const bool single = table.n_padded <= lanes<T>;
  const int n_degrees = single ? 1 : table.l_max + 1;
  for (int first = 0; first < table.n_padded; first += lanes<T>) {
    const std::int64_t width = single ? table.n_functions() : table.strip_width(first);
    for (int l = 0; l < n_degrees; ++l) {
      const std::int64_t place = table.strip_start(first) + l * width;
      const std::int64_t function = l * table.n_padded + first;
      std::int64_t n = 0;
      for (; n + N <= width; n += N) piece(Constant<N>(), place + n, function + n);
      if constexpr (M < N) {
        for (; n < width; n += M) piece(Constant<M>(), place + n, function + n);
      }
    }
  }
}

/// out[neighbor][l][n] for whole blocks of neighbors, or `count` of them.
template <int K, typename T>
void radial_rows(const RadialTableView<T>& table, std::int64_t count, const std::int32_t* row, const T* weights,
                 T* out) {
  const std::int64_t length = table.row_length;
  for (std::int64_t j = 0; j < count; ++j) {
    const T* entry = table.data + static_cast<std::int64_t>(row[j]) * table.orders * length;
    const T* w = weights_of<K>(weights, j);
    T* values = out + j * table.n_functions();
    for_each_piece<native_lanes<T>, half_lanes<T>>(
        table, [&](auto size, std::int64_t place, std::int64_t function) __attribute__((always_inline)) {
          constexpr int N = decltype(size)::value;
          store<N>(values + function, interpolate<N, K>(entry + place, length, w));
        });
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

/// out[column * stride + 0..3] = a[column], b[column], c[column], d[column]
template <typename T, int N>
[[gnu::always_inline]] inline void store_transposed(const Vector<T, N> (&rows)[4], T* out, std::int64_t stride) {
#if defined(__clang__) || __GNUC__ >= 12
  if constexpr (N == 4) {
    const auto ab_even = __builtin_shufflevector(rows[0], rows[1], 0, 4, 2, 6);
    const auto ab_odd = __builtin_shufflevector(rows[0], rows[1], 1, 5, 3, 7);
    const auto cd_even = __builtin_shufflevector(rows[2], rows[3], 0, 4, 2, 6);
    const auto cd_odd = __builtin_shufflevector(rows[2], rows[3], 1, 5, 3, 7);
    store<4>(out, Vector<T, 4>(__builtin_shufflevector(ab_even, cd_even, 0, 1, 4, 5)));
    store<4>(out + stride, Vector<T, 4>(__builtin_shufflevector(ab_odd, cd_odd, 0, 1, 4, 5)));
    store<4>(out + 2 * stride, Vector<T, 4>(__builtin_shufflevector(ab_even, cd_even, 2, 3, 6, 7)));
    store<4>(out + 3 * stride, Vector<T, 4>(__builtin_shufflevector(ab_odd, cd_odd, 2, 3, 6, 7)));
    return;
  } else if constexpr (N == 8) {
    const auto ab_even = __builtin_shufflevector(rows[0], rows[1], 0, 8, 2, 10, 4, 12, 6, 14);
    const auto ab_odd = __builtin_shufflevector(rows[0], rows[1], 1, 9, 3, 11, 5, 13, 7, 15);
    const auto cd_even = __builtin_shufflevector(rows[2], rows[3], 0, 8, 2, 10, 4, 12, 6, 14);
    const auto cd_odd = __builtin_shufflevector(rows[2], rows[3], 1, 9, 3, 11, 5, 13, 7, 15);
    const auto store_two = [out, stride](int column, Vector<T, 8> both) {
      store<4>(out + column * stride, Vector<T, 4>(__builtin_shufflevector(both, both, 0, 1, 2, 3)));
      store<4>(out + (column + 2) * stride, Vector<T, 4>(__builtin_shufflevector(both, both, 4, 5, 6, 7)));
    };
    store_two(0, __builtin_shufflevector(ab_even, cd_even, 0, 1, 8, 9, 2, 3, 10, 11));
    store_two(1, __builtin_shufflevector(ab_odd, cd_odd, 0, 1, 8, 9, 2, 3, 10, 11));
    store_two(4, __builtin_shufflevector(ab_even, cd_even, 4, 5, 12, 13, 6, 7, 14, 15));
    store_two(5, __builtin_shufflevector(ab_odd, cd_odd, 4, 5, 12, 13, 6, 7, 14, 15));
    return;
  }
#endif
  for (int column = 0; column < N; ++column) {
    for (int row = 0; row < 4; ++row) out[column * stride + row] = rows[row][column];
  }
}

/// values[0..3] and derivatives[0..3] of four neighbors, W apart, for N functions of a row.
template <int N, int K, typename T>
[[gnu::always_inline]] inline void interpolate_four(const T* const (&entry)[4], std::int64_t place, std::int64_t length,
                                                    const T* weights, const T* derivative_weights, T* values,
                                                    T* derivatives) {
  constexpr int W = lanes<T>;
  Vector<T, N> value[4];
  Vector<T, N> derivative[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vector<T, N> first = load<N>(entry[j] + place);
    value[j] = weights[j] * first;
    derivative[j] = derivative_weights[j] * first;
#pragma GCC unroll 6
    for (int k = 1; k < K; ++k) {
      const Vector<T, N> knot = load<N>(entry[j] + place + k * length);
      value[j] += weights[k * W + j] * knot;
      derivative[j] += derivative_weights[k * W + j] * knot;
    }
  }
  store_transposed<T, N>(value, values, W);
  store_transposed<T, N>(derivative, derivatives, W);
}

/// values[l n][lane] and derivatives[l n][lane] of one block of neighbors.
template <int K, typename T>
void radial_transposed(const RadialTableView<T>& table, const std::int32_t* row, const T* weights,
                       const T* derivative_weights, T* values, T* derivatives) {
  constexpr int W = lanes<T>;
  constexpr int N = register_bytes >= 8 * static_cast<int>(sizeof(T)) ? 8 : 4;
  const std::int64_t length = table.row_length;
  for (int j = 0; j < W; j += 4) {
    const T* entry[4];
    for (int k = 0; k < 4; ++k) {
      entry[k] = table.data + static_cast<std::int64_t>(row[j + k]) * table.orders * length;
    }
    for_each_piece<N, 4>(
        table, [&](auto size, std::int64_t place, std::int64_t function) __attribute__((always_inline)) {
          interpolate_four<decltype(size)::value, K>(entry, place, length, weights + j, derivative_weights + j,
                                                     values + function * W + j, derivatives + function * W + j);
        });
  }
}

}  // namespace
}  // namespace castile::simd
