#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "castile/basis/splined_basis.hpp"
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
  // With padding, and with one or two functions behind whole registers.
  for (const int n_max :
       {1, 2, 3, vector + 1, lanes<T> - 1, lanes<T> + 1, lanes<T> + 2, lanes<T> + 3, 2 * lanes<T> + 1}) {
    for (const int l_max : {0, 3, 6, 9, 14}) result.emplace_back(n_max, l_max);
  }
  return result;
}

/// A radial table and neighbors in it, with weights that are zero for the padding.
template <typename T>
struct Inputs {
  static constexpr int vector = static_cast<int>(32 / sizeof(T));
  int l_max, n_max, n_padded, orders;
  std::int64_t count, n_slots;
  std::vector<T> table, x, y, z, inverse_distance, weights, gradient_weights, derivative_weights;
  std::vector<std::int32_t> row;

  Inputs(int l_max_, int n_max_, int orders_, std::int64_t count_)
      : l_max(l_max_),
        n_max(n_max_),
        n_padded((n_max + vector - 1) / vector * vector),
        orders(orders_),
        count(count_),
        n_slots((count_ + lanes<T> - 1) / lanes<T> * lanes<T>),
        table(numbers<T>(11 * orders_ * row_length(), 1)),
        inverse_distance(static_cast<std::size_t>(n_slots), T(1)),
        weights(numbers<T>(2 * orders_ * n_slots, 2)),
        gradient_weights(numbers<T>(2 * orders_ * n_slots, 3)),
        derivative_weights(numbers<T>(2 * orders_ * n_slots, 4)),
        row(static_cast<std::size_t>(n_slots), 0) {
    for (std::int64_t knot = 0; knot < 11 * orders; ++knot) {
      for (int l = 0; l <= l_max; ++l) {
        for (int n = n_max; n < n_padded; ++n) {
          table[static_cast<std::size_t>(knot * row_length() + place(l * n_padded + n))] = T(0);
        }
      }
    }
    const auto units = castile::test::random_directions(static_cast<std::size_t>(n_slots), 5);
    for (std::size_t k = 0; k < static_cast<std::size_t>(n_slots); ++k) {
      x.push_back(static_cast<T>(units[k][0]));
      y.push_back(static_cast<T>(units[k][1]));
      z.push_back(static_cast<T>(units[k][2]));
      if (static_cast<std::int64_t>(k) >= count) {
        for (auto* w : {&weights, &gradient_weights, &derivative_weights}) {
          for (int weight = 0; weight < 2 * orders; ++weight) (*w)[weight_index(k, weight)] = T(0);
        }
        continue;
      }
      inverse_distance[k] = static_cast<T>(0.3 + 0.01 * static_cast<double>(k));
      row[k] = static_cast<std::int32_t>(7 * k % 10);
    }
  }

  std::int64_t n_functions() const { return static_cast<std::int64_t>(l_max + 1) * n_padded; }
  std::int64_t row_length() const { return (n_functions() + lanes<T> - 1) / lanes<T> * lanes<T>; }
  /// Of function l * n_padded + n in a row: whole cache lines of all degrees, then what is left of them.
  std::int64_t place(std::int64_t function) const {
    const std::int64_t l = function / n_padded;
    const std::int64_t n = function % n_padded;
    const std::int64_t first = n / lanes<T> * lanes<T>;
    const std::int64_t width = std::min<std::int64_t>(lanes<T>, n_padded - first);
    return first * (l_max + 1) + l * width + n - first;
  }
  std::size_t weight_index(std::size_t neighbor, int weight) const {
    constexpr std::size_t W = lanes<T>;
    return (neighbor / W * static_cast<std::size_t>(2 * orders) + static_cast<std::size_t>(weight)) * W + neighbor % W;
  }
  RadialTableView<T> view() const { return {table.data(), row_length(), orders, n_padded, n_max, l_max, nullptr}; }
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
      sum += static_cast<long double>(w[weight_index(neighbor, k)]) *
             static_cast<long double>(table[static_cast<std::size_t>(knot * row_length() + place(entry))]);
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
  CHECK(&castile::simd::geometry_kernels() == castile::test::geometry_kernel_levels().back().kernels);
}

TEST_CASE("points in a sphere are selected in order, whatever the ranges") {
  constexpr std::uint32_t n_points = 200;
  const auto x = numbers<double>(n_points, 1), y = numbers<double>(n_points, 2), z = numbers<double>(n_points, 3);
  const castile::simd::Sphere sphere{0.1, -0.2, 0.3, 0.6};
  std::vector<castile::simd::IndexRange> ranges = {{3, 4}, {4, 4}, {5, 13}, {20, 37}, {40, 200}};
  std::vector<std::uint32_t> expected;
  for (const auto& range : ranges) {
    for (std::uint32_t k = range.first; k < range.last; ++k) {
      const double dx = x[k] - sphere.x, dy = y[k] - sphere.y, dz = z[k] - sphere.z;
      if (dx * dx + dy * dy + dz * dz < sphere.radius2) expected.push_back(k);
    }
  }
  CHECK(expected.size() > 40);
  for (const auto& level : castile::test::geometry_kernel_levels()) {
    CAPTURE(level.name);
    std::vector<std::uint32_t> index(n_points + castile::simd::selection_slack);
    std::vector<double> distance2(index.size());
    const std::uint32_t n =
        level.kernels->select_close({x.data(), y.data(), z.data()}, ranges.data(),
                                    static_cast<std::uint32_t>(ranges.size()), sphere, index.data(), distance2.data());
    index.resize(n);
    CHECK(index == expected);
    for (std::uint32_t k = 0; k < n; ++k) {
      const double dx = x[index[k]] - sphere.x, dy = y[index[k]] - sphere.y, dz = z[index[k]] - sphere.z;
      CHECK(std::abs(distance2[k] - (dx * dx + dy * dy + dz * dz)) < 1e-15);
    }
  }
}

TEST_CASE_TEMPLATE("neighbors are weighed as by the table of radial functions", T, double, float) {
  using castile::SplinedBasis;
  castile::RadialBasisParameters basis;
  basis.cutoff = 4.0;
  basis.n_max = 2;
  basis.l_max = 1;
  for (const std::string cutoff_function : {"hard", "cosine", "polynomial"}) {
    for (const double accuracy : {1e-6, 1e-10}) {
      for (const std::string density : {"none", "pow"}) {
        CAPTURE(cutoff_function);
        castile::PairWeightParameters parameters;
        parameters.cutoff_function = cutoff_function;
        parameters.cutoff_width = 1.3;
        parameters.reach = 3.9;
        parameters.density_weighting.name = density;
        parameters.density_weighting.m = 2.5;
        const castile::PairWeight weight(parameters);
        const SplinedBasis<double> table(*castile::make_radial_basis(basis), weight, accuracy);
        std::vector<double> d, x, y, z, u, du;
        for (int k = 0; k < 45; ++k) d.push_back(1e-5 + 0.09 * k);  // the last ones are beyond the end
        for (const double near : {2.6 - 1e-12, 2.6, 2.6 + 1e-9, 3.9 - 1e-12, table.step()}) d.push_back(near);
        const auto count = static_cast<std::int64_t>(d.size());
        const auto n_slots = static_cast<std::size_t>((count + lanes<T> - 1) / lanes<T> * lanes<T>);
        d.resize(n_slots, 1.0);
        const auto units = castile::test::random_directions(n_slots, 5);
        for (std::size_t k = 0; k < n_slots; ++k) {
          x.push_back(d[k] * units[k][0]);
          y.push_back(d[k] * units[k][1]);
          z.push_back(d[k] * units[k][2]);
          u.push_back(weight.density_weight(d[k]).value);
          du.push_back(weight.density_weight(d[k]).derivative);
        }
        const auto& f = weight.cutoff_function();
        const castile::simd::DistanceWeighting weighting{table.step(), castile::hermite_orders(table.form()),
                                                         table.end(),  static_cast<castile::simd::CutoffKind>(f.kind()),
                                                         f.cutoff(),   f.width()};
        const int n_weights = 2 * weighting.orders;
        const bool weighs = weight.weighs_density();
        for_each_level<T>([&](const Kernels<T>& kernels) {
          std::vector<T> ux(n_slots), uy(n_slots), uz(n_slots), inverse(n_slots);
          std::vector<T> weights(n_slots * 6), slopes(n_slots * 6);
          std::vector<std::int32_t> row(n_slots);
          kernels.weigh_neighbors(
              weighting,
              {count, x.data(), y.data(), z.data(), d.data(), weighs ? u.data() : nullptr, weighs ? du.data() : nullptr,
               0.7},
              {ux.data(), uy.data(), uz.data(), inverse.data(), row.data(), weights.data(), slopes.data()});
          for (std::size_t k = 0; k < n_slots; ++k) {
            CAPTURE(d[k]);
            castile::RadialWeights expected;
            if (k < static_cast<std::size_t>(count)) {
              expected = table.weights(d[k]);
              CHECK(std::abs(static_cast<double>(inverse[k]) * d[k] - 1.0) < 2 * epsilon<T>);
              const double error = std::abs(static_cast<double>(ux[k]) - units[k][0]) +
                                   std::abs(static_cast<double>(uy[k]) - units[k][1]) +
                                   std::abs(static_cast<double>(uz[k]) - units[k][2]);
              CHECK(error < 4 * epsilon<T>);
            }
            CHECK(row[k] == expected.row);
            for (int w = 0; w < n_weights; ++w) {
              const std::size_t entry =
                  (k / lanes<T> * static_cast<std::size_t>(n_weights) + static_cast<std::size_t>(w)) * lanes<T> +
                  k % lanes<T>;
              const double scale = std::max(1.0, std::abs(0.7 * expected.derivative[w]));
              CHECK(std::abs(static_cast<double>(weights[entry]) - 0.7 * expected.value[w]) < 4 * epsilon<T>);
              CHECK(std::abs(static_cast<double>(slopes[entry]) - 0.7 * expected.derivative[w]) <
                    4 * epsilon<T> * scale + 1e-13);
            }
          }
        });
      }
    }
  }
}

TEST_CASE_TEMPLATE("radial: rows are the weighted sum of their knots", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const auto& [n_max, l_max] : sizes<T>()) {
      for (const int orders : {2, 3}) {
        const Inputs<T> in(l_max, n_max, orders, 13);
        std::vector<T> out(static_cast<std::size_t>(13 * in.n_functions()), T(99));
        kernels.radial(in.view(), 13, in.row.data(), in.weights.data(), out.data());
        std::vector<long double> expected;
        for (std::size_t j = 0; j < 13; ++j) {
          for (std::int64_t k = 0; k < in.n_functions(); ++k) expected.push_back(in.interpolated(in.weights, j, k));
        }
        CHECK(relative_difference(out, expected) < 4 * epsilon<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("accumulate: coefficients grow by the outer products", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const auto& [n_max, l_max] : sizes<T>()) {
      for (const auto& [count, orders, begins, ends] :
           {std::tuple{1, 2, false, false}, std::tuple{21, 2, false, true}, std::tuple{21, 3, true, false}}) {
        const Inputs<T> in(l_max, n_max, orders, count);
        const int n_padded = in.n_padded;
        const std::int64_t stride = n_padded + 8;
        const auto Y = numbers<T>(in.n_slots * n_lm(l_max), 11);
        const auto factors = numbers<T>(n_lm(l_max), 12);
        auto c = numbers<T>(n_lm(l_max) * stride, 13);
        for (int lm = 0; lm < n_lm(l_max) && !begins; ++lm) {
          std::fill_n(c.begin() + lm * stride + n_max, n_padded - n_max, T(0));
        }
        std::vector<T> scratch(static_cast<std::size_t>(in.n_slots * in.n_functions()));
        std::vector<long double> expected(c.begin(), c.end());
        for (int l = 0; l <= l_max; ++l) {
          for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
            for (int n = 0; n < n_padded; ++n) {
              long double& sum = expected[static_cast<std::size_t>(lm * stride + n)];
              if (begins) sum = 0.0L;
              for (std::int64_t j = 0; j < count; ++j) {
                const auto y = static_cast<std::size_t>((j / lanes<T> * n_lm(l_max) + lm) * lanes<T> + j % lanes<T>);
                sum += static_cast<long double>(Y[y]) *
                       in.interpolated(in.weights, static_cast<std::size_t>(j), l * n_padded + n);
              }
              if (ends) sum *= static_cast<long double>(factors[static_cast<std::size_t>(lm)]);
            }
          }
        }
        kernels.accumulate(l_max, in.view(), {count, in.row.data(), in.weights.data(), Y.data()}, begins,
                           ends ? factors.data() : nullptr, c.data(), stride, scratch.data());
        CHECK(relative_difference(c, expected) < 10 * epsilon<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("pair gradients: the adjoint of harmonics, radial and accumulate", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const auto& [n_max, l_max] : sizes<T>()) {
      if (sizeof(T) == 4 && l_max > 12) continue;  // beyond the degrees that float is meant for
      for (const int orders : {2, 3}) {
        const std::int64_t count = 19;
        const Inputs<T> in(l_max, n_max, orders, count);
        const int n_padded = in.n_padded;
        const auto blocks = in.blocks();
        const std::int64_t stride = n_padded + 4;
        const auto grad_c = numbers<T>(n_lm(l_max) * stride, 21);
        std::vector<T> f(static_cast<std::size_t>(3 * in.n_slots), T(99));
        std::vector<T> scratch(
            static_cast<std::size_t>(castile::simd::pair_gradients_scratch<T>(l_max, in.n_functions())));
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

TEST_CASE_TEMPLATE("bilinear forms, packed spectra and the adjoint", T, double, float) {
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
        std::vector<T> weights(static_cast<std::size_t>(l_max + 1));
        for (std::size_t l = 0; l < weights.size(); ++l)
          weights[l] = static_cast<T>(1.0 + 0.3 * static_cast<double>(l));
        for (const bool like : {false, true}) {
          std::vector<long double> expected;
          for (std::size_t l = 0; l < weights.size(); ++l) {
            for (int i = 0; i < n; ++i) {
              for (int k = like ? i : 0; k < n; ++k) {
                const std::size_t entry = (l * static_cast<std::size_t>(n) + static_cast<std::size_t>(i)) *
                                              static_cast<std::size_t>(n_padded) +
                                          static_cast<std::size_t>(k);
                const long double factor = like && i == k ? 1.0L : std::sqrt(2.0L);
                expected.push_back(factor * static_cast<long double>(weights[l]) * expected_forms[entry]);
              }
            }
          }
          std::vector<T> packed(expected.size() + 2, T(99));
          kernels.spectrum(l_max, n, like, a.data(), b.data(), stride, weights.data(), packed.data() + 1);
          CHECK(packed.front() == T(99));
          CHECK(packed.back() == T(99));
          packed.erase(packed.begin());
          packed.pop_back();
          CHECK(relative_difference(packed, expected) < 10 * epsilon<T>);
        }
        kernels.bilinear_forms(l_max, n, n_padded, a.data(), b.data(), stride, forms.data());
        kernels.bilinear_adjoint(l_max, n, n_padded, W.data(), a.data(), g.data(), stride);
        CHECK(relative_difference(forms, expected_forms) < 10 * epsilon<T>);
        CHECK(relative_difference(g, expected_g) < 10 * epsilon<T>);
      }
    }
  });
}

namespace {

/// The same derivatives, streamed to where pieces of 32 bytes may start, against those that `spectrum_jacobian` wrote
/// behind the first number of `out`.
template <typename T>
void check_streamed_products(const Kernels<T>& kernels, int l_max, int n, castile::simd::SpectrumPair<T> pair,
                             const std::vector<T>& weights, const std::vector<T>& out,
                             const std::vector<long double>& expected) {
  const std::int64_t size = (l_max + 1) * n * n;
  const std::int64_t written_stride = pair.axis_stride;
  constexpr std::int64_t piece = 32 / sizeof(T);
  pair.axis_stride = size + 3 * piece;
  for (const std::int64_t start : {std::int64_t{0}, piece, 2 * piece}) {
    castile::AlignedVector<T> streamed(static_cast<std::size_t>(3 * pair.axis_stride + 2 * piece), T(99));
    std::vector<T> minus(streamed.size(), T(1));
    if (!castile::simd::can_stream_products(n, pair, streamed.data() + start)) {
      CHECK((n % piece != 0 || n > 4 * piece));
      return;
    }
    pair.minus = minus.data();
    kernels.stream_products(l_max, n, pair, weights.data(), streamed.data() + start);
    kernels.end_streams();
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      for (std::int64_t k = 0; k < size; ++k) {
        const auto at = static_cast<std::size_t>(start + axis * pair.axis_stride + k);
        const auto written = static_cast<std::size_t>(1 + axis * written_stride + k);
        const auto bound = 20 * static_cast<long double>(epsilon<T>);
        CHECK(std::abs(static_cast<long double>(streamed[at]) - expected[written]) < bound);
        CHECK(streamed[at] == out[written]);
        CHECK(minus[at - static_cast<std::size_t>(start)] == T(1) - streamed[at]);
      }
    }
    CHECK(std::count(streamed.begin(), streamed.end(), T(99)) ==
          static_cast<std::ptrdiff_t>(streamed.size()) - 3 * size);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("the way back from a spectrum is its adjoint", T, double, float) {
  constexpr int vector = static_cast<int>(32 / sizeof(T));
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (int n = 1; n <= 17; ++n) {
      const int l_max = 3;
      const int n_padded = (n + vector - 1) / vector * vector;
      const auto weights = numbers<T>(l_max + 1, 71);
      for (const bool like : {false, true}) {
        const std::int64_t per_degree = like ? n * (n + 1) / 2 : n * n;
        const auto grad = numbers<T>((l_max + 1) * per_degree, 72);
        std::vector<T> W(static_cast<std::size_t>((l_max + 1) * n * n_padded), T(99));
        std::vector<T> transposed(W);
        kernels.unpack_spectrum(l_max, n, n_padded, like, grad.data(), weights.data(), W.data(), transposed.data());
        std::size_t entry = 0;
        for (int l = 0; l <= l_max; ++l) {
          const auto at = [&](int i, int k) { return static_cast<std::size_t>((l * n + i) * n_padded + k); };
          const double weight = static_cast<double>(weights[static_cast<std::size_t>(l)]);
          for (int i = 0; i < n; ++i) {
            for (int k = like ? i : 0; k < n; ++k) {
              const double factor = like && i == k ? 2.0 : std::sqrt(2.0);
              const double expected = factor * weight * static_cast<double>(grad[entry++]);
              CHECK(std::abs(static_cast<double>(W[at(i, k)]) - expected) < 8 * epsilon<T>);
              CHECK(std::abs(static_cast<double>((like ? W : transposed)[at(k, i)]) - expected) < 8 * epsilon<T>);
            }
          }
          for (int k = n; k < n_padded; ++k) CHECK(W[at(0, k)] == T(99));
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("the derivative of a spectrum is a sum of outer products", T, double, float) {
  constexpr int vector = static_cast<int>(32 / sizeof(T));
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (int n = 1; n <= 18; ++n) {
      for (const int l_max : {0, 3}) {
        const int n_padded = (n + vector - 1) / vector * vector;
        const std::int64_t stride = 2 * n_padded;
        const std::int64_t quantity = (l_max + 1) * stride;
        const auto R = numbers<T>((l_max + 1) * n_padded, 51);
        const auto dR = numbers<T>((l_max + 1) * n_padded, 52);
        const auto density = numbers<T>(4 * quantity, 53);
        const auto weights = numbers<T>(l_max + 1, 54);
        for (const auto& [left, right] : {std::pair{1.0, 0.0}, std::pair{0.0, 1.0}, std::pair{0.7, -0.4}}) {
          for (const bool like : {false, true}) {
            castile::simd::SpectrumPair<T> pair{};
            pair.R = R.data();
            pair.dR = dR.data();
            pair.radial_stride = n_padded;
            pair.left = density.data();
            pair.right = density.data() + n_padded;
            pair.density_stride = stride;
            pair.quantity_stride = quantity;
            pair.u[0] = static_cast<T>(0.6);
            pair.u[1] = static_cast<T>(-0.48);
            pair.u[2] = static_cast<T>(0.64);
            pair.left_weight = static_cast<T>(left);
            pair.right_weight = static_cast<T>(right);
            const std::int64_t size = (l_max + 1) * (like ? n * (n + 1) / 2 : n * n);
            pair.axis_stride = size + 1;
            std::vector<T> out(static_cast<std::size_t>(3 * size + 4), T(99));
            std::vector<long double> expected(out.size(), 99.0L);
            std::size_t entry = 1;
            for (int axis = 0; axis < 3; ++axis, ++entry) {
              for (int l = 0; l <= l_max; ++l) {
                // One side's contribution to (i, k): the radial function has index r, the density of `c` index d.
                const auto term = [&](int r, const T* c, int d) {
                  const auto radial = static_cast<std::size_t>(l * n_padded + r);
                  const std::int64_t at = l * stride + d;
                  return static_cast<long double>(dR[radial]) * static_cast<long double>(pair.u[axis]) *
                             static_cast<long double>(c[at]) +
                         static_cast<long double>(R[radial]) * static_cast<long double>(c[(axis + 1) * quantity + at]);
                };
                for (int i = 0; i < n; ++i) {
                  for (int k = like ? i : 0; k < n; ++k) {
                    const long double sum = static_cast<long double>(pair.left_weight) * term(i, pair.right, k) +
                                            static_cast<long double>(pair.right_weight) * term(k, pair.left, i);
                    const long double factor = like && i == k ? 1.0L : std::sqrt(2.0L);
                    expected[entry++] = factor * static_cast<long double>(weights[static_cast<std::size_t>(l)]) * sum;
                  }
                }
              }
            }
            kernels.spectrum_jacobian(l_max, n, like, pair, weights.data(), out.data() + 1);
            CHECK(relative_difference(out, expected) < epsilon<T>);  // the largest number is 99
            CHECK(out.front() == T(99));
            CHECK(out.back() == T(99));
            if (!like) check_streamed_products(kernels, l_max, n, pair, weights, out, expected);
          }
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("rows are subtracted and streamed, wherever they start", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const std::size_t size : {0U, 1U, 7U, 16U, 100U, 333U}) {
      for (std::size_t start = 0; start < 17; ++start) {
        const auto from = numbers<T>(static_cast<std::int64_t>(size), 61);
        std::vector<T> to(size + 40, T(99));
        const auto n = static_cast<std::int64_t>(size);
        kernels.stream(n, from.data(), to.data() + start, nullptr);
        kernels.end_streams();
        std::vector<T> expected(to.size(), T(99));
        std::copy(from.begin(), from.end(), expected.begin() + static_cast<std::ptrdiff_t>(start));
        CHECK(to == expected);
        kernels.subtract(static_cast<std::int64_t>(size), from.data(), to.data() + start);
        std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(start), size, T(0));
        CHECK(to == expected);
        auto minus = numbers<T>(n, 62);
        auto less = minus;
        for (std::size_t k = 0; k < size; ++k) less[k] -= from[k];
        kernels.stream(n, from.data(), to.data() + start, minus.data());
        kernels.end_streams();
        std::copy(from.begin(), from.end(), expected.begin() + static_cast<std::ptrdiff_t>(start));
        CHECK(to == expected);
        CHECK(minus == less);
      }
    }
  });
}

TEST_CASE_TEMPLATE("packed products have the bits of unpacked ones, in any columns and any rows", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const std::int64_t m : {1, 47, 48, 49, 150}) {
      for (const std::int64_t k : {0, 1, 5, 63, 255, 257, 600}) {
        constexpr std::int64_t n_most = 33;
        const std::int64_t a_stride = k + 2, b_stride = k + 1, c_stride = m + 3;
        const auto a = numbers<T>(n_most * a_stride, 91), b = numbers<T>(m * b_stride, 92);
        castile::AlignedVector<T> packed(static_cast<std::size_t>(kernels.gemm_packed_size(m, k)));
        kernels.gemm_pack_right(m, k, b.data(), b_stride, packed.data());
        castile::AlignedVector<T> workspace(static_cast<std::size_t>(kernels.gemm_nt_workspace(n_most, m)));
        std::vector<T> expected(static_cast<std::size_t>(n_most * c_stride), T(99));
        kernels.gemm_nt(n_most, m, k, a.data(), a_stride, nullptr, b.data(), b_stride, nullptr, expected.data(),
                        c_stride, workspace.data());
        std::vector<long double> exact(expected.size(), 99.0L);
        for (std::int64_t i = 0; i < n_most; ++i) {
          for (std::int64_t j = 0; j < m; ++j) {
            long double sum = 0.0L;
            for (std::int64_t q = 0; q < k; ++q) {
              sum += static_cast<long double>(a[static_cast<std::size_t>(i * a_stride + q)]) *
                     static_cast<long double>(b[static_cast<std::size_t>(j * b_stride + q)]);
            }
            exact[static_cast<std::size_t>(i * c_stride + j)] = sum;
          }
        }
        CHECK(relative_difference(expected, exact) < 10 * epsilon<T>);
        for (std::int64_t first = 0; first < m; first += castile::simd::gemm_column_step) {
          for (const std::int64_t last : {first + 1, first + 30, first + 48, first + 97, m}) {
            if (last > m) continue;
            for (const std::int64_t n : {1, 2, 7, 32, 33}) {
              castile::AlignedVector<T> own(static_cast<std::size_t>(kernels.gemm_nt_workspace(n, 0)));
              std::vector<T> c(expected.size(), T(99));
              kernels.gemm_packed(n, m, k, a.data(), a_stride, packed.data(), first, last, c.data(), c_stride,
                                  own.data());
              bool equal = true;
              for (std::int64_t i = 0; i < n_most; ++i) {
                for (std::int64_t j = 0; j < c_stride; ++j) {
                  const bool written = i < n && j < last - first;
                  const T value = written ? expected[static_cast<std::size_t>(i * c_stride + first + j)] : T(99);
                  equal = equal && c[static_cast<std::size_t>(i * c_stride + j)] == value;
                }
              }
              CHECK(equal);
            }
          }
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("integer powers are repeated products, alike at all instruction sets", T, double, float) {
  constexpr std::int64_t n = 37;
  const auto x = numbers<T>(n, 93);
  for (std::int64_t exponent = 0; exponent <= 17; ++exponent) {
    std::vector<T> first_level;
    for_each_level<T>([&](const Kernels<T>& kernels) {
      std::vector<T> power(n + 1, T(99));
      kernels.integer_power(n, exponent, x.data(), power.data());
      CHECK(power.back() == T(99));
      for (std::size_t k = 0; k < static_cast<std::size_t>(n); ++k) {
        const long double expected = std::pow(static_cast<long double>(x[k]), static_cast<long double>(exponent));
        CHECK(std::abs(static_cast<long double>(power[k]) - expected) <=
              static_cast<long double>(2 * epsilon<T> * static_cast<double>(exponent)) * std::abs(expected));
      }
      if (first_level.empty()) first_level = power;
      CHECK(power == first_level);
      auto in_place = x;
      kernels.integer_power(n, exponent, in_place.data(), in_place.data());
      CHECK(std::equal(in_place.begin(), in_place.end(), power.begin()));
    });
  }
}

TEST_CASE_TEMPLATE("weighted powers are summed, and their slopes written", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const std::int64_t n : {0, 1, 3, 8, 16, 33, 100}) {
      const auto weights = numbers<T>(n, 94), x = numbers<T>(n, 95), power = numbers<T>(n, 96);
      const T factor = T(2.5);
      std::vector<T> slopes(static_cast<std::size_t>(n) + 1, T(99));
      std::vector<long double> expected_slopes;
      long double expected = 0.0L, scale = 0.0L;
      for (std::size_t k = 0; k < static_cast<std::size_t>(n); ++k) {
        const long double product = static_cast<long double>(weights[k]) * static_cast<long double>(power[k]);
        expected += product * static_cast<long double>(x[k]);
        scale += std::abs(product * static_cast<long double>(x[k]));
        expected_slopes.push_back(static_cast<long double>(factor) * product);
      }
      const T sum = kernels.weighted_powers(n, factor, weights.data(), x.data(), power.data(), slopes.data());
      CHECK(std::abs(static_cast<long double>(sum) - expected) <= 20 * static_cast<long double>(epsilon<T>) * scale);
      CHECK(slopes.back() == T(99));
      slopes.pop_back();
      CHECK(relative_difference(slopes, expected_slopes) < 4 * epsilon<T>);
    }
  });
}

TEST_CASE_TEMPLATE("products of a few long rows are those of each pair", T, double, float) {
  for_each_level<T>([](const Kernels<T>& kernels) {
    for (const std::int64_t length : {0, 1, 7, 16, 33, 100}) {
      for (const std::int64_t n_left : {1, 3, 4, 6, 8}) {
        for (const std::int64_t n_right : {1, 2, 5}) {
          const auto left = numbers<T>(n_left * length, 103), right = numbers<T>(n_right * length, 104);
          std::vector<T> out(static_cast<std::size_t>(n_left * n_right) + 1, T(99));
          kernels.dot_rows(n_left, n_right, length, left.data(), right.data(), out.data());
          CHECK(out.back() == T(99));
          for (std::int64_t i = 0; i < n_left; ++i) {
            for (std::int64_t j = 0; j < n_right; ++j) {
              long double expected = 0.0L, scale = 0.0L;
              for (std::int64_t k = 0; k < length; ++k) {
                const long double product = static_cast<long double>(left[static_cast<std::size_t>(i * length + k)]) *
                                            static_cast<long double>(right[static_cast<std::size_t>(j * length + k)]);
                expected += product;
                scale += std::abs(product);
              }
              const T found = out[static_cast<std::size_t>(i * n_right + j)];
              CHECK(std::abs(static_cast<long double>(found) - expected) <=
                    20 * static_cast<long double>(epsilon<T>) * scale);
              // Alone and among others: the same bits.
              T alone{};
              kernels.dot_rows(1, 1, length, left.data() + i * length, right.data() + j * length, &alone);
              CHECK(alone == found);
            }
          }
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("derivatives of columns go to the rows of both atoms and of the strain", T, double, float) {
  constexpr std::int64_t n = 2 * castile::simd::gemm_column_step, row_stride = n + 5, product_stride = n + 2;
  constexpr std::int64_t n_pairs = 5, n_rows = 7 + 3 * 4;
  const auto products = numbers<T>(3 * n_pairs * product_stride, 97), along = numbers<T>(3 * n_pairs, 98);
  const auto scale = numbers<T>(n, 99), slope = numbers<T>(n, 100), before = numbers<T>(n_rows * row_stride, 101);
  const auto D = numbers<double>(3 * n_pairs, 102);
  const std::vector<std::int64_t> row_of = {10, 7, 16, 10, 13};  // one atom twice, and an image of the center
  constexpr std::int64_t own_row = 13;
  for (const std::int64_t strain_row : {std::int64_t{1}, std::int64_t{-1}}) {
    std::vector<long double> expected(before.begin(), before.end());
    const auto add = [&](std::int64_t row, std::int64_t k, long double value) {
      expected[static_cast<std::size_t>(row * row_stride + k)] += value;
    };
    for (std::int64_t k = 0; k < n; ++k) {
      for (std::int64_t pair = 0; pair < n_pairs; ++pair) {
        std::array<long double, 3> g{}, d{};
        for (std::int64_t axis = 0; axis < 3; ++axis) {
          const auto a = static_cast<std::size_t>(axis), r = static_cast<std::size_t>(3 * pair + axis);
          g[a] = static_cast<long double>(
                     products[r * static_cast<std::size_t>(product_stride) + static_cast<std::size_t>(k)]) *
                     static_cast<long double>(scale[static_cast<std::size_t>(k)]) +
                 static_cast<long double>(along[r]) * static_cast<long double>(slope[static_cast<std::size_t>(k)]);
          d[a] = static_cast<long double>(D[r]);
          add(row_of[static_cast<std::size_t>(pair)] + axis, k, g[a]);
          add(own_row + axis, k, -g[a]);
        }
        if (strain_row < 0) continue;
        for (std::int64_t a = 0; a < 3; ++a) {
          const auto b = static_cast<std::size_t>((a + 1) % 3), c = static_cast<std::size_t>((a + 2) % 3);
          add(strain_row + a, k, d[static_cast<std::size_t>(a)] * g[static_cast<std::size_t>(a)]);
          add(strain_row + 3 + a, k, 0.5L * (d[b] * g[c] + d[c] * g[b]));
        }
      }
    }
    for_each_level<T>([&](const Kernels<T>& kernels) {
      auto rows = before;
      castile::simd::PairColumns<T> in{};
      in.n_pairs = n_pairs;
      in.products = products.data();
      in.product_stride = product_stride;
      in.along = along.data();
      in.scale = scale.data();
      in.slope = slope.data();
      in.D = D.data();
      in.row_of = row_of.data();
      in.rows = rows.data();
      in.row_stride = row_stride;
      in.own_row = own_row;
      in.strain_row = strain_row;
      kernels.add_pair_columns(n, in);
      CHECK(relative_difference(rows, expected) < 4 * epsilon<T>);
      for (std::int64_t row = 0; row < n_rows; ++row) {
        const bool untouched = row == 0 || (row < 7 && strain_row < 0);
        for (std::int64_t k = untouched ? 0 : n; k < row_stride; ++k) {
          const auto at = static_cast<std::size_t>(row * row_stride + k);
          CHECK(rows[at] == before[at]);
        }
      }
    });
  }
}

TEST_CASE("pairs are written with the same bits as one by one, and nothing behind them") {
  using castile::simd::PairImage;
  castile::AlignedVector<PairImage> images(20);
  const auto values = numbers<double>(6 * 20, 81);
  for (std::size_t k = 0; k < images.size(); ++k) {
    PairImage& image = images[k];
    image.id = static_cast<std::int32_t>(7 * k % 11);
    for (std::size_t m = 0; m < 3; ++m) {
      image.position[m] = values[6 * k + m];
      image.translation[m] = values[6 * k + 3 + m];
      image.shift[m] = static_cast<std::int32_t>(k % (m + 2)) - 1;
    }
  }
  const double center[3] = {0.3, -0.2, 0.7};
  const double cell[9] = {3.1, 0.2, -0.1, 0.4, 2.9, 0.3, -0.5, 0.1, 3.3};
  const std::vector<std::uint32_t> slots = {3, 19, 0, 7, 7, 12, 5, 1, 18};
  struct Written {
    std::vector<std::int64_t> j = std::vector<std::int64_t>(13, -7);
    std::vector<std::int32_t> S = std::vector<std::int32_t>(39, -7);
    std::vector<double> D = std::vector<double>(39, -7.0);
    std::vector<double> d = std::vector<double>(13, -7.0);
  };
  for (const auto& wrap : {std::array<std::int32_t, 3>{0, 0, 0}, std::array<std::int32_t, 3>{1, 0, -2}}) {
    for (std::int64_t n = 0; n <= 9; ++n) {
      for (int wanted = 0; wanted < 16; ++wanted) {
        const auto write = [&](auto kernel) {
          Written to;
          kernel({images.data(), slots.data(), n, center, wrap.data(), cell, 100, wanted & 1 ? to.j.data() : nullptr,
                  wanted & 2 ? to.S.data() : nullptr, wanted & 4 ? to.D.data() : nullptr,
                  wanted & 8 ? to.d.data() : nullptr});
          return to;
        };
        const Written found = write(castile::simd::geometry_kernels().write_pairs);
        const Written expected = write(castile::simd::write_pairs_one_by_one);
        CHECK(found.j == expected.j);
        CHECK(found.S == expected.S);
        CHECK(found.D == expected.D);
        CHECK(found.d == expected.d);
        CHECK(std::count(found.d.begin(), found.d.end(), -7.0) == 13 - (wanted & 8 ? n : 0));
      }
    }
  }
}
