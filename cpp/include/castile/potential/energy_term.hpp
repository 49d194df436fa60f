#pragma once

#include <cstdint>
#include <memory>

#include "castile/geometry/neighbor_search.hpp"

namespace castile {

/// Some centers and all their pairs up to a cutoff; a view.
struct CenterPairs {
  std::int64_t n_centers = 0;
  const std::int32_t* center_species = nullptr;  ///< (n_centers)
  const std::int64_t* offsets = nullptr;         ///< (n_centers + 1): pairs of each center
  const PairBuffer* pairs = nullptr;
  const std::int32_t* species = nullptr;  ///< of the atoms that pairs->j counts
  double cutoff = 0.0;                    ///< Å
  /// (n_centers) rising from 0 without gaps: runs of centers of one frame, cut where nothing but the frame decides.
  const std::int64_t* segments = nullptr;
};

/// Where a term adds what it gives for some centers; null for what is not wanted.
struct CenterResults {
  double* energies = nullptr;  ///< (n_centers) eV
  double* grad_D = nullptr;    ///< (n_pairs, 3) dE/dD
  double* members = nullptr;   ///< (n_segments, n_members) how the energies of a committee's members differ, eV
  int n_members = 0;
};

/// A part of the potential energy, which is a sum over centers of functions of their pair vectors. Immutable and shared
/// between threads; what a center or a segment gets has the same bits whatever others come with it.
class EnergyTerm {
 public:
  /// Buffers of a thread.
  class Workspace {
   public:
    virtual ~Workspace() = default;
  };

  virtual ~EnergyTerm() = default;
  EnergyTerm() = default;
  EnergyTerm(const EnergyTerm&) = delete;
  EnergyTerm& operator=(const EnergyTerm&) = delete;

  /// The largest distance that matters, Å.
  virtual double cutoff() const = 0;
  virtual int n_species() const = 0;
  virtual std::unique_ptr<Workspace> make_workspace() const = 0;

  /// Members of a committee that this term has weights for; 0 if all agree.
  virtual int n_members() const { return 0; }

  /// Adds what is wanted; `energies` always is.
  virtual void add(const CenterPairs& centers, Workspace& workspace, const CenterResults& results) const = 0;
};

}  // namespace castile
