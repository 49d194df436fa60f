#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "castile/descriptors/product_basis.hpp"
#include "castile/math/coupling.hpp"

using castile::count_products;
using castile::CouplingEntry;
using castile::ProductBasis;
using castile::ProductRule;
using castile::real_coupling;

namespace {

/// (2l + 1, 2 l1 + 1, 2 l2 + 1)
std::vector<double> dense(int l1, int l2, int l) {
  const auto n1 = static_cast<std::size_t>(2 * l1 + 1), n2 = static_cast<std::size_t>(2 * l2 + 1);
  std::vector<double> matrix(static_cast<std::size_t>(2 * l + 1) * n1 * n2, 0.0);
  for (const CouplingEntry& e : real_coupling(l1, l2, l)) {
    matrix[(static_cast<std::size_t>(e.third) * n1 + static_cast<std::size_t>(e.first)) * n2 +
           static_cast<std::size_t>(e.second)] += e.coefficient;
  }
  return matrix;
}

}  // namespace

TEST_CASE("couplings of two degrees to all others are orthonormal and complete") {
  for (int l1 = 0; l1 <= 6; ++l1) {
    for (int l2 = 0; l2 <= 6; ++l2) {
      const auto size = static_cast<std::size_t>((2 * l1 + 1) * (2 * l2 + 1));
      std::vector<double> rows;
      for (int l = std::abs(l1 - l2); l <= l1 + l2; ++l) {
        const auto own = dense(l1, l2, l);
        rows.insert(rows.end(), own.begin(), own.end());
      }
      REQUIRE(rows.size() == size * size);
      for (std::size_t i = 0; i < size; ++i) {
        for (std::size_t j = 0; j < size; ++j) {
          double product = 0.0;
          for (std::size_t k = 0; k < size; ++k) product += rows[i * size + k] * rows[j * size + k];
          CHECK(std::abs(product - (i == j ? 1.0 : 0.0)) < 1e-12);
        }
      }
    }
  }
}

TEST_CASE("products are counted as they are found") {
  const std::vector<ProductRule> rules{{{2, 5, 5, 6, 6}},
                                       {{3, 6, 7}, {0, 1, 2}},
                                       {{2, 5, 5, 6, 6}, {}, 2},
                                       {{0, 0, 100}, {}, 1},
                                       {{2, 6, 6, 6}, {1, 1, 0}, 1}};
  for (const ProductRule& rule : rules) {
    const ProductBasis basis(3, 3, 2, rule);
    CHECK(static_cast<double>(basis.functions().size()) == count_products(3, 3, 2, rule));
    CHECK(basis.functions().size() > 10);
  }
  CHECK(count_products(0, 3, 2, {{4, 4}}) == 0.0);
  CHECK(count_products(1000, 16, 30, {{0, 0, 138}}) > 1e14);
}

TEST_CASE("nodes are made of earlier ones, and the last are the functions") {
  const ProductBasis basis(2, 3, 2, {{2, 5, 5, 6, 6}});
  const auto& first = basis.first_entries();
  REQUIRE(first.size() > basis.functions().size());
  for (std::size_t k = 0; k + 1 < first.size(); ++k) {
    const std::int32_t node = basis.n_input_nodes() + static_cast<std::int32_t>(k);
    for (std::int32_t e = first[k]; e < first[k + 1]; ++e) {
      const auto& entry = basis.entries()[static_cast<std::size_t>(e)];
      CHECK(entry.i >= 0);
      CHECK(entry.j >= 0);
      CHECK(entry.i < node);
      CHECK(entry.j < node);
    }
  }
  CHECK(first.back() == static_cast<std::int32_t>(basis.entries().size()));
  CHECK_THROWS_AS(ProductBasis(1, 3, 2, {{}}), std::invalid_argument);
  CHECK(ProductBasis(1, 3, 2, {{0}}).functions().empty());
  CHECK_THROWS_AS(ProductBasis(2, 3, 2, {{4, 4}, {1}}), std::invalid_argument);
  CHECK_THROWS_AS(ProductBasis(1, 3, 2, {{4, 4}, {-1}}), std::invalid_argument);
  CHECK_THROWS_AS(ProductBasis(1, 3, 2, {{4, 4}, {}, 0}), std::invalid_argument);
  CHECK_THROWS_AS(ProductBasis(20, 8, 6, {{4, 14, 14, 14}}), std::invalid_argument);
}
