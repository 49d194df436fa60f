"""Memory of large results: in huge pages, and used again."""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["array_in", "memory_of", "new_array"]

Bytes = npt.NDArray[np.uint8]

_CACHE_LINE = 64
_SMALLEST_ALIGNED = 64 * 1024
_HUGE_PAGE = 2 * 1024 * 1024
# What is smaller the C library keeps for its next request.
_SMALLEST = 32 * 1024 * 1024
_LARGEST_KEPT = 2 * 1024 * 1024 * 1024
# By their ids: arrays cannot be hashed.
_handed_out: weakref.WeakValueDictionary[int, Bytes] = weakref.WeakValueDictionary()
_HAS_PAGES = hasattr(mmap, "MADV_HUGEPAGE") and hasattr(mmap, "MADV_FREE")


def new_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], bool]:
    """Return an array to be filled, and whether it holds zeros. It starts at a cache line, unless it is small."""
    n_bytes = _n_bytes(shape, dtype)
    if n_bytes < _SMALLEST_ALIGNED:
        return np.empty(shape, dtype), False
    if n_bytes < _SMALLEST or not _HAS_PAGES:
        memory, fresh = np.empty(n_bytes + _CACHE_LINE, dtype=np.uint8), False
        _handed_out[id(memory)] = memory
        return _carve(memory, shape, dtype), fresh
    pages, fresh = _kept.take(n_bytes + _CACHE_LINE)
    memory = np.frombuffer(pages, dtype=np.uint8)
    _handed_out[id(memory)] = memory
    # Views of the array keep `memory` alive, so that this runs when the last of them is gone.
    weakref.finalize(memory, _kept.give_back, pages).atexit = False
    return _carve(memory, shape, dtype), fresh


def array_in(used: list[Bytes], shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any] | None:
    """Return an array in the smallest memory that is large enough, taken off the list; None if there is none."""
    n_bytes = _n_bytes(shape, dtype) + _CACHE_LINE
    fitting = [index for index, memory in enumerate(used) if memory.size >= n_bytes]
    if not fitting:
        return None
    return _carve(used.pop(min(fitting, key=lambda index: used[index].size)), shape, dtype)


def memory_of(arrays: Iterable[npt.NDArray[Any]]) -> list[Bytes]:
    """Return all the memory behind arrays that :func:`new_array` made, each once; none for arrays of others."""
    found: dict[int, Bytes] = {}
    for array in arrays:
        base: object = array.base
        memory = _handed_out.get(id(base))
        if memory is not None and base is memory:
            found[id(base)] = memory
    return list(found.values())


def _n_bytes(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _carve(memory: Bytes, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + _n_bytes(shape, dtype)].view(dtype).reshape(shape)


class _KeptPages:
    """Pages of results that are gone, for the next ones.

    The system makes fresh pages of zeros, which takes as long as computing features. The pages kept are marked as
    free: the system takes them when it is short of memory, and counts them as available before.
    """

    def __init__(self) -> None:
        self._pages: list[mmap.mmap] = []

    def take(self, n_bytes: int) -> tuple[mmap.mmap, bool]:
        """Return pages, and whether they are fresh from the system."""
        pages = list(self._pages)
        # Much larger ones would only be held back from who needs them.
        for kept in sorted((p for p in pages if n_bytes <= len(p) <= 2 * n_bytes), key=len):
            try:
                self._pages.remove(kept)
            except ValueError:  # another thread was faster
                continue
            return kept, False
        return self._fresh((n_bytes + _HUGE_PAGE - 1) // _HUGE_PAGE * _HUGE_PAGE), True

    def _fresh(self, size: int) -> mmap.mmap:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        try:
            pages = mmap.mmap(-1, size, flags=flags)
        except OSError:  # perhaps a limit that the kept pages use up
            self.forget()
            try:
                pages = mmap.mmap(-1, size, flags=flags)
            except OSError as error:
                raise MemoryError(f"the system has no {size} bytes for a result") from error
        with suppress(OSError):  # built without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
        return pages

    def give_back(self, pages: mmap.mmap) -> None:
        """Keep pages, and let go of the oldest if these are too many."""
        if len(pages) > _LARGEST_KEPT:
            return
        try:
            pages.madvise(mmap.MADV_FREE)
        except OSError:  # such as pages that the user locked; without the list they go at once
            return
        self._pages.append(pages)
        while sum(map(len, self._pages)) > _LARGEST_KEPT:
            with suppress(IndexError):  # another thread took the last
                self._pages.pop(0)

    def forget(self) -> None:
        """Give all to the system."""
        self._pages.clear()


_kept = _KeptPages()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.forget)
