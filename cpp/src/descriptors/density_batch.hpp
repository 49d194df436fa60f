// What the density descriptors share while they work on a batch of structures.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"
#include "castile/parallel.hpp"

namespace castile {

/// A run of centers of one frame: the unit of parallel work. Its size depends on the frame alone, never on the
/// threads or on the other frames, so that partial sums over items have the same bits for any batch.
struct CenterBlock {
  std::int64_t index;
  std::int64_t frame;
  std::int64_t first;  ///< centers, counted over all frames
  std::int64_t last;
};

template <typename T>
class DensityDescriptor<T>::Batch {
 public:
  Batch(const Structures& structures, const Centers& centers, double cutoff, std::int64_t block_size)
      : structures_(structures), centers_(centers) {
    searches_.resize(static_cast<std::size_t>(structures.n_frames));
    frame_blocks_.push_back(0);
    for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
      for (std::int64_t first = centers.offsets[frame]; first < centers.offsets[frame + 1]; first += block_size) {
        blocks_.push_back({static_cast<std::int64_t>(blocks_.size()), frame, first,
                           std::min(first + block_size, centers.offsets[frame + 1])});
      }
      frame_blocks_.push_back(static_cast<std::int64_t>(blocks_.size()));
    }
    cutoff_.cutoff = cutoff;
    parallel_for(structures.n_frames, [&] {
      return [&](std::int64_t frame) {
        const auto [first, last] = blocks_of_frame(frame);
        if (last - first > 1) searches_[static_cast<std::size_t>(frame)] = make_search(frame);
      };
    });
  }

  const Structures& structures() const { return structures_; }
  std::int64_t n_frames() const { return structures_.n_frames; }
  std::int64_t n_centers(std::int64_t frame) const { return centers_.offsets[frame + 1] - centers_.offsets[frame]; }
  std::int64_t first_center(std::int64_t frame) const { return centers_.offsets[frame]; }
  std::int64_t atom(std::int64_t center) const { return centers_.atoms[center]; }
  const std::vector<CenterBlock>& blocks() const { return blocks_; }
  /// Blocks of a frame, half open.
  std::pair<std::int64_t, std::int64_t> blocks_of_frame(std::int64_t frame) const {
    return {frame_blocks_[static_cast<std::size_t>(frame)], frame_blocks_[static_cast<std::size_t>(frame) + 1]};
  }
  const std::int32_t* species(std::int64_t frame) const {
    return structures_.species + structures_.atom_offsets[frame];
  }
  /// The search that the blocks of a large frame share; null for frames of one block, whose worker makes its own.
  const NeighborSearch* shared_search(std::int64_t frame) const {
    return searches_[static_cast<std::size_t>(frame)].get();
  }
  std::unique_ptr<const NeighborSearch> make_search(std::int64_t frame) const {
    return std::make_unique<const NeighborSearch>(structures_[frame], cutoff_);
  }

  /// Runs body(worker, block, center) over all centers, those of a block in order on one thread.
  template <typename Body>
  void for_each_center(const DensityDescriptor& descriptor, const Body& body) const {
    parallel_for(static_cast<std::int64_t>(blocks_.size()), [&] {
      return [this, &body, worker = std::make_shared<Worker>(descriptor)](std::int64_t index) {
        const CenterBlock& block = blocks_[static_cast<std::size_t>(index)];
        for (std::int64_t center = block.first; center < block.last; ++center) body(*worker, block, center);
      };
    });
  }

  /// Writes, for each frame, the mean over its centers of what add(worker, block, center, sum) adds to
  /// sum[0..size); zero for frames without centers. Blocks are summed in order.
  template <typename Add>
  void average_over_centers(const DensityDescriptor& descriptor, std::int64_t size, T* means, const Add& add) const {
    std::vector<std::vector<T>> sums(blocks_.size());
    for_each_center(descriptor, [&](Worker& worker, const CenterBlock& block, std::int64_t center) {
      auto& sum = sums[static_cast<std::size_t>(block.index)];
      sum.resize(static_cast<std::size_t>(size), T(0));
      add(worker, block, center, sum.data());
    });
    for (std::int64_t frame = 0; frame < n_frames(); ++frame) {
      T* mean = means + frame * size;
      std::fill_n(mean, size, T(0));
      const auto [first, last] = blocks_of_frame(frame);
      for (std::int64_t index = first; index < last; ++index) {
        const auto& sum = sums[static_cast<std::size_t>(index)];
        for (std::int64_t k = 0; k < size; ++k) mean[k] += sum[static_cast<std::size_t>(k)];
      }
      const auto n = static_cast<T>(std::max<std::int64_t>(n_centers(frame), 1));
      for (std::int64_t k = 0; k < size; ++k) mean[k] /= n;
    }
  }

  /// Runs body(worker, frame) over all frames that have centers.
  template <typename Body>
  void for_each_frame(const DensityDescriptor& descriptor, const Body& body) const {
    parallel_for(n_frames(), [&] {
      return [this, &body, worker = std::make_shared<Worker>(descriptor)](std::int64_t frame) {
        if (n_centers(frame) > 0) body(*worker, frame);
      };
    });
  }

 private:
  Structures structures_;
  Centers centers_;
  PairCutoff cutoff_;
  std::vector<std::unique_ptr<const NeighborSearch>> searches_;
  std::vector<CenterBlock> blocks_;
  std::vector<std::int64_t> frame_blocks_;
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
  Coefficients<T> c;
  Coefficients<T> c_dot;
  std::vector<T> row, row_dot;
  std::vector<T> grad_c;
  std::vector<double> pair_vectors;

  /// Puts the neighbors of a center into `pairs`.
  void find_pairs(const Batch& batch, std::int64_t frame, std::int64_t center) {
    const NeighborSearch* search = batch.shared_search(frame);
    if (search == nullptr) {
      if (own_frame != frame) own_search = batch.make_search(frame);
      own_frame = frame;
      search = own_search.get();
    }
    pairs.clear();
    search->append_neighbors(batch.atom(center), pairs);
  }

  /// Finds the neighbors of a center and sorts them for the kernels.
  void find_environment(const Batch& batch, std::int64_t frame, std::int64_t center) {
    const std::int64_t atom = batch.atom(center);
    find_pairs(batch, frame, center);
    descriptor.expansion_.make_environment(pairs, 0, pairs.size(), batch.species(frame),
                                           descriptor.parameters_.n_species, batch.species(frame)[atom], environment,
                                           scratch);
  }

  void expand(const Batch& batch, std::int64_t frame, std::int64_t center) {
    find_environment(batch, frame, center);
    descriptor.expansion_.expand(environment, c, scratch);
  }

  /// Puts the normalised features of the expanded center into `row` and returns the norm they had.
  double unit_row();
};

/// The norm of a row; the sum runs in double precision.
template <typename T>
double norm(const T* row, std::int64_t size) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < size; ++k) sum += static_cast<double>(row[k]) * static_cast<double>(row[k]);
  return std::sqrt(sum);
}

/// Scales a row to norm one and returns the norm it had; a zero row stays zero.
template <typename T>
double normalize_row(T* row, std::int64_t size) {
  const double length = norm(row, size);
  if (length > 0.0) {
    for (std::int64_t k = 0; k < size; ++k) row[k] = static_cast<T>(static_cast<double>(row[k]) / length);
  }
  return length;
}

/// Takes a tangent or a cotangent of the raw row to one of the normalised row (the map is symmetric):
/// t -> (t - p̂ (p̂·t))/|p|; zero where the row is zero.
template <typename T>
void project_tangent(const T* unit_row, double length, std::int64_t size, T* tangent) {
  double along = 0.0;
  for (std::int64_t k = 0; k < size; ++k) along += static_cast<double>(unit_row[k]) * static_cast<double>(tangent[k]);
  const double inverse = length > 0.0 ? 1.0 / length : 0.0;
  for (std::int64_t k = 0; k < size; ++k) {
    tangent[k] = static_cast<T>((static_cast<double>(tangent[k]) - static_cast<double>(unit_row[k]) * along) * inverse);
  }
}

template <typename T>
double DensityDescriptor<T>::Worker::unit_row() {
  row.resize(static_cast<std::size_t>(descriptor.n_features()));
  descriptor.head_->forward(c, row.data());
  return normalize_row(row.data(), descriptor.n_features());
}

/// Adds values in the layout of `c`, whose channels are some species, to a sum in the layout of all species.
template <typename T>
void add_to_all_channels(const Coefficients<T>& c, const std::vector<T>& values, const Coefficients<T>& layout,
                         T* sum) {
  const int n_rows = (c.l_max + 1) * (c.l_max + 1);
  for (int lm = 0; lm < n_rows; ++lm) {
    for (int channel = 0; channel < c.n_channels(); ++channel) {
      const T* in = values.data() + lm * c.stride() + static_cast<std::int64_t>(channel) * c.n_padded;
      T* out = sum + lm * layout.stride() +
               static_cast<std::int64_t>(c.species[static_cast<std::size_t>(channel)]) * c.n_padded;
      for (int n = 0; n < c.n_padded; ++n) out[n] += in[n];
    }
  }
}

/// The reverse: copies the channels of some species out of coefficients that have a channel for all.
template <typename T>
void take_channels(const Coefficients<T>& all, const std::vector<std::int32_t>& species, std::vector<T>& values) {
  const int n_rows = (all.l_max + 1) * (all.l_max + 1);
  values.resize(static_cast<std::size_t>(n_rows) * species.size() * static_cast<std::size_t>(all.n_padded));
  T* out = values.data();
  for (int lm = 0; lm < n_rows; ++lm) {
    for (const std::int32_t s : species) out = std::copy_n(all.channel(s) + lm * all.stride(), all.n_padded, out);
  }
}

template <typename T>
typename DensityDescriptor<T>::Batch DensityDescriptor<T>::make_batch(const Structures& structures,
                                                                      const Centers& centers) const {
  // Averages keep a partial sum per block, hence fewer of them.
  const std::int64_t block_size = parameters_.average == Average::off ? 16 : 64;
  return Batch(structures, centers, parameters_.expansion.radial.cutoff, block_size);
}

}  // namespace castile
