#include "castile/geometry/neighbor_list.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "castile/errors.hpp"
#include "castile/memory.hpp"
#include "castile/parallel.hpp"
#include "geometry/neighbor_search_impl.hpp"
#include "geometry/number_text.hpp"

namespace castile {
namespace {

constexpr std::int64_t block_size = 128;  // centers
constexpr double slot_bytes = sizeof(std::uint32_t);

std::string pairs_text(double n_pairs, const std::string& about) {
  return "the neighbor list would hold " + about + " " + number_text(n_pairs) + " pairs";
}

/// Expected pairs of the structures that are periodic along all axes: the density times the sphere.
double estimated_pairs(const Structures& structures, double cutoff) {
  const double sphere = 4.0 / 3.0 * std::acos(-1.0) * cutoff * cutoff * cutoff;
  double n_pairs = 0.0;
  for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
    const Structure structure = structures[frame];
    const auto& c = structure.cell;
    if (!(structure.pbc[0] && structure.pbc[1] && structure.pbc[2])) continue;
    const double volume = std::abs(c[0] * (c[4] * c[8] - c[5] * c[7]) + c[1] * (c[5] * c[6] - c[3] * c[8]) +
                                   c[2] * (c[3] * c[7] - c[4] * c[6]));
    const auto n_atoms = static_cast<double>(structure.n_atoms);
    if (volume > 0.0) n_pairs += n_atoms * n_atoms * sphere / volume;
  }
  return n_pairs;
}

}  // namespace

NeighborList::NeighborList(const Structures& structures, const PairCutoff& cutoff, const NeighborListOptions& options)
    : structures_(structures) {
  const std::int64_t n_atoms = structures.n_frames > 0 ? structures.atom_offsets[structures.n_frames] : 0;
  cutoff.check(n_atoms, structures.species);
  if (options.half && !cutoff.of_neighbor_species.empty()) {
    throw std::invalid_argument(
        "a half list needs cutoffs that are the same from both ends, not of_neighbor_species; ask for the full list");
  }
  offsets_.assign(static_cast<std::size_t>(n_atoms) + 1, 0);
  if (cutoff.cutoff == 0.0) return;
  if (!cutoff.depends_on_pair()) {
    const double n_pairs = estimated_pairs(structures, cutoff.cutoff) * (options.half ? 0.5 : 1.0);
    require_memory(
        n_pairs * (options.bytes_per_pair + slot_bytes), [&] { return pairs_text(n_pairs, "about"); },
        "use a smaller cutoff");
  }
  build_searches(cutoff);
  split_into_blocks();
  find_pairs(options);
}

NeighborList::NeighborList(NeighborList&&) noexcept = default;
NeighborList& NeighborList::operator=(NeighborList&&) noexcept = default;
NeighborList::~NeighborList() = default;

void NeighborList::build_searches(const PairCutoff& cutoff) {
  searches_.resize(static_cast<std::size_t>(structures_.n_frames));
  parallel_for(structures_.n_frames, [&] {
    return [&](std::int64_t frame) {
      PairCutoff own = cutoff;
      if (own.radii != nullptr) own.radii += structures_.atom_offsets[frame];
      searches_[static_cast<std::size_t>(frame)] =
          std::make_unique<const NeighborSearch>(structures_[frame], std::move(own));
    };
  });
}

/// The blocks depend on the structures alone, not on the number of threads.
void NeighborList::split_into_blocks() {
  for (std::int64_t frame = 0; frame < structures_.n_frames; ++frame) {
    const std::int64_t n_atoms = structures_.atom_offsets[frame + 1] - structures_.atom_offsets[frame];
    for (std::int64_t first = 0; first < n_atoms; first += block_size) {
      blocks_.push_back({frame, first, std::min(first + block_size, n_atoms), {}});
    }
  }
}

void NeighborList::find_pairs(const NeighborListOptions& options) {
  const double bytes_per_pair = options.bytes_per_pair + slot_bytes;
  MemoryBudget budget([&](double bytes) { return pairs_text(bytes / bytes_per_pair, "more than"); },
                      "use a smaller cutoff");
  parallel_for(static_cast<std::int64_t>(blocks_.size()), [&] {
    return [&, found = std::vector<std::uint32_t>()](std::int64_t index) mutable {
      Block& block = blocks_[static_cast<std::size_t>(index)];
      const auto& search = searches_[static_cast<std::size_t>(block.frame)]->impl();
      std::int64_t* count = offsets_.data() + structures_.atom_offsets[block.frame] + 1;
      found.clear();
      for (std::int64_t center = block.first; center < block.last; ++center) {
        const std::size_t before = found.size();
        search.append_slots(center, options.half, options.self_interaction, found);
        count[center] = static_cast<std::int64_t>(found.size() - before);
      }
      budget.spend(static_cast<std::int64_t>(static_cast<double>(found.size()) * bytes_per_pair));
      block.slots = found;
    };
  });
  std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
}

void NeighborList::write(const PairArrays& arrays) const {
  parallel_for(static_cast<std::int64_t>(blocks_.size()), [&] {
    return [&](std::int64_t index) { write_block(blocks_[static_cast<std::size_t>(index)], arrays); };
  });
}

void NeighborList::write_block(const Block& block, const PairArrays& arrays) const {
  const auto& search = searches_[static_cast<std::size_t>(block.frame)]->impl();
  const std::int64_t first_atom = structures_.atom_offsets[block.frame];
  const std::uint32_t* slots = block.slots.data();
  for (std::int64_t atom = block.first; atom < block.last; ++atom) {
    const std::int64_t first = offsets_[static_cast<std::size_t>(first_atom + atom)];
    const std::int64_t n = offsets_[static_cast<std::size_t>(first_atom + atom + 1)] - first;
    if (arrays.i != nullptr) std::fill_n(arrays.i + first, n, first_atom + atom);
    const auto from = [&](auto* array, std::int64_t width) { return array == nullptr ? array : array + width * first; };
    search.write_pairs(search.atom(atom), slots, n,
                       {from(arrays.j, 1), from(arrays.S, 3), from(arrays.D, 3), from(arrays.d, 1), first_atom});
    slots += n;
  }
}

}  // namespace castile
