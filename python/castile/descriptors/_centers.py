"""Which atoms of each frame are centers, from the forms in which users say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from castile.errors import InputError, InputTypeError
from castile.structures import IntArray, StructureArrays

__all__ = ["Centers", "select_centers"]


@dataclass(frozen=True, eq=False)
class Centers:
    """Centers of all frames: atom indices within their frame, and where each frame's begin."""

    atoms: IntArray
    offsets: IntArray

    def slice(self, start: int, stop: int) -> Centers:
        """Return the centers of frames ``start`` to ``stop``."""
        first, last = self.offsets[start], self.offsets[stop]
        return Centers(self.atoms[first:last], self.offsets[start : stop + 1] - first)


def select_centers(centers: Any, structures: StructureArrays, single_frame: bool) -> Centers:
    """Turn the ``centers`` argument into indices.

    Parameters
    ----------
    centers : None, str, or one entry per frame
        None: all atoms. A chemical symbol: the atoms of that species, in every frame. Else a sequence with an
        entry per frame (the entry itself if a single Atoms was given): indices, a boolean mask or a list of
        symbols. A bare symbol among the entries of several frames is refused: ``["C", "H"]`` looks as if it meant
        both species in every frame.
    structures : StructureArrays
    single_frame : bool
        True if the user gave one Atoms instead of a sequence.
    """
    counts = np.diff(structures.atom_offsets)
    if centers is None:
        atoms = np.arange(structures.n_atoms) - np.repeat(structures.atom_offsets[:-1], counts)
        return Centers(atoms, structures.atom_offsets)
    if isinstance(centers, str):
        entries: Sequence[Any] = [[centers]] * structures.n_frames
    elif single_frame:
        entries = [centers]
    else:
        try:
            entries = list(centers)
        except TypeError:
            raise InputTypeError(
                f"centers must be None, a symbol or a sequence with an entry per frame, got {centers!r}"
            ) from None
    _check_entries(entries, structures.n_frames)
    chosen = []
    for frame, entry in enumerate(entries):
        own = slice(structures.atom_offsets[frame], structures.atom_offsets[frame + 1])
        chosen.append(_select(entry, structures.numbers[own], frame))
    offsets = np.zeros(structures.n_frames + 1, dtype=np.int64)
    np.cumsum([len(indices) for indices in chosen], out=offsets[1:])
    return Centers(np.concatenate([np.zeros(0, dtype=np.int64), *chosen]), offsets)


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


def _select(entry: Any, numbers: IntArray, frame: int) -> IntArray:
    if entry is None:
        return np.arange(len(numbers))
    if isinstance(entry, str):
        entry = [entry]
    try:
        values = np.asarray(entry)
    except ValueError:
        raise InputTypeError(
            f"centers[{frame}] must hold atom indices, a boolean mask or chemical symbols, got {entry!r}"
        ) from None
    if values.ndim == 1 and values.dtype.kind == "U":
        return np.flatnonzero(np.isin(numbers, [_number(symbol, frame) for symbol in values.tolist()]))
    if values.ndim == 1 and values.dtype == bool:
        if len(values) != len(numbers):
            raise InputError(
                f"the mask in centers[{frame}] must have {len(numbers)} entries, one per atom, "
                f"got {len(values)}"
            )
        return np.flatnonzero(values)
    if values.ndim == 1 and (values.dtype.kind in "iu" or values.size == 0):
        return _indices(values.astype(np.int64), len(numbers), frame)
    raise InputTypeError(
        f"centers[{frame}] must hold atom indices, a boolean mask or chemical symbols, "
        f"got an array of shape {values.shape} and dtype {values.dtype}"
    )


def _number(symbol: str, frame: int) -> int:
    if symbol not in atomic_numbers:
        raise InputError(f"centers[{frame}] names {symbol!r}, which is not a chemical symbol")
    return int(atomic_numbers[symbol])


def _indices(indices: npt.NDArray[np.int64], n_atoms: int, frame: int) -> IntArray:
    outside = (indices < -n_atoms) | (indices >= n_atoms)
    if outside.any():
        raise InputError(
            f"centers[{frame}] holds index {indices[outside][0]}, but frame {frame} has {n_atoms} atoms"
        )
    indices = np.where(indices < 0, indices + n_atoms, indices)
    if len(np.unique(indices)) != len(indices):
        raise InputError(f"centers[{frame}] names an atom twice")
    return indices
