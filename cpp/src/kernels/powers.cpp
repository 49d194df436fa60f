#include "kernels/powers.hpp"

#include <cmath>

#include "simd/kernels.hpp"

namespace castile {

void raise(std::int64_t n, double exponent, const double* x, double* power) {
  constexpr double largest_repeated_power = 1 << 30;
  if (exponent == std::floor(exponent) && exponent <= largest_repeated_power) {
    simd::kernels<double>().integer_power(n, static_cast<std::int64_t>(exponent), x, power);
    return;
  }
  for (std::int64_t k = 0; k < n; ++k) power[k] = x[k] > 0.0 ? std::pow(x[k], exponent) : 0.0;
}

}  // namespace castile
