#include "castile/math/spherical_harmonics.hpp"

#include <cmath>
#include <cstddef>
#include <cstdlib>

namespace castile {
namespace {

constexpr double pi = 3.14159265358979323846;

/// log((2l-1)!!) through (2l)! = 2^l l! (2l-1)!!.
double log_double_factorial(int l) { return std::lgamma(2.0 * l + 1.0) - l * std::log(2.0) - std::lgamma(l + 1.0); }

}  // namespace

std::vector<double> monic_to_orthonormal(int l_max) {
  std::vector<double> factors(static_cast<std::size_t>(n_lm(l_max)));
  for (int l = 0; l <= l_max; ++l) {
    for (int m = -l; m <= l; ++m) {
      const int k = std::abs(m);
      // In logarithms, because the factorials overflow long before their quotient does.
      const double log_factor =
          0.5 * (std::log((2 * l + 1) / (4.0 * pi)) + std::lgamma(l - k + 1.0) - std::lgamma(l + k + 1.0)) +
          log_double_factorial(l) - std::lgamma(l - k + 1.0);
      factors[static_cast<std::size_t>(lm_index(l, m))] = std::exp(log_factor) * (k > 0 ? std::sqrt(2.0) : 1.0);
    }
  }
  return factors;
}

}  // namespace castile
