// Which points lie within a sphere.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "simd/kernels.hpp"

namespace castile::simd {
namespace {

/// The rest, or all where registers cannot be compressed.
inline std::uint32_t select_one_by_one(const Points& points, IndexRange range, const Sphere& sphere,
                                       std::uint32_t* index, double* distance2) {
  std::uint32_t n = 0;
  for (std::uint32_t k = range.first; k < range.last; ++k) {
    const double dx = points.x[k] - sphere.x;
    const double dy = points.y[k] - sphere.y;
    const double dz = points.z[k] - sphere.z;
    const double d2 = dx * dx + dy * dy + dz * dz;
    index[n] = k;
    distance2[n] = d2;
    n += d2 < sphere.radius2 ? 1U : 0U;
  }
  return n;
}

#if defined(__AVX512F__) && defined(__AVX512VL__)

// Compressed in registers: compressing to memory is slow on some processors.
inline std::uint32_t select_close(const Points& points, const IndexRange* ranges, std::uint32_t n_ranges,
                                  const Sphere& sphere, std::uint32_t* index, double* distance2) {
  const __m512d x = _mm512_set1_pd(sphere.x);
  const __m512d y = _mm512_set1_pd(sphere.y);
  const __m512d z = _mm512_set1_pd(sphere.z);
  const __m512d radius2 = _mm512_set1_pd(sphere.radius2);
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  std::uint32_t n = 0;
  for (const IndexRange* range = ranges; range < ranges + n_ranges; ++range) {
    for (std::uint32_t k = range->first; k < range->last; k += 8) {
      const std::uint32_t rest = range->last - k;
      const auto valid = static_cast<__mmask8>(rest >= 8 ? 0xff : (1U << rest) - 1U);
      const __m512d dx = _mm512_sub_pd(_mm512_maskz_loadu_pd(valid, points.x + k), x);
      const __m512d dy = _mm512_sub_pd(_mm512_maskz_loadu_pd(valid, points.y + k), y);
      const __m512d dz = _mm512_sub_pd(_mm512_maskz_loadu_pd(valid, points.z + k), z);
      const __m512d d2 = _mm512_fmadd_pd(dz, dz, _mm512_fmadd_pd(dy, dy, _mm512_mul_pd(dx, dx)));
      const __mmask8 close = _mm512_mask_cmp_pd_mask(valid, d2, radius2, _CMP_LT_OQ);
      const __m256i indices = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(k)), lane);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(index + n), _mm256_maskz_compress_epi32(close, indices));
      _mm512_storeu_pd(distance2 + n, _mm512_maskz_compress_pd(close, d2));
      n += static_cast<std::uint32_t>(__builtin_popcount(close));
    }
  }
  end_kernel();
  return n;
}

#elif defined(__AVX2__)

/// For each mask of four lanes, the bytes (of indices) and the 32-bit halves (of numbers) that come first.
struct CompressionTable {
  alignas(32) std::uint8_t bytes[16][16];
  alignas(32) std::int32_t halves[16][8];
};
constexpr CompressionTable make_compression_table() {
  CompressionTable table{};
  for (int mask = 0; mask < 16; ++mask) {
    int n = 0;
    for (int lane = 0; lane < 4; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      for (int byte = 0; byte < 4; ++byte) table.bytes[mask][4 * n + byte] = static_cast<std::uint8_t>(4 * lane + byte);
      for (int half = 0; half < 2; ++half) table.halves[mask][2 * n + half] = 2 * lane + half;
      ++n;
    }
  }
  return table;
}
constexpr CompressionTable compression_table = make_compression_table();

inline std::uint32_t select_close(const Points& points, const IndexRange* ranges, std::uint32_t n_ranges,
                                  const Sphere& sphere, std::uint32_t* index, double* distance2) {
  const __m256d x = _mm256_set1_pd(sphere.x);
  const __m256d y = _mm256_set1_pd(sphere.y);
  const __m256d z = _mm256_set1_pd(sphere.z);
  const __m256d radius2 = _mm256_set1_pd(sphere.radius2);
  const __m128i lane = _mm_setr_epi32(0, 1, 2, 3);
  std::uint32_t n = 0;
  for (const IndexRange* range = ranges; range < ranges + n_ranges; ++range) {
    std::uint32_t k = range->first;
    for (; k + 4 <= range->last; k += 4) {
      const __m256d dx = _mm256_sub_pd(_mm256_loadu_pd(points.x + k), x);
      const __m256d dy = _mm256_sub_pd(_mm256_loadu_pd(points.y + k), y);
      const __m256d dz = _mm256_sub_pd(_mm256_loadu_pd(points.z + k), z);
      const __m256d d2 = _mm256_fmadd_pd(dz, dz, _mm256_fmadd_pd(dy, dy, _mm256_mul_pd(dx, dx)));
      const int close = _mm256_movemask_pd(_mm256_cmp_pd(d2, radius2, _CMP_LT_OQ));
      const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(compression_table.bytes[close]));
      const __m256i halves = _mm256_load_si256(reinterpret_cast<const __m256i*>(compression_table.halves[close]));
      const __m128i indices = _mm_add_epi32(_mm_set1_epi32(static_cast<int>(k)), lane);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(index + n), _mm_shuffle_epi8(indices, bytes));
      _mm256_storeu_pd(distance2 + n, _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(d2), halves)));
      n += static_cast<std::uint32_t>(__builtin_popcount(static_cast<unsigned>(close)));
    }
    n += select_one_by_one(points, {k, range->last}, sphere, index + n, distance2 + n);
  }
  end_kernel();
  return n;
}

#else

inline std::uint32_t select_close(const Points& points, const IndexRange* ranges, std::uint32_t n_ranges,
                                  const Sphere& sphere, std::uint32_t* index, double* distance2) {
  std::uint32_t n = 0;
  for (const IndexRange* range = ranges; range < ranges + n_ranges; ++range) {
    n += select_one_by_one(points, *range, sphere, index + n, distance2 + n);
  }
  return n;
}

#endif

}  // namespace
}  // namespace castile::simd
