"""Data sets behind each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from castile.data.dataset import PER_ATOM, PER_FRAME, Dataset
from castile.errors import InputError, InputTypeError

__all__ = ["concatenate"]


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """Put data sets behind each other.

    Parameters
    ----------
    datasets : sequence of Dataset
        At least one.

    Raises
    ------
    InputError
        If there is none.
    InputTypeError
        If something else than a Dataset is among them.

    Examples
    --------
    >>> from castile import data, datasets
    >>> dataset = data.read(datasets.load())
    >>> len(data.concatenate([dataset.subset([0, 1]), dataset.subset([5])]))
    3
    """
    parts = list(datasets)
    if not parts:
        raise InputError("datasets must hold at least one Dataset")
    for part in parts:
        if not isinstance(part, Dataset):
            raise InputTypeError(
                f"datasets must hold Dataset objects, got {type(part).__name__}; make one by data.read"
            )
    n_atoms = np.concatenate([part.n_atoms for part in parts])
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in (*PER_FRAME, *PER_ATOM, "numbers")
    }
    return Dataset(
        [atoms for part in parts for atoms in part.frames],
        offsets=np.concatenate([[0], np.cumsum(n_atoms)]),
        notes=tuple(note for part in parts for note in part.notes),
        **joined,
    )
