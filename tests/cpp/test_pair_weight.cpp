#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/basis/pair_weight.hpp"

namespace {

using castile::DensityWeighting;
using castile::PairWeight;
using castile::PairWeightParameters;

DensityWeighting weighting(const std::string& name) {
  DensityWeighting w;
  w.name = name;
  return w;
}

DensityWeighting poly(double c, double m, double r0) {
  DensityWeighting w = weighting("poly");
  w.c = c;
  w.m = m;
  w.r0 = r0;
  return w;
}

DensityWeighting pow(double c, double d, double m, double r0) {
  DensityWeighting w = poly(c, m, r0);
  w.name = "pow";
  w.d = d;
  return w;
}

DensityWeighting exp(double c, double d, double r0) {
  DensityWeighting w = pow(c, d, 1.0, r0);
  w.name = "exp";
  return w;
}

DensityWeighting willatt(double rate, double scale, double exponent) {
  DensityWeighting w = weighting("willatt");
  w.rate = rate;
  w.scale = scale;
  w.exponent = exponent;
  return w;
}

DensityWeighting with_w0(DensityWeighting w, double w0) {
  w.w0 = w0;
  return w;
}

PairWeight hard(const DensityWeighting& w, double reach = 5.0) { return PairWeight({"hard", 0.0, reach, w}); }

/// One of each kind and of each branch.
std::vector<DensityWeighting> examples() {
  return {weighting("none"),       poly(1.5, 2.0, 4.0),     poly(1.0, 0.7, 8.0),
          pow(2.0, 0.5, 3.0, 2.0), pow(1.0, 1.0, 0.5, 1.5), with_w0(pow(1.0, 0.0, 2.0, 1.0), 3.0),
          exp(1.0, 0.3, 1.2),      willatt(1.0, 2.5, 4.0),  with_w0(willatt(0.0, 2.5, 2.0), 1.0)};
}

std::string message(const PairWeightParameters& p) {
  try {
    PairWeight{p};
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

std::string message(const DensityWeighting& w) { return message(PairWeightParameters{"cosine", 0.5, 5.0, w}); }

}  // namespace

TEST_CASE("density weightings have their formulas") {
  for (const double r : {0.2, 1.0, 2.9, 3.8, 4.9}) {
    CHECK(hard(weighting("none"))(r).value == 1.0);
    const double x = r / 4.0;
    const double expected = x < 1.0 ? 1.5 * std::pow(1 + 2 * x * x * x - 3 * x * x, 2.0) : 0.0;
    CHECK(std::abs(hard(poly(1.5, 2.0, 4.0))(r).value - expected) < 2e-15);
    CHECK(hard(pow(2.0, 0.5, 3.0, 2.0))(r).value == doctest::Approx(2.0 / (0.5 + r * r * r / 8)).epsilon(1e-14));
    CHECK(hard(exp(1.0, 0.3, 1.2))(r).value == doctest::Approx(1.0 / (0.3 + std::exp(-r / 1.2))).epsilon(1e-14));
    CHECK(hard(willatt(0.5, 2.0, 4.0))(r).value == doctest::Approx(0.5 / (0.5 + r * r * r * r / 16)).epsilon(1e-14));
    CHECK(hard(with_w0(willatt(0.0, 2.0, 3.0), 1.0))(r).value == doctest::Approx(8 / (r * r * r)).epsilon(1e-14));
  }
}

TEST_CASE("the derivative of a weight is that of its values, with and without a cutoff function") {
  const double h = 1e-3;
  for (const DensityWeighting& w : examples()) {
    for (const std::string kind : {"hard", "cosine", "polynomial"}) {
      CAPTURE(w.name);
      CAPTURE(kind);
      const PairWeight weight({kind, 2.0, 6.0, w});
      for (double r = 0.5; r < 5.9; r += 0.0831) {
        if (std::abs(r - 4.0) < 4 * h) continue;  // the end of the smooth part, and r0
        const auto difference = [&](double step) { return weight(r + step).value - weight(r - step).value; };
        const double numeric = (45 * difference(h) - 9 * difference(2 * h) + difference(3 * h)) / (60 * h);
        CHECK(std::abs(weight(r).derivative - numeric) < 2e-8);
      }
    }
  }
}

TEST_CASE("a weight is the product of cutoff function and density weighting, and ends at the reach") {
  for (const DensityWeighting& w : examples()) {
    const PairWeight weight({"cosine", 1.0, 4.5, w});
    const castile::CutoffFunction f(castile::CutoffFunction::Kind::cosine, 4.5, 1.0);
    CHECK(weight.reach() == 4.5);
    for (const double r : {0.3, 3.0, 3.9, 4.4}) CHECK(weight(r).value == f(r).value * hard(w)(r).value);
    for (const double r : {4.5, std::nextafter(4.5, 5.0), 9.0}) {
      CHECK(weight(r).value == 0.0);
      CHECK(weight(r).derivative == 0.0);
    }
    CHECK(hard(w, 3.0)(std::nextafter(3.0, 0.0)).value == doctest::Approx(hard(w, 5.0)(3.0).value).epsilon(1e-12));
    CHECK(hard(w, 3.0)(3.0).value == 0.0);
  }
}

TEST_CASE("at distance zero a weight is w0 or its limit, and has no slope") {
  for (const DensityWeighting& w : examples()) {
    CAPTURE(w.name);
    const PairWeight weight({"cosine", 1.0, 4.5, w});
    CHECK(weight(0.0).derivative == 0.0);
    if (w.w0) {
      CHECK(weight(0.0).value == *w.w0);
      CHECK(weight.limit_at_zero() == 0.0);  // the examples with w0 are those that diverge
      CHECK(weight(1e-4).value > 1e4);
    } else {
      CHECK(weight(0.0).value == weight.limit_at_zero());
      CHECK(weight.limit_at_zero() == doctest::Approx(weight(1e-12).value).epsilon(1e-5));
    }
  }
  const PairWeight replaced({"cosine", 1.0, 4.5, with_w0(exp(1.0, 1.0, 1.0), 7.0)});
  CHECK(replaced(0.0).value == 7.0);
  CHECK(replaced.limit_at_zero() == 0.5);
  CHECK(replaced(1e-12).value == doctest::Approx(0.5).epsilon(1e-9));
}

TEST_CASE("powers too large for a double leave zeros, not NaN") {
  const PairWeight weight({"hard", 0.0, 10.0, pow(1.0, 1.0, 500.0, 0.1)});
  for (const double r : {0.01, 0.1, 1.0, 9.9}) {
    CHECK(std::isfinite(weight(r).value));
    CHECK(std::isfinite(weight(r).derivative));
  }
  CHECK(weight(9.9).value == 0.0);
}

TEST_CASE("parameters of a weight out of range are refused, and the message names them") {
  const auto names = [](const std::string& text, const std::string& parameter) {
    return text.find(parameter) != std::string::npos;
  };
  const std::vector<double> not_positive = {0.0, -1.0, std::nan(""), static_cast<double>(INFINITY)};
  for (const double bad : not_positive) {
    CHECK(names(message(poly(bad, 1, 1)), "density_weighting['c']"));
    CHECK(names(message(poly(1, 1, bad)), "density_weighting['r0']"));
    CHECK(names(message(pow(bad, 1, 1, 1)), "density_weighting['c']"));
    CHECK(names(message(pow(1, 1, 1, bad)), "density_weighting['r0']"));
    CHECK(names(message(exp(bad, 1, 1)), "density_weighting['c']"));
    CHECK(names(message(exp(1, 1, bad)), "density_weighting['r0']"));
    CHECK(names(message(willatt(1, bad, 1)), "density_weighting['scale']"));
    CHECK(names(message(PairWeightParameters{"cosine", 0.5, bad, {}}), "neighbor_radius"));
    if (bad == 0.0) continue;
    CHECK(names(message(poly(1, bad, 1)), "density_weighting['m']"));
    CHECK(names(message(pow(1, 1, bad, 1)), "density_weighting['m']"));
    CHECK(names(message(pow(1, bad, 1, 1)), "density_weighting['d']"));
    CHECK(names(message(exp(1, bad, 1)), "density_weighting['d']"));
    CHECK(names(message(willatt(bad, 1, 1)), "density_weighting['rate']"));
    CHECK(names(message(willatt(1, 1, bad)), "density_weighting['exponent']"));
    CHECK(names(message(with_w0(poly(1, 1, 1), bad)), "density_weighting['w0']"));
  }
  CHECK(names(message(pow(1, 0, 2, 1)), "give density_weighting['w0']"));
  CHECK(names(message(willatt(0, 1, 2)), "give density_weighting['w0']"));
  CHECK(message(pow(1, 0, 0, 1)) == "");
  CHECK(names(message(exp(1, 0, 1e-3)), "use a larger density_weighting['r0']"));
  CHECK(names(message(weighting("tanh")), "must be one of 'none', 'poly', 'pow', 'exp', 'willatt', got 'tanh'"));
  CHECK(names(message(PairWeightParameters{"cosine", 0.0, 5.0, {}}), "cutoff_width"));
  CHECK(names(message(PairWeightParameters{"cosine", 5.1, 5.0, {}}), "cutoff_width"));
  CHECK(names(message(PairWeightParameters{"step", 0.5, 5.0, {}}), "cutoff_function"));
  for (const std::string& name : castile::density_weighting_names()) CHECK(message(weighting(name)) == "");
}
