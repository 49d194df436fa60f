// How pair vectors turn their gradients into strain.
#pragma once

#include <array>
#include <cstddef>

namespace castile {

/// strain (3, 3) += sym(D ⊗ f)
inline void add_symmetric_outer(const double* f, const std::array<double, 3>& D, double* strain) {
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = 0; b < 3; ++b) strain[3 * a + b] += 0.5 * (f[a] * D[b] + f[b] * D[a]);
  }
}

}  // namespace castile
