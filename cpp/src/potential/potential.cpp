#include "castile/potential/potential.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

#include "castile/parallel.hpp"
#include "geometry/symmetric_outer.hpp"
#include "potential/pair_blocks.hpp"

namespace castile {
namespace {

/// Centers of a block from which on it is full. Blocks hold whole segments; what is computed for one does not depend
/// on the others. Large ones use the members of a committee for several segments at a time.
constexpr std::int64_t block_size = 64, block_size_of_members = 256;
/// Blocks whose pairs' gradients are kept at a time, to bound the memory.
constexpr std::int64_t round_blocks = 64;

/// What one block of centers gives, kept until the blocks are summed in order.
struct Block {
  std::vector<std::int64_t> offsets;  ///< of each center's pairs
  PairBuffer pairs;
  std::vector<double> energies, grad_D, members;
  std::vector<std::int32_t> species;
  std::vector<std::int64_t> segments;        ///< of each center
  std::vector<std::int64_t> segment_frames;  ///< of each segment
};

/// First centers of blocks, and the end.
template <typename Source>
std::vector<std::int64_t> cut_blocks(const Source& source, std::int64_t size) {
  std::vector<std::int64_t> firsts{0};
  const std::int64_t n_centers = source.n_centers();
  for (std::int64_t center = 0; center < n_centers;) {
    center = source.segment_end(center);
    if (center - firsts.back() >= size || center == n_centers) firsts.push_back(center);
  }
  return firsts;
}

template <typename Source>
class Summation {
 public:
  Summation(const Source& source, const PotentialResults& results) : source_(source), results_(results) {}

  /// Adds what the centers from `first` on give, in order.
  void add(std::int64_t first, const Block& block) const {
    for (std::size_t k = 0; k + 1 < block.offsets.size(); ++k) {
      const std::int64_t center = first + static_cast<std::int64_t>(k);
      if (results_.energies != nullptr) results_.energies[center] = block.energies[k];
      if (block.grad_D.empty()) continue;
      std::array<double, 3> own{};
      std::array<double, 9> strain{};
      for (std::int64_t pair = block.offsets[k]; pair < block.offsets[k + 1]; ++pair) {
        const double* f = block.grad_D.data() + 3 * pair;
        const auto index = static_cast<std::size_t>(pair);
        if (results_.forces != nullptr) {
          double* other = results_.forces + 3 * block.pairs.j[index];
          for (std::size_t axis = 0; axis < 3; ++axis) other[axis] -= f[axis];
        }
        for (std::size_t axis = 0; axis < 3; ++axis) own[axis] += f[axis];
        if (wants_strain()) add_symmetric_outer(f, block.pairs.D[index], strain.data());
      }
      if (results_.forces != nullptr) {
        double* force = results_.forces + 3 * source_.atom(center);
        for (std::size_t axis = 0; axis < 3; ++axis) force[axis] += own[axis];
      }
      if (results_.strains != nullptr) std::copy(strain.begin(), strain.end(), results_.strains + 9 * center);
      if (results_.strain == nullptr) continue;
      double* sum = results_.strain + 9 * source_.frame(center);
      for (std::size_t e = 0; e < 9; ++e) sum[e] += strain[e];
    }
  }

  /// Adds what the segments of a block give to a committee.
  void add_members(const Block& block, int n_members) const {
    const double* from = block.members.data();
    for (const std::int64_t frame : block.segment_frames) {
      double* sum = results_.members + frame * n_members;
      for (int k = 0; k < n_members; ++k) sum[k] += *from++;
    }
  }

 private:
  bool wants_strain() const { return results_.strain != nullptr || results_.strains != nullptr; }

  const Source& source_;
  const PotentialResults& results_;
};

}  // namespace

Potential::Potential(std::vector<std::shared_ptr<const EnergyTerm>> terms) : terms_(std::move(terms)) {
  if (terms_.empty()) throw std::invalid_argument("a potential needs at least one term");
  for (const auto& term : terms_) {
    if (term->n_species() != n_species()) {
      throw std::invalid_argument("all terms of a potential must know the same species, got " +
                                  std::to_string(n_species()) + " and " + std::to_string(term->n_species()));
    }
    cutoff_ = std::max(cutoff_, term->cutoff());
    if (n_members_ > 0 && term->n_members() > 0 && term->n_members() != n_members_) {
      throw std::invalid_argument("all terms of a potential must have committees of one size, got " +
                                  std::to_string(n_members_) + " and " + std::to_string(term->n_members()));
    }
    n_members_ = std::max(n_members_, term->n_members());
  }
}

template <typename Source>
void Potential::evaluate_all(Source source, const PotentialResults& results) const {
  const std::int64_t n_centers = source.n_centers();
  const bool with_gradients = results.forces != nullptr || results.strain != nullptr || results.strains != nullptr;
  if (results.forces != nullptr) std::fill_n(results.forces, 3 * source.n_atoms(), 0.0);
  if (results.strain != nullptr) std::fill_n(results.strain, 9 * source.n_frames(), 0.0);
  if (results.strains != nullptr) std::fill_n(results.strains, 9 * n_centers, 0.0);
  if (results.members != nullptr) std::fill_n(results.members, n_members_ * source.n_frames(), 0.0);
  const Summation<Source> summation(source, results);
  // Few blocks would leave threads without work.
  const bool share_members = results.members != nullptr && n_centers >= 16 * block_size_of_members;
  const std::vector<std::int64_t> firsts = cut_blocks(source, share_members ? block_size_of_members : block_size);
  const auto all_blocks = static_cast<std::int64_t>(firsts.size()) - 1;
  std::vector<Block> blocks(static_cast<std::size_t>(std::min(round_blocks, all_blocks)));
  for (std::int64_t start = 0; start < all_blocks; start += round_blocks) {
    const std::int64_t n_blocks = std::min(round_blocks, all_blocks - start);
    const std::int64_t* first_of = firsts.data() + start;
    source.prepare(first_of[0], first_of[n_blocks]);
    parallel_for(n_blocks, [&] {
      std::vector<std::shared_ptr<EnergyTerm::Workspace>> workspaces;
      for (const auto& term : terms_) workspaces.push_back(term->make_workspace());
      return [&, workspaces](std::int64_t index) {
        Block& block = blocks[static_cast<std::size_t>(index)];
        const std::int64_t first = first_of[index], last = first_of[index + 1];
        block.pairs.clear();
        block.offsets.assign(1, 0);
        block.species.clear();
        block.segments.clear();
        block.segment_frames.clear();
        for (std::int64_t center = first, end = first; center < last; ++center) {
          if (center == end) {
            end = source.segment_end(center);
            block.segment_frames.push_back(source.frame(center));
          }
          block.segments.push_back(static_cast<std::int64_t>(block.segment_frames.size()) - 1);
          source.append_pairs(center, block.pairs);
          block.offsets.push_back(block.pairs.size());
          block.species.push_back(source.species()[source.atom(center)]);
        }
        block.energies.assign(static_cast<std::size_t>(last - first), 0.0);
        block.grad_D.assign(with_gradients ? 3 * block.pairs.j.size() : 0, 0.0);
        const CenterPairs centers{last - first,         block.species.data(), block.offsets.data(),
                                  &block.pairs,         source.species(),     cutoff_,
                                  block.segments.data()};
        const bool with_members = results.members != nullptr;
        const std::size_t n_sums = block.segment_frames.size() * static_cast<std::size_t>(n_members_);
        block.members.assign(with_members ? n_sums : 0, 0.0);
        const CenterResults out{block.energies.data(), with_gradients ? block.grad_D.data() : nullptr,
                                with_members ? block.members.data() : nullptr, n_members_};
        for (std::size_t k = 0; k < terms_.size(); ++k) {
          terms_[k]->add(centers, *workspaces[k], out);
        }
      };
    });
    for (std::int64_t index = 0; index < n_blocks; ++index) {
      const Block& block = blocks[static_cast<std::size_t>(index)];
      summation.add(first_of[index], block);
      if (results.members != nullptr) summation.add_members(block, n_members_);
    }
  }
}

void Potential::evaluate(const Structures& structures, const PotentialResults& results) const {
  evaluate_all(FrameSource(structures, cutoff_), results);
}

void Potential::evaluate(const Neighborhoods& neighborhoods, const PotentialResults& results) const {
  evaluate_all(NeighborhoodSource(neighborhoods, cutoff_), results);
}

}  // namespace castile
