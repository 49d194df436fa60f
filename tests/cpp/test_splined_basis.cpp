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

#include "castile/basis/splined_basis.hpp"
#include "support.hpp"

namespace {

using castile::HermiteForm;
using castile::make_radial_basis;
using castile::PairWeight;
using castile::RadialBasis;
using castile::RadialBasisParameters;
using castile::SplinedBasis;
using castile::TabulatedFunctions;

const std::vector<std::string> cutoff_functions = {"cosine", "polynomial", "hard"};

PairWeight weight_of(const std::string& kind, double reach, double width) { return PairWeight({kind, width, reach}); }

const RadialBasisParameters parameters{"gto", 4.5, 0.4, 6, 5};
constexpr std::size_t size = 36;

struct Functions {
  std::vector<double> values = std::vector<double>(size);
  std::vector<double> derivatives = std::vector<double>(size);
};

template <typename T>
Functions evaluate(const SplinedBasis<T>& table, double r) {
  Functions f;
  table.evaluate(r, f.values.data(), f.derivatives.data());
  return f;
}

/// R_nl(r) w(r) without a table.
Functions exact(const RadialBasis& basis, const PairWeight& weight, double r) {
  Functions f;
  std::vector<double> second(size);
  basis.evaluate(r, f.values.data(), f.derivatives.data(), second.data());
  const auto [value, derivative] = weight(r);
  for (std::size_t k = 0; k < size; ++k) {
    f.derivatives[k] = f.derivatives[k] * value + f.values[k] * derivative;
    f.values[k] *= value;
  }
  return f;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double result = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) result = std::max(result, std::abs(a[k] - b[k]));
  return result;
}

}  // namespace

TEST_CASE("the table keeps its promise between all knots, for every accuracy") {
  const auto basis = make_radial_basis(parameters);
  const PairWeight weight = weight_of("cosine", 4.5, 0.5);
  double scale = 0.0;
  for (double r = 0.0; r < 4.5; r += 0.01) {
    scale = std::max(scale, castile::test::largest(exact(*basis, weight, r).values));
  }
  std::int64_t fewer_rows = 0;
  for (const double accuracy : {1e-2, 1e-4, 1e-6, 1e-8, 1e-9, 1e-10, 1e-12}) {
    CAPTURE(accuracy);
    const SplinedBasis<double> table(*basis, weight, accuracy);
    CHECK(table.error() <= accuracy);
    CHECK((table.form() == HermiteForm::cubic) == (accuracy >= 1e-9));
    double error = 0.0;
    double slope_error = 0.0;
    for (int k = 0; k < 1500; ++k) {
      const double r = 4.5 * (k + 0.37) / 1500;
      const Functions found = evaluate(table, r);
      const Functions expected = exact(*basis, weight, r);
      error = std::max(error, largest_difference(found.values, expected.values));
      slope_error = std::max(slope_error, largest_difference(found.derivatives, expected.derivatives));
    }
    CHECK(error <= 1.2 * accuracy * scale);
    CHECK(slope_error * parameters.sigma <= std::max(500 * accuracy, 1e-11) * scale);
    if (table.form() == HermiteForm::cubic) {
      CHECK(table.n_rows() > fewer_rows);
      fewer_rows = table.n_rows();
    }
  }
}

TEST_CASE("derivatives are those of the table itself, not of the functions behind it") {
  const auto basis = make_radial_basis(parameters);
  for (const std::string& kind : cutoff_functions) {
    for (const double accuracy : {1e-3, 1e-11}) {  // cubic with a visible error, and quintic
      const SplinedBasis<double> table(*basis, weight_of(kind, 4.5, 0.6), accuracy);
      const double scale = castile::test::largest(evaluate(table, 1.0).values);
      const double h = 1e-3 * table.step();
      for (double position = 0.21; position < 4.5 / table.step() - 1.0; position += 1.618) {
        const double r = position * table.step();
        if (std::abs(position - std::round(position)) < 0.01 || std::abs(r - 3.9) < 4 * h) continue;
        const auto difference = [&](double step, std::size_t k) {
          return evaluate(table, r + step).values[k] - evaluate(table, r - step).values[k];
        };
        const Functions f = evaluate(table, r);
        for (std::size_t k = 0; k < size; k += 7) {
          const double numeric = (8 * difference(h, k) - difference(2 * h, k)) / (12 * h);
          CHECK(std::abs(f.derivatives[k] - numeric) < 1e-12 * scale / h);
        }
      }
    }
  }
}

TEST_CASE("the last number below the cutoff stays inside the table, and the cutoff itself is outside") {
  const auto basis = make_radial_basis(parameters);
  for (const double cutoff : {4.5, 0.1, 3.3333333333333335, 7.0 / 3.0, 5.1}) {
    RadialBasisParameters p = parameters;
    p.cutoff = cutoff;
    const auto own = make_radial_basis(p);
    for (const std::string& kind : cutoff_functions) {
      const SplinedBasis<double> table(*own, weight_of(kind, cutoff, 0.5 * cutoff), 1e-6);
      double r = cutoff;
      for (int k = 0; k < 20; ++k) {
        r = std::nextafter(r, 0.0);
        const auto weights = table.weights(r);
        CHECK(weights.row >= 0);
        CHECK(weights.row + 1 < table.n_rows());
      }
      const Functions just_below = evaluate(table, r);
      const Functions limit = exact(*own, weight_of(kind, cutoff, 0.5 * cutoff), r);
      const double scale = castile::test::largest(evaluate(table, 0.3 * cutoff).values);
      CHECK(largest_difference(just_below.values, limit.values) < 1e-5 * scale);
      if (kind != "hard") CHECK(castile::test::largest(just_below.values) < 1e-14 * scale);
      CHECK(castile::test::largest(evaluate(table, cutoff).values) == 0.0);
      CHECK(castile::test::largest(evaluate(table, 2 * cutoff).derivatives) == 0.0);
    }
  }
}

TEST_CASE("knots hold the functions, then their derivatives times powers of the step, padded with zeros") {
  const auto basis = make_radial_basis(parameters);
  const SplinedBasis<double> table(*basis, weight_of("cosine", 4.5, 0.5), 1e-11);
  CHECK(table.n_padded() == 8);
  CHECK(table.row_length() == 48);
  CHECK(table.entry(2, 5) == 21);
  std::vector<double> functions(3 * size);
  const std::int64_t row = 5;
  basis->evaluate(static_cast<double>(row) * table.step(), &functions[0], &functions[size], &functions[2 * size]);
  double scale = 1.0;
  for (std::int64_t order = 0; order < 3; ++order, scale *= table.step()) {
    const double* entries = table.data() + (row * 3 + order) * table.row_length();
    for (std::int64_t l = 0; l <= 5; ++l) {
      for (std::int64_t n = 0; n < 6; ++n) {
        const double expected = scale * functions[static_cast<std::size_t>(order * 36 + l * 6 + n)];
        CHECK(entries[l * 8 + n] == doctest::Approx(expected).epsilon(1e-14));
      }
      CHECK(entries[l * 8 + 6] == 0.0);
      CHECK(entries[l * 8 + 7] == 0.0);
    }
  }
}

TEST_CASE("a float table keeps float precision, whatever accuracy was asked for") {
  const auto basis = make_radial_basis(parameters);
  const PairWeight weight = weight_of("cosine", 4.5, 0.5);
  const SplinedBasis<double> reference(*basis, weight, 1e-11);
  for (const double accuracy : {1e-4, 1e-8, 1e-12}) {
    const SplinedBasis<float> table(*basis, weight, accuracy);
    CHECK(table.n_padded() % 8 == 0);
    const double bound = std::max(accuracy, 8.0 * static_cast<double>(std::numeric_limits<float>::epsilon()));
    CHECK(table.error() <= bound);
    const double scale = castile::test::largest(evaluate(reference, 1.0).values);
    for (double r = 0.0123; r < 4.5; r += 0.0567) {
      CHECK(largest_difference(evaluate(table, r).values, evaluate(reference, r).values) < 3 * bound * scale);
    }
  }
}

TEST_CASE("an accuracy that no table reaches is refused") {
  const auto basis = make_radial_basis(parameters);
  for (const double accuracy : {0.0, -1e-8, 0.5, 1e-14, std::nan("")}) {
    CHECK_THROWS_AS(SplinedBasis<double>(*basis, weight_of("cosine", 4.5, 0.5), accuracy), std::invalid_argument);
  }
}

TEST_CASE("rows of many functions hold whole cache lines of all degrees first, and end with one") {
  auto p = parameters;
  p.n_max = 11;
  p.l_max = 2;
  const auto basis = make_radial_basis(p);
  const SplinedBasis<double> table(*basis, weight_of("cosine", 4.5, 0.5), 1e-6);
  CHECK(table.n_padded() == 12);
  CHECK(table.n_functions() == 36);
  CHECK(table.row_length() == 40);
  CHECK(table.entry(1, 7) == 15);
  CHECK(table.entry(0, 8) == 24);
  CHECK(table.entry(2, 10) == 34);
  std::vector<double> functions(99);
  const std::int64_t row = 5;
  basis->evaluate(static_cast<double>(row) * table.step(), &functions[0], &functions[33], &functions[66]);
  for (int l = 0; l <= 2; ++l) {
    for (int n = 0; n < 12; ++n) {
      const double expected = n < 11 ? functions[static_cast<std::size_t>(l * 11 + n)] : 0.0;
      CHECK(table.data()[row * 2 * table.row_length() + table.entry(l, n)] == doctest::Approx(expected).epsilon(1e-14));
    }
  }
}
