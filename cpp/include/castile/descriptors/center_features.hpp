#pragma once

#include <cstdint>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"

namespace castile {

/// The features of one center at a time from its pairs, before any averaging or normalisation, and the way back: for
/// those that have the pairs already, such as potentials. Holds buffers; one per thread.
class CenterFeatures {
 public:
  explicit CenterFeatures(const DensityDescriptor<double>& descriptor) : descriptor_(&descriptor) {}

  /// Takes pairs [first, last) of a center; `species` are those of the atoms that pairs.j counts.
  void expand(const PairBuffer& pairs, std::int64_t first, std::int64_t last, const std::int32_t* species,
              std::int32_t own_species, ExpansionScratch<double>& scratch);

  /// Writes the row, (n_features).
  void write(double* row, FeatureHead<double>::Scratch& scratch) const;

  /// Writes dE/dD (n_pairs, 3) from dE/drow.
  void pull_back(const double* grad_row, double* grad_D, ExpansionScratch<double>& scratch,
                 FeatureHead<double>::Scratch& head_scratch);

  /// Species of the pairs, ascending; the center's own is among them.
  const std::vector<std::int32_t>& species() const { return environment_.species; }

  /// Columns that neighbors of a species can touch.
  static std::vector<ColumnRange> touched_columns(const DensityDescriptor<double>& descriptor, std::int32_t species);

  /// Differentiates the row by the pair vectors of species()[group]: writes their numbers, counted from the first pair
  /// of the center, and derivatives (n, 3, n_touched).
  void gradients(int group, std::vector<std::int64_t>& pairs, AlignedVector<double>& values,
                 ExpansionScratch<double>& scratch, FeatureHead<double>::Scratch& head_scratch) const;

 private:
  const Coefficients<double>& coefficients() const { return descriptor_->mixing().mixes() ? mixed_ : coefficients_; }

  const DensityDescriptor<double>* descriptor_;
  Environment<double> environment_;
  Coefficients<double> coefficients_, mixed_;
  std::vector<double> grad_c_, grad_mixed_;
};

}  // namespace castile
