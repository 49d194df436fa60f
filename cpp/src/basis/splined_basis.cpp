#include "castile/basis/splined_basis.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <type_traits>

#include "castile/memory.hpp"
#include "castile/parallel.hpp"

namespace castile {
namespace {

constexpr double best_accuracy = 1e-13;
constexpr double worst_accuracy = 1e-2;
constexpr double cubic_down_to = 1e-9;
constexpr int max_refinements = 12;
constexpr double most_knots = 1e6;  // takes minutes to fill
constexpr std::int64_t error_samples = 96;
constexpr double sampling_margin = 0.9;  // the largest error may lie between the samples
constexpr double uniform_to = 1e-10;     // of a spacing
constexpr double vanishes_below = 1e-8;  // of the largest value
constexpr double dense = 8.0;            // breakpoints in a step

/// First guess of the step; measured: cubic 1/32 of the scale gives 3e-9, quintic 1/12 gives 5e-11.
double first_step(double scale, HermiteForm form, double accuracy) {
  return form == HermiteForm::cubic ? scale / 32.0 * std::pow(accuracy / 3e-9, 1.0 / 4.0)
                                    : scale / 12.0 * std::pow(accuracy / 5e-11, 1.0 / 6.0);
}

/// A cutoff of very many widths of the Gaussians needs a knot for each fraction of them.
void require_affordable(double n_knots, double bytes_per_knot) {
  std::ostringstream what;
  what << "the radial table would hold " << n_knots << " knots";
  require_memory(n_knots * bytes_per_knot, what.str(), "use a larger sigma, a smaller cutoff or less accuracy");
  if (n_knots > most_knots) {
    what << ", more than " << most_knots << "; use a larger sigma, a smaller cutoff or less accuracy";
    throw std::invalid_argument(what.str());
  }
}

/// Vectors of the kernels hold at least 32 bytes.
template <typename T>
int padded(int n) {
  constexpr int lanes = static_cast<int>(32 / sizeof(T));
  return (n + lanes - 1) / lanes * lanes;
}

/// The distance between breakpoints that are multiples of it; 0 for others.
double uniform_spacing(const std::vector<double>& breakpoints) {
  if (breakpoints.size() < 2) return 0.0;
  const double spacing = breakpoints.back() / static_cast<double>(breakpoints.size() - 1);
  for (std::size_t k = 0; k < breakpoints.size(); ++k) {
    if (std::abs(breakpoints[k] - static_cast<double>(k) * spacing) > uniform_to * spacing) return 0.0;
  }
  return spacing;
}

/// The largest divisor of n that is at most `limit`, which is 1 or more.
std::int64_t divisor_up_to(std::int64_t n, double limit) {
  auto divisor = static_cast<std::int64_t>(std::min(limit, static_cast<double>(n)));
  while (n % divisor != 0) --divisor;
  return divisor;
}

/// The midpoints of some intervals, and all of those intervals, if any, where the functions have breakpoints.
std::vector<double> places_to_check(double step, std::int64_t n_intervals, const std::vector<double>& breakpoints) {
  std::vector<double> places;
  const std::int64_t n_samples = std::min(error_samples, n_intervals);
  for (std::int64_t sample = 0; sample < n_samples; ++sample) {
    places.push_back((static_cast<double>(sample * n_intervals / n_samples) + 0.5) * step);
  }
  for (const double r : breakpoints) {
    const double interval = std::floor(r / step);
    if (r <= 0.0 || interval >= static_cast<double>(n_intervals)) continue;  // a rounding off the end counts as beyond
    places.push_back(r);
    for (const double part : {0.25, 0.5, 0.75}) places.push_back((interval + part) * step);
  }
  return places;
}

}  // namespace

template <typename T>
SplinedBasis<T>::SplinedBasis(const RadialBasis& basis, const PairWeight& weight, double accuracy)
    : weight_(weight),
      n_max_(basis.parameters().n_max),
      l_max_(basis.parameters().l_max),
      n_padded_(padded<T>(n_max_)),
      end_(std::min(weight.reach(), basis.support())) {
  if (!(accuracy >= best_accuracy && accuracy <= worst_accuracy)) {
    std::ostringstream message;
    message << "accuracy must lie between 1e-13 and 1e-2, got " << accuracy;
    throw std::invalid_argument(message.str());
  }
  const auto breakpoints = basis.breakpoints();
  const double spacing = uniform_spacing(breakpoints);
  // The second derivatives of piecewise cubic functions may jump, and more of them gains nothing.
  form_ = accuracy >= cubic_down_to || !breakpoints.empty() ? HermiteForm::cubic : HermiteForm::quintic;
  const double order_of_error = breakpoints.empty() ? 2.0 * hermite_orders(form_) : 3.0;
  // Rounding of the entries bounds what any step can reach.
  const double target = std::max(accuracy, 8.0 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  // In single precision, differences of close entries lose their digits: of breakpoints that are far denser than the
  // accuracy needs, some become knots.
  const bool thins_out = std::is_same_v<T, float> && spacing > 0.0;
  double step = thins_out ? end_ / 16.0 : std::min(first_step(basis.length_scale(), form_, accuracy), end_ / 4.0);
  const auto n_spacings = static_cast<std::int64_t>(breakpoints.size()) - 1;
  for (int refinement = 0;; ++refinement) {
    // A knot at the end of the support, where the functions may have a kink; or at breakpoints.
    const bool thin = thins_out && step >= dense * spacing && refinement < max_refinements;
    if (spacing > 0.0) {
      step_ = spacing * static_cast<double>(thin ? divisor_up_to(n_spacings, step / spacing) : 1);
    } else {
      step_ = end_ / std::ceil(end_ / step);
    }
    tabulate(basis);
    error_ = measure_error(basis);
    if (error_ <= sampling_margin * target) break;
    if (refinement == max_refinements || (spacing > 0.0 && !thin)) {
      std::ostringstream message;
      message << "accuracy of " << accuracy << " cannot be reached, only " << error_ << "; ask for less";
      throw std::invalid_argument(message.str());
    }
    step *= std::clamp(0.95 * std::pow(target / error_, 1.0 / order_of_error), 0.25, 0.8);
  }
  store_shared();
}

template <typename T>
void SplinedBasis<T>::tabulate(const RadialBasis& basis) {
  const int orders = hermite_orders(form_);
  require_affordable(end_ / step_, static_cast<double>(orders * row_length()) * sizeof(T));
  const auto n_knots = static_cast<std::int64_t>(std::ceil(end_ / step_ - uniform_to)) + 1;
  n_rows_ = n_knots + extra_rows;
  data_.assign(static_cast<std::size_t>(n_rows_ * orders * row_length()), T(0));
  const auto size = static_cast<std::size_t>((l_max_ + 1) * n_max_);
  std::vector<double> row_maxima(static_cast<std::size_t>(n_knots), 0.0);
  parallel_for(n_knots, [&] {
    std::vector<double> functions(3 * size);
    return [&, functions](std::int64_t row) mutable {
      // The last knot is the end itself: one rounding beyond a support there would be nothing.
      const double r = static_cast<double>(row) * step_;
      const double support = basis.support();
      basis.evaluate(row + 1 == n_knots && r > support ? support : r, &functions[0], &functions[size],
                     &functions[2 * size]);
      store(row, functions.data());
      double& maximum = row_maxima[static_cast<std::size_t>(row)];
      for (std::size_t k = 0; k < size; ++k) maximum = std::max(maximum, std::abs(functions[k]));
    };
  });
  largest_value_ = *std::max_element(row_maxima.begin(), row_maxima.end());
  store_origin(basis);
}

/// Writes values and derivatives (3, l_max + 1, n_max) into a row.
template <typename T>
void SplinedBasis<T>::store(std::int64_t row, const double* functions) {
  const int orders = hermite_orders(form_);
  double scale = 1.0;
  for (int order = 0; order < orders; ++order) {
    T* out = data_.data() + (row * orders + order) * row_length();
    for (int l = 0; l <= l_max_; ++l) {
      for (int n = 0; n < n_max_; ++n) out[entry(l, n)] = static_cast<T>(scale * *functions++);
    }
    scale *= step_;
  }
}

// A neighbor at the center has no direction, so that only l = 0 has a value. Only l = 1 has a gradient, and it only if
// R_1 goes to zero there: else, as for l = 0 with a cusp, none is defined.
template <typename T>
void SplinedBasis<T>::store_origin(const RadialBasis& basis) {
  const auto n_max = static_cast<std::size_t>(n_max_);
  const std::size_t size = n_max * static_cast<std::size_t>(l_max_ + 1);
  std::vector<double> at_zero(3 * size);
  basis.evaluate(0.0, &at_zero[0], &at_zero[size], &at_zero[2 * size]);
  std::vector<double> seen(3 * size, 0.0);
  std::copy_n(at_zero.begin(), n_max, seen.begin());
  for (std::size_t n = n_max; n < std::min(2 * n_max, size); ++n) {
    if (std::abs(at_zero[n]) <= vanishes_below * largest_value_) seen[size + n] = at_zero[size + n];
  }
  store(origin_row(), seen.data());
}

template <typename T>
void SplinedBasis<T>::store_shared() {
  if (l_max_ == 0) return;
  const std::int64_t n_lines = n_rows_ * hermite_orders(form_), n_compared = origin_row() * hermite_orders(form_);
  for (std::int64_t line = 0; line < n_compared; ++line) {
    const T* functions = data_.data() + line * row_length();
    for (int l = 1; l <= l_max_; ++l) {
      for (int n = 0; n < n_max_; ++n) {
        if (functions[entry(l, n)] != functions[entry(0, n)]) return;
      }
    }
  }
  shared_data_.assign(static_cast<std::size_t>(n_lines * shared_row_length()), T(0));
  for (std::int64_t line = 0; line < n_lines; ++line) {
    const T* from = data_.data() + line * row_length();
    T* to = shared_data_.data() + line * shared_row_length();
    for (int n = 0; n < n_max_; ++n) to[n] = from[entry(0, n)];
  }
}

template <typename T>
double SplinedBasis<T>::measure_error(const RadialBasis& basis) const {
  const std::vector<double> places = places_to_check(step_, n_intervals(), basis.breakpoints());
  const auto size = static_cast<std::size_t>((l_max_ + 1) * n_max_);
  std::vector<double> errors(places.size(), 0.0);
  parallel_for(static_cast<std::int64_t>(places.size()), [&] {
    std::vector<double> exact(3 * size);
    std::vector<double> table(2 * size);
    return [&, exact, table](std::int64_t sample) mutable {
      const double r = places[static_cast<std::size_t>(sample)];
      basis.evaluate(r, &exact[0], &exact[size], &exact[2 * size]);
      interpolate(locate(r), &table[0], &table[size]);
      double& error = errors[static_cast<std::size_t>(sample)];
      for (std::size_t k = 0; k < size; ++k) error = std::max(error, std::abs(exact[k] - table[k]));
    };
  });
  return largest_value_ > 0.0 ? *std::max_element(errors.begin(), errors.end()) / largest_value_ : 0.0;
}

template <typename T>
RadialWeights SplinedBasis<T>::locate(double r) const {
  const double position = r / step_;
  RadialWeights result;
  result.row = static_cast<std::int32_t>(position);
  hermite_weights(form_, position - result.row, result.value, result.derivative);
  for (int k = 0; k < 2 * hermite_orders(form_); ++k) result.derivative[k] /= step_;
  return result;
}

template <typename T>
RadialWeights SplinedBasis<T>::weights(double r) const {
  if (r >= end_) return {};
  RadialWeights result = locate(r);
  const auto [w, dw] = weight_(r);
  if (r == 0.0) result.row = static_cast<std::int32_t>(origin_row());
  // The gradient of a neighbor at the center is a limit, which w0 does not change.
  const double slope_weight = r == 0.0 ? weight_.limit_at_zero() : w;
  for (int k = 0; k < 2 * hermite_orders(form_); ++k) {
    result.derivative[k] = result.derivative[k] * slope_weight + result.value[k] * dw;
    result.value[k] *= w;
  }
  return result;
}

template <typename T>
void SplinedBasis<T>::interpolate(const RadialWeights& w, double* values, double* derivatives) const {
  const int orders = hermite_orders(form_);
  const T* rows = data_.data() + static_cast<std::int64_t>(w.row) * orders * row_length();
  for (int l = 0; l <= l_max_; ++l) {
    for (int n = 0; n < n_max_; ++n) {
      double value = 0.0;
      double derivative = 0.0;
      for (int k = 0; k < 2 * orders; ++k) {
        const auto knot = static_cast<double>(rows[k * row_length() + entry(l, n)]);
        value += w.value[k] * knot;
        derivative += w.derivative[k] * knot;
      }
      values[l * n_max_ + n] = value;
      derivatives[l * n_max_ + n] = derivative;
    }
  }
}

template <typename T>
void SplinedBasis<T>::evaluate(double r, double* values, double* derivatives) const {
  interpolate(weights(r), values, derivatives);
}

template class SplinedBasis<double>;
template class SplinedBasis<float>;

}  // namespace castile
