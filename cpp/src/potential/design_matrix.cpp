#include "castile/potential/design_matrix.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

#include "castile/descriptors/center_features.hpp"
#include "castile/geometry/neighbor_search.hpp"
#include "castile/parallel.hpp"
#include "descriptors/unit_rows.hpp"
#include "kernels/powers.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace {

/// Columns that are computed together: all Jacobians are made again for each block, so it is not small; the rows of a
/// frame of some 100 atoms still fit into a second-level cache.
constexpr std::int64_t block_columns = 10 * simd::gemm_column_step;
/// The same where columns are features, of which a Jacobian holds all anyway.
constexpr std::int64_t block_features = 4096;
/// Centers whose features are multiplied together.
constexpr std::int64_t centers_at_once = 8;

const simd::Kernels<double>& kernels() { return simd::kernels<double>(); }

std::int64_t round_up(std::int64_t n) {
  return (n + simd::gemm_column_step - 1) / simd::gemm_column_step * simd::gemm_column_step;
}

}  // namespace

/// Sparse points packed for products with features and with derivatives by each species of neighbors.
struct DescriptorColumns::Species {
  std::int64_t n_points = 0;
  AlignedVector<double> packed;
  std::vector<AlignedVector<double>> packed_touched;  ///< empty: all columns are touched, `packed` serves

  const double* touched_by(std::int32_t neighbor) const {
    const auto& own = packed_touched[static_cast<std::size_t>(neighbor)];
    return own.empty() ? packed.data() : own.data();
  }
};

/// Some columns of a frame's rows.
struct DescriptorColumns::Item {
  std::int64_t frame;
  std::int32_t species;
  std::int64_t first;  ///< among the species' columns
  std::int64_t last;
};

namespace {

AlignedVector<double> pack_points(std::int64_t n_points, std::int64_t n_features, const double* points,
                                  const std::vector<ColumnRange>& ranges) {
  std::vector<double> taken;
  for (std::int64_t m = 0; m < n_points; ++m) {
    for (const ColumnRange range : ranges) {
      const double* first = points + m * n_features + range.first;
      taken.insert(taken.end(), first, first + range.size);
    }
  }
  const std::int64_t length = n_points > 0 ? static_cast<std::int64_t>(taken.size()) / n_points : 0;
  AlignedVector<double> packed(static_cast<std::size_t>(kernels().gemm_packed_size(n_points, length)));
  kernels().gemm_pack_right(n_points, length, taken.data(), length, packed.data());
  return packed;
}

void check(const DensityDescriptor<double>& descriptor) {
  if (descriptor.parameters().average != Average::off) {
    throw std::invalid_argument("average must be 'off' for energies of centers");
  }
}

}  // namespace

void DescriptorColumns::find_touched_columns() {
  const std::vector<double> reaches = descriptor_->expansion().reaches();
  cutoff_ = *std::max_element(reaches.begin(), reaches.end());
  for (std::int32_t s = 0; s < descriptor_->parameters().n_species; ++s) {
    touched_.push_back(CenterFeatures::touched_columns(*descriptor_, s));
    std::int64_t size = 0;
    for (const ColumnRange range : touched_.back()) size += range.size;
    n_touched_.push_back(size);
  }
}

DescriptorColumns::DescriptorColumns(std::shared_ptr<const DensityDescriptor<double>> descriptor, FeatureKernel kernel,
                                     const std::vector<SparsePoints>& points)
    : descriptor_(std::move(descriptor)), kernel_(kernel) {
  check(*descriptor_);
  if (!(kernel.zeta > 0.0) || !std::isfinite(kernel.zeta)) {
    throw std::invalid_argument("zeta must be a finite number above 0, got " + std::to_string(kernel.zeta));
  }
  const auto n_species = static_cast<std::size_t>(descriptor_->parameters().n_species);
  if (points.size() != n_species) {
    throw std::invalid_argument("there must be sparse points, or none, for each of the " + std::to_string(n_species) +
                                " species, got " + std::to_string(points.size()));
  }
  find_touched_columns();
  first_column_.push_back(0);
  for (const SparsePoints& of_species : points) {
    auto species = std::make_shared<Species>();
    species->n_points = of_species.n_points;
    species->packed = pack_points(of_species.n_points, n_features(), of_species.rows, {{0, n_features()}});
    for (std::size_t s = 0; s < n_species; ++s) {
      species->packed_touched.emplace_back();
      if (n_touched_[s] == n_features() || of_species.n_points == 0) continue;
      species->packed_touched.back() = pack_points(of_species.n_points, n_features(), of_species.rows, touched_[s]);
    }
    species_.push_back(std::move(species));
    first_column_.push_back(first_column_.back() + of_species.n_points);
  }
}

DescriptorColumns::DescriptorColumns(std::shared_ptr<const DensityDescriptor<double>> descriptor)
    : descriptor_(std::move(descriptor)), kernel_{1.0, false}, linear_(true) {
  check(*descriptor_);
  find_touched_columns();
  first_column_.push_back(0);
  for (int s = 0; s < descriptor_->parameters().n_species; ++s) {
    auto species = std::make_shared<Species>();
    species->n_points = n_features();
    species_.push_back(std::move(species));
    first_column_.push_back(first_column_.back() + n_features());
  }
}

/// One thread's way through a frame.
class DescriptorColumns::FrameWork {
 public:
  FrameWork(const DescriptorColumns& owner, const Structures& structures, const DesignRows& rows)
      : owner_(owner),
        structures_(structures),
        rows_(rows),
        centers_(centers_at_once, CenterFeatures(*owner.descriptor_)),
        features_(static_cast<std::size_t>(centers_at_once * owner.n_features())) {}

  void operator()(const Item& item) {
    begin(item);
    std::vector<std::int64_t> members;
    for (std::int64_t atom = 0; atom < n_atoms_; ++atom) {
      if (species_[atom] == item.species) members.push_back(atom);
    }
    for (std::size_t first = 0; first < members.size(); first += centers_at_once) {
      const std::size_t last = std::min(members.size(), first + centers_at_once);
      add_centers(std::vector<std::int64_t>(members.begin() + static_cast<std::ptrdiff_t>(first),
                                            members.begin() + static_cast<std::ptrdiff_t>(last)),
                  item);
    }
    finish(item);
  }

 private:
  // Rows of the buffer: the energy, six of the strain, three of each atom.
  static constexpr std::int64_t strain_row = 1;
  static std::int64_t force_row(std::int64_t atom) { return 7 + 3 * atom; }
  double* row(std::int64_t index) { return buffer_.data() + index * width_; }

  void begin(const Item& item) {
    if (item.frame != frame_) {
      frame_ = item.frame;
      PairCutoff cutoff;
      cutoff.cutoff = owner_.cutoff_;
      search_ = std::make_unique<const NeighborSearch>(structures_[frame_], cutoff);
      first_atom_ = structures_.atom_offsets[frame_];
      n_atoms_ = structures_.atom_offsets[frame_ + 1] - first_atom_;
      species_ = structures_.species + first_atom_;
    }
    width_ = round_up(item.last - item.first);
    with_strain_ = rows_.strain[frame_] >= 0;
    with_gradients_ = with_strain_;
    for (std::int64_t atom = first_atom_; atom < first_atom_ + n_atoms_; ++atom) {
      with_gradients_ = with_gradients_ || rows_.force[atom] >= 0;
    }
    buffer_.assign(static_cast<std::size_t>((with_gradients_ ? force_row(n_atoms_) : 1) * width_), 0.0);
    const auto size = static_cast<std::size_t>(width_);
    scale_.assign(size, 0.0);
    slope_.assign(size, 0.0);
    power_.resize(size);
    kernel_.resize(centers_at_once * size);
  }

  void add_centers(const std::vector<std::int64_t>& atoms, const Item& item) {
    const std::int64_t n_features = owner_.n_features();
    const std::int64_t n = item.last - item.first;
    const Species& points = *owner_.species_[static_cast<std::size_t>(item.species)];
    pairs_.clear();
    pair_offsets_.assign(1, 0);
    for (std::size_t k = 0; k < atoms.size(); ++k) {
      search_->append_neighbors(atoms[k], pairs_);
      pair_offsets_.push_back(pairs_.size());
      centers_[k].expand(pairs_, pair_offsets_[k], pair_offsets_[k + 1], species_, item.species, expansion_);
    }
    CenterFeatures::write_rows(static_cast<std::int64_t>(atoms.size()), centers_, features_.data(), rows_scratch_);
    for (std::size_t k = 0; k < atoms.size(); ++k) {
      double* features = features_.data() + static_cast<std::int64_t>(k) * n_features;
      norms_[k] = owner_.kernel_.normalize ? normalize_row(features, n_features) : 1.0;
    }
    if (owner_.linear_) {
      for (std::size_t k = 0; k < atoms.size(); ++k) {
        std::copy_n(features_.data() + static_cast<std::int64_t>(k) * n_features + item.first, n,
                    kernel_.data() + static_cast<std::int64_t>(k) * width_);
      }
    } else {
      gemm_.resize(static_cast<std::size_t>(kernels().gemm_nt_workspace(centers_at_once, 0)));
      kernels().gemm_packed(static_cast<std::int64_t>(atoms.size()), points.n_points, n_features, features_.data(),
                            n_features, points.packed.data(), item.first, item.last, kernel_.data(), width_,
                            gemm_.data());
    }
    for (std::size_t k = 0; k < atoms.size(); ++k) {
      const double* dots = kernel_.data() + static_cast<std::int64_t>(k) * width_;
      raise(n, owner_.kernel_.zeta - 1.0, dots, power_.data());
      double* energy = row(0);
      for (std::int64_t m = 0; m < n; ++m) energy[m] += dots[m] * power_[static_cast<std::size_t>(m)];
      if (!with_gradients_) continue;
      const double factor = norms_[k] > 0.0 ? owner_.kernel_.zeta / norms_[k] : 0.0;
      for (std::int64_t m = 0; m < n; ++m) {
        const auto column = static_cast<std::size_t>(m);
        scale_[column] = factor * power_[column];
        slope_[column] = owner_.kernel_.normalize ? -scale_[column] * dots[m] : 0.0;
      }
      add_derivatives(k, atoms[k], item, points);
    }
  }

  /// Adds the derivatives by the pairs of one center.
  void add_derivatives(std::size_t k, std::int64_t atom, const Item& item, const Species& points) {
    const CenterFeatures& center = centers_[k];
    for (int group = 0; group < static_cast<int>(center.species().size()); ++group) {
      const std::int32_t neighbor = center.species()[static_cast<std::size_t>(group)];
      center.gradients(group, members_, gradients_, expansion_, rows_scratch_.head);
      if (members_.empty()) continue;
      const auto n_pairs = static_cast<std::int64_t>(members_.size());
      const std::int64_t n_touched = owner_.n_touched_[static_cast<std::size_t>(neighbor)];
      project(k, neighbor, 3 * n_pairs, n_touched);
      multiply(3 * n_pairs, neighbor, item, points);
      D_.resize(3 * members_.size());
      row_of_.resize(members_.size());
      for (std::size_t p = 0; p < members_.size(); ++p) {
        const auto pair = static_cast<std::size_t>(pair_offsets_[k] + members_[p]);
        std::copy(pairs_.D[pair].begin(), pairs_.D[pair].end(), D_.begin() + static_cast<std::ptrdiff_t>(3 * p));
        row_of_[p] = force_row(pairs_.j[pair]);
      }
      simd::PairColumns<double> columns{};
      columns.n_pairs = n_pairs;
      columns.products = products_.data();
      columns.product_stride = width_;
      columns.along = along_.data();
      columns.scale = scale_.data();
      columns.slope = slope_.data();
      columns.D = D_.data();
      columns.row_of = row_of_.data();
      columns.rows = buffer_.data();
      columns.row_stride = width_;
      columns.own_row = force_row(atom);
      columns.strain_row = with_strain_ ? strain_row : -1;
      kernels().add_pair_columns(width_, columns);
    }
  }

  /// along_[r] = unit features · gradients_[r]: the part of a derivative that normalisation takes off.
  void project(std::size_t k, std::int32_t neighbor, std::int64_t n_rows, std::int64_t n_touched) {
    along_.assign(static_cast<std::size_t>(n_rows), 0.0);
    if (!owner_.kernel_.normalize) return;
    touched_features_.clear();
    const double* features = features_.data() + static_cast<std::int64_t>(k) * owner_.n_features();
    for (const ColumnRange range : owner_.touched_[static_cast<std::size_t>(neighbor)]) {
      touched_features_.insert(touched_features_.end(), features + range.first, features + range.first + range.size);
    }
    for (std::int64_t r = 0; r < n_rows; ++r) {
      along_[static_cast<std::size_t>(r)] =
          dot_of_rows(n_touched, touched_features_.data(), gradients_.data() + r * n_touched);
    }
  }

  /// products_ (n_rows, width_): the gradients times the points, or as they are.
  void multiply(std::int64_t n_rows, std::int32_t neighbor, const Item& item, const Species& points) {
    const std::int64_t n_touched = owner_.n_touched_[static_cast<std::size_t>(neighbor)];
    const auto size = static_cast<std::size_t>(n_rows * width_);
    if (!owner_.linear_) {
      if (products_.size() < size) products_.resize(size, 0.0);
      gemm_.resize(static_cast<std::size_t>(kernels().gemm_nt_workspace(n_rows, 0)));
      kernels().gemm_packed(n_rows, points.n_points, n_touched, gradients_.data(), n_touched,
                            points.touched_by(neighbor), item.first, item.last, products_.data(), width_, gemm_.data());
      return;
    }
    products_.assign(size, 0.0);
    for (std::int64_t r = 0; r < n_rows; ++r) {
      const double* from = gradients_.data() + r * n_touched;
      for (const ColumnRange range : owner_.touched_[static_cast<std::size_t>(neighbor)]) {
        const std::int64_t first = std::max(range.first, item.first);
        const std::int64_t last = std::min(range.first + range.size, item.last);
        if (first < last) {
          std::copy_n(from + first - range.first, last - first, products_.data() + r * width_ + first - item.first);
        }
        from += range.size;
      }
    }
  }

  /// Copies the buffer to the rows that are wanted.
  void finish(const Item& item) {
    const std::int64_t first_column = owner_.first_column_[static_cast<std::size_t>(item.species)] + item.first;
    const auto put = [&](std::int64_t from, std::int64_t to) {
      const double factor = rows_.factors == nullptr ? 1.0 : rows_.factors[to];
      double* out = rows_.values + to * rows_.stride + first_column;
      const double* in = row(from);
      for (std::int64_t m = 0; m < item.last - item.first; ++m) out[m] = factor * in[m];
    };
    if (rows_.energy[frame_] >= 0) put(0, rows_.energy[frame_]);
    for (std::int64_t v = 0; v < 6 && with_strain_; ++v) put(strain_row + v, rows_.strain[frame_] + v);
    for (std::int64_t atom = 0; atom < n_atoms_; ++atom) {
      const std::int64_t to = rows_.force[first_atom_ + atom];
      for (std::int64_t axis = 0; axis < 3 && to >= 0; ++axis) put(force_row(atom) + axis, to + axis);
    }
  }

  const DescriptorColumns& owner_;
  Structures structures_;
  DesignRows rows_;
  std::int64_t frame_ = -1, first_atom_ = 0, n_atoms_ = 0, width_ = 0;
  const std::int32_t* species_ = nullptr;
  bool with_strain_ = false, with_gradients_ = false;
  std::unique_ptr<const NeighborSearch> search_;
  PairBuffer pairs_;
  std::vector<std::int64_t> pair_offsets_, members_, row_of_;
  std::vector<CenterFeatures> centers_;
  ExpansionScratch<double> expansion_;
  CenterFeatures::RowScratch rows_scratch_;
  double norms_[centers_at_once] = {};
  AlignedVector<double> features_, touched_features_, kernel_, power_, scale_, slope_, gradients_, products_, buffer_,
      gemm_;
  std::vector<double> along_, D_;
};

std::vector<DescriptorColumns::Item> DescriptorColumns::items(const Structures& structures) const {
  std::vector<Item> items;
  for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
    for (std::size_t s = 0; s < species_.size(); ++s) {
      const std::int64_t n = species_[s]->n_points, most = linear_ ? block_features : block_columns;
      for (std::int64_t first = 0; first < n; first += most) {
        items.push_back({frame, static_cast<std::int32_t>(s), first, std::min(n, first + most)});
      }
    }
  }
  return items;
}

void DescriptorColumns::write(const Structures& structures, const DesignRows& rows) const {
  const std::vector<Item> all = items(structures);
  parallel_for(static_cast<std::int64_t>(all.size()), [&] {
    return [&, work = std::make_shared<FrameWork>(*this, structures, rows)](std::int64_t index) {
      (*work)(all[static_cast<std::size_t>(index)]);
    };
  });
}

}  // namespace castile
