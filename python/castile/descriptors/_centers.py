"""Which atoms or points of each frame are centers, from the forms in which users say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from castile import _core
from castile.errors import InputError, InputTypeError
from castile.structures import FloatArray, IntArray, StructureArrays

__all__ = ["Centers", "entry_of_single_frame", "select_centers"]


@dataclass(frozen=True, eq=False)
class Centers:
    """Centers of all frames.

    Attributes
    ----------
    atoms : ndarray of shape (n_centers,)
        Index within the frame; -1 for a point in space.
    offsets : ndarray of shape (n_frames + 1,)
        The centers of frame ``f`` are ``offsets[f]:offsets[f + 1]``.
    points : ndarray of shape (n_centers, 3) or None
        Positions, Å, if any center is a point.
    """

    atoms: IntArray
    offsets: IntArray
    points: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.atoms)

    def slice(self, start: int, stop: int) -> Centers:
        """Return the centers of frames ``start`` to ``stop``."""
        first, last = self.offsets[start], self.offsets[stop]
        points = None if self.points is None else self.points[first:last]
        return Centers(self.atoms[first:last], self.offsets[start : stop + 1] - first, points)

    def take(self, order: IntArray) -> Centers:
        """Return the centers in another order within their frames."""
        points = None if self.points is None else self.points[order]
        return Centers(self.atoms[order], self.offsets, points)

    def frame(self) -> IntArray:
        """Return the frame of each center, shape (n_centers,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def numbers(self, structures: StructureArrays) -> IntArray:
        """Return the atomic number of each center, -1 for points, shape (n_centers,)."""
        of_atoms = structures.atom_offsets[self.frame()] + self.atoms
        numbers = np.full(len(self), -1, dtype=np.int64)
        numbers[self.atoms >= 0] = structures.numbers[of_atoms[self.atoms >= 0]]
        return numbers

    def to_core(self, row_offsets: IntArray | None) -> _core.Centers:
        """Return the centers for the compiled core, with the runs of them that are averaged."""
        return _core.Centers(self.atoms, self.offsets, self.points, row_offsets)


def select_centers(centers: Any, structures: StructureArrays, single_frame: bool) -> Centers:
    """Turn the ``centers`` argument into indices and points.

    Parameters
    ----------
    centers : None, str, or one entry per frame
        None: all atoms. A chemical symbol: the atoms of that species, in every frame. Else a sequence with an
        entry per frame (or, if a single Atoms was given, see :func:`entry_of_single_frame`): indices, a boolean mask, a
        list of symbols, or points of shape (n, 3). Only floats are points; integers of two axes are refused, as they
        may be meant as either. A bare symbol among the entries of several frames is refused: ``["C", "H"]`` looks as if
        it meant both species in every frame.
    structures : StructureArrays
    single_frame : bool
        True if the user gave one Atoms instead of a sequence.
    """
    if centers is None:
        atoms = np.arange(structures.n_atoms, dtype=np.int64)
        if structures.n_frames > 1:
            atoms -= np.repeat(structures.atom_offsets[:-1], np.diff(structures.atom_offsets))
        return Centers(atoms, structures.atom_offsets)
    if isinstance(centers, str):
        entries: Sequence[Any] = [[centers]] * structures.n_frames
    elif single_frame:
        entries = [entry_of_single_frame(centers)]
    else:
        try:
            entries = list(centers)
        except TypeError:
            raise InputTypeError(
                f"centers must be None, a symbol or a sequence with an entry per frame, got {centers!r}"
            ) from None
    _check_entries(entries, structures.n_frames)
    return _join([_select(entry, structures, frame) for frame, entry in enumerate(entries)], structures)


def entry_of_single_frame(centers: Any) -> Any:
    """Return the entry of a frame that was given by itself: ``centers``, or what a list of one entry holds.

    A list in a list cannot be anything else than that, unless it holds floats: ``[[0, 1, 2]]`` are indices,
    ``[[0.0, 1.0, 2.0]]`` is a point, ``[[[0.0, 1.0, 2.0]]]`` too.
    """
    try:
        values = np.asarray(centers)
    except ValueError:  # lists of different lengths
        return centers
    n_axes = 3 if values.dtype.kind == "f" and values.size > 0 else 2
    return values[0] if values.ndim == n_axes and len(values) == 1 else centers


def _join(chosen: Sequence[IntArray | FloatArray], structures: StructureArrays) -> Centers:
    """Put indices and points of all frames behind each other; atoms get their positions among the points."""
    offsets = np.zeros(structures.n_frames + 1, dtype=np.int64)
    np.cumsum([len(entry) for entry in chosen], out=offsets[1:])
    atoms = [np.full(len(entry), -1, dtype=np.int64) if entry.ndim == 2 else entry for entry in chosen]
    joined = np.concatenate([np.zeros(0, dtype=np.int64), *atoms])
    if all(entry.ndim == 1 for entry in chosen):
        return Centers(joined, offsets)
    points = [
        entry if entry.ndim == 2 else structures.positions[structures.atom_offsets[frame] + entry]
        for frame, entry in enumerate(chosen)
    ]
    return Centers(joined, offsets, np.concatenate(points))


def _check_entries(entries: Sequence[Any], n_frames: int) -> None:
    symbols = [entry for entry in entries if isinstance(entry, str)]
    if n_frames > 1 and symbols:
        raise InputError(
            f"centers must have one entry per frame, indices, a mask or a list of symbols, got the bare symbol "
            f"{str(symbols[0])!r}; write centers={str(symbols[0])!r} for one species in all frames, or "
            f"centers=[{sorted(map(str, set(symbols)))}] * len(frames) for a list of them"
        )
    if len(entries) != n_frames:
        raise InputError(f"centers must have one entry per frame ({n_frames}), got {len(entries)}")


def _select(entry: Any, structures: StructureArrays, index: int) -> IntArray | FloatArray:
    numbers = structures.numbers[structures.atom_offsets[index] : structures.atom_offsets[index + 1]]
    frame = structures.first_frame + index  # in the user's words
    if entry is None:
        return np.arange(len(numbers))
    if isinstance(entry, str):
        entry = [entry]
    try:
        values = np.asarray(entry)
    except ValueError:
        raise _wrong_entry(frame, repr(entry)) from None
    if values.ndim == 2 and values.shape[1] == 3 and values.dtype.kind == "f":
        return _points(values, frame)
    if values.ndim == 2 and values.dtype.kind in "iu":
        raise _wrong_entry(frame, f"integers of shape {values.shape}; indices have one axis, and points are floats")
    if values.ndim == 1 and values.dtype.kind == "U":
        return np.flatnonzero(np.isin(numbers, [_number(symbol, frame) for symbol in values.tolist()]))
    if values.ndim == 1 and values.dtype == bool:
        if len(values) != len(numbers):
            raise InputError(
                f"the mask in centers[{frame}] must have {len(numbers)} entries, one per atom, got {len(values)}"
            )
        return np.flatnonzero(values)
    if values.ndim == 1 and (values.dtype.kind in "iu" or values.size == 0):
        return _indices(values.astype(np.int64), len(numbers), frame)
    raise _wrong_entry(frame, f"an array of shape {values.shape} and dtype {values.dtype}")


def _wrong_entry(frame: int, what: str) -> InputTypeError:
    return InputTypeError(
        f"centers[{frame}] must hold atom indices, a boolean mask, chemical symbols or points of shape (n, 3), "
        f"got {what}"
    )


def _points(values: npt.NDArray[Any], frame: int) -> FloatArray:
    if not np.isfinite(values).all():
        raise InputError(f"the points in centers[{frame}] must be finite, in Å")
    return np.ascontiguousarray(values, dtype=np.float64)


def _number(symbol: str, frame: int) -> int:
    if symbol not in atomic_numbers:
        raise InputError(f"centers[{frame}] names {symbol!r}, which is not a chemical symbol")
    return int(atomic_numbers[symbol])


def _indices(indices: npt.NDArray[np.int64], n_atoms: int, frame: int) -> IntArray:
    outside = (indices < -n_atoms) | (indices >= n_atoms)
    if outside.any():
        raise InputError(f"centers[{frame}] holds index {indices[outside][0]}, but frame {frame} has {n_atoms} atoms")
    indices = np.where(indices < 0, indices + n_atoms, indices)
    if len(np.unique(indices)) != len(indices):
        raise InputError(f"centers[{frame}] names an atom twice")
    return indices
