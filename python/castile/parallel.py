"""Number of threads of the compiled core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

from castile import _core
from castile.errors import InputError

__all__ = ["num_threads", "set_num_threads", "threads"]


_MOST_THREADS = 1024  # the OpenMP runtime ends the process if the system refuses it a thread


def _checked(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, Integral) or not 1 <= n <= _MOST_THREADS:
        raise InputError(f"n, the number of threads, must be an integer from 1 to {_MOST_THREADS}, got {n!r}")
    return int(n)


def num_threads() -> int:
    """Return the number of threads that the next call from this thread will use, if it is the only one then.

    Examples
    --------
    >>> import castile
    >>> with castile.threads(1):
    ...     castile.num_threads()
    1
    """
    return _core.num_threads()


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of the whole process.

    Calls that several Python threads make at once share them in equal parts, rounded up: two of them take two
    threads each of four. Results do not depend on that.

    Parameters
    ----------
    n : int or None
        One or more; None restores the default, the CPUs that this process may use (``OMP_NUM_THREADS``
        and :mod:`threadpoolctl` are obeyed).

    Raises
    ------
    InputError
        If ``n`` is not a positive integer.
    """
    _core.set_num_threads(0 if n is None else _checked(n))


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use ``n`` threads inside a ``with`` block, for calls from this Python thread only, which share with no other.

    Parameters
    ----------
    n : int
        One or more.

    Raises
    ------
    InputError
        If ``n`` is not a positive integer.
    """
    previous = _core.set_num_threads_of_this_thread(_checked(n))
    try:
        yield
    finally:
        _core.set_num_threads_of_this_thread(previous)
