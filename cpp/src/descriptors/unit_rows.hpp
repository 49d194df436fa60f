// Rows of features divided by their norms, and the derivative of that.
#pragma once

#include <cmath>
#include <cstdint>

namespace castile {

/// a · b in double precision, in one order, whose chains compilers can turn into vectors.
template <typename T>
double dot_of_rows(std::int64_t n, const T* a, const T* b) {
  constexpr std::int64_t n_chains = 8;
  double sums[n_chains] = {};
  const auto product = [&](std::int64_t k) { return static_cast<double>(a[k]) * static_cast<double>(b[k]); };
  std::int64_t k = 0;
  for (; k + n_chains <= n; k += n_chains) {
    for (std::int64_t e = 0; e < n_chains; ++e) sums[e] += product(k + e);
  }
  for (std::int64_t e = 0; k + e < n; ++e) sums[e] += product(k + e);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// The same one by one: zeros in between, the columns that sparse rows leave out, then change no bit.
template <typename T>
double dot_one_by_one(std::int64_t n, const T* a, const T* b) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < n; ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
  return sum;
}

/// Scales a row to norm one and returns the norm it had; a zero row stays zero.
template <typename T>
double normalize_row(T* row, std::int64_t size) {
  const double length = std::sqrt(dot_one_by_one(size, row, row));
  if (length > 0.0) {
    for (std::int64_t k = 0; k < size; ++k) row[k] = static_cast<T>(static_cast<double>(row[k]) / length);
  }
  return length;
}

/// Takes a tangent or a cotangent of the raw row to one of the normalised row (the map is symmetric):
/// t -> (t - p̂ (p̂·t))/|p|; zero where the row is zero.
template <typename T>
void project_tangent(const T* unit_row, double length, std::int64_t size, T* tangent) {
  const double along = dot_one_by_one(size, unit_row, tangent);
  const double inverse = length > 0.0 ? 1.0 / length : 0.0;
  for (std::int64_t k = 0; k < size; ++k) {
    tangent[k] = static_cast<T>((static_cast<double>(tangent[k]) - static_cast<double>(unit_row[k]) * along) * inverse);
  }
}

}  // namespace castile
