#include "castile/math/orthonormalization.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace castile {
namespace {

using Matrix = std::vector<Extended>;
constexpr int most_sweeps = 60;  // about ten are needed

/// Rows of L = U W with orthogonal U and orthogonal rows of W, as Uᵀ and W.
struct OrthogonalRows {
  Matrix U_transposed;
  Matrix W;
};

void rotate(Extended* p, Extended* q, std::size_t n, Extended cosine, Extended sine) {
  for (std::size_t k = 0; k < n; ++k) {
    const Extended old = p[k];
    p[k] = cosine * old - sine * q[k];
    q[k] = sine * old + cosine * q[k];
  }
}

/// One-sided Jacobi rotations: relative accuracy even for the smallest singular values, whatever the scale of the
/// rows. Demmel, Veselić, SIAM J. Matrix Anal. Appl. 13, 1204 (1992), doi:10.1137/0613074.
OrthogonalRows orthogonalize_rows(const Matrix& L, std::size_t n) {
  OrthogonalRows result{Matrix(n * n), L};
  for (std::size_t i = 0; i < n; ++i) result.U_transposed[i * n + i] = 1;
  const double negligible = static_cast<double>(n) * extended_epsilon;
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < most_sweeps; ++sweep) {
    rotated = false;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = i + 1; j < n; ++j) {
        Extended* p = &result.W[i * n];
        Extended* q = &result.W[j * n];
        const Extended pp = dot(p, p, n);
        const Extended qq = dot(q, q, n);
        const Extended pq = dot(p, q, n);
        if (std::abs(pq.high) <= negligible * std::sqrt(pp.high) * std::sqrt(qq.high)) continue;
        rotated = true;
        const Extended ratio = (qq - pp) / (pq * 2.0);
        const Extended size = Extended(1) / (abs(ratio) + sqrt(ratio * ratio + 1.0));
        const Extended tangent = ratio < Extended(0) ? -size : size;
        const Extended cosine = Extended(1) / sqrt(tangent * tangent + 1.0);
        rotate(p, q, n, cosine, tangent * cosine);
        rotate(&result.U_transposed[i * n], &result.U_transposed[j * n], n, cosine, tangent * cosine);
      }
    }
  }
  return result;
}

/// Σ_i u_i v_iᵀ of the rows of two matrices.
Matrix sum_of_outer_products(const Matrix& u, const Matrix& v, std::size_t n) {
  Matrix sum(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t b = 0; b < n; ++b) sum[a * n + b] = sum[a * n + b] + u[i * n + a] * v[i * n + b];
    }
  }
  return sum;
}

/// Lower triangular L with L Lᵀ = S; empty if S is not positive definite to its precision.
Matrix cholesky(const Matrix& S, std::size_t n) {
  Matrix L(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const Extended rest = S[i * n + j] - dot(&L[i * n], &L[j * n], j);
      if (i != j) {
        L[i * n + j] = rest / L[j * n + j];
      } else if (rest.high > extended_epsilon * S[i * n + i].high) {
        L[i * n + i] = sqrt(rest);
      } else {
        return {};
      }
    }
  }
  return L;
}

double orthonormality_defect(const Matrix& root, const Matrix& S, std::size_t n) {
  // Both are symmetric, so that rows serve as columns.
  Matrix half(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) half[i * n + j] = dot(&root[i * n], &S[j * n], n);
  }
  double defect = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const Extended entry = dot(&half[i * n], &root[j * n], n) - (i == j ? 1.0 : 0.0);
      defect = std::max(defect, std::abs(entry.high));
    }
  }
  return defect;
}

}  // namespace

InverseRoot symmetric_inverse_root(const std::vector<Extended>& S, int n_rows) {
  const auto n = static_cast<std::size_t>(n_rows);
  const Matrix L = cholesky(S, n);
  if (L.empty()) return {{}, std::numeric_limits<double>::infinity()};
  const auto [U_transposed, W] = orthogonalize_rows(L, n);
  Matrix scaled = U_transposed;
  for (std::size_t i = 0; i < n; ++i) {
    const Extended singular_value = sqrt(dot(&W[i * n], &W[i * n], n));
    for (std::size_t k = 0; k < n; ++k) scaled[i * n + k] = scaled[i * n + k] / singular_value;
  }
  const Matrix root = sum_of_outer_products(U_transposed, scaled, n);
  return {root, orthonormality_defect(root, S, n)};
}

std::vector<Extended> orthogonal_polar_factor(const std::vector<Extended>& L, int n_rows) {
  const auto n = static_cast<std::size_t>(n_rows);
  auto [U_transposed, W] = orthogonalize_rows(L, n);
  for (std::size_t i = 0; i < n; ++i) {
    const Extended singular_value = sqrt(dot(&W[i * n], &W[i * n], n));
    for (std::size_t k = 0; k < n; ++k) W[i * n + k] = W[i * n + k] / singular_value;
  }
  return sum_of_outer_products(U_transposed, W, n);
}

}  // namespace castile
