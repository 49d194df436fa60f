// Explicit Jacobians in blocks (row, moving atom). A neighbor touches the columns of its species only; the center
// itself, an atom of an averaged row, any atom of a normalised row, and any atom where channels are mixed can touch
// every column.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

#include "descriptors/density_batch.hpp"
#include "descriptors/row_stream.hpp"
#include "simd/kernels.hpp"

namespace castile {

constexpr std::array<std::array<std::size_t, 2>, 6> voigt_pairs = {
    {{{0, 0}}, {{1, 1}}, {{2, 2}}, {{1, 2}}, {{0, 2}}, {{0, 1}}}};

/// voigt (6, n) += sym(D ⊗ gradient), gradient (3, n).
template <typename T>
void accumulate_strain(const T* gradient, const std::array<double, 3>& D, std::int64_t n, T* voigt) {
  for (std::size_t v = 0; v < 6; ++v) {
    const auto [a, b] = voigt_pairs[v];
    const auto left = static_cast<T>(0.5 * D[a]);
    const auto right = static_cast<T>(0.5 * D[b]);
    const T* ga = gradient + static_cast<std::int64_t>(a) * n;
    const T* gb = gradient + static_cast<std::int64_t>(b) * n;
    T* out = voigt + static_cast<std::int64_t>(v) * n;
    for (std::int64_t k = 0; k < n; ++k) out[k] += left * gb[k] + right * ga[k];
  }
}

/// Writes six rows (6, n) as a symmetric matrix with the columns last, (3, 3, n).
template <typename T>
void write_strain(const T* voigt, std::int64_t n, T* strain) {
  for (std::size_t v = 0; v < 6; ++v) {
    const auto [a, b] = voigt_pairs[v];
    const T* in = voigt + static_cast<std::int64_t>(v) * n;
    std::copy_n(in, n, strain + static_cast<std::int64_t>(3 * a + b) * n);
    std::copy_n(in, n, strain + static_cast<std::int64_t>(3 * b + a) * n);
  }
}

/// Rows of `n` columns in ranges of wider rows.
class Columns {
 public:
  Columns() = default;
  explicit Columns(std::vector<ColumnRange> ranges) : ranges_(std::move(ranges)) {
    for (const ColumnRange range : ranges_) size_ += range.size;
  }

  std::int64_t size() const { return size_; }

  /// wide += factor * narrow.
  template <typename T>
  void add(T factor, const T* narrow, T* wide) const {
    for (const ColumnRange range : ranges_) {
      T* out = wide + range.first;
      for (std::int64_t k = 0; k < range.size; ++k) out[k] += factor * narrow[k];
      narrow += range.size;
    }
  }

 private:
  std::vector<ColumnRange> ranges_;
  std::int64_t size_ = 0;
};

/// The values of one block and the thing that moves: an atom, or a point (see Batch::moving).
template <typename T>
struct JacobianBlock {
  std::int64_t moving;
  T* values;
  bool wide;  ///< has all columns
};

/// What is computed about one center's neighbors, and the buffers for it.
template <typename T>
struct CenterDerivatives {
  AlignedVector<T> gradient, sum, own, voigt;
  std::vector<T> one_hot;
  std::vector<std::int32_t> order;
};

/// Sorts the pairs by neighbor, so that the images of an atom follow each other.
inline void sort_by_neighbor(PairBuffer& pairs, std::vector<std::int32_t>& order) {
  if (std::is_sorted(pairs.j.begin(), pairs.j.end())) return;
  order.resize(pairs.j.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return pairs.j[static_cast<std::size_t>(a)] < pairs.j[static_cast<std::size_t>(b)];
  });
  PairBuffer sorted;
  for (const std::int32_t index : order) {
    const auto k = static_cast<std::size_t>(index);
    sorted.j.push_back(pairs.j[k]);
    sorted.D.push_back(pairs.D[k]);
    sorted.d.push_back(pairs.d[k]);
  }
  std::swap(pairs, sorted);
}

/// For derivatives that are not written as they come.
template <typename T>
std::optional<GradientStream<T>> no_stream(int, std::int64_t, const T*, T*) {
  return std::nullopt;
}

/// Differentiates something of one expanded center, `width` numbers for each neighbor of a channel, by the positions of
/// its neighbors. evaluate(terms, channel, out) writes the derivative (3, width) for a pair vector;
/// on_neighbor(channel, j, gradient) gets it once for every neighbor but the center itself, summed over its images;
/// unless stream_of(channel, j, gradient, minus) is there to take it: the stream, which evaluate gets with the only
/// image of a neighbor, also takes it off the center's own derivative, `minus`. on_channel(channel, own, voigt) gets
/// the center's own, and that for strain (6, width) if asked for.
template <typename T, typename Width, typename Evaluate, typename StreamOf, typename OnNeighbor, typename OnChannel>
void differentiate_center(const DensityExpansion<T>& expansion, const Environment<T>& environment,
                          const PairBuffer& pairs, std::int64_t own_atom, bool with_strain,
                          ExpansionScratch<T>& scratch, CenterDerivatives<T>& buffers, const Width& width,
                          const Evaluate& evaluate, const StreamOf& stream_of, const OnNeighbor& on_neighbor,
                          const OnChannel& on_channel) {
  for (int channel = 0; channel < static_cast<int>(environment.species.size()); ++channel) {
    const std::int64_t n = width(channel);
    const auto size = static_cast<std::size_t>(3 * n);
    buffers.gradient.resize(size);
    buffers.sum.resize(size);
    buffers.own.assign(size, T(0));
    buffers.voigt.assign(with_strain ? 2 * size : 0, T(0));
    std::int64_t current = -1;
    const auto flush = [&] {
      if (current < 0) return;
      on_neighbor(channel, current, buffers.sum.data());
      simd::kernels<T>().subtract(3 * n, buffers.sum.data(), buffers.own.data());
    };
    expansion.for_each_pair(environment, channel, scratch, [&](std::int64_t pair, const PairTerms<T>& terms) {
      const auto index = static_cast<std::size_t>(pair);
      const std::int64_t j = pairs.j[index];
      const bool repeated = j == current;
      // A self image moves with the center: nothing but strain is left of it.
      const bool moves = j != own_atom;
      if (!moves && !with_strain) return;
      AlignedVector<T>& out = repeated || !moves ? buffers.gradient : buffers.sum;
      if (moves && !repeated) {
        flush();
        current = j;
      }
      const bool only = moves && !repeated && (index + 1 == pairs.j.size() || pairs.j[index + 1] != j);
      std::optional<GradientStream<T>> stream;
      if (only) stream = stream_of(channel, j, out.data(), buffers.own.data());
      evaluate(terms, channel, out.data(), stream ? &*stream : nullptr);
      if (stream) {
        stream->finish();
        current = -1;
      }
      if (with_strain) accumulate_strain(out.data(), pairs.D[index], n, buffers.voigt.data());
      if (!repeated) return;
      for (std::size_t k = 0; k < size; ++k) buffers.sum[k] += buffers.gradient[k];
    });
    flush();
    on_channel(channel, buffers.own.data(), buffers.voigt.data());
  }
}

/// What local and averaged rows of the Jacobian share; one instance serves all threads.
template <typename T>
class DensityDescriptor<T>::JacobianRows {
 public:
  JacobianRows(const DensityDescriptor& descriptor, const Batch& batch, const JacobianLayout& layout,
               const std::vector<T*>& values, const std::vector<T*>& strain);

  const DensityDescriptor& descriptor() const { return descriptor_; }
  const Batch& batch() const { return batch_; }
  const RowSpace& space(std::int64_t row) const { return spaces_[row]; }
  const RowSpaces& spaces() const { return spaces_; }
  std::int64_t size(std::int64_t row) const { return spaces_[row].size(); }
  bool with_strain() const { return !strain_.empty(); }
  T* strain_of(std::int64_t row) const {
    const auto set = static_cast<std::size_t>(layout_.set_of_row[static_cast<std::size_t>(row)]);
    return strain_[set] + 9 * layout_.index_in_set[static_cast<std::size_t>(row)] * size(row);
  }

  /// The blocks of a row, sorted by what moves.
  std::vector<JacobianBlock<T>> blocks_of_row(std::int64_t row, std::int64_t frame) const;

  /// Columns of the row that moving a neighbor of an environment's species changes, `channel` of an expanded center.
  const Columns& columns(std::int64_t row, const Worker& worker, int channel) const {
    const auto set = static_cast<std::size_t>(layout_.set_of_row[static_cast<std::size_t>(row)]);
    const bool mixes = descriptor_.mixing_.mixes();
    return columns_[set][mixes ? 0 : static_cast<std::size_t>(worker.c().channels[static_cast<std::size_t>(channel)])];
  }

  /// Finds and expands a center whose pairs are sorted by neighbor; its channels are counted within the row's.
  void expand_sorted(Worker& worker, std::int64_t row, std::int64_t frame, std::int64_t center,
                     CenterDerivatives<T>& buffers) const;

  /// Weights of a species of the environment in the channels of the coefficients.
  TouchedChannels<T> touched(const Worker& worker, int channel, CenterDerivatives<T>& buffers) const;

  /// Differentiates the raw row of an expanded center; see differentiate_center.
  template <typename StreamOf, typename OnNeighbor, typename OnChannel>
  void differentiate_row(Worker& worker, std::int64_t row, std::int64_t center, CenterDerivatives<T>& buffers,
                         const StreamOf& stream_of, const OnNeighbor& on_neighbor, const OnChannel& on_channel) const {
    const FeatureHead<T>& head = *space(row).head;
    head.prepare_center(worker.c(), worker.head_scratch);
    differentiate_center(
        descriptor_.expansion_, worker.environment, worker.pairs, batch_.atom(center), with_strain(), worker.scratch,
        buffers, [&](int channel) { return columns(row, worker, channel).size(); },
        [&](const PairTerms<T>& terms, int channel, T* out, GradientStream<T>* stream) {
          worker.head_scratch.gradient_stream = stream;
          head.pair_jacobian(worker.c(), terms, touched(worker, channel, buffers), worker.head_scratch, out);
          worker.head_scratch.gradient_stream = nullptr;
        },
        stream_of, on_neighbor, on_channel);
  }

  /// Turns derivatives of a raw row into those of the normalised one.
  void project(const std::vector<T>& unit_row, double length, int n_rows, T* derivatives) const {
    const auto n = static_cast<std::int64_t>(unit_row.size());
    for (int k = 0; k < n_rows; ++k) project_tangent(unit_row.data(), length, n, derivatives + k * n);
  }

 private:
  const DensityDescriptor& descriptor_;
  const Batch& batch_;
  const JacobianLayout& layout_;
  const std::vector<T*>& values_;
  const std::vector<T*>& strain_;
  RowSpaces spaces_;
  std::vector<std::vector<Columns>> columns_;  ///< of each set, by channel
};

/// The entry of what moves in a list sorted by it.
template <typename T>
const JacobianBlock<T>& find_block(const std::vector<JacobianBlock<T>>& blocks, std::int64_t moving) {
  return *std::lower_bound(blocks.begin(), blocks.end(), moving,
                           [](const JacobianBlock<T>& block, std::int64_t id) { return block.moving < id; });
}

}  // namespace castile
