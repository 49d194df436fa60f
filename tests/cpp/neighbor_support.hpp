// Structures that own their arrays, and the neighbors that trying all images finds.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "castile/geometry/neighbor_search.hpp"
#include "castile/geometry/structure.hpp"

namespace castile::test {

using Vector = std::array<double, 3>;
using Shift = std::array<std::int32_t, 3>;

constexpr std::array<double, 9> triclinic{4.0, 0.3, 0.0, 1.0, 3.5, -0.2, 0.5, 0.7, 5.0};

/// The axes of bit mask 0 to 7.
inline std::array<bool, 3> periodic_axes(int mask) { return {(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0}; }

struct Atoms {
  std::vector<double> positions;
  std::vector<std::int32_t> species;
  std::array<double, 9> cell{};
  std::array<bool, 3> pbc{};

  std::int64_t size() const { return static_cast<std::int64_t>(species.size()); }
  castile::Structure view() const {
    castile::Structure structure;
    structure.n_atoms = size();
    structure.positions = positions.data();
    structure.species = species.data();
    structure.cell = cell;
    structure.pbc = pbc;
    return structure;
  }
};

/// Appends places whose fractions of the cell vectors lie between low and high.
inline void append_places(std::size_t n, const std::array<double, 9>& cell, double low, double high, unsigned seed,
                          std::vector<double>& places) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  for (std::size_t place = 0; place < n; ++place) {
    const double a = uniform(random), b = uniform(random), c = uniform(random);
    for (std::size_t x = 0; x < 3; ++x) places.push_back(a * cell[x] + b * cell[3 + x] + c * cell[6 + x]);
  }
}

/// Atoms of two species in and around the cell.
inline Atoms random_atoms(std::size_t n_atoms, std::array<double, 9> cell, std::array<bool, 3> pbc, unsigned seed) {
  Atoms atoms;
  atoms.cell = cell;
  atoms.pbc = pbc;
  append_places(n_atoms, cell, -0.5, 1.5, seed, atoms.positions);
  for (std::size_t atom = 0; atom < n_atoms; ++atom) atoms.species.push_back(static_cast<std::int32_t>(atom % 2));
  return atoms;
}

inline PairCutoff uniform_cutoff(double cutoff) {
  PairCutoff pairs;
  pairs.cutoff = cutoff;
  return pairs;
}

struct Neighbor {
  std::int32_t j;
  Shift S;
  Vector D;
  double d;
};

/// Tries all cell shifts that can bring an atom within the cutoff, axis after axis.
class AllShifts {
 public:
  AllShifts(const Structure& structure, double cutoff) : structure_(structure), cutoff_(cutoff) {
    for (std::size_t k = 0; k < 3; ++k) {
      if (!structure.pbc[k]) continue;
      orthogonal_[k] = moved({}, k, -1);
      for (std::size_t m = 0; m < k; ++m) {
        if (!structure.pbc[m]) continue;
        const Real along = dot(orthogonal_[k], orthogonal_[m]) / dot(orthogonal_[m], orthogonal_[m]);
        for (std::size_t x = 0; x < 3; ++x) orthogonal_[k][x] -= along * orthogonal_[m][x];
      }
    }
  }

  /// Calls on_shift(S) for the shifts of an atom that lies `to_place` before the place.
  template <typename OnShift>
  void operator()(const Vector& to_place, const OnShift& on_shift) const {
    const Rest rest{to_place[0], to_place[1], to_place[2]};
    Shift S;
    const auto [first_c, last_c] = range(2, rest);
    for (S[2] = first_c; S[2] <= last_c; ++S[2]) {
      const Rest rest_b = moved(rest, 2, S[2]);
      const auto [first_b, last_b] = range(1, rest_b);
      for (S[1] = first_b; S[1] <= last_b; ++S[1]) {
        const auto [first_a, last_a] = range(0, moved(rest_b, 1, S[1]));
        for (S[0] = first_a; S[0] <= last_a; ++S[0]) on_shift(S);
      }
    }
  }

 private:
  using Real = long double;
  using Rest = std::array<Real, 3>;

  static Real dot(const Rest& a, const Rest& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

  Rest moved(Rest rest, std::size_t axis, std::int32_t n) const {
    for (std::size_t x = 0; x < 3; ++x)
      rest[x] -= static_cast<Real>(n) * static_cast<Real>(structure_.cell[3 * axis + x]);
    return rest;
  }

  /// Shifts along the axis that leave no more than the cutoff along the part of its vector that is orthogonal to the
  /// vectors of the axes before, and a few more.
  std::pair<std::int32_t, std::int32_t> range(std::size_t axis, const Rest& rest) const {
    if (!structure_.pbc[axis]) return {0, 0};
    const Real length2 = dot(orthogonal_[axis], orthogonal_[axis]);
    const Real middle = dot(rest, orthogonal_[axis]) / length2;
    const Real reach = cutoff_ / std::sqrt(length2) + 0.5L;
    return {static_cast<std::int32_t>(std::floor(middle - reach)),
            static_cast<std::int32_t>(std::ceil(middle + reach))};
  }

  Structure structure_;
  double cutoff_;
  std::array<Rest, 3> orthogonal_{};
};

/// All neighbors of a place, with an atom that is there.
inline std::vector<Neighbor> reference_neighbors(const Structure& structure, const double* place, double cutoff) {
  const AllShifts all_shifts(structure, cutoff);
  const auto& cell = structure.cell;
  std::vector<Neighbor> neighbors;
  for (std::int64_t j = 0; j < structure.n_atoms; ++j) {
    const double* to = structure.positions + 3 * j;
    all_shifts({place[0] - to[0], place[1] - to[1], place[2] - to[2]}, [&](const Shift& S) {
      Vector D;
      for (std::size_t x = 0; x < 3; ++x) {
        D[x] = (to[x] - place[x]) + ((S[0] * cell[x] + S[1] * cell[3 + x]) + S[2] * cell[6 + x]);
      }
      const double d = std::sqrt((D[0] * D[0] + D[1] * D[1]) + D[2] * D[2]);
      if (d < cutoff) neighbors.push_back({static_cast<std::int32_t>(j), S, D, d});
    });
  }
  return neighbors;
}

/// The same, of an atom, which is not its own neighbor.
inline std::vector<Neighbor> reference_neighbors(const Structure& structure, std::int64_t atom, double cutoff) {
  std::vector<Neighbor> neighbors = reference_neighbors(structure, structure.positions + 3 * atom, cutoff);
  const auto is_itself = [&](const Neighbor& pair) { return pair.j == atom && pair.S == Shift{}; };
  neighbors.erase(std::remove_if(neighbors.begin(), neighbors.end(), is_itself), neighbors.end());
  return neighbors;
}

/// What a center sees, sorted, to be compared bit for bit.
using Seen = std::vector<std::tuple<std::int32_t, Vector, double>>;

inline Seen sorted(const PairBuffer& pairs) {
  Seen seen;
  for (std::size_t p = 0; p < pairs.j.size(); ++p) seen.emplace_back(pairs.j[p], pairs.D[p], pairs.d[p]);
  std::sort(seen.begin(), seen.end());
  return seen;
}

inline Seen sorted(const std::vector<Neighbor>& pairs) {
  Seen seen;
  for (const Neighbor& pair : pairs) seen.emplace_back(pair.j, pair.D, pair.d);
  std::sort(seen.begin(), seen.end());
  return seen;
}

inline Seen seen_by_atom(const NeighborSearch& search, std::int64_t atom) {
  PairBuffer pairs;
  search.append_neighbors(atom, pairs);
  return sorted(pairs);
}

inline Seen seen_by_point(const NeighborSearch& search, std::int64_t point) {
  PairBuffer pairs;
  search.append_neighbors_of_point(point, pairs);
  return sorted(pairs);
}

}  // namespace castile::test
