// c[lm][n] += Σ_j Y_lm(j) R_l[n](j): lanes over n, a tile of rows lm kept in registers over all neighbors.
#pragma once

#include "simd/kernels.hpp"
#include "simd/radial.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// Radial functions that were interpolated before, [neighbor][l][n].
template <typename T, int N>
struct StoredRadial {
  const T* R;
  std::int64_t row_length;

  struct Neighbor {
    const T* R;
    [[gnu::always_inline]] inline Vector<T, N> operator()(std::int64_t entry) const { return load<N>(R + entry); }
  };
  [[gnu::always_inline]] inline Neighbor operator()(std::int64_t j) const { return {R + j * row_length}; }
};

/// Radial functions that are interpolated where they are used: with many registers cheaper than storing them.
template <typename T, int N, int K>
struct InterpolatedRadial {
  const T* table;
  std::int64_t row_length;
  const std::int32_t* row;
  const T* weights;

  struct Neighbor {
    const T* entries;
    std::int64_t row_length;
    const T* weights;
    [[gnu::always_inline]] inline Vector<T, N> operator()(std::int64_t entry) const {
      return interpolate<N, K>(entries + entry, row_length, weights);
    }
  };
  [[gnu::always_inline]] inline Neighbor operator()(std::int64_t j) const {
    return {table + row[j] * (K / 2) * row_length, row_length, weights_of<K>(weights, j)};
  }
};

/// One strip of NV vectors of N lanes each.
template <typename T, int N, int NV, typename Radial>
struct AccumulateStrip {
  std::int64_t count;
  const T* Y;
  Radial radial;
  bool begins;
  const T* factors;
  T* c;
  std::int64_t c_stride;
  int n_lm;
  int degree_stride;  ///< of the radial functions

  template <int L0, int L1>
  void degrees() const {
    tile<L0, L1, (L1 + 1) * (L1 + 1) - L0 * L0>(L0 * L0, 0);
  }

  template <int Rows>
  void rows(int first, int l) const {
    tile<0, 0, Rows>(l * l + first, l);
  }

  /// The rows of degrees L0 to L1, or Rows rows of degree `l`.
  template <int L0, int L1, int Rows>
  [[gnu::always_inline]] inline void tile(int lm0, int l) const {
    constexpr int W = lanes<T>;
    constexpr bool whole = Rows == (L1 + 1) * (L1 + 1) - L0 * L0;
    Vector<T, N> sum[Rows][NV];
#pragma GCC unroll 32
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        sum[row][v] = begins ? Vector<T, N>{} : load<N>(c + (lm0 + row) * c_stride + v * N);
      }
    }
    for (std::int64_t j = 0; j < count; ++j) {
      const T* y = Y + ((j / W) * n_lm + lm0) * W + j % W;
      const auto R = radial(j);
#pragma GCC unroll 16
      for (int degree = L0; degree <= L1; ++degree) {
        constexpr int first_degree = L0;
        const int begin = whole ? degree * degree - first_degree * first_degree : 0;
        const int end = whole ? (degree + 1) * (degree + 1) - first_degree * first_degree : Rows;
        Vector<T, N> r[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) r[v] = R((l + degree) * degree_stride + v * N);
#pragma GCC unroll 32
        for (int row = begin; row < end; ++row) {
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) sum[row][v] += y[row * W] * r[v];
        }
      }
    }
#pragma GCC unroll 32
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        if (factors != nullptr) sum[row][v] *= factors[lm0 + row];
        store<N>(c + (lm0 + row) * c_stride + v * N, sum[row][v]);
      }
    }
  }
};

/// c[lm] of a single radial function: lanes over neighbors, whose sum comes last.
template <typename T, int N>
struct AccumulateColumn {
  std::int64_t n_blocks;
  const T* Y;
  const T* R;  ///< [l][neighbor], rows n_blocks * lanes long
  bool begins;
  const T* factors;
  T* c;
  std::int64_t c_stride;
  int n_lm;

  template <int L0, int L1>
  void degrees() const {
    tile<L0, L1, (L1 + 1) * (L1 + 1) - L0 * L0>(L0 * L0, 0);
  }

  template <int Rows>
  void rows(int first, int l) const {
    tile<0, 0, Rows>(l * l + first, l);
  }

  template <int L0, int L1, int Rows>
  [[gnu::always_inline]] inline void tile(int lm0, int l) const {
    constexpr int W = lanes<T>;
    constexpr bool whole = Rows == (L1 + 1) * (L1 + 1) - L0 * L0;
    constexpr int padded = (Rows + N - 1) / N * N;
    Vector<T, N> sum[padded]{};
    for (std::int64_t block = 0; block < n_blocks; ++block) {
      const T* y = Y + (block * n_lm + lm0) * W;
      const T* radial = R + l * n_blocks * W + block * W;
      for (int lane = 0; lane < W; lane += N) {
#pragma GCC unroll 16
        for (int degree = L0; degree <= L1; ++degree) {
          constexpr int first_degree = L0;
          const int begin = whole ? degree * degree - first_degree * first_degree : 0;
          const int end = whole ? (degree + 1) * (degree + 1) - first_degree * first_degree : Rows;
          const Vector<T, N> r = load<N>(radial + degree * n_blocks * W + lane);
#pragma GCC unroll 32
          for (int row = begin; row < end; ++row) sum[row] += load<N>(y + row * W + lane) * r;
        }
      }
    }
#pragma GCC unroll 4
    for (int first = 0; first < padded; first += N) {
      T total[N];
      store<N>(total, sums_of_lanes<T, N>(sum + first));
      for (int row = first; row < first + N && row < Rows; ++row) {
        T* out = c + (lm0 + row) * c_stride;
        const T value = begins ? total[row - first] : *out + total[row - first];
        *out = factors == nullptr ? value : factors[lm0 + row] * value;
      }
    }
  }
};

/// The last functions of a row, one or two, where a strip of vectors would be mostly padding.
template <int K, typename T>
void accumulate_columns(int l_max, const RadialTableView<T>& table, int first, const DensityTerms<T>& terms,
                        bool begins, const T* factors, T* c, std::int64_t c_stride, T* scratch) {
  constexpr int W = lanes<T>;
  constexpr int N = native_lanes<T>;
  constexpr int half = half_lanes<T>;
  const std::int64_t n_blocks = (terms.count + W - 1) / W;
  const std::int64_t n_slots = n_blocks * W;
  const int width = table.strip_width(first);
  const int n_columns = table.n_max - first;
  T* R[2] = {scratch, scratch + (l_max + 1) * n_slots};
  const T* strip = table.data + table.strip_start(first);
  const std::int64_t length = std::int64_t{l_max + 1} * width;
  alignas(64) T functions[(largest_l_max + 1) * static_cast<int>(64 / sizeof(T))];
  for (std::int64_t j = 0; j < n_slots; ++j) {
    const T* entry = strip + static_cast<std::int64_t>(terms.row[j]) * table.orders * table.row_length;
    const T* w = weights_of<K>(terms.weights, j);
    // All of the strip, from which the first functions are taken.
    std::int64_t k = 0;
    for (; k + N <= length; k += N) store<N>(functions + k, interpolate<N, K>(entry + k, table.row_length, w));
    for (; k < length; k += half) store<half>(functions + k, interpolate<half, K>(entry + k, table.row_length, w));
    for (int column = 0; column < n_columns; ++column) {
      for (int l = 0; l <= l_max; ++l) R[column][l * n_slots + j] = functions[l * width + column];
    }
  }
  for (int lm = 0; begins && lm < n_lm(l_max); ++lm) {
    for (int n = n_columns; n < width; ++n) c[lm * c_stride + first + n] = T(0);
  }
  for (int column = 0; column < n_columns; ++column) {
    const AccumulateColumn<T, native_lanes<T>> kernel{n_blocks,           terms.Y,  R[column],  begins, factors,
                                                      c + first + column, c_stride, n_lm(l_max)};
    for_degree_groups<max_accumulators>(kernel, l_max);
  }
}

/// The highest degree of which functions from n on are wanted; those above are set to zero for the next `width` ones.
template <typename T>
int wanted_degrees(int l_max, const RadialTableView<T>& table, int n, int width, bool begins, T* c,
                   std::int64_t c_stride) {
  int top = l_max;
  while (top > 0 && table.n_used(top) <= n) --top;
  for (int lm = n_lm(top); begins && lm < n_lm(l_max); ++lm) {
    for (int k = 0; k < width; ++k) c[lm * c_stride + n + k] = T(0);
  }
  return top;
}

/// Radial functions from `first` on, as many strips of NV vectors as there are before `last`. make_radial(n) gives
/// those from n on.
template <int N, int NV, typename T, typename MakeRadial>
int accumulate_strips(int l_max, const RadialTableView<T>& table, int first, int last, int degree_stride,
                      const DensityTerms<T>& terms, bool begins, const T* factors, T* c, std::int64_t c_stride,
                      const MakeRadial& make_radial) {
  int n = first;
  for (; last - n >= NV * N; n += NV * N) {
    const auto radial = make_radial(n);
    const AccumulateStrip<T, N, NV, decltype(radial)> kernel{terms.count, terms.Y,  radial,      begins,       factors,
                                                             c + n,       c_stride, n_lm(l_max), degree_stride};
    for_degree_groups<max_accumulators / NV>(kernel, wanted_degrees(l_max, table, n, NV * N, begins, c, c_stride));
  }
  return n;
}

template <int K, typename T>
void accumulate_interpolated(int l_max, const RadialTableView<T>& table, const DensityTerms<T>& terms, bool begins,
                             const T* factors, T* c, std::int64_t c_stride, T* scratch) {
  constexpr int N = native_lanes<T>;
  constexpr int half = half_lanes<T>;
  const bool shared = table.l_max < l_max;
  if (register_count == 32 && !shared) {
    // One vector a strip: as many rows as possible share what is interpolated.
    const auto interpolated = [&](auto size, int first, int n) {
      return InterpolatedRadial<T, decltype(size)::value, K>{table.data + table.strip_start(first) + n - first,
                                                             table.row_length, terms.row, terms.weights};
    };
    for (int first = 0; first < table.n_padded; first += lanes<T>) {
      if (table.n_max - first <= 2) {
        accumulate_columns<K>(l_max, table, first, terms, begins, factors, c, c_stride, scratch);
        break;
      }
      const int width = table.strip_width(first);
      const int end = first + width;
      const int n = accumulate_strips<N, 1>(l_max, table, first, end, width, terms, begins, factors, c, c_stride,
                                            [&](int at) { return interpolated(Constant<N>(), first, at); });
      accumulate_strips<half, 1>(l_max, table, n, end, width, terms, begins, factors, c, c_stride,
                                 [&](int at) { return interpolated(Constant<half>(), first, at); });
    }
  } else {
    radial_rows<K>(table, terms.count, terms.row, terms.weights, scratch);
    const int end = table.n_padded, stride = table.degree_stride();
    const auto stored = [&](auto size) {
      return [&](int first) { return StoredRadial<T, decltype(size)::value>{scratch + first, table.n_functions()}; };
    };
    int n = 0;
    if constexpr (register_count != 32) {
      n = accumulate_strips<N, 2>(l_max, table, n, end, stride, terms, begins, factors, c, c_stride,
                                  stored(Constant<N>()));
    }
    n = accumulate_strips<N, 1>(l_max, table, n, end, stride, terms, begins, factors, c, c_stride,
                                stored(Constant<N>()));
    if constexpr (half < N) {
      accumulate_strips<half, 1>(l_max, table, n, end, stride, terms, begins, factors, c, c_stride,
                                 stored(Constant<half>()));
    }
  }
}

template <typename T>
void accumulate(int l_max, const RadialTableView<T>& table, const DensityTerms<T>& terms, bool begins, const T* factors,
                T* c, std::int64_t c_stride, T* scratch) {
  if (table.orders == 2) {
    accumulate_interpolated<4>(l_max, table, terms, begins, factors, c, c_stride, scratch);
  } else {
    accumulate_interpolated<6>(l_max, table, terms, begins, factors, c, c_stride, scratch);
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
