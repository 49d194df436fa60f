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

/// out (layout of all channels) += weight * gradient (n_lm, n_padded) in one channel.
template <typename T>
void add_to_channel(const Coefficients<T>& all, std::int64_t channel, T weight, const T* gradient, T* out) {
  const int n_lm = (all.l_max + 1) * (all.l_max + 1);
  out += channel * all.n_padded;
  for (int lm = 0; lm < n_lm; ++lm, out += all.stride(), gradient += all.n_padded) {
    for (int n = 0; n < all.n_padded; ++n) out[n] += weight * gradient[n];
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
  const double bytes = (3.0 * std::min(largest, 500.0) + 7.0) * static_cast<double>(size_) * sizeof(T);
  return static_cast<std::int64_t>(std::clamp(round_bytes / bytes, 4.0, 256.0));
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::fill() {
  const std::int64_t round = blocks_per_round();
  const auto& blocks = batch_.blocks();
  if (with_strain()) {  // rows without centers, which nothing changes
    for (std::int64_t row = 0; row < batch_.n_rows(); ++row) {
      if (batch_.row_size(row) == 0) std::fill_n(rows_.strain_of(row), 9 * rows_.n_features(), T(0));
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
  sum.blocks = rows_.blocks_of_row(row, frame);
  sum.mean.assign(static_cast<std::size_t>(size_), T(0));
  sum.strain.assign(static_cast<std::size_t>(with_strain() ? 6 * size_ : 0), T(0));
  if (inner_) {
    sum.gradients.assign(sum.blocks.size() * static_cast<std::size_t>(3 * size_), T(0));
  } else {
    for (const auto& block : sum.blocks) std::fill_n(block.values, 3 * size_, T(0));
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
  partial.mean.assign(static_cast<std::size_t>(size_), T(0));
  partial.gradients.assign(partial.moving.size() * static_cast<std::size_t>(3 * size_), T(0));
  partial.strain.assign(static_cast<std::size_t>(with_strain() ? 6 * size_ : 0), T(0));
  CenterDerivatives<T> buffers;
  for (std::int64_t center = block.first; center < block.last; ++center) {
    rows_.expand_sorted(worker, block.frame, center, buffers);
    if (inner_) {
      add_to_all_channels(worker.c(), worker.c().values, all_, partial.mean.data());
      add_coefficient_gradients(worker, block, center, buffers, partial);
    } else {
      const T* row = worker.forward(worker.c());
      for (std::int64_t k = 0; k < size_; ++k) partial.mean[static_cast<std::size_t>(k)] += row[k];
      add_feature_gradients(worker, block, center, buffers, partial);
    }
  }
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::add_feature_gradients(Worker& worker, const CenterBlock& block,
                                                                   std::int64_t center, CenterDerivatives<T>& buffers,
                                                                   Partial& partial) const {
  const auto add_rows = [&](int channel, int n_rows, const T* narrow, T* wide) {
    const Columns& columns = rows_.columns(worker.environment.species[static_cast<std::size_t>(channel)]);
    for (int k = 0; k < n_rows; ++k) columns.add(T(1), narrow + k * columns.size(), wide + k * size_);
  };
  rows_.differentiate_row(
      worker, center, buffers,
      [&](int channel, std::int64_t j, const T* gradient) {
        add_rows(channel, 3, gradient, partial.gradient(j, size_));
      },
      [&](int channel, const T* own, const T* voigt) {
        add_rows(channel, 3, own, partial.gradient(batch_.moving(block.frame, center), size_));
        if (with_strain()) add_rows(channel, 6, voigt, partial.strain.data());
      });
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::add_coefficient_gradients(Worker& worker, const CenterBlock& block,
                                                                       std::int64_t center,
                                                                       CenterDerivatives<T>& buffers,
                                                                       Partial& partial) const {
  const std::int64_t n = static_cast<std::int64_t>(all_.l_max + 1) * (all_.l_max + 1) * all_.n_padded;
  const auto add_rows = [&](int channel, int n_rows, const T* narrow, T* wide) {
    const std::int32_t species = worker.environment.species[static_cast<std::size_t>(channel)];
    for (int k = 0; k < n_rows; ++k, narrow += n, wide += size_) {
      if (!descriptor_.mixing_.mixes()) {
        add_to_channel(all_, species, T(1), narrow, wide);
        continue;
      }
      const T* weights = descriptor_.mixing_.column(species);
      for (int mixed = 0; mixed < all_.n_channels(); ++mixed) add_to_channel(all_, mixed, weights[mixed], narrow, wide);
    }
  };
  differentiate_center(
      descriptor_.expansion_, worker.environment, worker.pairs, batch_.atom(center), with_strain(), worker.scratch,
      buffers, [n](int) { return n; },
      [&](const PairTerms<T>& terms, int, T* out) { coefficient_gradient(all_, terms, out); },
      [&](int channel, std::int64_t j, const T* gradient) {
        add_rows(channel, 3, gradient, partial.gradient(j, size_));
      },
      [&](int channel, const T* own, const T* voigt) {
        add_rows(channel, 3, own, partial.gradient(batch_.moving(block.frame, center), size_));
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
        const T* in = partial->gradient(id, size_);
        T* out = sum.gradient(item.block, size_);
        for (std::int64_t k = 0; k < 3 * size_; ++k) out[k] += in[k];
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
      worker.mixed_c = all_;
      worker.mixed_c.values = sum.mean;
      sum.length = worker.unit_row(worker.mixed_c);
      sum.unit_row = worker.row;
    } else {
      sum.unit_row = sum.mean;
      sum.length = normalize_row(sum.unit_row.data(), size_);
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
void DensityDescriptor<T>::AveragedJacobian::finish_block(Worker& worker, RowSum& sum, std::size_t block) const {
  const auto n = static_cast<T>(batch_.row_size(sum.row));
  T* values = sum.blocks[block].values;
  T* gradient = sum.gradient(block, size_);
  for (std::int64_t k = 0; k < 3 * size_; ++k) gradient[k] /= n;
  if (inner_) {
    worker.mixed_c = all_;
    worker.mixed_c.values = sum.mean;
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      worker.grad_mixed.assign(gradient + axis * size_, gradient + (axis + 1) * size_);
      descriptor_.head_->jvp(worker.mixed_c, worker.grad_mixed, values + axis * rows_.n_features(),
                             worker.head_scratch);
    }
  }
  if (descriptor_.parameters_.normalize) rows_.project(sum.unit_row, sum.length, 3, values);
}

template <typename T>
void DensityDescriptor<T>::AveragedJacobian::finish_strain(Worker& worker, RowSum& sum) const {
  std::vector<T>& voigt = worker.row_dot;
  if (inner_) {
    voigt.resize(static_cast<std::size_t>(6 * rows_.n_features()));
    worker.mixed_c = all_;
    worker.mixed_c.values = sum.mean;
    for (std::int64_t v = 0; v < 6; ++v) {
      worker.grad_mixed.assign(sum.strain.begin() + v * size_, sum.strain.begin() + (v + 1) * size_);
      descriptor_.head_->jvp(worker.mixed_c, worker.grad_mixed, voigt.data() + v * rows_.n_features(),
                             worker.head_scratch);
    }
  } else {
    voigt = sum.strain;
  }
  if (descriptor_.parameters_.normalize) rows_.project(sum.unit_row, sum.length, 6, voigt.data());
  write_strain(voigt.data(), rows_.n_features(), rows_.strain_of(sum.row));
}

template class DensityDescriptor<double>::AveragedJacobian;
template class DensityDescriptor<float>::AveragedJacobian;

}  // namespace castile
