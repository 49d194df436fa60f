"""Rows that belong to structures: whose each one is, and how many structures there are."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from castile.errors import InputError, InputTypeError

__all__ = ["GroupedRows", "group_numbers"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GroupedRows:
    """Checked rows, sorted by the structure that they belong to, and, if wanted, their species.

    Attributes
    ----------
    rows : ndarray or CSR array of shape (n_rows, n_features)
        Local rows; inside of a structure in the order in which they came.
    offsets : ndarray of shape (n_groups + 1,), int64
        The rows of structure g are ``offsets[g]:offsets[g + 1]``; some may have none.
    species : ndarray of shape (n_rows,), or None
        Species of the centers.
    """

    rows: Any
    offsets: IntArray
    species: Any = None

    @classmethod
    def sort(cls, rows: Any, numbers: IntArray, n_groups: int, species: Any = None) -> GroupedRows:
        """Sort rows by the numbers of their structures, stably."""
        offsets = np.zeros(n_groups + 1, dtype=np.int64)
        np.cumsum(np.bincount(numbers, minlength=n_groups), out=offsets[1:])
        if (np.diff(numbers) < 0).any():
            order = np.argsort(numbers, kind="stable")
            rows, species = rows[order], None if species is None else species[order]
        return cls(rows, offsets, species)

    @classmethod
    def one_by_one(cls, rows: Any) -> GroupedRows:
        """Make every row a group of its own."""
        return cls(rows, np.arange(rows.shape[0] + 1))

    @property
    def n_rows(self) -> int:
        """Number of rows of all structures together."""
        return int(self.rows.shape[0])

    @property
    def n_groups(self) -> int:
        """Number of structures."""
        return len(self.offsets) - 1

    def of_species(self, one: Any) -> GroupedRows:
        """Return the rows of one species, of the same structures."""
        mask = self.species == one
        return GroupedRows(self.rows[mask], np.concatenate([[0], np.cumsum(mask)])[self.offsets])

    def group(self, index: int) -> GroupedRows:
        """Return one structure."""
        own = slice(self.offsets[index], self.offsets[index + 1])
        species = None if self.species is None else self.species[own]
        return GroupedRows(self.rows[own], self.offsets[index : index + 2] - self.offsets[index], species)


def group_numbers(
    groups: Any, n_rows: int, n_groups: Any = None, *, suffix: str = "", what: str = "groups", subset: bool = False
) -> tuple[IntArray, int]:
    """Return the number of each row's group, and how many groups there are.

    Parameters
    ----------
    groups : array-like of shape (n_rows,), or structured array with a field ``frame``
        Labels, sortable, without NaN, that are numbered in the order of their first appearance; with
        ``n_groups`` the numbers themselves.
    n_rows : int
        Number of rows that the labels belong to.
    n_groups : int, optional
        Number of groups, of which some may have no rows.
    suffix, what : str
        Of the arguments' names, for messages.
    subset : bool
        Whether samples may skip frames, since what is done with them shows that those are not meant.

    Returns
    -------
    numbers : ndarray of shape (n_rows,), int64
    n_groups : int

    Raises
    ------
    InputError, InputTypeError
        If there is not one label per row, a label is NaN, samples skip a frame, or numbers are none of
        0 to ``n_groups`` - 1.
    """
    name, n_name = f"{what}{suffix}", f"n_groups{suffix}"
    labels = np.asarray(groups)
    are_samples = labels.dtype.names is not None
    if are_samples:
        labels = _frames_of(labels, name)
    if labels.shape != (n_rows,):
        raise InputError(
            f"{name} must hold one label per row, shape ({n_rows},), got shape {labels.shape}; "
            f"soap.samples(frames) gives them"
        )
    if n_groups is not None:
        return _checked_numbers(labels, name, n_groups, n_name)
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise InputError(f"{name} must not hold NaN, but {name}[{int(np.isnan(labels).argmax())}] is NaN")
    try:
        present, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    except TypeError as error:
        raise InputTypeError(f"{name} must hold labels of one sortable type: {error}") from error
    if are_samples and not subset:
        _refuse_gaps(present, name, n_name)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)], len(first)


def _frames_of(samples: Any, name: str) -> Any:
    if "frame" not in samples.dtype.names:
        raise InputError(
            f"{name} is a structured array with the fields {', '.join(samples.dtype.names)}; "
            f"it must have a field frame, as soap.samples(frames) has"
        )
    return samples["frame"]


def _refuse_gaps(frames: Any, name: str, n_name: str) -> None:
    """Raise for samples that skip a frame: what follows it would move up, away from its place in the list."""
    if frames.dtype.kind not in "iu":  # names, which have no place
        return
    gaps = np.flatnonzero(frames != np.arange(len(frames)))
    if len(gaps):
        raise InputError(
            f"{name} hold no row of frame {gaps[0]}, but of frame {frames[gaps[0]]}: pass {n_name}=len(frames), "
            f"so that a structure without rows keeps its place, or, for those alone that have rows, "
            f"{name}['frame'] as labels"
        )


def _checked_numbers(numbers: Any, name: str, n_groups: Any, n_name: str) -> tuple[IntArray, int]:
    if isinstance(n_groups, bool) or not isinstance(n_groups, Integral):
        raise InputTypeError(f"{n_name} must be an integer, the number of structures, got {n_groups!r}")
    if n_groups < 1:
        raise InputError(f"{n_name} must be 1 or more, the number of structures, got {n_groups}")
    if len(numbers) == 0:
        return np.zeros(0, dtype=np.int64), int(n_groups)
    if numbers.dtype.kind not in "iu":
        raise InputTypeError(
            f"{name} must be integers with {n_name}, each row's structure counted from 0 as in "
            f"soap.samples(frames), got {numbers.flat[0]!r}; leave {n_name} out for other labels"
        )
    wrong = (numbers < 0) | (numbers >= n_groups)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{name} must lie between 0 and {n_groups - 1} with {n_name}={n_groups}, but {name}[{row}] is "
            f"{numbers[row]}; pass {n_name}=len(frames), or leave it out for other labels"
        )
    return numbers.astype(np.int64), int(n_groups)
