#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "simd/kernels.hpp"

namespace castile {

/// shift @ cell, always with the same roundings.
inline std::array<double, 3> translation(const std::int32_t* shift, const double* cell) {
  std::array<double, 3> result;
  for (int k = 0; k < 3; ++k) {
    result[static_cast<std::size_t>(k)] = (shift[0] * cell[k] + shift[1] * cell[3 + k]) + shift[2] * cell[6 + k];
  }
  return result;
}

/// D = (r_j - r_i) + shift @ cell: the only formula for a pair's vector; the kernel write_pairs has the same roundings.
inline std::array<double, 3> pair_vector(const simd::PairImage& image, const double* center, const std::int32_t* wrap,
                                         const double* cell) {
  std::array<double, 3> moved{image.translation[0], image.translation[1], image.translation[2]};
  if ((wrap[0] | wrap[1] | wrap[2]) != 0) {
    const std::int32_t shift[3] = {image.shift[0] + wrap[0], image.shift[1] + wrap[1], image.shift[2] + wrap[2]};
    moved = translation(shift, cell);
  }
  std::array<double, 3> D;
  for (std::size_t k = 0; k < 3; ++k) D[k] = (image.position[k] - center[k]) + moved[k];
  return D;
}

inline double pair_distance(const std::array<double, 3>& D) {
  return std::sqrt((D[0] * D[0] + D[1] * D[1]) + D[2] * D[2]);
}

}  // namespace castile
