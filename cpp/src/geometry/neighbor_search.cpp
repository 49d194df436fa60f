#include "castile/geometry/neighbor_search.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "geometry/neighbor_search_impl.hpp"

namespace castile {
namespace {

/// Of a pair (i, i, S) and its twin (i, i, -S), a half list keeps the one whose first entry that is not
/// zero is positive.
bool is_first_of_twins(const std::array<std::int32_t, 3>& shift) { return shift > std::array<std::int32_t, 3>{}; }

void check_table(const PairCutoff& cutoff) {
  const auto n_species = static_cast<std::size_t>(cutoff.n_species);
  const auto& table = cutoff.of_species_pair;
  if (cutoff.n_species < 0 || table.size() != n_species * n_species) {
    throw std::invalid_argument("of_species_pair must have n_species * n_species entries, got " +
                                std::to_string(table.size()));
  }
  for (std::size_t a = 0; a < n_species; ++a) {
    for (std::size_t b = 0; b < n_species; ++b) {
      const double value = table[a * n_species + b];
      if (!(value >= 0.0 && value <= cutoff.cutoff) || value != table[b * n_species + a]) {
        throw std::invalid_argument(
            "of_species_pair must be symmetric with entries between 0 and the largest cutoff, got " +
            std::to_string(value));
      }
    }
  }
}

}  // namespace

void PairBuffer::clear() {
  j.clear();
  D.clear();
  d.clear();
  shift.clear();
}

void PairCutoff::check(std::int64_t n_atoms, const std::int32_t* species) const {
  if (!std::isfinite(cutoff) || cutoff < 0.0 || (cutoff == 0.0 && !depends_on_pair())) {
    throw std::invalid_argument("cutoff must be a positive, finite number in Å, got " + std::to_string(cutoff));
  }
  if (radii != nullptr && !of_species_pair.empty()) {
    throw std::invalid_argument("cutoffs are given by species pairs or by radii, not both");
  }
  if (!of_species_pair.empty()) {
    check_table(*this);
    for (std::int64_t atom = 0; atom < n_atoms; ++atom) {
      if (species[atom] < 0 || species[atom] >= n_species) {
        throw std::invalid_argument("species must lie between 0 and n_species - 1 = " + std::to_string(n_species - 1) +
                                    ", got " + std::to_string(species[atom]) + " for atom " + std::to_string(atom));
      }
    }
  }
  for (std::int64_t atom = 0; radii != nullptr && atom < n_atoms; ++atom) {
    if (!(radii[atom] >= 0.0 && 2.0 * radii[atom] <= cutoff)) {
      throw std::invalid_argument("radii must lie between 0 and half the largest cutoff, got " +
                                  std::to_string(radii[atom]) + " for atom " + std::to_string(atom));
    }
  }
}

NeighborSearch::Impl::Impl(const Structure& structure, PairCutoff cutoff)
    : structure_(structure),
      cutoff_((cutoff.check(structure.n_atoms, structure.species), std::move(cutoff))),
      grid_(structure, cutoff_.cutoff > 0.0 ? cutoff_.cutoff : 1.0) {  // any grid will do to find nothing
  const double inner = cutoff_.depends_on_pair() ? 0.0 : std::max(0.0, grid_.inner_radius());
  certain2_ = inner * inner;
}

void NeighborSearch::Impl::append_slots(std::int64_t center, bool half, bool self_interaction,
                                        std::vector<std::uint32_t>& slots) const {
  const std::uint32_t home = grid_.home(center);
  grid_.visit(center, [&](const Hits& hits) {
    const std::size_t start = slots.size();
    slots.resize(start + hits.n);
    std::uint32_t* out = slots.data() + start;
    for (std::uint32_t hit = 0; hit < hits.n; ++hit) {
      const std::uint32_t slot = hits.slot[hit];
      if (slot == home) {
        if (self_interaction && cutoff(center, center) > 0.0) *out++ = slot;
        continue;
      }
      if (half) {
        const std::int64_t j = grid_.id(slot);
        if (j < center || (j == center && !is_first_of_twins(grid_.shift(center, slot)))) continue;
      }
      if (is_pair(center, slot, hits.distance2[hit])) *out++ = slot;
    }
    slots.resize(static_cast<std::size_t>(out - slots.data()));
  });
}

NeighborSearch::NeighborSearch(const Structure& structure, PairCutoff cutoff)
    : impl_(std::make_unique<const Impl>(structure, std::move(cutoff))) {}
NeighborSearch::NeighborSearch(NeighborSearch&&) noexcept = default;
NeighborSearch& NeighborSearch::operator=(NeighborSearch&&) noexcept = default;
NeighborSearch::~NeighborSearch() = default;

std::int64_t NeighborSearch::n_images() const { return impl_->grid().n_slots(); }

void NeighborSearch::append_neighbors(std::int64_t center, PairBuffer& pairs) const {
  const ImageGrid& grid = impl_->grid();
  const std::uint32_t home = grid.home(center);
  grid.visit(center, [&](const Hits& hits) {
    std::size_t n = pairs.j.size();
    const std::size_t room = n + hits.n;
    pairs.j.resize(room);
    pairs.D.resize(room);
    pairs.d.resize(room);
    if (pairs.with_shifts) pairs.shift.resize(room);
    for (std::uint32_t hit = 0; hit < hits.n; ++hit) {
      const std::uint32_t slot = hits.slot[hit];
      if (slot == home) continue;
      const std::int32_t j = grid.id(slot);
      const auto shift = grid.shift(center, slot);
      const Impl::Pair pair = impl_->pair(center, j, shift);
      if (!(pair.d < impl_->cutoff(center, j))) continue;
      pairs.j[n] = j;
      pairs.D[n] = pair.D;
      pairs.d[n] = pair.d;
      if (pairs.with_shifts) pairs.shift[n] = shift;
      ++n;
    }
    pairs.j.resize(n);
    pairs.D.resize(n);
    pairs.d.resize(n);
    if (pairs.with_shifts) pairs.shift.resize(n);
  });
}

}  // namespace castile
