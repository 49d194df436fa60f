#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "castile/basis/radial_basis.hpp"
#include "castile/basis/splined_basis.hpp"
#include "castile/geometry/neighbor_search.hpp"

namespace castile {

struct DensityExpansionParameters {
  RadialBasisParameters radial;
  std::string cutoff_function = "cosine";
  double cutoff_width = 0.5;   ///< Å
  double center_weight = 1.0;  ///< weight of the center's own Gaussian
  double accuracy = 1e-8;      ///< of the radial table, relative to max |R|
};

/// Density coefficients c[lm][channel][n] of one center, one channel per species present, n padded.
template <typename T>
struct Coefficients {
  std::vector<std::int32_t> species;  ///< of the channels, ascending
  int l_max = 0;
  int n_max = 0;
  int n_padded = 0;
  std::vector<T> values;

  int n_channels() const { return static_cast<int>(species.size()); }
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
  int own_channel = -1;            ///< where the center's own Gaussian goes, -1 if it has none
  std::vector<std::int64_t> pair;  ///< pair of each slot, counted from the center's first; -1 for padding
  std::vector<T> x, y, z, inverse_distance;
  std::vector<std::int32_t> row;
  std::vector<T> weights, gradient_weights, derivative_weights;  ///< (n_slots, 6)
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
  std::vector<T> Y, dY, R, dR, weights, gradients, kernel;
  std::vector<T> scaled;
  std::vector<std::int64_t> species_count, species_slot;
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
  explicit DensityExpansion(const DensityExpansionParameters& parameters);

  const DensityExpansionParameters& parameters() const { return parameters_; }
  const SplinedBasis<T>& radial() const { return radial_; }
  int n_max() const { return radial_.n_max(); }
  int l_max() const { return radial_.l_max(); }

  /// Sorts pairs `first` to `last` of one center of species `own_species` into an environment;
  /// `species` are those of the structure's atoms, below `n_species`.
  void make_environment(const PairBuffer& pairs, std::int64_t first, std::int64_t last, const std::int32_t* species,
                        std::int32_t n_species, std::int32_t own_species, Environment<T>& environment,
                        ExpansionScratch<T>& scratch) const;

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

 private:
  void resize_like(const Environment<T>& environment, Coefficients<T>& c) const;
  void apply_factors(Coefficients<T>& c) const;
  /// Fills scratch.R, dR and weights h for slots of one chunk; see for_each_pair.
  void pair_terms(const Environment<T>& environment, std::int64_t first, std::int64_t count,
                  ExpansionScratch<T>& scratch) const;

  DensityExpansionParameters parameters_;
  SplinedBasis<T> radial_;
  std::vector<T> factors_;      ///< monic to orthonormal harmonics, (n_lm)
  std::vector<T> center_term_;  ///< (n_padded): what the center's own Gaussian adds to l = 0
};

template <typename T>
template <typename Visit>
void DensityExpansion<T>::for_each_pair(const Environment<T>& environment, int channel, ExpansionScratch<T>& scratch,
                                        Visit visit) const {
  const auto group = environment.groups[static_cast<std::size_t>(channel)];
  const std::int64_t n_lm = static_cast<std::int64_t>(l_max() + 1) * (l_max() + 1);
  for (std::int64_t start = 0; start < group.count; start += expansion_chunk_size) {
    const std::int64_t count = std::min(expansion_chunk_size, group.count - start);
    pair_terms(environment, group.first_slot + start, count, scratch);
    for (std::int64_t k = 0; k < count; ++k) {
      const auto slot = static_cast<std::size_t>(group.first_slot + start + k);
      const PairTerms<T> terms{scratch.R.data() + k * radial_.row_length(),
                               scratch.dR.data() + k * radial_.row_length(),
                               scratch.scaled.data() + k * 4 * n_lm,
                               {environment.x[slot], environment.y[slot], environment.z[slot]}};
      visit(environment.pair[slot], terms);
    }
  }
}

}  // namespace castile
