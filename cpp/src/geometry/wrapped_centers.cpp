#include "geometry/wrapped_centers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "castile/memory.hpp"
#include "geometry/number_text.hpp"

namespace castile {
namespace {

constexpr double roundings = 128.0;  // unit roundings in a preselected distance: a generous bound

/// The largest absolute coordinate. Throws std::invalid_argument for one that is not finite.
double largest_coordinate(const double* positions, std::size_t n, const char* argument, const char* item) {
  double largest = 0.0;
  for (std::size_t k = 0; k < 3 * n; ++k) {
    if (!std::isfinite(positions[k])) {
      throw std::invalid_argument(std::string(argument) + " must be finite, got " + std::to_string(positions[k]) +
                                  " for " + item + " " + std::to_string(k / 3));
    }
    largest = std::max(largest, std::abs(positions[k]));
  }
  return largest;
}

}  // namespace

WrappedCenters::WrappedCenters(const Structure& structure, const double* points, std::int64_t n_points)
    : lattice_(reduce_lattice(structure.cell, structure.pbc)), n_atoms_(static_cast<std::size_t>(structure.n_atoms)) {
  if (n_points > 0) {
    require_memory(static_cast<double>(n_points) * (sizeof(Point) + sizeof(Shift)),
                   "the neighbor search would hold " + number_text(static_cast<double>(n_points)) + " centers",
                   "give fewer centers at a time");
  }
  const auto n_others = static_cast<std::size_t>(n_points);
  extent_of_atoms_.coordinate = largest_coordinate(structure.positions, n_atoms_, "positions", "atom");
  extent_of_all_.coordinate =
      std::max(extent_of_atoms_.coordinate, largest_coordinate(points, n_others, "centers", "point"));
  if (n_atoms_ == 0) return;
  for (std::size_t m = 0; m < 3; ++m) {
    const double* vector = structure.cell.data() + 3 * m;
    if (structure.pbc[m]) lengths_[m] = std::abs(vector[0]) + std::abs(vector[1]) + std::abs(vector[2]);
  }
  wrapped_.resize(n_atoms_ + n_others);
  wrap_.resize(n_atoms_ + n_others);
  for (std::size_t atom = 0; atom < n_atoms_; ++atom)
    wrap_center(atom, structure.positions + 3 * atom, extent_of_atoms_);
  extent_of_all_.wrap = extent_of_atoms_.wrap;
  for (std::size_t point = 0; point < n_others; ++point)
    wrap_center(n_atoms_ + point, points + 3 * point, extent_of_all_);
  find_box();
}

/// Takes lattice vectors off, last axis first, so that a later axis is not disturbed any more.
void WrappedCenters::wrap_center(std::size_t center, const double* position, Extent& extent) {
  const auto& axes = lattice_.axes;
  const auto& basis = lattice_.basis;
  Point point;
  for (std::size_t k = 0; k < 3; ++k) {
    point[k] = axes[k][0] * position[0] + axes[k][1] * position[1] + axes[k][2] * position[2];
  }
  std::array<std::int64_t, 3> cells{};
  for (std::size_t k = n_axes(); k-- > 0;) {
    if (point[k] >= 0.0 && point[k] < basis[k][k]) continue;
    const double n = std::floor(point[k] / basis[k][k]);
    if (std::abs(n) > static_cast<double>(largest_shift)) {
      throw std::invalid_argument(name(center) + " lies " + number_text(n) + " cells away from the origin; " +
                                  remedy(center));
    }
    cells[k] = static_cast<std::int64_t>(n);
    for (std::size_t m = 0; m <= k; ++m) point[m] -= n * basis[k][m];
  }
  wrapped_[center] = point;
  if ((cells[0] | cells[1] | cells[2]) == 0) return;
  const Shift off = image_shift(center, {-cells[0], -cells[1], -cells[2]});
  for (std::size_t m = 0; m < 3; ++m) {
    wrap_[center][m] = -off[m];
    extent.wrap[m] = std::max(extent.wrap[m], std::abs(off[m]));
  }
}

void WrappedCenters::find_box() {
  low_ = high_ = wrapped_[0];
  for (std::size_t atom = 1; atom < n_atoms_; ++atom) {
    for (std::size_t k = 0; k < 3; ++k) {
      low_[k] = std::min(low_[k], wrapped_[atom][k]);
      high_[k] = std::max(high_[k], wrapped_[atom][k]);
    }
  }
  for (std::size_t k = 0; has_points() && k < n_axes(); ++k) {
    low_[k] = std::min(low_[k], 0.0);
    high_[k] = std::max(high_[k], lattice_.basis[k][k]);
  }
}

std::string WrappedCenters::name(std::size_t center) const {
  return center < n_atoms_ ? "atom " + std::to_string(center)
                           : "point " + std::to_string(center - n_atoms_) + " of centers";
}

std::string WrappedCenters::remedy(std::size_t center) const {
  return std::string("wrap the ") + (center < n_atoms_ ? "positions" : "centers") + " into the cell";
}

void WrappedCenters::throw_far_shift(std::size_t center) const {
  throw std::invalid_argument(name(center) + " needs a cell shift beyond 32 bits; " + remedy(center) +
                              ", or use a less skewed cell");
}

/// Both a preselected distance and the exact one are sums of terms no larger than `largest`.
double WrappedCenters::rounding_of(const Extent& extent, double cutoff) const {
  const auto& basis = lattice_.basis;
  std::array<double, 3> most{};  // images on the way from one center to another
  for (std::size_t k = n_axes(); k-- > 0;) {
    double skew = 0.0;  // how far the images along later axes move away along the earlier ones
    for (std::size_t later = k + 1; later < 3; ++later) skew += most[later] * std::abs(basis[later][k]);
    most[k] = (high_[k] - low_[k] + 4.2 * cutoff + skew) / basis[k][k] + 1.0;
  }
  double largest = 2.0 * extent.coordinate;
  for (std::size_t m = 0; m < 3; ++m) {
    double shift = 0.0;
    for (std::size_t k = 0; k < 3; ++k) {
      shift += most[k] * std::abs(static_cast<double>(lattice_.transformation[k][m]));
    }
    largest += (shift + 2.0 * extent.wrap[m]) * lengths_[m];
  }
  const double rounding = roundings * std::numeric_limits<double>::epsilon() * (largest + cutoff);
  if (!(rounding < cutoff)) {
    const std::string what = has_points() ? "positions, centers and cells" : "positions and cells";
    throw std::invalid_argument(what + " as large as " + number_text(largest) + " leave no digits for a cutoff of " +
                                number_text(cutoff) + "; move " +
                                (has_points() ? "structure and centers" : "the structure") +
                                " to the origin, or wrap the positions into the cell");
  }
  return rounding;
}

double WrappedCenters::rounding_allowance(double cutoff) const {
  const double of_atoms = rounding_of(extent_of_atoms_, cutoff);
  if (!has_points()) return of_atoms;
  constexpr double room = 1024.0;  // so that it is the same wherever usual points are
  return std::min(std::max(room * of_atoms, rounding_of(extent_of_all_, cutoff)), cutoff);
}

}  // namespace castile
