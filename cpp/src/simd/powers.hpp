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

}  // namespace
}  // namespace castile::simd
