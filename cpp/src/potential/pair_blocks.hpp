// Blocks of centers with their pairs, from frames or from given neighbors. Atoms are counted over all frames.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "castile/potential/potential.hpp"

namespace castile {

/// Centers of a segment at most.
constexpr std::int64_t segment_size = 64;

/// All atoms of frames, each a center.
class FrameSource {
 public:
  FrameSource(const Structures& structures, double cutoff) : structures_(structures), cutoff_(cutoff) {}

  std::int64_t n_centers() const { return structures_.atom_offsets[structures_.n_frames]; }
  std::int64_t n_atoms() const { return n_centers(); }
  std::int64_t n_frames() const { return structures_.n_frames; }
  const std::int32_t* species() const { return structures_.species; }
  std::int64_t atom(std::int64_t center) const { return center; }
  std::int64_t frame(std::int64_t center) const;
  /// The end of a segment that begins with a center.
  std::int64_t segment_end(std::int64_t center) const {
    return std::min(structures_.atom_offsets[frame(center) + 1], center + segment_size);
  }

  /// Makes ready for centers [first, last), which come next.
  void prepare(std::int64_t first, std::int64_t last);
  void append_pairs(std::int64_t center, PairBuffer& pairs) const;

 private:
  Structures structures_;
  double cutoff_;
  std::int64_t first_frame_ = 0;  ///< of the searches
  std::vector<std::unique_ptr<const NeighborSearch>> searches_;
};

/// Centers whose neighbors the caller knows.
class NeighborhoodSource {
 public:
  /// Throws std::invalid_argument for centers and neighbors that are no atoms.
  NeighborhoodSource(const Neighborhoods& neighborhoods, double cutoff);

  std::int64_t n_centers() const { return neighborhoods_.n_centers; }
  std::int64_t n_atoms() const { return neighborhoods_.n_atoms; }
  std::int64_t n_frames() const { return 1; }
  const std::int32_t* species() const { return neighborhoods_.species; }
  std::int64_t atom(std::int64_t center) const {
    return neighborhoods_.centers == nullptr ? center : neighborhoods_.centers[center];
  }
  std::int64_t frame(std::int64_t) const { return 0; }
  std::int64_t segment_end(std::int64_t center) const { return std::min(n_centers(), center + segment_size); }
  void prepare(std::int64_t, std::int64_t) {}
  void append_pairs(std::int64_t center, PairBuffer& pairs) const;

 private:
  Neighborhoods neighborhoods_;
  double cutoff_;
};

}  // namespace castile
