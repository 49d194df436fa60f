#include "castile/descriptors/center_features.hpp"

#include <cstddef>

namespace castile {
namespace {

std::int64_t total_size(const std::vector<ColumnRange>& ranges) {
  std::int64_t size = 0;
  for (const ColumnRange range : ranges) size += range.size;
  return size;
}

}  // namespace

void CenterFeatures::expand(const PairBuffer& pairs, std::int64_t first, std::int64_t last, const std::int32_t* species,
                            std::int32_t own_species, ExpansionScratch<double>& scratch) {
  const DensityExpansion<double>& expansion = descriptor_->expansion();
  expansion.make_environment(pairs, first, last, species, own_species, environment_, scratch);
  expansion.expand(environment_, coefficients_, scratch);
  if (descriptor_->mixing().mixes()) descriptor_->mixing().apply(coefficients_, mixed_);
}

void CenterFeatures::write_rows(std::int64_t n, const std::vector<CenterFeatures>& centers, double* rows,
                                RowScratch& scratch) {
  if (n == 0) return;
  scratch.coefficients.clear();
  for (std::int64_t k = 0; k < n; ++k) {
    scratch.coefficients.push_back(&centers[static_cast<std::size_t>(k)].coefficients());
  }
  centers.front().descriptor_->head().forward_rows(n, scratch.coefficients.data(), rows, scratch.head);
}

void CenterFeatures::pull_back_rows(std::int64_t n, std::vector<CenterFeatures>& centers, const double* grad_rows,
                                    RowScratch& scratch) {
  if (n == 0) return;
  scratch.gradients.clear();
  for (std::int64_t k = 0; k < n; ++k) {
    CenterFeatures& center = centers[static_cast<std::size_t>(k)];
    scratch.gradients.push_back(center.descriptor_->mixing().mixes() ? &center.grad_mixed_ : &center.grad_c_);
  }
  centers.front().descriptor_->head().vjp_rows(n, scratch.coefficients.data(), grad_rows, scratch.gradients.data(),
                                               scratch.head);
}

void CenterFeatures::write_gradients(double* grad_D, ExpansionScratch<double>& scratch) {
  if (descriptor_->mixing().mixes()) descriptor_->mixing().apply_adjoint(grad_mixed_, coefficients_, grad_c_);
  descriptor_->expansion().expand_vjp(environment_, grad_c_, grad_D, scratch);
}

std::vector<ColumnRange> CenterFeatures::touched_columns(const DensityDescriptor<double>& descriptor,
                                                         std::int32_t species) {
  if (descriptor.mixing().mixes()) return {{0, descriptor.n_features()}};
  return descriptor.head().columns_touched_by(species);
}

void CenterFeatures::gradients(int group, std::vector<std::int64_t>& pairs, AlignedVector<double>& values,
                               ExpansionScratch<double>& scratch, FeatureHead<double>::Scratch& head_scratch) const {
  const std::int32_t species = environment_.species[static_cast<std::size_t>(group)];
  const std::int64_t width = 3 * total_size(touched_columns(*descriptor_, species));
  std::vector<double> one_hot(environment_.species.size(), 0.0);
  one_hot[static_cast<std::size_t>(group)] = 1.0;
  TouchedChannels<double> touched{one_hot.data(), group};
  if (descriptor_->mixing().mixes()) touched = {descriptor_->mixing().column(species), -1};
  const auto n_pairs = static_cast<std::size_t>(environment_.groups[static_cast<std::size_t>(group)].count);
  pairs.clear();
  values.resize(n_pairs * static_cast<std::size_t>(width));
  descriptor_->head().prepare_center(coefficients(), head_scratch);
  descriptor_->expansion().for_each_chunk(
      environment_, group, scratch, [&](const std::int64_t* chunk, const PairTerms<double>* terms, std::int64_t n) {
        double* out = values.data() + static_cast<std::int64_t>(pairs.size()) * width;
        descriptor_->head().pair_jacobians(coefficients(), terms, n, touched, width, head_scratch, out);
        pairs.insert(pairs.end(), chunk, chunk + n);
      });
}

}  // namespace castile
