#include "castile/math/coupling.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>

namespace castile {
namespace {

std::vector<double> log_factorials(int most) {
  std::vector<double> values;
  for (int n = 0; n <= most; ++n) values.push_back(std::lgamma(static_cast<double>(n) + 1.0));
  return values;
}

/// <l1 m1 l2 m2 | l m>, by Racah's sum.
double clebsch_gordan(int l1, int m1, int l2, int m2, int l, int m, const std::vector<double>& log_factorials) {
  if (m1 + m2 != m || std::abs(m1) > l1 || std::abs(m2) > l2 || std::abs(m) > l) return 0.0;
  const auto log_factorial = [&](int n) { return log_factorials[static_cast<std::size_t>(n)]; };
  const double front =
      0.5 * (std::log(2.0 * l + 1.0) + log_factorial(l + l1 - l2) + log_factorial(l - l1 + l2) +
             log_factorial(l1 + l2 - l) - log_factorial(l1 + l2 + l + 1) + log_factorial(l + m) + log_factorial(l - m) +
             log_factorial(l1 - m1) + log_factorial(l1 + m1) + log_factorial(l2 - m2) + log_factorial(l2 + m2));
  double sum = 0.0;
  const int first = std::max({0, l2 - l - m1, l1 - l + m2});
  const int last = std::min({l1 + l2 - l, l1 - m1, l2 + m2});
  for (int k = first; k <= last; ++k) {
    const double term =
        std::exp(front - log_factorial(k) - log_factorial(l1 + l2 - l - k) - log_factorial(l1 - m1 - k) -
                 log_factorial(l2 + m2 - k) - log_factorial(l - l2 + m1 + k) - log_factorial(l - l1 - m2 + k));
    sum += k % 2 == 0 ? term : -term;
  }
  return sum;
}

struct Part {
  int m;
  std::complex<double> factor;
};

/// The real harmonic of m as a sum of complex ones with the Condon-Shortley phase.
std::vector<Part> complex_parts(int m) {
  const double half = std::sqrt(0.5), sign = m % 2 == 0 ? 1.0 : -1.0;
  if (m == 0) return {{0, 1.0}};
  if (m > 0) return {{m, sign * half}, {-m, half}};
  return {{m, {0.0, half}}, {-m, {0.0, -sign * half}}};
}

}  // namespace

std::vector<CouplingEntry> real_coupling(int l1, int l2, int l) {
  constexpr double rounding = 1e-13;
  std::vector<CouplingEntry> entries;
  const std::vector<double> logs = log_factorials(l1 + l2 + l + 1);
  for (int m = -l; m <= l; ++m) {
    for (int m1 = -l1; m1 <= l1; ++m1) {
      for (int m2 = -l2; m2 <= l2; ++m2) {
        if (std::abs(m) != std::abs(m1 + m2) && std::abs(m) != std::abs(m1 - m2)) continue;  // zero
        std::complex<double> sum = 0.0;
        for (const Part& a : complex_parts(m1)) {
          for (const Part& b : complex_parts(m2)) {
            for (const Part& c : complex_parts(m)) {
              sum += c.factor * std::conj(a.factor * b.factor) * clebsch_gordan(l1, a.m, l2, b.m, l, c.m, logs);
            }
          }
        }
        // All real where l1 + l2 + l is even; else all imaginary, and i times them couple as well.
        const double coefficient = (l1 + l2 + l) % 2 == 0 ? sum.real() : sum.imag();
        if (std::abs(coefficient) > rounding) entries.push_back({m1 + l1, m2 + l2, m + l, coefficient});
      }
    }
  }
  return entries;
}

}  // namespace castile
