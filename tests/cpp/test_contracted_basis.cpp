#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/basis/radial_basis.hpp"
#include "support.hpp"

namespace {

using castile::make_radial_basis;
using castile::RadialBasisParameters;
using castile::RadialContraction;

RadialBasisParameters contracted(const std::string& name, double sigma, int n_max, int l_max, int n_primitives) {
  RadialContraction contraction;
  contraction.n_primitives = n_primitives;
  contraction.coefficients =
      castile::test::random_numbers(static_cast<std::size_t>((l_max + 1) * n_max * n_primitives), 3);
  return {name, 4.0, sigma, n_max, l_max, nullptr, std::make_shared<const RadialContraction>(contraction)};
}

}  // namespace

TEST_CASE("contracted functions are the combinations of the primitive ones, for each l") {
  for (const std::string& name : castile::radial_basis_names()) {
    for (const double sigma : {0.0, 0.5}) {
      CAPTURE(name);
      const RadialBasisParameters p = contracted(name, sigma, 3, 2, 5);
      const auto basis = make_radial_basis(p);
      const auto primitives = make_radial_basis({name, 4.0, sigma, 5, 2});
      CHECK(basis->parameters().n_max == 3);
      CHECK(basis->support() == primitives->support());
      CHECK(basis->length_scale() == primitives->length_scale());
      std::vector<double> found(27);
      std::vector<double> parts(45);
      for (const double r : {0.0, 0.8, 3.9}) {
        for (const bool function : {false, true}) {
          if (function) {
            basis->radial_function(r, &found[0], &found[9], &found[18]);
            primitives->radial_function(r, &parts[0], &parts[15], &parts[30]);
          } else {
            basis->evaluate(r, &found[0], &found[9], &found[18]);
            primitives->evaluate(r, &parts[0], &parts[15], &parts[30]);
          }
          for (std::size_t entry = 0; entry < 27; ++entry) {
            const std::size_t order = entry / 9, l = entry / 3 % 3, n = entry % 3;
            double expected = 0.0;
            for (std::size_t k = 0; k < 5; ++k) {
              expected += p.contraction->coefficients[(l * 3 + n) * 5 + k] * parts[(order * 3 + l) * 5 + k];
            }
            CHECK(std::abs(found[entry] - expected) < 1e-12);
          }
        }
      }
    }
  }
}

TEST_CASE("a contraction that does not fit is refused, and the message names it") {
  const auto message = [](const std::function<void(RadialContraction&)>& change) -> std::string {
    RadialBasisParameters p = contracted("gto", 0.5, 3, 2, 5);
    RadialContraction contraction = *p.contraction;
    change(contraction);
    p.contraction = std::make_shared<const RadialContraction>(contraction);
    try {
      make_radial_basis(p);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const auto says = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(message([](auto&) {}) == "");
  CHECK(says(message([](auto& c) { c.n_primitives = 0; }), "1 or more primitive functions"));
  CHECK(says(message([](auto& c) { c.n_primitives = 4; }), "(l_max + 1, n_max, n_primitives) = (3, 3, 4)"));
  CHECK(says(message([](auto& c) { c.coefficients.push_back(1.0); }), "contraction must have the shape"));
  CHECK(says(message([](auto& c) { c.coefficients[0] = NAN; }), "finite"));
  CHECK(says(message([](auto& c) { c.coefficients.assign(c.coefficients.size(), 0.0); }), "all zero"));
  // The primitives' own limits hold for their number.
  CHECK_THROWS_WITH_AS(make_radial_basis(contracted("gto", 0.5, 2, 0, 17)),
                       doctest::Contains("n_max must be at most 16"), std::invalid_argument);
}
