#include "potential/row_models.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "descriptors/unit_rows.hpp"
#include "kernels/powers.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace {

const simd::Kernels<double>& kernels() { return simd::kernels<double>(); }

/// Rows packed as the right factor of products.
class PackedRows {
 public:
  PackedRows(std::int64_t n_rows, std::int64_t length, const double* rows)
      : n_rows_(n_rows),
        length_(length),
        packed_(static_cast<std::size_t>(kernels().gemm_packed_size(n_rows, length))) {
    kernels().gemm_pack_right(n_rows, length, rows, length, packed_.data());
  }

  std::int64_t n_rows() const { return n_rows_; }

  /// out (n, n_rows) = left (n, length) rowsᵀ
  void multiply(std::int64_t n, const double* left, double* out, AlignedVector<double>& workspace) const {
    workspace.resize(static_cast<std::size_t>(kernels().gemm_nt_workspace(n, 0)));
    kernels().gemm_packed(n, n_rows_, length_, left, length_, packed_.data(), 0, n_rows_, out, n_rows_,
                          workspace.data());
  }

 private:
  std::int64_t n_rows_, length_;
  AlignedVector<double> packed_;
};

void transpose(std::int64_t n_rows, std::int64_t n_columns, const double* matrix, double* result) {
  for (std::int64_t r = 0; r < n_rows; ++r) {
    for (std::int64_t k = 0; k < n_columns; ++k) result[k * n_rows + r] = matrix[r * n_columns + k];
  }
}

std::vector<double> transposed(std::int64_t n_rows, std::int64_t n_columns, const double* matrix) {
  std::vector<double> result(static_cast<std::size_t>(n_rows * n_columns));
  transpose(n_rows, n_columns, matrix, result.data());
  return result;
}

/// Energies of the members of a committee that are linear in something each row has: adds them to the segments'.
class MemberRows {
 public:
  /// `weights` (n_members, length)
  MemberRows(std::int64_t n_members, std::int64_t length, const double* weights) : rows_(n_members, length, weights) {}

  void add(std::int64_t n, const double* values, const SegmentSums& sums, RowModel::Workspace& w) const {
    w.members.resize(static_cast<std::size_t>(n * rows_.n_rows()));
    rows_.multiply(n, values, w.members.data(), w.gemm);
    for (std::int64_t r = 0; r < n; ++r) {
      double* sum = sums.values + sums.segments[r] * sums.n_members;
      for (std::int64_t k = 0; k < rows_.n_rows(); ++k) {
        sum[k] += w.members[static_cast<std::size_t>(r * rows_.n_rows() + k)];
      }
    }
  }

 private:
  PackedRows rows_;
};

class KernelModel final : public RowModel {
 public:
  KernelModel(double zeta, std::int64_t n_features, const SparsePoints& points)
      : zeta_(zeta),
        points_(points.n_points, n_features, points.rows),
        columns_(n_features, points.n_points, transposed(points.n_points, n_features, points.rows).data()),
        weights_(points.weights, points.weights + points.n_points),
        members_(points.n_members, points.n_points, points.members) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, const SegmentSums& members,
                Workspace& w) const override {
    const std::int64_t m = points_.n_rows();
    w.kernel.resize(static_cast<std::size_t>(n * m));
    w.slopes.resize(w.kernel.size());
    w.power.resize(static_cast<std::size_t>(m));
    points_.multiply(n, rows, w.kernel.data(), w.gemm);
    for (std::int64_t r = 0; r < n; ++r) {
      double* k = w.kernel.data() + r * m;
      raise(m, zeta_ - 1.0, k, w.power.data());
      energies[r] = kernels().weighted_powers(m, zeta_, weights_.data(), k, w.power.data(), w.slopes.data() + r * m);
      for (std::int64_t point = 0; point < m && members.values != nullptr; ++point) {
        k[point] *= w.power[static_cast<std::size_t>(point)];
      }
    }
    if (gradients != nullptr) columns_.multiply(n, w.slopes.data(), gradients, w.gemm);
    if (members.values != nullptr) members_.add(n, w.kernel.data(), members, w);
  }

 private:
  double zeta_;
  PackedRows points_;   ///< (n_points, n_features)
  PackedRows columns_;  ///< the transpose
  std::vector<double> weights_;
  MemberRows members_;
};

/// Symmetric forms A of a committee: Σ rowᵀ A row over the rows of a segment is the scalar product of A with the rows'
/// second moments Σ row rowᵀ, which all members share. Both are cut into panels of rows of the lower triangle.
class MemberForms {
 public:
  /// `form(k)` returns the form of member k, (n_features, n_features).
  template <typename Form>
  MemberForms(std::int64_t n_features, std::int64_t n_members, const Form& form) : size_(n_features) {
    for (std::int64_t first = 0; first < size_; first += panel_rows) panels_.emplace_back();
    for (std::int64_t k = 0; k < n_members; ++k) {
      const auto A = form(k);
      for (std::size_t panel = 0; panel < panels_.size(); ++panel) {
        append_panel(static_cast<std::int64_t>(panel) * panel_rows, A.data(), panels_[panel]);
      }
    }
  }

  void add(std::int64_t n, const double* rows, const SegmentSums& sums, RowModel::Workspace& w) const {
    w.rows.insert(w.rows.end(), rows, rows + n * size_);
    for (std::int64_t r = 0; r < n; ++r) {
      if (w.runs.empty() || w.runs.back().segment != sums.segments[r]) w.runs.push_back({sums.segments[r], 0});
      ++w.runs.back().n_rows;
    }
  }

  void finish(const SegmentSums& sums, RowModel::Workspace& w) const {
    const std::int64_t n_rows = static_cast<std::int64_t>(w.rows.size()) / size_;
    w.columns.resize(w.rows.size());
    transpose(n_rows, size_, w.rows.data(), w.columns.data());
    for (std::size_t panel = 0; panel < panels_.size(); ++panel) {
      const double* column = w.columns.data();
      for (std::size_t first = 0; first < w.runs.size(); first += runs_at_once) {
        const std::size_t last = std::min(first + runs_at_once, w.runs.size());
        column = add_panel(panel, n_rows, column, first, last, sums, w);
      }
    }
    w.rows.clear();
    w.runs.clear();
  }

 private:
  static constexpr std::int64_t panel_rows = 48;
  static constexpr std::size_t runs_at_once = 8;

  std::int64_t panel_end(std::int64_t first) const { return std::min(first + panel_rows, size_); }

  void append_panel(std::int64_t first, const double* A, AlignedVector<double>& panel) const {
    for (std::int64_t i = first; i < panel_end(first); ++i) {
      for (std::int64_t j = 0; j < panel_end(first); ++j) {
        // Of the two numbers of a pair, the lower one stands for both.
        panel.push_back((j < i ? 2.0 : (j == i ? 1.0 : 0.0)) * A[i * size_ + j]);
      }
    }
  }

  /// Of runs [first, last), whose rows begin at `column`; returns where the next ones do.
  const double* add_panel(std::size_t panel, std::int64_t stride, const double* column, std::size_t first,
                          std::size_t last, const SegmentSums& sums, RowModel::Workspace& w) const {
    const std::int64_t top = static_cast<std::int64_t>(panel) * panel_rows;
    const std::int64_t height = panel_end(top) - top, width = panel_end(top);
    const auto n_runs = static_cast<std::int64_t>(last - first);
    w.moments.resize(static_cast<std::size_t>(n_runs * height * width));
    double* moments = w.moments.data();
    for (std::size_t run = first; run < last; ++run, moments += height * width) {
      const std::int64_t n = w.runs[run].n_rows;
      w.gemm.resize(static_cast<std::size_t>(kernels().gemm_nt_workspace(height, width)));
      kernels().gemm_nt(height, width, n, column + top * stride, stride, nullptr, column, stride, nullptr, moments,
                        width, w.gemm.data());
      column += n;
    }
    w.members.resize(static_cast<std::size_t>(n_runs * sums.n_members));
    kernels().dot_rows(n_runs, sums.n_members, height * width, w.moments.data(), panels_[panel].data(),
                       w.members.data());
    const double* from = w.members.data();
    for (std::size_t run = first; run < last; ++run) {
      double* sum = sums.values + w.runs[run].segment * sums.n_members;
      for (int k = 0; k < sums.n_members; ++k) sum[k] += *from++;
    }
    return column;
  }

  std::int64_t size_;
  std::vector<AlignedVector<double>> panels_;  ///< of all members, (n_members, height * width)
};

/// rowᵀ A row, A symmetric
class QuadraticModel final : public RowModel {
 public:
  /// Members have forms, or are evaluated by the points; or there are none.
  QuadraticModel(std::int64_t n_features, const double* A, std::optional<MemberForms> forms,
                 std::unique_ptr<const RowModel> points)
      : form_(n_features, n_features, A), forms_(std::move(forms)), points_(std::move(points)) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, const SegmentSums& members,
                Workspace& w) const override {
    const std::int64_t size = form_.n_rows();
    if (members.values != nullptr && forms_) forms_->add(n, rows, members, w);
    if (members.values != nullptr && points_ != nullptr) points_->evaluate(n, rows, energies, nullptr, members, w);
    w.values.resize(static_cast<std::size_t>(n * size));
    double* products = gradients != nullptr ? gradients : w.values.data();
    form_.multiply(n, rows, products, w.gemm);
    for (std::int64_t r = 0; r < n; ++r) energies[r] = dot_of_rows(size, rows + r * size, products + r * size);
    if (gradients == nullptr) return;
    for (std::int64_t k = 0; k < n * size; ++k) gradients[k] *= 2.0;
  }

  void finish(const SegmentSums& members, Workspace& w) const override {
    if (forms_) forms_->finish(members, w);
  }

 private:
  PackedRows form_;
  std::optional<MemberForms> forms_;
  std::unique_ptr<const RowModel> points_;
};

/// Whether members of a quadratic model are cheaper by their forms than by the points, for few rows in a segment, and
/// the forms are not too large.
bool forms_pay(std::int64_t n_features, std::int64_t n_points, std::int64_t n_members) {
  constexpr double rows_in_segment = 8.0, most_bytes = 128 << 20;
  const auto size = static_cast<double>(n_features), points = static_cast<double>(n_points);
  const auto members = static_cast<double>(n_members);
  const double half = 0.5 * size * size;
  return half + members * half / rows_in_segment < points * (size + members) && 8.0 * members * half < most_bytes;
}

class LinearModel final : public RowModel {
 public:
  /// `members` (n_members, n_features)
  LinearModel(std::vector<double> weights, std::int64_t n_members, const double* members)
      : weights_(std::move(weights)), members_(n_members, static_cast<std::int64_t>(weights_.size()), members) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, const SegmentSums& members,
                Workspace& w) const override {
    const auto size = static_cast<std::int64_t>(weights_.size());
    for (std::int64_t r = 0; r < n; ++r) {
      energies[r] = dot_of_rows(size, rows + r * size, weights_.data());
      if (gradients != nullptr) std::copy(weights_.begin(), weights_.end(), gradients + r * size);
    }
    if (members.values != nullptr) members_.add(n, rows, members, w);
  }

 private:
  std::vector<double> weights_;
  MemberRows members_;
};

/// A model of a row's components along the rows of a matrix.
class ProjectedModel final : public RowModel {
 public:
  /// `projection` (n_components, n_features)
  ProjectedModel(std::int64_t n_components, std::int64_t n_features, const double* projection,
                 std::unique_ptr<const RowModel> model)
      : down_(n_components, n_features, projection),
        up_(n_features, n_components, transposed(n_components, n_features, projection).data()),
        model_(std::move(model)) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, const SegmentSums& members,
                Workspace& w) const override {
    w.components.resize(static_cast<std::size_t>(n * down_.n_rows()));
    down_.multiply(n, rows, w.components.data(), w.gemm);
    if (gradients != nullptr) w.by_components.resize(w.components.size());
    model_->evaluate(n, w.components.data(), energies, gradients != nullptr ? w.by_components.data() : nullptr, members,
                     w);
    if (gradients != nullptr) up_.multiply(n, w.by_components.data(), gradients, w.gemm);
  }

  void finish(const SegmentSums& members, Workspace& w) const override { model_->finish(members, w); }

 private:
  PackedRows down_, up_;
  std::unique_ptr<const RowModel> model_;
};

/// Σ_m weights[m] points[m]
std::vector<double> weighted_sum(std::int64_t n_points, std::int64_t n_features, const double* points,
                                 const double* weights) {
  std::vector<double> sum(static_cast<std::size_t>(n_features), 0.0);
  for (std::int64_t m = 0; m < n_points; ++m) {
    for (std::int64_t k = 0; k < n_features; ++k) {
      sum[static_cast<std::size_t>(k)] += weights[m] * points[m * n_features + k];
    }
  }
  return sum;
}

/// Σ_m weights[m] points[m] points[m]ᵀ
AlignedVector<double> weighted_form(std::int64_t n_points, std::int64_t n_features, const double* points,
                                    const double* weights) {
  const std::vector<double> columns = transposed(n_points, n_features, points);
  std::vector<double> weighted = columns;
  for (std::int64_t k = 0; k < n_features; ++k) {
    for (std::int64_t m = 0; m < n_points; ++m) weighted[static_cast<std::size_t>(k * n_points + m)] *= weights[m];
  }
  AlignedVector<double> form(static_cast<std::size_t>(n_features * n_features));
  const PackedRows right(n_features, n_points, columns.data());
  AlignedVector<double> workspace;
  for (std::int64_t first = 0; first < n_features; first += rows_at_once) {
    const std::int64_t n = std::min(rows_at_once, n_features - first);
    right.multiply(n, weighted.data() + first * n_points, form.data() + first * n_features, workspace);
  }
  // Symmetric to the last bit, so that products with rows and with columns are the same.
  for (std::int64_t i = 0; i < n_features; ++i) {
    for (std::int64_t j = 0; j < i; ++j) {
      double& lower = form[static_cast<std::size_t>(i * n_features + j)];
      double& upper = form[static_cast<std::size_t>(j * n_features + i)];
      lower = upper = 0.5 * (lower + upper);
    }
  }
  return form;
}

}  // namespace

std::unique_ptr<RowModel> make_row_model(double zeta, std::int64_t n_features, const SparsePoints& points) {
  if (points.projection != nullptr) {
    SparsePoints components = points;
    components.projection = nullptr;
    return std::make_unique<ProjectedModel>(points.n_components, n_features, points.projection,
                                            make_row_model(zeta, points.n_components, components));
  }
  const std::int64_t n_points = points.n_points;
  if (zeta == 1.0) {
    std::vector<double> members;
    for (std::int64_t k = 0; k < points.n_members; ++k) {
      const auto one = weighted_sum(n_points, n_features, points.rows, points.members + k * n_points);
      members.insert(members.end(), one.begin(), one.end());
    }
    return std::make_unique<LinearModel>(weighted_sum(n_points, n_features, points.rows, points.weights),
                                         points.n_members, members.data());
  }
  if (zeta == 2.0 && n_features < 2 * n_points) {
    const auto form_of = [&](const double* weights) {
      return weighted_form(n_points, n_features, points.rows, weights);
    };
    std::optional<MemberForms> forms;
    std::unique_ptr<const RowModel> by_points;
    if (points.n_members > 0 && forms_pay(n_features, n_points, points.n_members)) {
      forms.emplace(n_features, points.n_members,
                    [&](std::int64_t k) { return form_of(points.members + k * n_points); });
    } else if (points.n_members > 0) {
      by_points = std::make_unique<KernelModel>(zeta, n_features, points);
    }
    return std::make_unique<QuadraticModel>(n_features, form_of(points.weights).data(), std::move(forms),
                                            std::move(by_points));
  }
  return std::make_unique<KernelModel>(zeta, n_features, points);
}

}  // namespace castile
