"""Lays out an explicit Jacobian, tells its size, and fills it chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from castile import _core
from castile.descriptors._input import Chunk, DescriptorInput
from castile.descriptors.jacobian import Jacobian, JacobianGroup, MemoryEstimate
from castile.progress import track
from castile.structures import IntArray

__all__ = ["JacobianBuilder"]


_INDEX_BYTES = 2 * 3 * 8  # row, frame and atom of a block, in its chunk and joined


class JacobianBuilder:
    """A Jacobian whose blocks are counted but not yet computed.

    Rows come in order, so a chunk's blocks are a contiguous part of each group.
    """

    def __init__(self, core: Any, given: DescriptorInput, dtype: str, strain: bool) -> None:
        self._core = core
        self._given = given
        self._dtype = np.dtype(dtype)
        self._strain = strain
        self._parts: list[tuple[int, Chunk, _core.JacobianLayout]] = [
            (rows, chunk, core.jacobian_layout(*chunk.arguments)) for rows, chunk in given.chunks()
        ]
        first = self._parts[0][2]
        self._groups = range(first.n_groups)
        self._n_columns = [first.n_columns(group) for group in self._groups]
        self._n_blocks = [sum(layout.n_blocks(group) for _, _, layout in self._parts) for group in self._groups]

    def estimate(self) -> MemoryEstimate:
        """Return the bytes of what :meth:`build` makes."""
        size = self._dtype.itemsize
        features = self._given.n_rows * self._core.n_features * size
        blocks = sum(3 * n * width * size for n, width in zip(self._n_blocks, self._n_columns, strict=True))
        indices = _INDEX_BYTES * sum(self._n_blocks)
        return MemoryEstimate(features, blocks, 9 * features if self._strain else 0, indices)

    def build(self, progress: bool) -> Jacobian:
        """Allocate and compute all values."""
        given = self._given
        shapes = [(n, 3, width) for n, width in zip(self._n_blocks, self._n_columns, strict=True)]
        values = [np.empty(shape, self._dtype) for shape in shapes]
        strain = None
        if self._strain:
            strain = np.empty((given.n_rows, 3, 3, self._core.n_features), self._dtype)
        where: list[list[tuple[Any, Any, Any]]] = [[] for _ in self._groups]
        filled = [0] * len(self._groups)
        for chunk, layout in track(
            ((rows, (chunk, layout)) for rows, chunk, layout in self._parts), given.n_rows, "Jacobian", progress
        ):
            ends = [filled[group] + layout.n_blocks(group) for group in self._groups]
            parts = [values[group][filled[group] : ends[group]] for group in self._groups]
            self._core.jacobian(*chunk.arguments, layout, parts, None if strain is None else strain[chunk.rows])
            for group in self._groups:
                row, frame, atom = layout.blocks(group)
                where[group].append((row + chunk.rows.start, frame + chunk.frames.start, atom))
            filled = ends
        groups = []
        points = None
        for group in self._groups:
            if self._n_blocks[group] == 0:
                continue
            row, frame, atom = (np.concatenate(part) for part in zip(*where[group], strict=True))
            index = self._parts[0][2].species(group)
            if index == len(given.species):
                atom = self._index_as_given(frame, atom)
                points = JacobianGroup("", self._columns_of(group), values[group], row, frame, atom)
                continue
            species = given.species[index]
            groups.append(JacobianGroup(species, self._columns_of(group), values[group], row, frame, atom))
        return Jacobian(groups, strain, given.n_rows, self._core.n_features, given.structures.atom_offsets, points)

    def _index_as_given(self, frame: IntArray, index: IntArray) -> IntArray:
        """Return the index of centers among those of their frame in the order in which the user gave them."""
        order, first = self._given.rows.order, self._given.centers.offsets[frame]
        return index if order is None else order[first + index] - first

    def _columns_of(self, group: int) -> IntArray:
        for _, _, layout in self._parts:
            columns = layout.columns(group)
            if columns is None:
                return np.arange(self._n_columns[group])
            if len(columns):
                return columns
        raise AssertionError("a group with blocks has columns")
