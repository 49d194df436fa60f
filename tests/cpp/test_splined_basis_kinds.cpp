// Tables of every kind of basis: delta densities, finite supports, breakpoints, neighbors beyond the cutoff.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/basis/splined_basis.hpp"
#include "support.hpp"

namespace {

using castile::DensityWeighting;
using castile::HermiteForm;
using castile::make_radial_basis;
using castile::PairWeight;
using castile::RadialBasis;
using castile::RadialBasisParameters;
using castile::SplinedBasis;
using castile::TabulatedFunctions;

struct Errors {
  double value;       ///< relative to max |R|
  double derivative;  ///< relative to max |R'|
};

/// Of a table at many places up to `end`, against R_nl(r) w(r) itself.
template <typename T>
Errors errors(const SplinedBasis<T>& table, const RadialBasis& basis, const PairWeight& weight, double end) {
  const auto size = static_cast<std::size_t>(table.n_max() * (table.l_max() + 1));
  std::vector<double> exact(3 * size);
  std::vector<double> found(2 * size);
  double scale[2] = {0.0, 0.0};
  double error[2] = {0.0, 0.0};
  constexpr int n_places = 700;
  for (int k = 0; k < n_places; ++k) {
    const double r = end * (k + 0.37) / n_places;
    basis.evaluate(r, &exact[0], &exact[size], &exact[2 * size]);
    table.evaluate(r, &found[0], &found[size]);
    const auto [w, dw] = weight(r);
    for (std::size_t i = 0; i < size; ++i) {
      const double expected[2] = {exact[i] * w, exact[size + i] * w + exact[i] * dw};
      for (std::size_t order = 0; order < 2; ++order) {
        scale[order] = std::max(scale[order], std::abs(expected[order]));
        error[order] = std::max(error[order], std::abs(found[order * size + i] - expected[order]));
      }
    }
  }
  return {error[0] / scale[0], error[1] / scale[1]};
}

/// Natural-looking functions on given breakpoints: cubic pieces through values and slopes of damped waves, which
/// have a continuous first derivative only, or with a continuous second one as for `smooth`.
TabulatedFunctions waves(const std::vector<double>& breakpoints, bool smooth) {
  TabulatedFunctions f;
  f.breakpoints = breakpoints;
  f.quantity = TabulatedFunctions::Quantity::expansion_integrals;
  const std::size_t n_intervals = breakpoints.size() - 1;
  f.coefficients.assign(n_intervals * 4 * 2, 0.0);
  for (std::size_t n = 0; n < 2; ++n) {
    const double wave_number = 1.3 + static_cast<double>(n);
    double value = 1.0, slope = 0.0, curvature = -1.0;
    for (std::size_t k = 0; k < n_intervals; ++k) {
      const double h = breakpoints[k + 1] - breakpoints[k];
      double* c = &f.coefficients[k * 8 + n];
      const double next = std::cos(wave_number * breakpoints[k + 1]);
      const double next_slope = -wave_number * std::sin(wave_number * breakpoints[k + 1]);
      c[0] = value;
      c[2] = slope;
      if (smooth) {
        c[4] = 0.5 * curvature;
        c[6] = (k % 2 == 0 ? 0.3 : -0.2) + 0.1 * static_cast<double>(n);
      } else {
        c[4] = (3 * (next - value) / h - 2 * slope - next_slope) / h;
        c[6] = (2 * (value - next) / h + slope + next_slope) / (h * h);
      }
      curvature = 2 * c[4] + 6 * c[6] * h;
      value = c[0] + h * (c[2] + h * (c[4] + h * c[6]));
      slope = c[2] + h * (2 * c[4] + 3 * h * c[6]);
    }
  }
  return f;
}

std::unique_ptr<RadialBasis> tabulated(const TabulatedFunctions& f) {
  return make_radial_basis({"tabulated", 4.0, 0.5, 2, 1, std::make_shared<const TabulatedFunctions>(f)});
}

std::vector<double> uniform(double end, int n_intervals) {
  std::vector<double> breakpoints;
  for (int k = 0; k <= n_intervals; ++k) breakpoints.push_back(end * k / n_intervals);
  return breakpoints;
}

}  // namespace

TEST_CASE("every basis keeps the accuracy of its table, for atoms with and without width") {
  for (const std::string& name : castile::radial_basis_names()) {
    for (const double sigma : {0.0, 0.05, 0.6}) {
      for (const double accuracy : {1e-8, 1e-10}) {
        CAPTURE(name);
        CAPTURE(sigma);
        CAPTURE(accuracy);
        const auto basis = make_radial_basis({name, 4.0, sigma, 5, 4});
        const PairWeight weight({"cosine", 0.5, 4.0});
        const SplinedBasis<double> table(*basis, weight, accuracy);
        const Errors found = errors(table, *basis, weight, 4.0);
        CHECK(found.value < 1.3 * accuracy);
        CHECK(found.derivative < 300 * accuracy);
        CHECK(table.n_rows() < 3000);
      }
    }
  }
}

TEST_CASE("neighbors beyond the cutoff see the tail of the radial functions") {
  for (const std::string& name : castile::radial_basis_names()) {
    CAPTURE(name);
    const double reach = 4.0 + 0.5 * std::sqrt(2.0 * std::log(1000.0));
    const auto basis = make_radial_basis({name, 4.0, 0.5, 4, 3});
    const PairWeight weight({"hard", 0.0, reach});
    const SplinedBasis<double> table(*basis, weight, 1e-8);
    CHECK(table.end() == reach);
    CHECK(errors(table, *basis, weight, reach).value < 1.3e-8);
    std::vector<double> f(32);
    table.evaluate(4.5, &f[0], &f[16]);
    CHECK(castile::test::largest(f) > 1e-2);
    table.evaluate(reach, &f[0], &f[16]);
    CHECK(castile::test::largest(f) == 0.0);
  }
}

TEST_CASE("a table ends with the functions, at a knot, and is exactly zero from there on") {
  for (const std::string name : {"polynomial", "laplacian"}) {
    for (const double reach : {2.5, 3.0, 4.7}) {
      CAPTURE(name);
      CAPTURE(reach);
      const auto basis = make_radial_basis({name, 3.0, 0.0, 4, 3});
      const PairWeight weight({"hard", 0.0, reach});
      const SplinedBasis<double> table(*basis, weight, 1e-8);
      const double end = std::min(3.0, reach);
      CHECK(table.end() == end);
      CHECK(std::abs(std::round(end / table.step()) - end / table.step()) < 1e-9);
      CHECK(errors(table, *basis, weight, end).value < 1.3e-8);
      std::vector<double> f(32);
      table.evaluate(std::nextafter(end, 0.0), &f[0], &f[16]);
      // The waves of the Laplacian end with a slope.
      if (name == "laplacian") CHECK(castile::test::largest(f) > 0.1);
      for (double r = end; r < 6.0; r += 0.17) {
        table.evaluate(r, &f[0], &f[16]);
        CHECK(castile::test::largest(f) == 0.0);
        CHECK(table.weights(r).row + 1 < table.n_rows());
      }
    }
  }
}

TEST_CASE("a density weighting scales values and slopes, and leaves the table as it is") {
  const auto basis = make_radial_basis({"gto", 4.0, 0.4, 4, 3});
  DensityWeighting weighting;
  weighting.name = "poly";
  weighting.r0 = 3.1;
  weighting.m = 1.5;
  const PairWeight weight({"cosine", 0.8, 4.0, weighting});
  const SplinedBasis<double> table(*basis, weight, 1e-10);
  const Errors found = errors(table, *basis, weight, 4.0);
  CHECK(found.value < 1e-10);
  CHECK(found.derivative < 1e-8);
  const SplinedBasis<double> plain(*basis, PairWeight({"cosine", 0.8, 4.0}), 1e-10);
  REQUIRE(plain.n_rows() == table.n_rows());
  CHECK(std::equal(plain.data(), plain.data() + plain.n_rows() * 3 * plain.row_length(), table.data()));
}

TEST_CASE("at distance zero the table has a value for l = 0 alone and a slope for l = 1 alone") {
  for (const std::string& name : castile::radial_basis_names()) {
    for (const double sigma : {0.0, 0.5}) {
      CAPTURE(name);
      CAPTURE(sigma);
      DensityWeighting weighting;
      weighting.name = "exp";  // with a cusp: w(0) = 1/2
      weighting.w0 = 7.0;
      const auto basis = make_radial_basis({name, 4.0, sigma, 3, 2});
      const SplinedBasis<double> table(*basis, PairWeight({"cosine", 0.5, 4.0, weighting}), 1e-10);
      std::vector<double> exact(27);
      std::vector<double> found(18);
      basis->evaluate(0.0, &exact[0], &exact[9], &exact[18]);
      table.evaluate(0.0, &found[0], &found[9]);
      const bool l1_vanishes = exact[3] == 0.0;
      CHECK(l1_vanishes == (sigma > 0.0 || name == "gto_l" || name == "laplacian"));
      for (std::size_t k = 0; k < 9; ++k) {
        CHECK(found[k] == doctest::Approx(k < 3 ? 7.0 * exact[k] : 0.0).epsilon(1e-14));
        const double slope = k >= 3 && k < 6 && l1_vanishes ? 0.5 * exact[9 + k] : 0.0;
        CHECK(found[9 + k] == doctest::Approx(slope).epsilon(1e-13));
      }
    }
  }
}

TEST_CASE("tabulated integrals on a uniform grid are reproduced exactly, wherever the neighbors end") {
  for (const bool smooth : {true, false}) {
    for (const int n_intervals : {1, 3, 20, 80}) {
      const auto basis = tabulated(waves(uniform(4.0, n_intervals), smooth));
      for (const double reach : {0.9, 3.3333, 3.4, 4.0, 5.5}) {  // 3.4 is a rounding less than 17 times 0.2
        for (const double accuracy : {1e-5, 1e-8, 1e-12}) {
          CAPTURE(n_intervals);
          CAPTURE(reach);
          const PairWeight weight({"hard", 0.0, reach});
          const SplinedBasis<double> table(*basis, weight, accuracy);
          CHECK(table.form() == HermiteForm::cubic);
          CHECK(table.step() == doctest::Approx(4.0 / n_intervals).epsilon(1e-14));
          const double end = std::min(reach, 4.0);
          CHECK(table.end() == end);
          const Errors found = errors(table, *basis, weight, end);
          CHECK(found.value < 2e-14);
          CHECK(found.derivative < 2e-13);
          double f[8];
          table.evaluate(end, &f[0], &f[4]);
          CHECK(*std::max_element(f, f + 8) == 0.0);
        }
      }
    }
  }
}

TEST_CASE("tabulated integrals between uneven breakpoints reach what their smoothness allows") {
  std::vector<double> breakpoints = uniform(4.0, 25);
  const auto shifts = castile::test::random_numbers(26, 5, -0.03, 0.03);
  for (std::size_t k = 1; k < 25; ++k) breakpoints[k] += shifts[k];
  const PairWeight weight({"hard", 0.0, 4.0});
  for (const bool smooth : {true, false}) {
    const auto basis = tabulated(waves(breakpoints, smooth));
    for (const double accuracy : smooth ? std::vector<double>{1e-5, 1e-8, 1e-10} : std::vector<double>{1e-4, 1e-6}) {
      CAPTURE(smooth);
      CAPTURE(accuracy);
      const SplinedBasis<double> table(*basis, weight, accuracy);
      CHECK(table.form() == HermiteForm::cubic);
      CHECK(errors(table, *basis, weight, 4.0).value < 1.3 * accuracy);
    }
  }
}

TEST_CASE("contracted functions are tabulated like others") {
  castile::RadialContraction contraction;
  contraction.n_primitives = 10;
  contraction.coefficients = castile::test::random_numbers(3 * 2 * 10, 4);
  const auto basis = make_radial_basis(
      {"gto", 4.0, 0.4, 2, 2, nullptr, std::make_shared<const castile::RadialContraction>(contraction)});
  const PairWeight weight({"cosine", 0.5, 4.0});
  for (const double accuracy : {1e-8, 1e-10}) {
    const SplinedBasis<double> table(*basis, weight, accuracy);
    CHECK(table.n_padded() == 4);
    CHECK(errors(table, *basis, weight, 4.0).value < 1.3 * accuracy);
  }
}

TEST_CASE("float tables of every basis keep float precision") {
  for (const std::string& name : castile::radial_basis_names()) {
    for (const double sigma : {0.0, 0.5}) {
      CAPTURE(name);
      const auto basis = make_radial_basis({name, 4.0, sigma, 4, 3});
      const PairWeight weight({"cosine", 0.5, 4.0});
      const SplinedBasis<float> table(*basis, weight, 1e-8);
      CHECK(errors(table, *basis, weight, 4.0).value < 3e-6);
    }
  }
  const auto basis = tabulated(waves(uniform(4.0, 80), true));
  const PairWeight weight({"cosine", 0.5, 4.0});
  CHECK(errors(SplinedBasis<float>(*basis, weight, 1e-8), *basis, weight, 4.0).value < 1e-6);
}
