// What the density descriptors share while they work on a batch of structures.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"
#include "castile/parallel.hpp"

namespace castile {

/// A run of centers of one frame: the unit of parallel work. Its size depends on the frame alone, never on the
/// threads or on the other frames, so that partial sums over items have the same bits for any batch.
struct CenterBlock {
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
        blocks_.push_back({frame, first, std::min(first + block_size, centers.offsets[frame + 1])});
      }
      frame_blocks_.push_back(static_cast<std::int64_t>(blocks_.size()));
    }
    PairCutoff pair_cutoff;
    pair_cutoff.cutoff = cutoff;
    parallel_for(structures.n_frames, [&] {
      return std::function<void(std::int64_t)>([&](std::int64_t frame) {
        if (centers_.offsets[frame] == centers_.offsets[frame + 1]) return;
        searches_[static_cast<std::size_t>(frame)] =
            std::make_unique<NeighborSearch>(structures_[frame], pair_cutoff);
      });
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
  const NeighborSearch& search(std::int64_t frame) const { return *searches_[static_cast<std::size_t>(frame)]; }

  /// Runs body(worker, block index) over all blocks.
  template <typename Body>
  void for_each_block(const DensityDescriptor& descriptor, const Body& body) const {
    parallel_for(static_cast<std::int64_t>(blocks_.size()), [&] {
      const auto worker = std::make_shared<Worker>(descriptor);
      return std::function<void(std::int64_t)>([&body, worker](std::int64_t item) { body(*worker, item); });
    });
  }

  /// Runs body(worker, frame) over all frames that have centers.
  template <typename Body>
  void for_each_frame(const DensityDescriptor& descriptor, const Body& body) const {
    parallel_for(n_frames(), [&] {
      const auto worker = std::make_shared<Worker>(descriptor);
      return std::function<void(std::int64_t)>([this, &body, worker](std::int64_t frame) {
        if (n_centers(frame) > 0) body(*worker, frame);
      });
    });
  }

 private:
  Structures structures_;
  Centers centers_;
  std::vector<std::unique_ptr<NeighborSearch>> searches_;
  std::vector<CenterBlock> blocks_;
  std::vector<std::int64_t> frame_blocks_;
};

/// One thread's buffers, and the steps that it takes for one center.
template <typename T>
struct DensityDescriptor<T>::Worker {
  explicit Worker(const DensityDescriptor& owner) : descriptor(owner) {}

  const DensityDescriptor& descriptor;
  PairBuffer pairs;
  Environment<T> environment;
  ExpansionScratch<T> scratch;
  typename FeatureHead<T>::Scratch head_scratch;
  Coefficients<T> c;
  Coefficients<T> c_dot;
  std::vector<T> row, row_dot;
  std::vector<T> grad_c;
  std::vector<double> pair_vectors;

  /// Finds the neighbors of a center and sorts them for the kernels.
  void find_environment(const Batch& batch, std::int64_t frame, std::int64_t center) {
    const std::int64_t atom = batch.atom(center);
    pairs.clear();
    batch.search(frame).append_neighbors(atom, pairs);
    descriptor.expansion_.make_environment(pairs, 0, pairs.size(), batch.species(frame),
                                           descriptor.parameters_.n_species, batch.species(frame)[atom], environment,
                                           scratch);
  }

  void expand(const Batch& batch, std::int64_t frame, std::int64_t center) {
    find_environment(batch, frame, center);
    descriptor.expansion_.expand(environment, c, scratch);
  }
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

/// Adds the coefficients of one center, whose channels are some species, to ones that have a channel for all.
template <typename T>
void add_to_all_channels(const Coefficients<T>& from, const std::vector<T>& values, Coefficients<T>& to) {
  const std::int64_t n_rows = from.values.empty() ? 0 : static_cast<std::int64_t>(from.values.size()) / from.stride();
  for (std::int64_t lm = 0; lm < n_rows; ++lm) {
    for (int channel = 0; channel < from.n_channels(); ++channel) {
      const T* in = values.data() + lm * from.stride() + static_cast<std::int64_t>(channel) * from.n_padded;
      T* out = to.channel(from.species[static_cast<std::size_t>(channel)]) + lm * to.stride();
      for (int n = 0; n < from.n_padded; ++n) out[n] += in[n];
    }
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
