"""What all pictures share: colors, figures without pyplot, checked columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from castile._text import plain
from castile._units import GPA
from castile.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "GRAY", "PANEL_NAMES", "UNITS", "column", "error_text", "new_axes", "new_panels"]

FloatArray = npt.NDArray[np.float64]

# Okabe and Ito's colors, told apart by color-blind readers too; light yellow and black are left out.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GRAY = "#666666"

# Of the labels of force fields: what a value is multiplied with to be drawn, and the unit that it then has.
UNITS = {"energy": (1.0, "eV/atom"), "force": (1.0, "eV/Å"), "stress": (GPA, "GPa")}
PANEL_NAMES = {"energy": "energy", "force": "force component", "stress": "stress component"}


def new_axes(
    width: float = 4.6, height: float = 4.6, layout: Literal["compressed", "constrained"] = "constrained"
) -> Axes:
    """Return the axes of a new figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout=layout).subplots()


def new_panels(n: int, n_columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Sequence[Axes]]:
    """Return a new figure with ``n`` panels of a size in inches, row by row."""
    from matplotlib.figure import Figure

    n_columns = min(n, n_columns)
    n_rows = -(-n // n_columns)
    figure = Figure(figsize=(width * n_columns, height * n_rows), dpi=150, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, **options).reshape(-1)
    for unused in axes[n:]:
        unused.set_axis_off()
    return figure, list(axes[:n])


def column(values: Any, name: str) -> FloatArray:
    """Return numbers as one checked column."""
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if numbers.size == 0:
        raise InputError(f"{name} must hold at least one value")
    if not np.isfinite(numbers).all():
        raise InputError(f"{name}[{int(np.argmin(np.isfinite(numbers)))}] is not finite; leave such points out")
    return numbers


def error_text(errors: FloatArray, unit: str) -> str:
    """Return mean absolute and root mean square error; small ones of energies in meV."""
    mae, rmse = float(np.abs(errors).mean()), float(np.sqrt(np.mean(errors**2)))
    if unit.startswith("eV") and rmse < 0.1:
        mae, rmse, unit = 1e3 * mae, 1e3 * rmse, f"m{unit}"
    return f"MAE {plain(mae, 3)} {unit}\nRMSE {plain(rmse, 3)} {unit}\n{len(errors)} points"
