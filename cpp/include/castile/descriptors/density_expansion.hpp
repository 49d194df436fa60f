#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/basis/radial_basis.hpp"
#include "castile/basis/splined_basis.hpp"
#include "castile/geometry/neighbor_search.hpp"

namespace castile {

/// The radial functions of some species' neighbors.
struct RadialTableParameters {
  RadialBasisParameters basis;
  PairWeightParameters weight;
  double accuracy = 1e-8;  ///< of the table, relative to max |R|
};

struct DensityExpansionParameters {
  /// One for all species, or several that `table_of_species` chooses from; all of the same n_max and l_max.
  std::vector<RadialTableParameters> tables = {{}};
  std::vector<int> table_of_species;    ///< (n_species); empty: the first
  std::vector<double> species_weights;  ///< (n_species): factors of the atoms' densities; empty: one
  double center_weight = 1.0;           ///< factor of the density at the center itself
  /// (l_max + 1), not rising: so many radial functions of each degree matter, the others may be zero; empty: n_max.
  std::vector<int> functions_of_degree;

  int n_max() const { return tables.front().basis.n_max; }
  int l_max() const { return tables.front().basis.l_max; }
};

/// Density coefficients c[lm][channel][n] of one center, n padded. The channels are the species that are there, or
/// mixtures of species.
template <typename T>
struct Coefficients {
  std::vector<std::int32_t> channels;  ///< which they are, ascending
  int l_max = 0;
  int n_max = 0;
  int n_padded = 0;
  std::vector<T> values;

  int n_channels() const { return static_cast<int>(channels.size()); }
  /// Distance between the rows lm.
  std::int64_t stride() const { return static_cast<std::int64_t>(n_channels()) * n_padded; }
  T* channel(int index) { return values.data() + static_cast<std::int64_t>(index) * n_padded; }
  const T* channel(int index) const { return values.data() + static_cast<std::int64_t>(index) * n_padded; }
};

/// The neighbors of one center as the kernels want them: grouped by species, each group in whole blocks of lanes.
/// Entries between a group's last neighbor and its last lane have no weight.
template <typename T>
struct Environment {
  struct Group {
    std::int64_t first_slot;
    std::int64_t count;
  };
  std::vector<std::int32_t> species;  ///< of the groups, ascending; the center's own is among them
  std::vector<Group> groups;
  int own_channel = -1;  ///< where the center's own Gaussian goes, -1 if it has none
  // By slot; these only ever grow.
  std::vector<std::int64_t> pair;  ///< pair of each neighbor, counted from the center's first
  AlignedVector<T> x, y, z, inverse_distance;
  AlignedVector<std::int32_t> row;
  /// From 6 * first_slot of a group on, (n_blocks, 2 * orders of the table, lanes).
  AlignedVector<T> weights, derivative_weights;
  AlignedVector<T> gradient_weights;  ///< the same where they are not the weights, else empty
};

/// What an explicit derivative needs of one neighbor: h[0] = Y_lm and h[1..3] = dY_lm/dD, radial functions [l][n].
template <typename T>
struct PairTerms {
  const T* R;
  const T* dR;
  const T* h;  ///< (4, n_lm), orthonormal
  std::array<T, 3> u;
};

/// Buffers that a thread keeps between centers.
template <typename T>
struct ExpansionScratch {
  AlignedVector<T> Y, dY, R, dR, weights, gradients, kernel, scaled;
  std::vector<std::int64_t> species_count, species_slot;
  AlignedVector<double> pair_x, pair_y, pair_z, pair_d, density_weight, density_weight_derivative;
};

/// Neighbors that the expansion works on together; their buffers stay in the cache.
constexpr std::int64_t expansion_chunk_size = 64;

/// Expansion of the neighbor density in radial functions and real spherical harmonics,
/// c_{a,n,lm} = Σ_{j of species a} R_nl(r_ij) f_c(r_ij) Y_lm(r_ij), with its derivatives.
///
/// Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.
/// Immutable after construction, safe to share between threads.
template <typename T>
class DensityExpansion {
 public:
  /// Throws std::invalid_argument, naming the parameter that is out of range.
  DensityExpansion(const DensityExpansionParameters& parameters, int n_species);

  const DensityExpansionParameters& parameters() const { return parameters_; }
  const SplinedBasis<T>& radial(std::int32_t species) const {
    return *tables_[static_cast<std::size_t>(table_of_species_[static_cast<std::size_t>(species)])];
  }
  int n_species() const { return static_cast<int>(table_of_species_.size()); }
  int n_max() const { return tables_.front()->n_max(); }
  int l_max() const { return tables_.front()->l_max(); }
  int n_padded() const { return tables_.front()->n_padded(); }
  std::int64_t n_functions() const { return tables_.front()->n_functions(); }
  /// Up to where neighbors of each species count, Å.
  std::vector<double> reaches() const;
  /// Largest interpolation error of the tables, relative to max |R|.
  double table_error() const;
  std::int64_t table_bytes() const;

  /// Sorts pairs `first` to `last` of one center into an environment; `species` are those of the structure's atoms,
  /// `own_species` is the center's, -1 for a point in space, which has no density of its own.
  void make_environment(const PairBuffer& pairs, std::int64_t first, std::int64_t last, const std::int32_t* species,
                        std::int32_t own_species, Environment<T>& environment, ExpansionScratch<T>& scratch) const;

  /// Gives c the layout of the environment's coefficients, of any values: a channel for each of its species.
  void resize_like(const Environment<T>& environment, Coefficients<T>& c) const;

  /// Coefficients with a channel for each species of the environment.
  void expand(const Environment<T>& environment, Coefficients<T>& c, ExpansionScratch<T>& scratch) const;

  /// Derivative of the coefficients along changes dD (n_pairs, 3) of the pair vectors.
  void expand_jvp(const Environment<T>& environment, const double* dD, Coefficients<T>& c_dot,
                  ExpansionScratch<T>& scratch) const;

  /// Writes dE/dD (n_pairs, 3) from dE/dc, whose layout is that of `expand`.
  void expand_vjp(const Environment<T>& environment, const std::vector<T>& grad_c, double* grad_D,
                  ExpansionScratch<T>& scratch) const;

  /// Calls visit(pair, terms) for every neighbor of a channel, in the order of its slots.
  template <typename Visit>
  void for_each_pair(const Environment<T>& environment, int channel, ExpansionScratch<T>& scratch, Visit visit) const;

  /// Calls visit(pairs, terms, n) for a chunk of n of them after the other.
  template <typename Visit>
  void for_each_chunk(const Environment<T>& environment, int channel, ExpansionScratch<T>& scratch, Visit visit) const;

 private:
  std::size_t group_by_species(const PairBuffer& pairs, std::int64_t first, std::int64_t last,
                               const std::int32_t* species, std::int32_t own_species, Environment<T>& environment,
                               ExpansionScratch<T>& scratch) const;
  void weigh_group(Environment<T>& environment, std::size_t group, ExpansionScratch<T>& scratch) const;
  /// Gives neighbors at distance zero the limits of value and gradient.
  void put_at_center(Environment<T>& environment, const ExpansionScratch<T>& scratch) const;
  void clear_channel(int channel, Coefficients<T>& c) const;
  /// Fills scratch.R, dR and weights h for slots of one chunk; see for_each_pair.
  void pair_terms(const Environment<T>& environment, const SplinedBasis<T>& radial,
                  const typename Environment<T>::Group& group, std::int64_t start, std::int64_t count,
                  ExpansionScratch<T>& scratch) const;

  DensityExpansionParameters parameters_;
  std::vector<std::unique_ptr<const SplinedBasis<T>>> tables_;
  std::vector<int> table_of_species_;
  std::vector<double> species_weights_;
  std::vector<T> factors_;      ///< monic to orthonormal harmonics, (n_lm)
  std::vector<T> center_term_;  ///< (n_species, n_padded): what the center's own density adds to l = 0
};

template <typename T>
template <typename Visit>
void DensityExpansion<T>::for_each_pair(const Environment<T>& environment, int channel, ExpansionScratch<T>& scratch,
                                        Visit visit) const {
  for_each_chunk(environment, channel, scratch,
                 [&](const std::int64_t* pairs, const PairTerms<T>* terms, std::int64_t n) {
                   for (std::int64_t k = 0; k < n; ++k) visit(pairs[k], terms[k]);
                 });
}

template <typename T>
template <typename Visit>
void DensityExpansion<T>::for_each_chunk(const Environment<T>& environment, int channel, ExpansionScratch<T>& scratch,
                                         Visit visit) const {
  const auto group = environment.groups[static_cast<std::size_t>(channel)];
  const SplinedBasis<T>& table = radial(environment.species[static_cast<std::size_t>(channel)]);
  const std::int64_t n_lm = static_cast<std::int64_t>(l_max() + 1) * (l_max() + 1);
  std::array<PairTerms<T>, expansion_chunk_size> terms;
  for (std::int64_t start = 0; start < group.count; start += expansion_chunk_size) {
    const std::int64_t count = std::min(expansion_chunk_size, group.count - start);
    pair_terms(environment, table, group, start, count, scratch);
    for (std::int64_t k = 0; k < count; ++k) {
      const auto slot = static_cast<std::size_t>(group.first_slot + start + k);
      terms[static_cast<std::size_t>(k)] = {scratch.R.data() + k * table.n_functions(),
                                            scratch.dR.data() + k * table.n_functions(),
                                            scratch.scaled.data() + k * 4 * n_lm,
                                            {environment.x[slot], environment.y[slot], environment.z[slot]}};
    }
    visit(environment.pair.data() + group.first_slot + start, terms.data(), count);
  }
}

}  // namespace castile
