"""Pictures of points: predicted against reference values, and features on their principal components."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from castile.errors import InputError
from castile.kernels._rows import as_rows
from castile.plots._style import COLORS, GRAY, column, error_text, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["feature_map", "parity_plot"]

FloatArray = npt.NDArray[np.float64]

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LOOKS = len(COLORS) * len(_MARKERS)  # of groups that can be told apart
_SIZE = 26.0  # of markers, square points
_FEW_GROUPS = 10  # whose legend fits inside or above the axes
_LEGEND_ROWS = 24  # of a column beside the axes
_LONGEST_LABEL = 26  # characters in a legend


def parity_plot(
    reference: Any,
    predicted: Any,
    groups: Any = None,
    *,
    unit: str = "eV/atom",
    quantity: str = "energy",
    ax: Axes | None = None,
) -> Axes:
    """Draw predicted against reference values, with the errors in the corner.

    Parameters
    ----------
    reference, predicted : array-like of shape (n,)
        Values in the same unit.
    groups : array-like of shape (n,), optional
        A label per point; each gets its color, marker and line in the legend, which stands beside the axes for
        more than ten labels and is left out, with a note, for more than 48, which could not be told apart.
    unit : str
        Unit of the values, for labels and errors. Errors of energies below 0.1 eV are printed in meV.
    quantity : str
        What the values are, for the labels of the axes.
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
    >>> from castile.plots import parity_plot
    >>> ax = parity_plot([-3.1, -3.0, -2.8], [-3.0, -3.0, -2.9])
    >>> ax.figure.savefig("parity.png")  # doctest: +SKIP
    """
    x, y = column(reference, "reference"), column(predicted, "predicted")
    if len(x) != len(y):
        raise InputError(f"predicted must have as many values as reference, {len(x)}, got {len(y)}")
    ax = _new_axes(beside=_legend_width(groups)) if ax is None else ax
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, color=GRAY, linewidth=0.8, zorder=1)
    named = _named_groups(groups, len(x))
    for label, members, color, marker in named:
        ax.scatter(x[members], y[members], label=label, **_style(color, marker))
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.set_xlabel(f"reference {quantity} ({unit})")
    ax.set_ylabel(f"predicted {quantity} ({unit})")
    ax.yaxis.set_major_locator(ax.xaxis.get_major_locator())
    errors = error_text(y - x, unit)
    ax.text(0.97, 0.03, errors, transform=ax.transAxes, ha="right", va="bottom", fontsize=9)
    n_groups = len(_labels(groups))
    if n_groups > _LOOKS:
        _note_instead_of_legend(ax, n_groups)
    elif n_groups > _FEW_GROUPS:
        _legend_beside(ax, groups)
    elif groups is not None:
        ax.legend(
            *_entries(ax, groups), loc="upper left", fontsize=9, frameon=False, handletextpad=0.3, borderaxespad=0.3
        )
    return ax


def feature_map(
    features: Any,
    values: Any = None,
    groups: Any = None,
    *,
    label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw samples on the two leading principal components of their features.

    Parameters
    ----------
    features : array-like or SciPy sparse matrix of shape (n, n_features)
        One row per point; at least two rows and two columns.
    values : array-like of shape (n,), optional
        Colors the points, with a color bar; without them the colors show the groups.
    groups : array-like of shape (n,), optional
        A label per point; each gets its marker and its line in the legend, which stands beside the axes for more
        than ten labels and is left out, with a note, for more than can be told apart: 48, or with ``values``,
        which take the colors, eight.
    label : str
        What the values are, with their unit, for the color bar.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, ``ax.figure`` of the result.

    Returns
    -------
    matplotlib.axes.Axes
        The axes' labels tell the share of the features' variance that each component has.

    Raises
    ------
    InputError
        If the arrays differ in length, are too small, or hold values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from castile.plots import feature_map
    >>> rows = np.random.default_rng(0).normal(size=(20, 5))
    >>> ax = feature_map(rows, values=rows[:, 0], label="first feature")
    >>> ax.figure.savefig("map.png")  # doctest: +SKIP
    """
    points, shares = _principal_components(features)
    shown = None if values is None else column(values, "values")
    if shown is not None and len(shown) != len(points):
        raise InputError(f"values must hold one number per row of features, {len(points)}, got {len(shown)}")
    n_groups = len(_labels(groups))
    n_looks = _LOOKS if shown is None else len(_MARKERS)
    beside = _legend_width(groups) if n_groups <= n_looks else 0.0
    ax = _new_axes(wide=shown is not None, beside=beside) if ax is None else ax
    drawn: Any = None
    for name, members, color, marker in _named_groups(groups, len(points)):
        style = _style(color, marker)
        if shown is not None:
            del style["color"]
            style |= {"c": shown[members], "cmap": "viridis", "vmin": shown.min(), "vmax": shown.max()}
        drawn = ax.scatter(points[members, 0], points[members, 1], label=name, **style)
    ax.set_xlabel(f"principal component 1 ({100 * shares[0]:.0f} % of variance)")
    ax.set_ylabel(f"principal component 2 ({100 * shares[1]:.0f} % of variance)")
    if shown is not None:
        ax.figure.colorbar(drawn, ax=ax, label=label)
    if n_groups > n_looks:
        _note_instead_of_legend(ax, n_groups)
    elif n_groups > _FEW_GROUPS:
        _legend_beside(ax, groups)
    elif groups is not None:
        _legend_above(ax, groups, gray=shown is not None)
    return ax


def _new_axes(wide: bool = False, beside: float = 0.0) -> Axes:
    """Return the axes of a new figure, with room in inches for what stands beside them."""
    # A layout that knows axes of a fixed aspect, which would otherwise push the legend or a label out.
    return new_axes((5.6 if wide else 4.6) + beside, layout="compressed" if beside else "constrained")


def _labels(groups: Any) -> list[str]:
    return [] if groups is None else [str(label) for label in dict.fromkeys(np.asarray(groups).reshape(-1).tolist())]


def _short_labels(groups: Any) -> list[str]:
    labels = _labels(groups)
    return [text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…" for text in labels]


def _entries(ax: Axes, groups: Any) -> tuple[list[Any], list[str]]:
    """Return the markers and names of the groups, which are the last that were drawn."""
    labels = _short_labels(groups)
    return ax.get_legend_handles_labels()[0][-len(labels) :], labels


def _legend_columns(n_labels: int) -> int:
    return -(-n_labels // _LEGEND_ROWS)


def _legend_width(groups: Any) -> float:
    """Return the width in inches of a legend that stands beside the axes."""
    labels = _short_labels(groups)
    if not _FEW_GROUPS < len(labels) <= _LOOKS:
        return 0.0
    return _legend_columns(len(labels)) * (0.3 + 0.055 * max(map(len, labels)))  # letters of 7 points


def _named_groups(groups: Any, n: int) -> Iterator[tuple[str | None, npt.NDArray[np.bool_], str, str]]:
    """Yield (label, mask, color, marker), in the order in which the labels first appear."""
    if groups is None:
        yield None, np.ones(n, dtype=bool), COLORS[0], _MARKERS[0]
        return
    labels = np.asarray(groups).reshape(-1)
    if len(labels) != n:
        raise InputError(f"groups must hold one label per point, {n}, got {len(labels)}")
    for index, label in enumerate(dict.fromkeys(labels.tolist())):
        # Their numbers share the divisor two: after 24 groups the markers move on, as the pairs would repeat.
        shifted = index + index // math.lcm(len(COLORS), len(_MARKERS))
        color, marker = COLORS[index % len(COLORS)], _MARKERS[shifted % len(_MARKERS)]
        yield str(label), labels == label, color, marker


def _style(color: str, marker: str) -> dict[str, Any]:
    # White edges keep points apart where they lie on each other.
    size = {"s": _SIZE, "marker": marker, "color": color}
    return {**size, "edgecolors": "white", "linewidths": 0.4, "alpha": 0.9, "zorder": 2}


def _legend_above(ax: Axes, groups: Any, gray: bool) -> None:
    """Put the legend over the axes, where it hides no points."""
    legend: Any = ax.legend(
        *_entries(ax, groups),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=2,
        fontsize=9,
        frameon=False,
        handletextpad=0.3,
        columnspacing=1.2,
        borderaxespad=0.2,
    )
    for handle in legend.legend_handles if gray else ():
        handle.set_array(None)
        handle.set_facecolor(GRAY)


def _note_instead_of_legend(ax: Axes, n_groups: int) -> None:
    note = f"{n_groups} groups, more than a legend can tell apart"
    ax.set_title(note, loc="left", fontsize=8, color=GRAY)


def _legend_beside(ax: Axes, groups: Any) -> None:
    """Put a long legend to the right of the axes, in small letters."""
    handles, labels = _entries(ax, groups)
    ax.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=_legend_columns(len(labels)),
        fontsize=7,
        frameon=False,
        labelspacing=0.25,
        handletextpad=0.2,
        columnspacing=0.8,
        borderaxespad=0.4,
    )


def _principal_components(features: Any) -> tuple[FloatArray, FloatArray]:
    """Return coordinates on the two leading components, (n, 2), and their shares of the variance."""
    rows = as_rows(features, "features")
    rows = rows if isinstance(rows, np.ndarray) else rows.toarray()
    if min(rows.shape) < 2:
        raise InputError(f"features must have at least two rows and two columns, got shape {rows.shape}")
    centered = rows - rows.mean(axis=0)
    left, singular, right = np.linalg.svd(centered, full_matrices=False)
    # The sign of a singular vector is arbitrary: make its largest entry positive.
    leading = right[:2]
    signs = np.sign(leading[[0, 1], np.abs(leading).argmax(axis=1)])
    total = float(np.sum(singular**2))
    shares = singular[:2] ** 2 / (total if total > 0.0 else 1.0)
    return np.asarray(left[:, :2] * singular[:2] * signs), np.asarray(shares)
