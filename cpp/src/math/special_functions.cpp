#include "castile/math/special_functions.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace castile {
namespace {

constexpr double pi = 3.14159265358979323846;

/// The zero of j_l between two numbers that enclose no other: Newton's method, kept inside by bisection.
double zero_between(int l, double below, double above) {
  std::vector<double> j(static_cast<std::size_t>(l) + 2);
  const auto value = [&](double x) {
    spherical_bessel(l + 1, x, j.data());
    return j[static_cast<std::size_t>(l)];
  };
  const bool rises = value(above) > 0.0;
  double x = 0.5 * (below + above);
  for (int iteration = 0; iteration < 100; ++iteration) {
    const double f = value(x);
    ((f > 0.0) == rises ? above : below) = x;
    const double slope = l / x * f - j[static_cast<std::size_t>(l) + 1];
    const double next = x - f / slope;
    if (std::abs(next - x) <= 1e-16 * x) return next;
    x = next > below && next < above ? next : 0.5 * (below + above);
  }
  return x;
}

}  // namespace

// j_{l+1} = (2l+1)/x j_l - j_{l-1} is stable upwards while l < x; above, the ratios j_{l+1}/j_l are followed down from
// where they are small (NIST DLMF 10.51.1 and 3.6). No j_l with l <= x is near a zero at l = floor(x).
void spherical_bessel(int l_max, double x, double* values) {
  values[0] = x < 1e-8 ? 1.0 : std::sin(x) / x;
  if (l_max == 0) return;
  const int turn = x < static_cast<double>(l_max) ? static_cast<int>(x) : l_max;
  if (turn >= 1) values[1] = values[0] / x - std::cos(x) / x;
  for (int l = 1; l < turn; ++l) values[l + 1] = (2 * l + 1) / x * values[l] - values[l - 1];
  if (turn == l_max) return;
  double ratio = 0.0;
  for (int l = l_max + 30 + static_cast<int>(x); l >= turn; --l) {
    ratio = x / ((2 * l + 3) - x * ratio);
    if (l < l_max) values[l + 1] = ratio;
  }
  for (int l = turn; l < l_max; ++l) values[l + 1] *= values[l];
}

// Upwards, errors grow by exp(l²/y); downwards along the ratios i_{l+1}/i_l they shrink by exp(-(m² - l²)/y) from m to
// l.
void scaled_modified_spherical_bessel(int l_max, double y, double* values) {
  values[0] = y > 0.0 ? -std::expm1(-2.0 * y) / (2.0 * y) : 1.0;
  if (l_max == 0) return;
  const double squared = static_cast<double>(l_max) * l_max;
  if (2.0 * y > squared && y > 1.0) {
    values[1] = (0.5 * (1.0 + std::exp(-2.0 * y)) - values[0]) / y;
    for (int l = 1; l < l_max; ++l) values[l + 1] = values[l - 1] - (2 * l + 1) / y * values[l];
    return;
  }
  double ratio = 0.0;
  for (int l = static_cast<int>(std::sqrt(squared + 37.0 * y)) + 10; l >= 0; --l) {
    ratio = y / ((2 * l + 3) + y * ratio);
    if (l < l_max) values[l + 1] = ratio;
  }
  for (int l = 0; l < l_max; ++l) values[l + 1] *= values[l];
}

// The zeros of j_{l-1} separate those of j_l (NIST DLMF 10.21.2), and those of j_0 are multiples of π.
std::vector<double> spherical_bessel_zeros(int l_max, int n) {
  std::vector<double> previous;
  for (int k = 1; k <= n + l_max; ++k) previous.push_back(k * pi);
  std::vector<double> zeros;
  for (int l = 0; l <= l_max; ++l) {
    if (l > 0) {
      std::vector<double> next;
      for (std::size_t k = 0; k + 1 < previous.size(); ++k) {
        next.push_back(zero_between(l, previous[k], previous[k + 1]));
      }
      previous = next;
    }
    zeros.insert(zeros.end(), previous.begin(), previous.begin() + n);
  }
  return zeros;
}

}  // namespace castile
