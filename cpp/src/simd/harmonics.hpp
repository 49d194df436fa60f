// Monic real harmonics with lanes over neighbors: Y = P_l^m(z) c_m and P_l^m(z) s_m, c_m + i s_m = (x + iy)^m,
// P_m^m = 1 and P_{l+1}^m = z P_l^m - b P_{l-1}^m, b = (l² - m²)/(4l² - 1): no poles, no overflow.
// The factors that make them orthonormal multiply the coefficients, once per center.
#pragma once

#include "castile/math/spherical_harmonics.hpp"
#include "simd/kernels.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

template <typename T>
struct HarmonicFactors {
  T recurrence[largest_l_max + 1][largest_l_max + 1];   ///< b of P_{l+1}^m
  T gradient_z[largest_l_max + 1][largest_l_max + 1];   ///< ∂_z P_l^m = this P_{l-1}^m
  T gradient_xy[largest_l_max + 1][largest_l_max + 1];  ///< ∂_{x|y} P_l^m = {x|y} this P_{l-1}^{m+1}
};

/// The gradients are those of the solid harmonics r^l Y_lm, taken on the unit sphere.
template <typename T>
constexpr HarmonicFactors<T> make_harmonic_factors() {
  HarmonicFactors<T> factors{};
  for (int l = 0; l <= largest_l_max; ++l) {
    for (int m = 0; m <= l; ++m) {
      factors.recurrence[l][m] = static_cast<T>(l * l - m * m) / static_cast<T>(4 * l * l - 1);
      factors.gradient_z[l][m] = static_cast<T>((l + m) * (l - m)) / static_cast<T>(2 * l - 1);
      factors.gradient_xy[l][m] = -static_cast<T>((l - m) * (l - m - 1)) / static_cast<T>(2 * l - 1);
    }
  }
  return factors;
}

template <typename T>
constexpr HarmonicFactors<T> harmonic_factors = make_harmonic_factors<T>();

/// P_l^m for m <= l <= l_max in a triangle, and the powers c_m, s_m; index with [] through the functions.
template <typename T, int N>
struct MonicHarmonics {
  using V = Vector<T, N>;
  V legendre_[(largest_l_max + 1) * (largest_l_max + 2) / 2];
  V c[largest_l_max + 1];
  V s[largest_l_max + 1];

  const V& legendre(int l, int m) const { return legendre_[l * (l + 1) / 2 + m]; }

  MonicHarmonics(int l_max, V x, V y, V z) {
    c[0] = broadcast<N>(T(1));
    s[0] = V{};
    for (int m = 0; m < l_max; ++m) {
      c[m + 1] = x * c[m] - y * s[m];
      s[m + 1] = x * s[m] + y * c[m];
    }
    for (int m = 0; m <= l_max; ++m) {
      V previous{};
      V current = c[0];
      for (int l = m; l <= l_max; ++l) {
        legendre_[l * (l + 1) / 2 + m] = current;
        const V next = z * current - harmonic_factors<T>.recurrence[l][m] * previous;
        previous = current;
        current = next;
      }
    }
  }
};

/// The harmonics of N neighbors, `lanes` apart. If the compiler knows l_max, it unrolls everything.
template <typename T, int N>
[[gnu::always_inline]] inline void harmonics_of(int l_max, Vector<T, N> x, Vector<T, N> y, Vector<T, N> z, T* out) {
  constexpr int W = lanes<T>;
  using V = Vector<T, N>;
  V c = broadcast<N>(T(1));
  V s{};
#pragma GCC unroll 16
  for (int m = 0; m <= l_max; ++m) {
    V previous{};
    V current = broadcast<N>(T(1));
#pragma GCC unroll 16
    for (int l = m; l <= l_max; ++l) {
      store<N>(out + lm_index(l, m) * W, V(current * c));
      if (m > 0) store<N>(out + lm_index(l, -m) * W, V(current * s));
      const V next = z * current - harmonic_factors<T>.recurrence[l][m] * previous;
      previous = current;
      current = next;
    }
    const V next_c = x * c - y * s;
    s = x * s + y * c;
    c = next_c;
  }
}

template <typename T, int known_l_max>
void harmonics_of_blocks(int l_max, const NeighborBlocks<T>& neighbors, T* Y) {
  constexpr int W = lanes<T>;
  constexpr int N = native_lanes<T>;
  const int last = known_l_max >= 0 ? known_l_max : l_max;
  for (std::int64_t j = 0; j < neighbors.n_blocks * W; j += N) {
    harmonics_of<T, N>(last, load<N>(neighbors.x + j), load<N>(neighbors.y + j), load<N>(neighbors.z + j),
                       Y + j / W * n_lm(last) * W + j % W);
  }
}

template <typename T, int L>
void harmonics_up_to(int l_max, const NeighborBlocks<T>& neighbors, T* Y) {
  if (l_max == L) return harmonics_of_blocks<T, L>(l_max, neighbors, Y);
  if constexpr (L > 0) return harmonics_up_to<T, L - 1>(l_max, neighbors, Y);
}

template <typename T>
void harmonics(int l_max, const NeighborBlocks<T>& neighbors, T* Y) {
  constexpr int largest_unrolled = 12;
  if (l_max <= largest_unrolled) {
    harmonics_up_to<T, largest_unrolled>(l_max, neighbors, Y);
  } else {
    harmonics_of_blocks<T, -1>(l_max, neighbors, Y);
  }
  end_kernel();
}

/// ∇Y(u) = (∇S - u l S)/r with S the solid harmonic: u·∇S = l S.
template <typename T>
void harmonics_gradients(int l_max, const NeighborBlocks<T>& neighbors, T* dY) {
  constexpr int W = lanes<T>;
  constexpr int N = native_lanes<T>;
  using V = Vector<T, N>;
  const auto& factors = harmonic_factors<T>;
  for (std::int64_t j = 0; j < neighbors.n_blocks * W; j += N) {
    const V x = load<N>(neighbors.x + j);
    const V y = load<N>(neighbors.y + j);
    const V z = load<N>(neighbors.z + j);
    const V inverse = load<N>(neighbors.inverse_distance + j);
    const MonicHarmonics<T, N> Y(l_max, x, y, z);
    T* out_x = dY + j / W * 3 * n_lm(l_max) * W + j % W;
    T* out_y = out_x + n_lm(l_max) * W;
    T* out_z = out_y + n_lm(l_max) * W;
    const auto put = [&](int l, int m, V value, V gradient_x, V gradient_y, V gradient_z) {
      const V radial = static_cast<T>(l) * value;
      store<N>(out_x + lm_index(l, m) * W, V(inverse * (gradient_x - x * radial)));
      store<N>(out_y + lm_index(l, m) * W, V(inverse * (gradient_y - y * radial)));
      store<N>(out_z + lm_index(l, m) * W, V(inverse * (gradient_z - z * radial)));
    };
    for (int l = 0; l <= l_max; ++l) {
      for (int m = 0; m <= l; ++m) {
        const V p = Y.legendre(l, m);
        const V p_xy = l > m + 1 ? V(factors.gradient_xy[l][m] * Y.legendre(l - 1, m + 1)) : V{};
        const V p_z = l > m ? V(factors.gradient_z[l][m] * Y.legendre(l - 1, m)) : V{};
        const V mp = static_cast<T>(m) * p;
        const V c_below = m > 0 ? Y.c[m - 1] : V{};
        const V s_below = m > 0 ? Y.s[m - 1] : V{};
        put(l, m, p * Y.c[m], x * p_xy * Y.c[m] + mp * c_below, y * p_xy * Y.c[m] - mp * s_below, p_z * Y.c[m]);
        if (m == 0) continue;
        put(l, -m, p * Y.s[m], x * p_xy * Y.s[m] + mp * s_below, y * p_xy * Y.s[m] + mp * c_below, p_z * Y.s[m]);
      }
    }
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
