#include <map>

#include "descriptors/averaged_jacobian.hpp"
#include "descriptors/jacobian_rows.hpp"

namespace castile {
namespace {

std::vector<std::int64_t> sorted_unique(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

/// Makes a layout row by row; sets and groups come into being when a row needs them.
class LayoutBuilder {
 public:
  explicit LayoutBuilder(int n_species) : n_kinds_(2 * (static_cast<std::size_t>(n_species) + 1)) {}

  void start_row(const std::vector<std::int32_t>& channels, std::int64_t n_columns) {
    const auto found = set_index_.emplace(channels, static_cast<std::int64_t>(layout_.sets.size()));
    if (found.second) {
      layout_.sets.push_back({channels, n_columns, {}});
      group_of_kind_.emplace_back(n_kinds_, -1);
    }
    set_ = found.first->second;
    auto& rows = layout_.sets[static_cast<std::size_t>(set_)].rows;
    layout_.index_in_set.push_back(static_cast<std::int64_t>(rows.size()));
    rows.push_back(row());
    layout_.set_of_row.push_back(set_);
    layout_.block_offsets.push_back(static_cast<std::int64_t>(layout_.blocks.size()));
  }

  /// `n_columns` is below zero for all columns of the row.
  void add_block(std::int32_t species, std::int64_t n_columns, std::int64_t frame, std::int64_t atom) {
    const bool all = n_columns < 0;
    if (all) n_columns = layout_.sets[static_cast<std::size_t>(set_)].n_columns;
    std::int64_t& index = group_of_kind_[static_cast<std::size_t>(set_)][2 * static_cast<std::size_t>(species) + all];
    if (index < 0) {
      index = static_cast<std::int64_t>(layout_.groups.size());
      layout_.groups.push_back({species, set_, all, n_columns, {}, {}, {}});
    }
    JacobianGroup& group = layout_.groups[static_cast<std::size_t>(index)];
    layout_.blocks.push_back({index, group.n_blocks()});
    group.row.push_back(row() - 1);
    group.frame.push_back(frame);
    group.atom.push_back(atom);
  }

  JacobianLayout finish() {
    layout_.block_offsets.push_back(static_cast<std::int64_t>(layout_.blocks.size()));
    return std::move(layout_);
  }

 private:
  std::int64_t row() const { return static_cast<std::int64_t>(layout_.set_of_row.size()); }

  JacobianLayout layout_;
  std::map<std::vector<std::int32_t>, std::int64_t> set_index_;
  std::size_t n_kinds_;                                   ///< of groups of a set: species, all columns or not
  std::vector<std::vector<std::int64_t>> group_of_kind_;  ///< of each set; -1 for none yet
  std::int64_t set_ = 0;
};

}  // namespace

template <typename T>
DensityDescriptor<T>::JacobianRows::JacobianRows(const DensityDescriptor& descriptor, const Batch& batch,
                                                 const JacobianLayout& layout, const std::vector<T*>& values,
                                                 const std::vector<T*>& strain)
    : descriptor_(descriptor), batch_(batch), layout_(layout), values_(values), strain_(strain) {
  for (const ChannelSet& set : layout.sets) {
    spaces_.spaces.push_back(descriptor.space_of(set.channels));
    const RowSpace& space = spaces_.spaces.back();
    std::vector<Columns> columns;
    if (descriptor.mixing_.mixes()) {
      columns.emplace_back(std::vector<ColumnRange>{{0, space.size()}});
    } else {
      for (int k = 0; k < space.n_channels(); ++k) columns.emplace_back(space.head->columns_touched_by(k));
    }
    columns_.push_back(std::move(columns));
  }
  spaces_.of_row = layout.set_of_row;
}

template <typename T>
std::vector<JacobianBlock<T>> DensityDescriptor<T>::JacobianRows::blocks_of_row(std::int64_t row,
                                                                                std::int64_t frame) const {
  std::vector<JacobianBlock<T>> blocks;
  const auto first = static_cast<std::size_t>(layout_.block_offsets[static_cast<std::size_t>(row)]);
  const auto last = static_cast<std::size_t>(layout_.block_offsets[static_cast<std::size_t>(row) + 1]);
  for (std::size_t k = first; k < last; ++k) {
    const auto [g, index] = layout_.blocks[k];
    const JacobianGroup& group = layout_.groups[static_cast<std::size_t>(g)];
    const bool point = group.species == descriptor_.parameters_.n_species;
    const std::int64_t atom = group.atom[static_cast<std::size_t>(index)] + (point ? batch_.n_atoms(frame) : 0);
    T* values = values_[static_cast<std::size_t>(g)] + index * 3 * group.n_columns;
    blocks.push_back({atom, values, group.all_columns});
  }
  return blocks;
}

template <typename T>
void DensityDescriptor<T>::JacobianRows::expand_sorted(Worker& worker, std::int64_t row, std::int64_t frame,
                                                       std::int64_t center, CenterDerivatives<T>& buffers) const {
  worker.find_pairs(batch_, frame, center);
  sort_by_neighbor(worker.pairs, buffers.order);
  worker.make_environment(batch_, frame, center);
  worker.expand_environment();
  space(row).relabel(worker.c());
}

template <typename T>
TouchedChannels<T> DensityDescriptor<T>::JacobianRows::touched(const Worker& worker, int channel,
                                                               CenterDerivatives<T>& buffers) const {
  if (descriptor_.mixing_.mixes()) {
    return {descriptor_.mixing_.column(worker.environment.species[static_cast<std::size_t>(channel)]), -1};
  }
  buffers.one_hot.assign(worker.environment.species.size(), T(0));
  buffers.one_hot[static_cast<std::size_t>(channel)] = T(1);
  return {buffers.one_hot.data(), channel};
}

template <typename T>
std::vector<typename DensityDescriptor<T>::Moving> DensityDescriptor<T>::moving_with_centers(const Batch& batch) const {
  std::vector<Moving> moving(static_cast<std::size_t>(batch.first_center(batch.n_frames())));
  batch.for_each_center([&](Worker& worker, const CenterBlock& block, std::int64_t center) {
    worker.find_pairs(batch, block.frame, center);
    Moving& own = moving[static_cast<std::size_t>(center)];
    own.ids.assign(worker.pairs.j.begin(), worker.pairs.j.end());
    const std::int64_t center_id = batch.moving(block.frame, center);
    if (parameters_.expansion.center_weight != 0.0) own.ids.push_back(center_id);
    own.species = species_among(batch, block.frame, own.ids);
    own.ids.push_back(center_id);
    own.ids = sorted_unique(std::move(own.ids));
  });
  return moving;
}

template <typename T>
JacobianLayout DensityDescriptor<T>::jacobian_layout(const Structures& structures, const Centers& centers,
                                                     bool sparse) const {
  const Batch batch = make_batch(structures, centers);
  const auto moving = moving_with_centers(batch);
  const bool may_be_narrow = !averages() && !parameters_.normalize && !mixing_.mixes();
  const RowSpace whole = whole_space();
  LayoutBuilder builder(parameters_.n_species);

  // Columns that a neighbor of a species touches, if they are not all.
  const auto narrow_columns = [&](const RowSpace& space) {
    std::vector<std::int64_t> narrow(static_cast<std::size_t>(parameters_.n_species), -1);
    for (int k = 0; may_be_narrow && k < space.n_channels(); ++k) {
      const std::int64_t size = Columns(space.head->columns_touched_by(k)).size();
      if (size < space.size()) narrow[static_cast<std::size_t>(space.channels[static_cast<std::size_t>(k)])] = size;
    }
    return narrow;
  };
  const auto narrow_in_whole = narrow_columns(whole);
  const auto add_blocks = [&](std::int64_t frame, const std::vector<std::int64_t>& ids, std::int64_t own,
                              const std::vector<std::int64_t>& narrow) {
    for (const std::int64_t id : ids) {
      if (id >= batch.n_atoms(frame)) {
        builder.add_block(parameters_.n_species, -1, frame, id - batch.n_atoms(frame));
        continue;
      }
      const std::int32_t species = batch.species(frame)[id];
      builder.add_block(species, id == own ? -1 : narrow[static_cast<std::size_t>(species)], frame, id);
    }
  };

  if (!averages()) {
    for (const CenterBlock& block : batch.blocks()) {
      for (std::int64_t center = block.first; center < block.last; ++center) {
        const auto& [ids, species] = moving[static_cast<std::size_t>(center)];
        const std::int64_t own = batch.moving(block.frame, center);
        if (!sparse || !narrow_heads_) {
          builder.start_row(whole.channels, whole.size());
          add_blocks(block.frame, ids, own, narrow_in_whole);
          continue;
        }
        const RowSpace space = space_of(species);
        builder.start_row(space.channels, space.size());
        add_blocks(block.frame, ids, own, narrow_columns(space));
      }
    }
    return builder.finish();
  }
  const RowSpaces spaces = sparse ? spaces_of_frames(batch) : whole_spaces();
  const auto& blocks = batch.blocks();
  auto block = blocks.begin();
  for (std::int64_t row = 0; row < batch.n_rows(); ++row) {
    builder.start_row(spaces[row].channels, spaces[row].size());
    std::vector<std::int64_t> ids;
    std::int64_t frame = 0;
    for (; block != blocks.end() && block->row == row; ++block) {
      frame = block->frame;
      for (std::int64_t center = block->first; center < block->last; ++center) {
        const auto& own = moving[static_cast<std::size_t>(center)].ids;
        ids.insert(ids.end(), own.begin(), own.end());
      }
    }
    add_blocks(frame, sorted_unique(std::move(ids)), -1, narrow_in_whole);
  }
  return builder.finish();
}

template <typename T>
std::vector<std::int32_t> DensityDescriptor<T>::species_among(const Batch& batch, std::int64_t frame,
                                                              const std::vector<std::int64_t>& ids) {
  std::vector<std::int32_t> species;
  for (const std::int64_t id : ids) {
    if (id < batch.n_atoms(frame)) species.push_back(batch.species(frame)[id]);
  }
  std::sort(species.begin(), species.end());
  species.erase(std::unique(species.begin(), species.end()), species.end());
  return species;
}

template <typename T>
void DensityDescriptor<T>::jacobian(const Structures& structures, const Centers& centers, const JacobianLayout& layout,
                                    const std::vector<T*>& values, const std::vector<T*>& strain) const {
  const Batch batch = make_batch(structures, centers);
  const JacobianRows rows(*this, batch, layout, values, strain);
  if (averages()) {
    AveragedJacobian(rows).fill();
    return;
  }
  batch.for_each_block(0, batch.n_blocks(), [&](Worker& worker, std::int64_t index) {
    const CenterBlock& block = batch.blocks()[static_cast<std::size_t>(index)];
    CenterDerivatives<T> buffers;
    std::vector<T> voigt;
    for (std::int64_t center = block.first; center < block.last; ++center) {
      const auto blocks = rows.blocks_of_row(center, block.frame);
      const std::int64_t size = rows.size(center);
      T* own_values = find_block(blocks, batch.moving(block.frame, center)).values;
      std::fill_n(own_values, 3 * size, T(0));
      voigt.assign(static_cast<std::size_t>(rows.with_strain() ? 6 * size : 0), T(0));
      rows.expand_sorted(worker, center, block.frame, center, buffers);
      rows.differentiate_row(
          worker, center, center, buffers,
          [&](int channel, std::int64_t j, const T* gradient, T* minus) -> std::optional<GradientStream<T>> {
            const std::int64_t width = rows.columns(center, worker, channel).size();
            const JacobianBlock<T>& out = find_block(blocks, j);
            // Normalised ones are read again below.
            if (parameters_.normalize || (out.wide && width < size)) return std::nullopt;
            return GradientStream<T>(gradient, width, out.values, minus, rows.with_strain());
          },
          [&](int channel, std::int64_t j, const T* gradient) {
            const Columns& columns = rows.columns(center, worker, channel);
            const JacobianBlock<T>& out = find_block(blocks, j);
            if (!out.wide || columns.size() == size) {
              if (parameters_.normalize) {
                std::copy_n(gradient, 3 * columns.size(), out.values);
              } else {
                simd::kernels<T>().stream(3 * columns.size(), gradient, out.values, nullptr);
              }
              return;
            }
            std::fill_n(out.values, 3 * size, T(0));
            for (std::int64_t axis = 0; axis < 3; ++axis) {
              columns.add(T(1), gradient + axis * columns.size(), out.values + axis * size);
            }
          },
          [&](int channel, const T* own, const T* channel_voigt) {
            const Columns& columns = rows.columns(center, worker, channel);
            for (std::int64_t axis = 0; axis < 3; ++axis) {
              columns.add(T(1), own + axis * columns.size(), own_values + axis * size);
            }
            for (std::int64_t v = 0; rows.with_strain() && v < 6; ++v) {
              columns.add(T(1), channel_voigt + v * columns.size(), voigt.data() + v * size);
            }
          });
      if (parameters_.normalize) {
        const double length = worker.unit_row(rows.space(center), worker.c());
        for (const auto& out : blocks) rows.project(worker.row, length, 3, out.values);
        if (rows.with_strain()) rows.project(worker.row, length, 6, voigt.data());
      }
      if (rows.with_strain()) write_strain(voigt.data(), size, rows.strain_of(center));
    }
    simd::kernels<T>().end_streams();
  });
}

template class DensityDescriptor<double>::JacobianRows;
template class DensityDescriptor<float>::JacobianRows;
template JacobianLayout DensityDescriptor<double>::jacobian_layout(const Structures&, const Centers&, bool) const;
template JacobianLayout DensityDescriptor<float>::jacobian_layout(const Structures&, const Centers&, bool) const;
template void DensityDescriptor<double>::jacobian(const Structures&, const Centers&, const JacobianLayout&,
                                                  const std::vector<double*>&, const std::vector<double*>&) const;
template void DensityDescriptor<float>::jacobian(const Structures&, const Centers&, const JacobianLayout&,
                                                 const std::vector<float*>&, const std::vector<float*>&) const;

}  // namespace castile
