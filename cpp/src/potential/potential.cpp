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

/// Centers of a block. Nothing that is computed for one depends on the others, so that the number is free.
constexpr std::int64_t block_size = 64;
/// Blocks whose pairs' gradients are kept at a time, to bound the memory.
constexpr std::int64_t round_blocks = 128;

/// What one block of centers gives, kept until the blocks are summed in order.
struct Block {
  std::vector<std::int64_t> offsets;  ///< of each center's pairs
  PairBuffer pairs;
  std::vector<double> energies, grad_D, members;
  std::vector<std::int32_t> species;
};

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
  const Summation<Source> summation(source, results);
  std::vector<Block> blocks(
      static_cast<std::size_t>(std::min(round_blocks, (n_centers + block_size - 1) / block_size)));
  for (std::int64_t start = 0; start < n_centers; start += round_blocks * block_size) {
    const std::int64_t end = std::min(n_centers, start + round_blocks * block_size);
    const std::int64_t n_blocks = (end - start + block_size - 1) / block_size;
    source.prepare(start, end);
    parallel_for(n_blocks, [&] {
      std::vector<std::shared_ptr<EnergyTerm::Workspace>> workspaces;
      for (const auto& term : terms_) workspaces.push_back(term->make_workspace());
      return [&, workspaces](std::int64_t index) {
        Block& block = blocks[static_cast<std::size_t>(index)];
        const std::int64_t first = start + index * block_size;
        const std::int64_t last = std::min(end, first + block_size);
        block.pairs.clear();
        block.offsets.assign(1, 0);
        block.species.clear();
        for (std::int64_t center = first; center < last; ++center) {
          source.append_pairs(center, block.pairs);
          block.offsets.push_back(block.pairs.size());
          block.species.push_back(source.species()[source.atom(center)]);
        }
        block.energies.assign(static_cast<std::size_t>(last - first), 0.0);
        block.grad_D.assign(with_gradients ? 3 * block.pairs.j.size() : 0, 0.0);
        const CenterPairs centers{last - first, block.species.data(), block.offsets.data(),
                                  &block.pairs, source.species(),     cutoff_};
        const bool with_members = results.members != nullptr;
        block.members.assign(with_members ? block.energies.size() * static_cast<std::size_t>(n_members_) : 0, 0.0);
        const CenterResults out{block.energies.data(), with_gradients ? block.grad_D.data() : nullptr,
                                with_members ? block.members.data() : nullptr, n_members_};
        for (std::size_t k = 0; k < terms_.size(); ++k) {
          terms_[k]->add(centers, *workspaces[k], out);
        }
      };
    });
    for (std::int64_t index = 0; index < n_blocks; ++index) {
      const Block& block = blocks[static_cast<std::size_t>(index)];
      summation.add(start + index * block_size, block);
      if (results.members == nullptr) continue;
      std::copy(block.members.begin(), block.members.end(),
                results.members + (start + index * block_size) * n_members_);
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
