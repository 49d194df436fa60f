#include "castile/descriptors/density_expansion.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

#include "castile/math/spherical_harmonics.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace {

using simd::lanes;

constexpr int weights_stride = max_hermite_weights;
/// Neighbors that are worked on together, so that their buffers stay in the cache; a multiple of the lanes.
constexpr std::int64_t chunk_size = expansion_chunk_size;
/// Closer than this a neighbor has no direction; the limits of value and gradient are used instead.
constexpr double no_direction_below = 1e-8;

template <typename T>
std::unique_ptr<const SplinedBasis<T>> make_table(const RadialTableParameters& p) {
  return std::make_unique<const SplinedBasis<T>>(*make_radial_basis(p.basis), PairWeight(p.weight), p.accuracy);
}

void check(const DensityExpansionParameters& p, int n_species) {
  const auto size = static_cast<std::size_t>(n_species);
  if (n_species < 1 || p.tables.empty()) throw std::invalid_argument("there must be a species and a radial table");
  for (const RadialTableParameters& table : p.tables) {
    if (table.basis.n_max != p.n_max() || table.basis.l_max != p.l_max()) {
      throw std::invalid_argument("the radial tables of all species must have the same n_max and l_max");
    }
  }
  if (!p.table_of_species.empty() && p.table_of_species.size() != size) {
    throw std::invalid_argument("table_of_species must have an entry per species");
  }
  for (const int table : p.table_of_species) {
    if (table < 0 || table >= static_cast<int>(p.tables.size())) {
      throw std::invalid_argument("table_of_species names a table that is not there");
    }
  }
  if (!p.species_weights.empty() && p.species_weights.size() != size) {
    throw std::invalid_argument("species_weights must have an entry per species");
  }
}

template <typename T>
std::size_t round_up_to_lanes(std::int64_t count) {
  return static_cast<std::size_t>((count + lanes<T> - 1) / lanes<T> * lanes<T>);
}

template <typename T>
simd::RadialTableView<T> table_view(const SplinedBasis<T>& radial) {
  return {radial.data(), radial.row_length(), hermite_orders(radial.form()), radial.n_padded()};
}

template <typename T>
simd::NeighborBlocks<T> neighbor_blocks(const Environment<T>& e, std::int64_t first, std::int64_t count) {
  const std::int64_t n_blocks = (count + lanes<T> - 1) / lanes<T>;
  return {n_blocks,
          e.x.data() + first,
          e.y.data() + first,
          e.z.data() + first,
          e.inverse_distance.data() + first,
          e.row.data() + first,
          e.weights.data() + first * weights_stride,
          e.gradient_weights.data() + first * weights_stride,
          e.derivative_weights.data() + first * weights_stride};
}

template <typename T>
void reserve(std::vector<T>& buffer, std::int64_t size) {
  if (buffer.size() < static_cast<std::size_t>(size)) buffer.resize(static_cast<std::size_t>(size));
}

template <typename T>
void resize_slots(Environment<T>& e, std::size_t n_slots) {
  e.pair.assign(n_slots, -1);
  // Padding: any unit vector, weight zero.
  e.x.assign(n_slots, T(0));
  e.y.assign(n_slots, T(0));
  e.z.assign(n_slots, T(1));
  e.inverse_distance.assign(n_slots, T(1));
  e.row.assign(n_slots, 0);
  for (auto* weights : {&e.weights, &e.gradient_weights, &e.derivative_weights}) {
    weights->assign(n_slots * weights_stride, T(0));
  }
}

template <typename T>
void fill_slot(Environment<T>& e, std::size_t slot, const std::array<double, 3>& D, double d,
               const SplinedBasis<T>& radial, double factor) {
  const bool has_direction = d >= no_direction_below;
  const double inverse = has_direction ? 1.0 / d : 1.0;
  if (has_direction) {
    e.x[slot] = static_cast<T>(D[0] * inverse);
    e.y[slot] = static_cast<T>(D[1] * inverse);
    e.z[slot] = static_cast<T>(D[2] * inverse);
    e.inverse_distance[slot] = static_cast<T>(inverse);
  }
  const RadialWeights w = radial.weights(has_direction ? d : 0.0);
  e.row[slot] = w.row;
  for (std::size_t k = 0; k < max_hermite_weights; ++k) {
    const std::size_t entry = slot * weights_stride + k;
    e.weights[entry] = static_cast<T>(factor * w.value[k]);
    e.derivative_weights[entry] = static_cast<T>(factor * w.derivative[k]);
    // At distance zero R/r -> R', which l = 1 alone has; with 1/r set to one this is the exact limit.
    e.gradient_weights[entry] = has_direction ? e.weights[entry] : e.derivative_weights[entry];
  }
}

/// Copies the changes of a chunk's pair vectors to velocity[axis][slot]; padding stands still.
template <typename T>
void gather_velocities(const Environment<T>& e, std::int64_t first, std::int64_t count, const double* dD, T* velocity) {
  std::fill_n(velocity, 3 * chunk_size, T(0));
  for (std::int64_t k = 0; k < count; ++k) {
    const double* change = dD + 3 * e.pair[static_cast<std::size_t>(first + k)];
    for (std::int64_t axis = 0; axis < 3; ++axis) velocity[axis * chunk_size + k] = static_cast<T>(change[axis]);
  }
}

/// Interpolation weights that give R' (u·dD).
template <typename T>
void weights_along(const simd::NeighborBlocks<T>& neighbors, const T* velocity, std::int64_t count, T* weights) {
  for (std::int64_t k = 0; k < count; ++k) {
    const T along = neighbors.x[k] * velocity[k] + neighbors.y[k] * velocity[chunk_size + k] +
                    neighbors.z[k] * velocity[2 * chunk_size + k];
    for (std::int64_t w = k * weights_stride; w < (k + 1) * weights_stride; ++w) {
      weights[w] = neighbors.derivative_weights[w] * along;
    }
  }
}

/// ∇Y·dD in the layout of Y, from dY[block][3][lm][lane].
template <typename T>
void harmonics_along(const T* dY, const T* velocity, std::int64_t n_blocks, std::int64_t size, T* out) {
  constexpr std::int64_t W = lanes<T>;
  for (std::int64_t block = 0; block < n_blocks; ++block, dY += 3 * size * W, out += size * W) {
    const T* v = velocity + block * W;
    for (std::int64_t lm = 0; lm < size; ++lm) {
      for (std::int64_t lane = 0; lane < W; ++lane) {
        const std::int64_t entry = lm * W + lane;
        out[entry] = dY[entry] * v[lane] + dY[size * W + entry] * v[chunk_size + lane] +
                     dY[2 * size * W + entry] * v[2 * chunk_size + lane];
      }
    }
  }
}

}  // namespace

template <typename T>
DensityExpansion<T>::DensityExpansion(const DensityExpansionParameters& parameters, int n_species)
    : parameters_(parameters),
      table_of_species_(parameters.table_of_species),
      species_weights_(parameters.species_weights) {
  check(parameters, n_species);
  for (const RadialTableParameters& table : parameters.tables) tables_.push_back(make_table<T>(table));
  table_of_species_.resize(static_cast<std::size_t>(n_species), 0);
  species_weights_.resize(static_cast<std::size_t>(n_species), 1.0);
  for (const double factor : monic_to_orthonormal(l_max())) factors_.push_back(static_cast<T>(factor));

  const auto size = static_cast<std::size_t>((l_max() + 1) * n_max());
  const auto padded = static_cast<std::size_t>(n_padded());
  std::vector<double> values(2 * size);
  center_term_.assign(static_cast<std::size_t>(n_species) * padded, T(0));
  for (std::int32_t s = 0; s < n_species; ++s) {
    const auto index = static_cast<std::size_t>(s);
    const double weight = parameters.center_weight * species_weights_[index];
    radial(s).evaluate(0.0, values.data(), values.data() + size);
    for (std::size_t n = 0; n < static_cast<std::size_t>(n_max()); ++n) {
      center_term_[index * padded + n] = static_cast<T>(weight * values[n]) * factors_[0];
    }
  }
}

template <typename T>
double DensityExpansion<T>::table_error() const {
  double error = 0.0;
  for (const auto& table : tables_) error = std::max(error, table->error());
  return error;
}

template <typename T>
std::int64_t DensityExpansion<T>::table_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& table : tables_) bytes += table->n_bytes();
  return bytes;
}

template <typename T>
std::vector<double> DensityExpansion<T>::reaches() const {
  std::vector<double> reaches;
  for (const int table : table_of_species_) reaches.push_back(tables_[static_cast<std::size_t>(table)]->end());
  return reaches;
}

template <typename T>
void DensityExpansion<T>::make_environment(const PairBuffer& pairs, std::int64_t first, std::int64_t last,
                                           const std::int32_t* species, std::int32_t own_species,
                                           Environment<T>& environment, ExpansionScratch<T>& scratch) const {
  auto& count = scratch.species_count;
  count.assign(table_of_species_.size(), 0);
  const auto species_of = [&](std::int64_t pair) {
    return static_cast<std::size_t>(species[pairs.j[static_cast<std::size_t>(pair)]]);
  };
  for (std::int64_t pair = first; pair < last; ++pair) ++count[species_of(pair)];

  const bool has_own_term = own_species >= 0 && parameters_.center_weight != 0.0;
  environment.species.clear();
  environment.groups.clear();
  environment.own_channel = -1;
  auto& next_slot = scratch.species_slot;
  next_slot.assign(table_of_species_.size(), 0);
  std::size_t n_slots = 0;
  for (std::int32_t s = 0; s < n_species(); ++s) {
    const bool own = has_own_term && s == own_species;
    const std::int64_t n_neighbors = count[static_cast<std::size_t>(s)];
    if (n_neighbors == 0 && !own) continue;
    if (own) environment.own_channel = static_cast<int>(environment.species.size());
    environment.species.push_back(s);
    environment.groups.push_back({static_cast<std::int64_t>(n_slots), n_neighbors});
    next_slot[static_cast<std::size_t>(s)] = static_cast<std::int64_t>(n_slots);
    n_slots += round_up_to_lanes<T>(n_neighbors);
  }

  resize_slots(environment, n_slots);
  for (std::int64_t pair = first; pair < last; ++pair) {
    const std::size_t s = species_of(pair);
    const auto slot = static_cast<std::size_t>(next_slot[s]++);
    const auto index = static_cast<std::size_t>(pair);
    environment.pair[slot] = pair - first;
    fill_slot(environment, slot, pairs.D[index], pairs.d[index], radial(static_cast<std::int32_t>(s)),
              species_weights_[s]);
  }
}

template <typename T>
void DensityExpansion<T>::resize_like(const Environment<T>& environment, Coefficients<T>& c) const {
  c.channels = environment.species;
  c.l_max = l_max();
  c.n_max = n_max();
  c.n_padded = n_padded();
  c.values.assign(factors_.size() * static_cast<std::size_t>(c.stride()), T(0));
}

template <typename T>
void DensityExpansion<T>::apply_factors(Coefficients<T>& c) const {
  const auto stride = static_cast<std::size_t>(c.stride());
  for (std::size_t lm = 0; lm < factors_.size(); ++lm) {
    for (std::size_t q = 0; q < stride; ++q) c.values[lm * stride + q] *= factors_[lm];
  }
}

template <typename T>
void DensityExpansion<T>::expand(const Environment<T>& environment, Coefficients<T>& c,
                                 ExpansionScratch<T>& scratch) const {
  const auto& kernels = simd::kernels<T>();
  resize_like(environment, c);
  reserve(scratch.Y, chunk_size * n_lm(l_max()));
  reserve(scratch.R, chunk_size * row_length());
  for (int channel = 0; channel < c.n_channels(); ++channel) {
    const auto table = table_view(radial(environment.species[static_cast<std::size_t>(channel)]));
    const auto group = environment.groups[static_cast<std::size_t>(channel)];
    for (std::int64_t start = 0; start < group.count; start += chunk_size) {
      const std::int64_t first = group.first_slot + start;
      const std::int64_t count = std::min(chunk_size, group.count - start);
      const auto neighbors = neighbor_blocks(environment, first, count);
      kernels.harmonics(l_max(), neighbors, scratch.Y.data());
      kernels.radial(table, count, neighbors.row, neighbors.weights, scratch.R.data());
      kernels.accumulate(l_max(), c.n_padded, count, scratch.Y.data(), scratch.R.data(), c.channel(channel),
                         c.stride());
    }
  }
  apply_factors(c);
  if (environment.own_channel >= 0) {
    T* own = c.channel(environment.own_channel);
    const T* term =
        center_term_.data() + std::int64_t{c.channels[static_cast<std::size_t>(environment.own_channel)]} * c.n_padded;
    for (int n = 0; n < c.n_padded; ++n) own[n] += term[n];
  }
}

// Along dD, R_l Y_lm changes by R' (u·dD) Y + R (∇Y·dD): two accumulations, with u·dD in the interpolation weights of
// the first and ∇Y·dD in the place of Y in the second.
template <typename T>
void DensityExpansion<T>::expand_jvp(const Environment<T>& environment, const double* dD, Coefficients<T>& c_dot,
                                     ExpansionScratch<T>& scratch) const {
  const auto& kernels = simd::kernels<T>();
  const std::int64_t harmonics_size = n_lm(l_max());
  resize_like(environment, c_dot);
  reserve(scratch.Y, chunk_size * harmonics_size);
  reserve(scratch.dY, 3 * chunk_size * harmonics_size);
  reserve(scratch.R, chunk_size * row_length());
  reserve(scratch.weights, chunk_size * weights_stride);
  std::array<T, 3 * chunk_size> velocity{};
  for (int channel = 0; channel < c_dot.n_channels(); ++channel) {
    const auto table = table_view(radial(environment.species[static_cast<std::size_t>(channel)]));
    const auto group = environment.groups[static_cast<std::size_t>(channel)];
    for (std::int64_t start = 0; start < group.count; start += chunk_size) {
      const std::int64_t first = group.first_slot + start;
      const std::int64_t count = std::min(chunk_size, group.count - start);
      const auto neighbors = neighbor_blocks(environment, first, count);
      const auto accumulate = [&] {
        kernels.accumulate(l_max(), c_dot.n_padded, count, scratch.Y.data(), scratch.R.data(), c_dot.channel(channel),
                           c_dot.stride());
      };
      gather_velocities(environment, first, count, dD, velocity.data());
      kernels.harmonics(l_max(), neighbors, scratch.Y.data());
      weights_along(neighbors, velocity.data(), count, scratch.weights.data());
      kernels.radial(table, count, neighbors.row, scratch.weights.data(), scratch.R.data());
      accumulate();
      kernels.harmonics_gradients(l_max(), neighbors, scratch.dY.data());
      harmonics_along(scratch.dY.data(), velocity.data(), neighbors.n_blocks, harmonics_size, scratch.Y.data());
      kernels.radial(table, count, neighbors.row, neighbors.gradient_weights, scratch.R.data());
      accumulate();
    }
  }
  apply_factors(c_dot);
}

template <typename T>
void DensityExpansion<T>::expand_vjp(const Environment<T>& environment, const std::vector<T>& grad_c, double* grad_D,
                                     ExpansionScratch<T>& scratch) const {
  constexpr std::int64_t W = lanes<T>;
  const auto& kernels = simd::kernels<T>();
  const auto stride = static_cast<std::int64_t>(environment.species.size()) * n_padded();
  reserve(scratch.scaled, n_lm(l_max()) * stride);
  for (std::size_t lm = 0; lm < factors_.size(); ++lm) {
    for (std::size_t q = 0; q < static_cast<std::size_t>(stride); ++q) {
      const std::size_t entry = lm * static_cast<std::size_t>(stride) + q;
      scratch.scaled[entry] = factors_[lm] * grad_c[entry];
    }
  }
  reserve(scratch.kernel, simd::pair_gradients_scratch<T>(l_max(), row_length()));
  for (std::size_t channel = 0; channel < environment.groups.size(); ++channel) {
    const auto group = environment.groups[channel];
    const auto table = table_view(radial(environment.species[channel]));
    const auto neighbors = neighbor_blocks(environment, group.first_slot, group.count);
    reserve(scratch.gradients, 3 * neighbors.n_blocks * W);
    kernels.pair_gradients(l_max(), table, neighbors,
                           scratch.scaled.data() + static_cast<std::int64_t>(channel) * n_padded(), stride,
                           scratch.gradients.data(), scratch.kernel.data());
    for (std::int64_t k = 0; k < group.count; ++k) {
      const T* f = scratch.gradients.data() + k / W * 3 * W + k % W;
      double* out = grad_D + 3 * environment.pair[static_cast<std::size_t>(group.first_slot + k)];
      for (int axis = 0; axis < 3; ++axis) out[axis] = static_cast<double>(f[axis * W]);
    }
  }
}

template <typename T>
void DensityExpansion<T>::pair_terms(const Environment<T>& environment, const SplinedBasis<T>& radial,
                                     std::int64_t first, std::int64_t count, ExpansionScratch<T>& scratch) const {
  constexpr std::int64_t W = lanes<T>;
  const auto& kernels = simd::kernels<T>();
  const auto table = table_view(radial);
  const auto neighbors = neighbor_blocks(environment, first, count);
  const auto size = static_cast<std::int64_t>(factors_.size());
  reserve(scratch.Y, chunk_size * size);
  reserve(scratch.dY, 3 * chunk_size * size);
  reserve(scratch.R, chunk_size * table.row_length);
  reserve(scratch.dR, chunk_size * table.row_length);
  reserve(scratch.scaled, 4 * chunk_size * size);
  kernels.harmonics(l_max(), neighbors, scratch.Y.data());
  kernels.harmonics_gradients(l_max(), neighbors, scratch.dY.data());
  kernels.radial(table, count, neighbors.row, neighbors.gradient_weights, scratch.R.data());
  kernels.radial(table, count, neighbors.row, neighbors.derivative_weights, scratch.dR.data());
  for (std::int64_t k = 0; k < count; ++k) {
    const T* value = scratch.Y.data() + k / W * size * W + k % W;
    const T* gradient = scratch.dY.data() + k / W * 3 * size * W + k % W;
    T* h = scratch.scaled.data() + k * 4 * size;
    for (std::int64_t lm = 0; lm < size; ++lm) {
      const T factor = factors_[static_cast<std::size_t>(lm)];
      h[lm] = factor * value[lm * W];
      for (std::int64_t axis = 0; axis < 3; ++axis) {
        h[(axis + 1) * size + lm] = factor * gradient[(axis * size + lm) * W];
      }
    }
  }
}

template class DensityExpansion<double>;
template class DensityExpansion<float>;

}  // namespace castile
