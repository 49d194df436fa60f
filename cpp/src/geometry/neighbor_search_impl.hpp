#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "castile/geometry/neighbor_search.hpp"
#include "geometry/image_grid.hpp"
#include "geometry/pair_vector.hpp"

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
    const std::int32_t* wrap;  // what wrapping took off
  };

  Impl(const Structure& structure, PairCutoff cutoff, const double* points, std::int64_t n_points);

  const ImageGrid& grid() const { return grid_; }

  Center atom(std::int64_t index) const {
    Center center{
        index, structure_.positions + 3 * index, grid_.home(index), of_neighbor_species(), 0.0, grid_.wrap(index)};
    if (!cutoff_.of_species_pair.empty()) {
      center.of_species = cutoff_.of_species_pair.data() + structure_.species[index] * cutoff_.n_species;
    }
    if (cutoff_.radii != nullptr) center.radius = cutoff_.radii[index];
    return center;
  }
  Center point(std::int64_t index) const {
    const std::int64_t center = structure_.n_atoms + index;
    return {center, points_ + 3 * index, no_slot, of_neighbor_species(), 0.0, grid_.wrap(center)};
  }

  double cutoff(const Center& center, std::int64_t j) const {
    if (center.of_species != nullptr) return center.of_species[structure_.species[j]];
    if (cutoff_.radii != nullptr) return center.radius + cutoff_.radii[j];
    return cutoff_.cutoff;
  }

  void append_pairs(const Center& center, PairBuffer& pairs) const;

  /// Appends the slots of an atom's pairs: those with j < i are left out of a half list.
  void append_slots(std::int64_t atom, bool half, bool self_interaction, std::vector<std::uint32_t>& slots) const;

  /// Where the pairs of a center are written, null for what is not wanted; atoms counted from first_atom.
  struct Target {
    std::int64_t* j;
    std::int32_t* S;
    double* D;
    double* d;
    std::int64_t first_atom = 0;
  };
  void write_pairs(const Center& center, const std::uint32_t* slots, std::int64_t n, const Target& target) const;

 private:
  static constexpr std::uint32_t no_slot = 0xffffffff;  // more than a grid may hold

  const double* of_neighbor_species() const {
    return cutoff_.of_neighbor_species.empty() ? nullptr : cutoff_.of_neighbor_species.data();
  }

  /// Of some hits the slots of pairs; returns how many.
  std::uint32_t select_pairs(const Center& center, bool half, bool self_interaction, const Hits& hits,
                             std::uint32_t* out) const;
  std::uint32_t copy_certain(const Hits& hits, std::uint32_t home, std::uint32_t* out) const;
  std::uint32_t copy_pairs(const Center& center, bool half, bool self_interaction, const Hits& hits,
                           std::uint32_t* out) const;

  bool is_pair(const Center& center, std::uint32_t slot, double distance2) const {
    if (distance2 < certain2_) return true;
    const auto& image = grid_.image(slot);
    const auto D = pair_vector(image, center.position, center.wrap, structure_.cell.data());
    return pair_distance(D) < cutoff(center, image.id);
  }

  Structure structure_;
  const double* points_;
  PairCutoff cutoff_;
  ImageGrid grid_;
  decltype(simd::GeometryKernels::write_pairs) write_pairs_ = simd::geometry_kernels().write_pairs;
  double certain2_ = 0.0;  // preselected distances below this need no second look
};

}  // namespace castile
