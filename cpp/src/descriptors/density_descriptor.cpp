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

// ---- values

template <typename T>
std::vector<Coefficients<T>> DensityDescriptor<T>::mean_coefficients(const Batch& batch) const {
  const Coefficients<T> layout = all_channels();
  const auto size = static_cast<std::int64_t>(layout.values.size());
  std::vector<T> means(static_cast<std::size_t>(batch.n_frames() * size));
  batch.average_over_centers(*this, size, means.data(),
                             [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
                               worker.expand(batch, block.frame, center);
                               add_to_all_channels(worker.c, worker.c.values, layout, sum);
                             });
  std::vector<Coefficients<T>> result(static_cast<std::size_t>(batch.n_frames()), layout);
  for (std::size_t frame = 0; frame < result.size(); ++frame) {
    std::copy_n(means.data() + static_cast<std::int64_t>(frame) * size, size, result[frame].values.data());
  }
  return result;
}

template <typename T>
void DensityDescriptor<T>::transform_raw(const Batch& batch, T* features) const {
  const std::int64_t size = n_features();
  switch (parameters_.average) {
    case Average::off:
      batch.for_each_center(*this, [&](Worker& worker, const CenterBlock& block, std::int64_t center) {
        worker.expand(batch, block.frame, center);
        head_->forward(worker.c, features + center * size);
      });
      break;
    case Average::inner: {
      const auto means = mean_coefficients(batch);
      for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
        head_->forward(means[static_cast<std::size_t>(frame)], features + frame * size);
      }
      break;
    }
    case Average::outer:
      batch.average_over_centers(*this, size, features,
                                 [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
                                   worker.expand(batch, block.frame, center);
                                   worker.row.resize(static_cast<std::size_t>(size));
                                   head_->forward(worker.c, worker.row.data());
                                   for (std::int64_t k = 0; k < size; ++k)
                                     sum[k] += worker.row[static_cast<std::size_t>(k)];
                                 });
      break;
  }
}

template <typename T>
void DensityDescriptor<T>::transform(const Structures& structures, const Centers& centers, T* features) const {
  transform_raw(make_batch(structures, centers), features);
  if (!parameters_.normalize) return;
  const std::int64_t size = n_features();
  parallel_for(n_rows(structures, centers),
               [&] { return [&](std::int64_t row) { normalize_row(features + row * size, size); }; });
}

// ---- sparse rows

template <typename T>
void DensityDescriptor<T>::keep_columns(T* row, const std::vector<std::int32_t>& species, SparseRow& kept) const {
  if (parameters_.normalize) normalize_row(row, n_features());
  kept.ranges = head_->columns_of_species(species);
  std::int64_t size = 0;
  for (const ColumnRange range : kept.ranges) size += range.size;
  kept.values.reserve(static_cast<std::size_t>(size));
  for (const ColumnRange range : kept.ranges) {
    kept.values.insert(kept.values.end(), row + range.first, row + range.first + range.size);
  }
}

template <typename T>
SparseRows<T> DensityDescriptor<T>::transform_sparse(const Structures& structures, const Centers& centers) const {
  const Batch batch = make_batch(structures, centers);
  const std::int64_t size = n_features();
  std::vector<SparseRow> rows(static_cast<std::size_t>(n_rows(structures, centers)));
  if (parameters_.average == Average::off) {
    batch.for_each_center(*this, [&](Worker& worker, const CenterBlock& block, std::int64_t center) {
      worker.expand(batch, block.frame, center);
      worker.row.resize(static_cast<std::size_t>(size));
      head_->forward(worker.c, worker.row.data());
      keep_columns(worker.row.data(), worker.c.species, rows[static_cast<std::size_t>(center)]);
    });
  } else {
    std::vector<T> dense(static_cast<std::size_t>(structures.n_frames * size));
    transform_raw(batch, dense.data());
    parallel_for(structures.n_frames, [&] {
      return [&](std::int64_t frame) {
        std::vector<std::int32_t> species(batch.species(frame), batch.species(frame) + structures[frame].n_atoms);
        std::sort(species.begin(), species.end());
        species.erase(std::unique(species.begin(), species.end()), species.end());
        keep_columns(dense.data() + frame * size, species, rows[static_cast<std::size_t>(frame)]);
      };
    });
  }
  return join_rows(rows);
}

template <typename T>
SparseRows<T> DensityDescriptor<T>::join_rows(std::vector<SparseRow>& rows) {
  SparseRows<T> result;
  result.row_offsets.push_back(0);
  for (const SparseRow& row : rows) {
    result.row_offsets.push_back(result.row_offsets.back() + static_cast<std::int64_t>(row.values.size()));
  }
  result.columns.resize(static_cast<std::size_t>(result.row_offsets.back()));
  result.values.resize(result.columns.size());
  parallel_for(static_cast<std::int64_t>(rows.size()), [&] {
    return [&](std::int64_t index) {
      SparseRow& row = rows[static_cast<std::size_t>(index)];
      const std::int64_t first = result.row_offsets[static_cast<std::size_t>(index)];
      std::copy(row.values.begin(), row.values.end(), result.values.begin() + first);
      auto column = result.columns.begin() + first;
      for (const ColumnRange range : row.ranges) {
        std::iota(column, column + range.size, static_cast<std::int32_t>(range.first));
        column += range.size;
      }
      row.values = {};
    };
  });
  return result;
}

// ---- reverse mode

/// dE/dD of all pairs of a block of centers, kept until the frame's blocks are summed in order.
template <typename T>
struct DensityDescriptor<T>::BlockGradients {
  std::vector<std::int64_t> first_pair = {0};  ///< per center, and the end
  std::vector<std::int32_t> j;
  std::vector<double> grad_D;
  Matrix3 strain{};

  void append(const PairBuffer& pairs) {
    j.insert(j.end(), pairs.j.begin(), pairs.j.end());
    first_pair.push_back(static_cast<std::int64_t>(j.size()));
    const double* f = grad_D.data() + grad_D.size() - 3 * pairs.j.size();
    for (std::size_t pair = 0; pair < pairs.j.size(); ++pair) add_symmetric_outer(f + 3 * pair, pairs.D[pair], strain);
  }
};

/// What an averaged row's cotangent means for each of its centers.
template <typename T>
struct DensityDescriptor<T>::CenterCotangents {
  std::vector<T> rows;                        ///< outer: of the features, (n_frames, n_features)
  std::vector<Coefficients<T>> coefficients;  ///< inner: of the coefficients, per frame
};

template <typename T>
typename DensityDescriptor<T>::CenterCotangents DensityDescriptor<T>::split_average(const Batch& batch,
                                                                                    const T* grad_features) const {
  CenterCotangents cotangents;
  if (parameters_.average == Average::off) return cotangents;
  const std::int64_t size = n_features();
  auto& rows = cotangents.rows;
  rows.assign(grad_features, grad_features + batch.n_frames() * size);
  if (parameters_.normalize) {
    std::vector<T> features(rows.size());
    transform_raw(batch, features.data());
    for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
      const double length = normalize_row(features.data() + frame * size, size);
      project_tangent(features.data() + frame * size, length, size, rows.data() + frame * size);
    }
  }
  for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
    const auto n_centers = static_cast<T>(std::max<std::int64_t>(batch.n_centers(frame), 1));
    for (std::int64_t k = 0; k < size; ++k) rows[static_cast<std::size_t>(frame * size + k)] /= n_centers;
  }
  if (parameters_.average == Average::outer) return cotangents;
  cotangents.coefficients = mean_coefficients(batch);
  std::vector<T> grad_c;
  for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
    Coefficients<T>& mean = cotangents.coefficients[static_cast<std::size_t>(frame)];
    head_->vjp(mean, rows.data() + frame * size, grad_c);
    mean.values = grad_c;
  }
  return cotangents;
}

/// Finds a center's environment and writes dE/dc of its coefficients to worker.grad_c.
template <typename T>
void DensityDescriptor<T>::center_cotangent(Worker& worker, const Batch& batch, std::int64_t frame, std::int64_t center,
                                            const T* grad_features, const CenterCotangents& cotangents) const {
  const std::int64_t size = n_features();
  if (parameters_.average == Average::inner) {
    worker.find_environment(batch, frame, center);
    take_channels(cotangents.coefficients[static_cast<std::size_t>(frame)], worker.environment.species, worker.grad_c);
    return;
  }
  worker.expand(batch, frame, center);
  if (parameters_.average == Average::outer) {
    head_->vjp(worker.c, cotangents.rows.data() + frame * size, worker.grad_c);
    return;
  }
  const T* grad_row = grad_features + center * size;
  if (parameters_.normalize) {
    const double length = worker.unit_row();
    worker.row_dot.assign(grad_row, grad_row + size);
    project_tangent(worker.row.data(), length, size, worker.row_dot.data());
    grad_row = worker.row_dot.data();
  }
  head_->vjp(worker.c, grad_row, worker.grad_c);
}

template <typename T>
void DensityDescriptor<T>::vjp(const Structures& structures, const Centers& centers, const T* grad_features,
                               double* grad_positions, double* grad_strain) const {
  const Batch batch = make_batch(structures, centers);
  const CenterCotangents cotangents = split_average(batch, grad_features);
  std::vector<BlockGradients> gradients(batch.blocks().size());
  batch.for_each_center(*this, [&](Worker& worker, const CenterBlock& block, std::int64_t center) {
    center_cotangent(worker, batch, block.frame, center, grad_features, cotangents);
    BlockGradients& out = gradients[static_cast<std::size_t>(block.index)];
    const std::size_t first = out.grad_D.size();
    out.grad_D.resize(first + 3 * worker.pairs.j.size());
    expansion_.expand_vjp(worker.environment, worker.grad_c, out.grad_D.data() + first, worker.scratch);
    out.append(worker.pairs);
  });
  scatter(batch, gradients, grad_positions, grad_strain);
}

/// One thread per frame adds in the order of the pairs: the same bits for any number of threads.
template <typename T>
void DensityDescriptor<T>::scatter(const Batch& batch, const std::vector<BlockGradients>& gradients,
                                   double* grad_positions, double* grad_strain) const {
  batch.for_each_frame(*this, [&](Worker&, std::int64_t frame) {
    double* positions = grad_positions + 3 * batch.structures().atom_offsets[frame];
    double* strain = grad_strain + 9 * frame;
    const auto [first_block, last_block] = batch.blocks_of_frame(frame);
    for (std::int64_t index = first_block; index < last_block; ++index) {
      const BlockGradients& in = gradients[static_cast<std::size_t>(index)];
      const std::int64_t first_center = batch.blocks()[static_cast<std::size_t>(index)].first;
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

// ---- forward mode

template <typename T>
void DensityDescriptor<T>::jvp(const Structures& structures, const Centers& centers, const double* velocities,
                               const double* strain, T* features_dot) const {
  const Batch batch = make_batch(structures, centers);
  const std::int64_t size = n_features();
  const auto expand_both = [&](Worker& worker, std::int64_t frame, std::int64_t center) {
    worker.expand(batch, frame, center);
    pair_velocities(worker.pairs, batch.atom(center), velocities + 3 * structures.atom_offsets[frame],
                    strain + 9 * frame, worker.pair_vectors);
    expansion_.expand_jvp(worker.environment, worker.pair_vectors.data(), worker.c_dot, worker.scratch);
  };
  if (parameters_.average == Average::off) {
    batch.for_each_center(*this, [&](Worker& worker, const CenterBlock& block, std::int64_t center) {
      expand_both(worker, block.frame, center);
      T* out = features_dot + center * size;
      head_->jvp(worker.c, worker.c_dot.values, out);
      if (!parameters_.normalize) return;
      const double length = worker.unit_row();
      project_tangent(worker.row.data(), length, size, out);
    });
    return;
  }

  // Averages: the mean row and its derivative, one behind the other.
  std::vector<T> rows(static_cast<std::size_t>(2 * size * batch.n_frames()));
  if (parameters_.average == Average::outer) {
    batch.average_over_centers(*this, 2 * size, rows.data(),
                               [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
                                 expand_both(worker, block.frame, center);
                                 worker.row.resize(static_cast<std::size_t>(size));
                                 head_->forward(worker.c, worker.row.data());
                                 for (std::int64_t k = 0; k < size; ++k)
                                   sum[k] += worker.row[static_cast<std::size_t>(k)];
                                 head_->jvp(worker.c, worker.c_dot.values, worker.row.data());
                                 for (std::int64_t k = 0; k < size; ++k)
                                   sum[size + k] += worker.row[static_cast<std::size_t>(k)];
                               });
  } else {
    Coefficients<T> mean = all_channels();
    const auto length = static_cast<std::int64_t>(mean.values.size());
    std::vector<T> means(static_cast<std::size_t>(2 * length * batch.n_frames()));
    batch.average_over_centers(*this, 2 * length, means.data(),
                               [&](Worker& worker, const CenterBlock& block, std::int64_t center, T* sum) {
                                 expand_both(worker, block.frame, center);
                                 add_to_all_channels(worker.c, worker.c.values, mean, sum);
                                 add_to_all_channels(worker.c, worker.c_dot.values, mean, sum + length);
                               });
    for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
      const T* values = means.data() + 2 * length * frame;
      mean.values.assign(values, values + length);
      head_->forward(mean, rows.data() + 2 * size * frame);
      head_->jvp(mean, {values + length, values + 2 * length}, rows.data() + 2 * size * frame + size);
    }
  }
  for (std::int64_t frame = 0; frame < batch.n_frames(); ++frame) {
    T* row = rows.data() + 2 * size * frame;
    if (parameters_.normalize) {
      const double length = normalize_row(row, size);
      project_tangent(row, length, size, row + size);
    }
    std::copy_n(row + size, size, features_dot + frame * size);
  }
}

template class DensityDescriptor<double>;
template class DensityDescriptor<float>;

}  // namespace castile
