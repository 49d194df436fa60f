#include "castile/geometry/lattice.hpp"

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace castile {
namespace {

// Long doubles, where the platform has them, keep the digits that a very skewed cell loses to cancellation.
using Real = long double;
using Vector = std::array<Real, 3>;

constexpr Real smallest_volume_ratio = 1e-10L;  // of unit vectors, below which a cell counts as flat
constexpr Real largest_coefficient = 1e9L;
constexpr int max_steps = 1000;  // a safety net: a handful is usual, and a basis half reduced is still right

Real dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

Vector scaled(const Vector& a, Real factor) { return {a[0] * factor, a[1] * factor, a[2] * factor}; }

Vector unit(const Vector& a) { return scaled(a, 1 / std::sqrt(dot(a, a))); }

/// One vector of the basis that is being reduced, and its integer coefficients.
struct Row {
  std::array<std::int64_t, 3> coefficients{};
  Vector vector{};
  Real length2 = 0;
};

class Reduction {
 public:
  Reduction(const std::array<double, 9>& cell, const std::array<bool, 3>& pbc) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if (!pbc[axis]) continue;
      cell_[axis] = {cell[3 * axis], cell[3 * axis + 1], cell[3 * axis + 2]};
      Row& row = rows_[static_cast<std::size_t>(n_rows_++)];
      row.coefficients[axis] = 1;
      update(row);
      check_vector(row, axis);
    }
    check_volume();
  }

  void run() {
    for (int step = 0; step < max_steps; ++step) {
      sort_by_length();
      if (n_rows_ > 1 && shorten_second()) continue;
      if (n_rows_ > 2 && shorten_third()) continue;
      return;
    }
  }

  int n_rows() const { return n_rows_; }
  const Row& row(std::size_t k) const { return rows_[k]; }

 private:
  static void check_vector(const Row& row, std::size_t axis) {
    if (!std::isfinite(row.length2)) {
      throw std::invalid_argument("cell vector " + std::to_string(axis) + " must be finite");
    }
    if (row.length2 <= 0) {
      throw std::invalid_argument("pbc is True along axis " + std::to_string(axis) +
                                  ", but the cell has no vector there; set the cell, or set pbc to False "
                                  "along that axis");
    }
  }

  void check_volume() const {
    Real volume = 1;
    if (n_rows_ == 2) {
      const Vector normal = cross(unit(rows_[0].vector), unit(rows_[1].vector));
      volume = std::sqrt(dot(normal, normal));
    } else if (n_rows_ == 3) {
      volume = std::abs(dot(unit(rows_[0].vector), cross(unit(rows_[1].vector), unit(rows_[2].vector))));
    }
    if (volume < smallest_volume_ratio) {
      throw std::invalid_argument("the periodic cell vectors span no volume; check the cell, or set pbc to False");
    }
  }

  void sort_by_length() {
    for (const auto& [a, b] : {std::pair(0U, 1U), std::pair(1U, 2U), std::pair(0U, 1U)}) {
      const bool in_use = static_cast<int>(b) < n_rows_;
      if (in_use && rows_[b].length2 < rows_[a].length2) std::swap(rows_[a], rows_[b]);
    }
  }

  /// Computes the vector anew from the caller's cell: no rounding is carried along.
  void update(Row& row) const {
    row.vector = {};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      for (std::size_t k = 0; k < 3; ++k) {
        row.vector[k] += static_cast<Real>(row.coefficients[axis]) * cell_[axis][k];
      }
    }
    row.length2 = dot(row.vector, row.vector);
  }

  Row combined(const Row& row, Real first, Real second) const {
    Row sum = row;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const Real coefficient = static_cast<Real>(row.coefficients[axis]) +
                               first * static_cast<Real>(rows_[0].coefficients[axis]) +
                               second * static_cast<Real>(rows_[1].coefficients[axis]);
      if (!(std::abs(coefficient) < largest_coefficient)) {
        throw std::invalid_argument(
            "the periodic cell vectors are too skewed: a cell shift would exceed 32 bits; use a reduced "
            "cell, for example ase.geometry.minkowski_reduce");
      }
      sum.coefficients[axis] = static_cast<std::int64_t>(coefficient);
    }
    update(sum);
    return sum;
  }

  /// Replaces a row if the new one is clearly shorter: rounding alone must not keep the loop going.
  static bool replace_if_shorter(Row& row, const Row& candidate) {
    if (!(candidate.length2 < row.length2 * (1 - 1e-12L))) return false;
    row = candidate;
    return true;
  }

  bool shorten_second() {
    const Real n = -std::nearbyint(dot(rows_[1].vector, rows_[0].vector) / rows_[0].length2);
    return n != 0 && replace_if_shorter(rows_[1], combined(rows_[1], n, 0));
  }

  /// Moves the third vector to the lattice point of its coset nearest to the plane's origin. With the first
  /// two reduced, it is among the neighbors of the rounded solution (Semaev, doi:10.1007/3-540-44670-2_13).
  bool shorten_third() {
    const Vector& a = rows_[0].vector;
    const Vector& b = rows_[1].vector;
    const Vector& c = rows_[2].vector;
    const Real ab = dot(a, b);
    const Real determinant = rows_[0].length2 * rows_[1].length2 - ab * ab;
    const Real x = std::nearbyint((ab * dot(b, c) - rows_[1].length2 * dot(a, c)) / determinant);
    const Real y = std::nearbyint((ab * dot(a, c) - rows_[0].length2 * dot(b, c)) / determinant);
    Row shortest = rows_[2];
    for (int dx = -1; dx <= 1; ++dx) {
      for (int dy = -1; dy <= 1; ++dy) {
        replace_if_shorter(shortest, combined(rows_[2], x + dx, y + dy));
      }
    }
    return replace_if_shorter(rows_[2], shortest);
  }

  std::array<Vector, 3> cell_{};
  std::array<Row, 3> rows_{};
  int n_rows_ = 0;
};

/// The unit vector along `vector` without its parts along the first `n_axes` axes.
Vector orthogonal_part(Vector vector, const std::array<Vector, 3>& axes, std::size_t n_axes) {
  for (int pass = 0; pass < 2; ++pass) {  // the second pass removes what rounding left
    for (std::size_t k = 0; k < n_axes; ++k) {
      const Real along = dot(vector, axes[k]);
      for (std::size_t m = 0; m < 3; ++m) vector[m] -= along * axes[k][m];
    }
  }
  return unit(vector);
}

/// The Cartesian unit vector farthest from the span of the axes so far.
Vector free_direction(const std::array<Vector, 3>& axes, std::size_t n_axes) {
  std::size_t best = 0;
  Real smallest = 2;
  for (std::size_t m = 0; m < 3; ++m) {
    Real inside = 0;
    for (std::size_t k = 0; k < n_axes; ++k) inside += axes[k][m] * axes[k][m];
    if (inside < smallest - 1e-9L) {
      smallest = inside;
      best = m;
    }
  }
  Vector direction{};
  direction[best] = 1;
  return direction;
}

/// What the reduction makes of no vectors, which are many frames.
ReducedLattice free_axes() {
  ReducedLattice lattice;
  for (std::size_t k = 0; k < 3; ++k) lattice.axes[k][k] = lattice.basis[k][k] = 1.0;
  return lattice;
}

}  // namespace

ReducedLattice reduce_lattice(const std::array<double, 9>& cell, const std::array<bool, 3>& pbc) {
  if (!pbc[0] && !pbc[1] && !pbc[2]) return free_axes();
  Reduction reduction(cell, pbc);
  reduction.run();
  ReducedLattice lattice;
  lattice.n_periodic = reduction.n_rows();
  std::array<Vector, 3> axes{};
  for (std::size_t k = 0; k < 3; ++k) {
    const bool periodic = static_cast<int>(k) < lattice.n_periodic;
    const Vector vector = periodic ? reduction.row(k).vector : free_direction(axes, k);
    axes[k] = orthogonal_part(vector, axes, k);
    lattice.basis[k][k] = 1.0;
    if (periodic) {
      lattice.transformation[k] = reduction.row(k).coefficients;
      for (std::size_t m = 0; m <= k; ++m) lattice.basis[k][m] = static_cast<double>(dot(vector, axes[m]));
    }
    for (std::size_t m = 0; m < 3; ++m) lattice.axes[k][m] = static_cast<double>(axes[k][m]);
  }
  return lattice;
}

}  // namespace castile
