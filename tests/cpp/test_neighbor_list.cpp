#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "castile/errors.hpp"
#include "castile/geometry/neighbor_list.hpp"
#include "castile/memory.hpp"
#include "neighbor_support.hpp"
#include "support.hpp"

using namespace castile::test;

namespace {

/// Structures behind each other, owning their arrays.
struct Frames {
  std::vector<double> positions, cells;
  std::vector<std::int32_t> species;
  std::vector<std::array<bool, 3>> pbc;
  std::vector<std::int64_t> offsets{0};

  explicit Frames(const std::vector<Atoms>& frames) {
    for (const Atoms& atoms : frames) {
      positions.insert(positions.end(), atoms.positions.begin(), atoms.positions.end());
      species.insert(species.end(), atoms.species.begin(), atoms.species.end());
      cells.insert(cells.end(), atoms.cell.begin(), atoms.cell.end());
      pbc.push_back(atoms.pbc);
      offsets.push_back(static_cast<std::int64_t>(species.size()));
    }
  }

  castile::Structures view() const {
    castile::Structures structures;
    structures.n_frames = static_cast<std::int64_t>(offsets.size()) - 1;
    structures.positions = positions.data();
    structures.species = species.data();
    structures.cells = cells.data();
    structures.pbc = pbc.empty() ? nullptr : pbc.front().data();
    structures.atom_offsets = offsets.data();
    return structures;
  }
};

/// A list with all its arrays.
struct WrittenList {
  std::vector<std::int64_t> offsets, i, j;
  std::vector<Shift> S;
  std::vector<Vector> D;
  std::vector<double> d;

  WrittenList(const Frames& frames, const castile::PairCutoff& cutoff) {
    const castile::NeighborList list(frames.view(), cutoff, {});
    const auto n_pairs = static_cast<std::size_t>(list.n_pairs());
    offsets = list.offsets();
    i.resize(n_pairs);
    j.resize(n_pairs);
    S.resize(n_pairs);
    D.resize(n_pairs);
    d.resize(n_pairs);
    list.write({i.data(), j.data(), S.empty() ? nullptr : S[0].data(), D.empty() ? nullptr : D[0].data(), d.data()});
    list.write({});
  }
};

using Key = std::tuple<std::int64_t, std::int64_t, Shift>;

std::vector<Key> found_pairs(const Atoms& atoms, double cutoff) {
  const WrittenList list(Frames({atoms}), uniform_cutoff(cutoff));
  std::vector<Key> keys;
  for (std::size_t p = 0; p < list.i.size(); ++p) keys.emplace_back(list.i[p], list.j[p], list.S[p]);
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<Key> reference_pairs(const Atoms& atoms, double cutoff) {
  std::vector<Key> keys;
  for (std::int64_t i = 0; i < atoms.size(); ++i) {
    for (const Neighbor& pair : reference_neighbors(atoms.view(), i, cutoff)) keys.emplace_back(i, pair.j, pair.S);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace

TEST_CASE("a list has the cell shifts that trying all images finds") {
  for (int mask = 0; mask < 8; ++mask) {
    for (const std::size_t n_atoms : {1u, 3u, 24u}) {
      const Atoms atoms = random_atoms(n_atoms, triclinic, periodic_axes(mask), 7);
      CHECK(found_pairs(atoms, 4.1) == reference_pairs(atoms, 4.1));
    }
  }
}

TEST_CASE("every pair is listed from both ends with D exactly negated") {
  const Frames frames({random_atoms(20, triclinic, {true, true, true}, 11)});
  const WrittenList list(frames, uniform_cutoff(5.0));
  const auto n_pairs = list.i.size();
  CHECK(n_pairs > 1000);
  std::size_t n_twins = 0;
  for (std::size_t p = 0; p < n_pairs; ++p) {
    const auto [s0, s1, s2] = list.S[p];
    const auto [x, y, z] = list.D[p];
    const auto j = static_cast<std::size_t>(list.j[p]);
    for (auto q = static_cast<std::size_t>(list.offsets[j]); q < static_cast<std::size_t>(list.offsets[j + 1]); ++q) {
      if (list.j[q] != list.i[p] || list.S[q] != Shift{-s0, -s1, -s2}) continue;
      n_twins += list.D[q] == Vector{-x, -y, -z} && list.d[q] == list.d[p] ? 1 : 0;
    }
  }
  CHECK(n_twins == n_pairs);
}

TEST_CASE("a list holds the pairs of the search, the same bits on any number of threads") {
  std::vector<Atoms> frames;
  frames.push_back(random_atoms(9, triclinic, {true, true, true}, 1));
  frames.push_back(Atoms{});
  frames.push_back(random_atoms(300, {16.0, 0, 0, 3.0, 15.0, 0, 1.0, 2.0, 14.0}, {true, false, true}, 2));
  const Frames batch(frames);
  castile::PairCutoff asymmetric = uniform_cutoff(3.5);
  asymmetric.n_species = 2;
  asymmetric.of_neighbor_species = {3.5, 2.5};
  for (const auto& cutoff : {uniform_cutoff(3.5), asymmetric}) {
    castile::PairBuffer pairs;
    std::vector<std::int64_t> offsets{0};
    for (const Atoms& atoms : frames) {
      const castile::NeighborSearch search(atoms.view(), cutoff);
      for (std::int64_t center = 0; center < atoms.size(); ++center) {
        search.append_neighbors(center, pairs);
        offsets.push_back(pairs.size());
      }
    }
    for (const int n_threads : {1, 2, 4}) {
      const Threads threads(n_threads);
      const WrittenList list(batch, cutoff);
      CHECK(list.offsets == offsets);
      CHECK(std::equal(list.D.begin(), list.D.end(), pairs.D.begin(), pairs.D.end()));
      CHECK(std::equal(list.d.begin(), list.d.end(), pairs.d.begin(), pairs.d.end()));
    }
  }
}

TEST_CASE("a half list and the atoms themselves are counted once") {
  const Frames frames({random_atoms(10, triclinic, {true, true, true}, 4)});
  const auto count = [&](bool half, bool self_interaction) {
    castile::NeighborListOptions options;
    options.half = half;
    options.self_interaction = self_interaction;
    return castile::NeighborList(frames.view(), uniform_cutoff(5.0), options).n_pairs();
  };
  CHECK(count(false, false) == 2 * count(true, false));
  CHECK(count(false, true) == count(false, false) + 10);
  CHECK(count(true, true) == count(true, false) + 10);
}

TEST_CASE("a half list refuses cutoffs that differ between the ends of a pair") {
  const Frames frames({random_atoms(10, triclinic, {true, true, true}, 4)});
  castile::PairCutoff cutoff = uniform_cutoff(3.0);
  cutoff.n_species = 2;
  cutoff.of_neighbor_species = {3.0, 2.0};
  castile::NeighborListOptions options;
  options.half = true;
  CHECK_THROWS_WITH_AS(castile::NeighborList(frames.view(), cutoff, options),
                       doctest::Contains("a half list needs cutoffs that are the same from both ends"),
                       std::invalid_argument);
}

TEST_CASE("no structures and structures without atoms have no pairs") {
  CHECK(castile::NeighborList(Frames({}).view(), uniform_cutoff(3.0), {}).n_pairs() == 0);
  const castile::NeighborList list(Frames({Atoms{}, Atoms{}}).view(), uniform_cutoff(3.0), {});
  CHECK(list.offsets() == std::vector<std::int64_t>{0});
}

TEST_CASE("lists beyond the memory are refused with their size") {
  const Frames frames({random_atoms(4, triclinic, {true, true, true}, 4)});
  CHECK_THROWS_WITH_AS(castile::NeighborList(frames.view(), uniform_cutoff(1e5), {}),
                       doctest::Contains("the neighbor list would hold about"), castile::MemoryLimitExceeded);
  castile::NeighborListOptions options;
  options.bytes_per_pair = 1e9;  // found while searching: free structures are not estimated
  const Frames cluster({random_atoms(1500, {5, 0, 0, 0, 5, 0, 0, 0, 5}, {}, 4)});
  CHECK_THROWS_WITH_AS(castile::NeighborList(cluster.view(), uniform_cutoff(20.0), options),
                       doctest::Contains("would hold more than"), castile::MemoryLimitExceeded);
  CHECK(castile::available_memory() > 0.0);
  castile::require_memory(1e6, "little", "nothing");
}
