"""Lays out an explicit Jacobian, tells its size, and fills it chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from castile import _core
from castile._pages import array_in, new_array
from castile.descriptors._input import Chunk, DescriptorInput
from castile.descriptors.jacobian import Jacobian, JacobianGroup, MemoryEstimate, StrainGroup
from castile.progress import track
from castile.structures import IntArray

__all__ = ["JacobianBuilder"]

# Row, frame and atom of a block in the layout of its chunk, in a copy of that, and joined; and which block it is.
_INDEX_BYTES = 3 * 3 * 8 + 2 * 8
_CSR_INDEX_BYTES = 4


# Whether blocks have all columns of their rows, species of what moves, and the channels that the rows see.
_Key: TypeAlias = "tuple[bool, int, tuple[int, ...]]"


class _Part:
    """Values of the same columns that the chunks fill one behind the other."""

    def __init__(self) -> None:
        self.n = 0
        self.n_columns = 0
        self.indices: list[tuple[IntArray, ...]] = []
        self.values: npt.NDArray[Any]
        self.filled = 0

    def count(self, n: int, n_columns: int) -> None:
        self.n += n
        self.n_columns = n_columns

    def allocate(self, axes: tuple[int, ...], dtype: np.dtype[Any], used: list[npt.NDArray[Any]]) -> None:
        """Make the array of values, or take the smallest of some used ones that is large enough."""
        shape = (self.n, *axes, self.n_columns)
        array = array_in(used, shape, dtype)
        self.values = new_array(shape, dtype)[0] if array is None else array

    def take(self, *indices: IntArray) -> npt.NDArray[Any]:
        """Return the next values to fill, whose places the indices tell."""
        self.indices.append(indices)
        self.filled += len(indices[0])
        return self.values[self.filled - len(indices[0]) : self.filled]

    def joined_indices(self) -> tuple[IntArray, ...]:
        return tuple(np.concatenate(part) for part in zip(*self.indices, strict=True))


class JacobianBuilder:
    """A Jacobian whose blocks are counted but not yet computed.

    Rows come in order, so a chunk's blocks are a contiguous part of each group. ``check`` is called with the estimate
    of what was counted so far and the bytes of it that will lie in memory of ``out``, and may raise; without it the
    Jacobian is counted, but cannot be built.
    """

    def __init__(
        self,
        core: Any,
        given: DescriptorInput,
        dtype: str,
        *,
        strain: bool,
        sparse: bool,
        check: Callable[[MemoryEstimate, int], None] | None,
        out: Jacobian | None = None,
    ) -> None:
        self._core = core
        self._given = given
        self._dtype = np.dtype(dtype)
        self._strain = strain
        self._sparse = sparse
        self._out = out
        self._used = [] if out is None else out.memory()
        self._layouts: list[tuple[int, Chunk, _core.JacobianLayout]] = []
        # Chunks number their groups and sets by themselves; these keys tell which are the same.
        self._blocks: dict[_Key, _Part] = {}
        self._sets: dict[tuple[int, ...], _Part] = {}
        for rows, chunk in given.chunks():
            layout = core.jacobian_layout(*chunk.arguments, sparse)
            if check is not None:  # else it is not built
                self._layouts.append((rows, chunk, layout))
            for channels, n_columns, own_rows in layout.sets:
                self._sets.setdefault(channels, _Part()).count(len(own_rows), n_columns)
            for key, (*_, n_columns, row, _, _) in _keyed_groups(layout):
                self._blocks.setdefault(key, _Part()).count(len(row), n_columns)
            if check is not None:
                check(self.estimate(), self._reused_bytes())

    def estimate(self) -> MemoryEstimate:
        """Return the bytes of what :meth:`build` makes."""
        size = self._dtype.itemsize
        stored = sum(part.n * part.n_columns for part in self._sets.values())
        n_blocks = sum(part.n for part in self._blocks.values())
        return MemoryEstimate(
            features=stored * (size + _CSR_INDEX_BYTES if self._sparse else size),
            jacobian=3 * size * sum(part.n * part.n_columns for part in self._blocks.values()),
            strain=9 * size * stored if self._strain else 0,
            indices=_INDEX_BYTES * n_blocks,
        )

    def _arrays(self) -> Iterator[tuple[_Part, tuple[int, ...]]]:
        """Yield what needs an array of values, the largest first, as smaller ones have more memory to choose from."""
        for part in sorted(self._blocks.values(), key=lambda part: -part.n * part.n_columns):
            yield part, (3,)
        for part in self._sets.values() if self._strain else ():
            yield part, (3, 3)

    def _reused_bytes(self) -> int:
        """Return the bytes that will lie in memory of ``out``."""
        used, n_bytes = list(self._used), 0
        for part, axes in self._arrays():
            array = array_in(used, (part.n, *axes, part.n_columns), self._dtype)
            n_bytes += 0 if array is None else array.nbytes
        return n_bytes

    def build(self, progress: bool) -> Jacobian:
        """Compute all values, in memory of ``out`` as far as it fits; ``out`` is empty then."""
        used = [] if self._out is None else self._out.give_memory()
        for part, axes in self._arrays():
            part.allocate(axes, self._dtype, used)
        pieces = ((rows, (chunk, layout)) for rows, chunk, layout in self._layouts)
        for chunk, layout in track(pieces, self._given.n_rows, "Jacobian", progress):
            self._fill(chunk, layout)
        given = self._given
        n_species = len(given.species)
        return Jacobian(
            [self._group(key) for key in sorted(self._blocks) if key[1] < n_species],
            self._strain_groups() if self._strain else None,
            given.n_rows,
            self._core.n_features,
            given.structures.atom_offsets,
            [self._group_of_points(key) for key in sorted(self._blocks) if key[1] == n_species],
        )

    def _fill(self, chunk: Chunk, layout: _core.JacobianLayout) -> None:
        first_row, first_frame = chunk.rows.start, chunk.frames.start
        values = [
            self._blocks[key].take(row + first_row, frame + first_frame, atom)
            for key, (*_, row, frame, atom) in _keyed_groups(layout)
        ]
        strain = None
        if self._strain:
            strain = [self._sets[channels].take(rows + first_row) for channels, _, rows in layout.sets]
        self._core.jacobian(*chunk.arguments, layout, values, strain)

    def _group(self, key: _Key) -> JacobianGroup:
        all_columns, species, channels = key
        columns = self._core.columns(channels, -1 if all_columns else species)
        part = self._blocks[key]
        return JacobianGroup(self._given.species[species], columns, part.values, *part.joined_indices())

    def _group_of_points(self, key: _Key) -> JacobianGroup:
        part = self._blocks[key]
        row, frame, index = part.joined_indices()
        # The core has centers in an order of its own.
        order, first = self._given.rows.order, self._given.centers.offsets[frame]
        as_given = index if order is None else order[first + index] - first
        return JacobianGroup("", self._core.columns(key[2]), part.values, row, frame, as_given)

    def _strain_groups(self) -> list[StrainGroup]:
        return [
            StrainGroup(self._core.columns(channels), part.values, *part.joined_indices())
            for channels, part in sorted(self._sets.items(), key=lambda item: item[0])
        ]


def _keyed_groups(layout: _core.JacobianLayout) -> Iterator[tuple[_Key, tuple[Any, ...]]]:
    sets = layout.sets
    for group in layout.groups:
        species, channel_set, all_columns, *_ = group
        yield (all_columns, species, sets[channel_set][0]), group
