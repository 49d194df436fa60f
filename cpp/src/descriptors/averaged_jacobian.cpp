#include "descriptors/averaged_jacobian.hpp"

namespace castile {
namespace {

/// dc/dD of one pair in its channel, (3, n_lm, n_padded).
template <typename T>
void coefficient_gradient(const Coefficients<T>& layout, const PairTerms<T>& terms, T* out) {
  const int n_padded = layout.n_padded;
  const int n_lm = (layout.l_max + 1) * (layout.l_max + 1);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const T* h = terms.h + static_cast<std::int64_t>(axis + 1) * n_lm;
    for (int l = 0; l <= layout.l_max; ++l) {
      const T* R = terms.R + l * n_padded;
      const T* dR = terms.dR + l * n_padded;
      for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
        for (int n = 0; n < n_padded; ++n) *out++ = dR[n] * terms.u[axis] * terms.h[lm] + R[n] * h[lm];
      }
    }
  }
}

/// out, in the layout of `n_channels` channels, += weight * gradient (n_lm, n_padded) in one of them.
template <typename T>
void add_to_channel(const Coefficients<T>& layout, int n_channels, std::int64_t channel, T weight, const T* gradient,
                    T* out) {
  const int n_lm = (layout.l_max + 1) * (layout.l_max + 1);
  const std::int64_t stride = static_cast<std::int64_t>(n_channels) * layout.n_padded;
  out += channel * layout.n_padded;
  for (int lm = 0; lm < n_lm; ++lm, out += stride, gradient += layout.n_padded) {
    for (int n = 0; n < layout.n_padded; ++n) out[n] += weight * gradient[n];
  }
}

template <typename T>
void add(const std::vector<T>& in, std::vector<T>& out) {
  for (std::size_t k = 0; k < in.size(); ++k) out[k] += in[k];
}

}  // namespace

template <typename T>
std::int64_t DensityDescriptor<T>::AveragedJacobian::blocks_per_round() const {
  constexpr double round_bytes = 256.0 * (1 << 20);
  double largest = 1.0;  // atoms that a block may touch
  for (std::int64_t frame = 0; frame < batch_.n_frames(); ++frame) {
    largest = std::max(largest, static_cast<double>(batch_.n_atoms(frame)));
  }
  const auto n_numbers = static_cast<double>(rows_.spaces().largest([&](const RowSpace& s) { return size(s); }));
  const double bytes = (3.0 * std::min(largest, 500.0) + 7.0) * std::max(n_numbers, 1.0) * sizeof(T);
  return static_cast<std::int64_t>(std::clamp(round_bytes / bytes, 4.0, 256.0));
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::fill() {
  const std::int64_t round = blocks_per_round();
  const auto& blocks = batch_.blocks();
  if (with_strain()) {  // rows without centers, which nothing changes
    for (std::int64_t row = 0; row < batch_.n_rows(); ++row) {
      if (batch_.row_size(row) == 0) std::fill_n(rows_.strain_of(row), 9 * rows_.size(row), T(0));
    }
  }
  std::vector<Partial> partials(static_cast<std::size_t>(std::min(round, batch_.n_blocks())));
  std::vector<RowSum> sums;  // of the rows in work; the last one may go on in the next round
  for (std::int64_t first = 0; first < batch_.n_blocks(); first += round) {
    const std::int64_t last = std::min(first + round, batch_.n_blocks());
    partials.resize(static_cast<std::size_t>(last - first));
    batch_.for_each_block(first, last, [&](Worker& worker, std::int64_t index) {
      sum_block(worker, blocks[static_cast<std::size_t>(index)], partials[static_cast<std::size_t>(index - first)]);
    });
    for (std::int64_t index = first; index < last; ++index) {
      const CenterBlock& block = blocks[static_cast<std::size_t>(index)];
      if (sums.empty() || sums.back().row != block.row) sums.push_back(start_row(block.row, block.frame));
    }
    add_partials(partials, first, sums);
    const bool goes_on = last < batch_.n_blocks() && blocks[static_cast<std::size_t>(last)].row == sums.back().row;
    const std::size_t n_finished = sums.size() - (goes_on ? 1 : 0);
    finish_rows(sums, n_finished);
    sums.erase(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(n_finished));
  }
}

template <typename T>
typename DensityDescriptor<T>::AveragedJacobian::RowSum DensityDescriptor<T>::AveragedJacobian::start_row(
    std::int64_t row, std::int64_t frame) const {
  RowSum sum;
  sum.row = row;
  sum.frame = frame;
  const std::int64_t n = size(row);
  sum.blocks = rows_.blocks_of_row(row, frame);
  sum.mean.assign(static_cast<std::size_t>(n), T(0));
  sum.strain.assign(static_cast<std::size_t>(with_strain() ? 6 * n : 0), T(0));
  if (inner_) {
    sum.gradients.assign(sum.blocks.size() * static_cast<std::size_t>(3 * n), T(0));
  } else {
    for (const auto& block : sum.blocks) std::fill_n(block.values, 3 * n, T(0));
  }
  return sum;
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::sum_block(Worker& worker, const CenterBlock& block,
                                                       Partial& partial) const {
  // What the block touches is known only when all its pairs have been found once.
  partial.moving.clear();
  for (std::int64_t center = block.first; center < block.last; ++center) {
    worker.find_pairs(batch_, block.frame, center);
    partial.moving.insert(partial.moving.end(), worker.pairs.j.begin(), worker.pairs.j.end());
    partial.moving.push_back(batch_.moving(block.frame, center));
    std::sort(partial.moving.begin(), partial.moving.end());
    partial.moving.erase(std::unique(partial.moving.begin(), partial.moving.end()), partial.moving.end());
  }
  const RowSpace& space = rows_.space(block.row);
  const std::int64_t n = size(space);
  partial.mean.assign(static_cast<std::size_t>(n), T(0));
  partial.gradients.assign(partial.moving.size() * static_cast<std::size_t>(3 * n), T(0));
  partial.strain.assign(static_cast<std::size_t>(with_strain() ? 6 * n : 0), T(0));
  CenterDerivatives<T> buffers;
  for (std::int64_t center = block.first; center < block.last; ++center) {
    rows_.expand_sorted(worker, block.row, block.frame, center, buffers);
    if (inner_) {
      add_to_channels(worker.c(), worker.c().values, space.n_channels(), partial.mean.data());
      add_coefficient_gradients(worker, block, center, buffers, partial);
    } else {
      const T* row = worker.forward(space, worker.c());
      for (std::int64_t k = 0; k < n; ++k) partial.mean[static_cast<std::size_t>(k)] += row[k];
      add_feature_gradients(worker, block, center, buffers, partial);
    }
  }
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::add_feature_gradients(Worker& worker, const CenterBlock& block,
                                                                   std::int64_t center, CenterDerivatives<T>& buffers,
                                                                   Partial& partial) const {
  const std::int64_t n = size(block.row);
  const auto add_rows = [&](int channel, int n_rows, const T* narrow, T* wide) {
    const Columns& columns = rows_.columns(block.row, worker, channel);
    for (int k = 0; k < n_rows; ++k) columns.add(T(1), narrow + k * columns.size(), wide + k * n);
  };
  rows_.differentiate_row(
      worker, block.row, center, buffers, no_stream<T>,
      [&](int channel, std::int64_t j, const T* gradient) { add_rows(channel, 3, gradient, partial.gradient(j, n)); },
      [&](int channel, const T* own, const T* voigt) {
        add_rows(channel, 3, own, partial.gradient(batch_.moving(block.frame, center), n));
        if (with_strain()) add_rows(channel, 6, voigt, partial.strain.data());
      });
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::add_coefficient_gradients(Worker& worker, const CenterBlock& block,
                                                                       std::int64_t center,
                                                                       CenterDerivatives<T>& buffers,
                                                                       Partial& partial) const {
  const Coefficients<T>& c = worker.c();
  const int n_channels = rows_.space(block.row).n_channels();
  const std::int64_t wide_size = size(block.row);
  const std::int64_t n = static_cast<std::int64_t>(c.l_max + 1) * (c.l_max + 1) * c.n_padded;
  const auto add_rows = [&](int channel, int n_rows, const T* narrow, T* wide) {
    for (int k = 0; k < n_rows; ++k, narrow += n, wide += wide_size) {
      if (!descriptor_.mixing_.mixes()) {
        add_to_channel(c, n_channels, c.channels[static_cast<std::size_t>(channel)], T(1), narrow, wide);
        continue;
      }
      const T* weights = descriptor_.mixing_.column(worker.environment.species[static_cast<std::size_t>(channel)]);
      for (int mixed = 0; mixed < n_channels; ++mixed) {
        add_to_channel(c, n_channels, mixed, weights[mixed], narrow, wide);
      }
    }
  };
  differentiate_center(
      descriptor_.expansion_, worker.environment, worker.pairs, batch_.atom(center), with_strain(), worker.scratch,
      buffers, [n](int) { return n; },
      [&](const PairTerms<T>& terms, int, T* out, GradientStream<T>*) { coefficient_gradient(c, terms, out); },
      no_stream<T>,
      [&](int channel, std::int64_t j, const T* gradient) {
        add_rows(channel, 3, gradient, partial.gradient(j, wide_size));
      },
      [&](int channel, const T* own, const T* voigt) {
        add_rows(channel, 3, own, partial.gradient(batch_.moving(block.frame, center), wide_size));
        if (with_strain()) add_rows(channel, 6, voigt, partial.strain.data());
      });
}

/// Parallel over what moves: every sum runs over the blocks in order.
template <typename T>
void DensityDescriptor<T>::AveragedJacobian::add_partials(std::vector<Partial>& partials, std::int64_t first,
                                                          std::vector<RowSum>& sums) const {
  struct Item {
    std::size_t sum;
    std::size_t block;  ///< one past the last: mean and strain
  };
  std::vector<Item> items;
  for (std::size_t s = 0; s < sums.size(); ++s) {
    for (std::size_t block = 0; block <= sums[s].blocks.size(); ++block) items.push_back({s, block});
  }
  std::vector<std::vector<Partial*>> of_row(sums.size());
  for (std::size_t k = 0, s = 0; k < partials.size(); ++k) {
    while (batch_.blocks()[static_cast<std::size_t>(first) + k].row != sums[s].row) ++s;
    of_row[s].push_back(&partials[k]);
  }
  parallel_for(static_cast<std::int64_t>(items.size()), [&] {
    return [&](std::int64_t index) {
      const Item item = items[static_cast<std::size_t>(index)];
      RowSum& sum = sums[item.sum];
      for (Partial* partial : of_row[item.sum]) {
        if (item.block == sum.blocks.size()) {
          add(partial->mean, sum.mean);
          add(partial->strain, sum.strain);
          continue;
        }
        const std::int64_t id = sum.blocks[item.block].moving;
        if (!std::binary_search(partial->moving.begin(), partial->moving.end(), id)) continue;
        const std::int64_t n = size(sum.row);
        const T* in = partial->gradient(id, n);
        T* out = sum.gradient(item.block, n);
        for (std::int64_t k = 0; k < 3 * n; ++k) out[k] += in[k];
      }
    };
  });
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::finish_rows(std::vector<RowSum>& sums, std::size_t n_finished) const {
  batch_.for_each(static_cast<std::int64_t>(n_finished), [&](Worker& worker, std::int64_t index) {
    RowSum& sum = sums[static_cast<std::size_t>(index)];
    const auto n = static_cast<T>(batch_.row_size(sum.row));
    for (T& value : sum.mean) value /= n;
    for (T& value : sum.strain) value /= n;
    if (!descriptor_.parameters_.normalize) return;
    if (inner_) {
      sum.length = worker.unit_row(rows_.space(sum.row), mean_coefficients(worker, sum));
      sum.unit_row = worker.row;
    } else {
      sum.unit_row = sum.mean;
      sum.length = normalize_row(sum.unit_row.data(), size(sum.row));
    }
  });
  std::vector<std::pair<std::size_t, std::size_t>> items;
  for (std::size_t s = 0; s < n_finished; ++s) {
    for (std::size_t block = 0; block <= sums[s].blocks.size(); ++block) items.emplace_back(s, block);
  }
  batch_.for_each(static_cast<std::int64_t>(items.size()), [&](Worker& worker, std::int64_t index) {
    const auto [s, block] = items[static_cast<std::size_t>(index)];
    if (block < sums[s].blocks.size()) {
      finish_block(worker, sums[s], block);
    } else if (with_strain()) {
      finish_strain(worker, sums[s]);
    }
  });
}

template <typename T>
const Coefficients<T>& DensityDescriptor<T>::AveragedJacobian::mean_coefficients(Worker& worker,
                                                                                 const RowSum& sum) const {
  worker.mean_c = descriptor_.zero_coefficients(rows_.space(sum.row));
  worker.mean_c.values = sum.mean;
  return worker.mean_c;
}

/// Takes derivatives of the mean coefficients through the head, one for each row of `out`.
template <typename T>
void DensityDescriptor<T>::AveragedJacobian::push_through_head(Worker& worker, const RowSum& sum, std::int64_t n_rows,
                                                               const T* derivatives, T* out) const {
  const Coefficients<T>& mean = mean_coefficients(worker, sum);
  const std::int64_t n = size(sum.row);
  for (std::int64_t k = 0; k < n_rows; ++k, derivatives += n, out += rows_.size(sum.row)) {
    worker.grad_mixed.assign(derivatives, derivatives + n);
    rows_.space(sum.row).head->jvp(mean, worker.grad_mixed, out, worker.head_scratch);
  }
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::finish_block(Worker& worker, RowSum& sum, std::size_t block) const {
  const auto n_centers = static_cast<T>(batch_.row_size(sum.row));
  const std::int64_t n = size(sum.row);
  T* values = sum.blocks[block].values;
  T* gradient = sum.gradient(block, n);
  for (std::int64_t k = 0; k < 3 * n; ++k) gradient[k] /= n_centers;
  if (inner_) push_through_head(worker, sum, 3, gradient, values);
  if (descriptor_.parameters_.normalize) rows_.project(sum.unit_row, sum.length, 3, values);
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::finish_strain(Worker& worker, RowSum& sum) const {
  std::vector<T>& voigt = worker.row_dot;
  if (inner_) {
    voigt.resize(static_cast<std::size_t>(6 * rows_.size(sum.row)));
    push_through_head(worker, sum, 6, sum.strain.data(), voigt.data());
  } else {
    voigt = sum.strain;
  }
  if (descriptor_.parameters_.normalize) rows_.project(sum.unit_row, sum.length, 6, voigt.data());
  write_strain(voigt.data(), rows_.size(sum.row), rows_.strain_of(sum.row));
}

template class DensityDescriptor<double>::AveragedJacobian;
template class DensityDescriptor<float>::AveragedJacobian;

}  // namespace castile
