#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace castile {

/// One configuration of atoms; a view, the arrays belong to the caller.
struct Structure {
  std::int64_t n_atoms = 0;
  const double* positions = nullptr;      ///< (n_atoms, 3) in Å
  const std::int32_t* species = nullptr;  ///< (n_atoms), dense indices from 0
  std::array<double, 9> cell{};           ///< (3, 3), rows are the cell vectors; zero rows where there is none
  std::array<bool, 3> pbc{};
};

/// Many configurations behind each other; a view, the arrays belong to the caller.
struct Structures {
  std::int64_t n_frames = 0;
  const double* positions = nullptr;           ///< (n_atoms_total, 3)
  const std::int32_t* species = nullptr;       ///< (n_atoms_total)
  const double* cells = nullptr;               ///< (n_frames, 3, 3)
  const bool* pbc = nullptr;                   ///< (n_frames, 3)
  const std::int64_t* atom_offsets = nullptr;  ///< (n_frames + 1), atoms of frame f: [f] to [f + 1]

  Structure operator[](std::int64_t frame) const;
};

/// Whether all coordinates are finite and the periodic cell vectors span a volume beyond doubt; a closer look may
/// accept what this does not. The species do not count.
bool plainly_valid(const Structures& structures);

}  // namespace castile
