// Reverse and forward mode: products with the Jacobian, which is never formed.
#include <array>

#include "descriptors/density_batch.hpp"
#include "geometry/symmetric_outer.hpp"

namespace castile {
namespace {

using Matrix3 = std::array<double, 9>;

/// Blocks whose pairs' gradients are kept at a time, to bound the memory.
constexpr std::int64_t round_blocks = 128;

/// Change of the pair vectors when atoms move with `velocities`, the center with `own`, space with the strain rate.
void pair_velocities(const PairBuffer& pairs, const double* velocities, const double* own, const double* strain,
                     std::vector<double>& out) {
  out.resize(3 * static_cast<std::size_t>(pairs.size()));
  for (std::size_t pair = 0; pair < pairs.j.size(); ++pair) {
    const double* v = velocities + 3 * static_cast<std::int64_t>(pairs.j[pair]);
    for (std::size_t a = 0; a < 3; ++a) {
      double change = v[a] - own[a];
      for (std::size_t b = 0; b < 3; ++b) {
        change += 0.5 * (strain[3 * a + b] + strain[3 * b + a]) * pairs.D[pair][b];
      }
      out[3 * pair + a] = change;
    }
  }
}

/// Copies some channels out of values that have all.
template <typename T>
void take_channels(const Coefficients<T>& all, const std::vector<T>& values, const std::vector<std::int32_t>& channels,
                   std::vector<T>& taken) {
  const int n_rows = (all.l_max + 1) * (all.l_max + 1);
  taken.resize(static_cast<std::size_t>(n_rows) * channels.size() * static_cast<std::size_t>(all.n_padded));
  T* out = taken.data();
  for (int lm = 0; lm < n_rows; ++lm) {
    for (const std::int32_t channel : channels) {
      const T* in = values.data() + lm * all.stride() + std::int64_t{channel} * all.n_padded;
      out = std::copy_n(in, all.n_padded, out);
    }
  }
}

}  // namespace

// ---- reverse mode

/// dE/dD of all pairs of a block of centers, kept until the blocks are summed in order.
template <typename T>
struct DensityDescriptor<T>::BlockGradients {
  std::vector<std::int64_t> first_pair;  ///< per center, and the end
  std::vector<std::int32_t> j;
  std::vector<double> grad_D;
  Matrix3 strain;

  void clear() {
    first_pair.assign(1, 0);
    j.clear();
    grad_D.clear();
    strain.fill(0.0);
  }

  void append(const PairBuffer& pairs) {
    j.insert(j.end(), pairs.j.begin(), pairs.j.end());
    first_pair.push_back(static_cast<std::int64_t>(j.size()));
    const double* f = grad_D.data() + grad_D.size() - 3 * pairs.j.size();
    for (std::size_t pair = 0; pair < pairs.j.size(); ++pair)
      add_symmetric_outer(f + 3 * pair, pairs.D[pair], strain.data());
  }
};

/// What the cotangent of an averaged row means for each of its centers; of a row's features or its coefficients.
template <typename T>
struct DensityDescriptor<T>::RowCotangents {
  RowSpaces spaces;
  Coefficients<T> all;
  std::vector<std::vector<T>> rows;
};

template <typename T>
typename DensityDescriptor<T>::RowCotangents DensityDescriptor<T>::split_averages(
    const Batch& batch, const FeatureRows<T>& grad_features) const {
  RowCotangents cotangents{whole_spaces(), zero_coefficients(whole_space()), {}};
  if (!averages()) return cotangents;
  const RowSpace& space = cotangents.spaces.spaces.front();
  const std::int64_t size = n_features();
  cotangents.rows.resize(static_cast<std::size_t>(batch.n_rows()));
  const auto split = [&](Worker& worker, std::int64_t row, const std::vector<T>& mean) {
    const auto n_centers = static_cast<T>(std::max<std::int64_t>(batch.row_size(row), 1));
    std::vector<T>& cotangent = cotangents.rows[static_cast<std::size_t>(row)];
    grad_features.copy_row(row, {{0, size}}, cotangent);
    for (T& value : cotangent) value /= n_centers;
    const bool inner = parameters_.average == Average::inner;
    if (inner) {
      worker.mean_c = cotangents.all;
      worker.mean_c.values = mean;
    }
    if (parameters_.normalize) {
      if (!inner) worker.row = mean;
      const double length = inner ? worker.unit_row(space, worker.mean_c) : normalize_row(worker.row.data(), size);
      project_tangent(worker.row.data(), length, size, cotangent.data());
    }
    if (!inner) return;
    head_->vjp(worker.mean_c, cotangent.data(), worker.grad_mixed, worker.head_scratch);
    cotangent = worker.grad_mixed;
  };
  if (parameters_.average == Average::outer && !parameters_.normalize) {
    const std::vector<T> no_mean;
    batch.for_each(batch.n_rows(), [&](Worker& worker, std::int64_t row) { split(worker, row, no_mean); });
  } else {
    for_each_mean(batch, cotangents.spaces, split);
  }
  return cotangents;
}

/// Finds a center's environment and writes dE/dc of its species' coefficients to worker.grad_c.
template <typename T>
void DensityDescriptor<T>::center_cotangent(Worker& worker, const Batch& batch, std::int64_t row, std::int64_t frame,
                                            std::int64_t center, const FeatureRows<T>& grad_features,
                                            const RowCotangents& cotangents) const {
  worker.find_pairs(batch, frame, center);
  worker.make_environment(batch, frame, center);
  if (parameters_.average == Average::inner) {
    const std::vector<T>& grad_mean = cotangents.rows[static_cast<std::size_t>(row)];
    if (mixing_.mixes()) {
      expansion_.resize_like(worker.environment, worker.species_c);
      mixing_.apply_adjoint(grad_mean, worker.species_c, worker.grad_c);
    } else {
      take_channels(cotangents.all, grad_mean, worker.environment.species, worker.grad_c);
    }
    return;
  }
  worker.expand_environment();
  // A sparse cotangent has what the center sees, and is not made longer.
  RowSpace space = cotangents.spaces.spaces.front();
  const T* grad_row =
      averages() ? cotangents.rows[static_cast<std::size_t>(row)].data() : grad_features.dense_row(center);
  if (grad_row == nullptr) {
    space = space_of(worker.c().channels);
    space.relabel(worker.c());
  }
  const bool normalizes = parameters_.normalize && !averages();
  if (grad_row == nullptr || normalizes) {
    grad_features.copy_row(center, head_->columns_of_channels(space.channels), worker.row_dot);
    grad_row = worker.row_dot.data();
  }
  if (normalizes) {
    const double length = worker.unit_row(space, worker.c());
    project_tangent(worker.row.data(), length, space.size(), worker.row_dot.data());
  }
  if (mixing_.mixes()) {
    head_->vjp(worker.mixed_c, grad_row, worker.grad_mixed, worker.head_scratch);
    mixing_.apply_adjoint(worker.grad_mixed, worker.species_c, worker.grad_c);
  } else {
    space.head->vjp(worker.species_c, grad_row, worker.grad_c, worker.head_scratch);
  }
}

template <typename T>
void DensityDescriptor<T>::vjp(const Structures& structures, const Centers& centers,
                               const FeatureRows<T>& grad_features, double* grad_positions, double* grad_points,
                               double* grad_strain) const {
  const Batch batch = make_batch(structures, centers);
  const RowCotangents cotangents = split_averages(batch, grad_features);
  std::vector<BlockGradients> gradients(static_cast<std::size_t>(std::min(round_blocks, batch.n_blocks())));
  for (std::int64_t first = 0; first < batch.n_blocks(); first += round_blocks) {
    const std::int64_t last = std::min(first + round_blocks, batch.n_blocks());
    gradients.resize(static_cast<std::size_t>(last - first));
    batch.for_each_block(first, last, [&](Worker& worker, std::int64_t index) {
      const CenterBlock& block = batch.blocks()[static_cast<std::size_t>(index)];
      BlockGradients& out = gradients[static_cast<std::size_t>(index - first)];
      out.clear();
      for (std::int64_t center = block.first; center < block.last; ++center) {
        center_cotangent(worker, batch, block.row, block.frame, center, grad_features, cotangents);
        const std::size_t start = out.grad_D.size();
        out.grad_D.resize(start + 3 * worker.pairs.j.size());
        expansion_.expand_vjp(worker.environment, worker.grad_c, out.grad_D.data() + start, worker.scratch);
        out.append(worker.pairs);
      }
    });
    scatter(batch, gradients, first, grad_positions, grad_points, grad_strain);
  }
}

/// One thread per frame adds in the order of the pairs: the same bits for any number of threads.
template <typename T>
void DensityDescriptor<T>::scatter(const Batch& batch, const std::vector<BlockGradients>& gradients,
                                   std::int64_t first_block, double* grad_positions, double* grad_points,
                                   double* grad_strain) const {
  const auto& blocks = batch.blocks();
  std::vector<std::size_t> starts;  // of each frame's blocks
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    const auto index = static_cast<std::size_t>(first_block) + k;
    if (k == 0 || blocks[index].frame != blocks[index - 1].frame) starts.push_back(k);
  }
  starts.push_back(gradients.size());
  const auto add_block = [&](const CenterBlock& block, const BlockGradients& in) {
    double* positions = grad_positions + 3 * batch.structures().atom_offsets[block.frame];
    for (std::int64_t center = block.first; center < block.last; ++center) {
      const auto k = static_cast<std::size_t>(center - block.first);
      std::array<double, 3> sum{};
      for (std::int64_t pair = in.first_pair[k]; pair < in.first_pair[k + 1]; ++pair) {
        const double* f = in.grad_D.data() + 3 * pair;
        double* neighbor = positions + 3 * static_cast<std::int64_t>(in.j[static_cast<std::size_t>(pair)]);
        for (std::size_t axis = 0; axis < 3; ++axis) {
          neighbor[axis] += f[axis];
          sum[axis] += f[axis];
        }
      }
      const std::int64_t atom = batch.atom(center);
      if (atom < 0 && grad_points == nullptr) continue;
      double* own = atom >= 0 ? positions + 3 * atom : grad_points + 3 * center;
      for (std::size_t axis = 0; axis < 3; ++axis) own[axis] -= sum[axis];
    }
    double* strain = grad_strain + 9 * block.frame;
    for (std::size_t k = 0; k < 9; ++k) strain[k] += in.strain[k];
  };
  parallel_for(static_cast<std::int64_t>(starts.size()) - 1, [&] {
    return [&](std::int64_t item) {
      const auto part = static_cast<std::size_t>(item);
      for (std::size_t k = starts[part]; k < starts[part + 1]; ++k) {
        add_block(blocks[static_cast<std::size_t>(first_block) + k], gradients[k]);
      }
    };
  });
}

// ---- forward mode

template <typename T>
template <typename SpaceOf, typename Write>
void DensityDescriptor<T>::differentiate_rows(const Batch& batch, const Rates& rates, const RowSpaces& spaces,
                                              const SpaceOf& space_of_center, const Write& write) const {
  constexpr std::array<double, 3> at_rest{};
  const auto expand_both = [&](Worker& worker, std::int64_t frame, std::int64_t center) {
    worker.expand(batch, frame, center);
    const double* of_atoms = rates.velocities + 3 * batch.structures().atom_offsets[frame];
    const double* own = at_rest.data();
    if (batch.atom(center) >= 0) {
      own = of_atoms + 3 * batch.atom(center);
    } else if (rates.point_velocities != nullptr) {
      own = rates.point_velocities + 3 * center;
    }
    pair_velocities(worker.pairs, of_atoms, own, rates.strain + 9 * frame, worker.pair_vectors);
    expansion_.expand_jvp(worker.environment, worker.pair_vectors.data(), worker.species_c_dot, worker.scratch);
    if (mixing_.mixes()) mixing_.apply(worker.species_c_dot, worker.mixed_c_dot);
  };
  const auto forward_dot = [&](Worker& worker, const RowSpace& space, const Coefficients<T>& c,
                               const std::vector<T>& c_dot) {
    worker.row_dot.resize(static_cast<std::size_t>(space.size()));
    space.head->jvp(c, c_dot, worker.row_dot.data(), worker.head_scratch);
  };
  // From `worker.row`, raw, and its tangent `worker.row_dot`.
  const auto finish = [&](Worker& worker, const RowSpace& space, std::int64_t row) {
    if (parameters_.normalize) {
      const double length = normalize_row(worker.row.data(), space.size());
      project_tangent(worker.row.data(), length, space.size(), worker.row_dot.data());
    }
    write(row, space, worker.row_dot);
  };

  if (!averages()) {
    batch.for_each_center([&](Worker& worker, const CenterBlock& block, std::int64_t center) {
      expand_both(worker, block.frame, center);
      const RowSpace& space = space_of_center(worker.c());
      space.relabel(worker.c());
      if (parameters_.normalize) worker.forward(space, worker.c());
      forward_dot(worker, space, worker.c(), worker.c_dot().values);
      finish(worker, space, center);
    });
    return;
  }
  // Sums of values and derivatives, one behind the other.
  if (parameters_.average == Average::outer) {
    const auto twice = [](const RowSpace& space) { return 2 * space.size(); };
    batch.average_rows(
        spaces.largest(twice), [&](std::int64_t row) { return twice(spaces[row]); },
        [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
          const RowSpace& space = spaces[block.row];
          expand_both(worker, block.frame, center);
          space.relabel(worker.c());
          const T* row = worker.forward(space, worker.c());
          forward_dot(worker, space, worker.c(), worker.c_dot().values);
          for (std::int64_t k = 0; k < space.size(); ++k) {
            sum[k] += row[k];
            sum[space.size() + k] += worker.row_dot[static_cast<std::size_t>(k)];
          }
        },
        [&](Worker& worker, std::int64_t row, const std::vector<T>& mean) {
          worker.row.assign(mean.begin(), mean.begin() + spaces[row].size());
          worker.row_dot.assign(mean.begin() + spaces[row].size(), mean.end());
          finish(worker, spaces[row], row);
        });
    return;
  }
  const auto twice = [&](const RowSpace& space) { return 2 * n_coefficients(space); };
  batch.average_rows(
      spaces.largest(twice), [&](std::int64_t row) { return twice(spaces[row]); },
      [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
        const RowSpace& space = spaces[block.row];
        expand_both(worker, block.frame, center);
        space.relabel(worker.c());
        add_to_channels(worker.c(), worker.c().values, space.n_channels(), sum);
        add_to_channels(worker.c(), worker.c_dot().values, space.n_channels(), sum + n_coefficients(space));
      },
      [&](Worker& worker, std::int64_t row, const std::vector<T>& mean) {
        const RowSpace& space = spaces[row];
        worker.mean_c = zero_coefficients(space);
        worker.mean_c.values.assign(mean.begin(), mean.begin() + n_coefficients(space));
        worker.grad_mixed.assign(mean.begin() + n_coefficients(space), mean.end());
        if (parameters_.normalize) worker.forward(space, worker.mean_c);
        forward_dot(worker, space, worker.mean_c, worker.grad_mixed);
        finish(worker, space, row);
      });
}

template <typename T>
void DensityDescriptor<T>::jvp(const Structures& structures, const Centers& centers, const Rates& rates,
                               T* features_dot) const {
  const Batch batch = make_batch(structures, centers);
  const RowSpaces spaces = whole_spaces();
  differentiate_rows(
      batch, rates, spaces, [&](const Coefficients<T>&) -> const RowSpace& { return spaces.spaces.front(); },
      [&](std::int64_t row, const RowSpace& space, const std::vector<T>& row_dot) {
        std::copy(row_dot.begin(), row_dot.end(), features_dot + row * space.size());
      });
}

template <typename T>
SparseRows<T> DensityDescriptor<T>::jvp_sparse(const Structures& structures, const Centers& centers,
                                               const Rates& rates) const {
  std::vector<SparseRow> rows(static_cast<std::size_t>(n_rows(structures, centers)));
  const Batch batch = make_batch(structures, centers);
  const RowSpaces spaces = averages() ? spaces_of_frames(batch) : whole_spaces();
  SparseRowBudget<T> budget;
  differentiate_rows(
      batch, rates, spaces, [&](const Coefficients<T>& c) { return space_of(c.channels); },
      [&](std::int64_t row, const RowSpace& space, const std::vector<T>& row_dot) {
        budget.spend(space.size());
        rows[static_cast<std::size_t>(row)] = {head_->columns_of_channels(space.channels), row_dot};
      });
  return join_rows(rows);
}

template void DensityDescriptor<double>::vjp(const Structures&, const Centers&, const FeatureRows<double>&, double*,
                                             double*, double*) const;
template void DensityDescriptor<double>::jvp(const Structures&, const Centers&, const Rates&, double*) const;
template SparseRows<double> DensityDescriptor<double>::jvp_sparse(const Structures&, const Centers&,
                                                                  const Rates&) const;
template void DensityDescriptor<float>::vjp(const Structures&, const Centers&, const FeatureRows<float>&, double*,
                                            double*, double*) const;
template void DensityDescriptor<float>::jvp(const Structures&, const Centers&, const Rates&, float*) const;
template SparseRows<float> DensityDescriptor<float>::jvp_sparse(const Structures&, const Centers&, const Rates&) const;

}  // namespace castile
