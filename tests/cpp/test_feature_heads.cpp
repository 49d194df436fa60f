#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "castile/descriptors/feature_head.hpp"
#include "support.hpp"

namespace {

using castile::Coefficients;
using castile::ColumnRange;
using castile::FeatureHead;
using castile::make_feature_head;
using castile::test::head_parameters;
using castile::test::random_numbers;

constexpr int n_species = 4;
const std::vector<std::vector<std::int32_t>> environments = {{0, 1, 2, 3}, {2}, {0, 3}, {1, 2, 3}, {}};

template <typename T>
Coefficients<T> random_coefficients(std::vector<std::int32_t> species, int n_max, int l_max, unsigned seed) {
  constexpr int lanes = static_cast<int>(32 / sizeof(T));
  Coefficients<T> c;
  c.channels = std::move(species);
  c.l_max = l_max;
  c.n_max = n_max;
  c.n_padded = (n_max + lanes - 1) / lanes * lanes;
  const auto numbers = random_numbers(static_cast<std::size_t>((l_max + 1) * (l_max + 1) * c.stride()), seed);
  for (std::size_t k = 0; k < numbers.size(); ++k) {
    const bool padding = static_cast<int>(k) % c.n_padded >= n_max;
    c.values.push_back(padding ? T(0) : static_cast<T>(numbers[k]));
  }
  return c;
}

/// c_{q,lm}, zero for species without a channel.
template <typename T>
double coefficient(const Coefficients<T>& c, std::int32_t species, int lm, int n) {
  const auto found = std::find(c.channels.begin(), c.channels.end(), species);
  if (found == c.channels.end()) return 0.0;
  const auto channel = found - c.channels.begin();
  return static_cast<double>(c.values[static_cast<std::size_t>(lm * c.stride() + channel * c.n_padded + n)]);
}

/// Σ_m left_lm right_lm / √(2l+1).
template <typename Left, typename Right>
double contract(int l, const Left& left, const Right& right) {
  double sum = 0.0;
  for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) sum += left(lm) * right(lm);
  return sum / std::sqrt(2.0 * l + 1.0);
}

/// One block of a power spectrum, (l, n, k); of like channels with n <= k alone.
template <typename T>
void append_pairs(const Coefficients<T>& c, std::int32_t a, std::int32_t b, std::vector<double>& row) {
  for (int l = 0; l <= c.l_max; ++l) {
    for (int n = 0; n < c.n_max; ++n) {
      for (int k = a == b ? n : 0; k < c.n_max; ++k) {
        const double factor = a == b && n == k ? 1.0 : std::sqrt(2.0);
        row.push_back(factor * contract(
                                   l, [&](int lm) { return coefficient(c, a, lm, n); },
                                   [&](int lm) { return coefficient(c, b, lm, k); }));
      }
    }
  }
}

template <typename T>
std::vector<double> expected_tensor_spectrum(const Coefficients<T>& c) {
  const auto p = head_parameters("tensor_spectrum", n_species, c.n_max, c.l_max);
  std::vector<double> row;
  for (int l = 0; l <= c.l_max; ++l) {
    for (int k = 0; k < p.n_tensor_features; ++k) {
      const auto mixed = [&](int side, int lm) {
        double sum = 0.0;
        for (std::int32_t a = 0; a < n_species; ++a) {
          for (int n = 0; n < c.n_max; ++n) {
            const auto entry =
                ((side * (c.l_max + 1) + l) * p.n_tensor_features + k) * n_species * c.n_max + a * c.n_max + n;
            sum += p.tensor_matrices[static_cast<std::size_t>(entry)] * coefficient(c, a, lm, n);
          }
        }
        return sum;
      };
      row.push_back(contract(l, [&](int lm) { return mixed(0, lm); }, [&](int lm) { return mixed(1, lm); }));
    }
  }
  return row;
}

/// The row that the head's documentation promises, in its order.
template <typename T>
std::vector<double> expected_row(const std::string& name, const Coefficients<T>& c) {
  if (name == "tensor_spectrum") return expected_tensor_spectrum(c);
  std::vector<double> row;
  const int n_lm = (c.l_max + 1) * (c.l_max + 1);
  for (std::int32_t a = 0; a < n_species; ++a) {
    if (name == "power_spectrum") {
      for (std::int32_t b = a; b < n_species; ++b) append_pairs(c, a, b, row);
    } else if (name == "crossover_spectrum") {
      append_pairs(c, a, a, row);
    } else if (name == "total_spectrum") {
      const auto total = [&](int lm, int n) {
        double sum = 0.0;
        for (std::int32_t b = 0; b < n_species; ++b) sum += coefficient(c, b, lm, n);
        return sum;
      };
      for (int l = 0; l <= c.l_max; ++l) {
        for (int n = 0; n < c.n_max; ++n) {
          for (int k = 0; k < c.n_max; ++k) {
            row.push_back(
                contract(l, [&](int lm) { return coefficient(c, a, lm, n); }, [&](int lm) { return total(lm, k); }));
          }
        }
      }
    } else {
      for (int n = 0; n < c.n_max; ++n) {
        for (int lm = 0; lm < (name == "radial_spectrum" ? 1 : n_lm); ++lm) {
          row.push_back(coefficient(c, a, lm, n));
        }
      }
    }
  }
  return row;
}

template <typename T>
std::vector<T> forward(const FeatureHead<T>& head, const Coefficients<T>& c) {
  // Full of NaN before: the head must write every column.
  std::vector<T> row(static_cast<std::size_t>(head.n_features()), std::numeric_limits<T>::quiet_NaN());
  typename FeatureHead<T>::Scratch scratch;
  head.forward(c, row.data(), scratch);
  return row;
}

template <typename T>
std::vector<T> jvp(const FeatureHead<T>& head, const Coefficients<T>& c, const std::vector<T>& c_dot) {
  std::vector<T> row(static_cast<std::size_t>(head.n_features()), std::numeric_limits<T>::quiet_NaN());
  typename FeatureHead<T>::Scratch scratch;
  head.jvp(c, c_dot, row.data(), scratch);
  return row;
}

std::vector<std::int64_t> columns_in(const std::vector<ColumnRange>& ranges) {
  std::vector<std::int64_t> columns;
  for (const ColumnRange range : ranges) {
    for (std::int64_t k = 0; k < range.size; ++k) columns.push_back(range.first + k);
  }
  return columns;
}

/// Calls body(name, n_max, l_max) for all heads and several sizes.
template <typename Body>
void for_each_head(const Body& body) {
  for (const std::string& name : castile::test::feature_heads) {
    for (const auto& size : {std::pair{1, 0}, {3, 2}, {4, 4}, {8, 6}, {9, 3}, {12, 2}, {16, 1}}) {
      const int n_max = size.first;
      const int l_max = size.second;
      CAPTURE(name);
      CAPTURE(n_max);
      body(name, n_max, l_max);
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("rows have the documented entries in the documented order", T, double, float) {
  const double bound = 20 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for_each_head([&](const std::string& name, int n_max, int l_max) {
    if (name == "product_spectrum") return;  // tests/python/test_products.py knows what they are
    const auto head = make_feature_head<T>(head_parameters(name, n_species, n_max, l_max));
    for (const auto& species : environments) {
      const auto c = random_coefficients<T>(species, n_max, l_max, 1);
      CHECK(castile::test::relative_difference(forward(*head, c), expected_row(name, c)) < bound);
    }
  });
}

TEST_CASE("dot products of power spectra are those of the full tensor") {
  const int n_max = 5;
  const int l_max = 3;
  const auto head = make_feature_head<double>(head_parameters("power_spectrum", n_species, n_max, l_max));
  const auto a = random_coefficients<double>({0, 1, 2, 3}, n_max, l_max, 2);
  const auto b = random_coefficients<double>({1, 3}, n_max, l_max, 3);
  double full = 0.0;
  for (int l = 0; l <= l_max; ++l) {
    for (int q = 0; q < n_species * n_max; ++q) {
      for (int k = 0; k < n_species * n_max; ++k) {
        double p = 0.0;
        double other = 0.0;
        for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
          p += coefficient(a, q / n_max, lm, q % n_max) * coefficient(a, k / n_max, lm, k % n_max);
          other += coefficient(b, q / n_max, lm, q % n_max) * coefficient(b, k / n_max, lm, k % n_max);
        }
        full += p * other / (2 * l + 1);
      }
    }
  }
  CHECK(castile::test::dot(forward(*head, a), forward(*head, b)) == doctest::Approx(full).epsilon(1e-13));
}

TEST_CASE_TEMPLATE("a head's jvp is its derivative", T, double, float) {
  const double bound = 50 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for_each_head([&](const std::string& name, int n_max, int l_max) {
    if (name == "product_spectrum") return;  // see below
    const auto head = make_feature_head<T>(head_parameters(name, n_species, n_max, l_max));
    for (const auto& species : environments) {
      const auto c = random_coefficients<T>(species, n_max, l_max, 4);
      const auto c_dot = random_coefficients<T>(species, n_max, l_max, 5).values;
      // Rows are at most quadratic in c: the central difference with step one is exact.
      auto ahead = c;
      auto behind = c;
      for (std::size_t k = 0; k < c_dot.size(); ++k) {
        ahead.values[k] += c_dot[k];
        behind.values[k] -= c_dot[k];
      }
      const auto after = forward(*head, ahead);
      const auto before = forward(*head, behind);
      std::vector<double> numeric;
      for (std::size_t k = 0; k < after.size(); ++k) {
        numeric.push_back(0.5 * (static_cast<double>(after[k]) - static_cast<double>(before[k])));
      }
      CHECK(castile::test::relative_difference(jvp(*head, c, c_dot), numeric) < bound);
    }
  });
}

TEST_CASE("the jvp of products of up to five coefficients is their derivative") {
  const auto head = make_feature_head<double>(head_parameters("product_spectrum", n_species, 3, 2));
  for (const auto& species : environments) {
    const auto c = random_coefficients<double>(species, 3, 2, 4);
    const auto c_dot = random_coefficients<double>(species, 3, 2, 5).values;
    // Six points are exact for polynomials of degree five.
    std::vector<double> numeric(static_cast<std::size_t>(head->n_features()), 0.0);
    for (const auto& [step, weight] : {std::pair{1.0, 45.0}, {2.0, -9.0}, {3.0, 1.0}}) {
      for (const double sign : {1.0, -1.0}) {
        auto moved = c;
        for (std::size_t k = 0; k < c_dot.size(); ++k) moved.values[k] += sign * step * c_dot[k];
        const auto row = forward(*head, moved);
        for (std::size_t k = 0; k < row.size(); ++k) numeric[k] += sign * weight / 60.0 * row[k];
      }
    }
    CHECK(castile::test::relative_difference(jvp(*head, c, c_dot), numeric) < 1e-12);
  }
}

TEST_CASE_TEMPLATE("a head's vjp is the transpose of its jvp", T, double, float) {
  const double bound = 20 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for_each_head([&](const std::string& name, int n_max, int l_max) {
    const auto head = make_feature_head<T>(head_parameters(name, n_species, n_max, l_max));
    for (const auto& species : environments) {
      const auto c = random_coefficients<T>(species, n_max, l_max, 6);
      const auto c_dot = random_coefficients<T>(species, n_max, l_max, 7).values;
      const auto row_dot = jvp(*head, c, c_dot);
      std::vector<T> grad_row;
      for (const double g : random_numbers(row_dot.size(), 8)) grad_row.push_back(static_cast<T>(g));
      std::vector<T> grad_c(3, T(99));  // left from another call
      typename FeatureHead<T>::Scratch scratch;
      head->vjp(c, grad_row.data(), grad_c, scratch);
      REQUIRE(grad_c.size() == c.values.size());
      const double scale =
          std::sqrt(castile::test::dot(grad_row, grad_row) * castile::test::dot(row_dot, row_dot)) + 1e-300;
      CHECK(std::abs(castile::test::dot(grad_row, row_dot) - castile::test::dot(grad_c, c_dot)) < bound * scale);
    }
  });
}

TEST_CASE("columns outside those of the present species are zero") {
  for_each_head([&](const std::string& name, int n_max, int l_max) {
    const auto head = make_feature_head<double>(head_parameters(name, n_species, n_max, l_max));
    for (const auto& species : environments) {
      const auto row = forward(*head, random_coefficients<double>(species, n_max, l_max, 9));
      const auto columns = columns_in(head->columns_of_channels(species));
      CHECK(std::is_sorted(columns.begin(), columns.end()));
      CHECK(std::adjacent_find(columns.begin(), columns.end()) == columns.end());
      std::vector<bool> listed(row.size(), false);
      for (const std::int64_t column : columns) listed[static_cast<std::size_t>(column)] = true;
      bool zero_outside = true;
      bool filled_inside = true;
      for (std::size_t k = 0; k < row.size(); ++k) {
        zero_outside = zero_outside && (listed[k] || row[k] == 0.0);
        filled_inside = filled_inside && (!listed[k] || row[k] != 0.0 || species.empty());
      }
      CHECK(zero_outside);
      CHECK(filled_inside);
    }
  });
}

/// The change of the coefficients that one neighbor makes along an axis, with its weights in the channels.
template <typename T>
std::vector<T> change_of_pair(const Coefficients<T>& c, const castile::PairTerms<T>& terms,
                              const std::vector<T>& weights, std::size_t axis) {
  const auto n_lm = static_cast<std::size_t>(castile::n_lm(c.l_max));
  std::vector<T> c_dot(c.values.size(), T(0));
  for (int l = 0; l <= c.l_max; ++l) {
    for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
      for (int channel = 0; channel < c.n_channels(); ++channel) {
        for (int n = 0; n < c.n_max; ++n) {
          const auto entry = static_cast<std::size_t>(lm * c.stride() + channel * c.n_padded + n);
          const int radial = l * c.n_padded + n;
          c_dot[entry] = weights[static_cast<std::size_t>(channel)] *
                         (terms.dR[radial] * terms.u[axis] * terms.h[lm] +
                          terms.R[radial] * terms.h[(axis + 1) * n_lm + static_cast<std::size_t>(lm)]);
        }
      }
    }
  }
  return c_dot;
}

TEST_CASE_TEMPLATE("a pair's Jacobian is the jvp along its part of the coefficients", T, double, float) {
  const double bound = 50 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for_each_head([&](const std::string& name, int n_max, int l_max) {
    const auto head = make_feature_head<T>(head_parameters(name, n_species, n_max, l_max));
    const int n_lm = castile::n_lm(l_max);
    typename FeatureHead<T>::Scratch scratch;
    const auto check = [&](const Coefficients<T>& c, const std::vector<T>& weights, int only,
                           const std::vector<std::int64_t>& columns) {
      // Any numbers will do for the radial functions and harmonics, if Y_00 is constant.
      const auto R = random_coefficients<T>({0}, n_max, l_max, 11).values;
      const auto dR = random_coefficients<T>({0}, n_max, l_max, 12).values;
      std::vector<T> h;
      for (const double value : random_numbers(static_cast<std::size_t>(4 * n_lm), 13))
        h.push_back(static_cast<T>(value));
      for (std::size_t axis = 1; axis < 4; ++axis) h[axis * static_cast<std::size_t>(n_lm)] = T(0);
      const castile::PairTerms<T> terms{R.data(), dR.data(), h.data(), {T(0.48), T(-0.6), T(0.64)}};
      CHECK(std::is_sorted(columns.begin(), columns.end()));
      std::vector<T> block(3 * columns.size(), std::numeric_limits<T>::quiet_NaN());
      head->prepare_center(c, scratch);
      head->pair_jacobian(c, terms, {weights.data(), only}, scratch, block.data());
      for (std::size_t axis = 0; axis < 3; ++axis) {
        const auto expected = jvp(*head, c, change_of_pair(c, terms, weights, axis));
        std::vector<T> scattered(expected.size(), T(0));
        for (std::size_t k = 0; k < columns.size(); ++k) {
          scattered[static_cast<std::size_t>(columns[k])] = block[axis * columns.size() + k];
        }
        CHECK(castile::test::relative_difference(scattered, expected) < bound);
      }
    };
    for (const auto& species : environments) {
      const auto c = random_coefficients<T>(species, n_max, l_max, 10);
      for (std::size_t channel = 0; channel < species.size(); ++channel) {
        std::vector<T> one_hot(species.size(), T(0));
        one_hot[channel] = T(1);
        check(c, one_hot, static_cast<int>(channel), columns_in(head->columns_touched_by(species[channel])));
      }
    }
    // A neighbor of mixed channels, one of which it does not touch.
    check(random_coefficients<T>({0, 1, 2, 3}, n_max, l_max, 10), {T(0.7), T(-0.4), T(0), T(1.3)}, -1,
          columns_in({{0, head->n_features()}}));
  });
}

TEST_CASE_TEMPLATE("several centers and neighbors have the bits that each has alone", T, double, float) {
  for (const std::string& name : castile::feature_head_names()) {
    CAPTURE(name);
    const auto head = make_feature_head<T>(head_parameters(name, n_species, 3, 2));
    std::vector<Coefficients<T>> centers;
    std::vector<const Coefficients<T>*> pointers;
    for (unsigned k = 0; k < 21; ++k) {
      centers.push_back(random_coefficients<T>(environments[k % environments.size()], 3, 2, 7 + k));
    }
    for (const auto& c : centers) pointers.push_back(&c);
    const auto n = static_cast<std::int64_t>(centers.size());
    const auto size = static_cast<std::size_t>(head->n_features());
    typename FeatureHead<T>::Scratch scratch, other;
    std::vector<T> rows(centers.size() * size), row(size), seeds;
    for (const double value : random_numbers(rows.size(), 5)) seeds.push_back(static_cast<T>(value));
    head->forward_rows(n, pointers.data(), rows.data(), scratch);
    std::vector<std::vector<T>> gradients(centers.size());
    std::vector<std::vector<T>*> to;
    for (auto& gradient : gradients) to.push_back(&gradient);
    head->vjp_rows(n, pointers.data(), seeds.data(), to.data(), scratch);
    std::vector<T> alone;
    for (std::size_t k = 0; k < centers.size(); ++k) {
      head->forward(centers[k], row.data(), other);
      CHECK(std::equal(row.begin(), row.end(), rows.begin() + static_cast<std::ptrdiff_t>(k * size)));
      head->vjp(centers[k], seeds.data() + k * size, alone, other);
      CHECK(alone == gradients[k]);
    }
  }
}

TEST_CASE("an unknown head is refused") {
  CHECK_THROWS_AS(make_feature_head<double>(head_parameters("bispectrum of order 9", 1, 4, 4)), std::invalid_argument);
}

TEST_CASE("matrices of a wrong size are refused") {
  auto p = head_parameters("tensor_spectrum", 2, 3, 1);
  p.tensor_matrices.pop_back();
  CHECK_THROWS_AS(make_feature_head<double>(p), std::invalid_argument);
  p.n_tensor_features = 0;
  p.tensor_matrices.clear();
  CHECK_THROWS_AS(make_feature_head<double>(p), std::invalid_argument);
}
