#include "castile/basis/tabulated_basis.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <string>

namespace castile {
namespace {

constexpr double largest_jump = 1e-8;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument("radial_basis: " + message); }

void check_breakpoints(const std::vector<double>& breakpoints) {
  bool ascending = breakpoints.size() >= 2 && breakpoints.front() == 0.0 && std::isfinite(breakpoints.back());
  for (std::size_t k = 0; ascending && k + 1 < breakpoints.size(); ++k) {
    ascending = breakpoints[k] < breakpoints[k + 1];
  }
  if (!ascending) refuse("breakpoints must be two or more finite distances that ascend from 0 Å");
}

void check(const RadialBasisParameters& p) {
  if (!p.tabulated) refuse("'tabulated' needs the functions themselves; give breakpoints and coefficients");
  const TabulatedFunctions& f = *p.tabulated;
  check_breakpoints(f.breakpoints);
  if (f.n_l != 1 && f.n_l != p.l_max + 1) {
    refuse("the functions must be those of one l for all, or of each of the " + std::to_string(p.l_max + 1) +
           " l up to l_max, got " + std::to_string(f.n_l));
  }
  const std::size_t expected = (f.breakpoints.size() - 1) * 4 * static_cast<std::size_t>(f.n_l * p.n_max);
  if (f.coefficients.size() != expected) {
    std::ostringstream message;
    message << "coefficients must have the shape (" << f.breakpoints.size() - 1 << ", 4, " << f.n_l << ", " << p.n_max
            << ") of intervals, powers, l and n_max, which is " << expected << " numbers, got "
            << f.coefficients.size();
    refuse(message.str());
  }
  const auto finite = [](double c) { return std::isfinite(c); };
  if (!std::all_of(f.coefficients.begin(), f.coefficients.end(), finite)) refuse("coefficients must be finite");
  if (std::all_of(f.coefficients.begin(), f.coefficients.end(), [](double c) { return c == 0.0; })) {
    refuse("coefficients must not all be zero");
  }
}

struct Cubic {
  double value, first, second;
};

/// Coefficients of ascending powers, `stride` apart.
Cubic evaluate_cubic(const double* c, std::size_t stride, double x) {
  const double c1 = c[stride];
  const double c2 = c[2 * stride];
  const double c3 = c[3 * stride];
  return {c[0] + x * (c1 + x * (c2 + x * c3)), c1 + x * (2.0 * c2 + 3.0 * x * c3), 2.0 * c2 + 6.0 * x * c3};
}

}  // namespace

TabulatedBasis::TabulatedBasis(const RadialBasisParameters& p) : ProjectedBasis(p) {
  check(p);
  if (functions().quantity == TabulatedFunctions::Quantity::radial_functions) {
    project(functions().breakpoints);
  } else {
    use_directly(functions().breakpoints.back());
  }
  if (!is_projected()) require_continuity();
}

void TabulatedBasis::radial_function(double x, double* values, double* first, double* second) const {
  const TabulatedFunctions& f = functions();
  const auto per_l = static_cast<std::size_t>(parameters().n_max);
  const auto stride = static_cast<std::size_t>(f.n_l) * per_l;
  const bool inside = x <= f.breakpoints.back();
  const auto above = std::upper_bound(f.breakpoints.begin() + 1, f.breakpoints.end() - 1, x);
  const auto interval = static_cast<std::size_t>(above - f.breakpoints.begin()) - 1;
  const double* coefficients = &f.coefficients[interval * 4 * stride];
  const std::size_t size = per_l * (static_cast<std::size_t>(parameters().l_max) + 1);
  for (std::size_t k = 0; k < size; ++k) {
    const Cubic cubic =
        inside ? evaluate_cubic(coefficients + k % stride, stride, x - f.breakpoints[interval]) : Cubic{};
    values[k] = cubic.value;
    first[k] = cubic.first;
    second[k] = cubic.second;
  }
}

void TabulatedBasis::require_continuity() const {
  const TabulatedFunctions& f = functions();
  const auto stride = static_cast<std::size_t>(f.n_l * parameters().n_max);
  std::vector<double> largest(2 * stride, 0.0);
  const auto grow = [](double& maximum, double value) { maximum = std::max(maximum, std::abs(value)); };
  const auto cubic_at = [&](std::size_t interval, std::size_t k, double x) {
    return evaluate_cubic(&f.coefficients[interval * 4 * stride + k], stride, x);
  };
  const std::size_t n_intervals = f.breakpoints.size() - 1;
  for (std::size_t interval = 0; interval < n_intervals; ++interval) {
    for (std::size_t k = 0; k < stride; ++k) {
      const Cubic start = cubic_at(interval, k, 0.0);
      grow(largest[k], start.value);
      grow(largest[stride + k], start.first);
    }
  }
  for (std::size_t interval = 0; interval + 1 < n_intervals; ++interval) {
    const double width = f.breakpoints[interval + 1] - f.breakpoints[interval];
    for (std::size_t k = 0; k < stride; ++k) {
      const Cubic left = cubic_at(interval, k, width);
      const Cubic right = cubic_at(interval + 1, k, 0.0);
      const bool jumps = std::abs(left.value - right.value) > largest_jump * largest[k] ||
                         std::abs(left.first - right.first) > largest_jump * largest[stride + k];
      if (!jumps) continue;
      const auto n_max = static_cast<std::size_t>(parameters().n_max);
      std::ostringstream message;
      message << "the function n = " << k % n_max << ", l = " << k / n_max << " has a jump or a kink at "
              << f.breakpoints[interval + 1] << " Å; without a Gaussian to smooth it, its value and first derivative "
              << "must be continuous";
      refuse(message.str());
    }
  }
}

std::vector<double> TabulatedBasis::breakpoints() const {
  return is_projected() ? std::vector<double>{} : functions().breakpoints;
}

double TabulatedBasis::length_scale() const {
  if (is_projected()) return parameters().sigma;
  // Splines are usually made of many more polynomials than they have waves.
  return 30.0 * functions().breakpoints.back() / static_cast<double>(functions().breakpoints.size() - 1);
}

}  // namespace castile
