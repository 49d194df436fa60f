#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "castile/geometry/lattice.hpp"
#include "castile/geometry/structure.hpp"

namespace castile {

/// All centers of a search, the atoms and behind them points in space, wrapped into one box.
///
/// Works in the orthonormal axes of the reduced lattice, where the basis is lower triangular, so that lattice vectors
/// can be taken off axis by axis until all centers lie in a box with right angles, however skewed the cell is.
/// What the grid of images is made from, box and rounding, does not depend on where the points are, unless some lie
/// hundreds of cells, or of cutoffs, away: so neither does the order in which a point sees its neighbors on the other
/// points.
class WrappedCenters {
 public:
  using Point = std::array<double, 3>;
  using Shift = std::array<std::int32_t, 3>;

  /// Points are (n_points, 3); without atoms nothing is wrapped, as there is nothing to see. Throws what
  /// reduce_lattice throws, std::invalid_argument for centers that are not finite or too many cells away,
  /// MemoryLimitExceeded if the points would not fit.
  WrappedCenters(const Structure& structure, const double* points, std::int64_t n_points);

  const ReducedLattice& lattice() const { return lattice_; }
  std::size_t n_axes() const { return static_cast<std::size_t>(lattice_.n_periodic); }
  std::size_t n_atoms() const { return n_atoms_; }
  bool has_points() const { return wrapped_.size() > n_atoms_; }

  const Point& point(std::size_t center) const { return wrapped_[center]; }
  /// What wrapping took off, in the caller's cell.
  const Shift& wrap(std::size_t center) const { return wrap_[center]; }
  /// The box of the atoms; with points that of the cell along periodic axes, where images are needed near all of it,
  /// whereas along the other axes there are none, and points may be far outside.
  double low(std::size_t axis) const { return low_[axis]; }
  double high(std::size_t axis) const { return high_[axis]; }

  /// The cell shift of an image of the wrapped atom, in the caller's cell, from the atom's position as given.
  Shift image_shift(std::size_t atom, const std::array<std::int64_t, 3>& image) const {
    const auto& t = lattice_.transformation;
    Shift shift;
    for (std::size_t m = 0; m < 3; ++m) {
      const std::int64_t sum = image[0] * t[0][m] + image[1] * t[1][m] + image[2] * t[2][m] - wrap_[atom][m];
      if (sum > largest_shift || sum < -largest_shift) throw_far_shift(atom);
      shift[m] = static_cast<std::int32_t>(sum);
    }
    return shift;
  }

  /// What rounding can do to the distance of a pair within the cutoff. Throws std::invalid_argument if that is not
  /// small against the cutoff.
  double rounding_allowance(double cutoff) const;

 private:
  /// The largest numbers that go into the pairs of some centers.
  struct Extent {
    double coordinate = 0.0;
    Shift wrap{};
  };

  static constexpr std::int64_t largest_shift = 1073741823;  // sums of two stay inside 32 bits

  [[noreturn]] void throw_far_shift(std::size_t center) const;
  void wrap_center(std::size_t center, const double* position, Extent& extent);
  void find_box();
  double rounding_of(const Extent& extent, double cutoff) const;
  std::string name(std::size_t center) const;
  std::string remedy(std::size_t center) const;

  ReducedLattice lattice_;
  std::array<double, 3> lengths_{};  // of the periodic cell vectors, as sums of absolute components
  std::size_t n_atoms_ = 0;
  std::vector<Point> wrapped_;
  std::vector<Shift> wrap_;
  Point low_{};
  Point high_{};
  Extent extent_of_atoms_;
  Extent extent_of_all_;
};

}  // namespace castile
