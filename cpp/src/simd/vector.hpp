// Short vectors for the kernels. Included once per instruction set, so everything here has internal linkage:
// the linker must never hand one instruction set's copy of a template to every processor. No standard
// library templates, no Eigen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace castile::simd {
namespace {

template <typename T, int N>
struct VectorTypes {
  typedef T aligned __attribute__((vector_size(N * sizeof(T))));
  typedef T unaligned __attribute__((vector_size(N * sizeof(T)), aligned(alignof(T)), may_alias));
};

/// N numbers in one register (or in several narrower ones, where the instruction set has no wider).
template <typename T, int N>
using Vector = typename VectorTypes<T, N>::aligned;

template <int N, typename T>
[[gnu::always_inline]] inline Vector<T, N> load(const T* p) {
  return *reinterpret_cast<const typename VectorTypes<T, N>::unaligned*>(p);
}

template <int N, typename T>
[[gnu::always_inline]] inline void store(T* p, Vector<T, N> v) {
  *reinterpret_cast<typename VectorTypes<T, N>::unaligned*>(p) = v;
}

template <int N, typename T>
[[gnu::always_inline]] inline Vector<T, N> broadcast(T value) {
  return value - Vector<T, N>{};  // not 0 + value, which is no identity for -0
}

/// Keeps a product from being fused with what it is added to: of two products in a sum, compilers choose which one is,
/// and not always the same. Where nothing is fused, nothing is to be kept.
template <typename V>
[[gnu::always_inline]] inline V unfused(V product) {
#if defined(__AVX512F__)
  asm("" : "+v"(product));
#elif defined(__AVX__)
  if constexpr (sizeof(V) <= 32) asm("" : "+x"(product));
#endif
  return product;
}

/// columns[k][i] = rows[i][k]
template <typename T>
[[gnu::always_inline]] inline void transpose_eight(const Vector<T, 8> (&rows)[8], Vector<T, 8> (&columns)[8]) {
#if defined(__clang__) || __GNUC__ >= 12
  Vector<T, 8> two[8], four[8];
#pragma GCC unroll 4
  for (int k = 0; k < 8; k += 2) {
    two[k] = __builtin_shufflevector(rows[k], rows[k + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    two[k + 1] = __builtin_shufflevector(rows[k], rows[k + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  // four[4 h + c]: column c of rows 4 h to 4 h + 3, and behind it column c + 4.
#pragma GCC unroll 2
  for (int h = 0; h < 8; h += 4) {
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      four[h + odd] = __builtin_shufflevector(two[h + odd], two[h + 2 + odd], 0, 1, 8, 9, 4, 5, 12, 13);
      four[h + 2 + odd] = __builtin_shufflevector(two[h + odd], two[h + 2 + odd], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    columns[c] = __builtin_shufflevector(four[c], four[4 + c], 0, 1, 2, 3, 8, 9, 10, 11);
    columns[c + 4] = __builtin_shufflevector(four[c], four[4 + c], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#else
  for (int k = 0; k < 8; ++k) {
    for (int i = 0; i < 8; ++i) columns[k][i] = rows[i][k];
  }
#endif
}

/// The sums over the lanes of N vectors.
template <typename T, int N>
[[gnu::always_inline]] inline Vector<T, N> sums_of_lanes(const Vector<T, N>* v) {
#if defined(__clang__) || __GNUC__ >= 12
  if constexpr (N == 8) {
    const auto two = [](Vector<T, 8> a, Vector<T, 8> b) __attribute__((always_inline)) -> Vector<T, 8> {
      return __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14) +
             __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
    };
    const auto four = [](Vector<T, 8> a, Vector<T, 8> b) __attribute__((always_inline)) -> Vector<T, 8> {
      return __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
             __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    };
    const Vector<T, 8> low = four(two(v[0], v[1]), two(v[2], v[3]));
    const Vector<T, 8> high = four(two(v[4], v[5]), two(v[6], v[7]));
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(low, high, 4, 5, 6, 7, 12, 13, 14, 15);
  }
#endif
  Vector<T, N> sums{};
  for (int k = 0; k < N; ++k) {
    for (int lane = 0; lane < N; ++lane) sums[k] += v[k][lane];
  }
  return sums;
}

/// Last call of every kernel: leaves the wide registers clean, without which the scalar code that follows runs several
/// times slower on some processors. Compilers add it themselves, but GCC forgets it in functions that took vector
/// arguments.
[[gnu::always_inline]] inline void end_kernel() {
#ifdef __AVX__
  __builtin_ia32_vzeroupper();
#endif
}

}  // namespace
}  // namespace castile::simd
