// Explicit Jacobians in blocks (row, moving atom). A neighbor touches the columns of its species only; the center
// itself, an atom of an averaged row, and any atom of a normalised row can touch every column.
#include <array>
#include <map>
#include <optional>

#include "descriptors/density_batch.hpp"

namespace castile {
namespace {

constexpr std::array<std::array<std::size_t, 2>, 6> voigt_pairs = {
    {{{0, 0}}, {{1, 1}}, {{2, 2}}, {{1, 2}}, {{0, 2}}, {{0, 1}}}};

std::vector<std::int64_t> list_columns(const std::vector<ColumnRange>& ranges) {
  std::vector<std::int64_t> columns;
  for (const ColumnRange range : ranges) {
    for (std::int64_t column = range.first; column < range.first + range.size; ++column) columns.push_back(column);
  }
  return columns;
}

/// Index of the group of atoms of a species whose blocks have all columns; narrow groups come first.
std::int64_t wide_group(std::int32_t species, std::int64_t n_species) { return n_species + species; }

/// Writes six components per column, (6, n), as a symmetric matrix with the columns last, (3, 3, n_features).
template <typename T>
void add_strain(const std::vector<T>& voigt, const std::vector<std::int64_t>& columns, std::int64_t n_features,
                T* strain) {
  const std::size_t n = columns.size();
  for (std::size_t v = 0; v < 6; ++v) {
    const auto [a, b] = voigt_pairs[v];
    T* upper = strain + static_cast<std::int64_t>(3 * a + b) * n_features;
    T* lower = strain + static_cast<std::int64_t>(3 * b + a) * n_features;
    for (std::size_t k = 0; k < n; ++k) {
      upper[columns[k]] += voigt[v * n + k];
      if (a != b) lower[columns[k]] += voigt[v * n + k];
    }
  }
}

/// voigt (6, n) += sym(D ⊗ gradient), gradient (3, n).
template <typename T>
void accumulate_strain(const T* gradient, const std::array<double, 3>& D, std::size_t n, std::vector<T>& voigt) {
  for (std::size_t v = 0; v < 6; ++v) {
    const auto [a, b] = voigt_pairs[v];
    const auto left = static_cast<T>(0.5 * D[a]);
    const auto right = static_cast<T>(0.5 * D[b]);
    const T* ga = gradient + a * n;
    const T* gb = gradient + b * n;
    T* out = voigt.data() + v * n;
    for (std::size_t k = 0; k < n; ++k) out[k] += left * gb[k] + right * ga[k];
  }
}

}  // namespace

/// Fills the rows of the Jacobian; one instance serves all threads.
template <typename T>
class DensityDescriptor<T>::JacobianRows {
 public:
  JacobianRows(const DensityDescriptor& descriptor, const Batch& batch, const JacobianLayout& layout,
               const std::vector<T*>& values, T* strain)
      : descriptor_(descriptor), batch_(batch), layout_(layout), values_(values), strain_(strain) {
    const auto n_species = static_cast<std::size_t>(descriptor.parameters_.n_species);
    columns_.resize(n_species);
    for (const JacobianGroup& group : layout.groups) {  // of species that are there, each once
      auto& columns = columns_[static_cast<std::size_t>(group.species)];
      if (group.n_blocks() > 0 && columns.empty()) {
        columns = list_columns(descriptor.head_->columns_of_neighbor(group.species));
      }
    }
  }

  void fill() const {
    if (descriptor_.parameters_.average == Average::off) {
      batch_.for_each_center(descriptor_, [this](Worker& worker, const CenterBlock& block, std::int64_t center) {
        local_row(worker, block.frame, center);
      });
    } else {
      for (std::int64_t frame = 0; frame < batch_.n_frames(); ++frame) {
        if (batch_.n_centers(frame) == 0) clear_strain(strain_of(frame));  // a row that nothing changes
      }
      batch_.for_each_frame(descriptor_, [this](Worker& worker, std::int64_t frame) {
        descriptor_.parameters_.average == Average::outer ? outer_row(worker, frame) : inner_row(worker, frame);
      });
    }
  }

 private:
  /// The blocks of one row by moving atom.
  struct Block {
    T* values;
    bool wide;
  };
  using Blocks = std::map<std::int64_t, Block>;

  std::int64_t n_features() const { return descriptor_.n_features(); }
  T* strain_of(std::int64_t row) const { return strain_ == nullptr ? nullptr : strain_ + 9 * row * n_features(); }

  Blocks blocks_of_row(std::int64_t row) const {
    Blocks blocks;
    const std::size_t n_groups = layout_.groups.size();
    for (std::size_t g = 0; g < n_groups; ++g) {
      const JacobianGroup& group = layout_.groups[g];
      const std::int64_t width = group.n_columns;
      auto index = layout_.first_block[static_cast<std::size_t>(row) * n_groups + g];
      for (; index < group.n_blocks() && group.row[static_cast<std::size_t>(index)] == row; ++index) {
        T* values = values_[g] + index * 3 * width;
        std::fill_n(values, 3 * width, T(0));
        blocks[group.atom[static_cast<std::size_t>(index)]] = {values, group.all_columns};
      }
    }
    return blocks;
  }

  /// block += factor * gradient, gradient (3, columns of a species).
  void add(const Block& block, const std::vector<std::int64_t>& columns, const T* gradient, T factor) const {
    const std::size_t n = columns.size();
    if (!block.wide || static_cast<std::int64_t>(n) == n_features()) {
      for (std::size_t k = 0; k < 3 * n; ++k) block.values[k] += factor * gradient[k];
      return;
    }
    for (std::size_t axis = 0; axis < 3; ++axis) {
      T* out = block.values + static_cast<std::int64_t>(axis) * n_features();
      for (std::size_t k = 0; k < n; ++k) out[columns[k]] += factor * gradient[axis * n + k];
    }
  }

  /// Adds one center's derivatives, times a factor, to the blocks and the strain of a row.
  void add_center(Worker& worker, std::int64_t center, T factor, const Blocks& blocks, T* strain) const {
    const std::int64_t own_atom = batch_.atom(center);
    std::vector<T> gradient, own, voigt;
    for (int channel = 0; channel < worker.c.n_channels(); ++channel) {
      const auto& columns = columns_[static_cast<std::size_t>(worker.c.species[static_cast<std::size_t>(channel)])];
      const std::size_t n = columns.size();
      gradient.resize(3 * n);
      own.assign(3 * n, T(0));
      voigt.assign(strain == nullptr ? 0 : 6 * n, T(0));
      descriptor_.expansion_.for_each_pair(
          worker.environment, channel, worker.scratch, [&](std::int64_t pair, const PairTerms<T>& terms) {
            const auto index = static_cast<std::size_t>(pair);
            descriptor_.head_->pair_jacobian(worker.c, terms, channel, worker.head_scratch, gradient.data());
            if (strain != nullptr) accumulate_strain(gradient.data(), worker.pairs.D[index], n, voigt);
            // A self image moves with the center: nothing but strain is left of it.
            if (worker.pairs.j[index] == own_atom) return;
            add(blocks.at(worker.pairs.j[index]), columns, gradient.data(), factor);
            for (std::size_t k = 0; k < 3 * n; ++k) own[k] -= gradient[k];
          });
      add(blocks.at(own_atom), columns, own.data(), factor);
      if (strain != nullptr) {
        for (T& value : voigt) value *= factor;
        add_strain(voigt, columns, n_features(), strain);
      }
    }
  }

  /// Turns the derivatives of a raw row into those of the normalised one.
  void project(const std::vector<T>& unit_row, double length, const Blocks& blocks, T* strain) const {
    for (const auto& entry : blocks) {
      for (int axis = 0; axis < 3; ++axis) {
        project_tangent(unit_row.data(), length, n_features(), entry.second.values + axis * n_features());
      }
    }
    for (int ab = 0; strain != nullptr && ab < 9; ++ab) {
      project_tangent(unit_row.data(), length, n_features(), strain + ab * n_features());
    }
  }

  void clear_strain(T* strain) const {
    if (strain != nullptr) std::fill_n(strain, 9 * n_features(), T(0));
  }

  void local_row(Worker& worker, std::int64_t frame, std::int64_t center) const {
    T* strain = strain_of(center);
    clear_strain(strain);
    const Blocks blocks = blocks_of_row(center);
    worker.expand(batch_, frame, center);
    add_center(worker, center, T(1), blocks, strain);
    if (!descriptor_.parameters_.normalize) return;
    const double length = worker.unit_row();
    project(worker.row, length, blocks, strain);
  }

  void outer_row(Worker& worker, std::int64_t frame) const {
    T* strain = strain_of(frame);
    clear_strain(strain);
    const Blocks blocks = blocks_of_row(frame);
    const std::int64_t first = batch_.first_center(frame);
    const T factor = T(1) / static_cast<T>(batch_.n_centers(frame));
    std::vector<T> mean(static_cast<std::size_t>(n_features()), T(0));
    worker.row.resize(mean.size());
    for (std::int64_t center = first; center < first + batch_.n_centers(frame); ++center) {
      interruption_point();
      worker.expand(batch_, frame, center);
      add_center(worker, center, factor, blocks, strain);
      if (!descriptor_.parameters_.normalize) continue;
      descriptor_.head_->forward(worker.c, worker.row.data());
      for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += factor * worker.row[k];
    }
    if (!descriptor_.parameters_.normalize) return;
    const double length = normalize_row(mean.data(), n_features());
    project(mean, length, blocks, strain);
  }

  /// The mean coefficients' derivatives are gathered first: they are no longer of rank two.
  void inner_row(Worker& worker, std::int64_t frame) const {
    T* strain = strain_of(frame);
    clear_strain(strain);
    const Blocks blocks = blocks_of_row(frame);
    const std::int64_t first = batch_.first_center(frame);
    const T factor = T(1) / static_cast<T>(batch_.n_centers(frame));
    Coefficients<T> mean = descriptor_.all_channels();
    std::map<std::int64_t, std::array<std::vector<T>, 3>> mean_dot;
    std::array<std::vector<T>, 6> strain_dot;
    for (const auto& entry : blocks) {
      for (auto& direction : mean_dot[entry.first]) direction.assign(mean.values.size(), T(0));
    }
    for (auto& component : strain_dot) component.assign(mean.values.size(), T(0));
    std::array<std::vector<T>, 3> gradient;
    for (std::int64_t center = first; center < first + batch_.n_centers(frame); ++center) {
      interruption_point();
      worker.expand(batch_, frame, center);
      add_to_all_channels(worker.c, worker.c.values, mean, mean.values.data());
      for (int channel = 0; channel < worker.c.n_channels(); ++channel) {
        const std::int32_t species = worker.c.species[static_cast<std::size_t>(channel)];
        descriptor_.expansion_.for_each_pair(
            worker.environment, channel, worker.scratch, [&](std::int64_t pair, const PairTerms<T>& terms) {
              const auto index = static_cast<std::size_t>(pair);
              const auto& D = worker.pairs.D[index];
              coefficient_gradient(mean, terms, gradient);
              if (strain != nullptr) {
                for (std::size_t v = 0; v < 6; ++v) {
                  const auto [a, b] = voigt_pairs[v];
                  add_to_channel(gradient[b], mean, species, static_cast<T>(0.5 * D[a]) * factor, strain_dot[v]);
                  add_to_channel(gradient[a], mean, species, static_cast<T>(0.5 * D[b]) * factor, strain_dot[v]);
                }
              }
              if (worker.pairs.j[index] == batch_.atom(center)) return;
              for (std::size_t axis = 0; axis < 3; ++axis) {
                add_to_channel(gradient[axis], mean, species, factor, mean_dot.at(worker.pairs.j[index])[axis]);
                add_to_channel(gradient[axis], mean, species, -factor, mean_dot.at(batch_.atom(center))[axis]);
              }
            });
      }
    }
    for (T& value : mean.values) value *= factor;
    const auto& head = *descriptor_.head_;
    for (const auto& [atom, block] : blocks) {
      for (std::size_t axis = 0; axis < 3; ++axis) {
        head.jvp(mean, mean_dot.at(atom)[axis], block.values + static_cast<std::int64_t>(axis) * n_features());
      }
    }
    for (std::size_t v = 0; strain != nullptr && v < 6; ++v) {
      const auto [a, b] = voigt_pairs[v];
      T* upper = strain + static_cast<std::int64_t>(3 * a + b) * n_features();
      head.jvp(mean, strain_dot[v], upper);
      if (a != b) std::copy_n(upper, n_features(), strain + static_cast<std::int64_t>(3 * b + a) * n_features());
    }
    if (!descriptor_.parameters_.normalize) return;
    worker.row.resize(static_cast<std::size_t>(n_features()));
    head.forward(mean, worker.row.data());
    const double length = normalize_row(worker.row.data(), n_features());
    project(worker.row, length, blocks, strain);
  }

  /// dc/dD of one pair in its channel, [axis][lm][n].
  static void coefficient_gradient(const Coefficients<T>& layout, const PairTerms<T>& terms,
                                   std::array<std::vector<T>, 3>& gradient) {
    const int n_padded = layout.n_padded;
    const int n_lm = (layout.l_max + 1) * (layout.l_max + 1);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      gradient[axis].resize(static_cast<std::size_t>(n_lm * n_padded));
      const T* h = terms.h + static_cast<std::int64_t>(axis + 1) * n_lm;
      T* out = gradient[axis].data();
      for (int l = 0; l <= layout.l_max; ++l) {
        const T* R = terms.R + l * n_padded;
        const T* dR = terms.dR + l * n_padded;
        for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
          for (int n = 0; n < n_padded; ++n) *out++ = dR[n] * terms.u[axis] * terms.h[lm] + R[n] * h[lm];
        }
      }
    }
  }

  /// out (layout of all channels) += factor * gradient of one channel.
  static void add_to_channel(const std::vector<T>& gradient, const Coefficients<T>& layout, std::int32_t species,
                             T factor, std::vector<T>& out) {
    const auto n_padded = static_cast<std::size_t>(layout.n_padded);
    const std::size_t n_rows = gradient.size() / n_padded;
    for (std::size_t lm = 0; lm < n_rows; ++lm) {
      T* row =
          out.data() + lm * static_cast<std::size_t>(layout.stride()) + static_cast<std::size_t>(species) * n_padded;
      for (std::size_t n = 0; n < n_padded; ++n) row[n] += factor * gradient[lm * n_padded + n];
    }
  }

  const DensityDescriptor& descriptor_;
  const Batch& batch_;
  const JacobianLayout& layout_;
  const std::vector<T*>& values_;
  T* strain_;
  std::vector<std::vector<std::int64_t>> columns_;  ///< of each neighbor species
};

template <typename T>
JacobianLayout DensityDescriptor<T>::jacobian_layout(const Structures& structures, const Centers& centers) const {
  const Batch batch = make_batch(structures, centers);
  const auto n_species = static_cast<std::int64_t>(parameters_.n_species);
  const bool local = parameters_.average == Average::off;
  JacobianLayout layout;
  std::vector<bool> narrow;  // of each species: neighbors have fewer columns than there are
  for (std::int32_t s = 0; s < n_species; ++s) {
    std::int64_t n_columns = 0;
    for (const ColumnRange range : head_->columns_of_neighbor(s)) n_columns += range.size;
    narrow.push_back(local && !parameters_.normalize && n_columns < n_features());
    layout.groups.push_back({s, false, {}, n_columns, {}, {}, {}});
  }
  for (std::int32_t s = 0; s < n_species; ++s) layout.groups.push_back({s, true, {}, n_features(), {}, {}, {}});

  // The atoms that each center moves with, found in parallel, then laid out in order.
  std::vector<std::vector<std::int32_t>> atoms(static_cast<std::size_t>(centers.offsets[structures.n_frames]));
  batch.for_each_center(*this, [&](Worker& worker, const CenterBlock& block, std::int64_t center) {
    worker.find_pairs(batch, block.frame, center);
    auto& moving = atoms[static_cast<std::size_t>(center)];
    moving = worker.pairs.j;
    moving.push_back(static_cast<std::int32_t>(batch.atom(center)));
    std::sort(moving.begin(), moving.end());
    moving.erase(std::unique(moving.begin(), moving.end()), moving.end());
  });

  const auto add_row = [&](std::int64_t row, std::int64_t frame, const std::vector<std::int32_t>& moving,
                           std::optional<std::int64_t> center_atom) {
    for (const JacobianGroup& group : layout.groups) layout.first_block.push_back(group.n_blocks());
    for (const std::int32_t atom : moving) {
      const std::int32_t species = batch.species(frame)[atom];
      const bool is_narrow = narrow[static_cast<std::size_t>(species)] && center_atom != atom;
      auto& group = layout.groups[static_cast<std::size_t>(is_narrow ? species : wide_group(species, n_species))];
      group.row.push_back(row);
      group.frame.push_back(frame);
      group.atom.push_back(atom);
    }
  };
  for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
    std::vector<std::int32_t> touched;
    for (std::int64_t center = centers.offsets[frame]; center < centers.offsets[frame + 1]; ++center) {
      const auto& moving = atoms[static_cast<std::size_t>(center)];
      if (local) {
        add_row(center, frame, moving, batch.atom(center));
      } else {
        touched.insert(touched.end(), moving.begin(), moving.end());
      }
    }
    if (local) continue;
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    add_row(frame, frame, touched, std::nullopt);
  }
  for (JacobianGroup& group : layout.groups) {
    if (group.n_blocks() > 0 && !group.all_columns) {
      group.columns = list_columns(head_->columns_of_neighbor(group.species));
    }
  }
  return layout;
}

template <typename T>
void DensityDescriptor<T>::jacobian(const Structures& structures, const Centers& centers, const JacobianLayout& layout,
                                    const std::vector<T*>& values, T* strain) const {
  const Batch batch = make_batch(structures, centers);
  JacobianRows(*this, batch, layout, values, strain).fill();
}

template JacobianLayout DensityDescriptor<double>::jacobian_layout(const Structures&, const Centers&) const;
template JacobianLayout DensityDescriptor<float>::jacobian_layout(const Structures&, const Centers&) const;
template void DensityDescriptor<double>::jacobian(const Structures&, const Centers&, const JacobianLayout&,
                                                  const std::vector<double*>&, double*) const;
template void DensityDescriptor<float>::jacobian(const Structures&, const Centers&, const JacobianLayout&,
                                                 const std::vector<float*>&, float*) const;

}  // namespace castile
