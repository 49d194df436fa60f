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
  static constexpr int n_registers = 0;
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
  int n_padded;

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
        for (int v = 0; v < NV; ++v) r[v] = R((l + degree) * n_padded + v * N);
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

/// Radial functions first to last, in strips of NV vectors. make_radial(n) gives those from n on.
template <int N, int NV, typename T, typename MakeRadial>
int accumulate_strips(int l_max, int n_padded, int first, const DensityTerms<T>& terms, bool begins, const T* factors,
                      T* c, std::int64_t c_stride, const MakeRadial& make_radial) {
  int n = first;
  for (; n_padded - n >= NV * N; n += NV * N) {
    const auto radial = make_radial(n);
    const AccumulateStrip<T, N, NV, decltype(radial)> kernel{terms.count, terms.Y,  radial,      begins,  factors,
                                                             c + n,       c_stride, n_lm(l_max), n_padded};
    for_degree_groups<max_accumulators / NV>(kernel, l_max);
  }
  return n;
}

template <int K, typename T>
void accumulate_interpolated(int l_max, const RadialTableView<T>& table, const DensityTerms<T>& terms, bool begins,
                             const T* factors, T* c, std::int64_t c_stride, T* scratch) {
  constexpr int N = native_lanes<T>;
  constexpr int half = half_lanes<T>;
  const int n_padded = table.n_padded;
  const std::int64_t row_length = table.row_length;
  if constexpr (register_count == 32) {
    // One vector a strip: as many rows as possible share what is interpolated.
    const int n = accumulate_strips<N, 1>(l_max, n_padded, 0, terms, begins, factors, c, c_stride, [&](int first) {
      return InterpolatedRadial<T, N, K>{table.data + first, row_length, terms.row, terms.weights};
    });
    accumulate_strips<half, 1>(l_max, n_padded, n, terms, begins, factors, c, c_stride, [&](int first) {
      return InterpolatedRadial<T, half, K>{table.data + first, row_length, terms.row, terms.weights};
    });
  } else {
    radial_rows<K>(table, terms.count, terms.row, terms.weights, scratch);
    const auto stored = [&](int first) { return StoredRadial<T, N>{scratch + first, row_length}; };
    const int n = accumulate_strips<N, 2>(l_max, n_padded, 0, terms, begins, factors, c, c_stride, stored);
    accumulate_strips<N, 1>(l_max, n_padded, n, terms, begins, factors, c, c_stride, stored);
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
