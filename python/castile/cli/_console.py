"""Where the commands print, and what their tables look like."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["errors", "key_value_table", "output", "paragraph", "plain_table", "warnings_as_lines"]

output = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def paragraph(text: str) -> None:
    """Print text, indented and wrapped, without rich's padding at the ends of lines."""
    width = min(output.width, 90)
    for line in textwrap.wrap(text, width - 2, break_long_words=False, break_on_hyphens=False):
        output.print(f"  {line}", markup=False, soft_wrap=True)


def plain_table(*columns: str, numeric: Iterable[int] = ()) -> Table:
    """Return a table with a head, without frame; the columns in ``numeric`` are set flush right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    right = set(numeric)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in right else "left", overflow="fold")
    return table


def key_value_table(rows: Iterable[tuple[str, Any]]) -> Table:
    """Return a table of two columns without a head."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(key, str(value))
    return table


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print warnings as one yellow line each, once, instead of Python's two with a source line."""
    seen: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            errors.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = show
        yield
