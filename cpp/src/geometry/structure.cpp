#include "castile/geometry/structure.hpp"

#include <algorithm>

namespace castile {

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

}  // namespace castile
