#pragma once

#include <cstdint>
#include <vector>

#include "castile/basis/cutoff_function.hpp"
#include "castile/basis/radial_basis.hpp"
#include "castile/math/spline.hpp"

namespace castile {

/// Where a neighbor lies in the table, and the weights that interpolate there.
///
/// The cutoff function multiplies the weights, not the table: its second derivative jumps, and a spline
/// through such a point loses three digits.
struct RadialWeights {
  std::int32_t row = 0;
  double value[max_hermite_weights] = {};
  double derivative[max_hermite_weights] = {};  ///< for d/dr of the same interpolant
};

/// A radial basis tabulated on [0, cutoff] with uniform knots.
///
/// Row k holds, for each derivative order (value, h R', h² R''), the functions (l_max + 1, n_padded) with n
/// fastest, padded with zeros. Forces computed from it are exact derivatives of the tabulated energy.
template <typename T>
class SplinedBasis {
 public:
  /// `accuracy` bounds the interpolation error relative to max |R|; the table is refined until it holds.
  SplinedBasis(const RadialBasis& basis, CutoffFunction cutoff_function, double accuracy);

  RadialWeights weights(double r) const;

  HermiteForm form() const { return form_; }
  int n_max() const { return n_max_; }
  int l_max() const { return l_max_; }
  int n_padded() const { return n_padded_; }
  std::int64_t row_length() const { return static_cast<std::int64_t>(l_max_ + 1) * n_padded_; }
  std::int64_t n_rows() const { return n_rows_; }
  const T* data() const { return data_.data(); }
  double step() const { return step_; }
  /// Largest interpolation error found between knots, relative to max |R|.
  double error() const { return error_; }

  /// Interpolated R_nl(r) f_c(r) and its derivative, each (l_max + 1, n_max); for tests and plots.
  void evaluate(double r, double* values, double* derivatives) const;

 private:
  void tabulate(const RadialBasis& basis, HermiteForm form, double step);
  double measure_error(const RadialBasis& basis) const;
  RadialWeights locate(double r) const;
  void interpolate(const RadialWeights& weights, double* values, double* derivatives) const;

  CutoffFunction cutoff_function_;
  HermiteForm form_ = HermiteForm::cubic;
  int n_max_;
  int l_max_;
  int n_padded_;
  std::int64_t n_rows_ = 0;
  double step_ = 0.0;
  double error_ = 0.0;
  double largest_value_ = 0.0;
  std::vector<T> data_;
};

}  // namespace castile
