#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "castile/aligned.hpp"
#include "castile/basis/pair_weight.hpp"
#include "castile/basis/radial_basis.hpp"
#include "castile/math/spline.hpp"

namespace castile {

/// Where a neighbor lies in the table, and the weights that interpolate there.
///
/// The neighbor's own weight multiplies the interpolation's, not the table: its second derivative jumps, and a spline
/// through such a point loses three digits.
struct RadialWeights {
  std::int32_t row = 0;
  double value[max_hermite_weights] = {};
  double derivative[max_hermite_weights] = {};  ///< for d/dr of the same interpolant
};

/// A radial basis tabulated with uniform knots from 0 to the reach of the neighbors, or to the end of its support if
/// that comes first: R_nl(r) w(r) is exactly zero from either on.
///
/// Row k holds, for each derivative order (value, h R', h² R''), the functions, padded with zeros to n_padded for each
/// degree: those that fill a cache line for all degrees, then the next ones, so that no vector is loaded from two
/// lines. See `entry`. Forces computed from it are exact derivatives of the tabulated energy.
///
/// Functions that are cubic polynomials between uniform breakpoints are reproduced exactly, because these become knots
/// (in single precision some of them, where they are far more than the accuracy needs).
/// Other breakpoints cost knots: the error falls with the third power of the step if the second derivative is
/// continuous there, else with the second.
template <typename T>
class SplinedBasis {
 public:
  /// `accuracy` bounds the interpolation error relative to max |R|; the table is refined until it holds.
  SplinedBasis(const RadialBasis& basis, const PairWeight& weight, double accuracy);

  /// For 0 <= r. At r = 0 the limits that a density at the center has, whatever direction the harmonics were given: a
  /// value for l = 0 alone and a slope for l = 1 alone.
  RadialWeights weights(double r) const;

  const PairWeight& weight() const { return weight_; }
  HermiteForm form() const { return form_; }
  int n_max() const { return n_max_; }
  int l_max() const { return l_max_; }
  int n_padded() const { return n_padded_; }
  /// Numbers from one row, or order, to the next: whole cache lines.
  std::int64_t row_length() const { return (n_functions() + per_line - 1) / per_line * per_line; }
  /// (l_max + 1) * n_padded
  std::int64_t n_functions() const { return static_cast<std::int64_t>(l_max_ + 1) * n_padded_; }
  /// Where function n of degree l is in a row.
  std::int64_t entry(int l, int n) const {
    const int first = n / per_line * per_line;
    return static_cast<std::int64_t>(l_max_ + 1) * first + l * std::min(per_line, n_padded_ - first) + n - first;
  }
  std::int64_t n_rows() const { return n_rows_; }
  const T* data() const { return data_.data(); }
  /// Whether all degrees have the same functions; then there are rows with just one copy of them, which differ from the
  /// others in what is seen at r = 0.
  bool shares_functions() const { return !shared_data_.empty(); }
  const T* shared_data() const { return shared_data_.data(); }
  std::int64_t shared_row_length() const { return (n_padded_ + per_line - 1) / per_line * per_line; }
  std::int64_t n_bytes() const { return static_cast<std::int64_t>((data_.size() + shared_data_.size()) * sizeof(T)); }
  double step() const { return step_; }
  /// From there on, everything is zero: the smaller of the weight's reach and the basis' support.
  double end() const { return end_; }
  /// Largest interpolation error found between knots, relative to max |R|.
  double error() const { return error_; }

  /// Interpolated R_nl(r) w(r) and its derivative, each (l_max + 1, n_max); for tests and plots.
  void evaluate(double r, double* values, double* derivatives) const;

 private:
  static constexpr int per_line = static_cast<int>(64 / sizeof(T));
  /// Rows behind the last knot: what is seen at r = 0, and zeros for the kernels, which read two rows.
  static constexpr std::int64_t extra_rows = 2;
  std::int64_t n_intervals() const { return n_rows_ - extra_rows - 1; }
  std::int64_t origin_row() const { return n_rows_ - extra_rows; }

  void tabulate(const RadialBasis& basis);
  void store(std::int64_t row, const double* functions);
  void store_origin(const RadialBasis& basis);
  void store_shared();
  double measure_error(const RadialBasis& basis) const;
  RadialWeights locate(double r) const;
  void interpolate(const RadialWeights& weights, double* values, double* derivatives) const;

  PairWeight weight_;
  HermiteForm form_ = HermiteForm::cubic;
  int n_max_;
  int l_max_;
  int n_padded_;
  std::int64_t n_rows_ = 0;
  double end_;
  double step_ = 0.0;
  double error_ = 0.0;
  double largest_value_ = 0.0;
  AlignedVector<T> data_, shared_data_;
};

}  // namespace castile
