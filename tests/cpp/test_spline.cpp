#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>

#include "castile/math/spline.hpp"

namespace {

using castile::HermiteForm;

/// The k-th derivative of t^power.
double monomial(int power, int k, double t) {
  double factor = 1.0;
  for (int i = 0; i < k; ++i) factor *= power - i;
  return power < k ? 0.0 : factor * std::pow(t, power - k);
}

struct Interpolated {
  double value;
  double derivative;
};

/// t^power through its values and derivatives at the knots 0 and 1.
Interpolated interpolate(HermiteForm form, int power, double t) {
  double weights[castile::max_hermite_weights];
  double derivatives[castile::max_hermite_weights];
  castile::hermite_weights(form, t, weights, derivatives);
  const int orders = castile::hermite_orders(form);
  Interpolated result{0.0, 0.0};
  for (int knot = 0; knot < 2; ++knot) {
    for (int k = 0; k < orders; ++k) {
      result.value += weights[knot * orders + k] * monomial(power, k, knot);
      result.derivative += derivatives[knot * orders + k] * monomial(power, k, knot);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("Hermite weights reproduce every polynomial of their degree and its derivative") {
  for (const HermiteForm form : {HermiteForm::cubic, HermiteForm::quintic}) {
    const int degree = 2 * castile::hermite_orders(form) - 1;
    for (int power = 0; power <= degree; ++power) {
      for (double t = 0.0; t <= 1.0; t += 1.0 / 64.0) {
        const Interpolated result = interpolate(form, power, t);
        CHECK(std::abs(result.value - monomial(power, 0, t)) < 2e-15);
        CHECK(std::abs(result.derivative - monomial(power, 1, t)) < 1e-14);
      }
    }
    CHECK(std::abs(interpolate(form, degree + 1, 0.5).value - monomial(degree + 1, 0, 0.5)) > 1e-3);
  }
}

TEST_CASE("Hermite weights at a knot pick its value") {
  for (const HermiteForm form : {HermiteForm::cubic, HermiteForm::quintic}) {
    const int orders = castile::hermite_orders(form);
    for (int knot = 0; knot < 2; ++knot) {
      double weights[castile::max_hermite_weights];
      double derivatives[castile::max_hermite_weights];
      castile::hermite_weights(form, knot, weights, derivatives);
      for (int k = 0; k < 2 * orders; ++k) {
        CHECK(weights[k] == (k == knot * orders ? 1.0 : 0.0));
        CHECK(derivatives[k] == (k == knot * orders + 1 ? 1.0 : 0.0));
      }
    }
  }
}
