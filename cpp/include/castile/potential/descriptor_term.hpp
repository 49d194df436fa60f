#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"
#include "castile/potential/energy_term.hpp"

namespace castile {

/// How a center's energy depends on its row of features.
struct FeatureKernel {
  double zeta = 4.0;      ///< above zero
  bool normalize = true;  ///< rows divided by their norms; a row of zeros stays zero
};

/// The sparse points that centers of one species are compared with; a view.
struct SparsePoints {
  std::int64_t n_points = 0;
  const double* rows = nullptr;     ///< (n_points, n_features), normalised if the kernel asks for it
  const double* weights = nullptr;  ///< (n_points), eV
  const double* members = nullptr;  ///< (n_members, n_points): how the weights of a committee's members differ; or null
  int n_members = 0;
  /// (n_components, n_features): if there is one, what points are compared with is not a row of features, normalised or
  /// not, but its components along the rows of this matrix, and `rows` is (n_points, n_components). Null: all features.
  const double* projection = nullptr;
  std::int64_t n_components = 0;
};

class RowModel;

/// Σ_m weights[m] (p · points[m])^zeta, p the features of a center, points and weights those of its species.
///
/// Bartók, Payne, Kondor and Csányi, Phys. Rev. Lett. 104, 136403 (2010), doi:10.1103/PhysRevLett.104.136403.
class DescriptorTerm final : public EnergyTerm {
 public:
  /// `points` (n_species); they are copied. Throws std::invalid_argument for averages and zeta that is not above zero.
  DescriptorTerm(std::shared_ptr<const DensityDescriptor<double>> descriptor, FeatureKernel kernel,
                 const std::vector<SparsePoints>& points);
  ~DescriptorTerm() override;

  double cutoff() const override { return cutoff_; }
  int n_species() const override { return descriptor_->parameters().n_species; }
  int n_members() const override { return n_members_; }
  std::unique_ptr<Workspace> make_workspace() const override;
  void add(const CenterPairs& centers, Workspace& workspace, const CenterResults& results) const override;

 private:
  class Buffers;

  std::shared_ptr<const DensityDescriptor<double>> descriptor_;
  bool normalize_;
  double cutoff_;
  int n_members_ = 0;
  std::vector<std::unique_ptr<const RowModel>> models_;  ///< (n_species); null where there are no points
};

}  // namespace castile
