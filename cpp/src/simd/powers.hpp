// Powers of dot products: what a kernel (x · y)^zeta needs beside its matrix products.
#pragma once

#include <cstdint>

#include "simd/vector.hpp"

namespace castile::simd {
namespace {

/// x^exponent by squaring; the order of the products depends on the exponent alone.
template <typename V>
[[gnu::always_inline]] inline V raise_to(V x, std::int64_t exponent, V one) {
  V power = exponent % 2 == 0 ? one : x;
  for (std::int64_t rest = exponent / 2; rest > 0; rest /= 2) {
    x *= x;
    if (rest % 2 != 0) power *= x;
  }
  return power;
}

template <typename T>
void integer_power(std::int64_t n, std::int64_t exponent, const T* x, T* power) {
  constexpr int width = register_bytes / static_cast<int>(sizeof(T));
  std::int64_t k = 0;
  for (; k + width <= n; k += width)
    store<width>(power + k, raise_to(load<width>(x + k), exponent, broadcast<width>(T(1))));
  for (; k < n; ++k) power[k] = raise_to(x[k], exponent, T(1));
  end_kernel();
}

/// Sums in lanes, whose number is that of the instruction set.
template <typename T>
T weighted_powers(std::int64_t n, T factor, const T* weights, const T* x, const T* power, T* slopes) {
  constexpr int width = register_bytes / static_cast<int>(sizeof(T));
  Vector<T, width> sums{};
  std::int64_t k = 0;
  for (; k + width <= n; k += width) {
    const Vector<T, width> product = load<width>(weights + k) * load<width>(power + k);
    sums += product * load<width>(x + k);
    store<width>(slopes + k, factor * product);
  }
  T sum = T(0);
  for (int lane = 0; lane < width; ++lane) sum += sums[lane];
  for (; k < n; ++k) {
    const T product = weights[k] * power[k];
    sum += product * x[k];
    slopes[k] = factor * product;
  }
  end_kernel();
  return sum;
}

/// Sums in lanes, whose number is that of the instruction set; each product's bits depend on its two rows alone.
template <int Left, int Right, typename T>
[[gnu::always_inline]] inline void dot_tile(std::int64_t length, const T* left, const T* right, std::int64_t n_right,
                                            T* out) {
  constexpr int width = register_bytes / static_cast<int>(sizeof(T));
  Vector<T, width> sums[Left][Right] = {};
  std::int64_t k = 0;
  for (; k + width <= length; k += width) {
#pragma GCC unroll 4
    for (int i = 0; i < Left; ++i) {
      const Vector<T, width> a = load<width>(left + i * length + k);
#pragma GCC unroll 4
      for (int j = 0; j < Right; ++j) sums[i][j] += a * load<width>(right + j * length + k);
    }
  }
  for (int i = 0; i < Left; ++i) {
    for (int j = 0; j < Right; ++j) {
      T sum = T(0);
      for (int lane = 0; lane < width; ++lane) sum += sums[i][j][lane];
      for (std::int64_t e = k; e < length; ++e) sum += left[i * length + e] * right[j * length + e];
      out[i * n_right + j] = sum;
    }
  }
}

template <typename T>
void dot_rows(std::int64_t n_left, std::int64_t n_right, std::int64_t length, const T* left, const T* right, T* out) {
  for (std::int64_t j = 0; j < n_right;) {
    const T* b = right + j * length;
    const bool two = j + 2 <= n_right;
    for (std::int64_t i = 0; i < n_left;) {
      const T* a = left + i * length;
      T* c = out + i * n_right + j;
      if (i + 4 <= n_left) {
        two ? dot_tile<4, 2>(length, a, b, n_right, c) : dot_tile<4, 1>(length, a, b, n_right, c);
        i += 4;
      } else {
        two ? dot_tile<1, 2>(length, a, b, n_right, c) : dot_tile<1, 1>(length, a, b, n_right, c);
        i += 1;
      }
    }
    j += two ? 2 : 1;
  }
  end_kernel();
}

}  // namespace
}  // namespace castile::simd
