#include "potential/row_models.hpp"

#include <algorithm>
#include <cstddef>
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

std::vector<double> transposed(std::int64_t n_rows, std::int64_t n_columns, const double* matrix) {
  std::vector<double> result(static_cast<std::size_t>(n_rows * n_columns));
  for (std::int64_t r = 0; r < n_rows; ++r) {
    for (std::int64_t k = 0; k < n_columns; ++k) {
      result[static_cast<std::size_t>(k * n_rows + r)] = matrix[r * n_columns + k];
    }
  }
  return result;
}

class KernelModel final : public RowModel {
 public:
  KernelModel(double zeta, std::int64_t n_features, const SparsePoints& points)
      : zeta_(zeta),
        points_(points.n_points, n_features, points.rows),
        columns_(n_features, points.n_points, transposed(points.n_points, n_features, points.rows).data()),
        weights_(points.weights, points.weights + points.n_points),
        members_(points.n_members, points.n_points, points.members) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, double* members,
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
      for (std::int64_t point = 0; point < m && members != nullptr; ++point) {
        k[point] *= w.power[static_cast<std::size_t>(point)];
      }
    }
    if (gradients != nullptr) columns_.multiply(n, w.slopes.data(), gradients, w.gemm);
    if (members != nullptr) members_.multiply(n, w.kernel.data(), members, w.gemm);
  }

 private:
  double zeta_;
  PackedRows points_;   ///< (n_points, n_features)
  PackedRows columns_;  ///< the transpose
  std::vector<double> weights_;
  PackedRows members_;  ///< (n_members, n_points)
};

/// rowᵀ A row, A symmetric
class QuadraticModel final : public RowModel {
 public:
  /// `members` evaluates the members of a committee, which have no form of their own; or null.
  QuadraticModel(std::int64_t n_features, const double* A, std::unique_ptr<const RowModel> members)
      : form_(n_features, n_features, A), members_(std::move(members)) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, double* members,
                Workspace& w) const override {
    const std::int64_t size = form_.n_rows();
    if (members != nullptr) members_->evaluate(n, rows, energies, nullptr, members, w);
    w.values.resize(static_cast<std::size_t>(n * size));
    double* products = gradients != nullptr ? gradients : w.values.data();
    form_.multiply(n, rows, products, w.gemm);
    for (std::int64_t r = 0; r < n; ++r) energies[r] = dot_of_rows(size, rows + r * size, products + r * size);
    if (gradients == nullptr) return;
    for (std::int64_t k = 0; k < n * size; ++k) gradients[k] *= 2.0;
  }

 private:
  PackedRows form_;
  std::unique_ptr<const RowModel> members_;
};

class LinearModel final : public RowModel {
 public:
  /// `members` (n_members, n_features)
  LinearModel(std::vector<double> weights, std::int64_t n_members, const double* members)
      : weights_(std::move(weights)), members_(n_members, static_cast<std::int64_t>(weights_.size()), members) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, double* members,
                Workspace& w) const override {
    const auto size = static_cast<std::int64_t>(weights_.size());
    for (std::int64_t r = 0; r < n; ++r) {
      energies[r] = dot_of_rows(size, rows + r * size, weights_.data());
      if (gradients != nullptr) std::copy(weights_.begin(), weights_.end(), gradients + r * size);
    }
    if (members != nullptr) members_.multiply(n, rows, members, w.gemm);
  }

 private:
  std::vector<double> weights_;
  PackedRows members_;
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
    std::unique_ptr<const RowModel> members;
    if (points.n_members > 0) members = std::make_unique<KernelModel>(zeta, n_features, points);
    return std::make_unique<QuadraticModel>(
        n_features, weighted_form(n_points, n_features, points.rows, points.weights).data(), std::move(members));
  }
  return std::make_unique<KernelModel>(zeta, n_features, points);
}

}  // namespace castile
