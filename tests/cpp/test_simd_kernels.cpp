#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "castile/math/spherical_harmonics.hpp"
#include "kernel_levels.hpp"
#include "support.hpp"

// Every instruction set against loops in extended precision that anybody can read.

namespace {

using castile::n_lm;
using castile::simd::Kernels;
using castile::simd::lanes;
using castile::simd::NeighborBlocks;
using castile::simd::RadialTableView;
using castile::test::kernel_levels;
using castile::test::relative_difference;

template <typename T>
std::vector<T> numbers(std::int64_t n, unsigned seed) {
  std::vector<T> result;
  for (const double x : castile::test::random_numbers(static_cast<std::size_t>(n), seed)) {
    result.push_back(static_cast<T>(x));
  }
  return result;
}

template <typename T>
constexpr double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());

/// (n, l) pairs around the edges of the register tiles; n as the tables pad it.
template <typename T>
std::vector<std::pair<int, int>> sizes() {
  constexpr int vector = static_cast<int>(32 / sizeof(T));
  std::vector<std::pair<int, int>> result;
  for (int k = 1; k <= 9; ++k) {
    for (const int l_max : {0, 1, 2, 4, 6, 9}) result.emplace_back(k * vector, l_max);
  }
  for (const int l_max : {3, 5, 7, 8, 10, 11, 12, 13, 14, 16, 30}) result.emplace_back(2 * vector, l_max);
  return result;
}

/// A radial table and neighbors in it, with weights that are zero for the padding.
template <typename T>
struct Inputs {
  int l_max, n_padded, orders;
  std::int64_t count, n_slots;
  std::vector<T> table, x, y, z, inverse_distance, weights, gradient_weights, derivative_weights;
  std::vector<std::int32_t> row;

  Inputs(int l_max_, int n_padded_, int orders_, std::int64_t count_)
      : l_max(l_max_),
        n_padded(n_padded_),
        orders(orders_),
        count(count_),
        n_slots((count_ + lanes<T> - 1) / lanes<T> * lanes<T>),
        table(numbers<T>(11 * orders_ * row_length(), 1)),
        inverse_distance(static_cast<std::size_t>(n_slots), T(1)),
        weights(numbers<T>(6 * n_slots, 2)),
        gradient_weights(numbers<T>(6 * n_slots, 3)),
        derivative_weights(numbers<T>(6 * n_slots, 4)),
        row(static_cast<std::size_t>(n_slots), 0) {
    const auto units = castile::test::random_directions(static_cast<std::size_t>(n_slots), 5);
    for (std::size_t k = 0; k < static_cast<std::size_t>(n_slots); ++k) {
      x.push_back(static_cast<T>(units[k][0]));
      y.push_back(static_cast<T>(units[k][1]));
      z.push_back(static_cast<T>(units[k][2]));
      if (static_cast<std::int64_t>(k) >= count) {
        for (auto* w : {&weights, &gradient_weights, &derivative_weights})
          std::fill_n(w->begin() + static_cast<std::ptrdiff_t>(6 * k), 6, T(0));
        continue;
      }
      inverse_distance[k] = static_cast<T>(0.3 + 0.01 * static_cast<double>(k));
      row[k] = static_cast<std::int32_t>(7 * k % 10);
    }
  }

  std::int64_t row_length() const { return static_cast<std::int64_t>(l_max + 1) * n_padded; }
  RadialTableView<T> view() const { return {table.data(), row_length(), orders, n_padded}; }
  NeighborBlocks<T> blocks() const {
    return {n_slots / lanes<T>,       x.data(),   y.data(),       z.data(),
            inverse_distance.data(),  row.data(), weights.data(), gradient_weights.data(),
            derivative_weights.data()};
  }

  /// One interpolated entry of one neighbor.
  long double interpolated(const std::vector<T>& w, std::size_t neighbor, std::int64_t entry) const {
    long double sum = 0.0L;
    for (int k = 0; k < 2 * orders; ++k) {
      const std::int64_t knot = static_cast<std::int64_t>(row[neighbor]) * orders + k;
      sum += static_cast<long double>(w[6 * neighbor + static_cast<std::size_t>(k)]) *
             static_cast<long double>(table[static_cast<std::size_t>(knot * row_length() + entry)]);
    }
    return sum;
  }
};

/// Calls body(kernels) for each instruction set of both precisions' type T.
template <typename T, typename Body>
void for_each_level(const Body& body) {
  for (const auto& level : kernel_levels<T>()) {
    CAPTURE(level.name);
    body(*level.kernels);
  }
}

}  // namespace

TEST_CASE("the table of instruction sets starts with the baseline and holds the one in use") {
  const auto built = castile::instruction_sets_built();
  REQUIRE(!built.empty());
  CHECK(built.front() == "baseline");
  CHECK(std::find(built.begin(), built.end(), castile::instruction_set()) != built.end());
  CHECK(&castile::simd::kernels<double>() == kernel_levels<double>().back().kernels);
  CHECK(&castile::simd::kernels<float>() == kernel_levels<float>().back().kernels);
}

TEST_CASE_TEMPLATE("radial: rows are the weighted sum of their knots", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const auto& [n_padded, l_max] : sizes<T>()) {
      for (const int orders : {2, 3}) {
        const Inputs<T> in(l_max, n_padded, orders, 13);
        std::vector<T> out(static_cast<std::size_t>(13 * in.row_length()), T(99));
        kernels.radial(in.view(), 13, in.row.data(), in.weights.data(), out.data());
        std::vector<long double> expected;
        for (std::size_t j = 0; j < 13; ++j) {
          for (std::int64_t k = 0; k < in.row_length(); ++k) expected.push_back(in.interpolated(in.weights, j, k));
        }
        CHECK(relative_difference(out, expected) < 4 * epsilon<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("accumulate: coefficients grow by the outer products", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const auto& [n_padded, l_max] : sizes<T>()) {
      for (const std::int64_t count : {1, 21}) {
        const std::int64_t n_blocks = (count + lanes<T> - 1) / lanes<T>;
        const std::int64_t stride = n_padded + 8;
        const auto Y = numbers<T>(n_blocks * n_lm(l_max) * lanes<T>, 11);
        const auto R = numbers<T>(count * (l_max + 1) * n_padded, 12);
        auto c = numbers<T>(n_lm(l_max) * stride, 13);
        std::vector<long double> expected(c.begin(), c.end());
        for (std::int64_t j = 0; j < count; ++j) {
          for (int l = 0; l <= l_max; ++l) {
            for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
              const auto y = static_cast<std::size_t>((j / lanes<T> * n_lm(l_max) + lm) * lanes<T> + j % lanes<T>);
              for (int n = 0; n < n_padded; ++n) {
                const auto r = static_cast<std::size_t>((j * (l_max + 1) + l) * n_padded + n);
                expected[static_cast<std::size_t>(lm * stride + n)] +=
                    static_cast<long double>(Y[y]) * static_cast<long double>(R[r]);
              }
            }
          }
        }
        kernels.accumulate(l_max, n_padded, count, Y.data(), R.data(), c.data(), stride);
        CHECK(relative_difference(c, expected) < 8 * epsilon<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("pair gradients: the adjoint of harmonics, radial and accumulate", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const auto& [n_padded, l_max] : sizes<T>()) {
      if (sizeof(T) == 4 && l_max > 12) continue;  // beyond the degrees that float is meant for
      for (const int orders : {2, 3}) {
        const std::int64_t count = 19;
        const Inputs<T> in(l_max, n_padded, orders, count);
        const auto blocks = in.blocks();
        const std::int64_t stride = n_padded + 4;
        const auto grad_c = numbers<T>(n_lm(l_max) * stride, 21);
        std::vector<T> f(static_cast<std::size_t>(3 * in.n_slots), T(99));
        std::vector<T> scratch(
            static_cast<std::size_t>(castile::simd::pair_gradients_scratch<T>(l_max, in.row_length())));
        kernels.pair_gradients(l_max, in.view(), blocks, grad_c.data(), stride, f.data(), scratch.data());

        // The kernels' own harmonics and gradients, which test_spherical_harmonics.cpp checks.
        std::vector<T> Y(static_cast<std::size_t>(n_lm(l_max) * in.n_slots));
        std::vector<T> dY(3 * Y.size());
        kernels.harmonics(l_max, blocks, Y.data());
        kernels.harmonics_gradients(l_max, blocks, dY.data());
        std::vector<long double> expected(f.size(), 0.0L);
        for (std::int64_t j = 0; j < in.n_slots; ++j) {
          const std::int64_t block = j / lanes<T>;
          const std::int64_t lane = j % lanes<T>;
          const auto slot = static_cast<std::size_t>(j);
          const T u[3] = {in.x[slot], in.y[slot], in.z[slot]};
          for (int l = 0; l <= l_max; ++l) {
            for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
              long double g = 0.0L;
              long double dg = 0.0L;
              for (int n = 0; n < n_padded; ++n) {
                const auto weight = static_cast<long double>(grad_c[static_cast<std::size_t>(lm * stride + n)]);
                g += weight * in.interpolated(in.gradient_weights, slot, l * n_padded + n);
                dg += weight * in.interpolated(in.derivative_weights, slot, l * n_padded + n);
              }
              const auto value = static_cast<std::size_t>((block * n_lm(l_max) + lm) * lanes<T> + lane);
              for (std::int64_t axis = 0; axis < 3; ++axis) {
                const auto slope = static_cast<std::size_t>(((block * 3 + axis) * n_lm(l_max) + lm) * lanes<T> + lane);
                expected[static_cast<std::size_t>((block * 3 + axis) * lanes<T> + lane)] +=
                    g * static_cast<long double>(dY[slope]) +
                    dg * static_cast<long double>(u[axis]) * static_cast<long double>(Y[value]);
              }
            }
          }
        }
        CHECK(relative_difference(f, expected) < 200 * epsilon<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("small products with any strides", T, double, float) {
  constexpr int vector = static_cast<int>(32 / sizeof(T));
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (int n_rows = 1; n_rows <= 26; ++n_rows) {
      for (int n_columns = vector; n_columns <= 7 * vector; n_columns += vector) {
        for (const int depth : {1, 2, 9}) {
          const std::int64_t a_row = 1, a_k = n_rows + 3, b_k = n_columns + 5, out_row = n_columns + 1;
          const auto a = numbers<T>(a_k * depth, 31);
          const auto b = numbers<T>(b_k * depth, 32);
          std::vector<T> out(static_cast<std::size_t>(n_rows * out_row), T(7));
          std::vector<long double> expected(out.begin(), out.end());
          kernels.small_product(n_rows, n_columns, depth, a.data(), a_row, a_k, b.data(), b_k, out.data(), out_row);
          for (int i = 0; i < n_rows; ++i) {
            for (int j = 0; j < n_columns; ++j) {
              long double sum = 0.0L;
              for (int k = 0; k < depth; ++k) {
                sum += static_cast<long double>(a[static_cast<std::size_t>(i * a_row + k * a_k)]) *
                       static_cast<long double>(b[static_cast<std::size_t>(k * b_k + j)]);
              }
              expected[static_cast<std::size_t>(i * out_row + j)] = sum;
            }
          }
          CHECK(relative_difference(out, expected) < 10 * epsilon<T>);
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("bilinear forms and their adjoint", T, double, float) {
  constexpr int vector = static_cast<int>(32 / sizeof(T));
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (int n = 1; n <= 18; ++n) {
      for (const int l_max : {0, 1, 4, 9}) {
        const int n_padded = (n + vector - 1) / vector * vector;
        const std::int64_t stride = 2 * n_padded;
        const auto a = numbers<T>(n_lm(l_max) * stride, 41);
        const auto b = numbers<T>(n_lm(l_max) * stride, 42);
        const auto W = numbers<T>((l_max + 1) * n * n_padded, 43);
        std::vector<T> forms(W.size(), T(99));
        auto g = numbers<T>(n_lm(l_max) * stride, 44);
        std::vector<long double> expected_forms(W.size(), 0.0L);
        std::vector<long double> expected_g(g.begin(), g.end());
        for (int l = 0; l <= l_max; ++l) {
          for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
            for (int i = 0; i < n; ++i) {
              for (int k = 0; k < n_padded; ++k) {
                const auto w = static_cast<std::size_t>((l * n + i) * n_padded + k);
                const auto left = static_cast<long double>(a[static_cast<std::size_t>(lm * stride + i)]);
                expected_forms[w] += left * static_cast<long double>(b[static_cast<std::size_t>(lm * stride + k)]);
                expected_g[static_cast<std::size_t>(lm * stride + k)] += left * static_cast<long double>(W[w]);
              }
            }
          }
        }
        kernels.bilinear_forms(l_max, n, n_padded, a.data(), b.data(), stride, forms.data());
        kernels.bilinear_adjoint(l_max, n, n_padded, W.data(), a.data(), g.data(), stride);
        CHECK(relative_difference(forms, expected_forms) < 10 * epsilon<T>);
        CHECK(relative_difference(g, expected_g) < 10 * epsilon<T>);
      }
    }
  });
}
