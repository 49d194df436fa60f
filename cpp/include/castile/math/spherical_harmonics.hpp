#pragma once

#include <vector>

namespace castile {

constexpr int largest_l_max = 30;

/// Index of the real spherical harmonic Y_lm, m = -l..l.
constexpr int lm_index(int l, int m) { return l * l + l + m; }

/// Number of real spherical harmonics up to degree l_max.
constexpr int n_lm(int l_max) { return (l_max + 1) * (l_max + 1); }

/// Factors F_lm that turn the monic harmonics of the kernels (the associated Legendre factor scaled to a
/// leading coefficient of one) into orthonormal real harmonics without the Condon-Shortley phase:
/// F_lm = sqrt((2l+1)/4π (l-|m|)!/(l+|m|)!) (sqrt 2 if m != 0) (2l-1)!!/(l-|m|)!. Size n_lm(l_max).
///
/// The kernels leave these factors out: they multiply the coefficients once per center instead.
std::vector<double> monic_to_orthonormal(int l_max);

}  // namespace castile
