#pragma once

#include <memory>
#include <vector>

#include "castile/potential/energy_term.hpp"

namespace castile {

/// Screened Coulomb repulsion of nuclei, whole below `inner` and gone from `outer` on, for each pair of species:
///
/// E(r) = S(r) Z_1 Z_2 e² / (4 pi eps_0 r) phi(r / a), a = 0.8854 a_0 / (Z_1^0.23 + Z_2^0.23), with the universal
/// phi of Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Solids (1985), and S = 1 - t³ (10 - 15 t +
/// 6 t²), t = (r - inner) / (outer - inner), which has two continuous derivatives.
class Repulsion final : public EnergyTerm {
 public:
  /// `numbers` (n_species) are nuclear charges; `inner` and `outer` (n_species, n_species), symmetric, Å; pairs whose
  /// outer radius is zero do not repel. Throws std::invalid_argument unless 0 <= inner < outer there.
  Repulsion(std::vector<double> numbers, std::vector<double> inner, std::vector<double> outer);

  double cutoff() const override { return cutoff_; }
  int n_species() const override { return static_cast<int>(numbers_.size()); }
  std::unique_ptr<Workspace> make_workspace() const override { return std::make_unique<Workspace>(); }
  void add(const CenterPairs& centers, Workspace& workspace, const CenterResults& results) const override;

  struct Value {
    double energy;      ///< eV
    double derivative;  ///< by the distance, eV/Å
  };
  /// Of one pair of atoms at a distance above zero.
  Value pair(std::int32_t first, std::int32_t second, double distance) const;

 private:
  std::vector<double> numbers_, inner_, outer_;
  double cutoff_ = 0.0;
};

}  // namespace castile
