#pragma once

#include <vector>

namespace castile {

/// Nodes, ascending, and weights of the rule of Gauss and Legendre on [-1, 1].
struct GaussLegendre {
  std::vector<double> nodes;
  std::vector<double> weights;
};
GaussLegendre gauss_legendre(int n);

/// P_k(x) of k = 0..n-1 into `values` (n).
void legendre_polynomials(int n, double x, double* values);

}  // namespace castile
