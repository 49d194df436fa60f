"""The user's frames and centers, checked, and cut into the calls that go to the compiled core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _core
from castile.descriptors._centers import Centers, select_centers
from castile.descriptors._rows import Rows, make_rows
from castile.errors import InputError
from castile.structures import (
    IntArray,
    StructureArrays,
    as_structure_arrays,
    is_single_frame,
    species_table,
)

__all__ = ["Chunk", "DescriptorInput", "last_within", "prepare_input"]

# Large enough to keep all threads busy, small enough that progress moves. Frames are never cut, so that what is
# prepared for a frame is prepared once, and sums over its centers do not depend on the batch.
_CHUNK_CENTERS = 8192


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames and centers that go to the core in one call, and where their results belong."""

    arguments: tuple[_core.Structures, _core.Centers]
    """What every method of the compiled descriptors takes first."""
    rows: slice
    centers: slice
    atoms: slice
    frames: slice


@dataclass(frozen=True, eq=False)
class DescriptorInput:
    """The user's frames and centers, checked."""

    structures: StructureArrays
    rows: Rows
    species: tuple[str, ...]
    species_of_number: npt.NDArray[np.int32]

    @property
    def n_rows(self) -> int:
        """Rows of the feature matrix."""
        return self.rows.n_rows

    @property
    def centers(self) -> Centers:
        """Centers of all frames, in the order of the rows."""
        return self.rows.centers

    def chunks(self, max_rows: int | None = None) -> Iterator[tuple[int, Chunk]]:
        """Yield (rows, chunk) in order, of at most ``max_rows`` rows unless one frame has more."""
        if self.structures.n_frames == 1 or (max_rows is None and len(self.centers) <= _CHUNK_CENTERS):
            yield self._whole()
            return
        start = 0
        while start < self.structures.n_frames:
            stop = last_within(self.centers.offsets, start, _CHUNK_CENTERS)
            if max_rows is not None:
                stop = min(stop, last_within(self.rows.frame_offsets, start, max_rows))
            stop = max(stop, start + 1)
            yield self._chunk(start, stop)
            start = stop

    def _whole(self) -> tuple[int, Chunk]:
        """Return what :meth:`_chunk` does of all frames."""
        structures = self.structures.to_core(self.species_of_number)
        chunk = Chunk(
            (structures, self.centers.to_core(self.rows.center_offsets)),
            slice(0, self.n_rows),
            slice(0, len(self.centers)),
            slice(0, self.structures.n_atoms),
            slice(0, self.structures.n_frames),
        )
        return self.n_rows, chunk

    def _chunk(self, start: int, stop: int) -> tuple[int, Chunk]:
        def range_of(offsets: IntArray) -> slice:
            return slice(int(offsets[start]), int(offsets[stop]))

        structures = self.structures.slice(start, stop).to_core(self.species_of_number)
        own = self.rows.slice(start, stop)
        rows = range_of(self.rows.frame_offsets)
        return rows.stop - rows.start, Chunk(
            (structures, own.centers.to_core(own.center_offsets)),
            rows,
            range_of(self.centers.offsets),
            range_of(self.structures.atom_offsets),
            slice(start, stop),
        )


def last_within(offsets: IntArray, start: int, room: int) -> int:
    """Return the last frame offset that is no more than ``room`` away from that of ``start``."""
    return int(np.searchsorted(offsets, offsets[start] + room, side="right")) - 1


def prepare_input(
    frames: Any,
    centers: Any,
    groups: Any,
    species: Sequence[str],
    *,
    owner: str,
    average: str,
    first_frame: int = 0,
) -> DescriptorInput:
    """Check what the user gave.

    Parameters
    ----------
    frames : ase.Atoms or a sequence of them
    centers, groups : see :meth:`castile.SOAP.transform`
    species : sequence of str
        Symbols that the columns are laid out for, sorted by atomic number.
    owner : str
        Name of the descriptor, for messages.
    average : str
        See :class:`castile.SOAP`.
    first_frame : int
        Number of the first frame, for messages: of frames that are a part of a stream.
    """
    structures = as_structure_arrays(frames, first_frame)
    if structures.n_frames == 0:
        raise InputError("frames is empty; give at least one ase.Atoms")
    table = species_table(species, structures.numbers, owner)
    single = is_single_frame(frames)
    rows = make_rows(select_centers(centers, structures, single), average, groups, structures, single)
    return DescriptorInput(structures, rows, tuple(species), table)
