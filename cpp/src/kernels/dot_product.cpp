#include "castile/kernels/dot_product.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "castile/parallel.hpp"
#include "kernels/powers.hpp"
#include "simd/kernels.hpp"

namespace castile {
namespace {

constexpr std::int64_t largest_block = 384;  // two packed blocks of this many rows fit into a second-level cache
constexpr std::int64_t smallest_block = 96;

void check(const DotProductKernel& kernel, const FeatureRows& x, const FeatureRows& y) {
  if (!(kernel.zeta > 0.0) || !std::isfinite(kernel.zeta)) {
    throw std::invalid_argument("zeta must be a finite number above 0, got " + std::to_string(kernel.zeta));
  }
  if (x.n_features != y.n_features) {
    throw std::invalid_argument("X and Y must have the same number of columns, got " + std::to_string(x.n_features) +
                                " and " + std::to_string(y.n_features) + "; compute both with the same descriptor");
  }
}

void check(const RowGroups& groups, const FeatureRows& rows, const char* name) {
  bool fits = groups.offsets[0] == 0 && groups.offsets[groups.n_groups] == rows.n_rows;
  for (std::int64_t g = 0; g < groups.n_groups; ++g) fits = fits && groups.offsets[g] <= groups.offsets[g + 1];
  if (!fits) {
    throw std::invalid_argument(std::string(name) + " must rise from 0 to the number of rows, " +
                                std::to_string(rows.n_rows));
  }
}

bool same_rows(const FeatureRows& x, const FeatureRows& y) {
  return x.data == y.data && x.n_rows == y.n_rows && x.n_features == y.n_features;
}

std::int64_t n_blocks(std::int64_t n, std::int64_t block) { return (n + block - 1) / block; }

/// Smaller blocks for small matrices, so that every thread gets some, as long as they are worth a thread's
/// while.
std::int64_t block_length(std::int64_t n, std::int64_t m, std::int64_t n_features) {
  constexpr std::int64_t least_work = 1 << 20;  // multiplications: some 40 microseconds
  std::int64_t block = largest_block;
  const auto items = [&] { return n_blocks(n, block) * n_blocks(m, block); };
  while (block > smallest_block && items() < 4 * num_threads() && n * m * n_features > items() * least_work) {
    block /= 2;
  }
  return block;
}

/// Σ_q (factor row[q])², in eight chains.
double sum_of_squares(const double* row, std::int64_t n, double factor) {
  constexpr std::int64_t n_chains = 8;
  double sum[n_chains] = {};
  for (std::int64_t q = 0; q < n; q += n_chains) {
    const std::int64_t count = std::min(n_chains, n - q);
    for (std::int64_t e = 0; e < count; ++e) sum[e] += (factor * row[q + e]) * (factor * row[q + e]);
  }
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/// 1/|row|; 0 for a row without a direction. Rows whose square would over- or underflow are scaled first.
double inverse_norm(const double* row, std::int64_t n) {
  constexpr double tiny = 1e-280, huge = 1e280;
  const double square = sum_of_squares(row, n, 1.0);
  if (square > tiny && square < huge) return 1.0 / std::sqrt(square);
  double largest = 0.0;
  for (std::int64_t q = 0; q < n; ++q) largest = std::max(largest, std::abs(row[q]));
  if (largest < std::numeric_limits<double>::min()) return 0.0;
  return 1.0 / largest / std::sqrt(sum_of_squares(row, n, 1.0 / largest));
}

std::vector<double> inverse_norms(const FeatureRows& rows) {
  std::vector<double> inverse(static_cast<std::size_t>(rows.n_rows));
  parallel_for(n_blocks(rows.n_rows, largest_block), [&] {
    return [&](std::int64_t item) {
      const std::int64_t last = std::min(rows.n_rows, (item + 1) * largest_block);
      for (std::int64_t a = item * largest_block; a < last; ++a) {
        inverse[static_cast<std::size_t>(a)] = inverse_norm(rows.data + a * rows.n_features, rows.n_features);
      }
    };
  });
  return inverse;
}

/// Rows with the factors that normalize them.
class ScaledRows {
 public:
  ScaledRows(const FeatureRows& rows, bool normalize) : rows_(rows) {
    if (normalize) inverse_norms_ = inverse_norms(rows);
  }

  const double* row(std::int64_t a) const { return rows_.data + a * rows_.n_features; }
  const double* scale(std::int64_t a) const { return inverse_norms_.empty() ? nullptr : inverse_norms_.data() + a; }
  std::int64_t n_features() const { return rows_.n_features; }

 private:
  FeatureRows rows_;
  std::vector<double> inverse_norms_;
};

/// Evaluates blocks of the kernel matrix; one per thread, since it owns the packed operands.
class BlockKernel {
 public:
  BlockKernel(double zeta, std::int64_t block)
      : zeta_(zeta),
        kernels_(simd::kernels<double>()),
        workspace_(static_cast<std::size_t>(kernels_.gemm_nt_workspace(block, block))) {}

  /// K[a * stride + b] = k(x_{x_first + a}, y_{y_first + b})
  void operator()(const ScaledRows& x, std::int64_t x_first, std::int64_t n, const ScaledRows& y, std::int64_t y_first,
                  std::int64_t m, double* K, std::int64_t stride) {
    kernels_.gemm_nt(n, m, x.n_features(), x.row(x_first), x.n_features(), x.scale(x_first), y.row(y_first),
                     y.n_features(), y.scale(y_first), K, stride, workspace_.data());
    if (zeta_ == 1.0) return;
    for (std::int64_t a = 0; a < n; ++a) raise(m, zeta_, K + a * stride, K + a * stride);
  }

 private:
  double zeta_;
  const simd::Kernels<double>& kernels_;
  std::vector<double> workspace_;
};

/// Copies K[a][b] of a block to K[b][a], in tiles that are read whole before they are written: rows whose
/// distance is a multiple of a large power of two get in each other's way otherwise.
void mirror(double* K, std::int64_t stride, std::int64_t a_first, std::int64_t a_last, std::int64_t b_first,
            std::int64_t b_last) {
  constexpr std::int64_t tile = 16;
  double values[tile][tile];
  for (std::int64_t b = b_first; b < b_last; b += tile) {
    const std::int64_t m = std::min(tile, b_last - b);
    for (std::int64_t a = a_first; a < a_last; a += tile) {
      const std::int64_t n = std::min(tile, a_last - a);
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < m; ++j) values[j][i] = K[(a + i) * stride + b + j];
      }
      for (std::int64_t j = 0; j < m; ++j) std::copy(values[j], values[j] + n, K + (b + j) * stride + a);
    }
  }
}

/// Groups [first, last) whose rows a worker takes together.
struct Slab {
  std::int64_t first;
  std::int64_t last;
};

/// Cuts the groups into slabs of about `block` rows and at most `block` groups.
std::vector<Slab> cut_into_slabs(const RowGroups& groups, std::int64_t block) {
  std::vector<Slab> slabs;
  for (std::int64_t first = 0, last = 0; first < groups.n_groups; first = last) {
    do {
      ++last;
    } while (last < groups.n_groups && last - first < block &&
             groups.offsets[last + 1] - groups.offsets[first] <= block);
    slabs.push_back({first, last});
  }
  return slabs;
}

/// sums[g][a] += Σ_b k(x_a, y_b) for the groups of a slab; b in the order of the rows.
void add_sums_over_slab(BlockKernel& block_kernel, const ScaledRows& x, std::int64_t x_first, std::int64_t n,
                        const ScaledRows& y, const RowGroups& y_groups, const Slab& slab, double* values,
                        double* sums) {
  std::int64_t group = slab.first;
  const std::int64_t end = y_groups.offsets[slab.last];
  for (std::int64_t y_first = y_groups.offsets[slab.first]; y_first < end; y_first += largest_block) {
    const std::int64_t m = std::min(largest_block, end - y_first);
    // Exchanged arguments: the lanes of the sums below are then rows of x.
    block_kernel(y, y_first, m, x, x_first, n, values, largest_block);
    for (std::int64_t b = 0; b < m; ++b) {
      while (y_groups.offsets[group + 1] <= y_first + b) ++group;
      double* sum = sums + (group - slab.first) * largest_block;
      const double* value = values + b * largest_block;
      for (std::int64_t a = 0; a < n; ++a) sum[a] += value[a];
    }
  }
}

}  // namespace

void dot_product_kernel(const DotProductKernel& kernel, const FeatureRows& x, const FeatureRows& y, double* K) {
  check(kernel, x, y);
  const bool symmetric = same_rows(x, y);
  const ScaledRows x_scaled(x, kernel.normalize);
  const ScaledRows y_scaled = symmetric ? x_scaled : ScaledRows(y, kernel.normalize);
  const std::int64_t block = block_length(x.n_rows, y.n_rows, x.n_features);
  const std::int64_t y_blocks = n_blocks(y.n_rows, block);
  const std::int64_t stride = y.n_rows;
  parallel_for(n_blocks(x.n_rows, block) * y_blocks, [&] {
    return [&, block_kernel = BlockKernel(kernel.zeta, block)](std::int64_t item) mutable {
      const std::int64_t x_first = item / y_blocks * block;
      const std::int64_t y_first = item % y_blocks * block;
      if (symmetric && y_first > x_first) return;
      const std::int64_t n = std::min(block, x.n_rows - x_first);
      const std::int64_t m = std::min(block, y.n_rows - y_first);
      block_kernel(x_scaled, x_first, n, y_scaled, y_first, m, K + x_first * stride + y_first, stride);
      if (!symmetric || y_first == x_first) return;
      mirror(K, stride, x_first, x_first + n, y_first, y_first + m);
    };
  });
}

void dot_product_kernel_sums(const DotProductKernel& kernel, const FeatureRows& x, const RowGroups& x_groups,
                             const FeatureRows& y, const RowGroups& y_groups, double* K) {
  check(kernel, x, y);
  check(x_groups, x, "x_offsets");
  check(y_groups, y, "y_offsets");
  const bool symmetric = same_rows(x, y) && x_groups.n_groups == y_groups.n_groups &&
                         std::equal(x_groups.offsets, x_groups.offsets + x_groups.n_groups + 1, y_groups.offsets);
  const ScaledRows x_scaled(x, kernel.normalize);
  const ScaledRows y_scaled = symmetric ? x_scaled : ScaledRows(y, kernel.normalize);
  const std::int64_t stride = y_groups.n_groups;
  std::fill(K, K + x_groups.n_groups * stride, 0.0);
  const std::vector<Slab> slabs = cut_into_slabs(y_groups, block_length(1, y.n_rows, x.n_rows * x.n_features));

  parallel_for(static_cast<std::int64_t>(slabs.size()), [&] {
    constexpr auto block_size = static_cast<std::size_t>(largest_block * largest_block);
    return [&, block_kernel = BlockKernel(kernel.zeta, largest_block), values = std::vector<double>(block_size),
            sums = std::vector<double>(block_size)](std::int64_t item) mutable {
      const Slab slab = slabs[static_cast<std::size_t>(item)];
      const std::int64_t n_slab = slab.last - slab.first;
      std::int64_t x_group = symmetric ? slab.first : 0;
      for (std::int64_t x_first = x_groups.offsets[x_group]; x_first < x.n_rows; x_first += largest_block) {
        const std::int64_t n = std::min(largest_block, x.n_rows - x_first);
        std::fill(sums.begin(), sums.begin() + n_slab * largest_block, 0.0);
        add_sums_over_slab(block_kernel, x_scaled, x_first, n, y_scaled, y_groups, slab, values.data(), sums.data());
        for (std::int64_t a = 0; a < n; ++a) {
          while (x_groups.offsets[x_group + 1] <= x_first + a) ++x_group;
          double* row = K + x_group * stride + slab.first;
          for (std::int64_t g = 0; g < n_slab; ++g) {
            row[g] += sums[static_cast<std::size_t>(g * largest_block + a)];
          }
        }
      }
    };
  });
  if (!symmetric) return;
  for (std::int64_t a = 0; a < stride; a += largest_block) {
    // Up to the diagonal alone: within a block of it, both halves hold sums of their own.
    const std::int64_t a_end = std::min(a + largest_block, stride);
    mirror(K, stride, a, a_end, 0, a);
    for (std::int64_t i = a; i < a_end; ++i) mirror(K, stride, i, i + 1, a, i);
  }
}

}  // namespace castile
