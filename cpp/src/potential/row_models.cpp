#include "potential/row_models.hpp"

#include <algorithm>
#include <cstddef>

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

double dot(std::int64_t n, const double* a, const double* b) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

class KernelModel final : public RowModel {
 public:
  KernelModel(double zeta, std::int64_t n_points, std::int64_t n_features, const double* points, const double* weights)
      : zeta_(zeta),
        points_(n_points, n_features, points),
        columns_(n_features, n_points, transposed(n_points, n_features, points).data()),
        weights_(weights, weights + n_points) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, Workspace& w) const override {
    const std::int64_t m = points_.n_rows();
    w.kernel.resize(static_cast<std::size_t>(n * m));
    w.slopes.resize(w.kernel.size());
    w.power.resize(static_cast<std::size_t>(m));
    points_.multiply(n, rows, w.kernel.data(), w.gemm);
    for (std::int64_t r = 0; r < n; ++r) {
      const double* k = w.kernel.data() + r * m;
      raise(m, zeta_ - 1.0, k, w.power.data());
      energies[r] = kernels().weighted_powers(m, zeta_, weights_.data(), k, w.power.data(), w.slopes.data() + r * m);
    }
    if (gradients != nullptr) columns_.multiply(n, w.slopes.data(), gradients, w.gemm);
  }

 private:
  double zeta_;
  PackedRows points_;   ///< (n_points, n_features)
  PackedRows columns_;  ///< the transpose
  std::vector<double> weights_;
};

/// rowᵀ A row, A symmetric
class QuadraticModel final : public RowModel {
 public:
  QuadraticModel(std::int64_t n_features, const double* A) : form_(n_features, n_features, A) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, Workspace& w) const override {
    const std::int64_t size = form_.n_rows();
    w.kernel.resize(static_cast<std::size_t>(n * size));
    double* products = gradients != nullptr ? gradients : w.kernel.data();
    form_.multiply(n, rows, products, w.gemm);
    for (std::int64_t r = 0; r < n; ++r) energies[r] = dot(size, rows + r * size, products + r * size);
    if (gradients == nullptr) return;
    for (std::int64_t k = 0; k < n * size; ++k) gradients[k] *= 2.0;
  }

 private:
  PackedRows form_;
};

class LinearModel final : public RowModel {
 public:
  explicit LinearModel(std::vector<double> weights) : weights_(std::move(weights)) {}

  void evaluate(std::int64_t n, const double* rows, double* energies, double* gradients, Workspace&) const override {
    const auto size = static_cast<std::int64_t>(weights_.size());
    for (std::int64_t r = 0; r < n; ++r) {
      energies[r] = dot(size, rows + r * size, weights_.data());
      if (gradients != nullptr) std::copy(weights_.begin(), weights_.end(), gradients + r * size);
    }
  }

 private:
  std::vector<double> weights_;
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

std::unique_ptr<RowModel> make_row_model(double zeta, std::int64_t n_points, std::int64_t n_features,
                                         const double* points, const double* weights) {
  if (zeta == 1.0) return std::make_unique<LinearModel>(weighted_sum(n_points, n_features, points, weights));
  if (zeta == 2.0 && n_features < 2 * n_points) {
    return std::make_unique<QuadraticModel>(n_features, weighted_form(n_points, n_features, points, weights).data());
  }
  return std::make_unique<KernelModel>(zeta, n_points, n_features, points, weights);
}

}  // namespace castile
