"""Pictures of the errors of force fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from castile._units import GPA
from castile.errors import InputError
from castile.plots._style import COLORS, GRAY, PANEL_NAMES, UNITS, column, error_text, new_axes, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from castile.models.force_field import ErrorTable
    from castile.models.force_field.error_table import Residuals
    from castile.models.force_field.learning import LearningCurve

__all__ = ["errors_by_group", "learning_curve", "parity_density", "parity_panels"]

_FEW = 400  # points that are drawn one by one
_MOST_GROUPS = 20
_LONGEST_LABEL = 26
# Factor and unit of errors, which are smaller than what they are errors of.
_ERROR_UNITS = {"energy": (1e3, "meV/atom"), "force": (1e3, "meV/Å"), "stress": (GPA, "GPa")}


def parity_density(
    reference: Any,
    predicted: Any,
    *,
    unit: str = "eV/Å",
    quantity: str = "force component",
    ax: Axes | None = None,
) -> Axes:
    """Draw predicted against reference values as a density of points, with the errors in the corner.

    Parameters
    ----------
    reference, predicted : array-like of shape (n,)
        Values in the same unit; of few (up to 400) each is drawn.
    unit, quantity : str
        For the labels. Errors of energies and forces below 0.1 eV are printed in meV.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, ``ax.figure`` of the result.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If the arrays differ in length, are empty, or hold values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from castile.plots import parity_density
    >>> forces = np.random.default_rng(0).normal(size=5000)
    >>> ax = parity_density(forces, forces + 0.01)
    >>> ax.figure.savefig("parity.png")  # doctest: +SKIP
    """
    x, y = column(reference, "reference"), column(predicted, "predicted")
    if len(x) != len(y):
        raise InputError(f"predicted must have as many values as reference, {len(x)}, got {len(y)}")
    ax = new_axes(width=5.0) if ax is None else ax
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, color=GRAY, linewidth=0.8, zorder=3 if len(x) > _FEW else 1)
    if len(x) <= _FEW:
        ax.scatter(x, y, s=16.0, color=COLORS[0], edgecolors="white", linewidths=0.3, alpha=0.9, zorder=2)
    else:
        drawn = ax.hexbin(
            x, y, gridsize=55, extent=(*limits, *limits), bins="log", mincnt=1, cmap="viridis", linewidths=0.1, zorder=2
        )
        inside: Any = ax.inset_axes((0.05, 0.58, 0.03, 0.33))  # the upper left corner of a parity plot is empty
        bar = ax.figure.colorbar(drawn, cax=inside)
        inside.set_title("points", fontsize=8, loc="left")
        bar.ax.tick_params(labelsize=8)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.set_xlabel(f"reference {quantity} ({unit})")
    ax.set_ylabel(f"predicted {quantity} ({unit})")
    ax.yaxis.set_major_locator(ax.xaxis.get_major_locator())
    text = error_text(y - x, unit)
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
    ax.text(0.97, 0.03, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=9, bbox=box, zorder=4)
    return ax


def parity_panels(residuals: Sequence[Residuals], title: str | None = None) -> Figure:
    """Draw energies, force components and stress components of a force field against their labels.

    Parameters
    ----------
    residuals : sequence of Residuals
        Of :func:`castile.models.force_field.error_table.residuals`; a panel for each.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not residuals:
        raise InputError("residuals is empty: there are no labels to compare with")
    figure, axes = new_panels(len(residuals), 3, 4.5, 4.2)
    for ax, one in zip(axes, residuals, strict=True):
        factor, unit = UNITS[one.kind]
        parity_density(factor * one.labels, factor * one.predicted, unit=unit, quantity=PANEL_NAMES[one.kind], ax=ax)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def errors_by_group(table: ErrorTable) -> Figure:
    """Draw the errors of each group of frames as bars, energies, forces and stresses beside each other.

    Parameters
    ----------
    table : ErrorTable
        Of :meth:`castile.ForceField.evaluate`. Of more than twenty groups those are drawn whose errors, relative to
        the errors of all, are the largest; the title says so.

    Returns
    -------
    matplotlib.figure.Figure
        Bars reach to the root mean square error, points mark the mean absolute error, dashed lines the root mean
        square error of all frames.
    """
    kinds = list(dict.fromkeys(row["quantity"] for row in table.rows))
    if not kinds:
        raise InputError("table is empty: there are no labels to compare with")
    names = list(dict.fromkeys(row["group"] for row in table.rows if row["group"] != "all")) or ["all"]
    found = {(row["group"], row["quantity"]): row for row in table.rows}
    drawn = names if len(names) <= _MOST_GROUPS else _worst(names, kinds, found)
    figure, axes = new_panels(len(kinds), 3, 3.6, 1.1 + 0.3 * len(drawn), sharey=True)
    places = np.arange(len(drawn))
    for ax, kind in zip(axes, kinds, strict=True):
        factor, unit = _ERROR_UNITS[kind]
        rows = [found.get((name, kind)) for name in drawn]
        rmse = [factor * row["rmse"] if row else 0.0 for row in rows]
        ax.barh(places, rmse, height=0.62, color=COLORS[5], zorder=2)
        mae = [factor * row["mae"] if row else np.nan for row in rows]
        ax.scatter(mae, places, s=16.0, color=COLORS[0], zorder=3)
        if len(names) > 1:
            ax.axvline(factor * found["all", kind]["rmse"], color=GRAY, linewidth=0.9, linestyle="--", zorder=4)
        ax.set_xlabel(f"{PANEL_NAMES[kind]} error ({unit})")
        ax.set_xlim(left=0.0)
        ax.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=0)
        ax.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
    axes[0].set_yticks(places, [_short(name) for name in drawn])
    axes[0].invert_yaxis()
    title = "bars: RMSE, points: MAE" + ("" if len(names) == 1 else ", dashed: RMSE of all")
    if len(drawn) < len(names):
        title += f"; the worst {len(drawn)} of {len(names)} groups"
    figure.suptitle(title, fontsize=9, color=GRAY)
    return figure


def learning_curve(curve: LearningCurve | Iterable[Mapping[str, Any]]) -> Figure:
    """Draw test errors against the number of training frames, on logarithmic axes.

    Parameters
    ----------
    curve : LearningCurve, or iterable of mappings
        Of :meth:`castile.ForceField.learning_curve`; or ``"n_frames"`` and ``"errors"``, an
        :class:`~castile.models.force_field.ErrorTable`, of each point.

    Returns
    -------
    matplotlib.figure.Figure
    """
    whole: Any = curve
    given = getattr(whole, "points", whole)
    points = sorted(given, key=lambda point: int(point["n_frames"]))
    if not points:
        raise InputError("curve holds no points")
    kinds = [kind for kind in UNITS if any(kind in point["errors"] for point in points)]
    if not kinds:
        raise InputError("curve holds no errors of energies, forces or stresses")
    figure, axes = new_panels(len(kinds), 3, 3.6, 3.3)
    for ax, kind in zip(axes, kinds, strict=True):
        factor, unit = _ERROR_UNITS[kind]
        rows = [(point["n_frames"], point["errors"][kind]) for point in points if kind in point["errors"]]
        sizes = [n for n, _ in rows]
        for name, color, marker in (("rmse", COLORS[1], "s"), ("mae", COLORS[0], "o")):
            errors = [factor * row[name] for _, row in rows]
            ax.plot(sizes, errors, color=color, marker=marker, markersize=5.0, linewidth=1.3, label=name.upper())
        _logarithmic(ax, sizes)
        ax.set_xlabel("training frames")
        ax.set_ylabel(f"{PANEL_NAMES[kind]} error ({unit})")
        ax.grid(which="both", color="#e5e5e5", linewidth=0.6)
        ax.legend(frameon=False, fontsize=9)
    return figure


def _logarithmic(ax: Axes, sizes: list[int]) -> None:
    """Set logarithmic axes, whose ticks are plain numbers: of all sizes, and of 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    plain = FuncFormatter(lambda value, _: f"{value:g}")
    ax.set(xscale="log", yscale="log")
    shown = sizes if len(sizes) <= 6 else sizes[:: -(-len(sizes) // 6)]
    ax.set_xticks(shown, [str(size) for size in shown])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(plain)
    ax.yaxis.set_minor_locator(NullLocator())
    low, high = ax.get_ylim()
    if high < 6.0 * low:  # so that several ticks are inside
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)))


def _worst(names: list[str], kinds: list[str], found: Mapping[tuple[str, str], dict[str, Any]]) -> list[str]:
    """Return groups in their order, those with the largest relative errors."""

    def badness(name: str) -> float:
        ratios = [
            found[name, kind]["rmse"] / (found["all", kind]["rmse"] or 1.0) for kind in kinds if (name, kind) in found
        ]
        return max(ratios, default=0.0)

    worst = set(sorted(names, key=badness, reverse=True)[:_MOST_GROUPS])
    return [name for name in names if name in worst]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
