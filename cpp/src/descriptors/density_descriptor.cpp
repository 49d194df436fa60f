#include "castile/descriptors/density_descriptor.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "castile/memory.hpp"
#include "descriptors/density_batch.hpp"
#include "descriptors/narrow_heads.hpp"
#include "descriptors/row_stream.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace {

FeatureHeadParameters with_sizes(const DensityDescriptorParameters& p) {
  // Heads of sizes that no expansion has may take long to make.
  for (const RadialTableParameters& table : p.expansion.tables) check_radial_basis(table.basis);
  FeatureHeadParameters head = p.head;
  head.n_channels = p.species_mixing.empty() ? p.n_species : p.n_channels;
  head.n_max = p.expansion.n_max();
  head.l_max = p.expansion.l_max();
  return head;
}

template <typename T>
DensityExpansionParameters for_head(DensityExpansionParameters parameters, const FeatureHead<T>& head) {
  parameters.functions_of_degree = head.functions_of_degree();
  return parameters;
}

/// Bytes of results that are better written past the caches, which have nothing left of them when they are read.
constexpr std::int64_t smallest_stream = std::int64_t{20} << 20;

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
      head_(make_feature_head<T>(with_sizes(parameters))),
      expansion_(for_head(parameters.expansion, *head_), parameters.n_species),
      mixing_(parameters.n_species, parameters.n_channels, parameters.species_mixing) {
  if (n_channels() > 0 && n_features() == 0) throw std::invalid_argument("degrees leave no product; raise them");
  // With mixed species, and where every feature is made of all channels, rows have all columns.
  if (mixing_.mixes() || !head_->columns_of_channels({}).empty()) return;
  narrow_heads_ = std::make_unique<const NarrowHeads<T>>(with_sizes(parameters));
}

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

// ---- rows that see some of the channels

template <typename T>
typename DensityDescriptor<T>::RowSpace DensityDescriptor<T>::whole_space() const {
  RowSpace space{std::vector<std::int32_t>(static_cast<std::size_t>(head_->n_channels())), head_.get()};
  std::iota(space.channels.begin(), space.channels.end(), 0);
  return space;
}

template <typename T>
typename DensityDescriptor<T>::RowSpace DensityDescriptor<T>::space_of(std::vector<std::int32_t> channels) const {
  if (!narrow_heads_ || channels.size() >= static_cast<std::size_t>(n_channels())) return whole_space();
  const FeatureHead<T>* head = narrow_heads_->of(channels);
  return {std::move(channels), head};
}

template <typename T>
typename DensityDescriptor<T>::RowSpaces DensityDescriptor<T>::whole_spaces() const {
  return {{whole_space()}, {}};
}

template <typename T>
typename DensityDescriptor<T>::RowSpaces DensityDescriptor<T>::spaces_of_frames(const Batch& batch) const {
  RowSpaces result{{space_of({})}, std::vector<std::int64_t>(static_cast<std::size_t>(batch.n_rows()), 0)};
  std::map<std::vector<std::int32_t>, std::int64_t> known;
  std::int64_t last_frame = -1, space = 0;
  for (const CenterBlock& block : batch.blocks()) {
    if (block.frame != last_frame) {
      const std::int32_t* species = batch.species(block.frame);
      std::vector<std::int32_t> channels(species, species + batch.n_atoms(block.frame));
      std::sort(channels.begin(), channels.end());
      channels.erase(std::unique(channels.begin(), channels.end()), channels.end());
      const auto found = known.emplace(channels, static_cast<std::int64_t>(result.spaces.size()));
      if (found.second) result.spaces.push_back(space_of(channels));
      space = found.first->second;
      last_frame = block.frame;
    }
    result.of_row[static_cast<std::size_t>(block.row)] = space;
  }
  return result;
}

template <typename T>
std::int64_t DensityDescriptor<T>::n_coefficients(const RowSpace& space) const {
  const std::int64_t n_lm = static_cast<std::int64_t>(expansion_.l_max() + 1) * (expansion_.l_max() + 1);
  return n_lm * space.n_channels() * expansion_.n_padded();
}

template <typename T>
Coefficients<T> DensityDescriptor<T>::zero_coefficients(const RowSpace& space) const {
  Coefficients<T> c;
  c.channels.resize(space.channels.size());
  std::iota(c.channels.begin(), c.channels.end(), 0);
  c.l_max = expansion_.l_max();
  c.n_max = expansion_.n_max();
  c.n_padded = expansion_.n_padded();
  c.values.assign(static_cast<std::size_t>(n_coefficients(space)), T(0));
  return c;
}

template <typename T>
std::vector<std::int64_t> DensityDescriptor<T>::columns(const std::vector<std::int32_t>& channels,
                                                        int touched_by) const {
  const auto list = [](const std::vector<ColumnRange>& ranges) {
    std::vector<std::int64_t> columns;
    for (const ColumnRange range : ranges) {
      for (std::int64_t k = 0; k < range.size; ++k) columns.push_back(range.first + k);
    }
    return columns;
  };
  const RowSpace space = space_of(channels);
  const auto all = list(head_->columns_of_channels(space.channels));
  if (touched_by < 0) return all;
  std::vector<std::int64_t> touched = list(space.head->columns_touched_by(touched_by));
  for (std::int64_t& column : touched) column = all[static_cast<std::size_t>(column)];
  return touched;
}

// ---- values

template <typename T>
void DensityDescriptor<T>::transform(const Structures& structures, const Centers& centers, T* features,
                                     bool zeroed) const {
  const Batch batch = make_batch(structures, centers);
  const std::int64_t size = n_features();
  const auto finish = [&](T* row) {
    if (parameters_.normalize) normalize_row(row, size);
  };
  if (!averages()) {
    const bool streams = batch.n_rows() * size * std::int64_t{sizeof(T)} >= smallest_stream;
    batch.for_each_block(0, batch.n_blocks(), [&](Worker& worker, std::int64_t index) {
      const CenterBlock& block = batch.blocks()[static_cast<std::size_t>(index)];
      for (std::int64_t center = block.first; center < block.last; ++center) {
        worker.expand(batch, block.frame, center);
        T* row = features + center * size;
        if (streams && (zeroed || worker.c().n_channels() == head_->n_channels())) {
          stream_row(worker, row);
        } else {
          head_->forward(worker.c(), row, worker.head_scratch);
          finish(row);
        }
      }
      if (streams) simd::kernels<T>().end_streams();
    });
    return;
  }
  const RowSpaces spaces = whole_spaces();
  for_each_mean(batch, spaces, [&](Worker& worker, std::int64_t row, const std::vector<T>& mean) {
    std::copy_n(mean_row(worker, spaces[row], mean), size, features + row * size);
    finish(features + row * size);
  });
}

/// Computes the row of a center and writes it past the caches; where channels are missing, there are zeros.
template <typename T>
void DensityDescriptor<T>::stream_row(Worker& worker, T* out) const {
  const std::int64_t size = n_features();
  worker.row.resize(static_cast<std::size_t>(size));
  RowStream<T> stream(worker.row.data(), out);
  // Normalisation needs all of the row first.
  worker.head_scratch.stream = parameters_.normalize ? nullptr : &stream;
  head_->forward(worker.c(), worker.row.data(), worker.head_scratch);
  worker.head_scratch.stream = nullptr;
  if (parameters_.normalize) normalize_row(worker.row.data(), size);
  if (!stream.used()) stream.put(0, size);
  stream.finish();
}

template <typename T>
const T* DensityDescriptor<T>::mean_row(Worker& worker, const RowSpace& space, const std::vector<T>& mean) const {
  if (parameters_.average == Average::outer) return mean.data();
  worker.mean_c = zero_coefficients(space);
  worker.mean_c.values = mean;
  return worker.forward(space, worker.mean_c);
}

template <typename T>
SparseRows<T> DensityDescriptor<T>::transform_sparse(const Structures& structures, const Centers& centers) const {
  std::vector<SparseRow> rows(static_cast<std::size_t>(n_rows(structures, centers)));
  const Batch batch = make_batch(structures, centers);
  SparseRowBudget<T> budget;
  const auto finish = [&](const RowSpace& space, SparseRow& kept) {
    budget.spend(space.size());
    kept.ranges = head_->columns_of_channels(space.channels);
    if (parameters_.normalize) normalize_row(kept.values.data(), space.size());
  };
  if (!averages()) {
    batch.for_each_center([&](Worker& worker, const CenterBlock& block, std::int64_t center) {
      worker.expand(batch, block.frame, center);
      const RowSpace space = space_of(worker.c().channels);
      space.relabel(worker.c());
      SparseRow& kept = rows[static_cast<std::size_t>(center)];
      kept.values.resize(static_cast<std::size_t>(space.size()));
      space.head->forward(worker.c(), kept.values.data(), worker.head_scratch);
      finish(space, kept);
    });
    return join_rows(rows);
  }
  const RowSpaces spaces = spaces_of_frames(batch);
  for_each_mean(batch, spaces, [&](Worker& worker, std::int64_t row, const std::vector<T>& mean) {
    SparseRow& kept = rows[static_cast<std::size_t>(row)];
    const T* raw = mean_row(worker, spaces[row], mean);
    kept.values.assign(raw, raw + spaces[row].size());
    finish(spaces[row], kept);
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
