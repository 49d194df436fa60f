// The way back from dE/dc to dE/dD, lanes over neighbors. With g_lm = Σ_n G R and g'_lm = Σ_n G R', the gradient is
// Σ_lm g_lm ∇Y_lm + u g'_lm Y_lm; neither ∇Y nor dc/dD is ever stored.
#pragma once

#include "simd/harmonics.hpp"
#include "simd/kernels.hpp"
#include "simd/radial.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// g[lm][lane] = Σ_n G[lm][n] R[l n][lane], and the same with R'.
template <typename T, int N>
struct ContractRadial {
  const T* G;
  std::int64_t g_stride;
  const T* R;
  const T* dR;
  T* g;
  T* dg;
  RadialTableView<T> table;

  template <int L0, int L1>
  void degrees() const {
    tile<(L1 + 1) * (L1 + 1) - L0 * L0>(L0 * L0, table.n_used(L0),
                                        [](int row) { return degree_table.degree[L0 * L0 + row]; });
  }

  template <int Rows>
  void rows(int first, int l) const {
    tile<Rows>(l * l + first, table.n_used(l), [l](int) { return l; });
  }

  template <int Rows, typename DegreeOf>
  [[gnu::always_inline]] inline void tile(int lm0, int n_functions, DegreeOf degree) const {
    constexpr int W = lanes<T>;
    Vector<T, N> sum[Rows]{};
    Vector<T, N> derivative_sum[Rows]{};
    const T* weight = G + lm0 * g_stride;
    const std::int64_t stride = table.degree_stride();
    for (int n = 0; n < n_functions; ++n) {
#pragma GCC unroll 32
      for (int row = 0; row < Rows; ++row) {
        const std::int64_t entry = (degree(row) * stride + n) * W;
        const Vector<T, N> factor = broadcast<N>(weight[row * g_stride + n]);
        sum[row] += factor * load<N>(R + entry);
        derivative_sum[row] += factor * load<N>(dR + entry);
      }
    }
#pragma GCC unroll 32
    for (int row = 0; row < Rows; ++row) {
      store<N>(g + (lm0 + row) * W, sum[row]);
      store<N>(dg + (lm0 + row) * W, derivative_sum[row]);
    }
  }
};

/// Adjoint of the monic harmonics and of the radial direction, for N neighbors of a block.
template <int N, typename T>
[[gnu::always_inline]] inline void pair_vector_gradient(int l_max, Vector<T, N> x, Vector<T, N> y, Vector<T, N> z,
                                                        Vector<T, N> inverse_distance, const T* g, const T* dg, T* f) {
  constexpr int W = lanes<T>;
  using V = Vector<T, N>;
  const auto& factors = harmonic_factors<T>;
  const MonicHarmonics<T, N> Y(l_max, x, y, z);
  V t_x{}, t_y{}, t_z{}, t_xy{}, radial_part{};
  for (int m = 0; m <= l_max; ++m) {
    const V c = Y.c[m];
    const V s = Y.s[m];
    V a{}, b{};  // adjoints of c_m and s_m
    for (int l = m; l <= l_max; ++l) {
      const V p = Y.legendre(l, m);
      const V g_cos = load<N>(g + lm_index(l, m) * W);
      const V g_sin = m > 0 ? load<N>(g + lm_index(l, -m) * W) : V{};
      const V d_cos = load<N>(dg + lm_index(l, m) * W);
      const V d_sin = m > 0 ? load<N>(dg + lm_index(l, -m) * W) : V{};
      radial_part += p * (d_cos * c + d_sin * s);
      a += p * g_cos;
      b += p * g_sin;
      const V h = g_cos * c + g_sin * s;
      if (l > m) t_z += factors.gradient_z[l][m] * (h * Y.legendre(l - 1, m));
      if (l > m + 1) t_xy += factors.gradient_xy[l][m] * (h * Y.legendre(l - 1, m + 1));
    }
    if (m > 0) {
      t_x += static_cast<T>(m) * (a * Y.c[m - 1] + b * Y.s[m - 1]);
      t_y += static_cast<T>(m) * (b * Y.c[m - 1] - a * Y.s[m - 1]);
    }
  }
  t_x = inverse_distance * (t_x + x * t_xy);
  t_y = inverse_distance * (t_y + y * t_xy);
  t_z = inverse_distance * t_z;
  const V along = radial_part - (x * t_x + y * t_y + z * t_z);
  store<N>(f, V(t_x + x * along));
  store<N>(f + W, V(t_y + y * along));
  store<N>(f + 2 * W, V(t_z + z * along));
}

template <typename T>
void pair_gradients(int l_max, const RadialTableView<T>& table, const NeighborBlocks<T>& neighbors, const T* grad_c,
                    std::int64_t g_stride, T* f, T* scratch) {
  constexpr int W = lanes<T>;
  constexpr int N = native_lanes<T>;
  T* R = scratch;
  T* dR = R + table.n_functions() * W;
  T* g = dR + table.n_functions() * W;
  T* dg = g + n_lm(l_max) * W;
  for (std::int64_t block = 0; block < neighbors.n_blocks; ++block) {
    const std::int64_t first = block * W;
    const T* weights = neighbors.gradient_weights + first * 2 * table.orders;
    const T* derivative_weights = neighbors.derivative_weights + first * 2 * table.orders;
    if (table.orders == 2) {
      radial_transposed<4>(table, neighbors.row + first, weights, derivative_weights, R, dR);
    } else {
      radial_transposed<6>(table, neighbors.row + first, weights, derivative_weights, R, dR);
    }
    for (int lane = 0; lane < W; lane += N) {
      const ContractRadial<T, N> contract{grad_c, g_stride, R + lane, dR + lane, g + lane, dg + lane, table};
      for_degree_groups<max_accumulators / 2>(contract, l_max);
      const std::int64_t j = first + lane;
      pair_vector_gradient<N, T>(l_max, load<N>(neighbors.x + j), load<N>(neighbors.y + j), load<N>(neighbors.z + j),
                                 load<N>(neighbors.inverse_distance + j), g + lane, dg + lane,
                                 f + block * 3 * W + lane);
    }
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
