#include "castile/geometry/structure.hpp"

#include <algorithm>
#include <cmath>

namespace castile {
namespace {

bool all_finite(const double* values, std::int64_t count) {
  double sum = 0.0;  // of zeros, or NaN
  for (std::int64_t k = 0; k < count; ++k) sum += values[k] - values[k];
  return sum == 0.0;
}

/// Of unit vectors along the periodic axes: the determinant of their scalar products; NaN where a vector has no
/// direction, is zero or its square overflows.
double gram_determinant(const double* cell, const bool* pbc) {
  const auto product = [&](int a, int b) {
    return cell[3 * a] * cell[3 * b] + cell[3 * a + 1] * cell[3 * b + 1] + cell[3 * a + 2] * cell[3 * b + 2];
  };
  double cosine[3];
  double self = 0.0;  // of zeros
  for (int axis = 0; axis < 3; ++axis) {
    const int a = (axis + 1) % 3;
    const int b = (axis + 2) % 3;
    if (pbc[axis]) self += product(axis, axis) / product(axis, axis) - 1.0;
    cosine[axis] = pbc[a] && pbc[b] ? product(a, b) / (std::sqrt(product(a, a)) * std::sqrt(product(b, b))) : 0.0;
  }
  const auto [x, y, z] = cosine;
  return 1.0 - x * x - y * y - z * z + 2.0 * x * y * z + self;
}

}  // namespace

Structure Structures::operator[](std::int64_t frame) const {
  const std::int64_t first = atom_offsets[frame];
  Structure structure;
  structure.n_atoms = atom_offsets[frame + 1] - first;
  structure.positions = positions + 3 * first;
  structure.species = species + first;
  std::copy_n(cells + 9 * frame, 9, structure.cell.begin());
  std::copy_n(pbc + 3 * frame, 3, structure.pbc.begin());
  return structure;
}

bool plainly_valid(const Structures& structures) {
  constexpr double no_doubt = 1e-8;
  const std::int64_t n_atoms = structures.atom_offsets[structures.n_frames];
  if (!all_finite(structures.positions, 3 * n_atoms) || !all_finite(structures.cells, 9 * structures.n_frames)) {
    return false;
  }
  for (std::int64_t frame = 0; frame < structures.n_frames; ++frame) {
    const double determinant = gram_determinant(structures.cells + 9 * frame, structures.pbc + 3 * frame);
    if (!(determinant > no_doubt)) return false;  // also for NaN
  }
  return true;
}

}  // namespace castile
