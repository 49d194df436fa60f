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
  const auto& used = p.functions_of_degree;
  if (used.empty()) return;
  if (used.size() != static_cast<std::size_t>(p.l_max() + 1) || used.front() > p.n_max() || used.back() < 0 ||
      !std::is_sorted(used.rbegin(), used.rend())) {
    throw std::invalid_argument("functions_of_degree must be numbers up to n_max, one per degree, that do not rise");
  }
}

template <typename T>
std::size_t round_up_to_lanes(std::int64_t count) {
  return static_cast<std::size_t>((count + lanes<T> - 1) / lanes<T> * lanes<T>);
}

/// All functions of all degrees.
template <typename T>
simd::RadialTableView<T> whole_table(const SplinedBasis<T>& radial) {
  return {radial.data(),
          radial.row_length(),
          hermite_orders(radial.form()),
          radial.n_padded(),
          radial.n_max(),
          radial.l_max(),
          nullptr};
}

/// What matters for an environment, with one copy of functions that all degrees have.
template <typename T>
simd::RadialTableView<T> table_for(const Environment<T>& e, const SplinedBasis<T>& radial,
                                   const std::vector<int>& used) {
  simd::RadialTableView<T> view = whole_table(radial);
  if (!used.empty()) view.used = used.data();
  const bool at_center = !e.gradient_weights.empty();
  if (at_center || !radial.shares_functions()) return view;
  view.data = radial.shared_data();
  view.row_length = radial.shared_row_length();
  view.l_max = 0;
  return view;
}

/// Neighbors `start` to `start + count` of a group, `start` a multiple of the lanes.
template <typename T>
simd::NeighborBlocks<T> neighbor_blocks(const Environment<T>& e, const typename Environment<T>::Group& group,
                                        std::int64_t start, std::int64_t count, const SplinedBasis<T>& radial) {
  const std::int64_t n_blocks = (count + lanes<T> - 1) / lanes<T>;
  const std::int64_t first = group.first_slot + start;
  const std::int64_t first_weight = group.first_slot * max_hermite_weights + start * 2 * hermite_orders(radial.form());
  const auto& gradient_weights = e.gradient_weights.empty() ? e.weights : e.gradient_weights;
  return {n_blocks,
          e.x.data() + first,
          e.y.data() + first,
          e.z.data() + first,
          e.inverse_distance.data() + first,
          e.row.data() + first,
          e.weights.data() + first_weight,
          gradient_weights.data() + first_weight,
          e.derivative_weights.data() + first_weight};
}

template <typename Buffer, typename Size>
void reserve(Buffer& buffer, Size size) {
  if (buffer.size() < static_cast<std::size_t>(size)) buffer.resize(static_cast<std::size_t>(size));
}

template <typename T>
void reserve_slots(std::size_t n_slots, Environment<T>& e, ExpansionScratch<T>& scratch) {
  reserve(e.pair, n_slots);
  for (auto* array : {&e.x, &e.y, &e.z, &e.inverse_distance}) reserve(*array, n_slots);
  reserve(e.row, n_slots);
  for (auto* weights : {&e.weights, &e.derivative_weights}) reserve(*weights, n_slots * max_hermite_weights);
  for (auto* array : {&scratch.pair_x, &scratch.pair_y, &scratch.pair_z, &scratch.pair_d}) reserve(*array, n_slots);
}

simd::DistanceWeighting distance_weighting(const PairWeight& weight, double step, HermiteForm form, double end) {
  const CutoffFunction& f = weight.cutoff_function();
  simd::CutoffKind kind = simd::CutoffKind::hard;
  if (f.kind() == CutoffFunction::Kind::cosine) kind = simd::CutoffKind::cosine;
  if (f.kind() == CutoffFunction::Kind::polynomial) kind = simd::CutoffKind::polynomial;
  return {step, hermite_orders(form), end, kind, f.cutoff(), f.width()};
}

/// A neighbor at the center has no direction. R/r -> R', which l = 1 alone has; with 1/r set to one this is the exact
/// limit.
template <typename T>
void put_slot_at_center(const SplinedBasis<T>& radial, double factor, const typename Environment<T>::Group& group,
                        std::int64_t index, Environment<T>& e) {
  const auto slot = static_cast<std::size_t>(group.first_slot + index);
  e.x[slot] = e.y[slot] = T(0);
  e.z[slot] = e.inverse_distance[slot] = T(1);
  const RadialWeights w = radial.weights(0.0);
  e.row[slot] = w.row;
  const int n_weights = 2 * hermite_orders(radial.form());
  const std::int64_t first =
      group.first_slot * max_hermite_weights + index / lanes<T> * n_weights * lanes<T> + index % lanes<T>;
  for (int k = 0; k < std::min(n_weights, max_hermite_weights); ++k) {  // never more, which the compiler cannot see
    const auto entry = static_cast<std::size_t>(first + k * lanes<T>);
    e.weights[entry] = static_cast<T>(factor * w.value[k]);
    e.derivative_weights[entry] = e.gradient_weights[entry] = static_cast<T>(factor * w.derivative[k]);
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
void weights_along(const simd::NeighborBlocks<T>& neighbors, int n_weights, const T* velocity, T* weights) {
  constexpr std::int64_t W = lanes<T>;
  const T* slopes = neighbors.derivative_weights;
  for (std::int64_t first = 0; first < neighbors.n_blocks * W; first += W) {
    std::array<T, W> along;
    for (std::int64_t k = 0; k < W; ++k) {
      const std::int64_t j = first + k;
      along[static_cast<std::size_t>(k)] = neighbors.x[j] * velocity[j] + neighbors.y[j] * velocity[chunk_size + j] +
                                           neighbors.z[j] * velocity[2 * chunk_size + j];
    }
    for (int w = 0; w < n_weights; ++w) {
      for (const T change : along) *weights++ = *slopes++ * change;
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

/// Makes the groups and puts the slot of each group's first neighbor into scratch.species_slot; returns how many slots
/// there are.
template <typename T>
std::size_t DensityExpansion<T>::group_by_species(const PairBuffer& pairs, std::int64_t first, std::int64_t last,
                                                  const std::int32_t* species, std::int32_t own_species,
                                                  Environment<T>& environment, ExpansionScratch<T>& scratch) const {
  auto& count = scratch.species_count;
  count.assign(table_of_species_.size(), 0);
  if (n_species() == 1) {
    count[0] = last - first;
  } else {
    for (std::int64_t pair = first; pair < last; ++pair) {
      ++count[static_cast<std::size_t>(species[pairs.j[static_cast<std::size_t>(pair)]])];
    }
  }
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
  return n_slots;
}

template <typename T>
void DensityExpansion<T>::make_environment(const PairBuffer& pairs, std::int64_t first, std::int64_t last,
                                           const std::int32_t* species, std::int32_t own_species,
                                           Environment<T>& environment, ExpansionScratch<T>& scratch) const {
  reserve_slots(group_by_species(pairs, first, last, species, own_species, environment, scratch), environment, scratch);
  environment.gradient_weights.clear();
  const auto* D = pairs.D.data() + first;
  const double* d = pairs.d.data() + first;
  const std::int64_t n = last - first;
  bool at_center = false;
  const auto put = [&](std::int64_t index, std::int64_t place) {
    const auto slot = static_cast<std::size_t>(place);
    environment.pair[slot] = index;
    scratch.pair_x[slot] = D[index][0];
    scratch.pair_y[slot] = D[index][1];
    scratch.pair_z[slot] = D[index][2];
    scratch.pair_d[slot] = d[index];
    at_center |= d[index] < no_direction_below;
  };
  if (environment.groups.size() <= 1) {
    for (std::int64_t index = 0; index < n; ++index) put(index, index);
  } else {
    const std::int64_t* j = pairs.j.data() + first;
    std::int64_t* next = scratch.species_slot.data();
    for (std::int64_t index = 0; index < n; ++index) put(index, next[species[j[index]]]++);
  }
  for (std::size_t group = 0; group < environment.groups.size(); ++group) weigh_group(environment, group, scratch);
  if (at_center) put_at_center(environment, scratch);
}

template <typename T>
void DensityExpansion<T>::put_at_center(Environment<T>& environment, const ExpansionScratch<T>& scratch) const {
  environment.gradient_weights = environment.weights;
  for (std::size_t index = 0; index < environment.groups.size(); ++index) {
    const auto group = environment.groups[index];
    const std::int32_t s = environment.species[index];
    for (std::int64_t k = 0; k < group.count; ++k) {
      if (scratch.pair_d[static_cast<std::size_t>(group.first_slot + k)] >= no_direction_below) continue;
      put_slot_at_center(radial(s), species_weights_[static_cast<std::size_t>(s)], group, k, environment);
    }
  }
}

template <typename T>
void DensityExpansion<T>::weigh_group(Environment<T>& e, std::size_t index, ExpansionScratch<T>& scratch) const {
  const auto group = e.groups[index];
  const auto s = static_cast<std::size_t>(e.species[index]);
  const SplinedBasis<T>& table = radial(e.species[index]);
  const auto first = static_cast<std::size_t>(group.first_slot);
  const auto count = static_cast<std::size_t>(group.count);
  const std::size_t end = first + round_up_to_lanes<T>(group.count);
  for (std::size_t slot = first + count; slot < end; ++slot) {
    scratch.pair_x[slot] = scratch.pair_y[slot] = 0.0;
    scratch.pair_z[slot] = scratch.pair_d[slot] = 1.0;
  }
  simd::PairVectors pairs{group.count,
                          scratch.pair_x.data() + first,
                          scratch.pair_y.data() + first,
                          scratch.pair_z.data() + first,
                          scratch.pair_d.data() + first,
                          nullptr,
                          nullptr,
                          species_weights_[s]};
  if (table.weight().weighs_density()) {
    reserve(scratch.density_weight, end);
    reserve(scratch.density_weight_derivative, end);
    for (std::size_t slot = first; slot < end; ++slot) {
      const auto [u, du] = table.weight().density_weight(scratch.pair_d[slot]);
      scratch.density_weight[slot] = u;
      scratch.density_weight_derivative[slot] = du;
    }
    pairs.density_weight = scratch.density_weight.data() + first;
    pairs.density_weight_derivative = scratch.density_weight_derivative.data() + first;
  }
  const std::size_t first_weight = first * max_hermite_weights;
  const simd::NeighborArrays<T> out{e.x.data() + first,
                                    e.y.data() + first,
                                    e.z.data() + first,
                                    e.inverse_distance.data() + first,
                                    e.row.data() + first,
                                    e.weights.data() + first_weight,
                                    e.derivative_weights.data() + first_weight};
  simd::kernels<T>().weigh_neighbors(distance_weighting(table.weight(), table.step(), table.form(), table.end()), pairs,
                                     out);
}

template <typename T>
void DensityExpansion<T>::resize_like(const Environment<T>& environment, Coefficients<T>& c) const {
  c.channels = environment.species;
  c.l_max = l_max();
  c.n_max = n_max();
  c.n_padded = n_padded();
  c.values.resize(factors_.size() * static_cast<std::size_t>(c.stride()));
}

template <typename T>
void DensityExpansion<T>::clear_channel(int channel, Coefficients<T>& c) const {
  for (std::int64_t lm = 0; lm < n_lm(l_max()); ++lm) {
    std::fill_n(c.channel(channel) + lm * c.stride(), c.n_padded, T(0));
  }
}

template <typename T>
void DensityExpansion<T>::expand(const Environment<T>& environment, Coefficients<T>& c,
                                 ExpansionScratch<T>& scratch) const {
  const auto& kernels = simd::kernels<T>();
  resize_like(environment, c);
  reserve(scratch.Y, chunk_size * n_lm(l_max()));
  reserve(scratch.R, chunk_size * n_functions());
  for (int channel = 0; channel < c.n_channels(); ++channel) {
    const SplinedBasis<T>& table = radial(environment.species[static_cast<std::size_t>(channel)]);
    const auto group = environment.groups[static_cast<std::size_t>(channel)];
    if (group.count == 0) clear_channel(channel, c);
    for (std::int64_t start = 0; start < group.count; start += chunk_size) {
      const std::int64_t count = std::min(chunk_size, group.count - start);
      const bool ends = start + count == group.count;
      const auto neighbors = neighbor_blocks(environment, group, start, count, table);
      kernels.harmonics(l_max(), neighbors, scratch.Y.data());
      kernels.accumulate(l_max(), table_for(environment, table, parameters_.functions_of_degree),
                         {count, neighbors.row, neighbors.weights, scratch.Y.data()}, start == 0,
                         ends ? factors_.data() : nullptr, c.channel(channel), c.stride(), scratch.R.data());
    }
  }
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
  reserve(scratch.R, chunk_size * n_functions());
  reserve(scratch.weights, chunk_size * max_hermite_weights);
  std::array<T, 3 * chunk_size> velocity{};
  for (int channel = 0; channel < c_dot.n_channels(); ++channel) {
    const SplinedBasis<T>& table = radial(environment.species[static_cast<std::size_t>(channel)]);
    const auto group = environment.groups[static_cast<std::size_t>(channel)];
    if (group.count == 0) clear_channel(channel, c_dot);
    for (std::int64_t start = 0; start < group.count; start += chunk_size) {
      const std::int64_t count = std::min(chunk_size, group.count - start);
      const bool ends = start + count == group.count;
      const auto neighbors = neighbor_blocks(environment, group, start, count, table);
      const auto accumulate = [&](const T* weights, bool begins, const T* factors) {
        kernels.accumulate(l_max(), table_for(environment, table, parameters_.functions_of_degree),
                           {count, neighbors.row, weights, scratch.Y.data()}, begins, factors, c_dot.channel(channel),
                           c_dot.stride(), scratch.R.data());
      };
      gather_velocities(environment, group.first_slot + start, count, dD, velocity.data());
      kernels.harmonics(l_max(), neighbors, scratch.Y.data());
      weights_along(neighbors, 2 * hermite_orders(table.form()), velocity.data(), scratch.weights.data());
      accumulate(scratch.weights.data(), start == 0, nullptr);
      kernels.harmonics_gradients(l_max(), neighbors, scratch.dY.data());
      harmonics_along(scratch.dY.data(), velocity.data(), neighbors.n_blocks, harmonics_size, scratch.Y.data());
      accumulate(neighbors.gradient_weights, false, ends ? factors_.data() : nullptr);
    }
  }
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
  reserve(scratch.kernel, simd::pair_gradients_scratch<T>(l_max(), n_functions()));
  for (std::size_t channel = 0; channel < environment.groups.size(); ++channel) {
    const auto group = environment.groups[channel];
    const SplinedBasis<T>& table = radial(environment.species[channel]);
    const auto neighbors = neighbor_blocks(environment, group, 0, group.count, table);
    reserve(scratch.gradients, 3 * neighbors.n_blocks * W);
    kernels.pair_gradients(l_max(), table_for(environment, table, parameters_.functions_of_degree), neighbors,
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
                                     const typename Environment<T>::Group& group, std::int64_t start,
                                     std::int64_t count, ExpansionScratch<T>& scratch) const {
  constexpr std::int64_t W = lanes<T>;
  const auto& kernels = simd::kernels<T>();
  const auto table = whole_table(radial);
  const auto neighbors = neighbor_blocks(environment, group, start, count, radial);
  const auto size = static_cast<std::int64_t>(factors_.size());
  reserve(scratch.Y, chunk_size * size);
  reserve(scratch.dY, 3 * chunk_size * size);
  reserve(scratch.R, chunk_size * n_functions());
  reserve(scratch.dR, chunk_size * n_functions());
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
