"""Progress bars for long work, off unless asked for, and the cutting of work into pieces between which they move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["cut", "step", "track"]

Item = TypeVar("Item")


def track(
    items: Iterable[tuple[int, Item]], total: int | None, description: str, show: bool
) -> Iterator[Item]:
    """Yield the items; with ``show`` draw a bar that advances by each item's weight, out of ``total`` if known."""
    if not show:
        yield from (item for _, item in items)
        return
    with _bar() as bar:
        task = bar.add_task(description, total=total)
        for weight, item in items:
            yield item
            bar.advance(task, weight)


@contextmanager
def step(description: str, show: bool) -> Iterator[None]:
    """Show a bar without an end while work runs that cannot be cut, such as one call of LAPACK."""
    if not show:
        yield
        return
    with _bar() as bar:
        task = bar.add_task(description, total=None)
        yield
        bar.update(task, total=1, completed=1)


def cut(offsets: Any, length: int) -> Iterator[tuple[int, int]]:
    """Cut groups of things into runs of whole groups.

    Parameters
    ----------
    offsets : ndarray of shape (n_groups + 1,)
        Group g holds the things ``offsets[g]:offsets[g + 1]``.
    length : int
        How many things a run may hold, unless one group has more.

    Yields
    ------
    (first, last) : the groups ``first:last`` of a run
    """
    first, n_groups = 0, len(offsets) - 1
    while first < n_groups:
        last = int(np.searchsorted(offsets, offsets[first] + length, side="right")) - 1
        last = min(max(last, first + 1), n_groups)
        yield first, last
        first = last


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
