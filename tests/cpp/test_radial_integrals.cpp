// Every basis against quadrature of the defining integral, with functions made from their definition by other means.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "castile/basis/radial_basis.hpp"
#include "radial_reference.hpp"

namespace {

using castile::make_radial_basis;
using castile::RadialBasisParameters;
using castile::test::gamma_of_half_integer;
using castile::test::inverse_root;
using castile::test::power_of_half;
using castile::test::Quad;
using castile::test::QuadMatrix;
using castile::test::RadialReference;
using castile::test::square_root;

/// ∫ x² x^p exp(-α x²) x^q exp(-β x²) dx.
Quad gaussian_overlap(int p, Quad alpha, int q, Quad beta) {
  return gamma_of_half_integer(p + q + 3) / 2 / power_of_half(alpha + beta, p + q + 3);
}

QuadMatrix gaussian_overlaps(const std::vector<int>& powers, const std::vector<Quad>& exponents) {
  QuadMatrix S(powers.size(), std::vector<Quad>(powers.size()));
  for (std::size_t n = 0; n < powers.size(); ++n) {
    for (std::size_t m = 0; m < powers.size(); ++m) {
      S[n][m] = gaussian_overlap(powers[n], exponents[n], powers[m], exponents[m]);
    }
  }
  return S;
}

std::function<Quad(std::size_t, long double)> gaussians(const std::vector<int>& powers,
                                                        const std::vector<Quad>& exponents) {
  return [powers, exponents](std::size_t k, long double x) {
    return static_cast<Quad>(std::pow(x, static_cast<long double>(powers[k])) *
                             std::exp(-static_cast<long double>(exponents[k]) * x * x));
  };
}

RadialReference gto(const RadialBasisParameters& p) {
  std::vector<int> powers;
  std::vector<Quad> exponents;
  const Quad unit = static_cast<Quad>(p.cutoff) / p.n_max;
  for (int n = 0; n < p.n_max; ++n) {
    powers.push_back(n);
    exponents.push_back(1 / (2 * unit * unit * std::max(n, 1)));
  }
  QuadMatrix S = gaussian_overlaps(powers, exponents);
  std::vector<Quad> norms;
  for (std::size_t n = 0; n < S.size(); ++n) norms.push_back(1 / square_root(S[n][n]));
  for (std::size_t n = 0; n < S.size(); ++n) {
    for (std::size_t m = 0; m < S.size(); ++m) S[n][m] *= norms[n] * norms[m];
  }
  QuadMatrix transform = inverse_root(S);
  for (auto& row : transform) {
    for (std::size_t m = 0; m < row.size(); ++m) row[m] *= norms[m];
  }
  return {gaussians(powers, exponents), transform, {}};
}

RadialReference gto_l(const RadialBasisParameters& p, int l) {
  std::vector<Quad> exponents;
  for (int k = 0; k < p.n_max; ++k) {
    const double extent = k == 0 ? 1.0 : k + 1 == p.n_max ? p.cutoff : 1.0 + k * ((p.cutoff - 1.0) / (p.n_max - 1));
    const auto a = static_cast<long double>(extent);
    exponents.push_back(static_cast<Quad>((std::log(1000.0L) + static_cast<long double>(l) * std::log(a)) / (a * a)));
  }
  const std::vector<int> powers(exponents.size(), l);
  return {gaussians(powers, exponents), inverse_root(gaussian_overlaps(powers, exponents)), {}};
}

RadialReference polynomial(const RadialBasisParameters& p) {
  const auto size = static_cast<std::size_t>(p.n_max);
  const Quad cutoff = static_cast<Quad>(p.cutoff);
  QuadMatrix S(size, std::vector<Quad>(size));
  for (int k = 1; k <= p.n_max; ++k) {
    for (int m = 1; m <= p.n_max; ++m) {
      const int s = k + m;
      S[static_cast<std::size_t>(k - 1)][static_cast<std::size_t>(m - 1)] =
          2 * power_of_half(cutoff, 2 * (s + 7)) / ((s + 5) * (s + 6) * (s + 7));
    }
  }
  const auto primitive = [cutoff](std::size_t k, long double x) {
    return power_of_half(cutoff - static_cast<Quad>(x), 2 * (static_cast<int>(k) + 3));
  };
  return {primitive, inverse_root(S), {0.0L, static_cast<long double>(p.cutoff)}};
}

/// j_l(x) by its power series; good for x below 30 or so.
Quad spherical_bessel_series(int l, Quad x) {
  Quad term = 1;
  for (int k = 1; k <= l; ++k) term *= x / (2 * k + 1);
  Quad sum = term;
  for (int k = 1; k < 120 && std::abs(static_cast<long double>(term)) > 1e-25L; ++k) {
    term *= -x * x / (2 * k * (2 * l + 2 * k + 1));
    sum += term;
  }
  return sum;
}

/// The zero by bisection, found by counting the changes of sign of the series.
Quad bessel_zero(int l, int n) {
  Quad low = 0.5;
  Quad high = low;
  for (int found = -1; found < n;) {
    low = high;
    high = low + 0.25;
    if (static_cast<long double>(spherical_bessel_series(l, low) * spherical_bessel_series(l, high)) < 0) ++found;
  }
  const bool rises = static_cast<long double>(spherical_bessel_series(l, high)) > 0;
  for (int step = 0; step < 90; ++step) {
    const Quad middle = (low + high) / 2;
    ((static_cast<long double>(spherical_bessel_series(l, middle)) > 0) == rises ? high : low) = middle;
  }
  return (low + high) / 2;
}

RadialReference laplacian(const RadialBasisParameters& p, int l) {
  const Quad cutoff = static_cast<Quad>(p.cutoff);
  std::vector<Quad> zeros;
  QuadMatrix transform;
  for (int n = 0; n < p.n_max; ++n) {
    zeros.push_back(bessel_zero(l, n));
    Quad slope = spherical_bessel_series(l + 1, zeros.back());
    if (slope < 0) slope = -slope;
    transform.emplace_back(static_cast<std::size_t>(p.n_max), Quad(0));
    transform.back()[static_cast<std::size_t>(n)] = square_root(2 / (cutoff * cutoff * cutoff)) / slope;
  }
  const auto primitive = [l, zeros, cutoff](std::size_t k, long double x) {
    return spherical_bessel_series(l, zeros[k] * static_cast<Quad>(x) / cutoff);
  };
  return {primitive, transform, {0.0L, static_cast<long double>(p.cutoff)}};
}

RadialReference reference(const RadialBasisParameters& p, int l) {
  if (p.name == "gto") return gto(p);
  if (p.name == "gto_l") return gto_l(p, l);
  if (p.name == "polynomial") return polynomial(p);
  return laplacian(p, l);
}

/// Largest error of R and its two derivatives over r and l, relative to the largest |.| of the n at the same r and l,
/// or to that of R/σ and R/σ²: second derivatives of functions wider than the atom are small differences of these.
std::array<double, 3> errors(const RadialBasisParameters& p) {
  const auto basis = make_radial_basis(p);
  const auto n_max = static_cast<std::size_t>(p.n_max);
  const std::size_t size = n_max * static_cast<std::size_t>(p.l_max + 1);
  std::vector<double> found(3 * size);
  std::array<double, 3> worst{};
  for (int l = 0; l <= p.l_max; ++l) {
    const RadialReference expectation = reference(p, l);
    for (const double r : {1e-6, 0.1, 0.7, 0.5 * p.cutoff, p.cutoff}) {
      basis->evaluate(r, &found[0], &found[size], &found[2 * size]);
      const auto expected =
          expectation.adaptive_integrals(l, static_cast<long double>(r), static_cast<long double>(p.sigma));
      double scale = 0.0;
      for (std::size_t order = 0; order < 3; ++order, scale /= p.sigma) {
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

void check(const RadialBasisParameters& p, double accuracy) {
  CAPTURE(p.name);
  CAPTURE(p.n_max);
  CAPTURE(p.sigma);
  const auto worst = errors(p);
  CHECK(worst[0] < accuracy);
  CHECK(worst[1] < 10 * accuracy);
  CHECK(worst[2] < 10 * accuracy);
}

}  // namespace

TEST_SUITE("extended precision") {
  TEST_CASE("the integrals of every basis equal quadrature of the defining integral") {
    for (const std::string& name : castile::radial_basis_names()) {
      check({name, 5.0, 0.4, 1, 2}, 1e-13);
      check({name, 5.0, 0.4, 8, 5}, 1e-13);
      check({name, 3.0, 1.0, 3, 8}, 1e-13);
      check({name, 6.0, 0.25, 3, 2}, 1e-13);
      check({name, 5.0, 0.05, 2, 1}, 2e-12);
    }
  }

  TEST_CASE("many Gaussian type orbitals keep their digits") {
    check({"gto", 5.0, 0.4, 12, 2}, 1e-13);
    check({"gto", 5.0, 0.4, 16, 2}, 1e-13);
    check({"gto_l", 5.0, 0.4, 12, 2}, 1e-13);
  }

  TEST_CASE("radial functions equal their definition") {
    for (const std::string& name : castile::radial_basis_names()) {
      CAPTURE(name);
      const RadialBasisParameters p{name, 4.5, 0.0, 7, 5};
      const auto basis = make_radial_basis(p);
      std::vector<double> found(126);
      for (int l = 0; l <= 5; ++l) {
        const RadialReference expectation = reference(p, l);
        for (const double x : {0.0, 1e-7, 0.3, 1.1, 2.7, 4.4, 4.5}) {
          basis->radial_function(x, &found[0], &found[42], &found[84]);
          const auto expected = expectation.functions(static_cast<long double>(x));
          double scale = 1.0;
          for (const long double value : expected) scale = std::max(scale, static_cast<double>(std::abs(value)));
          for (std::size_t n = 0; n < 7; ++n) {
            const double value = found[static_cast<std::size_t>(l) * 7 + n];
            CHECK(std::abs(value - static_cast<double>(expected[n])) < 5e-15 * scale);
          }
        }
      }
    }
  }
}
