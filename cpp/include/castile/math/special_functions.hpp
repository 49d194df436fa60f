#pragma once

#include <vector>

namespace castile {

/// j_l(x) of l = 0..l_max at x >= 0 into `values` (l_max + 1).
void spherical_bessel(int l_max, double x, double* values);

/// exp(-y) i_l(y), the modified spherical Bessel functions of the first kind scaled so that they do not overflow, of
/// l = 0..l_max at y >= 0 into `values` (l_max + 1).
void scaled_modified_spherical_bessel(int l_max, double y, double* values);

/// The first n positive zeros of j_l for l = 0..l_max, (l_max + 1, n), ascending.
std::vector<double> spherical_bessel_zeros(int l_max, int n);

}  // namespace castile
