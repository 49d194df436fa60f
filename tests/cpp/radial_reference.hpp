// Radial functions and their integrals by brute force, with as many digits as the compiler has.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include "support.hpp"

namespace castile::test {

// Condition numbers of overlaps reach 1e16 in the tests: twice the digits leave no doubt about the reference.
#ifdef __SIZEOF_FLOAT128__
using Quad = __float128;
#else
using Quad = long double;
#endif

using QuadMatrix = std::vector<std::vector<Quad>>;

inline Quad square_root(Quad x) {
  Quad root = static_cast<Quad>(std::sqrt(static_cast<long double>(x)));
  for (int k = 0; k < 3; ++k) root = (root + x / root) / 2;
  return root;
}

/// Γ(k/2) for k >= 1.
inline Quad gamma_of_half_integer(int k) {
  // In two parts, the first a double: one number would have other digits with every kind of long double.
  const Quad root_of_pi = square_root(static_cast<Quad>(3.141592653589793115997963468544185161590576171875L) +
                                      static_cast<Quad>(1.22464679914735317722606593227500106e-16L));
  Quad value = k % 2 == 0 ? Quad(1) : root_of_pi;
  for (int j = k % 2 == 0 ? 2 : 1; j < k; j += 2) value *= static_cast<Quad>(j) / 2;
  return value;
}

/// base^(k/2).
inline Quad power_of_half(Quad base, int k) {
  Quad value = k % 2 == 0 ? Quad(1) : square_root(base);
  for (int j = 0; j < k / 2; ++j) value *= base;
  return value;
}

inline QuadMatrix product(const QuadMatrix& a, const QuadMatrix& b) {
  QuadMatrix c(a.size(), std::vector<Quad>(a.size(), Quad(0)));
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t k = 0; k < a.size(); ++k) {
      for (std::size_t j = 0; j < a.size(); ++j) c[i][j] += a[i][k] * b[k][j];
    }
  }
  return c;
}

/// S^{-1/2} by the coupled iteration of Newton and Schulz, Y -> Y T, Z -> T Z, T = (3 - Z Y)/2.
inline QuadMatrix inverse_root(const QuadMatrix& S) {
  const std::size_t size = S.size();
  Quad trace = 0;
  for (std::size_t n = 0; n < size; ++n) trace += S[n][n];
  QuadMatrix Y = S;
  QuadMatrix Z(size, std::vector<Quad>(size, Quad(0)));
  for (std::size_t n = 0; n < size; ++n) {
    Z[n][n] = 1;
    for (std::size_t m = 0; m < size; ++m) Y[n][m] /= trace;
  }
  for (int iteration = 0; iteration < 120; ++iteration) {
    QuadMatrix T = product(Z, Y);
    for (std::size_t n = 0; n < size; ++n) {
      for (std::size_t m = 0; m < size; ++m) T[n][m] = ((n == m ? Quad(3) : Quad(0)) - T[n][m]) / 2;
    }
    Y = product(Y, T);
    Z = product(T, Z);
  }
  const Quad scale = 1 / square_root(trace);
  for (auto& row : Z) {
    for (Quad& entry : row) entry *= scale;
  }
  return Z;
}

/// exp(-y) i_l(y) by its series of positive terms.
inline long double bessel_series(int l, long double y) {
  long double term = std::exp(-y);
  for (int k = 1; k <= l; ++k) term *= y / static_cast<long double>(2 * k + 1);
  long double sum = term;
  for (int k = 1; term > 1e-22L * sum || static_cast<long double>(k) < y; ++k) {
    term *= 0.5L * y * y / (static_cast<long double>(k) * static_cast<long double>(2 * l + 2 * k + 1));
    sum += term;
    if (term == 0.0L) break;
  }
  return sum;
}

/// Radial functions of one l: Σ_k transform[n][k] φ_k(x) with pieces of φ between the edges; infinite support if
/// `edges` are empty.
struct RadialReference {
  std::function<Quad(std::size_t k, long double x)> primitive;
  QuadMatrix transform;
  std::vector<long double> edges;

  std::vector<long double> combine(const std::vector<Quad>& primitives) const {
    std::vector<long double> result;
    for (const auto& row : transform) {
      Quad sum = 0;
      for (std::size_t k = 0; k < row.size(); ++k) sum += row[k] * primitives[k];
      result.push_back(static_cast<long double>(sum));
    }
    return result;
  }

  std::vector<long double> functions(long double x) const {
    std::vector<Quad> primitives;
    for (std::size_t k = 0; k < transform[0].size(); ++k) primitives.push_back(primitive(k, x));
    return combine(primitives);
  }

  /// R_nl(r) and two derivatives, [order][n], with every piece between edges cut into panels.
  std::array<std::vector<long double>, 3> integrals(int l, long double r, long double sigma, int n_panels) const {
    static const GaussLegendre rule(24);
    constexpr long double pi = 3.14159265358979323846264338327950288L;
    const long double s = 1.0L / (sigma * sigma);
    // The atom's Gaussian falls to exp(-100) there.
    const std::vector<long double> all{0.0L, r + std::sqrt(200.0L / s)};
    const std::vector<long double>& pieces = edges.empty() ? all : edges;
    const std::size_t size = transform[0].size();
    std::array<std::vector<Quad>, 3> sums;
    for (auto& values : sums) values.assign(size, Quad(0));
    for (std::size_t piece = 0; piece + 1 < pieces.size(); ++piece) {
      const long double half = 0.5L * (pieces[piece + 1] - pieces[piece]) / static_cast<long double>(n_panels);
      for (int panel = 0; panel < n_panels; ++panel) {
        for (std::size_t q = 0; q < rule.nodes.size(); ++q) {
          const long double x = pieces[piece] + half * (static_cast<long double>(2 * panel + 1) + rule.nodes[q]);
          const long double y = x * r * s;
          const auto degree = static_cast<long double>(l);
          // i_l' = i_{l+1} + l i_l/y, and the same once more: no term cancels another.
          const long double i0 = bessel_series(l, y);
          const long double i1 = bessel_series(l + 1, y);
          const long double i2 = bessel_series(l + 2, y);
          const long double first = i1 + degree / y * i0;
          const long double second = i2 + (2.0L * degree + 1.0L) / y * i1 + degree * (degree - 1.0L) / (y * y) * i0;
          const long double common =
              4.0L * pi * half * rule.weights[q] * x * x * std::exp(-0.5L * s * (x - r) * (x - r));
          const std::array<long double, 3> factors = {
              common * i0, common * s * (x * first - r * i0),
              common * (s * (s * r * r - 1.0L) * i0 - 2.0L * s * s * r * x * first + s * s * x * x * second)};
          for (std::size_t k = 0; k < size; ++k) {
            const Quad phi = primitive(k, x);
            for (std::size_t order = 0; order < 3; ++order) sums[order][k] += phi * static_cast<Quad>(factors[order]);
          }
        }
      }
    }
    return {combine(sums[0]), combine(sums[1]), combine(sums[2])};
  }

  /// Panels are halved until the integrals stand still.
  std::array<std::vector<long double>, 3> adaptive_integrals(int l, long double r, long double sigma) const {
    const int first = edges.size() > 2 ? 1 : 8;
    auto coarse = integrals(l, r, sigma, first);
    for (int n_panels = 2 * first;; n_panels *= 2) {
      auto fine = integrals(l, r, sigma, n_panels);
      long double change = 0.0L;
      long double scale = 0.0L;
      for (std::size_t n = 0; n < fine[0].size(); ++n) {
        change = std::max(change, std::abs(fine[0][n] - coarse[0][n]));
        scale = std::max(scale, std::abs(fine[0][n]));
      }
      if (change < 1e-14L * scale || n_panels == 32 * first) return fine;
      coarse = std::move(fine);
    }
  }
};

}  // namespace castile::test
