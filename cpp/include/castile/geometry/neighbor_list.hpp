#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "castile/geometry/neighbor_search.hpp"
#include "castile/geometry/structure.hpp"

namespace castile {

struct NeighborListOptions {
  /// Each pair once: of (i, j, S) and (j, i, -S) the one with i < j; of a self image's two, the one whose S
  /// has a positive first entry that is not zero.
  bool half = false;
  /// Also the pair (i, i, 0) of each atom, unless its cutoff is zero.
  bool self_interaction = false;
  /// What the caller will store per pair, for the check of memory.
  double bytes_per_pair = 60.0;
};

/// Where a list is written; n_pairs rows each, null for what is not wanted.
struct PairArrays {
  std::int64_t* i = nullptr;  ///< centers, counted over the atoms of all structures
  std::int64_t* j = nullptr;  ///< neighbors, counted likewise
  std::int32_t* S = nullptr;  ///< (n_pairs, 3) cell shifts
  double* D = nullptr;        ///< (n_pairs, 3) r_j - r_i + S @ cell, Å
  double* d = nullptr;        ///< norm of D, Å
};

/// The neighbors of all atoms of many structures, sorted by center.
///
/// Construction finds and counts the pairs, keeping four bytes for each; `write` computes what is asked for,
/// so that the caller allocates once. Both run on all threads and give the same bits on any number of them.
class NeighborList {
 public:
  /// The structures' arrays must outlive the list; `cutoff.radii` counts over the atoms of all structures.
  /// Throws what NeighborSearch throws; MemoryLimitExceeded also if the pairs would not fit.
  NeighborList(const Structures& structures, const PairCutoff& cutoff, const NeighborListOptions& options);
  NeighborList(NeighborList&&) noexcept;
  NeighborList& operator=(NeighborList&&) noexcept;
  ~NeighborList();

  std::int64_t n_pairs() const { return offsets_.back(); }
  /// (n_atoms + 1): the pairs of center c are offsets[c] to offsets[c + 1].
  const std::vector<std::int64_t>& offsets() const { return offsets_; }

  void write(const PairArrays& arrays) const;

 private:
  /// Some neighboring centers of one structure, and the images they see, center after center.
  struct Block {
    std::int64_t frame;
    std::int64_t first;  // atom within the frame
    std::int64_t last;
    std::vector<std::uint32_t> slots;
  };

  void build_searches(const PairCutoff& cutoff);
  void split_into_blocks();
  void find_pairs(const NeighborListOptions& options);
  void write_block(const Block& block, const PairArrays& arrays) const;

  Structures structures_;
  std::vector<std::unique_ptr<const NeighborSearch>> searches_;
  std::vector<Block> blocks_;
  std::vector<std::int64_t> offsets_;
};

}  // namespace castile
