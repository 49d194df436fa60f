#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "castile/errors.hpp"
#include "castile/geometry/neighbor_list.hpp"
#include "castile/geometry/neighbor_search.hpp"
#include "castile/memory.hpp"
#include "castile/parallel.hpp"

namespace {

using Shift = std::array<std::int32_t, 3>;
using Key = std::tuple<std::int64_t, std::int64_t, Shift>;

/// A structure that owns its arrays.
struct Atoms {
  std::vector<double> positions;
  std::vector<std::int32_t> species;
  std::array<double, 9> cell{};
  std::array<bool, 3> pbc{};

  castile::Structure view() const {
    castile::Structure structure;
    structure.n_atoms = static_cast<std::int64_t>(positions.size() / 3);
    structure.positions = positions.data();
    structure.species = species.data();
    structure.cell = cell;
    structure.pbc = pbc;
    return structure;
  }
};

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

Atoms random_atoms(std::size_t n_atoms, std::array<double, 9> cell, std::array<bool, 3> pbc, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-0.5, 1.5);
  Atoms atoms;
  atoms.cell = cell;
  atoms.pbc = pbc;
  for (std::size_t atom = 0; atom < n_atoms; ++atom) {
    const double a = uniform(random), b = uniform(random), c = uniform(random);
    for (std::size_t x = 0; x < 3; ++x) {
      atoms.positions.push_back(a * cell[x] + b * cell[3 + x] + c * cell[6 + x]);
    }
    atoms.species.push_back(static_cast<std::int32_t>(atom % 2));
  }
  return atoms;
}

castile::PairCutoff uniform_cutoff(double cutoff) {
  castile::PairCutoff pairs;
  pairs.cutoff = cutoff;
  return pairs;
}

std::vector<Key> found_pairs(const castile::Structure& structure, const castile::PairCutoff& cutoff) {
  const castile::NeighborSearch search(structure, cutoff);
  std::vector<Key> keys;
  castile::PairBuffer pairs;
  pairs.with_shifts = true;
  for (std::int64_t center = 0; center < structure.n_atoms; ++center) {
    pairs.clear();
    search.append_neighbors(center, pairs);
    for (std::size_t p = 0; p < pairs.j.size(); ++p) keys.emplace_back(center, pairs.j[p], pairs.shift[p]);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

/// Every shift from -n to n along the periodic axes; n must be enough for the cutoff.
std::vector<Key> all_pairs(const castile::Structure& structure, double cutoff, std::int32_t n) {
  std::vector<Key> keys;
  const std::int32_t na = structure.pbc[0] ? n : 0;
  const std::int32_t nb = structure.pbc[1] ? n : 0;
  const std::int32_t nc = structure.pbc[2] ? n : 0;
  for (std::int64_t i = 0; i < structure.n_atoms; ++i) {
    for (std::int64_t j = 0; j < structure.n_atoms; ++j) {
      for (std::int32_t a = -na; a <= na; ++a) {
        for (std::int32_t b = -nb; b <= nb; ++b) {
          for (std::int32_t c = -nc; c <= nc; ++c) {
            if (i == j && a == 0 && b == 0 && c == 0) continue;
            double d2 = 0.0;
            for (std::size_t x = 0; x < 3; ++x) {
              const double shift = (a * structure.cell[x] + b * structure.cell[3 + x]) + c * structure.cell[6 + x];
              const double D = (structure.positions[3 * j + static_cast<std::int64_t>(x)] -
                                structure.positions[3 * i + static_cast<std::int64_t>(x)]) +
                               shift;
              d2 += D * D;
            }
            if (std::sqrt(d2) < cutoff) keys.emplace_back(i, j, Shift{a, b, c});
          }
        }
      }
    }
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

const std::array<double, 9> triclinic{4.0, 0.3, 0.0, 1.0, 3.5, -0.2, 0.5, 0.7, 5.0};

}  // namespace

TEST_CASE("a search finds what trying all shifts finds") {
  for (int mask = 0; mask < 8; ++mask) {
    const std::array<bool, 3> pbc{(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0};
    for (const std::size_t n_atoms : {1u, 3u, 24u}) {
      const Atoms atoms = random_atoms(n_atoms, triclinic, pbc, 7);
      const auto structure = atoms.view();
      CHECK(found_pairs(structure, uniform_cutoff(4.1)) == all_pairs(structure, 4.1, 5));
    }
  }
}

TEST_CASE("sparse bins find what trying all shifts finds") {
  Atoms atoms = random_atoms(30, {3.0, 0, 0, 0, 3.0, 0, 0, 0, 3.0}, {}, 3);
  for (std::size_t atom = 0; atom < 15; ++atom) atoms.positions[3 * atom + 1] += 1e5;
  for (std::size_t atom = 5; atom < 10; ++atom) atoms.positions[3 * atom + 2] -= 3e5;
  const auto open = atoms.view();
  CHECK(found_pairs(open, uniform_cutoff(2.5)) == all_pairs(open, 2.5, 0));
  atoms.cell = {2e6, 0, 0, 0, 2e6, 0, 0, 0, 2e6};
  atoms.pbc = {true, true, true};
  const auto periodic = atoms.view();
  CHECK(found_pairs(periodic, uniform_cutoff(2.5)) == all_pairs(periodic, 2.5, 1));
  CHECK(castile::NeighborSearch(periodic, uniform_cutoff(2.5)).n_images() < 30 * 27);
}

TEST_CASE("every pair is found from both ends with D exactly negated") {
  const Atoms atoms = random_atoms(20, triclinic, {true, true, true}, 11);
  const castile::NeighborSearch search(atoms.view(), uniform_cutoff(5.0));
  std::vector<castile::PairBuffer> all(20);
  std::int64_t n_pairs = 0;
  for (std::int64_t i = 0; i < 20; ++i) {
    auto& pairs = all[static_cast<std::size_t>(i)];
    pairs.with_shifts = true;
    search.append_neighbors(i, pairs);
    n_pairs += pairs.size();
  }
  CHECK(n_pairs > 1000);
  std::int64_t n_twins = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t p = 0; p < all[i].j.size(); ++p) {
      const auto& back = all[static_cast<std::size_t>(all[i].j[p])];
      const auto [s0, s1, s2] = all[i].shift[p];
      const auto [x, y, z] = all[i].D[p];
      for (std::size_t q = 0; q < back.j.size(); ++q) {
        if (back.j[q] != static_cast<std::int32_t>(i) || back.shift[q] != Shift{-s0, -s1, -s2}) continue;
        n_twins += back.D[q] == std::array<double, 3>{-x, -y, -z} && back.d[q] == all[i].d[p] ? 1 : 0;
      }
    }
  }
  CHECK(n_twins == n_pairs);
}

TEST_CASE("appending keeps what the buffer holds, and leaves shifts out unless asked") {
  const Atoms atoms = random_atoms(5, triclinic, {true, true, true}, 2);
  const castile::NeighborSearch search(atoms.view(), uniform_cutoff(4.0));
  castile::PairBuffer once, twice;
  search.append_neighbors(1, once);
  search.append_neighbors(1, twice);
  search.append_neighbors(1, twice);
  CHECK(twice.size() == 2 * once.size());
  CHECK(once.shift.empty());
  CHECK(std::equal(once.d.begin(), once.d.end(), twice.d.begin()));
  CHECK(std::equal(once.d.begin(), once.d.end(), twice.d.begin() + once.size()));
}

TEST_CASE("more neighbors than the buffer of hits are all found") {
  const Atoms atoms = random_atoms(1, {1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0}, {true, true, true}, 2);
  CHECK(found_pairs(atoms.view(), uniform_cutoff(9.5)) == all_pairs(atoms.view(), 9.5, 10));
}

TEST_CASE("cutoffs may depend on the pair") {
  const Atoms atoms = random_atoms(12, triclinic, {true, true, false}, 5);
  castile::PairCutoff table = uniform_cutoff(4.0);
  table.n_species = 2;
  table.of_species_pair = {0.0, 3.0, 3.0, 4.0};
  std::vector<double> radii(12);
  for (std::size_t atom = 0; atom < 12; ++atom) radii[atom] = atom % 2 == 0 ? 0.0 : 2.0;
  castile::PairCutoff sums = uniform_cutoff(4.0);
  sums.radii = radii.data();
  const auto reference = [&](double even, double mixed, double odd) {
    std::vector<Key> keys;
    for (const auto& [cutoff, n_odd] : {std::pair(even, 0), std::pair(mixed, 1), std::pair(odd, 2)}) {
      for (const Key& key : all_pairs(atoms.view(), cutoff, 6)) {
        if (std::get<0>(key) % 2 + std::get<1>(key) % 2 == n_odd) keys.push_back(key);
      }
    }
    std::sort(keys.begin(), keys.end());
    return keys;
  };
  CHECK(found_pairs(atoms.view(), table) == reference(0.0, 3.0, 4.0));
  CHECK(found_pairs(atoms.view(), sums) == reference(0.0, 2.0, 4.0));
  const std::vector<double> none(12, 0.0);
  castile::PairCutoff nothing;
  nothing.radii = none.data();
  CHECK(found_pairs(atoms.view(), nothing).empty());
}

TEST_CASE("a list holds the pairs of the search, the same bits on any number of threads") {
  std::vector<Atoms> frames;
  frames.push_back(random_atoms(9, triclinic, {true, true, true}, 1));
  frames.push_back(Atoms{});
  frames.push_back(random_atoms(300, {16.0, 0, 0, 3.0, 15.0, 0, 1.0, 2.0, 14.0}, {true, false, true}, 2));
  const Frames batch(frames);
  std::vector<double> first_D;
  for (const int n_threads : {1, 2, 4}) {
    castile::set_num_threads_of_this_thread(n_threads);
    const castile::NeighborList list(batch.view(), uniform_cutoff(3.5), {});
    const auto n_pairs = static_cast<std::size_t>(list.n_pairs());
    std::vector<std::int64_t> i(n_pairs), j(n_pairs);
    std::vector<std::int32_t> S(3 * n_pairs);
    std::vector<double> D(3 * n_pairs), d(n_pairs);
    list.write({i.data(), j.data(), S.data(), D.data(), d.data()});
    list.write({});
    castile::PairBuffer pairs;
    pairs.with_shifts = true;
    for (std::size_t frame = 0; frame < frames.size(); ++frame) {
      const castile::NeighborSearch search(frames[frame].view(), uniform_cutoff(3.5));
      for (std::size_t c = 0; c < frames[frame].species.size(); ++c) {
        search.append_neighbors(static_cast<std::int64_t>(c), pairs);
        CHECK(list.offsets()[static_cast<std::size_t>(batch.offsets[frame]) + c + 1] == pairs.size());
      }
    }
    REQUIRE(static_cast<std::size_t>(pairs.size()) == n_pairs);
    CHECK(d == pairs.d);
    CHECK(std::memcmp(D.data(), pairs.D.data(), n_pairs * 3 * sizeof(double)) == 0);
    CHECK(std::memcmp(S.data(), pairs.shift.data(), n_pairs * 3 * sizeof(std::int32_t)) == 0);
    if (first_D.empty()) first_D = D;
    CHECK(first_D == D);
  }
  castile::set_num_threads_of_this_thread(0);
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

TEST_CASE("no structures and structures without atoms have no pairs") {
  CHECK(castile::NeighborList(Frames({}).view(), uniform_cutoff(3.0), {}).n_pairs() == 0);
  const castile::NeighborList list(Frames({Atoms{}, Atoms{}}).view(), uniform_cutoff(3.0), {});
  CHECK(list.offsets() == std::vector<std::int64_t>{0});
}

TEST_CASE("bad input is refused") {
  Atoms atoms = random_atoms(4, triclinic, {true, true, true}, 4);
  const auto refuse = [&](const castile::PairCutoff& cutoff, const char* message) {
    CHECK_THROWS_WITH_AS(castile::NeighborSearch(atoms.view(), cutoff), doctest::Contains(message),
                         std::invalid_argument);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double value : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    refuse(uniform_cutoff(value), "cutoff must be a positive, finite number");
  }
  castile::PairCutoff table = uniform_cutoff(3.0);
  table.n_species = 2;
  table.of_species_pair = {1.0, 2.0, 2.5, 1.0};
  refuse(table, "symmetric");
  table.of_species_pair = {1.0, 2.0, 2.0, 4.0};
  refuse(table, "between 0 and the largest cutoff");
  table.of_species_pair = {1.0, 2.0, 2.0};
  refuse(table, "n_species * n_species entries, got 3");
  table.n_species = 1;
  table.of_species_pair = {1.0};
  refuse(table, "species must lie between 0 and n_species - 1 = 0, got 1 for atom 1");
  const std::vector<double> radii{1.0, 1.0, 1.6, 1.0};
  castile::PairCutoff sums = uniform_cutoff(3.0);
  sums.radii = radii.data();
  refuse(sums, "half the largest cutoff, got 1.600000 for atom 2");
  sums.of_species_pair = {1.0};
  refuse(sums, "not both");
  atoms.positions[4] = nan;
  refuse(uniform_cutoff(3.0), "positions must be finite, got nan for atom 1");
  atoms.positions[4] = 1e13;
  refuse(uniform_cutoff(3.0), "wrap the positions into the cell");
  atoms.pbc = {};
  atoms.positions[4] = 1e16;
  refuse(uniform_cutoff(3.0), "leave no digits for a cutoff of 3");
}

TEST_CASE("requests beyond the memory are refused with their size") {
  const Atoms atoms = random_atoms(4, triclinic, {true, true, true}, 4);
  CHECK_THROWS_WITH_AS(castile::NeighborSearch(atoms.view(), uniform_cutoff(1e5)), doctest::Contains("periodic images"),
                       castile::MemoryLimitExceeded);
  const Frames frames({atoms});
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
