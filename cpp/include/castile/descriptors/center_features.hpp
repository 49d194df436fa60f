#pragma once

#include <cstdint>
#include <vector>

#include "castile/descriptors/density_descriptor.hpp"

namespace castile {

/// The features of a center from its pairs, before any averaging or normalisation, and the way back: for those that
/// have the pairs already, such as potentials. Holds buffers; as many per thread as there are centers at once.
class CenterFeatures {
 public:
  explicit CenterFeatures(const DensityDescriptor<double>& descriptor) : descriptor_(&descriptor) {}

  /// Takes pairs [first, last) of a center; `species` are those of the atoms that pairs.j counts.
  void expand(const PairBuffer& pairs, std::int64_t first, std::int64_t last, const std::int32_t* species,
              std::int32_t own_species, ExpansionScratch<double>& scratch);

  /// Buffers for several centers.
  struct RowScratch {
    FeatureHead<double>::Scratch head;
    std::vector<const Coefficients<double>*> coefficients;
    std::vector<std::vector<double>*> gradients;
  };

  /// Writes the rows (n, n_features) of the first n of some centers, which were expanded.
  static void write_rows(std::int64_t n, const std::vector<CenterFeatures>& centers, double* rows, RowScratch& scratch);

  /// Takes dE/drow (n, n_features) of the same centers, after `write_rows` with the same scratch.
  static void pull_back_rows(std::int64_t n, std::vector<CenterFeatures>& centers, const double* grad_rows,
                             RowScratch& scratch);

  /// Writes dE/dD (n_pairs, 3) of this center, after `pull_back_rows`.
  void write_gradients(double* grad_D, ExpansionScratch<double>& scratch);

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
