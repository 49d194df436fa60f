// What atoms and points in space see, against trying all images.
#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "castile/geometry/neighbor_search.hpp"
#include "castile/parallel.hpp"
#include "geometry/image_grid.hpp"
#include "neighbor_support.hpp"
#include "support.hpp"

using namespace castile::test;
using castile::NeighborSearch;
using castile::PairBuffer;

namespace {

std::int64_t n_points(const std::vector<double>& points) { return static_cast<std::int64_t>(points.size() / 3); }

/// Compares all atoms and all points with the reference and returns the number of pairs of the points.
std::size_t check_search(const Atoms& atoms, const std::vector<double>& points, double cutoff) {
  const auto structure = atoms.view();
  const NeighborSearch search(structure, uniform_cutoff(cutoff), points.data(), n_points(points));
  for (std::int64_t atom = 0; atom < atoms.size(); ++atom) {
    CHECK(seen_by_atom(search, atom) == sorted(reference_neighbors(structure, atom, cutoff)));
  }
  std::size_t n_pairs = 0;
  for (std::int64_t point = 0; point < n_points(points); ++point) {
    const Seen seen = seen_by_point(search, point);
    CHECK(seen == sorted(reference_neighbors(structure, points.data() + 3 * point, cutoff)));
    n_pairs += seen.size();
  }
  return n_pairs;
}

/// Inside the cell, outside, at atoms and at an image of one, beside an atom, and thousands of cells away.
std::vector<double> points_everywhere(const Atoms& atoms, unsigned seed) {
  std::vector<double> points(atoms.positions.begin(), atoms.positions.begin() + 3);
  for (std::size_t x = 0; x < 3; ++x) {
    points.push_back(atoms.positions[x] + 2.0 * atoms.cell[3 + x] - atoms.cell[6 + x]);
  }
  for (std::size_t x = 0; x < 3; ++x) points.push_back(atoms.positions[x] + 0.5);
  append_places(4, atoms.cell, 0.0, 1.0, seed, points);
  append_places(4, atoms.cell, -3.0, 4.0, seed + 1, points);
  append_places(3, atoms.cell, -5e3, 5e3, seed + 2, points);
  return points;
}

/// Cells of any shape, left-handed ones among them, and skewed by up to so many vectors.
std::array<double, 9> random_cell(int skew, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> size(1.5, 6.0);
  std::uniform_int_distribution<int> steps(-skew, skew);
  Eigen::Matrix<double, 3, 3, Eigen::RowMajor> cell;
  do {
    for (Eigen::Index k = 0; k < 3; ++k) {
      cell.row(k) = Eigen::RowVector3d(normal(random), normal(random), normal(random)).normalized();
    }
  } while (std::abs(cell.determinant()) < 0.3);
  for (Eigen::Index k = 0; k < 3; ++k) cell.row(k) *= size(random);
  cell.row(1) += steps(random) * cell.row(0);
  cell.row(2) += steps(random) * cell.row(0) + steps(random) * cell.row(1);
  std::array<double, 9> flat;
  std::copy_n(cell.data(), 9, flat.begin());
  return flat;
}

/// Two layers at the bottom of a cell that is mostly empty, periodic along all axes.
Atoms slab() {
  Atoms atoms = random_atoms(12, {6.0, 0, 0, 2.0, 6.0, 0, 0, 0, 3.0}, {true, true, true}, 9);
  for (std::size_t atom = 0; atom < 12; ++atom) atoms.positions[3 * atom + 2] = atom % 2 == 0 ? 0.5 : 2.5;
  atoms.cell = {6.0, 0, 0, 2.0, 6.0, 0, 1.0, -2.0, 40.0};
  return atoms;
}

}  // namespace

TEST_CASE("atoms and points see what trying all images finds") {
  for (int mask = 0; mask < 8; ++mask) {
    for (const std::size_t n_atoms : {1u, 3u, 24u}) {
      const Atoms atoms = random_atoms(n_atoms, triclinic, periodic_axes(mask), 7);
      CHECK(check_search(atoms, {}, 4.1) == 0);
      CHECK(check_search(atoms, points_everywhere(atoms, 8), 4.1) > 0);
    }
  }
}

TEST_CASE("atoms and points see all images in cells of any shape") {
  std::mt19937 random(12);
  for (unsigned repeat = 0; repeat < 96; ++repeat) {
    const int skew = std::array<int, 3>{0, 3, 40}[repeat / 8 % 3];
    const auto cell = random_cell(skew, random);
    const Atoms atoms = random_atoms(1 + random() % 14, cell, periodic_axes(static_cast<int>(repeat % 8)), repeat);
    const double cutoff = std::uniform_real_distribution<double>(1.0, 4.5)(random);
    CAPTURE(repeat);
    CHECK(check_search(atoms, points_everywhere(atoms, repeat), cutoff) > 0);
  }
}

TEST_CASE("cells much smaller than the cutoff, and more neighbors than the buffer of hits") {
  const Atoms atoms = random_atoms(1, {1.0, 0, 0, 0.3, -1.0, 0, 0, 0.1, 0.9}, {true, true, true}, 2);
  CHECK(check_search(atoms, points_everywhere(atoms, 3), 9.5) > 14 * 3000);
}

TEST_CASE("points in a vacuum see the periodic images beside it") {
  Atoms atoms = slab();
  std::vector<double> points;
  for (int z = -40; z < 80; ++z) points.insert(points.end(), {0.1 * z, 1.0, static_cast<double>(z)});
  CHECK(check_search(atoms, points, 7.0) > 0);
  atoms.pbc[2] = false;
  CHECK(check_search(atoms, points, 7.0) > 0);
}

TEST_CASE("sparse bins hold all neighbors of atoms and points") {
  Atoms atoms = random_atoms(30, {3.0, 0, 0, 0, 3.0, 0, 0, 0, 3.0}, {}, 3);
  for (std::size_t atom = 0; atom < 15; ++atom) atoms.positions[3 * atom + 1] += 1e5;
  for (std::size_t atom = 5; atom < 10; ++atom) atoms.positions[3 * atom + 2] -= 3e5;
  std::vector<double> points;
  for (std::size_t atom = 0; atom < 30; ++atom) {
    for (std::size_t x = 0; x < 3; ++x) points.push_back(atoms.positions[3 * atom + x] + 0.4);
  }
  append_places(20, {1e6, 0, 0, 0, 1e6, 0, 0, 0, 1e6}, -5.0, 5.0, 4, points);
  CHECK(check_search(atoms, points, 2.5) > 0);
  atoms.cell = {2e6, 0, 0, 0, 2e6, 0, 0, 0, 2e6};
  atoms.pbc = {true, true, true};
  CHECK(check_search(atoms, points, 2.5) > 0);
  CHECK(castile::ImageGrid(atoms.view(), 2.5, points.data(), n_points(points)).n_slots() < 30 * 27);
}

TEST_CASE("a point at an atom sees what the atom sees, and the atom") {
  const Atoms atoms = random_atoms(9, triclinic, {true, false, true}, 11);
  const NeighborSearch search(atoms.view(), uniform_cutoff(4.5), atoms.positions.data(), 9);
  for (std::int64_t atom = 0; atom < 9; ++atom) {
    Seen expected = seen_by_atom(search, atom);
    expected.emplace_back(static_cast<std::int32_t>(atom), Vector{}, 0.0);
    std::sort(expected.begin(), expected.end());
    CHECK(seen_by_point(search, atom) == expected);
  }
}

TEST_CASE("points far from a free structure see nothing and cost no images") {
  const Atoms free = random_atoms(40, {8.0, 0, 0, 0, 8.0, 0, 0, 0, 8.0}, {}, 5);
  Atoms wire = free;
  wire.pbc[1] = true;
  std::vector<double> points;
  for (const double far : {-1e10, -20.0, 30.0, 1e3, 1e10}) points.insert(points.end(), {far, 1.0, 2.0});
  for (const Atoms& atoms : {free, wire}) {
    const auto structure = atoms.view();
    CHECK(check_search(atoms, points, 3.0) == 0);
    const castile::ImageGrid of_one_atom(structure, 3.0, structure.positions, 1);
    CHECK(castile::ImageGrid(structure, 3.0, points.data(), 5).n_slots() == of_one_atom.n_slots());
  }
}

TEST_CASE("many points around few atoms") {
  const Atoms atoms = random_atoms(2, {5.0, 0, 0, 1.0, 6.0, 0, 0, 0, 60.0}, {true, true, true}, 6);
  std::vector<double> points;
  append_places(3000, atoms.cell, -1.0, 2.0, 7, points);
  CHECK(check_search(atoms, points, 4.0) > 500);
}

TEST_CASE("without atoms points see nothing") {
  const std::vector<double> points{0.0, 1.0, 2.0};
  Atoms none;
  CHECK(seen_by_point(NeighborSearch(none.view(), uniform_cutoff(3.0), points.data(), 1), 0).empty());
  none.cell = triclinic;
  none.pbc = {true, true, true};
  CHECK(seen_by_point(NeighborSearch(none.view(), uniform_cutoff(3.0), points.data(), 1), 0).empty());
}

TEST_CASE("points see the same bits in the same order on any number of threads") {
  const Atoms atoms = random_atoms(60, {9.0, 0, 0, 3.0, 8.0, 0, 1.0, 2.0, 7.0}, {true, false, true}, 2);
  std::vector<double> points;
  append_places(200, atoms.cell, -1.0, 2.0, 3, points);
  const NeighborSearch search(atoms.view(), uniform_cutoff(3.5), points.data(), 200);
  const auto found = [&](int n_threads) {
    const Threads threads(n_threads);
    std::vector<PairBuffer> all(200);
    castile::parallel_for(200, [&] {
      return [&](std::int64_t point) { search.append_neighbors_of_point(point, all[static_cast<std::size_t>(point)]); };
    });
    PairBuffer joined;
    for (const PairBuffer& pairs : all) {
      joined.j.insert(joined.j.end(), pairs.j.begin(), pairs.j.end());
      joined.D.insert(joined.D.end(), pairs.D.begin(), pairs.D.end());
    }
    return joined;
  };
  const PairBuffer serial = found(1);
  CHECK(serial.size() > 200);
  for (const int n_threads : {2, 4}) {
    const PairBuffer parallel = found(n_threads);
    CHECK(parallel.j == serial.j);
    CHECK(parallel.D == serial.D);
  }
}

TEST_CASE("a point sees the same bits in the same order whatever the other points are") {
  for (int mask = 0; mask < 8; ++mask) {
    const Atoms atoms = random_atoms(20, triclinic, periodic_axes(mask), 13);
    std::vector<double> points;
    append_places(40, triclinic, -100.0, 100.0, 14, points);
    append_places(40, triclinic, 0.0, 1.0, 15, points);
    const NeighborSearch together(atoms.view(), uniform_cutoff(4.0), points.data(), 80);
    const castile::ImageGrid grid(atoms.view(), 4.0, points.data(), 80);
    for (std::int64_t point = 0; point < 80; ++point) {
      CHECK(castile::ImageGrid(atoms.view(), 4.0, points.data() + 3 * point, 1).radius() == grid.radius());
      const NeighborSearch alone(atoms.view(), uniform_cutoff(4.0), points.data() + 3 * point, 1);
      PairBuffer expected, found;
      alone.append_neighbors_of_point(0, expected);
      together.append_neighbors_of_point(point, found);
      CHECK(found.j == expected.j);
      CHECK(found.D == expected.D);
    }
  }
}

TEST_CASE("pairs at the cutoff are decided by the one formula, however far points and atoms are") {
  const std::array<double, 9> cell{5.1, 4.9, 0.1, -2.3, 8.1, -0.2, -1.7, 3.3, 9.2};
  struct Case {
    double skew;     // so many first vectors in the second
    double n_moved;  // second vectors, before they were skewed
  };
  for (const Case& c : {Case{0.0, 0.0}, Case{0.0, 1e7}, Case{1e4, 1e5}}) {
    const double skew = c.skew;  // a structured binding cannot be captured
    const double n_moved = c.n_moved;
    Atoms atoms = random_atoms(3, cell, {true, true, true}, 8);
    for (std::size_t x = 0; x < 3; ++x) atoms.cell[3 + x] += skew * cell[x];
    std::vector<double> points;
    double beyond = 1e-5;  // the cutoff, by less and less
    for (const auto& u : random_directions(300, 9)) {
      for (std::size_t x = 0; x < 3; ++x) points.push_back(atoms.positions[x] + (3.0 + beyond) * u[x]);
      beyond *= 0.96;
    }
    std::vector<double> moved = points;
    for (std::size_t k = 0; k < points.size(); ++k) {
      moved[k] += std::max(0.0, n_moved - static_cast<double>(k / 3)) * cell[3 + k % 3];
    }
    CAPTURE(skew);
    CAPTURE(n_moved);
    CHECK(check_search(atoms, moved, 3.0) > 0);
    Atoms all = atoms;
    all.positions.insert(all.positions.end(), moved.begin(), moved.end());
    all.species.resize(303);
    CHECK(check_search(all, {}, 3.0) == 0);
    for (std::size_t k = 0; k < 9; ++k) atoms.positions[k] += n_moved * cell[3 + k % 3];
    CHECK(check_search(atoms, points, 3.0) > 0);
  }
}
