"""Compiled descriptors by their parameters, so that equal ones share their tables."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from castile import _core

__all__ = ["core_descriptor", "remembered_descriptor"]

_MOST_BYTES = 1 << 28
_MOST_ENTRIES = 64
_MOST_NAMES = 4 * _MOST_ENTRIES


class _Cache:
    """The descriptors that were used last, bounded by the memory of their tables."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()
        self._names: dict[Hashable, Hashable] = {}  # keys of entries, which may be gone
        self._make_lock()
        # In a forked child another thread's lock would never be released.
        os.register_at_fork(after_in_child=self._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    def remembered(self, name: Hashable) -> Any:
        """Return the descriptor that was last found under a name, or None."""
        with self._lock:
            key = self._names.get(name)
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    def get(self, dtype: str, parameters: Mapping[str, Any], name: Hashable = None) -> Any:
        key = (dtype, _frozen(parameters))
        if name is not None:
            with self._lock:
                if len(self._names) >= _MOST_NAMES:
                    self._names.clear()
                self._names[name] = key
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        cls = _core.DensityDescriptor if dtype == "float64" else _core.DensityDescriptorF32
        descriptor = cls(dict(parameters))  # may take long: other threads are not kept waiting
        with self._lock:
            self._entries[key] = descriptor
            while len(self._entries) > 1 and (len(self._entries) > _MOST_ENTRIES or self._bytes() > _MOST_BYTES):
                self._entries.popitem(last=False)
        return descriptor

    def _bytes(self) -> int:
        return sum(descriptor.table_bytes for descriptor in self._entries.values())


_cache = _Cache()


def remembered_descriptor(name: Hashable) -> Any:
    """Return what :func:`core_descriptor` returned for this name, or None if that is not known any more."""
    return _cache.remembered(name)


def core_descriptor(dtype: str, parameters: Mapping[str, Any], name: Hashable = None) -> Any:
    """Return the compiled descriptor; it holds no state of a call.

    Parameters
    ----------
    dtype : {"float64", "float32"}
    parameters : mapping
        What the core takes: numbers, strings, None, arrays, and mappings and lists of these.
    name : hashable, optional
        What the parameters follow from, for :func:`remembered_descriptor`.
    """
    return _cache.get(dtype, parameters, name)


def _frozen(value: Any) -> Hashable:
    """Return something that can be compared and hashed in the place of a parameter."""
    if isinstance(value, Mapping):
        return tuple((name, _frozen(entry)) for name, entry in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(entry) for entry in value)
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    return value  # type: ignore[no-any-return]
