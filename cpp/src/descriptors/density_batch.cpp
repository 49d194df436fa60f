#include "descriptors/density_batch.hpp"

namespace castile {
namespace {

// Averages keep a partial sum per block, hence fewer of them.
constexpr std::int64_t block_size = 16;
constexpr std::int64_t averaged_block_size = 64;

}  // namespace

template <typename T>
DensityDescriptor<T>::Batch::Batch(const Structures& structures, const Centers& centers,
                                   const DensityDescriptor& descriptor)
    : descriptor_(descriptor),
      structures_(structures),
      centers_(centers),
      row_offsets_(centers.row_offsets != nullptr ? centers.row_offsets : centers.offsets),
      n_rows_(descriptor.n_rows(structures, centers)) {
  const std::vector<double> reaches = descriptor.expansion_.reaches();
  cutoff_.cutoff = *std::max_element(reaches.begin(), reaches.end());
  if (*std::min_element(reaches.begin(), reaches.end()) < cutoff_.cutoff) {
    cutoff_.of_neighbor_species = reaches;
    cutoff_.n_species = descriptor.parameters_.n_species;
  }
  searches_.resize(static_cast<std::size_t>(structures.n_frames));
  split_into_blocks(descriptor.averages() ? averaged_block_size : block_size);
  std::vector<std::int64_t> large;  // frames whose blocks share a search
  for (std::size_t index = 1; index < blocks_.size(); ++index) {
    const std::int64_t frame = blocks_[index].frame;
    if (blocks_[index - 1].frame == frame && (large.empty() || large.back() != frame)) large.push_back(frame);
  }
  parallel_for(static_cast<std::int64_t>(large.size()), [&] {
    return [&](std::int64_t index) {
      const std::int64_t frame = large[static_cast<std::size_t>(index)];
      searches_[static_cast<std::size_t>(frame)] = make_search(frame);
    };
  });
}

template <typename T>
void DensityDescriptor<T>::Batch::split_into_blocks(std::int64_t size) {
  std::int64_t row = 0;
  for (std::int64_t frame = 0; frame < structures_.n_frames; ++frame) {
    const std::int64_t end = centers_.offsets[frame + 1];
    for (std::int64_t first = centers_.offsets[frame]; first < end;) {
      std::int64_t last = std::min(first + size, end);
      if (descriptor_.averages()) {
        while (row_offsets_[row + 1] <= first) ++row;
        last = std::min(last, row_offsets_[row + 1]);
      } else {
        row = first;
      }
      blocks_.push_back({frame, row, first, last});
      first = last;
    }
  }
}

template <typename T>
std::unique_ptr<const NeighborSearch> DensityDescriptor<T>::Batch::make_search(std::int64_t frame) const {
  const double* points = centers_.points == nullptr ? nullptr : centers_.points + 3 * first_center(frame);
  return std::make_unique<const NeighborSearch>(structures_[frame], cutoff_, points,
                                                points == nullptr ? 0 : n_centers(frame));
}

template <typename T>
void DensityDescriptor<T>::Batch::find_neighbors(std::int64_t frame, std::int64_t center,
                                                 std::unique_ptr<const NeighborSearch>& own_search,
                                                 std::int64_t& own_frame, PairBuffer& pairs) const {
  const NeighborSearch* search = searches_[static_cast<std::size_t>(frame)].get();
  if (search == nullptr) {
    if (own_frame != frame) own_search = make_search(frame);
    own_frame = frame;
    search = own_search.get();
  }
  if (atom(center) >= 0) {
    search->append_neighbors(atom(center), pairs);
  } else {
    search->append_neighbors_of_point(center - first_center(frame), pairs);
  }
}

template class DensityDescriptor<double>::Batch;
template class DensityDescriptor<float>::Batch;

}  // namespace castile
