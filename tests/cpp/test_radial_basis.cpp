#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/basis/gto_basis.hpp"
#include "castile/basis/gto_l_basis.hpp"
#include "castile/basis/laplacian_basis.hpp"
#include "castile/basis/polynomial_basis.hpp"
#include "castile/basis/radial_basis.hpp"
#include "support.hpp"

namespace {

using castile::make_radial_basis;
using castile::RadialBasis;
using castile::RadialBasisParameters;
using castile::test::GaussLegendre;

/// Values and two derivatives of all functions.
struct Functions {
  explicit Functions(const RadialBasis& basis)
      : size(static_cast<std::size_t>(basis.parameters().n_max * (basis.parameters().l_max + 1))), all(3 * size) {}

  double operator()(std::size_t order, std::size_t k) const { return all[order * size + k]; }
  void evaluate(const RadialBasis& basis, double r) { basis.evaluate(r, &all[0], &all[size], &all[2 * size]); }
  void radial_function(const RadialBasis& basis, double x) {
    basis.radial_function(x, &all[0], &all[size], &all[2 * size]);
  }

  std::size_t size;
  std::vector<double> all;
};

/// Largest entry of ∫ x² g_n g_m dx - 1 over all l.
double orthonormality_defect(const RadialBasis& basis, double end, int n_panels) {
  static const GaussLegendre rule(32);
  const auto n_max = static_cast<std::size_t>(basis.parameters().n_max);
  Functions g(basis);
  std::vector<double> overlap(g.size * n_max, 0.0);
  for (int panel = 0; panel < n_panels; ++panel) {
    for (std::size_t q = 0; q < rule.nodes.size(); ++q) {
      const double half = 0.5 * end / n_panels;
      const double x = half * (2 * panel + 1 + static_cast<double>(rule.nodes[q]));
      g.radial_function(basis, x);
      const double weight = half * static_cast<double>(rule.weights[q]) * x * x;
      for (std::size_t k = 0; k < g.size; ++k) {
        for (std::size_t m = 0; m < n_max; ++m) {
          overlap[k * n_max + m] += weight * g(0, k) * g(0, k / n_max * n_max + m);
        }
      }
    }
  }
  double defect = 0.0;
  for (std::size_t k = 0; k < g.size; ++k) {
    for (std::size_t m = 0; m < n_max; ++m) {
      defect = std::max(defect, std::abs(overlap[k * n_max + m] - (k % n_max == m ? 1.0 : 0.0)));
    }
  }
  return defect;
}

bool has_compact_functions(const std::string& name) { return name == "polynomial" || name == "laplacian"; }

std::string message(const RadialBasisParameters& p) {
  try {
    make_radial_basis(p);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

bool names(const RadialBasisParameters& p, const std::string& parameter) {
  return message(p).find(parameter) != std::string::npos;
}

}  // namespace

TEST_CASE("radial functions are orthonormal up to the largest n_max of every basis") {
  const auto defect = [](const std::string& name, double cutoff, int n_max, int l_max) {
    const bool compact = has_compact_functions(name);
    return orthonormality_defect(*make_radial_basis({name, cutoff, 0.0, n_max, l_max}), compact ? cutoff : 6 * cutoff,
                                 n_max > 16 ? 40 : 30);
  };
  for (const std::string& name : castile::radial_basis_names()) {
    CAPTURE(name);
    for (const int n_max : {1, 2, 5, 8}) CHECK(defect(name, 5.0, n_max, 6) < 1e-13);
  }
  CHECK(defect("gto", 5.0, castile::GtoBasis::largest_n_max, 0) < 1e-13);
  CHECK(defect("gto_l", 5.0, castile::GtoLBasis::largest_n_max, 8) < 1e-13);
  CHECK(defect("gto_l", 3.0, castile::GtoLBasis::largest_n_max, 3) < 1e-12);
  for (const double cutoff : {0.7, 5.0, 12.0}) {
    CHECK(defect("polynomial", cutoff, castile::PolynomialBasis::largest_n_max, 0) < 1e-13);
  }
  CHECK(defect("laplacian", 5.0, castile::LaplacianBasis::largest_n_max, 2) < 1e-12);
}

// Symmetric inverse roots of overlaps whose condition number goes to 1e37, from decimal arithmetic with 110 digits.
TEST_CASE("radial functions of nearly dependent primitives equal those of exact arithmetic") {
  struct Printed {
    RadialBasisParameters parameters;
    std::size_t l;
    std::size_t n[3];
    double at_three_quarters[3], at_two_and_a_half[3];
  };
  const Printed table[] = {
      {{"polynomial", 5.0, 0.0, 12, 0},
       0,
       {0, 5, 11},
       {0.0045052086063413098, -0.34736051907306514, 0.76920290732098617},
       {-0.0090882675486583641, 0.50613098894596453, 6.5432401886195892e-05}},
      {{"polynomial", 5.0, 0.0, 16, 0},
       0,
       {0, 7, 15},
       {-0.0019472783181543347, 0.318379593681207, 0.4816047202284463},
       {-0.0015627642742894827, 0.56810422384282977, 4.624584192874941e-06}},
      {{"polynomial", 8.0, 0.0, 16, 0},
       0,
       {0, 7, 15},
       {0.0011711545108892189, -0.065301036564915385, 1.1473643207468784},
       {-0.00020955222324454172, 0.1558618573668038, 0.0032348676183882237}},
      {{"gto_l", 3.0, 0.0, 16, 1},
       0,
       {0, 7, 15},
       {0.19700543157048986, 0.48371821232932144, 0.37273268371589285},
       {2.7130979557740884e-06, 0.069516783378325953, 0.29612547809504081}},
      {{"gto_l", 5.0, 0.0, 16, 6},
       6,
       {0, 7, 15},
       {-0.21913942114785578, 0.13160397074259439, 0.0020150351283551027},
       {0.00022989960713391881, 0.43595957482633363, 0.27270956949109226}},
      {{"gto", 5.0, 0.0, 16, 1},
       0,
       {0, 7, 15},
       {0.066822738188141217, -0.051186652179378775, 4.310021049233447e-05},
       {-0.001874033744409078, 0.59654706809055036, -3.9686622204885717e-05}},
  };
  for (const Printed& printed : table) {
    CAPTURE(printed.parameters.name);
    CAPTURE(printed.parameters.n_max);
    const auto basis = make_radial_basis(printed.parameters);
    Functions g(*basis);
    const std::size_t row = printed.l * static_cast<std::size_t>(printed.parameters.n_max);
    const double accuracy = printed.parameters.name == "gto_l" && printed.parameters.cutoff < 4.0 ? 1e-13 : 1e-14;
    for (std::size_t k = 0; k < 3; ++k) {
      g.radial_function(*basis, 0.75);
      CHECK(std::abs(g(0, row + printed.n[k]) - printed.at_three_quarters[k]) < accuracy);
      g.radial_function(*basis, 2.5);
      CHECK(std::abs(g(0, row + printed.n[k]) - printed.at_two_and_a_half[k]) < accuracy);
    }
  }
}

TEST_CASE("derivatives of integrals and of radial functions are those of their values") {
  const double h = 1e-3;
  for (const std::string& name : castile::radial_basis_names()) {
    for (const double sigma : {0.0, 0.3, 1.2}) {
      CAPTURE(name);
      CAPTURE(sigma);
      const auto basis = make_radial_basis({name, 4.0, sigma, 5, 4});
      using Evaluate = void (Functions::*)(const RadialBasis&, double);
      for (const Evaluate evaluate : {&Functions::evaluate, &Functions::radial_function}) {
        Functions at(*basis);
        Functions above(*basis);
        Functions below(*basis);
        for (const double r : {0.11, 0.5, 1.3, 2.2, 3.1, 3.9}) {
          (at.*evaluate)(*basis, r);
          std::vector<double> numeric(2 * at.size, 0.0);
          const double weights[] = {45.0 / 60.0, -9.0 / 60.0, 1.0 / 60.0};
          for (int step = 1; step <= 3; ++step) {
            (above.*evaluate)(*basis, r + step * h);
            (below.*evaluate)(*basis, r - step * h);
            for (std::size_t k = 0; k < numeric.size(); ++k) {
              numeric[k] += weights[step - 1] * (above.all[k] - below.all[k]) / h;
            }
          }
          for (std::size_t order = 1; order < 3; ++order) {
            double scale = 0.0;
            for (std::size_t k = 0; k < at.size; ++k) scale = std::max(scale, std::abs(at(order, k)));
            for (std::size_t k = 0; k < at.size; ++k) {
              CHECK(std::abs(at(order, k) - numeric[(order - 1) * at.size + k]) < 2e-9 * std::max(scale, 1.0));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("an atom without width has the radial functions as integrals, the limit of narrow ones") {
  constexpr double pi = 3.14159265358979323846;
  for (const std::string& name : castile::radial_basis_names()) {
    CAPTURE(name);
    const auto point = make_radial_basis({name, 4.0, 0.0, 4, 3});
    Functions g(*point);
    Functions R(*point);
    for (const double r : {0.9, 2.0, 3.0}) {
      g.radial_function(*point, r);
      R.evaluate(*point, r);
      CHECK(R.all == g.all);
      const auto difference = [&](double sigma) {
        const auto basis = make_radial_basis({name, 4.0, sigma, 4, 3});
        Functions narrow(*basis);
        narrow.evaluate(*basis, r);
        const double mass = std::pow(2.0 * pi * sigma * sigma, 1.5);
        double largest = 0.0;
        for (std::size_t k = 0; k < g.size; ++k) {
          largest = std::max(largest, std::abs(narrow(0, k) / mass - g(0, k)));
        }
        return largest;
      };
      // The difference is σ²/2 times the Laplacian.
      const double coarse = difference(0.02);
      const double fine = difference(0.01);
      CHECK(fine < 0.01);
      CHECK(std::abs(coarse / fine - 4.0) < 0.05);
    }
  }
}

TEST_CASE("at distance zero only l = 0 has a value and only l = 1 a slope") {
  for (const std::string& name : castile::radial_basis_names()) {
    CAPTURE(name);
    const auto basis = make_radial_basis({name, 4.0, 0.5, 5, 4});
    Functions at_zero(*basis);
    Functions beside(*basis);
    at_zero.evaluate(*basis, 0.0);
    for (std::size_t k = 0; k < at_zero.size; ++k) {
      const std::size_t l = k / 5;
      CHECK((at_zero(0, k) != 0.0) == (l == 0));
      CHECK((at_zero(1, k) != 0.0) == (l == 1));
      CHECK((at_zero(2, k) != 0.0) == (l == 0 || l == 2));
    }
    // The limits, not values of their own.
    beside.evaluate(*basis, 1e-7);
    for (std::size_t k = 0; k < at_zero.all.size(); ++k) {
      CHECK(std::abs(at_zero.all[k] - beside.all[k]) < 2e-5);
    }
  }
}

TEST_CASE("radial functions on a finite range are zero behind it, with their limits at its end") {
  for (const std::string& name : castile::radial_basis_names()) {
    CAPTURE(name);
    const bool compact = has_compact_functions(name);
    const auto point = make_radial_basis({name, 3.0, 0.0, 6, 4});
    const auto wide = make_radial_basis({name, 3.0, 0.5, 6, 4});
    CHECK(point->support() == (compact ? 3.0 : std::numeric_limits<double>::infinity()));
    CHECK(wide->support() == std::numeric_limits<double>::infinity());
    CHECK(point->breakpoints().empty());
    Functions inside(*point);
    Functions behind(*point);
    inside.evaluate(*point, std::nextafter(3.0, 0.0));
    behind.evaluate(*point, 3.0);
    for (std::size_t k = 0; k < inside.all.size(); ++k) CHECK(std::abs(inside.all[k] - behind.all[k]) < 1e-9);
    for (const double r : {std::nextafter(3.0, 4.0), 3.5, 100.0}) {
      behind.evaluate(*point, r);
      CHECK((castile::test::largest(behind.all) == 0.0) == (compact || r == 100.0));
      behind.radial_function(*wide, r);
      CHECK((castile::test::largest(behind.all) == 0.0) == (compact || r == 100.0));
    }
    behind.evaluate(*wide, 3.5);
    CHECK(castile::test::largest(behind.all) > 1e-3);
    behind.evaluate(*wide, 100.0);
    CHECK(castile::test::largest(behind.all) == 0.0);
  }
}

TEST_CASE("eigenfunctions of the Laplacian satisfy its equation") {
  const auto basis = make_radial_basis({"laplacian", 4.0, 0.0, 3, 3});
  Functions g(*basis);
  const auto quotient = [&](std::size_t k, double x) {
    g.radial_function(*basis, x);
    const double l = static_cast<double>(k / 3);
    return (g(2, k) + 2.0 / x * g(1, k) - l * (l + 1.0) / (x * x) * g(0, k)) / g(0, k);
  };
  for (std::size_t k = 0; k < 12; ++k) {
    const double eigenvalue = quotient(k, 0.6);
    for (const double x : {0.3, 1.0, 1.7, 3.3}) CHECK(quotient(k, x) == doctest::Approx(eigenvalue).epsilon(1e-9));
  }
  // Zeros of sin(x)/x at multiples of π.
  CHECK(quotient(1, 0.6) == doctest::Approx(-std::pow(3.14159265358979323846 * 2 / 4.0, 2)).epsilon(1e-12));
}

TEST_CASE("parameters out of range are refused, and the message names them") {
  for (const std::string& name : castile::radial_basis_names()) {
    CAPTURE(name);
    const RadialBasisParameters good{name, 5.0, 0.5, 4, 4};
    CHECK(message(good) == "");
    const auto with = [&](const std::function<void(RadialBasisParameters&)>& change) {
      RadialBasisParameters p = good;
      change(p);
      return p;
    };
    for (const double length : {0.0, -1.0, std::nan(""), static_cast<double>(INFINITY)}) {
      CHECK(names(with([&](auto& p) { p.cutoff = length; }), "cutoff"));
      if (length != 0.0) CHECK(names(with([&](auto& p) { p.sigma = length; }), "sigma"));
    }
    for (const int n_max : {0, -3, 101, 1000}) CHECK(names(with([&](auto& p) { p.n_max = n_max; }), "n_max"));
    if (name != "laplacian") CHECK(names(with([&](auto& p) { p.n_max = 17; }), "n_max"));
    for (const int l_max : {-1, 31}) CHECK(names(with([&](auto& p) { p.l_max = l_max; }), "l_max"));
    CHECK(message(with([](auto& p) { p.sigma = 0.0; })) == "");
    if (name != "gto_l") CHECK(names(with([](auto& p) { p.sigma = 1e-4; }), "use a larger sigma"));
  }
  RadialBasisParameters p;
  p.name = "sto";
  CHECK(names(p, "radial_basis must be one of 'gto', 'gto_l', 'polynomial', 'laplacian', 'tabulated', got 'sto'"));
}

TEST_CASE("Gaussian type orbitals that depend on l need a cutoff above one, wide enough for their number") {
  const auto gto_l = [](double cutoff, int n_max) { return RadialBasisParameters{"gto_l", cutoff, 0.5, n_max, 2}; };
  CHECK(names(gto_l(1.0, 1), "cutoff must be above 1 Å"));
  CHECK(names(gto_l(0.5, 4), "cutoff must be above 1 Å"));
  CHECK(message(gto_l(1.01, 3)) == "");
  CHECK(names(gto_l(1.01, 8), "n_max = 8 functions of radial_basis 'gto_l' are linearly dependent"));
  CHECK(message(gto_l(3.0, 16)) == "");
}
