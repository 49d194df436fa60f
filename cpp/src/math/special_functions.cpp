#include "castile/math/special_functions.hpp"

#include <cmath>

namespace castile {
namespace {

constexpr long double asymptotic_from = 600.0L;
constexpr long double precision = 1e-20L;

long double power_series(long double a, long double b, long double z) {
  long double term = std::exp(-z);
  long double sum = term;
  for (int s = 0;; ++s) {
    const auto k = static_cast<long double>(s);
    term *= (a + k) / (b + k) * z / (k + 1.0L);
    sum += term;
    if (k > z && term < precision * sum) return sum;
  }
}

long double asymptotic_series(long double a, long double b, long double z) {
  long double term = 1.0L;
  long double sum = 1.0L;
  for (int s = 0;; ++s) {
    const auto k = static_cast<long double>(s);
    const long double next = term * (b - a + k) * (1.0L - a + k) / ((k + 1.0L) * z);
    if (std::abs(next) >= std::abs(term) || std::abs(next) < precision * std::abs(sum)) break;
    term = next;
    sum += term;
  }
  return std::exp(std::lgamma(b) - std::lgamma(a) + (a - b) * std::log(z)) * sum;
}

}  // namespace

long double scaled_kummer(long double a, long double b, long double z) {
  if (a == b) return 1.0L;
  return z < asymptotic_from ? power_series(a, b, z) : asymptotic_series(a, b, z);
}

}  // namespace castile
