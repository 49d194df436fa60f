#include "descriptors/averaged_jacobian.hpp"
#include "descriptors/jacobian_rows.hpp"

namespace castile {
namespace {

/// Order of the groups: species with the columns that neighbors touch, species with all columns, points.
struct GroupIndex {
  std::int64_t n_species;
  std::int64_t wide(std::int32_t species) const { return n_species + species; }
  std::int64_t points() const { return 2 * n_species; }
};

std::vector<std::int64_t> sorted_unique(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

}  // namespace

template <typename T>
DensityDescriptor<T>::JacobianRows::JacobianRows(const DensityDescriptor& descriptor, const Batch& batch,
                                                 const JacobianLayout& layout, const std::vector<T*>& values, T* strain)
    : descriptor_(descriptor), batch_(batch), layout_(layout), values_(values), strain_(strain) {
  for (std::int32_t s = 0; s < descriptor.parameters_.n_species; ++s) {
    columns_.emplace_back(descriptor.mixing_.mixes() ? std::vector<ColumnRange>{{0, n_features()}}
                                                     : descriptor.head_->columns_touched_by(s));
  }
}

template <typename T>
std::vector<JacobianBlock<T>> DensityDescriptor<T>::JacobianRows::blocks_of_row(std::int64_t row,
                                                                                std::int64_t frame) const {
  std::vector<JacobianBlock<T>> blocks;
  const std::size_t n_groups = layout_.groups.size();
  for (std::size_t g = 0; g < n_groups; ++g) {
    const JacobianGroup& group = layout_.groups[g];
    const bool points = group.species == descriptor_.parameters_.n_species;
    auto index = layout_.first_block[static_cast<std::size_t>(row) * n_groups + g];
    for (; index < group.n_blocks() && group.row[static_cast<std::size_t>(index)] == row; ++index) {
      const std::int64_t moving = group.atom[static_cast<std::size_t>(index)] + (points ? batch_.n_atoms(frame) : 0);
      blocks.push_back({moving, values_[g] + index * 3 * group.n_columns, group.all_columns});
    }
  }
  std::sort(blocks.begin(), blocks.end(), [](const auto& a, const auto& b) { return a.moving < b.moving; });
  return blocks;
}

template <typename T>
void DensityDescriptor<T>::JacobianRows::expand_sorted(Worker& worker, std::int64_t frame, std::int64_t center,
                                                       CenterDerivatives<T>& buffers) const {
  worker.find_pairs(batch_, frame, center);
  sort_by_neighbor(worker.pairs, buffers.order);
  worker.make_environment(batch_, frame, center);
  worker.expand_environment();
}

template <typename T>
TouchedChannels<T> DensityDescriptor<T>::JacobianRows::touched(const Worker& worker, int channel,
                                                               CenterDerivatives<T>& buffers) const {
  const std::int32_t species = worker.environment.species[static_cast<std::size_t>(channel)];
  if (descriptor_.mixing_.mixes()) return {descriptor_.mixing_.column(species), -1};
  buffers.one_hot.assign(worker.environment.species.size(), T(0));
  buffers.one_hot[static_cast<std::size_t>(channel)] = T(1);
  return {buffers.one_hot.data(), channel};
}

template <typename T>
JacobianLayout DensityDescriptor<T>::jacobian_layout(const Structures& structures, const Centers& centers) const {
  const Batch batch = make_batch(structures, centers);
  const GroupIndex index{parameters_.n_species};
  JacobianLayout layout;
  std::vector<Columns> columns;  // of each species whose neighbors have fewer columns than there are, else empty
  for (std::int32_t s = 0; s < parameters_.n_species; ++s) {
    Columns own(head_->columns_touched_by(mixing_.mixes() ? 0 : s));
    const bool narrow = !averages() && !parameters_.normalize && !mixing_.mixes() && own.size() < n_features();
    layout.groups.push_back({s, false, {}, narrow ? own.size() : n_features(), {}, {}, {}});
    columns.push_back(narrow ? own : Columns());
  }
  for (std::int32_t s = 0; s <= parameters_.n_species; ++s) {
    layout.groups.push_back({s, true, {}, n_features(), {}, {}, {}});
  }

  // What each center moves with, found in parallel, then laid out in order.
  std::vector<std::vector<std::int64_t>> moving(static_cast<std::size_t>(centers.offsets[structures.n_frames]));
  batch.for_each_center([&](Worker& worker, const CenterBlock& block, std::int64_t center) {
    worker.find_pairs(batch, block.frame, center);
    std::vector<std::int64_t> own(worker.pairs.j.begin(), worker.pairs.j.end());
    own.push_back(batch.moving(block.frame, center));
    moving[static_cast<std::size_t>(center)] = sorted_unique(std::move(own));
  });

  const auto n_rows = batch.n_rows();
  const auto n_groups = static_cast<std::int64_t>(layout.groups.size());
  const auto add_row = [&](std::int64_t row, std::int64_t frame, const std::vector<std::int64_t>& ids,
                           std::int64_t center) {
    while (static_cast<std::int64_t>(layout.first_block.size()) < (row + 1) * n_groups) {
      for (const JacobianGroup& group : layout.groups) layout.first_block.push_back(group.n_blocks());
    }
    for (const std::int64_t id : ids) {
      const bool is_point = id >= batch.n_atoms(frame);
      const std::int32_t species = is_point ? -1 : batch.species(frame)[id];
      const bool narrow = !is_point && columns[static_cast<std::size_t>(species)].size() > 0 &&
                          !(center >= 0 && id == batch.moving(frame, center));
      auto& group = layout.groups[static_cast<std::size_t>(
          is_point ? index.points() : (narrow ? std::int64_t{species} : index.wide(species)))];
      group.row.push_back(row);
      group.frame.push_back(frame);
      group.atom.push_back(is_point ? id - batch.n_atoms(frame) : id);
    }
  };
  const auto& blocks = batch.blocks();
  for (std::size_t k = 0; k < blocks.size();) {
    const CenterBlock& block = blocks[k];
    if (!averages()) {
      for (std::int64_t center = block.first; center < block.last; ++center) {
        add_row(center, block.frame, moving[static_cast<std::size_t>(center)], center);
      }
      ++k;
      continue;
    }
    std::vector<std::int64_t> all;
    for (; k < blocks.size() && blocks[k].row == block.row; ++k) {
      for (std::int64_t center = blocks[k].first; center < blocks[k].last; ++center) {
        const auto& own = moving[static_cast<std::size_t>(center)];
        all.insert(all.end(), own.begin(), own.end());
      }
    }
    add_row(block.row, block.frame, sorted_unique(std::move(all)), -1);
  }
  add_row(n_rows - 1, 0, {}, -1);  // rows without centers
  for (JacobianGroup& group : layout.groups) {
    if (group.n_blocks() > 0 && !group.all_columns) {
      group.columns = columns[static_cast<std::size_t>(group.species)].list();
    }
  }
  return layout;
}

template <typename T>
void DensityDescriptor<T>::jacobian(const Structures& structures, const Centers& centers, const JacobianLayout& layout,
                                    const std::vector<T*>& values, T* strain) const {
  const Batch batch = make_batch(structures, centers);
  const JacobianRows rows(*this, batch, layout, values, strain);
  if (averages()) {
    AveragedJacobian(rows).fill();
    return;
  }
  const std::int64_t size = n_features();
  batch.for_each_block(0, batch.n_blocks(), [&](Worker& worker, std::int64_t index) {
    const CenterBlock& block = batch.blocks()[static_cast<std::size_t>(index)];
    CenterDerivatives<T> buffers;
    std::vector<T> voigt;
    for (std::int64_t center = block.first; center < block.last; ++center) {
      const auto blocks = rows.blocks_of_row(center, block.frame);
      T* own_values = find_block(blocks, batch.moving(block.frame, center)).values;
      std::fill_n(own_values, 3 * size, T(0));
      voigt.assign(static_cast<std::size_t>(strain == nullptr ? 0 : 6 * size), T(0));
      rows.expand_sorted(worker, block.frame, center, buffers);
      const auto columns_of = [&](int channel) -> const Columns& {
        return rows.columns(worker.environment.species[static_cast<std::size_t>(channel)]);
      };
      rows.differentiate_row(
          worker, center, buffers,
          [&](int channel, std::int64_t j, const T* gradient) {
            const Columns& columns = columns_of(channel);
            const JacobianBlock<T>& out = find_block(blocks, j);
            if (!out.wide || columns.size() == size) {
              std::copy_n(gradient, 3 * columns.size(), out.values);
              return;
            }
            std::fill_n(out.values, 3 * size, T(0));
            for (std::int64_t axis = 0; axis < 3; ++axis) {
              columns.add(T(1), gradient + axis * columns.size(), out.values + axis * size);
            }
          },
          [&](int channel, const T* own, const T* channel_voigt) {
            const Columns& columns = columns_of(channel);
            for (std::int64_t axis = 0; axis < 3; ++axis) {
              columns.add(T(1), own + axis * columns.size(), own_values + axis * size);
            }
            for (std::int64_t v = 0; strain != nullptr && v < 6; ++v) {
              columns.add(T(1), channel_voigt + v * columns.size(), voigt.data() + v * size);
            }
          });
      if (parameters_.normalize) {
        const double length = worker.unit_row(worker.c());
        for (const auto& out : blocks) rows.project(worker.row, length, 3, out.values);
        if (strain != nullptr) rows.project(worker.row, length, 6, voigt.data());
      }
      if (strain != nullptr) write_strain(voigt.data(), size, rows.strain_of(center));
    }
  });
}

template class DensityDescriptor<double>::JacobianRows;
template class DensityDescriptor<float>::JacobianRows;
template JacobianLayout DensityDescriptor<double>::jacobian_layout(const Structures&, const Centers&) const;
template JacobianLayout DensityDescriptor<float>::jacobian_layout(const Structures&, const Centers&) const;
template void DensityDescriptor<double>::jacobian(const Structures&, const Centers&, const JacobianLayout&,
                                                  const std::vector<double*>&, double*) const;
template void DensityDescriptor<float>::jacobian(const Structures&, const Centers&, const JacobianLayout&,
                                                 const std::vector<float*>&, float*) const;

}  // namespace castile
