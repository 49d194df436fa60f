// The rows of a power spectrum, packed: each pair of radial functions once.
#pragma once

#include "simd/kernels.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// Products of one degree for the N columns from `column` on. Rows of like channels start at the diagonal and follow
/// each other, so whatever a vector writes before its row's first entry belongs to the rows above: they are stored
/// afterwards, which also holds for the last columns if these are stored last.
template <typename T, int N, bool like>
struct SpectrumColumns {
  int depth;
  int n;
  const T* a;
  const T* b;
  std::int64_t stride;
  const T* factors;  ///< 2 N of them, of like channels the one in the middle for the diagonal
  T* out;

  template <int Rows>
  void rows(int first, int column) const {
    Vector<T, N> sum[Rows]{};
    for (int m = 0; m < depth; ++m) {
      const Vector<T, N> right = load<N>(b + m * stride + column);
#pragma GCC unroll 16
      for (int row = 0; row < Rows; ++row) sum[row] += a[m * stride + first + row] * right;
    }
#pragma GCC unroll 16
    for (int row = Rows - 1; row >= 0; --row) {
      const int k = first + row;
      if constexpr (like) {
        const Vector<T, N> factor = load<N>(factors + (k < column ? 0 : N + column - k));
        store<N>(out + k * n - k * (k - 1) / 2 + column - k, factor * sum[row]);
      } else {
        store<N>(out + k * n + column, factors[0] * sum[row]);
      }
    }
  }

  void operator()(int column) const {
    constexpr int most = max_accumulators > 12 ? 16 : 8;
    int n_rows = like && column + N < n ? column + N : n;
    while (n_rows > 0) {
      const int size = n_rows < most ? n_rows : most;
      with_rows<most>(*this, size, n_rows - size, column);
      n_rows -= size;
    }
  }
};

/// The same where n is known to the compiler: all columns at once, as many rows as there are registers for.
template <typename T, int N, int n, bool like>
struct SmallSpectrum {
  static constexpr int n_strips = (n + N - 1) / N;
  static constexpr int column(int strip) { return strip < n_strips - 1 ? strip * N : n - N; }
  static constexpr bool has(int row, int strip) { return !like || row < column(strip) + N; }
  static constexpr int n_vectors(int first, int last) {
    int count = 0;
    for (int row = first; row < last; ++row) {
      for (int strip = 0; strip < n_strips; ++strip) count += has(row, strip) ? 1 : 0;
    }
    return count;
  }
  /// First row of the tile that ends before `last`.
  static constexpr int tile_start(int last) {
    int first = last - 1;
    while (first > 0 && n_vectors(first - 1, last) <= max_accumulators) --first;
    return first;
  }

  int depth;
  const T* a;
  const T* b;
  std::int64_t stride;
  const T* factors;
  T* out;

  template <int first, int last>
  [[gnu::always_inline]] inline void tile() const {
    Vector<T, N> sum[last - first][n_strips]{};
    for (int m = 0; m < depth; ++m) {
      Vector<T, N> right[n_strips];
#pragma GCC unroll 4
      for (int strip = 0; strip < n_strips; ++strip) right[strip] = load<N>(b + m * stride + column(strip));
#pragma GCC unroll 16
      for (int row = first; row < last; ++row) {
#pragma GCC unroll 4
        for (int strip = 0; strip < n_strips; ++strip) {
          if (has(row, strip)) sum[row - first][strip] += a[m * stride + row] * right[strip];
        }
      }
    }
#pragma GCC unroll 16
    for (int row = last - 1; row >= first; --row) {
#pragma GCC unroll 4
      for (int strip = 0; strip < n_strips; ++strip) {
        if (!has(row, strip)) continue;
        const int first_column = column(strip);
        if constexpr (like) {
          const Vector<T, N> factor = load<N>(factors + (row < first_column ? 0 : N + first_column - row));
          store<N>(out + row * n - row * (row - 1) / 2 + first_column - row, factor * sum[row - first][strip]);
        } else {
          store<N>(out + row * n + first_column, factors[0] * sum[row - first][strip]);
        }
      }
    }
    if constexpr (first > 0) tile<tile_start(first), first>();
  }

  void operator()() const { tile<tile_start(n), n>(); }
};

template <typename T, int N, bool like, typename Tile>
[[gnu::always_inline]] inline void for_each_degree(int l_max, int n, const T* weights, T* out, const Tile& tile) {
  constexpr T sqrt2 = static_cast<T>(1.41421356237309504880);
  for (int l = 0; l <= l_max; ++l) {
    T factors[2 * N];
    for (T& factor : factors) factor = sqrt2 * weights[l];
    if (like) factors[N] = weights[l];
    tile(l, factors, out);
    out += like ? n * (n + 1) / 2 : n * n;
  }
}

template <typename T, int N, bool like, int n>
void small_spectrum(int l_max, const T* a, const T* b, std::int64_t stride, const T* weights, T* out) {
  for_each_degree<T, N, like>(l_max, n, weights, out, [&](int l, const T* factors, T* of_degree) {
    SmallSpectrum<T, N, n, like>{2 * l + 1, a + l * l * stride, b + l * l * stride, stride, factors, of_degree}();
  });
}

template <typename T, int N, bool like>
void spectrum_by_columns(int l_max, int n, const T* a, const T* b, std::int64_t stride, const T* weights, T* out) {
  for_each_degree<T, N, like>(l_max, n, weights, out, [&](int l, const T* factors, T* of_degree) {
    const SpectrumColumns<T, N, like> columns{2 * l + 1, n,       a + l * l * stride, b + l * l * stride,
                                              stride,    factors, of_degree};
    int column = 0;
    for (; column + N <= n; column += N) columns(column);
    if (column < n) columns(n - N);
  });
}

/// For fewer functions than a vector holds.
template <typename T, bool like>
void spectrum_by_entries(int l_max, int n, const T* a, const T* b, std::int64_t stride, const T* weights, T* out) {
  constexpr T sqrt2 = static_cast<T>(1.41421356237309504880);
  for (int l = 0; l <= l_max; ++l) {
    for (int i = 0; i < n; ++i) {
      for (int k = like ? i : 0; k < n; ++k) {
        T sum = 0;
        for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) sum += a[lm * stride + i] * b[lm * stride + k];
        *out++ = sum * (like && i == k ? weights[l] : sqrt2 * weights[l]);
      }
    }
  }
}

/// Calls the kernel of n functions, n known to the compiler if it is First to Last.
template <typename T, int N, bool like, int First, int Last>
void spectrum_of(int l_max, int n, const T* a, const T* b, std::int64_t stride, const T* weights, T* out) {
  if constexpr (First > Last) {
    spectrum_by_columns<T, N, like>(l_max, n, a, b, stride, weights, out);
  } else {
    if (n == First) {
      small_spectrum<T, N, like, First>(l_max, a, b, stride, weights, out);
    } else {
      spectrum_of<T, N, like, First + 1, Last>(l_max, n, a, b, stride, weights, out);
    }
  }
}

template <bool like, typename T>
void packed_spectrum(int l_max, int n, const T* a, const T* b, std::int64_t stride, const T* weights, T* out) {
  constexpr int N = static_cast<int>(32 / sizeof(T));
  if (n >= N) {
    spectrum_of<T, N, like, N, 12>(l_max, n, a, b, stride, weights, out);
  } else if (n >= 4) {
    spectrum_of<T, 4, like, 4, 7>(l_max, n, a, b, stride, weights, out);
  } else {
    spectrum_by_entries<T, like>(l_max, n, a, b, stride, weights, out);
  }
}

template <typename T>
void spectrum(int l_max, int n, bool like, const T* a, const T* b, std::int64_t stride, const T* weights, T* out) {
  if (like) {
    packed_spectrum<true>(l_max, n, a, b, stride, weights, out);
  } else {
    packed_spectrum<false>(l_max, n, a, b, stride, weights, out);
  }
  end_kernel();
}

template <typename T>
void unpack_like_entries(int n, int n_padded, const T* grad, T weight, T* W) {
  const T factor = static_cast<T>(1.41421356237309504880) * weight;
  for (int i = 0; i < n; ++i) {
    W[i * n_padded + i] = T(2) * weight * *grad++;
    for (int k = i + 1; k < n; ++k) W[i * n_padded + k] = W[k * n_padded + i] = factor * *grad++;
  }
}

template <typename T>
void unpack_unlike_entries(int n, int n_padded, const T* grad, T weight, T* W, T* transposed) {
  const T factor = static_cast<T>(1.41421356237309504880) * weight;
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < n; ++k) W[i * n_padded + k] = transposed[k * n_padded + i] = factor * *grad++;
  }
}

/// Eight functions, which a register holds.
template <typename T>
void unpack_like_eight(const T* grad, T weight, T* W) {
  using V = Vector<T, 8>;
  const T factor = static_cast<T>(1.41421356237309504880) * weight;
  V rows[8], columns[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    // Row i starts at the diagonal; before it lie entries of the rows above.
    V row = factor * load<8>(grad + 8 * i - i * (i - 1) / 2 - i);
    row[i] = weight * grad[8 * i - i * (i - 1) / 2];
#pragma GCC unroll 8
    for (int k = 0; k < i; ++k) row[k] = T(0);
    rows[i] = row;
  }
  transpose_eight<T>(rows, columns);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) store<8>(W + 8 * i, V(rows[i] + columns[i]));
}

template <typename T>
void unpack_unlike_eight(const T* grad, T weight, T* W, T* transposed) {
  using V = Vector<T, 8>;
  const T factor = static_cast<T>(1.41421356237309504880) * weight;
  V rows[8], columns[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) rows[i] = factor * load<8>(grad + 8 * i);
  transpose_eight<T>(rows, columns);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    store<8>(W + 8 * i, rows[i]);
    store<8>(transposed + 8 * i, columns[i]);
  }
}

template <typename T>
void unpack_spectrum(int l_max, int n, int n_padded, bool like, const T* grad, const T* weights, T* W, T* transposed) {
  const bool eight = n == 8 && n_padded == 8 && register_bytes >= 8 * static_cast<int>(sizeof(T));
  for (int l = 0; l <= l_max; ++l) {
    if (like) {
      if (eight) {
        unpack_like_eight(grad, weights[l], W);
      } else {
        unpack_like_entries(n, n_padded, grad, weights[l], W);
      }
      grad += n * (n + 1) / 2;
    } else {
      if (eight) {
        unpack_unlike_eight(grad, weights[l], W, transposed);
      } else {
        unpack_unlike_entries(n, n_padded, grad, weights[l], W, transposed);
      }
      grad += n * n;
      transposed += n * n_padded;
    }
    W += n * n_padded;
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
