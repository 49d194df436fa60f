"""BLAS on one thread, also where several Python threads ask for it at once."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]


class _Limit:
    """Who comes first limits, who leaves last restores: limits of others in between would undo each other."""

    def __init__(self) -> None:
        self._reset()
        # In a forked child another thread's lock would never be released.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limits: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                with _in_control():
                    self._limits = _libraries().limit(limits=1)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                with _in_control():
                    self._limits.restore_original_limits()


_limit = _Limit()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread inside of a ``with`` block; several sum in another order."""
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


@contextmanager
def _in_control() -> Iterator[None]:
    # The Python thread that changed a limit first is the only one that threadpoolctl (3.8) lets change it, silently,
    # until it has left its block; but who leaves here last is any thread.
    _release_control()
    try:
        yield
    finally:
        _release_control()


def _release_control() -> None:
    for library in _libraries().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


@functools.cache
def _libraries() -> ThreadpoolController:
    # The search for libraries takes milliseconds; those of NumPy and SciPy have been loaded by now.
    # Of BLAS alone: limits are restored for all libraries there are, and those of OpenMP are of each thread.
    return ThreadpoolController().select(user_api="blas")
