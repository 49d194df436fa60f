#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/geometry/structure.hpp"

namespace castile {

/// Neighbors found by a search, as a structure of arrays; D = (r_j - r_i) + shift @ cell.
struct PairBuffer {
  UnsetVector<std::int64_t> j;           ///< neighbor, index within its structure
  UnsetVector<std::array<double, 3>> D;  ///< from the center to the neighbor, Å
  UnsetVector<double> d;                 ///< norm of D, Å

  std::int64_t size() const { return static_cast<std::int64_t>(j.size()); }
  void clear();
};

/// How far each center sees each atom; `cutoff` is the largest distance of all. At most one of the three
/// refinements is given, zero in it means no neighbors.
struct PairCutoff {
  double cutoff = 0.0;
  /// (n_species, n_species) cutoffs per pair of species, symmetric; or empty.
  std::vector<double> of_species_pair;
  /// (n_species) cutoffs per species of the neighbor, whatever the center is; or empty.
  std::vector<double> of_neighbor_species;
  std::int32_t n_species = 0;
  /// (n_atoms) radii whose sum is a pair's cutoff, or null.
  const double* radii = nullptr;

  /// Throws std::invalid_argument unless `cutoff` is finite, positive (zero if the pairs have their own) and
  /// not below that of any pair, and unless points, which have neither species nor radius, can do without.
  void check(std::int64_t n_atoms, const std::int32_t* species, std::int64_t n_points = 0) const;
  bool depends_on_pair() const { return !of_species_pair.empty() || !of_neighbor_species.empty() || radii != nullptr; }
};

/// The atoms of one structure and those periodic images that any center can see, sorted into bins.
///
/// Centers are the atoms and, if given, points anywhere in space. Built once per structure; the arrays of structure
/// and points must outlive it; searching is const and safe from many threads. The order of a center's neighbors
/// depends on structure and cutoff, on whether there are points, but not on the other points, unless they are hundreds
/// of cells, or of cutoffs, away. Every pair is decided by one formula,
/// d = |(r_j - r_i) + shift @ cell| < cutoff from the coordinates as given, so that, unless cutoffs go by the
/// neighbor's species, the neighbor (j, i, -shift) exists if and only if (i, j, shift) does, with D exactly negated.
class NeighborSearch {
 public:
  class Impl;

  /// Points are (n_points, 3) in Å. Throws std::invalid_argument for a periodic axis without a cell vector, cells
  /// without volume and coordinates that are not finite or too large, MemoryLimitExceeded if the images would not fit.
  NeighborSearch(const Structure& structure, PairCutoff cutoff, const double* points = nullptr,
                 std::int64_t n_points = 0);
  NeighborSearch(NeighborSearch&&) noexcept;
  NeighborSearch& operator=(NeighborSearch&&) noexcept;
  ~NeighborSearch();

  /// Appends the neighbors of atom `center` (strictly d < cutoff; self images but never the atom itself).
  void append_neighbors(std::int64_t center, PairBuffer& pairs) const;

  /// Appends the neighbors of a point; an atom at the very place is one of them, with d = 0.
  void append_neighbors_of_point(std::int64_t point, PairBuffer& pairs) const;

  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<const Impl> impl_;
};

}  // namespace castile
