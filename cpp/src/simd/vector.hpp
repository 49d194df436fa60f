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
