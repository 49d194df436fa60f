#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "castile/geometry/neighbor_search.hpp"
#include "geometry/image_grid.hpp"

namespace castile {

/// The grid of images, and the one formula that decides on pairs.
class NeighborSearch::Impl {
 public:
  struct Pair {
    std::array<double, 3> D;
    double d;
  };

  /// What is asked of a center for each of its neighbors.
  struct Center {
    std::int64_t index;        // in the grid
    const double* position;    // as given
    std::uint32_t home;        // an atom's own slot
    const double* of_species;  // cutoffs by the neighbor's species, or null
    double radius;             // an atom's part of cutoffs that are sums
  };

  Impl(const Structure& structure, PairCutoff cutoff, const double* points, std::int64_t n_points);

  const ImageGrid& grid() const { return grid_; }

  Center atom(std::int64_t index) const {
    Center center{index, structure_.positions + 3 * index, grid_.home(index), of_neighbor_species(), 0.0};
    if (!cutoff_.of_species_pair.empty()) {
      center.of_species = cutoff_.of_species_pair.data() + structure_.species[index] * cutoff_.n_species;
    }
    if (cutoff_.radii != nullptr) center.radius = cutoff_.radii[index];
    return center;
  }
  Center point(std::int64_t index) const {
    return {structure_.n_atoms + index, points_ + 3 * index, no_slot, of_neighbor_species(), 0.0};
  }

  /// D = (r_j - r_i) + shift @ cell: the only place where a pair's vector is computed.
  Pair pair(const Center& center, std::int64_t j, const std::array<std::int32_t, 3>& shift) const {
    const double* from = center.position;
    const double* to = structure_.positions + 3 * j;
    const auto& cell = structure_.cell;
    const double s0 = shift[0];
    const double s1 = shift[1];
    const double s2 = shift[2];
    Pair pair;
    for (std::size_t k = 0; k < 3; ++k) {
      pair.D[k] = (to[k] - from[k]) + ((s0 * cell[k] + s1 * cell[3 + k]) + s2 * cell[6 + k]);
    }
    pair.d = std::sqrt((pair.D[0] * pair.D[0] + pair.D[1] * pair.D[1]) + pair.D[2] * pair.D[2]);
    return pair;
  }

  double cutoff(const Center& center, std::int64_t j) const {
    if (center.of_species != nullptr) return center.of_species[structure_.species[j]];
    if (cutoff_.radii != nullptr) return center.radius + cutoff_.radii[j];
    return cutoff_.cutoff;
  }

  void append_pairs(const Center& center, PairBuffer& pairs) const;

  /// Appends the slots of an atom's pairs: those with j < i are left out of a half list.
  void append_slots(std::int64_t atom, bool half, bool self_interaction, std::vector<std::uint32_t>& slots) const;

 private:
  static constexpr std::uint32_t no_slot = 0xffffffff;  // more than a grid may hold

  const double* of_neighbor_species() const {
    return cutoff_.of_neighbor_species.empty() ? nullptr : cutoff_.of_neighbor_species.data();
  }

  bool is_pair(const Center& center, std::uint32_t slot, double distance2) const {
    if (distance2 < certain2_) return true;
    const std::int64_t j = grid_.id(slot);
    return pair(center, j, grid_.shift(center.index, slot)).d < cutoff(center, j);
  }

  Structure structure_;
  const double* points_;
  PairCutoff cutoff_;
  ImageGrid grid_;
  double certain2_ = 0.0;  // preselected distances below this need no second look
};

}  // namespace castile
