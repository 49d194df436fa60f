#pragma once

namespace castile {

/// Piecewise polynomials through values and derivatives at the knots.
enum class HermiteForm {
  cubic = 2,    ///< values and first derivatives
  quintic = 3,  ///< values, first and second derivatives
};

/// Derivatives stored per knot, the value included.
constexpr int hermite_orders(HermiteForm form) { return static_cast<int>(form); }

constexpr int max_hermite_weights = 6;

/// Weights of an interpolation at t in [0, 1] between two knots, in the order
/// (left: value, h f', h² f''; right: the same), and their derivatives with respect to t.
/// Both arrays hold `2 * hermite_orders(form)` numbers.
void hermite_weights(HermiteForm form, double t, double* weights, double* derivatives);

}  // namespace castile
