"""Progress bars for long work, off unless asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["track"]

Item = TypeVar("Item")


def track(
    items: Iterable[tuple[int, Item]], total: int, description: str, show: bool
) -> Iterator[Item]:
    """Yield the items; with ``show`` draw a bar that advances by each item's weight out of ``total``."""
    if not show:
        yield from (item for _, item in items)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        for weight, item in items:
            yield item
            bar.advance(task, weight)
