// What the density descriptors share while they work on a batch of structures.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"
#include "castile/memory.hpp"
#include "castile/parallel.hpp"
#include "descriptors/row_space.hpp"
#include "descriptors/unit_rows.hpp"

namespace castile {

/// A run of centers of one frame and, with averages, of one row: the unit of parallel work. Its size depends on the
/// frame alone, never on the threads or on the other frames, so that partial sums have the same bits for any batch.
struct CenterBlock {
  std::int64_t frame;
  std::int64_t row;    ///< that the centers are averaged to; without averages that of the first
  std::int64_t first;  ///< centers, counted over all frames
  std::int64_t last;
};

/// Stops sparse results that outgrow the memory; columns are numbers of 32 bits, and joining the rows makes a copy.
template <typename T>
class SparseRowBudget {
 public:
  void spend(std::int64_t row_size) { budget_.spend(row_size * std::int64_t{2 * sizeof(T) + sizeof(std::int32_t)}); }

 private:
  MemoryBudget budget_{[](double) { return std::string("the sparse rows"); },
                       "transform fewer frames or centers at a time, or use average="};
};

/// Adds values in the layout of `c` to a sum that has `n_channels` channels, those of `c` among them.
template <typename T>
void add_to_channels(const Coefficients<T>& c, const std::vector<T>& values, int n_channels, T* sum) {
  const int n_rows = (c.l_max + 1) * (c.l_max + 1);
  const std::int64_t stride = static_cast<std::int64_t>(n_channels) * c.n_padded;
  for (int lm = 0; lm < n_rows; ++lm) {
    for (int channel = 0; channel < c.n_channels(); ++channel) {
      const T* in = values.data() + lm * c.stride() + static_cast<std::int64_t>(channel) * c.n_padded;
      T* out =
          sum + lm * stride + static_cast<std::int64_t>(c.channels[static_cast<std::size_t>(channel)]) * c.n_padded;
      for (int n = 0; n < c.n_padded; ++n) out[n] += in[n];
    }
  }
}

template <typename T>
class DensityDescriptor<T>::Batch {
 public:
  Batch(const Structures& structures, const Centers& centers, const DensityDescriptor& descriptor);

  const Structures& structures() const { return structures_; }
  std::int64_t n_frames() const { return structures_.n_frames; }
  std::int64_t n_rows() const { return n_rows_; }
  std::int64_t n_centers(std::int64_t frame) const { return centers_.offsets[frame + 1] - centers_.offsets[frame]; }
  std::int64_t first_center(std::int64_t frame) const { return centers_.offsets[frame]; }
  /// How many centers an averaged row has.
  std::int64_t row_size(std::int64_t row) const { return row_offsets_[row + 1] - row_offsets_[row]; }
  /// Index of the center's atom within its frame, or -1 for a point.
  std::int64_t atom(std::int64_t center) const { return centers_.atoms[center]; }
  std::int64_t n_atoms(std::int64_t frame) const {
    return structures_.atom_offsets[frame + 1] - structures_.atom_offsets[frame];
  }
  /// What moves with a center: its atom or, counted behind the frame's atoms, the point itself.
  std::int64_t moving(std::int64_t frame, std::int64_t center) const {
    return atom(center) >= 0 ? atom(center) : n_atoms(frame) + center - first_center(frame);
  }
  const std::int32_t* species(std::int64_t frame) const {
    return structures_.species + structures_.atom_offsets[frame];
  }
  std::int32_t species_of_center(std::int64_t frame, std::int64_t center) const {
    return atom(center) >= 0 ? species(frame)[atom(center)] : -1;
  }
  const std::vector<CenterBlock>& blocks() const { return blocks_; }
  std::int64_t n_blocks() const { return static_cast<std::int64_t>(blocks_.size()); }

  /// Appends the neighbors of a center; `own_search` and `own_frame` are the worker's.
  void find_neighbors(std::int64_t frame, std::int64_t center, std::unique_ptr<const NeighborSearch>& own_search,
                      std::int64_t& own_frame, PairBuffer& pairs) const;

  /// Runs body(worker, index of the block) over the blocks first to last.
  template <typename Body>
  void for_each_block(std::int64_t first, std::int64_t last, const Body& body) const {
    parallel_for(last - first, [&] {
      return [first, &body, worker = std::make_shared<Worker>(descriptor_)](std::int64_t index) {
        body(*worker, first + index);
      };
    });
  }

  /// Runs body(worker, block, center) over all centers, those of a block in order on one thread.
  template <typename Body>
  void for_each_center(const Body& body) const {
    for_each_block(0, n_blocks(), [&](Worker& worker, std::int64_t index) {
      const CenterBlock& block = blocks_[static_cast<std::size_t>(index)];
      for (std::int64_t center = block.first; center < block.last; ++center) body(worker, block, center);
    });
  }

  /// Runs body(worker, item) over n_items items.
  template <typename Body>
  void for_each(std::int64_t n_items, const Body& body) const {
    parallel_for(n_items, [&] {
      return [&body, worker = std::make_shared<Worker>(descriptor_)](std::int64_t item) { body(*worker, item); };
    });
  }

  /// For each row, adds what add(worker, block, center, sum) adds to sum[0..size_of(row)) over its centers, blocks in
  /// order, and calls finish(worker, row, mean) with the mean, zero for rows without centers. Works in rounds, whose
  /// partial sums, of up to `largest_size` numbers, bound the memory.
  template <typename SizeOf, typename Add, typename Finish>
  void average_rows(std::int64_t largest_size, const SizeOf& size_of, const Add& add, const Finish& finish) const;

 private:
  void split_into_blocks(std::int64_t block_size);
  std::unique_ptr<const NeighborSearch> make_search(std::int64_t frame) const;

  const DensityDescriptor& descriptor_;
  Structures structures_;
  Centers centers_;
  const std::int64_t* row_offsets_;
  std::int64_t n_rows_;
  PairCutoff cutoff_;
  std::vector<std::unique_ptr<const NeighborSearch>> searches_;  ///< shared by the blocks of a large frame
  std::vector<CenterBlock> blocks_;
};

/// One thread's buffers, and the steps that it takes for one center.
template <typename T>
struct DensityDescriptor<T>::Worker {
  explicit Worker(const DensityDescriptor& owner) : descriptor(owner) {}

  const DensityDescriptor& descriptor;
  std::unique_ptr<const NeighborSearch> own_search;
  std::int64_t own_frame = -1;
  PairBuffer pairs;
  Environment<T> environment;
  ExpansionScratch<T> scratch;
  typename FeatureHead<T>::Scratch head_scratch;
  Coefficients<T> species_c, species_c_dot;  ///< a channel per species
  Coefficients<T> mixed_c, mixed_c_dot;
  Coefficients<T> mean_c;  ///< of a row
  std::vector<T> row, row_dot;
  std::vector<T> grad_c, grad_mixed;
  std::vector<double> pair_vectors;

  /// The coefficients that the head takes.
  Coefficients<T>& c() { return descriptor.mixing_.mixes() ? mixed_c : species_c; }
  const Coefficients<T>& c() const { return descriptor.mixing_.mixes() ? mixed_c : species_c; }
  const Coefficients<T>& c_dot() const { return descriptor.mixing_.mixes() ? mixed_c_dot : species_c_dot; }

  void find_pairs(const Batch& batch, std::int64_t frame, std::int64_t center) {
    pairs.clear();
    batch.find_neighbors(frame, center, own_search, own_frame, pairs);
  }

  /// Sorts the pairs that were found for the kernels.
  void make_environment(const Batch& batch, std::int64_t frame, std::int64_t center) {
    descriptor.expansion_.make_environment(pairs, 0, pairs.size(), batch.species(frame),
                                           batch.species_of_center(frame, center), environment, scratch);
  }

  void expand_environment() {
    descriptor.expansion_.expand(environment, species_c, scratch);
    if (descriptor.mixing_.mixes()) descriptor.mixing_.apply(species_c, mixed_c);
  }

  void expand(const Batch& batch, std::int64_t frame, std::int64_t center) {
    find_pairs(batch, frame, center);
    make_environment(batch, frame, center);
    expand_environment();
  }

  /// Puts the features of some coefficients into `row`.
  T* forward(const RowSpace& space, const Coefficients<T>& coefficients) {
    row.resize(static_cast<std::size_t>(space.size()));
    space.head->forward(coefficients, row.data(), head_scratch);
    return row.data();
  }

  /// The same, normalised; returns the norm that they had.
  double unit_row(const RowSpace& space, const Coefficients<T>& coefficients) {
    return normalize_row(forward(space, coefficients), space.size());
  }
};

template <typename T>
template <typename SizeOf, typename Add, typename Finish>
void DensityDescriptor<T>::Batch::average_rows(std::int64_t largest_size, const SizeOf& size_of, const Add& add,
                                               const Finish& finish) const {
  constexpr std::int64_t round_bytes = std::int64_t{1} << 25;
  constexpr std::int64_t least = 16, most = 256;
  const std::int64_t round =
      std::clamp(round_bytes / (std::max<std::int64_t>(largest_size, 1) * std::int64_t{sizeof(T)}), least, most);
  std::vector<T> carried;  // of the row that the round before left unfinished
  std::vector<T> next_carried;
  std::vector<std::vector<T>> sums(static_cast<std::size_t>(std::min(round, n_blocks())));
  for (std::int64_t first = 0; first < n_blocks(); first += round) {
    const std::int64_t last = std::min(first + round, n_blocks());
    for_each_block(first, last, [&](Worker& worker, std::int64_t index) {
      const CenterBlock& block = blocks_[static_cast<std::size_t>(index)];
      auto& sum = sums[static_cast<std::size_t>(index - first)];
      sum.assign(static_cast<std::size_t>(size_of(block.row)), T(0));
      for (std::int64_t center = block.first; center < block.last; ++center) add(worker, block, center, sum.data());
    });
    std::vector<std::int64_t> starts;  // of each row's blocks
    for (std::int64_t index = first; index < last; ++index) {
      const bool new_row = index == first || blocks_[static_cast<std::size_t>(index)].row !=
                                                 blocks_[static_cast<std::size_t>(index) - 1].row;
      if (new_row) starts.push_back(index);
    }
    starts.push_back(last);
    for_each(static_cast<std::int64_t>(starts.size()) - 1, [&](Worker& worker, std::int64_t item) {
      const auto part = static_cast<std::size_t>(item);
      const std::int64_t row = blocks_[static_cast<std::size_t>(starts[part])].row;
      std::vector<T>& total = sums[static_cast<std::size_t>(starts[part] - first)];
      const bool continues = blocks_[static_cast<std::size_t>(starts[part])].first > row_offsets_[row];
      if (continues) {
        for (std::size_t k = 0; k < total.size(); ++k) total[k] = carried[k] + total[k];
      }
      for (std::int64_t index = starts[part] + 1; index < starts[part + 1]; ++index) {
        const auto& sum = sums[static_cast<std::size_t>(index - first)];
        for (std::size_t k = 0; k < total.size(); ++k) total[k] += sum[k];
      }
      if (blocks_[static_cast<std::size_t>(starts[part + 1]) - 1].last < row_offsets_[row + 1]) {
        next_carried = total;
        return;
      }
      const auto n = static_cast<T>(row_size(row));
      for (T& value : total) value /= n;
      finish(worker, row, total);
    });
    std::swap(carried, next_carried);
  }
  Worker worker(descriptor_);
  for (std::int64_t row = 0; row < n_rows_; ++row) {
    if (row_size(row) == 0) finish(worker, row, std::vector<T>(static_cast<std::size_t>(size_of(row)), T(0)));
  }
}

template <typename T>
template <typename Finish>
void DensityDescriptor<T>::for_each_mean(const Batch& batch, const RowSpaces& spaces, const Finish& finish) const {
  if (parameters_.average == Average::outer) {
    batch.average_rows(
        spaces.largest([](const RowSpace& space) { return space.size(); }),
        [&](std::int64_t row) { return spaces[row].size(); },
        [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
          const RowSpace& space = spaces[block.row];
          worker.expand(batch, block.frame, center);
          space.relabel(worker.c());
          const T* row = worker.forward(space, worker.c());
          for (std::int64_t k = 0; k < space.size(); ++k) sum[k] += row[k];
        },
        finish);
    return;
  }
  const auto n_numbers = [&](const RowSpace& space) { return n_coefficients(space); };
  batch.average_rows(
      spaces.largest(n_numbers), [&](std::int64_t row) { return n_numbers(spaces[row]); },
      [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
        const RowSpace& space = spaces[block.row];
        worker.expand(batch, block.frame, center);
        space.relabel(worker.c());
        add_to_channels(worker.c(), worker.c().values, space.n_channels(), sum);
      },
      finish);
}

}  // namespace castile
