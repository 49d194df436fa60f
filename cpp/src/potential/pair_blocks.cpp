#include "potential/pair_blocks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

#include "castile/parallel.hpp"

namespace castile {

std::int64_t FrameSource::frame(std::int64_t center) const {
  const std::int64_t* offsets = structures_.atom_offsets;
  return std::upper_bound(offsets, offsets + structures_.n_frames + 1, center) - offsets - 1;
}

void FrameSource::prepare(std::int64_t first, std::int64_t last) {
  if (first >= last) return;
  const std::int64_t from = frame(first), to = frame(last - 1) + 1;
  std::vector<std::unique_ptr<const NeighborSearch>> searches(static_cast<std::size_t>(to - from));
  // The frame that is not finished keeps its search.
  const auto old = static_cast<std::size_t>(from - first_frame_);
  if (from >= first_frame_ && old < searches_.size()) searches.front() = std::move(searches_[old]);
  first_frame_ = from;
  searches_ = std::move(searches);
  parallel_for(to - from, [&] {
    return [&](std::int64_t index) {
      auto& search = searches_[static_cast<std::size_t>(index)];
      if (search != nullptr) return;
      PairCutoff cutoff;
      cutoff.cutoff = cutoff_;
      search = std::make_unique<const NeighborSearch>(structures_[from + index], cutoff);
    };
  });
}

void FrameSource::append_pairs(std::int64_t center, PairBuffer& pairs) const {
  const std::int64_t index = frame(center);
  const std::int64_t first_atom = structures_.atom_offsets[index];
  const std::int64_t first_pair = pairs.size();
  searches_[static_cast<std::size_t>(index - first_frame_)]->append_neighbors(center - first_atom, pairs);
  if (first_atom == 0) return;
  for (auto j = pairs.j.begin() + first_pair; j != pairs.j.end(); ++j) *j += first_atom;
}

NeighborhoodSource::NeighborhoodSource(const Neighborhoods& neighborhoods, double cutoff)
    : neighborhoods_(neighborhoods), cutoff_(cutoff) {
  const auto check = [&](std::int64_t atom, const char* what) {
    if (atom >= 0 && atom < neighborhoods.n_atoms) return;
    throw std::invalid_argument(std::string(what) + " must be atoms, 0 to " +
                                std::to_string(neighborhoods.n_atoms - 1) + ", got " + std::to_string(atom));
  };
  if (neighborhoods.n_centers > neighborhoods.n_atoms) {
    throw std::invalid_argument("there are more centers, " + std::to_string(neighborhoods.n_centers) +
                                ", than atoms, " + std::to_string(neighborhoods.n_atoms));
  }
  for (std::int64_t k = 0; k < neighborhoods.n_centers && neighborhoods.centers != nullptr; ++k) {
    check(neighborhoods.centers[k], "centers");
  }
  for (std::int64_t k = 0; k < neighborhoods.offsets[neighborhoods.n_centers]; ++k) {
    check(neighborhoods.neighbors[k], "neighbors");
  }
}

void NeighborhoodSource::append_pairs(std::int64_t center, PairBuffer& pairs) const {
  const double* own = neighborhoods_.positions + 3 * atom(center);
  for (std::int64_t k = neighborhoods_.offsets[center]; k < neighborhoods_.offsets[center + 1]; ++k) {
    const std::int64_t j = neighborhoods_.neighbors[k];
    const double* other = neighborhoods_.positions + 3 * j;
    const std::array<double, 3> D{other[0] - own[0], other[1] - own[1], other[2] - own[2]};
    const double square = D[0] * D[0] + D[1] * D[1] + D[2] * D[2];
    if (!(square < cutoff_ * cutoff_)) continue;
    pairs.j.push_back(j);
    pairs.D.push_back(D);
    pairs.d.push_back(std::sqrt(square));
  }
}

}  // namespace castile
