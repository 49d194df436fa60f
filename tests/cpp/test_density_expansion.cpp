#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "castile/descriptors/density_expansion.hpp"
#include "support.hpp"

namespace {

using castile::Coefficients;
using castile::DensityExpansion;
using castile::DensityExpansionParameters;
using castile::Environment;
using castile::ExpansionScratch;
using castile::PairBuffer;
using castile::test::random_numbers;

DensityExpansionParameters parameters(int n_max, int l_max) {
  DensityExpansionParameters p;
  p.tables[0].basis = {"gto", 4.0, 0.5, n_max, l_max};
  p.tables[0].weight.reach = 4.0;
  p.tables[0].accuracy = 1e-10;
  return p;
}

/// Neighbors inside a sphere; neighbor k is atom k, of species k % n_species.
struct Neighborhood {
  PairBuffer pairs;
  std::vector<std::int32_t> species;
  std::int32_t n_species;
  std::int32_t own_species;

  Neighborhood(std::size_t n, std::int32_t n_species_, unsigned seed) : n_species(n_species_), own_species(0) {
    const auto units = castile::test::random_directions(n, seed);
    const auto distances = random_numbers(n, seed + 1, 0.7, 3.99);
    for (std::size_t k = 0; k < n; ++k) {
      add({units[k][0] * distances[k], units[k][1] * distances[k], units[k][2] * distances[k]},
          static_cast<std::int32_t>(k) % n_species);
    }
  }

  void add(const std::array<double, 3>& D, std::int32_t s) {
    pairs.j.push_back(static_cast<std::int32_t>(species.size()));
    species.push_back(s);
    pairs.D.push_back(D);
    pairs.d.push_back(std::sqrt(D[0] * D[0] + D[1] * D[1] + D[2] * D[2]));
  }

  Neighborhood moved(const std::vector<double>& dD, double step) const {
    Neighborhood result = *this;
    for (std::size_t k = 0; k < pairs.D.size(); ++k) {
      auto& D = result.pairs.D[k];
      for (std::size_t a = 0; a < 3; ++a) D[a] += step * dD[3 * k + a];
      result.pairs.d[k] = std::sqrt(D[0] * D[0] + D[1] * D[1] + D[2] * D[2]);
    }
    return result;
  }
};

/// Everything that the expansion gives for one neighborhood.
template <typename T>
struct Expanded {
  const DensityExpansion<T>& expansion;
  Environment<T> environment;
  ExpansionScratch<T> scratch;
  Coefficients<T> c;

  Expanded(const DensityExpansion<T>& expansion_, const Neighborhood& atoms) : expansion(expansion_) {
    expansion.make_environment(atoms.pairs, 0, atoms.pairs.size(), atoms.species.data(), atoms.own_species, environment,
                               scratch);
    expansion.expand(environment, c, scratch);
  }

  std::vector<T> jvp(const std::vector<double>& dD) {
    Coefficients<T> c_dot;
    expansion.expand_jvp(environment, dD.data(), c_dot, scratch);
    return c_dot.values;
  }

  std::vector<double> vjp(const std::vector<T>& grad_c, std::size_t n_pairs) {
    std::vector<double> grad_D(3 * n_pairs, std::nan(""));
    expansion.expand_vjp(environment, grad_c, grad_D.data(), scratch);
    return grad_D;
  }

  T coefficient(std::int32_t species, int lm, int n) const {
    const auto channel = std::find(c.channels.begin(), c.channels.end(), species) - c.channels.begin();
    return c.channel(static_cast<int>(channel))[lm * c.stride() + n];
  }
};

/// Σ_j R_nl(r_j) f_c(r_j) Y_lm(u_j) in extended precision, with the layout of the coefficients.
template <typename T>
std::vector<long double> direct_sum(const DensityExpansion<T>& expansion, const Neighborhood& atoms,
                                    const Coefficients<T>& layout) {
  std::vector<long double> sum(layout.values.size(), 0.0L);
  const auto n_max = static_cast<std::size_t>(layout.n_max);
  std::vector<double> R(n_max * static_cast<std::size_t>(layout.l_max + 1));
  std::vector<double> slopes(R.size());
  const auto add = [&](std::int32_t s, const std::vector<long double>& Y, int highest, double weight) {
    const auto channel = std::find(layout.channels.begin(), layout.channels.end(), s) - layout.channels.begin();
    for (int l = 0; l <= highest; ++l) {
      for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
        for (std::size_t n = 0; n < n_max; ++n) {
          sum[static_cast<std::size_t>(lm * layout.stride() + channel * layout.n_padded) + n] +=
              weight * R[static_cast<std::size_t>(l) * n_max + n] * Y[static_cast<std::size_t>(lm)];
        }
      }
    }
  };
  for (std::size_t k = 0; k < atoms.pairs.D.size(); ++k) {
    const auto& D = atoms.pairs.D[k];
    expansion.radial(0).evaluate(atoms.pairs.d[k], R.data(), slopes.data());
    add(atoms.species[k], castile::test::reference_harmonics<long double>(layout.l_max, D[0], D[1], D[2]), layout.l_max,
        1.0);
  }
  const double center_weight = expansion.parameters().center_weight;
  if (center_weight != 0.0) {
    expansion.radial(0).evaluate(0.0, R.data(), slopes.data());
    add(atoms.own_species, castile::test::reference_harmonics<long double>(0, 0, 0, 1), 0, center_weight);
  }
  return sum;
}

}  // namespace

TEST_CASE("coefficients are the sum over neighbors, for every number of functions, degrees and neighbors") {
  for (const auto& size : {std::pair{1, 0}, {3, 1}, {4, 2}, {5, 6}, {8, 6}, {12, 9}, {7, 13}, {2, 20}}) {
    const int n_max = size.first;
    const int l_max = size.second;
    CAPTURE(n_max);
    CAPTURE(l_max);
    const DensityExpansion<double> expansion(parameters(n_max, l_max), 5);
    for (const std::size_t n_neighbors : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{63},
                                          std::size_t{64}, std::size_t{65}, std::size_t{150}}) {
      CAPTURE(n_neighbors);
      const Neighborhood atoms(n_neighbors, 1, 3);
      const Expanded<double> result(expansion, atoms);
      CHECK(castile::test::relative_difference(result.c.values, direct_sum(expansion, atoms, result.c)) < 1e-13);
    }
  }
}

TEST_CASE("each species has its channel, and the center adds to its own") {
  const Neighborhood atoms(40, 3, 5);
  for (const double center_weight : {1.0, 0.0, 0.3}) {
    DensityExpansionParameters p = parameters(6, 4);
    p.center_weight = center_weight;
    const DensityExpansion<double> expansion(p, 5);
    const Expanded<double> result(expansion, atoms);
    CHECK(result.c.channels == std::vector<std::int32_t>{0, 1, 2});
    CHECK(castile::test::relative_difference(result.c.values, direct_sum(expansion, atoms, result.c)) < 1e-13);
  }
}

TEST_CASE("only species that are present have channels") {
  Neighborhood atoms(0, 5, 1);
  atoms.add({1.0, 0.5, 0.2}, 3);
  atoms.add({-1.0, 0.5, 0.7}, 1);
  atoms.own_species = 4;
  const DensityExpansion<double> expansion(parameters(4, 2), 5);
  CHECK(Expanded<double>(expansion, atoms).c.channels == std::vector<std::int32_t>{1, 3, 4});
  atoms.own_species = -1;  // a point in space has no Gaussian of its own
  CHECK(Expanded<double>(expansion, atoms).c.channels == std::vector<std::int32_t>{1, 3});
  DensityExpansionParameters p = parameters(4, 2);
  p.center_weight = 0.0;
  const DensityExpansion<double> without_center(p, 5);
  CHECK(Expanded<double>(without_center, Neighborhood(0, 2, 1)).c.channels.empty());
}

TEST_CASE("float coefficients keep float precision") {
  const Neighborhood atoms(70, 2, 8);
  for (const auto& size : {std::pair{8, 6}, {3, 2}, {12, 9}, {4, 12}}) {
    const int n_max = size.first;
    const int l_max = size.second;
    const DensityExpansion<float> expansion(parameters(n_max, l_max), 5);
    const Expanded<float> result(expansion, atoms);
    CHECK(castile::test::relative_difference(result.c.values, direct_sum(expansion, atoms, result.c)) <
          50 * static_cast<double>(std::numeric_limits<float>::epsilon()));
  }
}

TEST_CASE("the jvp is the derivative along the pair vectors") {
  const Neighborhood atoms(30, 2, 11);
  const std::vector<double> dD = random_numbers(90, 12);
  const double h = 1e-4;
  for (const double accuracy : {1e-10, 1e-4}) {  // of the same table, be it good or bad
    DensityExpansionParameters p = parameters(5, 5);
    p.tables[0].accuracy = accuracy;
    const DensityExpansion<double> expansion(p, 5);
    Expanded<double> result(expansion, atoms);
    std::vector<double> numeric(result.c.values.size());
    for (const auto& [step, weight] : {std::pair{h, 8.0}, {-h, -8.0}, {2 * h, -1.0}, {-2 * h, 1.0}}) {
      const Expanded<double> moved(expansion, atoms.moved(dD, step));
      for (std::size_t k = 0; k < numeric.size(); ++k) numeric[k] += weight * moved.c.values[k] / (12 * h);
    }
    CHECK(castile::test::relative_difference(result.jvp(dD), numeric) < 1e-8);
  }
}

TEST_CASE_TEMPLATE("the vjp is the transpose of the jvp", T, double, float) {
  const double bound = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for (const auto& size : {std::pair{1, 0}, {4, 1}, {6, 3}, {8, 6}, {12, 9}, {3, 13}}) {
    const int n_max = size.first;
    const int l_max = size.second;
    for (const std::size_t n_neighbors : {std::size_t{1}, std::size_t{9}, std::size_t{17}, std::size_t{140}}) {
      CAPTURE(n_max);
      CAPTURE(n_neighbors);
      const DensityExpansion<T> expansion(parameters(n_max, l_max), 5);
      Expanded<T> result(expansion, Neighborhood(n_neighbors, 2, 21));
      const auto dD = random_numbers(3 * n_neighbors, 22);
      const auto c_dot = result.jvp(dD);
      std::vector<T> grad_c;
      for (const double g : random_numbers(c_dot.size(), 23)) grad_c.push_back(static_cast<T>(g));
      const auto grad_D = result.vjp(grad_c, n_neighbors);
      const double scale = std::sqrt(castile::test::dot(grad_c, grad_c) * castile::test::dot(c_dot, c_dot));
      CHECK(std::abs(castile::test::dot(grad_c, c_dot) - castile::test::dot(grad_D, dD)) < bound * scale);
    }
  }
}

TEST_CASE("the terms of a pair give its part of the jvp") {
  Neighborhood atoms(20, 2, 31);
  atoms.add({0.0, 0.0, 0.0}, 1);
  const DensityExpansion<double> expansion(parameters(5, 4), 5);
  Expanded<double> result(expansion, atoms);
  const auto dD = random_numbers(63, 32);
  std::vector<double> sum(result.c.values.size(), 0.0);
  for (int channel = 0; channel < result.c.n_channels(); ++channel) {
    expansion.for_each_pair(
        result.environment, channel, result.scratch, [&](std::int64_t pair, const castile::PairTerms<double>& t) {
          for (int l = 0; l <= 4; ++l) {
            for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
              for (int n = 0; n < 5; ++n) {
                for (std::size_t a = 0; a < 3; ++a) {
                  const auto row = static_cast<std::size_t>(l * result.c.n_padded + n);
                  const double slope =
                      t.dR[row] * t.u[a] * t.h[lm] + t.R[row] * t.h[25 * (static_cast<int>(a) + 1) + lm];
                  sum[static_cast<std::size_t>(lm * result.c.stride() + channel * result.c.n_padded + n)] +=
                      slope * dD[3 * static_cast<std::size_t>(pair) + a];
                }
              }
            }
          }
        });
  }
  CHECK(castile::test::relative_difference(sum, result.jvp(dD)) < 1e-13);
}

TEST_CASE("an atom on top of the center adds to l = 0 alone, and its gradient to l = 1 alone") {
  const DensityExpansion<double> expansion(parameters(4, 3), 5);
  for (const double distance : {0.0, 1e-12}) {
    Neighborhood atoms(0, 2, 1);
    atoms.add({0.0, distance, 0.0}, 1);
    Expanded<double> result(expansion, atoms);
    for (int lm = 0; lm < 16; ++lm) {
      for (int n = 0; n < 4; ++n) {
        // Like the center itself, whose weight is one.
        CHECK(result.coefficient(1, lm, n) == (lm == 0 ? result.coefficient(0, 0, n) : 0.0));
      }
    }
    const double h = 1e-5;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      std::vector<double> dD(3, 0.0);
      dD[axis] = 1.0;
      const auto slopes = result.jvp(dD);
      Neighborhood ahead = atoms.moved(dD, h);
      Neighborhood behind = atoms.moved(dD, -h);
      const Expanded<double> after(expansion, ahead);
      const Expanded<double> before(expansion, behind);
      std::vector<double> numeric;
      for (std::size_t k = 0; k < slopes.size(); ++k) {
        numeric.push_back((after.c.values[k] - before.c.values[k]) / (2 * h));
      }
      CHECK(castile::test::relative_difference(slopes, numeric) < 1e-7);
      CHECK(castile::test::largest(slopes) > 0.1);
      const std::array<int, 3> lm_of_axis = {3, 1, 2};
      const auto stride = static_cast<std::size_t>(result.c.stride());
      for (std::size_t k = 0; k < slopes.size(); ++k) {
        if (static_cast<int>(k / stride) != lm_of_axis[axis]) CHECK(std::abs(slopes[k]) < 1e-15);
      }
      const auto grad_D = result.vjp(slopes, 1);
      CHECK(grad_D[axis] == doctest::Approx(castile::test::dot(slopes, slopes)).epsilon(1e-13));
    }
  }
}

TEST_CASE("results do not depend on what a thread's buffers were used for before") {
  const DensityExpansion<double> expansion(parameters(8, 6), 5);
  const Neighborhood small(5, 2, 41);
  Expanded<double> fresh(expansion, small);
  Expanded<double> used(expansion, Neighborhood(200, 3, 42));
  used.vjp(used.c.values, 200);
  used.jvp(random_numbers(600, 43));
  expansion.make_environment(small.pairs, 0, small.pairs.size(), small.species.data(), 0, used.environment,
                             used.scratch);
  expansion.expand(used.environment, used.c, used.scratch);
  CHECK(used.c.values == fresh.c.values);
  const auto dD = random_numbers(15, 44);
  CHECK(used.jvp(dD) == fresh.jvp(dD));
  CHECK(used.vjp(fresh.c.values, 5) == fresh.vjp(fresh.c.values, 5));
}
