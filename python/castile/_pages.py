"""Memory of large results: in huge pages, and used again."""

from __future__ import annotations

import math
import mmap
import os
import weakref
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
_HAS_PAGES = hasattr(mmap, "MADV_HUGEPAGE") and hasattr(mmap, "MADV_FREE")


def new_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], bool]:
    """Return an array to be filled, and whether it holds zeros. It starts at a cache line, unless it is small."""
    n_bytes = _n_bytes(shape, dtype)
    if n_bytes < _SMALLEST_ALIGNED:
        return np.empty(shape, dtype), False
    if n_bytes < _SMALLEST or not _HAS_PAGES:
        return _carve(np.empty(n_bytes + _CACHE_LINE, dtype=np.uint8), shape, dtype), False
    pages, fresh = _kept.take(n_bytes + _CACHE_LINE)
    memory = np.frombuffer(pages, dtype=np.uint8)
    # Views of the array keep `memory` alive, so that this runs when the last of them is gone.
    weakref.finalize(memory, _kept.give_back, pages).atexit = False
    return _carve(memory, shape, dtype), fresh


def array_in(memory: Bytes, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any] | None:
    """Return an array in memory that was used before, or None if that is too small."""
    return None if memory.size < _n_bytes(shape, dtype) + _CACHE_LINE else _carve(memory, shape, dtype)


def memory_of(array: npt.NDArray[Any]) -> Bytes | None:
    """Return all the memory behind an array that :func:`new_array` made, or None for another."""
    memory = array.base
    if isinstance(memory, np.ndarray) and memory.dtype == np.uint8 and memory.ndim == 1 and memory.flags.writeable:
        return memory
    return None


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
        size = (n_bytes + _HUGE_PAGE - 1) // _HUGE_PAGE * _HUGE_PAGE
        fresh = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        fresh.madvise(mmap.MADV_HUGEPAGE)
        return fresh, True

    def give_back(self, pages: mmap.mmap) -> None:
        """Keep pages, and let go of the oldest if these are too many."""
        if len(pages) > _LARGEST_KEPT:
            return
        pages.madvise(mmap.MADV_FREE)
        self._pages.append(pages)
        while sum(map(len, self._pages)) > _LARGEST_KEPT:
            self._pages.pop(0)

    def forget(self) -> None:
        """Give all to the system."""
        self._pages.clear()


_kept = _KeptPages()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.forget)
