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

void check_number_of_entries(const std::vector<double>& table, std::int64_t n_entries, const char* requirement) {
  if (static_cast<std::int64_t>(table.size()) != n_entries) {
    throw std::invalid_argument(std::string(requirement) + " entries, got " + std::to_string(table.size()));
  }
}

void check_species_pairs(const PairCutoff& cutoff) {
  const auto n_species = static_cast<std::size_t>(std::max(cutoff.n_species, 0));
  const auto& table = cutoff.of_species_pair;
  check_number_of_entries(table, std::int64_t{cutoff.n_species} * cutoff.n_species,
                          "of_species_pair must have n_species * n_species");
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

void check_neighbor_species(const PairCutoff& cutoff) {
  check_number_of_entries(cutoff.of_neighbor_species, cutoff.n_species, "of_neighbor_species must have n_species");
  for (const double value : cutoff.of_neighbor_species) {
    if (!(value >= 0.0 && value <= cutoff.cutoff)) {
      throw std::invalid_argument("of_neighbor_species must lie between 0 and the largest cutoff, got " +
                                  std::to_string(value));
    }
  }
}

}  // namespace

void PairBuffer::clear() {
  j.clear();
  D.clear();
  d.clear();
}

void PairCutoff::check(std::int64_t n_atoms, const std::int32_t* species, std::int64_t n_points) const {
  if (!std::isfinite(cutoff) || cutoff < 0.0 || (cutoff == 0.0 && !depends_on_pair())) {
    throw std::invalid_argument("cutoff must be a positive, finite number in Å, got " + std::to_string(cutoff));
  }
  const bool needs_center = radii != nullptr || !of_species_pair.empty();
  if ((radii != nullptr) + !of_species_pair.empty() + !of_neighbor_species.empty() > 1) {
    throw std::invalid_argument(
        "cutoffs are given by species pairs, by neighbor species or by radii, not by two of them");
  }
  if (needs_center && n_points > 0) {
    throw std::invalid_argument(
        "centers that are points have neither species nor radius; give one cutoff, or one per neighbor species");
  }
  if (!of_species_pair.empty()) check_species_pairs(*this);
  if (!of_neighbor_species.empty()) check_neighbor_species(*this);
  if (!of_species_pair.empty() || !of_neighbor_species.empty()) {
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

NeighborSearch::Impl::Impl(const Structure& structure, PairCutoff cutoff, const double* points, std::int64_t n_points)
    : structure_(structure),
      points_(points),
      cutoff_((cutoff.check(structure.n_atoms, structure.species, n_points), std::move(cutoff))),
      grid_(structure, cutoff_.cutoff > 0.0 ? cutoff_.cutoff : 1.0,  // any grid will do to find nothing
            points, n_points) {
  const double inner = cutoff_.depends_on_pair() ? 0.0 : std::max(0.0, grid_.inner_radius());
  certain2_ = inner * inner;
}

void NeighborSearch::Impl::append_pairs(const Center& center, PairBuffer& pairs) const {
  std::array<std::uint32_t, Hits::capacity> slots;
  grid_.visit(center.index, [&](const Hits& hits) {
    const std::uint32_t n = select_pairs(center, false, false, hits, slots.data());
    if (n == 0) return;
    const std::size_t first = pairs.j.size();
    pairs.j.resize(first + n);
    pairs.D.resize(first + n);
    pairs.d.resize(first + n);
    write_pairs(center, slots.data(), n, {pairs.j.data() + first, nullptr, pairs.D[first].data(), &pairs.d[first]});
  });
}

void NeighborSearch::Impl::append_slots(std::int64_t atom, bool half, bool self_interaction,
                                        std::vector<std::uint32_t>& slots) const {
  const Center center = this->atom(atom);
  grid_.visit(atom, [&](const Hits& hits) {
    const std::size_t start = slots.size();
    slots.resize(start + hits.n);
    slots.resize(start + select_pairs(center, half, self_interaction, hits, slots.data() + start));
  });
}

std::uint32_t NeighborSearch::Impl::select_pairs(const Center& center, bool half, bool self_interaction,
                                                 const Hits& hits, std::uint32_t* out) const {
  const std::uint32_t n = half || self_interaction ? 0 : copy_certain(hits, center.home, out);
  return n > 0 ? n : copy_pairs(center, half, self_interaction, hits, out);
}

/// Copies all slots but the center's own, and returns how many, if all of them are pairs beyond doubt, else zero.
std::uint32_t NeighborSearch::Impl::copy_certain(const Hits& hits, std::uint32_t home, std::uint32_t* out) const {
  std::uint32_t n = 0;
  bool certain = true;
  for (std::uint32_t hit = 0; hit < hits.n; ++hit) {
    out[n] = hits.slot[hit];
    n += hits.slot[hit] != home ? 1U : 0U;
    certain &= hits.distance2[hit] < certain2_;
  }
  return certain ? n : 0;
}

std::uint32_t NeighborSearch::Impl::copy_pairs(const Center& center, bool half, bool self_interaction, const Hits& hits,
                                               std::uint32_t* out) const {
  std::uint32_t n = 0;
  for (std::uint32_t hit = 0; hit < hits.n; ++hit) {
    const std::uint32_t slot = hits.slot[hit];
    if (slot == center.home) {
      if (self_interaction && cutoff(center, center.index) > 0.0) out[n++] = slot;
      continue;
    }
    if (half) {
      const std::int64_t j = grid_.id(slot);
      if (j < center.index || (j == center.index && !is_first_of_twins(grid_.shift(center.index, slot)))) continue;
    }
    if (is_pair(center, slot, hits.distance2[hit])) out[n++] = slot;
  }
  return n;
}

void NeighborSearch::Impl::write_pairs(const Center& center, const std::uint32_t* slots, std::int64_t n,
                                       const Target& target) const {
  write_pairs_({grid_.images(), slots, n, center.position, center.wrap, structure_.cell.data(), target.first_atom,
                target.j, target.S, target.D, target.d});
}

NeighborSearch::NeighborSearch(const Structure& structure, PairCutoff cutoff, const double* points,
                               std::int64_t n_points)
    : impl_(std::make_unique<const Impl>(structure, std::move(cutoff), points, n_points)) {}
NeighborSearch::NeighborSearch(NeighborSearch&&) noexcept = default;
NeighborSearch& NeighborSearch::operator=(NeighborSearch&&) noexcept = default;
NeighborSearch::~NeighborSearch() = default;

void NeighborSearch::append_neighbors(std::int64_t center, PairBuffer& pairs) const {
  impl_->append_pairs(impl_->atom(center), pairs);
}

void NeighborSearch::append_neighbors_of_point(std::int64_t point, PairBuffer& pairs) const {
  if (impl_->grid().n_slots() > 0) impl_->append_pairs(impl_->point(point), pairs);
}

}  // namespace castile
