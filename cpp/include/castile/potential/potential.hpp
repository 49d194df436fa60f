#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "castile/geometry/structure.hpp"
#include "castile/potential/energy_term.hpp"

namespace castile {

/// Centers with their neighbors in open space: whatever periodicity there is, the caller has applied it, by atoms that
/// are copies ("ghosts"). A view.
struct Neighborhoods {
  std::int64_t n_atoms = 0;               ///< ghosts included
  const double* positions = nullptr;      ///< (n_atoms, 3) Å
  const std::int32_t* species = nullptr;  ///< (n_atoms)
  std::int64_t n_centers = 0;
  const std::int64_t* centers = nullptr;    ///< (n_centers) atoms; null: the first n_centers
  const std::int64_t* offsets = nullptr;    ///< (n_centers + 1): neighbors of each center
  const std::int64_t* neighbors = nullptr;  ///< atoms, all within the cutoff among them; farther ones are passed over
};

/// What is wanted of an evaluation; null for what is not.
struct PotentialResults {
  double* energies = nullptr;  ///< (n_centers) eV
  double* forces = nullptr;    ///< (n_atoms, 3) eV/Å
  double* strain = nullptr;    ///< (n_frames, 3, 3) dE/dstrain, symmetric, eV: the stress times the volume
  double* strains = nullptr;   ///< (n_centers, 3, 3) what each center's energy adds to it
  double* members = nullptr;   ///< (n_frames, n_members) how energies of a committee's members differ, eV
};

/// A sum of terms. The same input gives the same bits for any number of threads, and per frame in any batch.
class Potential {
 public:
  /// Throws std::invalid_argument for no terms, terms of unlike species, and committees of unlike size.
  explicit Potential(std::vector<std::shared_ptr<const EnergyTerm>> terms);

  double cutoff() const { return cutoff_; }
  int n_species() const { return terms_.front()->n_species(); }
  int n_members() const { return n_members_; }

  /// Of all atoms of frames; every atom is a center.
  void evaluate(const Structures& structures, const PotentialResults& results) const;

  /// Of centers with given neighbors; `strain` is of one frame. Throws std::invalid_argument for neighbors that are no
  /// atoms.
  void evaluate(const Neighborhoods& neighborhoods, const PotentialResults& results) const;

 private:
  template <typename Source>
  void evaluate_all(Source source, const PotentialResults& results) const;

  std::vector<std::shared_ptr<const EnergyTerm>> terms_;
  double cutoff_ = 0.0;
  int n_members_ = 0;
};

}  // namespace castile
