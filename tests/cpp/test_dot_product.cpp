#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "castile/kernels/dot_product.hpp"
#include "castile/parallel.hpp"
#include "simd/kernels.hpp"

namespace {

using castile::DotProductKernel;
using castile::FeatureRows;
using castile::RowGroups;

std::vector<double> random_numbers(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  std::vector<double> numbers(static_cast<std::size_t>(n));
  for (double& number : numbers) number = uniform(generator);
  return numbers;
}

/// Rows that own their numbers.
struct Rows {
  Rows(std::int64_t n_rows_, std::int64_t n_features_, unsigned seed)
      : n_rows(n_rows_), n_features(n_features_), numbers(random_numbers(n_rows_ * n_features_, seed)) {}

  FeatureRows view() const { return {n_rows, n_features, numbers.data()}; }
  FeatureRows view(std::int64_t first, std::int64_t last) const {
    return {last - first, n_features, numbers.data() + first * n_features};
  }
  const double* row(std::int64_t a) const { return numbers.data() + a * n_features; }

  std::int64_t n_rows;
  std::int64_t n_features;
  std::vector<double> numbers;
};

std::vector<double> kernel_matrix(const DotProductKernel& kernel, const FeatureRows& x, const FeatureRows& y) {
  std::vector<double> K(static_cast<std::size_t>(x.n_rows * y.n_rows), std::nan(""));
  castile::dot_product_kernel(kernel, x, y, K.data());
  return K;
}

long double dot(const double* a, const double* b, std::int64_t n) {
  long double sum = 0.0L;
  for (std::int64_t q = 0; q < n; ++q) sum += static_cast<long double>(a[q]) * b[q];
  return sum;
}

long double reference(const DotProductKernel& kernel, const Rows& x, std::int64_t a, const Rows& y, std::int64_t b) {
  const std::int64_t k = x.n_features;
  long double base = dot(x.row(a), y.row(b), k);
  if (kernel.normalize) base /= std::sqrt(dot(x.row(a), x.row(a), k)) * std::sqrt(dot(y.row(b), y.row(b), k));
  const long double zeta = kernel.zeta;
  if (kernel.zeta != std::floor(kernel.zeta)) base = std::max(base, 0.0L);
  return std::pow(base, zeta);
}

double largest_error(const DotProductKernel& kernel, const Rows& x, const Rows& y) {
  const std::vector<double> K = kernel_matrix(kernel, x.view(), y.view());
  long double error = 0.0L, scale = 0.0L;
  for (std::int64_t a = 0; a < x.n_rows; ++a) {
    for (std::int64_t b = 0; b < y.n_rows; ++b) {
      const long double expected = reference(kernel, x, a, y, b);
      error = std::max(error, std::abs(expected - K[static_cast<std::size_t>(a * y.n_rows + b)]));
      scale = std::max(scale, std::abs(expected));
    }
  }
  return static_cast<double>(error / scale);
}

/// The number of threads of this scope.
class Threads {
 public:
  explicit Threads(int n) : previous_(castile::set_num_threads_of_this_thread(n)) {}
  ~Threads() { castile::set_num_threads_of_this_thread(previous_); }

 private:
  int previous_;
};

}  // namespace

TEST_CASE("the kernel equals an extended precision reference for every tile edge") {
  for (const std::int64_t n : {1, 3, 4, 5, 8, 9, 25, 47}) {
    for (const std::int64_t m : {1, 2, 11, 12, 13, 24, 26, 49}) {
      CHECK(largest_error({2.0, true}, Rows(n, 19, 1), Rows(m, 19, 2)) < 1e-14);
    }
  }
}

TEST_CASE("the kernel equals an extended precision reference around the depth of a block") {
  for (const std::int64_t k : {1, 2, 255, 256, 257, 511, 512, 513, 700}) {
    CHECK(largest_error({1.0, false}, Rows(7, k, 3), Rows(30, k, 4)) < 1e-14);
  }
}

TEST_CASE("integer and real powers are those of the standard library") {
  const Rows x(20, 6, 5), y(70, 6, 6);
  for (const double zeta : {1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 12.0, 0.5, 1.5, 2.25}) {
    CHECK(largest_error({zeta, true}, x, y) < 1e-13);
    CHECK(largest_error({zeta, false}, x, y) < 1e-13);
  }
}

TEST_CASE("bits do not depend on threads, blocks or neighboring rows") {
  const Rows x(801, 300, 7), y(403, 300, 8);
  const DotProductKernel kernel{3.0, true};
  std::vector<double> whole;
  {
    const Threads one(1);
    whole = kernel_matrix(kernel, x.view(), y.view());
  }
  for (const int n_threads : {2, 4, 7}) {
    const Threads threads(n_threads);
    CHECK(kernel_matrix(kernel, x.view(), y.view()) == whole);
  }
  const std::vector<double> part = kernel_matrix(kernel, x.view(398, 405), y.view());
  CHECK(std::equal(part.begin(), part.end(), whole.begin() + 398 * 403));
  const std::vector<double> element = kernel_matrix(kernel, x.view(800, 801), y.view(402, 403));
  CHECK(element[0] == whole.back());
}

TEST_CASE("exchanging the arguments transposes the bits, and equal arguments are mirrored") {
  const Rows x(431, 130, 9), y(97, 130, 10);
  const auto K = kernel_matrix({2.0, true}, x.view(), y.view());
  const auto transposed = kernel_matrix({2.0, true}, y.view(), x.view());
  bool equal = true;
  for (std::size_t a = 0; a < 431; ++a) {
    for (std::size_t b = 0; b < 97; ++b) equal = equal && K[a * 97 + b] == transposed[b * 431 + a];
  }
  CHECK(equal);
  const Rows copy = x;
  CHECK(kernel_matrix({2.0, true}, x.view(), x.view()) == kernel_matrix({2.0, true}, x.view(), copy.view()));
}

TEST_CASE("rows of zeros have zero kernels, and huge or tiny rows are normalized") {
  Rows x(5, 40, 11);
  const auto before = kernel_matrix({2.0, true}, x.view(), x.view());
  const double factors[] = {1e200, 1e-200, 1.0, 1e300, 1e-300};
  for (std::size_t e = 0; e < x.numbers.size(); ++e) x.numbers[e] *= factors[e / 40];
  const auto after = kernel_matrix({2.0, true}, x.view(), x.view());
  for (std::size_t e = 0; e < before.size(); ++e) CHECK(after[e] == doctest::Approx(before[e]).epsilon(1e-13));

  std::fill(x.numbers.begin() + 40, x.numbers.begin() + 80, 0.0);
  const auto with_zeros = kernel_matrix({2.0, true}, x.view(), x.view());
  for (std::size_t b = 0; b < 5; ++b) CHECK(with_zeros[5 + b] == 0.0);
}

TEST_CASE("sums over groups equal the sums of the kernel matrix, also for empty and large groups") {
  const Rows x(950, 17, 12), y(61, 17, 13);
  const std::vector<std::int64_t> x_offsets = {0, 0, 3, 500, 500, 501, 949, 950};
  const std::vector<std::int64_t> y_offsets = {0, 60, 60, 61};
  const RowGroups x_groups{7, x_offsets.data()};
  const RowGroups y_groups{3, y_offsets.data()};
  const auto K = kernel_matrix({3.0, true}, x.view(), y.view());
  std::vector<long double> expected(21, 0.0L);
  for (std::size_t a = 0; a < 950; ++a) {
    for (std::size_t b = 0; b < 61; ++b) {
      const auto A = std::upper_bound(x_offsets.begin(), x_offsets.end(), a) - x_offsets.begin() - 1;
      const auto B = std::upper_bound(y_offsets.begin(), y_offsets.end(), b) - y_offsets.begin() - 1;
      expected[static_cast<std::size_t>(A * 3 + B)] += K[a * 61 + b];
    }
  }
  std::vector<double> sums(21, std::nan(""));
  castile::dot_product_kernel_sums({3.0, true}, x.view(), x_groups, y.view(), y_groups, sums.data());
  for (std::size_t e = 0; e < 21; ++e) {
    CHECK(std::abs(static_cast<double>(expected[e]) - sums[e]) < 1e-12 * (1.0 + std::abs(sums[e])));
  }
}

TEST_CASE("sums over groups have the same bits for any threads and any other groups, and are symmetric") {
  const Rows x(900, 30, 14);
  std::vector<std::int64_t> offsets = {0};
  while (offsets.back() < 900) offsets.push_back(std::min<std::int64_t>(900, offsets.back() + 1 + offsets.back() % 7));
  const auto n = static_cast<std::int64_t>(offsets.size()) - 1;
  const RowGroups groups{n, offsets.data()};
  std::vector<double> first(static_cast<std::size_t>(n * n)), other = first;
  const Rows copy = x;
  {
    const Threads one(1);
    castile::dot_product_kernel_sums({2.0, true}, x.view(), groups, copy.view(), groups, first.data());
  }
  {
    const Threads four(4);
    castile::dot_product_kernel_sums({2.0, true}, x.view(), groups, copy.view(), groups, other.data());
  }
  CHECK(first == other);

  castile::dot_product_kernel_sums({2.0, true}, x.view(), groups, x.view(), groups, other.data());
  bool symmetric = true, lower_half_equal = true;
  for (std::size_t a = 0; a < static_cast<std::size_t>(n); ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      const std::size_t at = a * static_cast<std::size_t>(n) + b;
      symmetric = symmetric && other[at] == other[b * static_cast<std::size_t>(n) + a];
      lower_half_equal = lower_half_equal && other[at] == first[at];
    }
  }
  CHECK(symmetric);
  CHECK(lower_half_equal);

  const std::int64_t last_offsets[] = {0, 900 - offsets[static_cast<std::size_t>(n) - 1]};
  std::vector<double> row(static_cast<std::size_t>(n));
  castile::dot_product_kernel_sums({2.0, true}, x.view(offsets[static_cast<std::size_t>(n) - 1], 900),
                                   {1, last_offsets}, copy.view(), groups, row.data());
  CHECK(std::equal(row.begin(), row.end(), first.end() - n));
}

TEST_CASE("the product kernel works in single precision, with strides and scales") {
  const auto& kernels = castile::simd::kernels<float>();
  constexpr std::int64_t n = 29, m = 101, k = 300, a_stride = 307, b_stride = 301, c_stride = 120;
  const auto to_float = [](const std::vector<double>& numbers) {
    std::vector<float> single;
    for (const double number : numbers) single.push_back(static_cast<float>(number));
    return single;
  };
  const auto a = to_float(random_numbers(n * a_stride, 15)), b = to_float(random_numbers(m * b_stride, 16));
  const auto scale = to_float(random_numbers(m, 17));
  std::vector<float> c(n * c_stride, -7.0F);
  std::vector<float> workspace(static_cast<std::size_t>(kernels.gemm_nt_workspace(n, m)));
  kernels.gemm_nt(n, m, k, a.data(), a_stride, nullptr, b.data(), b_stride, scale.data(), c.data(), c_stride,
                  workspace.data());
  double error = 0.0;
  bool outside_untouched = true;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < m; ++j) {
      double sum = 0.0;
      for (std::size_t q = 0; q < k; ++q) sum += static_cast<double>(a[i * a_stride + q]) * b[j * b_stride + q];
      error = std::max(error, std::abs(sum * scale[j] - c[i * c_stride + j]));
    }
    for (std::size_t j = m; j < c_stride; ++j) outside_untouched = outside_untouched && c[i * c_stride + j] == -7.0F;
  }
  CHECK(error < 3e-5);
  CHECK(outside_untouched);
}

TEST_CASE("no rows give nothing, no features give zeros") {
  const Rows x(3, 4, 18);
  castile::dot_product_kernel({2.0, true}, {0, 4, nullptr}, x.view(), nullptr);
  double K[] = {1.0, 1.0};
  castile::dot_product_kernel({2.0, true}, {1, 0, nullptr}, {2, 0, nullptr}, K);
  CHECK(K[0] == 0.0);
  CHECK(K[1] == 0.0);
}

TEST_CASE("parameters and shapes that cannot be used are refused") {
  const Rows x(3, 4, 19), y(3, 5, 20);
  double K[9];
  for (const double zeta : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(castile::dot_product_kernel({zeta, true}, x.view(), x.view(), K), std::invalid_argument);
  }
  CHECK_THROWS_AS(castile::dot_product_kernel({2.0, true}, x.view(), y.view(), K), std::invalid_argument);
  const std::int64_t good[] = {0, 1, 3}, falling[] = {0, 4, 3}, too_short[] = {0, 1, 2};
  for (const auto* bad : {falling, too_short}) {
    CHECK_THROWS_AS(castile::dot_product_kernel_sums({2.0, true}, x.view(), {2, good}, x.view(), {2, bad}, K),
                    std::invalid_argument);
  }
}
