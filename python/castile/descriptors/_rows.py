"""Which centers make which row of the feature matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from castile.descriptors._centers import Centers
from castile.errors import InputError, InputTypeError
from castile.structures import FloatArray, IntArray, StructureArrays

__all__ = ["AVERAGES", "Rows", "make_rows"]

AVERAGES = ("off", "inner", "outer", "inner_per_species", "outer_per_species")


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of the feature matrix: centers, or means over runs of them.

    Attributes
    ----------
    centers : Centers
        So ordered that those of a row follow each other.
    frame_offsets : ndarray of shape (n_frames + 1,)
        The rows of frame ``f`` are ``frame_offsets[f]:frame_offsets[f + 1]``.
    center_offsets : ndarray of shape (n_rows + 1,) or None
        The centers of averaged row ``r`` are ``center_offsets[r]:center_offsets[r + 1]``; None without averages.
    numbers, groups : ndarray of shape (n_rows,) or None
        Atomic number or label that an averaged row stands for.
    order : ndarray of shape (n_centers,) or None
        Index of each center in the order in which the user gave them, if that differs.
    """

    centers: Centers
    frame_offsets: IntArray
    center_offsets: IntArray | None = None
    numbers: IntArray | None = None
    groups: IntArray | None = None
    order: IntArray | None = None

    @property
    def n_rows(self) -> int:
        """Rows of the feature matrix."""
        return int(self.frame_offsets[-1])

    def frame(self) -> IntArray:
        """Return the frame of each row, shape (n_rows,)."""
        return np.repeat(np.arange(len(self.frame_offsets) - 1), np.diff(self.frame_offsets))

    def as_given(self, of_centers: FloatArray | None) -> FloatArray | None:
        """Return values per center in the order in which the user gave the centers."""
        if of_centers is None or self.order is None:
            return of_centers
        given = np.empty_like(of_centers)
        given[self.order] = of_centers
        return given

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows of frames ``start`` to ``stop``; labels and order are left behind."""
        first, last = self.frame_offsets[start], self.frame_offsets[stop]
        offsets = None
        if self.center_offsets is not None:
            offsets = self.center_offsets[first : last + 1] - self.center_offsets[first]
        return Rows(self.centers.slice(start, stop), self.frame_offsets[start : stop + 1] - first, offsets)


def make_rows(centers: Centers, average: str, groups: Any, structures: StructureArrays, single_frame: bool) -> Rows:
    """Lay out the rows.

    Parameters
    ----------
    centers : Centers
    average : str
        One of ``AVERAGES``.
    groups : None or one entry per frame
        Integer label of each center (the entry itself if a single Atoms was given): averages run over the centers of
        a label instead of the whole frame.
    structures : StructureArrays
    single_frame : bool
        True if the user gave one Atoms instead of a sequence.
    """
    if average == "off":
        if groups is not None:
            raise InputError("groups are what averages run over; use them with average='inner' or 'outer'")
        return Rows(centers, centers.offsets)
    if average.endswith("_per_species"):
        if groups is not None:
            raise InputError(f"groups and average={average!r} both say what to average over; use average='inner' or "
                             "'outer' with groups")
        if (centers.atoms < 0).any():
            raise InputError(f"centers that are points have no species, as average={average!r} needs; use "
                             "average='inner' or 'outer', with groups if you like")
        labels = centers.numbers(structures)
        rows, values = _rows_of_labels(centers, labels)
        return replace(rows, numbers=values)
    if groups is None:
        return Rows(centers, np.arange(structures.n_frames + 1), centers.offsets)
    labels = _labels(groups, centers, single_frame, structures.first_frame)
    rows, values = _rows_of_labels(centers, labels)
    return replace(rows, groups=values)


def _rows_of_labels(centers: Centers, labels: IntArray) -> tuple[Rows, IntArray]:
    """Return a row for every label of every frame, labels ascending, and the labels of the rows."""
    frame = centers.frame()
    order = np.lexsort((labels, frame))  # stable
    frame, labels = frame[order], labels[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (frame[1:] != frame[:-1]) | (labels[1:] != labels[:-1])
    first = np.flatnonzero(starts)
    n_frames = len(centers.offsets) - 1
    frame_offsets = np.zeros(n_frames + 1, dtype=np.int64)
    np.cumsum(np.bincount(frame[first], minlength=n_frames), out=frame_offsets[1:])
    rows = Rows(centers.take(order), frame_offsets, np.append(first, len(order)), order=order)
    return rows, labels[first]


def _labels(groups: Any, centers: Centers, single_frame: bool, first_frame: int) -> IntArray:
    try:
        entries: Sequence[Any] = [groups] if single_frame else list(groups)
    except TypeError:
        raise InputTypeError(f"groups must be a sequence with an entry per frame, got {groups!r}") from None
    counts = np.diff(centers.offsets)
    if len(entries) != len(counts):
        raise InputError(f"groups must have one entry per frame ({len(counts)}), got {len(entries)}")
    labels = [np.zeros(0, dtype=np.int64)]
    for frame, (entry, count) in enumerate(zip(entries, counts, strict=True), first_frame):
        try:
            values = np.asarray(entry)
        except ValueError:  # of lists in lists
            raise InputTypeError(f"groups[{frame}] must hold integer labels, got {entry!r}") from None
        if values.size == 0:
            values = values.astype(np.int64)
        if values.dtype.kind not in "iu":
            raise InputTypeError(f"groups[{frame}] must hold integer labels, got dtype {values.dtype}")
        if values.shape != (count,):
            raise InputError(
                f"groups[{frame}] must hold {count} labels, one per center, got an array of shape {values.shape}"
            )
        if values.size and values.min() < 0:
            raise InputError(f"groups[{frame}] must hold labels of 0 or more, got {values.min()}")
        labels.append(values.astype(np.int64))
    return np.concatenate(labels)
