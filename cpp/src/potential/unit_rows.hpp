// Rows of features divided by their norms, and the derivative of that.
#pragma once

#include <cmath>
#include <cstdint>

namespace castile {

inline double dot_of_rows(std::int64_t n, const double* a, const double* b) {
  constexpr std::int64_t n_chains = 8;  // a fixed order, which compilers can turn into vectors
  double sums[n_chains] = {};
  std::int64_t k = 0;
  for (; k + n_chains <= n; k += n_chains) {
    for (std::int64_t e = 0; e < n_chains; ++e) sums[e] += a[k + e] * b[k + e];
  }
  for (std::int64_t e = 0; k + e < n; ++e) sums[e] += a[k + e] * b[k + e];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// Divides a row by its norm and returns the inverse norm; a row of zeros stays, its inverse counts as zero.
inline double normalize_features(std::int64_t n, double* row) {
  const double norm = std::sqrt(dot_of_rows(n, row, row));
  const double inverse = norm > 0.0 ? 1.0 / norm : 0.0;
  for (std::int64_t k = 0; k < n; ++k) row[k] *= inverse;
  return inverse;
}

/// dE/drow from dE/d(unit row), in place.
inline void pull_back_norm(std::int64_t n, const double* unit_row, double inverse_norm, double* gradient) {
  const double along = dot_of_rows(n, unit_row, gradient);
  for (std::int64_t k = 0; k < n; ++k) gradient[k] = (gradient[k] - along * unit_row[k]) * inverse_norm;
}

}  // namespace castile
