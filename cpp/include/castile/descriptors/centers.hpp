#pragma once

#include <cstdint>

namespace castile {

/// The centers of each structure, and the rows that they make when they are averaged; a view.
///
/// A center is an atom, or a point in space that moves with the cell alone. Without averages every center is a row.
/// With averages a row is the mean over a run of centers of one structure: all of them, or those of a group.
struct Centers {
  const std::int64_t* atoms = nullptr;        ///< (n_centers) index within the structure, each once; -1 for a point
  const double* points = nullptr;             ///< (n_centers, 3) Å, read where `atoms` is -1; or null
  const std::int64_t* offsets = nullptr;      ///< (n_frames + 1): centers of frame f
  const std::int64_t* row_offsets = nullptr;  ///< (n_rows + 1): centers of averaged row r; null: a row per frame
  std::int64_t n_rows = 0;                    ///< if row_offsets is given
};

}  // namespace castile
