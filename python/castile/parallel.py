"""How the compiled core runs: its threads and its instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

from castile import _core
from castile.errors import InputError

__all__ = ["instruction_set", "num_threads", "set_num_threads", "threads"]


_MOST_THREADS = 1024  # the OpenMP runtime ends the process if the system refuses it a thread


def _checked(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, Integral) or not 1 <= n <= _MOST_THREADS:
        raise InputError(f"n, the number of threads, must be an integer from 1 to {_MOST_THREADS}, got {n!r}")
    return int(n)


def instruction_set() -> str:
    """Return the name of the instruction set that the compiled core uses, such as "x86-64-v3".

    It is the best that the processor has and the build knows, or what the environment variable ``CASTILE_SIMD`` names.
    That is read once, when it is first needed, so set it before Python starts. Other instruction sets give the same
    results to rounding, but not the same bits.

    Raises
    ------
    InputError
        If ``CASTILE_SIMD`` names what this build or this processor does not have; the message lists what they have.

    Examples
    --------
    >>> import castile
    >>> castile.instruction_set() in ("x86-64-v4", "x86-64-v3", "baseline")
    True
    """
    return _core.instruction_set()


def num_threads() -> int:
    """Return the number of threads that the next call from this thread will use, if it is the only one then.

    Inside threads that work at the same time it tells the same number: what each of them could have alone. Their calls
    get less, equal shares of it (see :func:`set_num_threads`); within :func:`threads` all get what it says.

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
