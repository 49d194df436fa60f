"""Frames taken from an iterator chunk by chunk, so that neither they nor their features need to fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers

from castile import _checks
from castile.descriptors._centers import entry_of_single_frame
from castile.descriptors._input import DescriptorInput
from castile.descriptors._rows import AVERAGES
from castile.errors import InputError, InputTypeError, UnknownSpeciesError
from castile.progress import track
from castile.structures import is_single_frame, iterate_frames

__all__ = ["FeatureChunk", "FrameStream", "checked_chunk_size", "feature_chunk", "iterate_chunks"]

# Of a chunk whose size was not asked for. A call of the core with fewer atoms would not keep all threads busy.
_CHUNK_ATOMS = 8192
_CHUNK_BYTES = 1 << 26


class FeatureChunk(NamedTuple):
    """What :meth:`castile.SOAP.iter_transform` yields: the rows of some consecutive frames.

    Attributes
    ----------
    features : ndarray or scipy.sparse.csr_array of shape (n_rows, n_features)
    samples : structured ndarray of shape (n_rows,)
        What each row is, as from ``samples``; ``frame`` counts from the beginning of the stream.
    frames : range
        Numbers of the frames that the rows belong to, also of those that have no row.
    """

    features: Any
    samples: npt.NDArray[Any]
    frames: range


class FrameStream:
    """Frames and their centers, checked and taken in order; errors name the frame by its number in the stream."""

    def __init__(self, descriptor: Any, frames: Any, centers: Any, groups: Any = None) -> None:
        single = is_single_frame(frames)
        self.total: int | None = 1 if single else _length(frames)
        self.n_taken = 0
        self._descriptor = descriptor
        self._average: str = _checks.choice("average", descriptor.average, AVERAGES)
        core = descriptor._core(descriptor._species_or_raise())  # checks the parameters, too
        self._row_bytes = core.n_features * np.dtype(descriptor.dtype).itemsize
        self._frames = iterate_frames(frames)
        self._same_centers: str | None = None
        self._entries: dict[str, Iterator[Any]] = {}  # of what is given frame by frame
        if centers is None or isinstance(centers, str):
            self._same_centers = centers
        else:
            self._take_entries("centers", [entry_of_single_frame(centers)] if single else centers)
        if groups is not None:
            self._take_entries("groups", [groups] if single else groups)

    def take(self, n_frames: int | None = None) -> DescriptorInput | None:
        """Return the next frames, None if there are none: ``n_frames`` of them, or as many as make a good chunk."""
        frames: list[Atoms] = []
        entries: dict[str, list[Any]] = {name: [] for name in self._entries}
        n_centers = n_rows = 0
        while len(frames) < n_frames if n_frames is not None else not self._is_full(n_centers, n_rows):
            atoms = next(self._frames, None)
            if atoms is None:
                self._check_no_entries_are_left(self.n_taken + len(frames))
                break
            for name, own in entries.items():
                own.append(self._next_entry(name, self.n_taken + len(frames)))
            frames.append(atoms)
            own_centers, own_rows = self._size(atoms, {name: own[-1] for name, own in entries.items()})
            n_centers += max(own_centers, len(atoms), 1)
            n_rows += own_rows
        if not frames:
            return None
        given = self._checked(frames, entries.get("centers", self._same_centers), entries.get("groups"))
        self.n_taken += len(frames)
        return given

    def chunks(self, chunk_size: int | None) -> Iterator[DescriptorInput]:
        """Take all frames that are left, ``chunk_size`` at a time."""
        while (given := self.take(chunk_size)) is not None:
            yield given

    def _is_full(self, n_centers: int, n_rows: int) -> bool:
        return n_centers >= _CHUNK_ATOMS or n_rows * self._row_bytes >= _CHUNK_BYTES

    def _size(self, atoms: Atoms, entries: dict[str, Any]) -> tuple[int, int]:
        """Return at most how many centers and rows a frame has; entries are checked later."""
        points = _as_array(entries.get("centers"))
        n_centers = len(points) if points.ndim == 2 else len(atoms)
        if "groups" in entries:
            labels = _as_array(entries["groups"])
            return n_centers, len(np.unique(labels)) if labels.dtype.kind in "iu" else labels.size
        if self._average.endswith("_per_species"):
            return n_centers, len(np.unique(atoms.numbers))
        return n_centers, n_centers if self._average == "off" else 1

    def _take_entries(self, name: str, entries: Any) -> None:
        if not isinstance(entries, Iterable):
            what = "None, a symbol or an iterable" if name == "centers" else "an iterable"
            raise InputTypeError(f"{name} must be {what} with an entry per frame, got {entries!r}")
        n_entries = _length(entries)
        if None not in (self.total, n_entries) and self.total != n_entries:
            raise InputError(f"{name} must have one entry per frame ({self.total}), got {n_entries}")
        self._entries[name] = iter(entries)

    def _next_entry(self, name: str, frame: int) -> Any:
        try:
            entry = next(self._entries[name])
        except StopIteration:
            raise InputError(
                f"{name} ends after {frame} entries, but there are more frames; give one per frame"
            ) from None
        if name == "centers" and isinstance(entry, str) and self.total != 1:
            raise InputError(
                f"centers must have one entry per frame, indices, a mask or a list of symbols, but that of "
                f"frame {frame} is the bare symbol {str(entry)!r}; write centers={str(entry)!r} for one species in all "
                "frames, or lists of symbols"
            )
        return entry

    def _check_no_entries_are_left(self, n_frames: int) -> None:
        ended = object()
        for name, entries in self._entries.items():
            if next(entries, ended) is not ended:
                raise InputError(f"{name} has more entries than there are frames ({n_frames}); give one per frame")

    def _checked(self, frames: list[Atoms], centers: Any, groups: Any) -> DescriptorInput:
        try:
            given: DescriptorInput = self._descriptor._input(frames, centers, groups, self.n_taken)
        except UnknownSpeciesError as error:
            known = [atomic_numbers[symbol] for symbol in self._descriptor._species_or_raise()]
            odd = next(k for k, atoms in enumerate(frames) if not np.isin(atoms.numbers, known).all())
            raise UnknownSpeciesError(f"frame {self.n_taken + odd}: {error}") from None
        return given


def _as_array(entry: Any) -> npt.NDArray[Any]:
    """Return an entry as an array; without entries if it cannot be one, which is refused later."""
    try:
        return np.asarray(entry)
    except ValueError:
        return np.empty(0)


def _length(collection: Any) -> int | None:
    return len(collection) if hasattr(collection, "__len__") else None


def checked_chunk_size(chunk_size: Any) -> int | None:
    """Return the number of frames in a chunk; None leaves the choice to the stream."""
    return None if chunk_size is None else _checks.integer("chunk_size", chunk_size, 1)


def feature_chunk(descriptor: Any, given: DescriptorInput) -> FeatureChunk:
    """Compute the rows of some frames of a stream."""
    first = given.structures.first_frame
    samples = descriptor._samples(given)
    samples["frame"] += first
    return FeatureChunk(descriptor._features(given), samples, range(first, first + given.structures.n_frames))


def iterate_chunks(
    descriptor: Any, frames: Any, centers: Any, groups: Any, *, chunk_size: int | None, progress: bool
) -> Iterator[FeatureChunk]:
    """Do the work of :meth:`castile.SOAP.iter_transform`; arguments are checked at once, not with the first chunk."""
    stream = FrameStream(descriptor, frames, centers, groups)
    size = checked_chunk_size(chunk_size)
    return _computed(descriptor, stream, size, progress)


def _computed(descriptor: Any, stream: FrameStream, size: int | None, progress: bool) -> Iterator[FeatureChunk]:
    weighted = ((given.structures.n_frames, given) for given in stream.chunks(size))
    for given in track(weighted, stream.total, type(descriptor).__name__, progress):
        yield feature_chunk(descriptor, given)
    if stream.n_taken == 0:
        raise InputError("frames is empty; give at least one ase.Atoms (an iterator gives its frames only once)")
