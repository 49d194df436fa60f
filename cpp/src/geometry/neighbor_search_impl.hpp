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
  /// What is asked of a center for each of its neighbors.
  struct Center {
    std::int64_t index;        // in the grid
    const double* position;    // as given
    std::uint32_t home;        // an atom's own slot
    const double* of_species;  // cutoffs by the neighbor's species, or null
    double radius;             // an atom's part of cutoffs that are sums
    bool in_place;             // whether it has not been wrapped
  };

  Impl(const Structure& structure, PairCutoff cutoff, const double* points, std::int64_t n_points);

  const ImageGrid& grid() const { return grid_; }

  Center atom(std::int64_t index) const {
    Center center{index, structure_.positions + 3 * index, grid_.home(index), of_neighbor_species(),
                  0.0,   grid_.is_in_place(index)};
    if (!cutoff_.of_species_pair.empty()) {
      center.of_species = cutoff_.of_species_pair.data() + structure_.species[index] * cutoff_.n_species;
    }
    if (cutoff_.radii != nullptr) center.radius = cutoff_.radii[index];
    return center;
  }
  Center point(std::int64_t index) const {
    const std::int64_t center = structure_.n_atoms + index;
    return {center, points_ + 3 * index, no_slot, of_neighbor_species(), 0.0, grid_.is_in_place(center)};
  }

  /// D = (r_j - r_i) + shift @ cell: the only place where a pair's vector is computed.
  std::array<double, 3> pair_vector(const Center& center, std::uint32_t slot) const {
    const auto& image = grid_.image(slot);
    const double* from = center.position;
    const auto translation =
        center.in_place ? image.translation : structure_.translation(grid_.shift(center.index, slot));
    std::array<double, 3> D;
    for (std::size_t k = 0; k < 3; ++k) D[k] = (image.position[k] - from[k]) + translation[k];
    return D;
  }
  static double length(const std::array<double, 3>& D) { return std::sqrt((D[0] * D[0] + D[1] * D[1]) + D[2] * D[2]); }

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
    return length(pair_vector(center, slot)) < cutoff(center, grid_.id(slot));
  }

  Structure structure_;
  const double* points_;
  PairCutoff cutoff_;
  ImageGrid grid_;
  double certain2_ = 0.0;  // preselected distances below this need no second look
};

}  // namespace castile
