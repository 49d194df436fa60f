#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/basis/radial_basis.hpp"
#include "support.hpp"

namespace {

using castile::make_radial_basis;
using castile::RadialBasisParameters;
using castile::test::GaussLegendre;

constexpr long double pi = 3.14159265358979323846264338327950288L;

// The overlap's condition number is 6e10 at n_max = 16: twice the digits leave no doubt about the reference.
#ifdef __SIZEOF_FLOAT128__
using Quad = __float128;
#else
using Quad = long double;
#endif

Quad square_root(Quad x) {
  Quad root = static_cast<Quad>(std::sqrt(static_cast<long double>(x)));
  for (int k = 0; k < 3; ++k) root = (root + x / root) / 2;
  return root;
}

/// Γ(k/2) for k >= 1.
Quad gamma_of_half(int k) {
  const Quad root_of_pi = square_root(static_cast<Quad>(3.14159265358979323846264338327950288L) +
                                      static_cast<Quad>(-5.0165576126683320234e-20L));
  Quad value = k % 2 == 0 ? Quad(1) : root_of_pi;
  for (int j = k % 2 == 0 ? 2 : 1; j < k; j += 2) value *= static_cast<Quad>(j) / 2;
  return value;
}

Quad power_of_half(Quad base, int k) {
  Quad value = k % 2 == 0 ? Quad(1) : square_root(base);
  for (int j = 0; j < k / 2; ++j) value *= base;
  return value;
}

/// σ_n² = (cutoff/n_max)² max(n, 1).
Quad width_squared(int n, const RadialBasisParameters& p) {
  const Quad ratio = static_cast<Quad>(p.cutoff) / p.n_max;
  return ratio * ratio * std::max(n, 1);
}

using Matrix = std::vector<std::vector<Quad>>;

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(a.size(), std::vector<Quad>(a.size(), Quad(0)));
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t k = 0; k < a.size(); ++k) {
      for (std::size_t j = 0; j < a.size(); ++j) c[i][j] += a[i][k] * b[k][j];
    }
  }
  return c;
}

/// Ô^{-1/2} N by the coupled Newton-Schulz iteration Y -> Y T, Z -> T Z, T = (3 - Z Y)/2.
Matrix orthonormalizer(const RadialBasisParameters& p) {
  const auto size = static_cast<std::size_t>(p.n_max);
  const auto overlap = [&p](int n, int m) {
    const Quad exponent = (1 / width_squared(n, p) + 1 / width_squared(m, p)) / 2;
    return gamma_of_half(n + m + 3) / 2 / power_of_half(exponent, n + m + 3);
  };
  Matrix Y(size, std::vector<Quad>(size));
  Matrix Z(size, std::vector<Quad>(size, Quad(0)));
  std::vector<Quad> norms(size);
  for (std::size_t n = 0; n < size; ++n) norms[n] = 1 / square_root(overlap(static_cast<int>(n), static_cast<int>(n)));
  for (std::size_t n = 0; n < size; ++n) {
    Z[n][n] = 1;
    for (std::size_t m = 0; m < size; ++m) {
      Y[n][m] = overlap(static_cast<int>(n), static_cast<int>(m)) * norms[n] * norms[m] / p.n_max;
    }
  }
  for (int iteration = 0; iteration < 120; ++iteration) {
    Matrix T = product(Z, Y);
    for (std::size_t n = 0; n < size; ++n) {
      for (std::size_t m = 0; m < size; ++m) T[n][m] = ((n == m ? Quad(3) : Quad(0)) - T[n][m]) / 2;
    }
    Y = product(Y, T);
    Z = product(T, Z);
  }
  const Quad scale = 1 / square_root(static_cast<Quad>(p.n_max));
  for (auto& row : Z) {
    for (std::size_t m = 0; m < size; ++m) row[m] *= scale * norms[m];
  }
  return Z;
}

/// exp(-y) i_l(y) by its series of positive terms.
long double scaled_bessel(int l, long double y) {
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

/// R_nl(r) and two derivatives by quadrature of the defining integral, [order][n], for one l.
std::array<std::vector<long double>, 3> by_quadrature(const RadialBasisParameters& p, const Matrix& transform, int l,
                                                      long double r, int n_panels) {
  const auto size = static_cast<std::size_t>(p.n_max);
  const long double s = 1.0L / (static_cast<long double>(p.sigma) * static_cast<long double>(p.sigma));
  static const GaussLegendre rule(24);
  std::array<std::vector<Quad>, 3> primitive;
  for (auto& values : primitive) values.assign(size, Quad(0));
  // The atom's Gaussian falls to exp(-100) there.
  const long double end = r + std::sqrt(200.0L / s);
  const long double half = 0.5L * end / static_cast<long double>(n_panels);
  for (int panel = 0; panel < n_panels; ++panel) {
    for (std::size_t k = 0; k < rule.nodes.size(); ++k) {
      const long double x = half * (static_cast<long double>(2 * panel + 1) + rule.nodes[k]);
      const long double y = x * r * s;
      // i_l' = i_{l+1} + l i_l/y, and the same once more: no term cancels another.
      const auto degree = static_cast<long double>(l);
      const long double i0 = scaled_bessel(l, y);
      const long double i1 = scaled_bessel(l + 1, y);
      const long double i2 = scaled_bessel(l + 2, y);
      const long double first = i1 + degree / y * i0;
      const long double second = i2 + (2.0L * degree + 1.0L) / y * i1 + degree * (degree - 1.0L) / (y * y) * i0;
      const long double common = 4.0L * pi * half * rule.weights[k] * x * x * std::exp(-0.5L * s * (x - r) * (x - r));
      const std::array<long double, 3> factors = {
          common * i0, common * s * (x * first - r * i0),
          common * (s * (s * r * r - 1.0L) * i0 - 2.0L * s * s * r * x * first + s * s * x * x * second)};
      for (std::size_t n = 0; n < size; ++n) {
        const auto width = static_cast<long double>(width_squared(static_cast<int>(n), p));
        const long double phi = std::pow(x, static_cast<long double>(n)) * std::exp(-0.5L * x * x / width);
        for (std::size_t order = 0; order < 3; ++order) primitive[order][n] += static_cast<Quad>(phi * factors[order]);
      }
    }
  }
  std::array<std::vector<long double>, 3> result;
  for (std::size_t order = 0; order < 3; ++order) {
    for (std::size_t n = 0; n < size; ++n) {
      Quad sum = 0;
      for (std::size_t k = 0; k < size; ++k) sum += transform[n][k] * primitive[order][k];
      result[order].push_back(static_cast<long double>(sum));
    }
  }
  return result;
}

/// Panels are halved until the integrals stand still.
std::array<std::vector<long double>, 3> adaptive(const RadialBasisParameters& p, const Matrix& transform, int l,
                                                 long double r) {
  auto coarse = by_quadrature(p, transform, l, r, 8);
  for (int n_panels = 16;; n_panels *= 2) {
    auto fine = by_quadrature(p, transform, l, r, n_panels);
    long double change = 0.0L;
    long double scale = 0.0L;
    for (std::size_t n = 0; n < fine[0].size(); ++n) {
      change = std::max(change, std::abs(fine[0][n] - coarse[0][n]));
      scale = std::max(scale, std::abs(fine[0][n]));
    }
    if (change < 1e-13L * scale || n_panels == 256) return fine;
    coarse = std::move(fine);
  }
}

/// Largest error of R and its two derivatives over r and l, relative to the largest |.| of the n at the same r and l.
std::array<double, 3> errors(const RadialBasisParameters& p) {
  const auto basis = make_radial_basis(p);
  const Matrix transform = orthonormalizer(p);
  const auto n_max = static_cast<std::size_t>(p.n_max);
  const std::size_t size = n_max * static_cast<std::size_t>(p.l_max + 1);
  std::vector<double> found(3 * size);
  std::array<double, 3> worst{};
  for (const double r : {1e-6, 1e-3, 0.1, 0.7, 0.5 * p.cutoff, 0.9 * p.cutoff, p.cutoff}) {
    basis->evaluate(r, &found[0], &found[size], &found[2 * size]);
    for (int l = 0; l <= p.l_max; ++l) {
      const auto expected = adaptive(p, transform, l, static_cast<long double>(r));
      for (std::size_t order = 0; order < 3; ++order) {
        double scale = 0.0;
        double error = 0.0;
        for (std::size_t n = 0; n < n_max; ++n) {
          const double value = found[order * size + static_cast<std::size_t>(l) * n_max + n];
          scale = std::max(scale, std::abs(static_cast<double>(expected[order][n])));
          error = std::max(error, static_cast<double>(std::abs(static_cast<long double>(value) - expected[order][n])));
        }
        worst[order] = std::max(worst[order], error / scale);
      }
    }
  }
  return worst;
}

RadialBasisParameters parameters(double cutoff, double sigma, int n_max, int l_max) {
  return {"gto", cutoff, sigma, n_max, l_max};
}

}  // namespace

TEST_SUITE("extended precision") {
  TEST_CASE("the closed form equals quadrature of the defining integral, n_max = 1 to 8") {
    for (const auto& p : {parameters(5.0, 0.4, 1, 2), parameters(5.0, 0.4, 8, 8), parameters(3.0, 1.0, 8, 3),
                          parameters(6.0, 0.25, 4, 4)}) {
      CAPTURE(p.n_max);
      CAPTURE(p.sigma);
      const auto worst = errors(p);
      CHECK(worst[0] < 1e-12);
      CHECK(worst[1] < 1e-11);
      CHECK(worst[2] < 1e-11);
    }
  }

  TEST_CASE("the closed form equals quadrature of the defining integral, n_max = 12") {
    const auto worst = errors(parameters(5.0, 0.4, 12, 4));
    CHECK(worst[0] < 1e-11);
    CHECK(worst[1] < 1e-10);
    CHECK(worst[2] < 1e-10);
  }

  TEST_CASE("the closed form equals quadrature of the defining integral, n_max = 16") {
    const auto worst = errors(parameters(5.0, 0.4, 16, 3));
    CHECK(worst[0] < 1e-9);
    CHECK(worst[1] < 1e-8);
    CHECK(worst[2] < 1e-8);
  }
}

TEST_CASE("the radial functions are orthonormal") {
  // Of a very narrow atom the integral is g_n(r) (2πσ²)^{3/2}, up to terms of order σ².
  const double sigma = 1e-4;
  const RadialBasisParameters p = parameters(5.0, sigma, 8, 0);
  const auto basis = make_radial_basis(p);
  const double scale = std::pow(2.0 * static_cast<double>(pi) * sigma * sigma, -1.5);
  const GaussLegendre rule(80);
  const double end = 30.0;  // the widest primitive has σ_n = 1.7 Å
  std::array<std::array<double, 8>, 8> overlap{};
  for (std::size_t k = 0; k < rule.nodes.size(); ++k) {
    const double r = 0.5 * end * (1.0 + static_cast<double>(rule.nodes[k]));
    double g[24];
    basis->evaluate(r, g, g + 8, g + 16);
    const double weight = 0.5 * end * static_cast<double>(rule.weights[k]) * r * r * scale * scale;
    for (std::size_t n = 0; n < 8; ++n) {
      for (std::size_t m = 0; m < 8; ++m) overlap[n][m] += weight * g[n] * g[m];
    }
  }
  for (std::size_t n = 0; n < 8; ++n) {
    for (std::size_t m = 0; m < 8; ++m) CHECK(std::abs(overlap[n][m] - (n == m ? 1.0 : 0.0)) < 1e-6);
  }
}

TEST_CASE("at distance zero only l = 0 has a value and only l = 1 a slope") {
  const auto basis = make_radial_basis(parameters(4.0, 0.5, 5, 4));
  std::vector<double> functions(75);
  basis->evaluate(0.0, &functions[0], &functions[25], &functions[50]);
  for (std::size_t l = 0; l <= 4; ++l) {
    for (std::size_t n = 0; n < 5; ++n) {
      CHECK((functions[5 * l + n] != 0.0) == (l == 0));
      CHECK((functions[25 + 5 * l + n] != 0.0) == (l == 1));
      CHECK((functions[50 + 5 * l + n] != 0.0) == (l == 0 || l == 2));
    }
  }
}

TEST_CASE("parameters out of range are refused, and the message names them") {
  const auto message = [](const RadialBasisParameters& p) -> std::string {
    try {
      make_radial_basis(p);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const auto names = [&](const RadialBasisParameters& p, const std::string& name) {
    return message(p).find(name) != std::string::npos;
  };
  for (const double length : {0.0, -1.0, std::nan(""), static_cast<double>(INFINITY)}) {
    CHECK(names(parameters(length, 0.5, 4, 4), "cutoff"));
    CHECK(names(parameters(5.0, length, 4, 4), "sigma"));
  }
  for (const int n_max : {0, -3, 17, 1000}) CHECK(names(parameters(5.0, 0.5, n_max, 4), "n_max"));
  for (const int l_max : {-1, 31}) CHECK(names(parameters(5.0, 0.5, 4, l_max), "l_max"));
  RadialBasisParameters p;
  p.name = "sto";
  CHECK(names(p, "radial_basis"));
  CHECK(message(p).find("'gto'") != std::string::npos);
  for (const std::string& name : castile::radial_basis_names()) {
    p.name = name;
    CHECK(message(p) == "");
  }
}
