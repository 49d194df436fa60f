#include "castile/descriptors/density_descriptor.hpp"

#include <array>
#include <numeric>
#include <stdexcept>

#include "descriptors/density_batch.hpp"

namespace castile {
namespace {

using Matrix3 = std::array<double, 9>;

/// Change of a pair vector when atoms move with `velocities` and space with the strain rate.
void pair_velocities(const PairBuffer& pairs, std::int64_t center, const double* velocities, const double* strain,
                     std::vector<double>& out) {
  out.resize(3 * static_cast<std::size_t>(pairs.size()));
  for (std::size_t pair = 0; pair < pairs.j.size(); ++pair) {
    const double* v = velocities + 3 * static_cast<std::int64_t>(pairs.j[pair]);
    for (std::size_t a = 0; a < 3; ++a) {
      double change = v[a] - velocities[3 * center + static_cast<std::int64_t>(a)];
      for (std::size_t b = 0; b < 3; ++b) {
        change += 0.5 * (strain[3 * a + b] + strain[3 * b + a]) * pairs.D[pair][b];
      }
      out[3 * pair + a] = change;
    }
  }
}

void add_symmetric_outer(const double* f, const std::array<double, 3>& D, Matrix3& strain) {
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = 0; b < 3; ++b) strain[3 * a + b] += 0.5 * (f[a] * D[b] + f[b] * D[a]);
  }
}

/// dE/dD of all pairs of a block of centers, kept until the frame's blocks are summed in order.
struct BlockGradients {
  std::vector<std::int64_t> first_pair;  ///< per center, one more than there are centers
  std::vector<std::int32_t> j;
  std::vector<double> grad_D;
  Matrix3 strain{};
};

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
      expansion_(parameters.expansion),
      head_(make_feature_head<T>(parameters.head, parameters.n_species, parameters.expansion.radial.n_max,
                                 parameters.expansion.radial.l_max)) {}

template <typename T>
DensityDescriptor<T>::~DensityDescriptor() = default;

template <typename T>
std::int64_t DensityDescriptor<T>::n_rows(const Structures& structures, const Centers& centers) const {
  return parameters_.average == Average::off ? centers.offsets[structures.n_frames] : structures.n_frames;
}

template <typename T>
Coefficients<T> DensityDescriptor<T>::all_channels() const {
  Coefficients<T> c;
  c.species.resize(static_cast<std::size_t>(parameters_.n_species));
  std::iota(c.species.begin(), c.species.end(), 0);
  c.l_max = expansion_.l_max();
  c.n_max = expansion_.n_max();
  c.n_padded = expansion_.radial().n_padded();
  c.values.assign(static_cast<std::size_t>((c.l_max + 1) * (c.l_max + 1) * c.stride()), T(0));
  return c;
}

template <typename T>
std::vector<Coefficients<T>> DensityDescriptor<T>::mean_coefficients(const Batch& batch) const {
  std::vector<Coefficients<T>> partial(batch.blocks().size());
  batch.for_each_block(*this, [&](Worker& worker, std::int64_t item) {
    const CenterBlock block = batch.blocks()[static_cast<std::size_t>(item)];
    Coefficients<T> sum = all_channels();
    for (std::int64_t center = block.first; center < block.last; ++center) {
      worker.expand(batch, block.frame, center);
      add_to_all_channels(worker.c, worker.c.values, sum);
    }
    partial[static_cast<std::size_t>(item)] = std::move(sum);
  });
  std::vector<Coefficients<T>> means(static_cast<std::size_t>(batch.n_frames()));
  for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
    Coefficients<T>& mean = means[static_cast<std::size_t>(frame)];
    mean = all_channels();
    const auto [first, last] = batch.blocks_of_frame(frame);
    for (std::int64_t item = first; item < last; ++item) {
      const auto& values = partial[static_cast<std::size_t>(item)].values;
      for (std::size_t k = 0; k < values.size(); ++k) mean.values[k] += values[k];
    }
    const auto n_centers = static_cast<T>(std::max<std::int64_t>(batch.n_centers(frame), 1));
    for (T& value : mean.values) value /= n_centers;
  }
  return means;
}

template <typename T>
void DensityDescriptor<T>::transform_raw(const Batch& batch, T* features) const {
  const std::int64_t size = n_features();
  if (parameters_.average == Average::off) {
    batch.for_each_block(*this, [&](Worker& worker, std::int64_t item) {
      const CenterBlock block = batch.blocks()[static_cast<std::size_t>(item)];
      for (std::int64_t center = block.first; center < block.last; ++center) {
        worker.expand(batch, block.frame, center);
        head_->forward(worker.c, features + center * size);
      }
    });
    return;
  }
  if (parameters_.average == Average::inner) {
    const auto means = mean_coefficients(batch);
    for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
      head_->forward(means[static_cast<std::size_t>(frame)], features + frame * size);
    }
    return;
  }
  std::vector<std::vector<T>> partial(batch.blocks().size());
  batch.for_each_block(*this, [&](Worker& worker, std::int64_t item) {
    const CenterBlock block = batch.blocks()[static_cast<std::size_t>(item)];
    auto& sum = partial[static_cast<std::size_t>(item)];
    sum.assign(static_cast<std::size_t>(size), T(0));
    worker.row.resize(static_cast<std::size_t>(size));
    for (std::int64_t center = block.first; center < block.last; ++center) {
      worker.expand(batch, block.frame, center);
      head_->forward(worker.c, worker.row.data());
      for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += worker.row[k];
    }
  });
  for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
    T* mean = features + frame * size;
    std::fill_n(mean, size, T(0));
    const auto [first, last] = batch.blocks_of_frame(frame);
    for (std::int64_t item = first; item < last; ++item) {
      for (std::int64_t k = 0; k < size; ++k) mean[k] += partial[static_cast<std::size_t>(item)][static_cast<std::size_t>(k)];
    }
    const auto n_centers = static_cast<T>(std::max<std::int64_t>(batch.n_centers(frame), 1));
    for (std::int64_t k = 0; k < size; ++k) mean[k] /= n_centers;
  }
}

template <typename T>
void DensityDescriptor<T>::transform(const Structures& structures, const Centers& centers, T* features) const {
  transform_raw(make_batch(structures, centers), features);
  if (!parameters_.normalize) return;
  const std::int64_t size = n_features();
  parallel_for(n_rows(structures, centers), [&] {
    return std::function<void(std::int64_t)>([&](std::int64_t row) { normalize_row(features + row * size, size); });
  });
}

template <typename T>
SparseRows<T> DensityDescriptor<T>::transform_sparse(const Structures& structures, const Centers& centers) const {
  const Batch batch = make_batch(structures, centers);
  const std::int64_t size = n_features();
  const bool local = parameters_.average == Average::off;
  struct Row {
    std::vector<std::int64_t> columns;
    std::vector<T> values;
  };
  std::vector<Row> rows(static_cast<std::size_t>(n_rows(structures, centers)));
  const auto keep = [&](T* dense, const std::vector<std::int32_t>& species, Row& row) {
    if (parameters_.normalize) normalize_row(dense, size);
    for (const ColumnRange range : head_->columns_of_species(species)) {
      for (std::int64_t column = range.first; column < range.first + range.size; ++column) {
        row.columns.push_back(column);
        row.values.push_back(dense[column]);
      }
    }
  };
  if (local) {
    batch.for_each_block(*this, [&](Worker& worker, std::int64_t item) {
      const CenterBlock block = batch.blocks()[static_cast<std::size_t>(item)];
      worker.row.resize(static_cast<std::size_t>(size));
      for (std::int64_t center = block.first; center < block.last; ++center) {
        worker.expand(batch, block.frame, center);
        head_->forward(worker.c, worker.row.data());
        keep(worker.row.data(), worker.c.species, rows[static_cast<std::size_t>(center)]);
      }
    });
  } else {
    std::vector<T> dense(static_cast<std::size_t>(structures.n_frames * size));
    transform_raw(batch, dense.data());
    for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
      std::vector<bool> present(static_cast<std::size_t>(parameters_.n_species), false);
      for (std::int64_t atom = 0; atom < structures[frame].n_atoms; ++atom) {
        present[static_cast<std::size_t>(batch.species(frame)[atom])] = true;
      }
      std::vector<std::int32_t> species;
      for (std::int32_t s = 0; s < parameters_.n_species; ++s) {
        if (present[static_cast<std::size_t>(s)]) species.push_back(s);
      }
      keep(dense.data() + frame * size, species, rows[static_cast<std::size_t>(frame)]);
    }
  }
  SparseRows<T> result;
  result.row_offsets.push_back(0);
  for (const Row& row : rows) {
    result.columns.insert(result.columns.end(), row.columns.begin(), row.columns.end());
    result.values.insert(result.values.end(), row.values.begin(), row.values.end());
    result.row_offsets.push_back(static_cast<std::int64_t>(result.columns.size()));
  }
  return result;
}

template <typename T>
void DensityDescriptor<T>::vjp(const Structures& structures, const Centers& centers, const T* grad_features,
                               double* grad_positions, double* grad_strain) const {
  const Batch batch = make_batch(structures, centers);
  const std::int64_t size = n_features();
  const Average average = parameters_.average;

  // Averaged rows: take the cotangent back through normalisation and mean once per frame.
  std::vector<T> frame_grad;
  std::vector<Coefficients<T>> mean_grad;  // inner: dE/dc of every center of the frame
  if (average != Average::off) {
    frame_grad.assign(grad_features, grad_features + structures.n_frames * size);
    if (parameters_.normalize) {
      std::vector<T> rows(frame_grad.size());
      transform_raw(batch, rows.data());
      for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
        const double length = normalize_row(rows.data() + frame * size, size);
        project_tangent(rows.data() + frame * size, length, size, frame_grad.data() + frame * size);
      }
    }
    for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
      const auto n_centers = static_cast<T>(std::max<std::int64_t>(batch.n_centers(frame), 1));
      for (std::int64_t k = 0; k < size; ++k) frame_grad[static_cast<std::size_t>(frame * size + k)] /= n_centers;
    }
  }
  if (average == Average::inner) {
    mean_grad = mean_coefficients(batch);
    for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
      Coefficients<T>& mean = mean_grad[static_cast<std::size_t>(frame)];
      std::vector<T> grad_c;
      head_->vjp(mean, frame_grad.data() + frame * size, grad_c);
      mean.values = std::move(grad_c);
    }
  }

  std::vector<BlockGradients> gradients(batch.blocks().size());
  batch.for_each_block(*this, [&](Worker& worker, std::int64_t item) {
    const CenterBlock block = batch.blocks()[static_cast<std::size_t>(item)];
    BlockGradients& out = gradients[static_cast<std::size_t>(item)];
    out.first_pair.push_back(0);
    for (std::int64_t center = block.first; center < block.last; ++center) {
      if (average == Average::inner) {
        worker.find_environment(batch, block.frame, center);
        const Coefficients<T>& mean = mean_grad[static_cast<std::size_t>(block.frame)];
        const auto n_channels = worker.environment.species.size();
        const auto n_padded = static_cast<std::size_t>(mean.n_padded);
        const std::size_t n_rows = mean.values.size() / static_cast<std::size_t>(mean.stride());
        worker.grad_c.resize(n_rows * n_channels * n_padded);
        for (std::size_t lm = 0; lm < n_rows; ++lm) {
          for (std::size_t channel = 0; channel < n_channels; ++channel) {
            std::copy_n(mean.channel(worker.environment.species[channel]) +
                            static_cast<std::int64_t>(lm) * mean.stride(),
                        n_padded, worker.grad_c.data() + (lm * n_channels + channel) * n_padded);
          }
        }
      } else {
        worker.expand(batch, block.frame, center);
        const T* grad_row = average == Average::off ? grad_features + center * size
                                                    : frame_grad.data() + block.frame * size;
        if (average == Average::off && parameters_.normalize) {
          worker.row.resize(static_cast<std::size_t>(size));
          head_->forward(worker.c, worker.row.data());
          const double length = normalize_row(worker.row.data(), size);
          worker.row_dot.assign(grad_row, grad_row + size);
          project_tangent(worker.row.data(), length, size, worker.row_dot.data());
          grad_row = worker.row_dot.data();
        }
        head_->vjp(worker.c, grad_row, worker.grad_c);
      }
      const std::size_t first = out.grad_D.size();
      out.grad_D.resize(first + 3 * worker.pairs.j.size());
      expansion_.expand_vjp(worker.environment, worker.grad_c, out.grad_D.data() + first, worker.scratch);
      out.j.insert(out.j.end(), worker.pairs.j.begin(), worker.pairs.j.end());
      out.first_pair.push_back(static_cast<std::int64_t>(out.j.size()));
      for (std::size_t pair = 0; pair < worker.pairs.j.size(); ++pair) {
        add_symmetric_outer(out.grad_D.data() + first + 3 * pair, worker.pairs.D[pair], out.strain);
      }
    }
  });

  // One thread per frame adds in the order of the pairs: the same bits for any number of threads.
  batch.for_each_frame(*this, [&](Worker&, std::int64_t frame) {
    double* positions = grad_positions + 3 * structures.atom_offsets[frame];
    double* strain = grad_strain + 9 * frame;
    const auto [first_block, last_block] = batch.blocks_of_frame(frame);
    for (std::int64_t item = first_block; item < last_block; ++item) {
      const BlockGradients& in = gradients[static_cast<std::size_t>(item)];
      const std::int64_t first_center = batch.blocks()[static_cast<std::size_t>(item)].first;
      for (std::size_t k = 0; k + 1 < in.first_pair.size(); ++k) {
        std::array<double, 3> sum{};
        for (std::int64_t pair = in.first_pair[k]; pair < in.first_pair[k + 1]; ++pair) {
          const double* f = in.grad_D.data() + 3 * pair;
          double* neighbor = positions + 3 * static_cast<std::int64_t>(in.j[static_cast<std::size_t>(pair)]);
          for (std::size_t axis = 0; axis < 3; ++axis) {
            neighbor[axis] += f[axis];
            sum[axis] += f[axis];
          }
        }
        double* own = positions + 3 * batch.atom(first_center + static_cast<std::int64_t>(k));
        for (std::size_t axis = 0; axis < 3; ++axis) own[axis] -= sum[axis];
      }
      for (std::size_t k = 0; k < 9; ++k) strain[k] += in.strain[k];
    }
  });
}

template <typename T>
void DensityDescriptor<T>::jvp(const Structures& structures, const Centers& centers, const double* velocities,
                               const double* strain, T* features_dot) const {
  const Batch batch = make_batch(structures, centers);
  const std::int64_t size = n_features();
  const Average average = parameters_.average;
  const auto expand_both = [&](Worker& worker, std::int64_t frame, std::int64_t center) {
    worker.expand(batch, frame, center);
    pair_velocities(worker.pairs, batch.atom(center), velocities + 3 * structures.atom_offsets[frame],
                    strain + 9 * frame, worker.pair_vectors);
    expansion_.expand_jvp(worker.environment, worker.pair_vectors.data(), worker.c_dot, worker.scratch);
  };

  if (average == Average::off) {
    batch.for_each_block(*this, [&](Worker& worker, std::int64_t item) {
      const CenterBlock block = batch.blocks()[static_cast<std::size_t>(item)];
      for (std::int64_t center = block.first; center < block.last; ++center) {
        expand_both(worker, block.frame, center);
        T* out = features_dot + center * size;
        head_->jvp(worker.c, worker.c_dot.values, out);
        if (!parameters_.normalize) continue;
        worker.row.resize(static_cast<std::size_t>(size));
        head_->forward(worker.c, worker.row.data());
        const double length = normalize_row(worker.row.data(), size);
        project_tangent(worker.row.data(), length, size, out);
      }
    });
    return;
  }

  std::fill_n(features_dot, structures.n_frames * size, T(0));
  batch.for_each_frame(*this, [&](Worker& worker, std::int64_t frame) {
    T* out = features_dot + frame * size;
    std::vector<T> mean_row(static_cast<std::size_t>(size), T(0));
    Coefficients<T> mean = all_channels();
    Coefficients<T> mean_dot = all_channels();
    worker.row.resize(static_cast<std::size_t>(size));
    const auto n_centers = static_cast<T>(batch.n_centers(frame));
    const std::int64_t first = batch.first_center(frame);
    for (std::int64_t center = first; center < first + batch.n_centers(frame); ++center) {
      expand_both(worker, frame, center);
      if (average == Average::inner) {
        add_to_all_channels(worker.c, worker.c.values, mean);
        add_to_all_channels(worker.c, worker.c_dot.values, mean_dot);
        continue;
      }
      head_->jvp(worker.c, worker.c_dot.values, worker.row.data());
      for (std::int64_t k = 0; k < size; ++k) out[k] += worker.row[static_cast<std::size_t>(k)] / n_centers;
      if (!parameters_.normalize) continue;
      head_->forward(worker.c, worker.row.data());
      for (std::size_t k = 0; k < mean_row.size(); ++k) mean_row[k] += worker.row[k] / n_centers;
    }
    if (average == Average::inner) {
      for (T& value : mean.values) value /= n_centers;
      for (T& value : mean_dot.values) value /= n_centers;
      head_->jvp(mean, mean_dot.values, out);
      head_->forward(mean, mean_row.data());
    }
    if (parameters_.normalize) {
      const double length = normalize_row(mean_row.data(), size);
      project_tangent(mean_row.data(), length, size, out);
    }
  });
}

template class DensityDescriptor<double>;
template class DensityDescriptor<float>;

}  // namespace castile
