// Long rows of numbers: added to each other, and written past the caches.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "simd/kernels.hpp"
#include "simd/tiles.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

constexpr std::int64_t cache_line = 64;

#if defined(__AVX512F__)
/// Lanes 0 to 3, or 4 to 7 (taking them with intrinsics makes GCC warn of its own header).
template <int half>
[[gnu::always_inline]] inline __m256i half_of(__m512i v) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(v, v, 4 * half, 4 * half + 1, 4 * half + 2, 4 * half + 3);
#else
  return _mm512_extracti64x4_epi64(v, half);
#endif
}
#endif

/// Stores past the caches, to a place that is aligned to 32 bytes.
template <int N, typename T>
[[gnu::always_inline]] inline void stream_store(T* to, Vector<T, N> v) {
#if defined(__AVX512F__)
  if constexpr (N * sizeof(T) == 64) {
    if (reinterpret_cast<std::uintptr_t>(to) % 64 == 0) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(v));
    } else {
      const auto bits = reinterpret_cast<__m512i>(v);
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to), half_of<0>(bits));
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to) + 1, half_of<1>(bits));
    }
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (N * sizeof(T) == 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(v));
    return;
  }
#endif
#if defined(__SSE2__) && !defined(__AVX__)
  for (std::size_t k = 0; k < N * sizeof(T) / 16; ++k) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to) + k, reinterpret_cast<const __m128i*>(&v)[k]);
  }
#else
  store<N>(to, v);
#endif
}

/// out[k] -= a[k]
template <typename T>
void subtract(std::int64_t n, const T* a, T* out) {
  constexpr int N = native_lanes<T>;
  std::int64_t k = 0;
  for (; k + N <= n; k += N) store<N>(out + k, Vector<T, N>(load<N>(out + k) - load<N>(a + k)));
  for (; k < n; ++k) out[k] -= a[k];
  end_kernel();
}

/// One line from anywhere to an aligned place that is not read before it is written.
[[gnu::always_inline]] inline void stream_line(const char* from, char* to) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
#elif defined(__SSE2__)
  for (int k = 0; k < cache_line; k += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + k), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k)));
  }
#else
  for (int k = 0; k < cache_line; ++k) to[k] = from[k];
#endif
}

template <typename T, bool subtracts>
[[gnu::always_inline]] inline void stream_rows(std::int64_t n, const T* from, T* to, T* minus) {
  constexpr int N = native_lanes<T>;
  const auto misaligned = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) % cache_line / sizeof(T));
  constexpr auto per_line = static_cast<std::int64_t>(cache_line / sizeof(T));
  std::int64_t k = 0;
  const std::int64_t head = misaligned == 0 ? 0 : per_line - misaligned;
  const auto move_one = [&](std::int64_t entry) {
    to[entry] = from[entry];
    if (subtracts) minus[entry] -= from[entry];
  };
  for (; k < head && k < n; ++k) move_one(k);
  for (; k + per_line <= n; k += per_line) {
    stream_line(reinterpret_cast<const char*>(from + k), reinterpret_cast<char*>(to + k));
    if constexpr (subtracts) {
#pragma GCC unroll 4
      for (std::int64_t v = k; v < k + per_line; v += N) {
        store<N>(minus + v, Vector<T, N>(load<N>(minus + v) - load<N>(from + v)));
      }
    }
  }
  for (; k < n; ++k) move_one(k);
}

/// to[k] = from[k] past the caches, and minus[k] -= from[k] unless that is null.
template <typename T>
void stream(std::int64_t n, const T* from, T* to, T* minus) {
  if (minus == nullptr) {
    stream_rows<T, false>(n, from, to, minus);
  } else {
    stream_rows<T, true>(n, from, to, minus);
  }
  end_kernel();
}

/// Once all of them are written: other threads may read what was streamed.
inline void end_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace
}  // namespace castile::simd
