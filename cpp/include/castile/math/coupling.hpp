#pragma once

#include <vector>

namespace castile {

/// One product of a coupling: component `third` gets `coefficient` times components `first` and `second`.
struct CouplingEntry {
  int first, second, third;  ///< m + l
  double coefficient;
};

/// How the components of two tensors that rotate as real spherical harmonics of degrees l1 and l2 (without the
/// Condon-Shortley phase, m = -l..l) combine to one of degree l, |l1 - l2| <= l <= l1 + l2: Clebsch-Gordan
/// coefficients in the real basis, sorted by `third`, the squares of each of whose components sum to one.
///
/// Varshalovich, Moskalev, Khersonskii, Quantum Theory of Angular Momentum (1988), section 8.2.
std::vector<CouplingEntry> real_coupling(int l1, int l2, int l);

}  // namespace castile
