"""The user's frames and centers, checked, and cut into the calls that go to the compiled core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _core
from castile.descriptors._centers import Centers, select_centers
from castile.errors import InputError
from castile.structures import (
    IntArray,
    StructureArrays,
    as_structure_arrays,
    is_single_frame,
    species_table,
)

__all__ = ["Chunk", "DescriptorInput", "prepare_input"]

# Large enough to keep all threads busy, small enough that progress moves. Frames are never cut, so that what is
# prepared for a frame is prepared once, and sums over its centers do not depend on the batch.
_CHUNK_CENTERS = 8192


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames and centers that go to the core in one call, and where their results belong."""

    structures: _core.Structures
    centers: Centers
    rows: slice
    atoms: slice
    frames: slice

    @property
    def arguments(self) -> tuple[_core.Structures, IntArray, IntArray]:
        """What every method of the compiled descriptors takes first."""
        return self.structures, self.centers.atoms, self.centers.offsets


@dataclass(frozen=True, eq=False)
class DescriptorInput:
    """The user's frames and centers, checked."""

    structures: StructureArrays
    centers: Centers
    species: tuple[str, ...]
    species_of_number: npt.NDArray[np.int32]
    per_frame: bool
    """One row per frame instead of one per center."""

    @property
    def n_rows(self) -> int:
        """Rows of the feature matrix."""
        return self.structures.n_frames if self.per_frame else len(self.centers.atoms)

    def frame_of_centers(self) -> IntArray:
        """Return the frame of each center, shape (n_centers,)."""
        return np.repeat(np.arange(self.structures.n_frames), np.diff(self.centers.offsets))

    def chunks(self, max_rows: int | None = None) -> Iterator[tuple[int, Chunk]]:
        """Yield (rows, chunk) in order, of at most ``max_rows`` rows unless one frame has more."""
        rows = np.arange(self.structures.n_frames + 1) if self.per_frame else self.centers.offsets
        start = 0
        while start < self.structures.n_frames:
            stop = _last_within(self.centers.offsets, start, _CHUNK_CENTERS)
            if max_rows is not None:
                stop = min(stop, _last_within(rows, start, max_rows))
            stop = max(stop, start + 1)
            yield self._chunk(start, stop)
            start = stop

    def _chunk(self, start: int, stop: int) -> tuple[int, Chunk]:
        core = self.structures.slice(start, stop).to_core(self.species_of_number)
        frames = slice(start, stop)
        rows = slice(int(self.centers.offsets[start]), int(self.centers.offsets[stop]))
        if self.per_frame:
            rows = frames
        offsets = self.structures.atom_offsets
        atoms = slice(int(offsets[start]), int(offsets[stop]))
        return rows.stop - rows.start, Chunk(core, self.centers.slice(start, stop), rows, atoms, frames)


def _last_within(offsets: IntArray, start: int, room: int) -> int:
    """Return the last frame offset that is no more than ``room`` away from that of ``start``."""
    return int(np.searchsorted(offsets, offsets[start] + room, side="right")) - 1


def prepare_input(
    frames: Any, centers: Any, species: Sequence[str], owner: str, *, per_frame: bool
) -> DescriptorInput:
    """Check what the user gave.

    Parameters
    ----------
    frames : ase.Atoms or a sequence of them
    centers : see :meth:`castile.SOAP.transform`
    species : sequence of str
        Symbols that the columns are laid out for, sorted by atomic number.
    owner : str
        Name of the descriptor, for messages.
    per_frame : bool
        One row per frame instead of one per center.
    """
    structures = as_structure_arrays(frames)
    if structures.n_frames == 0:
        raise InputError("frames is empty; give at least one ase.Atoms")
    table = species_table(species, structures.numbers, owner)
    chosen = select_centers(centers, structures, is_single_frame(frames))
    return DescriptorInput(structures, chosen, tuple(species), table, per_frame)
