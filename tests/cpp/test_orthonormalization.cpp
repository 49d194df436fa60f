#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "castile/math/orthonormalization.hpp"

namespace {

using castile::Extended;
using Matrix = std::vector<Extended>;

/// 1/(i + j + 1): condition number 1e13 for n = 10.
Matrix hilbert(int n) {
  Matrix H;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) H.push_back(Extended(1) / (i + j + 1));
  }
  return H;
}

Matrix product(const Matrix& a, const Matrix& b, std::size_t n, bool transpose_b = false) {
  Matrix c(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t k = 0; k < n; ++k) {
        c[i * n + j] = c[i * n + j] + a[i * n + k] * (transpose_b ? b[j * n + k] : b[k * n + j]);
      }
    }
  }
  return c;
}

double largest_difference_from_one(const Matrix& a, std::size_t n) {
  double largest = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      largest = std::max(largest, std::abs((a[i * n + j] - (i == j ? 1.0 : 0.0)).high));
    }
  }
  return largest;
}

double asymmetry(const Matrix& a, std::size_t n) {
  double largest = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) largest = std::max(largest, std::abs((a[i * n + j] - a[j * n + i]).high));
  }
  return largest;
}

}  // namespace

TEST_CASE("the inverse root of an ill-conditioned matrix is symmetric and inverts its square") {
  for (const int n_rows : {1, 2, 3, 7, 10}) {
    const auto n = static_cast<std::size_t>(n_rows);
    const Matrix S = hilbert(n_rows);
    const auto [root, defect] = castile::symmetric_inverse_root(S, n_rows);
    const Matrix product_of_all = product(product(root, S, n), root, n);
    CHECK(largest_difference_from_one(product_of_all, n) < 1e-17);
    CHECK(defect < 1e-17);
    CHECK(asymmetry(root, n) < 1e-20);
  }
}

TEST_CASE("the inverse root of a diagonal matrix is that of its entries, positive") {
  const Matrix S{4.0, 0.0, 0.0, 0.0625};
  const auto [root, defect] = castile::symmetric_inverse_root(S, 2);
  CHECK(root[0].high == 0.5);
  CHECK(root[1].high == 0.0);
  CHECK(root[3].high == 4.0);
  CHECK(defect < 1e-30);
}

TEST_CASE("a matrix that is singular to all digits has no inverse root, and a nearly singular one tells so") {
  CHECK(castile::symmetric_inverse_root({1.0, 1.0, 1.0, 1.0}, 2).defect == std::numeric_limits<double>::infinity());
  CHECK(castile::symmetric_inverse_root({1.0, 2.0, 2.0, 1.0}, 2).defect == std::numeric_limits<double>::infinity());
  const Extended nearly = Extended(1) - Extended(1e-24);
  const double defect = castile::symmetric_inverse_root({1.0, nearly, nearly, 1.0}, 2).defect;
  CHECK(defect > 1e-12);
  CHECK(defect < 1e-4);
}

TEST_CASE("the polar factor is orthogonal and leaves a symmetric positive definite factor, for any scale of the rows") {
  const std::size_t n = 9;
  Matrix L(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      L[i * n + j] = Extended(1) / static_cast<int>(i + 2 * j + 1) * castile::power(Extended(7), static_cast<int>(i));
    }
  }
  const Matrix Q = castile::orthogonal_polar_factor(L, static_cast<int>(n));
  CHECK(largest_difference_from_one(product(Q, Q, n, true), n) < 1e-28);
  const Matrix H = product(L, Q, n, true);
  double scale = 0.0;
  for (const Extended& entry : H) scale = std::max(scale, std::abs(entry.high));
  CHECK(asymmetry(H, n) < 1e-24 * scale);
  // H = (L Lᵀ)^{1/2}, so the inverse root of L Lᵀ undoes it.
  const auto [root, defect] = castile::symmetric_inverse_root(product(L, L, n, true), static_cast<int>(n));
  CHECK(largest_difference_from_one(product(root, H, n), n) < 1e-6);
}
