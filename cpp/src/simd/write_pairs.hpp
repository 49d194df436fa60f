// The arrays of a neighbor list.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "simd/kernels.hpp"
#include "simd/vector.hpp"

namespace castile::simd {
namespace {

#if defined(__AVX2__)

/// Keeps the compiler from fusing the product with a sum: its rounding is part of the result.
[[gnu::always_inline]] inline __m256d rounded(__m256d product) {
  asm("" : "+x"(product));
  return product;
}

/// Four pairs at a time. Vectors and shifts are stored four wide, and each overwrites the fourth number of the one
/// before, so the last pairs go through a buffer.
class PairWriter {
 public:
  explicit PairWriter(const PairWriting& pairs)
      : pairs_(pairs),
        center_(_mm256_setr_pd(pairs.center[0], pairs.center[1], pairs.center[2], 0.0)),
        wrap_(_mm_setr_epi32(pairs.wrap[0], pairs.wrap[1], pairs.wrap[2], 0)),
        in_place_((pairs.wrap[0] | pairs.wrap[1] | pairs.wrap[2]) == 0) {
    for (int k = 0; k < 3; ++k) {
      rows_[k] = _mm256_setr_pd(pairs.cell[3 * k], pairs.cell[3 * k + 1], pairs.cell[3 * k + 2], 0.0);
    }
  }

  void run() const {
    const std::int64_t n = pairs_.n;
    std::int64_t k = 0;
    for (; k + 4 < n; k += 4) {
      four(pairs_.slots + k, at(pairs_.j, k), at(pairs_.S, 3 * k), at(pairs_.D, 3 * k), at(pairs_.d, k));
    }
    const std::int64_t rest = n - k;
    if (rest <= 0) return;
    std::uint32_t slots[4];
    for (int m = 0; m < 4; ++m) slots[m] = pairs_.slots[m < rest ? k + m : k];
    std::int64_t j[4];
    std::int32_t S[13];
    double D[13];
    double d[4];
    four(slots, j, S, D, d);
    for (int m = 0; m < rest; ++m) {
      if (pairs_.j != nullptr) pairs_.j[k + m] = j[m];
      if (pairs_.d != nullptr) pairs_.d[k + m] = d[m];
    }
    for (int m = 0; m < 3 * rest; ++m) {
      if (pairs_.S != nullptr) pairs_.S[3 * k + m] = S[m];
      if (pairs_.D != nullptr) pairs_.D[3 * k + m] = D[m];
    }
  }

 private:
  template <typename T>
  static T* at(T* array, std::int64_t k) {
    return array == nullptr ? nullptr : array + k;
  }

  [[gnu::always_inline]] inline __m256d translation(const PairImage& image, __m128i shift) const {
    if (in_place_) {
      const __m256d shifted = _mm256_loadu_pd(image.position + 2);  // z, then the translation
      return _mm256_blend_pd(_mm256_permute4x64_pd(shifted, 0x39), _mm256_setzero_pd(), 8);
    }
    const __m256d s = _mm256_cvtepi32_pd(shift);
    const __m256d x = rounded(_mm256_mul_pd(_mm256_permute4x64_pd(s, 0x00), rows_[0]));
    const __m256d y = rounded(_mm256_mul_pd(_mm256_permute4x64_pd(s, 0x55), rows_[1]));
    const __m256d z = rounded(_mm256_mul_pd(_mm256_permute4x64_pd(s, 0xaa), rows_[2]));
    return _mm256_add_pd(_mm256_add_pd(x, y), z);
  }

  [[gnu::always_inline]] inline void four(const std::uint32_t* slots, std::int64_t* j, std::int32_t* S, double* D,
                                          double* d) const {
    __m256d square[4];
#pragma GCC unroll 4
    for (int m = 0; m < 4; ++m) {
      const PairImage& image = pairs_.images[slots[m]];
      if (j != nullptr) j[m] = pairs_.first_atom + image.id;
      const __m128i shift = _mm_add_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(image.shift)), wrap_);
      if (S != nullptr) _mm_storeu_si128(reinterpret_cast<__m128i*>(S + 3 * m), shift);
      const __m256d difference = _mm256_sub_pd(_mm256_loadu_pd(image.position), center_);
      const __m256d vector = _mm256_add_pd(difference, translation(image, shift));
      if (D != nullptr) _mm256_storeu_pd(D + 3 * m, vector);
      square[m] = rounded(_mm256_mul_pd(vector, vector));
    }
    if (d == nullptr) return;
    const __m256d low_01 = _mm256_unpacklo_pd(square[0], square[1]);  // x0 x1 z0 z1
    const __m256d low_23 = _mm256_unpacklo_pd(square[2], square[3]);
    const __m256d high_01 = _mm256_unpackhi_pd(square[0], square[1]);  // y0 y1
    const __m256d high_23 = _mm256_unpackhi_pd(square[2], square[3]);
    const __m256d x2 = _mm256_permute2f128_pd(low_01, low_23, 0x20);
    const __m256d y2 = _mm256_permute2f128_pd(high_01, high_23, 0x20);
    const __m256d z2 = _mm256_permute2f128_pd(low_01, low_23, 0x31);
    _mm256_storeu_pd(d, _mm256_sqrt_pd(_mm256_add_pd(_mm256_add_pd(x2, y2), z2)));
  }

  const PairWriting& pairs_;
  __m256d center_;
  __m256d rows_[3];
  __m128i wrap_;
  bool in_place_;
};

void write_pairs(const PairWriting& pairs) {
  PairWriter(pairs).run();
  end_kernel();
}

#else

void write_pairs(const PairWriting& pairs) { write_pairs_one_by_one(pairs); }

#endif

}  // namespace
}  // namespace castile::simd
