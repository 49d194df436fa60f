#include "castile/potential/descriptor_term.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

#include "castile/descriptors/center_features.hpp"
#include "descriptors/unit_rows.hpp"
#include "potential/row_models.hpp"

namespace castile {

class DescriptorTerm::Buffers final : public EnergyTerm::Workspace {
 public:
  explicit Buffers(const DensityDescriptor<double>& descriptor)
      : centers(rows_at_once, CenterFeatures(descriptor)),
        rows(static_cast<std::size_t>(rows_at_once * descriptor.n_features())) {}

  std::vector<CenterFeatures> centers;
  ExpansionScratch<double> expansion;
  CenterFeatures::RowScratch head;
  RowModel::Workspace model;
  AlignedVector<double> rows, gradients;
  std::vector<double> norms, energies, grad_D;
  std::vector<std::int64_t> members;   ///< centers of one species
  std::vector<std::int64_t> segments;  ///< theirs
  // Pairs within the term's own cutoff, where others reach farther.
  PairBuffer pairs;
  std::vector<std::int64_t> offsets, source;
};

DescriptorTerm::DescriptorTerm(std::shared_ptr<const DensityDescriptor<double>> descriptor, FeatureKernel kernel,
                               const std::vector<SparsePoints>& points)
    : descriptor_(std::move(descriptor)), normalize_(kernel.normalize) {
  if (descriptor_->parameters().average != Average::off) {
    throw std::invalid_argument("average must be 'off' for energies of centers");
  }
  if (!(kernel.zeta > 0.0) || !std::isfinite(kernel.zeta)) {
    throw std::invalid_argument("zeta must be a finite number above 0, got " + std::to_string(kernel.zeta));
  }
  if (points.size() != static_cast<std::size_t>(n_species())) {
    throw std::invalid_argument("there must be sparse points, or none, for each of the " + std::to_string(n_species()) +
                                " species, got " + std::to_string(points.size()));
  }
  const std::vector<double> reaches = descriptor_->expansion().reaches();
  cutoff_ = *std::max_element(reaches.begin(), reaches.end());
  for (const SparsePoints& of_species : points) {
    if (of_species.n_points == 0) {
      models_.push_back(nullptr);
      continue;
    }
    models_.push_back(make_row_model(kernel.zeta, descriptor_->n_features(), of_species));
    if (n_members_ > 0 && of_species.n_members != n_members_) {
      throw std::invalid_argument("members must be as many for all species, got " + std::to_string(n_members_) +
                                  " and " + std::to_string(of_species.n_members));
    }
    n_members_ = of_species.n_members;
  }
}

DescriptorTerm::~DescriptorTerm() = default;

std::unique_ptr<EnergyTerm::Workspace> DescriptorTerm::make_workspace() const {
  return std::make_unique<Buffers>(*descriptor_);
}

namespace {

/// Copies the pairs within a cutoff; `source` gets their places.
void take_pairs_within(double cutoff, const CenterPairs& in, PairBuffer& pairs, std::vector<std::int64_t>& offsets,
                       std::vector<std::int64_t>& source) {
  pairs.clear();
  source.clear();
  offsets.assign(1, 0);
  for (std::int64_t center = 0; center < in.n_centers; ++center) {
    for (std::int64_t pair = in.offsets[center]; pair < in.offsets[center + 1]; ++pair) {
      const auto k = static_cast<std::size_t>(pair);
      if (in.pairs->d[k] >= cutoff) continue;
      pairs.j.push_back(in.pairs->j[k]);
      pairs.D.push_back(in.pairs->D[k]);
      pairs.d.push_back(in.pairs->d[k]);
      source.push_back(pair);
    }
    offsets.push_back(pairs.size());
  }
}

}  // namespace

void DescriptorTerm::add(const CenterPairs& in, Workspace& workspace, const CenterResults& results) const {
  double* grad_D = results.grad_D;
  auto& w = static_cast<Buffers&>(workspace);
  const bool filters = in.cutoff > cutoff_;
  if (filters) take_pairs_within(cutoff_, in, w.pairs, w.offsets, w.source);
  const PairBuffer& pairs = filters ? w.pairs : *in.pairs;
  const std::int64_t* offsets = filters ? w.offsets.data() : in.offsets;
  const std::int64_t n_features = descriptor_->n_features();
  w.norms.resize(rows_at_once);
  w.energies.resize(rows_at_once);
  if (grad_D != nullptr) w.gradients.resize(w.rows.size());

  const auto sums = [&] {
    return SegmentSums{n_members_ > 0 ? results.members : nullptr, n_members_, w.segments.data()};
  };
  const auto evaluate_members = [&](std::int32_t species) {
    const auto n = static_cast<std::int64_t>(w.members.size());
    for (std::int64_t r = 0; r < n; ++r) {
      const std::int64_t center = w.members[static_cast<std::size_t>(r)];
      w.centers[static_cast<std::size_t>(r)].expand(pairs, offsets[center], offsets[center + 1], in.species, species,
                                                    w.expansion);
    }
    CenterFeatures::write_rows(n, w.centers, w.rows.data(), w.head);
    for (std::int64_t r = 0; r < n && normalize_; ++r) {
      w.norms[static_cast<std::size_t>(r)] = normalize_row(w.rows.data() + r * n_features, n_features);
    }
    double* gradients = grad_D != nullptr ? w.gradients.data() : nullptr;
    models_[static_cast<std::size_t>(species)]->evaluate(n, w.rows.data(), w.energies.data(), gradients, sums(),
                                                         w.model);
    for (std::int64_t r = 0; r < n && grad_D != nullptr && normalize_; ++r) {
      project_tangent(w.rows.data() + r * n_features, w.norms[static_cast<std::size_t>(r)], n_features,
                      gradients + r * n_features);
    }
    if (grad_D != nullptr) CenterFeatures::pull_back_rows(n, w.centers, gradients, w.head);
    for (std::int64_t r = 0; r < n; ++r) {
      const std::int64_t center = w.members[static_cast<std::size_t>(r)];
      results.energies[center] += w.energies[static_cast<std::size_t>(r)];
      if (grad_D == nullptr || offsets[center] == offsets[center + 1]) continue;
      w.grad_D.resize(3 * static_cast<std::size_t>(offsets[center + 1] - offsets[center]));
      w.centers[static_cast<std::size_t>(r)].write_gradients(w.grad_D.data(), w.expansion);
      for (std::int64_t pair = offsets[center]; pair < offsets[center + 1]; ++pair) {
        double* out = grad_D + 3 * (filters ? w.source[static_cast<std::size_t>(pair)] : pair);
        const double* from = w.grad_D.data() + 3 * (pair - offsets[center]);
        for (int axis = 0; axis < 3; ++axis) out[axis] += from[axis];
      }
    }
    w.members.clear();
    w.segments.clear();
  };

  for (std::int32_t species = 0; species < n_species(); ++species) {
    if (models_[static_cast<std::size_t>(species)] == nullptr) continue;
    w.members.clear();
    for (std::int64_t center = 0; center < in.n_centers; ++center) {
      if (in.center_species[center] != species) continue;
      w.members.push_back(center);
      w.segments.push_back(in.segments[center]);
      if (static_cast<std::int64_t>(w.members.size()) == rows_at_once) evaluate_members(species);
    }
    if (!w.members.empty()) evaluate_members(species);
    if (sums().values != nullptr) models_[static_cast<std::size_t>(species)]->finish(sums(), w.model);
  }
}

}  // namespace castile
