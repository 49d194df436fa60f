#include "castile/math/quadrature.hpp"

#include <cmath>
#include <cstddef>

namespace castile {

GaussLegendre gauss_legendre(int n) {
  constexpr double pi = 3.14159265358979323846;
  const auto size = static_cast<std::size_t>(n);
  GaussLegendre rule{std::vector<double>(size), std::vector<double>(size)};
  std::vector<double> P(size + 1);
  for (std::size_t k = 0; k < size; ++k) {
    // Tricomi's estimate is so close that Newton's method needs few steps.
    double x = -std::cos(pi * (static_cast<double>(k) + 0.75) / (n + 0.5));
    double slope = 0.0;
    for (int iteration = 0; iteration < 6; ++iteration) {
      legendre_polynomials(n + 1, x, P.data());
      slope = n * (x * P[size] - P[size - 1]) / (x * x - 1.0);
      x -= P[size] / slope;
    }
    rule.nodes[k] = x;
    rule.weights[k] = 2.0 / ((1.0 - x * x) * slope * slope);
  }
  return rule;
}

void legendre_polynomials(int n, double x, double* values) {
  values[0] = 1.0;
  if (n > 1) values[1] = x;
  for (int k = 2; k < n; ++k) values[k] = ((2 * k - 1) * x * values[k - 1] - (k - 1) * values[k - 2]) / k;
}

}  // namespace castile
