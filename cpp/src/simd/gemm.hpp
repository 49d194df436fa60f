// Products of row-major matrices, C = A Bᵀ: one packed kernel, tiled over the registers.
//
// Every element of C is summed in one order that depends on k alone: blocks of `gemm_depth` terms, one
// chain of multiply-adds in each, the blocks added one after the other. Neither n, m, the position of a row
// nor the caller's blocking touches the bits, and exchanging A and B transposes C exactly. For the best speed
// pass blocks of n, m of about 400: both packed blocks then stay in the second-level cache.
#pragma once

#include <cstdint>

#include "simd/vector.hpp"

namespace castile::simd {
namespace {

constexpr std::int64_t gemm_depth = 256;
constexpr std::int64_t gemm_alignment = 64;  // bytes: a cache line

/// Shape of the tile of C that is kept in registers: `rows` × `vectors` accumulators, next to the loaded row
/// of B and a number of A (which AVX-512 takes from memory); where multiplication and addition are not fused,
/// the product needs a register too.
template <typename T>
struct GemmTile {
  static constexpr int lanes = register_bytes / static_cast<int>(sizeof(T));
  static constexpr int vectors = register_bytes >= 32 ? 3 : 2;
  static constexpr int rows = register_count >= 32 ? 8 : 4;
  static constexpr int columns = vectors * lanes;
};

constexpr std::int64_t gemm_round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Packs columns [0, depth) of n rows into panels of `Width` rows, each stored column by column; rows past
/// the last become zeros.
template <int Width, typename T>
void gemm_pack(std::int64_t n, std::int64_t depth, const T* rows, std::int64_t stride, const T* scale, T* packed) {
  for (std::int64_t first = 0; first < n; first += Width, packed += Width * depth) {
    const T* source[Width];
    T factor[Width];
    for (int i = 0; i < Width; ++i) {
      const bool exists = first + i < n;
      source[i] = rows + (exists ? first + i : first) * stride;
      factor[i] = exists ? (scale != nullptr ? scale[first + i] : T(1)) : T(0);
    }
    for (std::int64_t q = 0; q < depth; ++q) {
#pragma GCC unroll 32
      for (int i = 0; i < Width; ++i) packed[q * Width + i] = factor[i] * source[i][q];
    }
  }
}

/// One tile of C from one panel of A and one of B.
template <typename T>
[[gnu::always_inline]] inline void gemm_tile(std::int64_t depth, const T* a, const T* b, T* c, std::int64_t c_stride,
                                             bool accumulate) {
  using Tile = GemmTile<T>;
  constexpr int width = Tile::lanes;
  // C comes from a farther cache: ask for it now, so that it is there when the sums are done.
#pragma GCC unroll 8
  for (int i = 0; i < Tile::rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < Tile::vectors; ++v) __builtin_prefetch(c + i * c_stride + v * width, 1);
  }
  Vector<T, width> sum[Tile::rows][Tile::vectors] = {};
  for (std::int64_t q = 0; q < depth; ++q, a += Tile::rows, b += Tile::columns) {
    Vector<T, width> row[Tile::vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Tile::vectors; ++v) row[v] = load<width>(b + v * width);
#pragma GCC unroll 8
    for (int i = 0; i < Tile::rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < Tile::vectors; ++v) sum[i][v] += a[i] * row[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Tile::rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < Tile::vectors; ++v) {
      T* target = c + i * c_stride + v * width;
      store<width>(target, accumulate ? load<width>(target) + sum[i][v] : sum[i][v]);
    }
  }
}

/// The tile at the edge of C: computed whole, of which n × m numbers are kept.
template <typename T>
void gemm_edge_tile(std::int64_t n, std::int64_t m, std::int64_t depth, const T* a, const T* b, T* c,
                    std::int64_t c_stride, bool accumulate) {
  constexpr int columns = GemmTile<T>::columns;
  T whole[GemmTile<T>::rows * columns];
  gemm_tile(depth, a, b, whole, columns, false);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < m; ++j) {
      const T value = whole[i * columns + j];
      T& target = c[i * c_stride + j];
      target = accumulate ? target + value : value;
    }
  }
}

template <typename T>
void gemm_of_panels(std::int64_t n, std::int64_t m, std::int64_t depth, const T* a, const T* b, T* c,
                    std::int64_t c_stride, bool accumulate) {
  constexpr std::int64_t tile_rows = GemmTile<T>::rows;
  constexpr std::int64_t tile_columns = GemmTile<T>::columns;
  for (std::int64_t j = 0; j < m; j += tile_columns) {
    for (std::int64_t i = 0; i < n; i += tile_rows) {
      T* target = c + i * c_stride + j;
      if (n - i >= tile_rows && m - j >= tile_columns) {
        gemm_tile(depth, a + i * depth, b + j * depth, target, c_stride, accumulate);
      } else {
        const std::int64_t rows = n - i < tile_rows ? n - i : tile_rows;
        const std::int64_t columns = m - j < tile_columns ? m - j : tile_columns;
        gemm_edge_tile(rows, columns, depth, a + i * depth, b + j * depth, target, c_stride, accumulate);
      }
    }
  }
}

template <typename T>
T* gemm_align(T* p) {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(p);
  const std::uintptr_t past = address % gemm_alignment;
  return past == 0 ? p : p + (gemm_alignment - past) / sizeof(T);
}

template <typename T>
std::int64_t gemm_nt_workspace(std::int64_t n, std::int64_t m) {
  const std::int64_t spare = 2 * gemm_alignment / static_cast<std::int64_t>(sizeof(T));
  return (gemm_round_up(n, GemmTile<T>::rows) + gemm_round_up(m, GemmTile<T>::columns)) * gemm_depth + spare;
}

template <typename T>
void gemm_nt(std::int64_t n, std::int64_t m, std::int64_t k, const T* a, std::int64_t a_stride, const T* a_scale,
             const T* b, std::int64_t b_stride, const T* b_scale, T* c, std::int64_t c_stride, T* workspace) {
  T* a_packed = gemm_align(workspace);
  T* b_packed = gemm_align(a_packed + gemm_round_up(n, GemmTile<T>::rows) * gemm_depth);
  std::int64_t q = 0;
  do {  // at least once: an empty sum is zero
    const std::int64_t depth = k - q < gemm_depth ? k - q : gemm_depth;
    gemm_pack<GemmTile<T>::rows>(n, depth, a + q, a_stride, a_scale, a_packed);
    gemm_pack<GemmTile<T>::columns>(m, depth, b + q, b_stride, b_scale, b_packed);
    gemm_of_panels(n, m, depth, a_packed, b_packed, c, c_stride, q > 0);
    q += gemm_depth;
  } while (q < k);
}

template <typename T>
std::int64_t gemm_packed_size(std::int64_t m, std::int64_t k) {
  return gemm_round_up(m, GemmTile<T>::columns) * k;
}

template <typename T>
void gemm_pack_right(std::int64_t m, std::int64_t k, const T* b, std::int64_t b_stride, T* packed) {
  for (std::int64_t q = 0; q < k; q += gemm_depth) {
    const std::int64_t depth = k - q < gemm_depth ? k - q : gemm_depth;
    gemm_pack<GemmTile<T>::columns>(m, depth, b + q, b_stride, static_cast<const T*>(nullptr),
                                    packed + q * gemm_round_up(m, GemmTile<T>::columns));
  }
}

template <typename T>
void gemm_packed(std::int64_t n, std::int64_t m, std::int64_t k, const T* a, std::int64_t a_stride, const T* packed,
                 std::int64_t first, std::int64_t last, T* c, std::int64_t c_stride, T* workspace) {
  T* a_packed = gemm_align(workspace);
  const std::int64_t width = gemm_round_up(m, GemmTile<T>::columns);
  std::int64_t q = 0;
  do {
    const std::int64_t depth = k - q < gemm_depth ? k - q : gemm_depth;
    gemm_pack<GemmTile<T>::rows>(n, depth, a + q, a_stride, static_cast<const T*>(nullptr), a_packed);
    gemm_of_panels(n, last - first, depth, a_packed, packed + q * width + first * depth, c, c_stride, q > 0);
    q += gemm_depth;
  } while (q < k);
}

}  // namespace
}  // namespace castile::simd
