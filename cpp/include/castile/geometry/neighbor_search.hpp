#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "castile/geometry/structure.hpp"

namespace castile {

/// Neighbors found by a search, as a structure of arrays; D = r_j - r_i + shift @ cell.
struct PairBuffer {
  std::vector<std::int32_t> j;                     ///< neighbor, index within its structure
  std::vector<std::array<double, 3>> D;            ///< from the center to the neighbor, Å
  std::vector<double> d;                           ///< norm of D, Å
  std::vector<std::array<std::int32_t, 3>> shift;  ///< filled only if `with_shifts`
  bool with_shifts = false;

  std::int64_t size() const { return static_cast<std::int64_t>(j.size()); }
  void clear();
};

/// How far each pair of atoms sees; `cutoff` is the largest distance of all.
struct PairCutoff {
  double cutoff = 0.0;
  /// (n_species, n_species) cutoffs per pair of species, symmetric, zero where there are no neighbors; or
  /// empty.
  std::vector<double> of_species_pair;
  std::int32_t n_species = 0;
  /// (n_atoms) radii whose sum is a pair's cutoff, or null.
  const double* radii = nullptr;

  /// Throws std::invalid_argument unless `cutoff` is finite, positive (zero if the pairs have their own) and
  /// not below that of any pair, and no more than one of table and radii is given.
  void check(std::int64_t n_atoms, const std::int32_t* species) const;
  bool depends_on_pair() const { return !of_species_pair.empty() || radii != nullptr; }
};

/// The atoms of one structure and those periodic images that any center can see, sorted into bins.
///
/// Built once per structure, whose arrays must outlive it; searching is const and safe from many threads.
/// The order of a center's neighbors depends on the structure and the cutoff alone. Every pair is decided by
/// one formula, d = |(r_j - r_i) + shift @ cell| < cutoff from the positions as given, so that the neighbor
/// (j, i, -shift) exists if and only if (i, j, shift) does, with D exactly negated. Throws
/// std::invalid_argument for a periodic axis without a cell vector, cells without volume and positions that
/// are not finite, MemoryLimitExceeded if the images would not fit.
class NeighborSearch {
 public:
  class Impl;

  NeighborSearch(const Structure& structure, PairCutoff cutoff);
  NeighborSearch(NeighborSearch&&) noexcept;
  NeighborSearch& operator=(NeighborSearch&&) noexcept;
  ~NeighborSearch();

  /// Appends the neighbors of atom `center` (strictly d < cutoff; self images but never the atom itself).
  void append_neighbors(std::int64_t center, PairBuffer& pairs) const;

  /// The number of atoms and images that the search holds.
  std::int64_t n_images() const;

  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<const Impl> impl_;
};

}  // namespace castile
