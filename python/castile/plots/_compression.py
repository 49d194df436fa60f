"""Picture of what smaller force fields cost and give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castile.errors import InputError
from castile.plots._style import COLORS, GRAY, UNITS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from castile.models.force_field.compression import CompressionTable

__all__ = ["compression"]


def compression(table: CompressionTable, *, kind: str = "force", ax: Axes | None = None) -> Axes:
    """Draw the error of each candidate of a compression against the time that it takes.

    Parameters
    ----------
    table : CompressionTable
        ``compression_`` of what :meth:`castile.ForceField.compress` returns.
    kind : {"force", "energy", "stress"}
        Whose mean absolute error is drawn; if there are no labels of that kind, the first there is.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Numbers stand for the candidates, which the legend names; the one that was chosen is marked.
    """
    candidates = table.candidates
    kinds = [name for name in (kind, *UNITS) if name in candidates[0].errors] if candidates else []
    if not kinds:
        raise InputError("table holds no candidates with errors")
    ax = new_axes(7.2, 3.8) if ax is None else ax
    factor, unit = UNITS[kinds[0]]
    if unit.startswith("eV"):
        factor, unit = 1e3 * factor, f"m{unit}"
    for number, one in enumerate(candidates, start=1):
        chosen = one is table.chosen
        x, y = one.micros, factor * one.errors[kinds[0]]["mae"]
        label = f"{number}  {one.name}{', chosen' if chosen else ''}"
        color = COLORS[1] if chosen else COLORS[0]
        ax.scatter(x, y, s=90.0 if chosen else 45.0, color=color, marker="*" if chosen else "o", zorder=2, label=label)
        ax.annotate(str(number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=9)
    ax.axhline(factor * candidates[0].errors[kinds[0]]["mae"], color=GRAY, linewidth=0.8, linestyle="--", zorder=1)
    ax.margins(0.12)
    ax.set(xlim=(0.0, None), xlabel="time (µs per atom)", ylabel=f"{kinds[0]} error, held out (MAE, {unit})")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return ax
