#include "castile/basis/splined_basis.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <sstream>
#include <stdexcept>

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

/// First guess of the step; measured: cubic σ/32 gives 3e-9, quintic σ/12 gives 5e-11.
double first_step(double sigma, double accuracy) {
  return accuracy >= cubic_down_to ? sigma / 32.0 * std::pow(accuracy / 3e-9, 1.0 / 4.0)
                                   : sigma / 12.0 * std::pow(accuracy / 5e-11, 1.0 / 6.0);
}

/// A cutoff of very many widths of the Gaussians needs a knot for each fraction of them.
void require_affordable(double n_knots, double bytes_per_knot) {
  std::ostringstream what;
  what << "the radial table would hold " << n_knots << " knots";
  require_memory(n_knots * bytes_per_knot, what.str(), "use a larger sigma or a smaller cutoff");
  if (n_knots > most_knots) {
    what << ", more than " << most_knots << "; use a larger sigma or a smaller cutoff";
    throw std::invalid_argument(what.str());
  }
}

/// Vectors of the kernels hold at least 32 bytes.
template <typename T>
int padded(int n) {
  constexpr int lanes = static_cast<int>(32 / sizeof(T));
  return (n + lanes - 1) / lanes * lanes;
}

}  // namespace

template <typename T>
SplinedBasis<T>::SplinedBasis(const RadialBasis& basis, CutoffFunction cutoff_function, double accuracy)
    : cutoff_function_(cutoff_function),
      n_max_(basis.parameters().n_max),
      l_max_(basis.parameters().l_max),
      n_padded_(padded<T>(n_max_)) {
  if (!(accuracy >= best_accuracy && accuracy <= worst_accuracy)) {
    std::ostringstream message;
    message << "accuracy must lie between 1e-13 and 1e-2, got " << accuracy;
    throw std::invalid_argument(message.str());
  }
  // Rounding of the entries bounds what any step can reach.
  const double target = std::max(accuracy, 8.0 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  const HermiteForm form = accuracy >= cubic_down_to ? HermiteForm::cubic : HermiteForm::quintic;
  double step = std::min(first_step(basis.parameters().sigma, accuracy), cutoff_function_.cutoff() / 4.0);
  for (int refinement = 0;; ++refinement) {
    tabulate(basis, form, step);
    error_ = measure_error(basis);
    if (error_ <= sampling_margin * target) break;
    if (refinement == max_refinements) {
      std::ostringstream message;
      message << "accuracy of " << accuracy << " cannot be reached, only " << error_ << "; ask for less";
      throw std::invalid_argument(message.str());
    }
    step *= 0.8;
  }
}

template <typename T>
void SplinedBasis<T>::tabulate(const RadialBasis& basis, HermiteForm form, double step) {
  form_ = form;
  require_affordable(cutoff_function_.cutoff() / step,
                     static_cast<double>(hermite_orders(form) * row_length()) * sizeof(T));
  const auto n_intervals = static_cast<std::int64_t>(std::ceil(cutoff_function_.cutoff() / step));
  step_ = cutoff_function_.cutoff() / static_cast<double>(n_intervals);
  n_rows_ = n_intervals + 2;  // a spare row: r just below the cutoff may round up to the last knot
  const int orders = hermite_orders(form);
  data_.assign(static_cast<std::size_t>(n_rows_ * orders * row_length()), T(0));
  const auto size = static_cast<std::size_t>((l_max_ + 1) * n_max_);
  std::vector<double> row_maxima(static_cast<std::size_t>(n_rows_), 0.0);
  parallel_for(n_rows_, [&] {
    std::vector<double> functions(3 * size);
    return [&, functions](std::int64_t row) mutable {
      basis.evaluate(static_cast<double>(row) * step_, &functions[0], &functions[size], &functions[2 * size]);
      double scale = 1.0;
      for (int order = 0; order < orders; ++order) {
        T* out = data_.data() + (row * orders + order) * row_length();
        const double* in = &functions[static_cast<std::size_t>(order) * size];
        for (int l = 0; l <= l_max_; ++l) {
          for (int n = 0; n < n_max_; ++n) out[l * n_padded_ + n] = static_cast<T>(scale * in[l * n_max_ + n]);
        }
        scale *= step_;
      }
      for (std::size_t k = 0; k < size; ++k) {
        double& maximum = row_maxima[static_cast<std::size_t>(row)];
        maximum = std::max(maximum, std::abs(functions[k]));
      }
    };
  });
  largest_value_ = *std::max_element(row_maxima.begin(), row_maxima.end());
}

template <typename T>
double SplinedBasis<T>::measure_error(const RadialBasis& basis) const {
  const std::int64_t n_intervals = n_rows_ - 2;
  const std::int64_t n_samples = std::min(error_samples, n_intervals);
  const auto size = static_cast<std::size_t>((l_max_ + 1) * n_max_);
  std::vector<double> errors(static_cast<std::size_t>(n_samples), 0.0);
  parallel_for(n_samples, [&] {
    std::vector<double> exact(3 * size);
    std::vector<double> table(2 * size);
    return [&, exact, table](std::int64_t sample) mutable {
      const double interval = std::floor(static_cast<double>(sample * n_intervals) / static_cast<double>(n_samples));
      const double r = (interval + 0.5) * step_;
      basis.evaluate(r, &exact[0], &exact[size], &exact[2 * size]);
      interpolate(locate(r), &table[0], &table[size]);
      double& error = errors[static_cast<std::size_t>(sample)];
      for (std::size_t k = 0; k < size; ++k) error = std::max(error, std::abs(exact[k] - table[k]));
    };
  });
  return *std::max_element(errors.begin(), errors.end()) / largest_value_;
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
  RadialWeights result = locate(r);
  const auto [f, df] = cutoff_function_(r);
  for (int k = 0; k < 2 * hermite_orders(form_); ++k) {
    result.derivative[k] = result.derivative[k] * f + result.value[k] * df;
    result.value[k] *= f;
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
        const auto entry = static_cast<double>(rows[k * row_length() + l * n_padded_ + n]);
        value += w.value[k] * entry;
        derivative += w.derivative[k] * entry;
      }
      values[l * n_max_ + n] = value;
      derivatives[l * n_max_ + n] = derivative;
    }
  }
}

template <typename T>
void SplinedBasis<T>::evaluate(double r, double* values, double* derivatives) const {
  if (r >= cutoff_function_.cutoff()) {
    std::fill_n(values, (l_max_ + 1) * n_max_, 0.0);
    std::fill_n(derivatives, (l_max_ + 1) * n_max_, 0.0);
    return;
  }
  interpolate(weights(r), values, derivatives);
}

template class SplinedBasis<double>;
template class SplinedBasis<float>;

}  // namespace castile
