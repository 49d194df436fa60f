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

  Impl(const Structure& structure, PairCutoff cutoff);

  const ImageGrid& grid() const { return grid_; }

  /// D = (r_j - r_i) + shift @ cell: the only place where a pair's vector is computed.
  Pair pair(std::int64_t i, std::int64_t j, const std::array<std::int32_t, 3>& shift) const {
    const double* from = structure_.positions + 3 * i;
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

  double cutoff(std::int64_t i, std::int64_t j) const {
    if (cutoff_.radii != nullptr) return cutoff_.radii[i] + cutoff_.radii[j];
    if (cutoff_.of_species_pair.empty()) return cutoff_.cutoff;
    const std::int32_t row = structure_.species[i] * cutoff_.n_species;
    return cutoff_.of_species_pair[static_cast<std::size_t>(row + structure_.species[j])];
  }

  /// Appends the slots of a center's pairs: those with j < i are left out of a half list.
  void append_slots(std::int64_t center, bool half, bool self_interaction, std::vector<std::uint32_t>& slots) const;

 private:
  bool is_pair(std::int64_t center, std::uint32_t slot, double distance2) const {
    if (distance2 < certain2_) return true;
    const std::int64_t j = grid_.id(slot);
    return pair(center, j, grid_.shift(center, slot)).d < cutoff(center, j);
  }

  Structure structure_;
  PairCutoff cutoff_;
  ImageGrid grid_;
  double certain2_ = 0.0;  // preselected distances below this need no second look
};

}  // namespace castile
