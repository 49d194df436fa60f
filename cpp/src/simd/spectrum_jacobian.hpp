// Derivative of a block of the power spectrum along a pair vector: a sum of two or four outer products per degree,
// packed as the spectrum is.
#pragma once

#include "simd/kernels.hpp"
#include "simd/rows.hpp"
#include "simd/spectrum.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// One degree along one axis.
template <typename T>
struct PairProducts {
  const T* R;
  const T* dR;
  const T* left_U;  ///< of the channel that the rows are of
  const T* left_V;
  const T* right_U;
  const T* right_V;
  T u;
  T left_weight;   ///< of the neighbor in the channel of the rows
  T right_weight;  ///< and in that of the columns
};

/// The products for columns column to column + N; see SpectrumColumns for the order of the stores. `known_n` is n where
/// the compiler knows it, else 0.
template <typename T, int N, bool like, bool left, bool right, int known_n>
struct ProductColumns {
  int n_;
  PairProducts<T> p;
  const T* factors;
  T* out;

  [[gnu::always_inline]] inline int n() const { return known_n > 0 ? known_n : n_; }

  [[gnu::always_inline]] inline void columns(int column) const {
    using V = Vector<T, N>;
    V uU{}, V_column{}, udR{}, R_column{};
    if constexpr (left) {
      uU = (p.left_weight * p.u) * load<N>(p.right_U + column);
      V_column = p.left_weight * load<N>(p.right_V + column);
    }
    if constexpr (right) {
      udR = (p.right_weight * p.u) * load<N>(p.dR + column);
      R_column = p.right_weight * load<N>(p.R + column);
    }
    const auto put_row = [&](int k) __attribute__((always_inline)) {
      V sum{};
      if constexpr (left) sum = p.dR[k] * uU + p.R[k] * V_column;
      if constexpr (right) sum += p.left_U[k] * udR + p.left_V[k] * R_column;
      if constexpr (like) {
        const V factor = load<N>(factors + (k < column ? 0 : N + column - k));
        store<N>(out + k * n() - k * (k - 1) / 2 + column - k, factor * sum);
      } else {
        store<N>(out + k * n() + column, factors[0] * sum);
      }
    };
    if constexpr (known_n > 0) {
#pragma GCC unroll 8
      for (int k = known_n - 1; k >= 0; --k) {
        if (!like || k < column + N) put_row(k);
      }
    } else {
      for (int k = (like && column + N < n_ ? column + N : n_) - 1; k >= 0; --k) put_row(k);
    }
  }

  [[gnu::always_inline]] inline void all() const {
    if constexpr (known_n > 0) {
      constexpr int n_strips = (known_n + N - 1) / N;
      static_assert(n_strips <= 2);
      columns(0);
      if constexpr (n_strips == 2) columns(known_n - N);
    } else {
      int column = 0;
      for (; column + N <= n_; column += N) columns(column);
      if (column < n_) columns(n_ - N);
    }
  }
};

template <typename T, int N, bool like, bool left, bool right, int known_n>
void pair_products(int l_max, int n, const SpectrumPair<T>& pair, const T* weights, T* out) {
  for_each_degree<T, N, like>(l_max, n, weights, out, [&](int l, const T* factors, T* of_degree) {
    const std::int64_t radial = l * pair.radial_stride;
    const std::int64_t density = l * pair.density_stride;
#pragma GCC unroll 3
    for (int axis = 0; axis < 3; ++axis) {
      const std::int64_t V = density + (axis + 1) * pair.quantity_stride;
      const ProductColumns<T, N, like, left, right, known_n> columns{
          n,
          {pair.R + radial, pair.dR + radial, pair.left + density, pair.left + V, pair.right + density, pair.right + V,
           pair.u[axis], pair.left_weight, pair.right_weight},
          factors,
          of_degree + axis * pair.axis_stride};
      columns.all();
    }
  });
}

template <typename T, int N, bool like, int known_n>
void pair_products_of(int l_max, int n, const SpectrumPair<T>& pair, const T* weights, T* out) {
  if (pair.right_weight == T(0)) {
    pair_products<T, N, like, true, false, known_n>(l_max, n, pair, weights, out);
  } else if (pair.left_weight == T(0)) {
    pair_products<T, N, like, false, true, known_n>(l_max, n, pair, weights, out);
  } else {
    pair_products<T, N, like, true, true, known_n>(l_max, n, pair, weights, out);
  }
}

/// For fewer functions than a vector holds.
template <typename T, bool like>
void pair_products_by_entries(int l_max, int n, const SpectrumPair<T>& pair, const T* weights, T* out) {
  constexpr T sqrt2 = static_cast<T>(1.41421356237309504880);
  for (int axis = 0; axis < 3; ++axis) {
    T* entry = out + axis * pair.axis_stride;
    for (int l = 0; l <= l_max; ++l) {
      const T* R = pair.R + l * pair.radial_stride;
      const T* dR = pair.dR + l * pair.radial_stride;
      const T* U[2] = {pair.left + l * pair.density_stride, pair.right + l * pair.density_stride};
      const T* V[2] = {U[0] + (axis + 1) * pair.quantity_stride, U[1] + (axis + 1) * pair.quantity_stride};
      for (int i = 0; i < n; ++i) {
        for (int k = like ? i : 0; k < n; ++k) {
          const T from_left = dR[i] * pair.u[axis] * U[1][k] + R[i] * V[1][k];
          const T from_right = dR[k] * pair.u[axis] * U[0][i] + R[k] * V[0][i];
          const T factor = like && i == k ? weights[l] : sqrt2 * weights[l];
          *entry++ = factor * (pair.left_weight * from_left + pair.right_weight * from_right);
        }
      }
    }
  }
}

/// Blocks of unlike channels whose rows are `strips` whole vectors, straight from the registers. Streams or not, the
/// same operations in the same order: bits must not depend on where the result goes.
template <typename T, int N, int strips, bool left, bool right, bool streams>
void whole_row_products(int l_max, const SpectrumPair<T>& pair, const T* weights, T* out) {
  using V = Vector<T, N>;
  constexpr int n = N * strips;
  constexpr T sqrt2 = static_cast<T>(1.41421356237309504880);
  for (int l = 0; l <= l_max; ++l) {
    const T* R = pair.R + l * pair.radial_stride;
    const T* dR = pair.dR + l * pair.radial_stride;
    const T factor = sqrt2 * weights[l];
    for (int axis = 0; axis < 3; ++axis) {
      const std::int64_t U = l * pair.density_stride;
      const std::int64_t gradient = U + (axis + 1) * pair.quantity_stride;
      const T from_left = factor * pair.left_weight;
      const T from_right = factor * pair.right_weight;
      V uU[strips], V_column[strips], udR[strips], R_column[strips];
#pragma GCC unroll 4
      for (int strip = 0; strip < strips; ++strip) {
        if constexpr (left) {
          uU[strip] = (from_left * pair.u[axis]) * load<N>(pair.right + U + strip * N);
          V_column[strip] = from_left * load<N>(pair.right + gradient + strip * N);
        }
        if constexpr (right) {
          udR[strip] = (from_right * pair.u[axis]) * load<N>(dR + strip * N);
          R_column[strip] = from_right * load<N>(R + strip * N);
        }
      }
      const std::int64_t first = axis * pair.axis_stride + l * n * n;
      for (int k = 0; k < n; ++k) {
#pragma GCC unroll 4
        for (int strip = 0; strip < strips; ++strip) {
          V sum{};
          // Term by term, so that there is one way to fuse them.
          if constexpr (left) {
            sum = unfused(V(dR[k] * uU[strip]));
            sum += R[k] * V_column[strip];
          } else {
            sum = unfused(V(pair.left[U + k] * udR[strip]));
          }
          if constexpr (left && right) sum += pair.left[U + k] * udR[strip];
          if constexpr (right) sum += pair.left[gradient + k] * R_column[strip];
          const std::int64_t entry = first + k * n + strip * N;
          if constexpr (streams) {
            stream_store<N>(out + entry, sum);
            store<N>(pair.minus + entry, V(load<N>(pair.minus + entry) - sum));
          } else {
            store<N>(out + entry, sum);
          }
        }
      }
    }
  }
}

template <typename T, int N, int strips, bool streams>
void whole_row_products_of(int l_max, const SpectrumPair<T>& pair, const T* weights, T* out) {
  if (pair.right_weight == T(0)) {
    whole_row_products<T, N, strips, true, false, streams>(l_max, pair, weights, out);
  } else if (pair.left_weight == T(0)) {
    whole_row_products<T, N, strips, false, true, streams>(l_max, pair, weights, out);
  } else {
    whole_row_products<T, N, strips, true, true, streams>(l_max, pair, weights, out);
  }
}

template <typename T, bool streams>
void unlike_products(int l_max, int n, const SpectrumPair<T>& pair, const T* weights, T* out) {
  constexpr int piece = static_cast<int>(32 / sizeof(T));
  constexpr int two = static_cast<int>(register_bytes >= 64 ? 2 : 1);  // pieces that a register holds
  switch (n / piece) {
    case 1:
      whole_row_products_of<T, piece, 1, streams>(l_max, pair, weights, out);
      break;
    case 2:
      whole_row_products_of<T, two * piece, 2 / two, streams>(l_max, pair, weights, out);
      break;
    case 3:
      whole_row_products_of<T, piece, 3, streams>(l_max, pair, weights, out);
      break;
    default:
      whole_row_products_of<T, two * piece, 4 / two, streams>(l_max, pair, weights, out);
  }
}

template <typename T>
void stream_products(int l_max, int n, const SpectrumPair<T>& pair, const T* weights, T* out) {
  unlike_products<T, true>(l_max, n, pair, weights, out);
  end_kernel();
}

template <typename T>
void spectrum_jacobian(int l_max, int n, bool like, const SpectrumPair<T>& pair, const T* weights, T* out) {
  constexpr int N = static_cast<int>(32 / sizeof(T));
  if (!like && has_whole_rows<T>(n)) {
    unlike_products<T, false>(l_max, n, pair, weights, out);
  } else if (n == 8) {
    (like ? pair_products_of<T, N, true, 8> : pair_products_of<T, N, false, 8>)(l_max, n, pair, weights, out);
  } else if (n == 6) {
    (like ? pair_products_of<T, 4, true, 6> : pair_products_of<T, 4, false, 6>)(l_max, n, pair, weights, out);
  } else if (n >= N) {
    (like ? pair_products_of<T, N, true, 0> : pair_products_of<T, N, false, 0>)(l_max, n, pair, weights, out);
  } else if (n >= 4) {
    (like ? pair_products_of<T, 4, true, 0> : pair_products_of<T, 4, false, 0>)(l_max, n, pair, weights, out);
  } else {
    (like ? pair_products_by_entries<T, true> : pair_products_by_entries<T, false>)(l_max, n, pair, weights, out);
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
