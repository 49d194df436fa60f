#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>

#include "castile/basis/cutoff_function.hpp"

namespace {

using castile::CutoffFunction;
using Kind = CutoffFunction::Kind;
constexpr double pi = 3.14159265358979323846;

}  // namespace

TEST_CASE("a smooth cutoff function is one before the last width and zero from the cutoff on") {
  for (const Kind kind : {Kind::cosine, Kind::polynomial}) {
    const CutoffFunction f(kind, 5.0, 0.75);
    CHECK(f.cutoff() == 5.0);
    for (const double r : {0.0, 1.0, 4.25}) {
      CHECK(f(r).value == 1.0);
      CHECK(f(r).derivative == 0.0);
    }
    for (const double r : {5.0, 5.5, 1e6}) {
      CHECK(f(r).value == 0.0);
      CHECK(f(r).derivative == 0.0);
    }
    CHECK(f(std::nextafter(5.0, 0.0)).value < 1e-14);
    CHECK(std::abs(f(5.0 - 0.375).value - 0.5) < 1e-15);
  }
}

TEST_CASE("cutoff functions have their formulas") {
  const CutoffFunction cosine(Kind::cosine, 4.0, 1.5);
  const CutoffFunction polynomial(Kind::polynomial, 4.0, 1.5);
  for (double r = 2.5; r < 4.0; r += 0.0625) {
    const double t = (r - 2.5) / 1.5;
    CHECK(std::abs(cosine(r).value - 0.5 * (1.0 + std::cos(pi * t))) < 1e-15);
    CHECK(std::abs(polynomial(r).value - (1.0 - 10 * std::pow(t, 3) + 15 * std::pow(t, 4) - 6 * std::pow(t, 5))) <
          5e-15);
  }
}

TEST_CASE("the derivative of a cutoff function is that of its values") {
  const double h = 1e-3;
  for (const Kind kind : {Kind::cosine, Kind::polynomial}) {
    const CutoffFunction f(kind, 4.0, 1.5);
    for (double r = 2.5 + 3 * h; r < 4.0 - 3 * h; r += 0.07) {
      const auto difference = [&](double step) { return f(r + step).value - f(r - step).value; };
      const double numeric = (45 * difference(h) - 9 * difference(2 * h) + difference(3 * h)) / (60 * h);
      CHECK(std::abs(f(r).derivative - numeric) < 1e-11);
    }
  }
}

TEST_CASE("a cutoff function's derivatives go to zero at both ends: one of the cosine, two of the polynomial") {
  const double d = 1e-6;
  for (const Kind kind : {Kind::cosine, Kind::polynomial}) {
    const CutoffFunction f(kind, 4.0, 1.5);
    for (const double r : {2.5 + d, 4.0 - d}) {
      CHECK(std::abs(f(r).derivative) < 10 * d);
      if (kind == Kind::polynomial) CHECK(std::abs(f(r).derivative) < 100 * d * d);
    }
  }
}

TEST_CASE("a hard edge jumps, and takes any width") {
  for (const double width : {0.0, -1.0, 7.0}) {
    const CutoffFunction f(Kind::hard, 3.0, width);
    CHECK(f(std::nextafter(3.0, 0.0)).value == 1.0);
    CHECK(f(2.0).derivative == 0.0);
    CHECK(f(3.0).value == 0.0);
  }
}

TEST_CASE("a width that does not fit is refused") {
  for (const double width : {0.0, -0.5, 3.0000001, std::nan("")}) {
    CHECK_THROWS_AS(CutoffFunction(Kind::cosine, 3.0, width), std::invalid_argument);
    CHECK_THROWS_AS(CutoffFunction(Kind::polynomial, 3.0, width), std::invalid_argument);
  }
  CHECK_NOTHROW(CutoffFunction(Kind::cosine, 3.0, 3.0));
}

TEST_CASE("cutoff functions are known by name") {
  CHECK(castile::cutoff_function_kind("cosine") == Kind::cosine);
  CHECK(castile::cutoff_function_kind("polynomial") == Kind::polynomial);
  CHECK(castile::cutoff_function_kind("hard") == Kind::hard);
  CHECK_THROWS_AS(castile::cutoff_function_kind("cubic"), std::invalid_argument);
}
