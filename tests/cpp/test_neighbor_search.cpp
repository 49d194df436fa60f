#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "castile/errors.hpp"
#include "castile/geometry/neighbor_search.hpp"
#include "neighbor_support.hpp"

using namespace castile::test;
using castile::NeighborSearch;
using castile::PairBuffer;
using castile::PairCutoff;

TEST_CASE("appending keeps what the buffer holds") {
  const Atoms atoms = random_atoms(5, triclinic, {true, true, true}, 2);
  const NeighborSearch search(atoms.view(), uniform_cutoff(4.0));
  PairBuffer once, twice;
  search.append_neighbors(1, once);
  search.append_neighbors(1, twice);
  search.append_neighbors(1, twice);
  CHECK(twice.size() == 2 * once.size());
  CHECK(std::equal(once.d.begin(), once.d.end(), twice.d.begin()));
  CHECK(std::equal(once.d.begin(), once.d.end(), twice.d.begin() + once.size()));
}

TEST_CASE("cutoffs may depend on the pair or on the neighbor") {
  const Atoms atoms = random_atoms(12, triclinic, {true, true, false}, 5);
  const auto structure = atoms.view();
  std::vector<double> points;
  append_places(12, triclinic, -1.0, 2.0, 6, points);
  PairCutoff table = uniform_cutoff(4.0);
  table.n_species = 2;
  table.of_species_pair = {0.0, 3.0, 3.0, 4.0};
  PairCutoff by_neighbor = uniform_cutoff(4.0);
  by_neighbor.n_species = 2;
  by_neighbor.of_neighbor_species = {2.5, 4.0};
  std::vector<double> radii(12);
  for (std::size_t atom = 0; atom < 12; ++atom) radii[atom] = atom % 2 == 0 ? 0.0 : 2.0;
  PairCutoff sums = uniform_cutoff(4.0);
  sums.radii = radii.data();
  // The species of an atom is its index modulo 2.
  const auto closer = [](const Seen& seen, double even, double odd) {
    Seen kept;
    for (const auto& pair : seen) {
      if (std::get<2>(pair) < (std::get<0>(pair) % 2 == 0 ? even : odd)) kept.push_back(pair);
    }
    return kept;
  };
  const NeighborSearch by_table(structure, table), by_sums(structure, sums);
  const NeighborSearch search(structure, by_neighbor, points.data(), 12);
  for (std::int64_t center = 0; center < 12; ++center) {
    const Seen all = sorted(reference_neighbors(structure, center, 4.0));
    const bool even = center % 2 == 0;
    CHECK(seen_by_atom(by_table, center) == (even ? closer(all, 0.0, 3.0) : closer(all, 3.0, 4.0)));
    CHECK(seen_by_atom(by_sums, center) == (even ? closer(all, 0.0, 2.0) : closer(all, 2.0, 4.0)));
    CHECK(seen_by_atom(search, center) == closer(all, 2.5, 4.0));
    const Seen of_point = sorted(reference_neighbors(structure, points.data() + 3 * center, 4.0));
    CHECK(seen_by_point(search, center) == closer(of_point, 2.5, 4.0));
  }
  PairCutoff nothing;
  nothing.n_species = 2;
  nothing.of_neighbor_species = {0.0, 0.0};
  CHECK(seen_by_point(NeighborSearch(structure, nothing, atoms.positions.data(), 12), 3).empty());
  const std::vector<double> none(12, 0.0);
  nothing = {};
  nothing.radii = none.data();
  CHECK(seen_by_atom(NeighborSearch(structure, nothing), 3).empty());
}

TEST_CASE("bad cutoffs are refused") {
  const Atoms atoms = random_atoms(4, triclinic, {true, true, true}, 4);
  const auto refuse = [&](const PairCutoff& cutoff, const char* message, std::int64_t n_points = 0) {
    CHECK_THROWS_WITH_AS(NeighborSearch(atoms.view(), cutoff, atoms.positions.data(), n_points),
                         doctest::Contains(message), std::invalid_argument);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double value : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    refuse(uniform_cutoff(value), "cutoff must be a positive, finite number");
  }
  PairCutoff table = uniform_cutoff(3.0);
  table.n_species = 2;
  table.of_species_pair = {1.0, 2.0, 2.5, 1.0};
  refuse(table, "symmetric");
  table.of_species_pair = {1.0, 2.0, 2.0, 4.0};
  refuse(table, "between 0 and the largest cutoff");
  table.of_species_pair = {1.0, 2.0, 2.0};
  refuse(table, "n_species * n_species entries, got 3");
  table.of_species_pair = {1.0, 2.0, 2.0, 1.0};
  refuse(table, "centers that are points have neither species nor radius", 1);
  table.n_species = 1;
  table.of_species_pair = {1.0};
  refuse(table, "species must lie between 0 and n_species - 1 = 0, got 1 for atom 1");
  PairCutoff by_neighbor = uniform_cutoff(3.0);
  by_neighbor.n_species = 2;
  by_neighbor.of_neighbor_species = {1.0};
  refuse(by_neighbor, "of_neighbor_species must have n_species entries, got 1");
  for (const double value : {-0.1, 3.1, nan}) {
    by_neighbor.of_neighbor_species = {1.0, value};
    refuse(by_neighbor, "of_neighbor_species must lie between 0 and the largest cutoff, got");
  }
  by_neighbor.n_species = 1;
  by_neighbor.of_neighbor_species = {1.0};
  refuse(by_neighbor, "species must lie between 0 and n_species - 1 = 0, got 1 for atom 1");
  const std::vector<double> radii{1.0, 1.0, 1.6, 1.0};
  PairCutoff sums = uniform_cutoff(3.0);
  sums.radii = radii.data();
  refuse(sums, "half the largest cutoff, got 1.600000 for atom 2");
  refuse(sums, "centers that are points have neither species nor radius", 4);
  sums.of_neighbor_species = {1.0};
  refuse(sums, "not by two of them");
  sums.radii = nullptr;
  sums.of_species_pair = {1.0};
  refuse(sums, "not by two of them");
}

TEST_CASE("bad coordinates are refused by name") {
  Atoms atoms = random_atoms(4, triclinic, {true, true, true}, 4);
  std::vector<double> points{0.0, 0.0, 0.0, 1.0, 2.0, 3.0};
  const auto refuse = [&](const char* message) {
    CHECK_THROWS_WITH_AS(NeighborSearch(atoms.view(), uniform_cutoff(3.0), points.data(), 2),
                         doctest::Contains(message), std::invalid_argument);
  };
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    points[4] = value;
    refuse("centers must be finite, got");
    refuse("for point 1");
  }
  points[4] = 1e13;
  refuse("point 1 of centers lies");
  refuse("wrap the centers into the cell");
  points[4] = 2.0;
  atoms.positions[4] = std::numeric_limits<double>::quiet_NaN();
  refuse("positions must be finite, got nan for atom 1");
  atoms.positions[4] = 1e13;
  refuse("cells away from the origin; wrap the positions into the cell");
  atoms.positions[4] = 1.0;
  atoms.cell = {1.0, 0, 0, 1e6 + 0.25, 1.0, 0, 0, 0, 1.0};
  points[4] = 1e5;
  refuse("point 1 of centers needs a cell shift beyond 32 bits; wrap the centers into the cell");
  atoms.pbc = {};
  points[4] = 1e16;
  refuse("leave no digits for a cutoff of 3");
  points[4] = 2.0;
  atoms.positions[4] = 1e16;
  refuse("leave no digits for a cutoff of 3");
}

TEST_CASE("searches beyond the memory are refused with their size") {
  const Atoms atoms = random_atoms(4, triclinic, {true, true, true}, 4);
  CHECK_THROWS_WITH_AS(NeighborSearch(atoms.view(), uniform_cutoff(1e5)), doctest::Contains("periodic images"),
                       castile::MemoryLimitExceeded);
  CHECK_THROWS_WITH_AS(NeighborSearch(atoms.view(), uniform_cutoff(3.0), atoms.positions.data(), 100'000'000'000'000),
                       doctest::Contains("would hold 1e+14 centers"), castile::MemoryLimitExceeded);
}
