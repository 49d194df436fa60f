#include "castile/descriptors/density_descriptor.hpp"

#include <array>
#include <numeric>
#include <stdexcept>

#include "descriptors/density_batch.hpp"

namespace castile {
namespace {

FeatureHeadParameters with_sizes(const DensityDescriptorParameters& p) {
  FeatureHeadParameters head = p.head;
  head.n_channels = p.species_mixing.empty() ? p.n_species : p.n_channels;
  head.n_max = p.expansion.n_max();
  head.l_max = p.expansion.l_max();
  return head;
}

}  // namespace

Average average_from_name(const std::string& name) {
  if (name == "off") return Average::off;
  if (name == "inner") return Average::inner;
  if (name == "outer") return Average::outer;
  throw std::invalid_argument("average must be 'off', 'inner' or 'outer', got '" + name + "'");
}

template <typename T>
DensityDescriptor<T>::DensityDescriptor(const DensityDescriptorParameters& parameters)
    : parameters_(parameters),
      expansion_(parameters.expansion, parameters.n_species),
      mixing_(parameters.n_species, parameters.n_channels, parameters.species_mixing),
      head_(make_feature_head<T>(with_sizes(parameters))) {}

template <typename T>
DensityDescriptor<T>::~DensityDescriptor() = default;

template <typename T>
std::int64_t DensityDescriptor<T>::n_rows(Average average, const Structures& structures, const Centers& centers) {
  if (average == Average::off) return centers.offsets[structures.n_frames];
  return centers.row_offsets != nullptr ? centers.n_rows : structures.n_frames;
}

template <typename T>
typename DensityDescriptor<T>::Batch DensityDescriptor<T>::make_batch(const Structures& structures,
                                                                      const Centers& centers) const {
  return Batch(structures, centers, *this);
}

template <typename T>
Coefficients<T> DensityDescriptor<T>::all_channels() const {
  Coefficients<T> c;
  c.channels.resize(static_cast<std::size_t>(head_->n_channels()));
  std::iota(c.channels.begin(), c.channels.end(), 0);
  c.l_max = expansion_.l_max();
  c.n_max = expansion_.n_max();
  c.n_padded = expansion_.n_padded();
  c.values.assign(static_cast<std::size_t>((c.l_max + 1) * (c.l_max + 1) * c.stride()), T(0));
  return c;
}

// ---- values

template <typename T>
void DensityDescriptor<T>::transform(const Structures& structures, const Centers& centers, T* features) const {
  const Batch batch = make_batch(structures, centers);
  const std::int64_t size = n_features();
  const auto finish = [&](T* row) {
    if (parameters_.normalize) normalize_row(row, size);
  };
  switch (parameters_.average) {
    case Average::off:
      batch.for_each_center([&](Worker& worker, const CenterBlock& block, std::int64_t center) {
        worker.expand(batch, block.frame, center);
        head_->forward(worker.c(), features + center * size, worker.head_scratch);
        finish(features + center * size);
      });
      break;
    case Average::inner: {
      const Coefficients<T> all = all_channels();
      for_each_mean(batch, [&](Worker& worker, std::int64_t row, const std::vector<T>& mean) {
        worker.mixed_c = all;
        worker.mixed_c.values = mean;
        head_->forward(worker.mixed_c, features + row * size, worker.head_scratch);
        finish(features + row * size);
      });
      break;
    }
    case Average::outer:
      for_each_mean(batch, [&](Worker&, std::int64_t row, const std::vector<T>& mean) {
        std::copy(mean.begin(), mean.end(), features + row * size);
        finish(features + row * size);
      });
      break;
  }
}

// ---- sparse rows

template <typename T>
void DensityDescriptor<T>::keep_columns(T* row, const std::vector<std::int32_t>& channels, SparseRow& kept) const {
  kept.ranges = head_->columns_of_channels(channels);
  std::int64_t size = 0;
  for (const ColumnRange range : kept.ranges) size += range.size;
  kept.values.reserve(static_cast<std::size_t>(size));
  for (const ColumnRange range : kept.ranges) {
    kept.values.insert(kept.values.end(), row + range.first, row + range.first + range.size);
  }
}

template <typename T>
std::vector<std::int32_t> DensityDescriptor<T>::channels_of_frame(const Batch& batch, std::int64_t frame) const {
  if (mixing_.mixes()) return all_channels().channels;
  std::vector<std::int32_t> species(batch.species(frame), batch.species(frame) + batch.n_atoms(frame));
  std::sort(species.begin(), species.end());
  species.erase(std::unique(species.begin(), species.end()), species.end());
  return species;
}

template <typename T>
SparseRows<T> DensityDescriptor<T>::transform_sparse(const Structures& structures, const Centers& centers) const {
  const std::int64_t size = n_features();
  std::vector<SparseRow> rows(static_cast<std::size_t>(n_rows(structures, centers)));
  const Batch batch = make_batch(structures, centers);
  if (!averages()) {
    batch.for_each_center([&](Worker& worker, const CenterBlock& block, std::int64_t center) {
      worker.expand(batch, block.frame, center);
      T* row = worker.forward(worker.c());
      if (parameters_.normalize) normalize_row(row, size);
      keep_columns(row, worker.c().channels, rows[static_cast<std::size_t>(center)]);
    });
    return join_rows(rows);
  }
  std::vector<T> dense(rows.size() * static_cast<std::size_t>(size));
  transform(structures, centers, dense.data());
  std::vector<std::int64_t> frame_of_row(rows.size(), -1);
  for (const CenterBlock& block : batch.blocks()) frame_of_row[static_cast<std::size_t>(block.row)] = block.frame;
  parallel_for(static_cast<std::int64_t>(rows.size()), [&] {
    return [&](std::int64_t row) {
      const std::int64_t frame = frame_of_row[static_cast<std::size_t>(row)];
      if (frame < 0) return;  // no centers: nothing to keep
      keep_columns(dense.data() + row * size, channels_of_frame(batch, frame), rows[static_cast<std::size_t>(row)]);
    };
  });
  return join_rows(rows);
}

template <typename T>
SparseRows<T> DensityDescriptor<T>::join_rows(std::vector<SparseRow>& rows) {
  SparseRows<T> result;
  result.row_offsets.push_back(0);
  for (const SparseRow& row : rows) {
    result.row_offsets.push_back(result.row_offsets.back() + static_cast<std::int64_t>(row.values.size()));
  }
  const auto n_values = static_cast<std::size_t>(result.row_offsets.back());
  result.columns.resize(n_values);
  result.values.resize(n_values);
  parallel_for(static_cast<std::int64_t>(rows.size()), [&] {
    return [&](std::int64_t index) {
      SparseRow& row = rows[static_cast<std::size_t>(index)];
      const std::int64_t start = result.row_offsets[static_cast<std::size_t>(index)];
      std::copy(row.values.begin(), row.values.end(), result.values.begin() + start);
      std::int32_t* column = result.columns.data() + start;
      for (const ColumnRange range : row.ranges) {
        std::iota(column, column + range.size, static_cast<std::int32_t>(range.first));
        column += range.size;
      }
      row.values = {};
    };
  });
  return result;
}

template class DensityDescriptor<double>;
template class DensityDescriptor<float>;

}  // namespace castile
