"""Pictures of what a force field says about matter: dimers, equations of state, phonons, conserved energies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile.errors import InputError
from castile.plots._style import COLORS, GRAY, column, new_axes, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["conservation", "dimer_curves", "energy_volume", "phonon_bands"]

FloatArray = npt.NDArray[np.float64]

_SHORTEST = 0.5  # Å
_POINTS = 200
_MOST_PAIRS = 15
_CEILING = 15.0  # eV: where dimer curves leave the picture
_WEAK = 0.02  # eV


def dimer_curves(
    model: Any,
    *,
    distances: Any = None,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> Figure:
    """Draw the energy of two atoms against their distance, a panel for each pair of species.

    Parameters
    ----------
    model : ForceField
        Fitted. The energies of single atoms, as the model has them, are subtracted.
    distances : array-like, optional
        In Å; by default from 0.5 Å to where the model ends.
    pairs : sequence of (str, str), optional
        By default all pairs of the model's species, of which the first fifteen are drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Dashed lines mark the shortest distances in the training data, left of which nothing but the prior and the
        repulsion rules; shades where the repulsion of nuclei is joined: whole left of it, none
        to the right.
    """
    species = tuple(model.species_)
    chosen = list(combinations_with_replacement(species, 2)) if pairs is None else list(pairs)
    for pair in chosen:
        if len(pair) != 2 or not set(pair) <= set(species):
            raise InputError(f"pairs must be pairs of the model's species {', '.join(species)}, got {pair!r}")
    if not chosen:
        raise InputError("pairs is empty")
    shown = chosen[:_MOST_PAIRS]
    r = np.linspace(_SHORTEST, model.potential_.cutoff + 0.2, _POINTS) if distances is None else distances
    r = column(r, "distances")
    figure, axes = new_panels(len(shown), 3, 3.4, 2.9)
    repulsion = model.foundation_.repulsion
    for ax, pair in zip(axes, shown, strict=True):
        curve = dimer_energies(model, pair, r)
        a, b = (species.index(symbol) for symbol in pair)
        if repulsion is not None:
            label = "repulsion joined"
            ax.axvspan(repulsion.inner[a, b], repulsion.outer[a, b], color="#E69F00", alpha=0.25, lw=0, label=label)
        nearest = float(model.foundation_.shortest[a, b])
        if np.isfinite(nearest):
            label = "shortest in training data"
            ax.axvline(nearest, color=GRAY, linewidth=1.0, linestyle="--", label=label)
        ax.axhline(0.0, color=GRAY, linewidth=0.6)
        ax.plot(r, curve, color=COLORS[0], linewidth=1.5)
        ax.set(xlim=(float(r.min()), float(r.max())), ylim=_dimer_limits(r, curve, nearest))
        ax.text(0.96, 0.94, f"{pair[0]}-{pair[1]}", transform=ax.transAxes, ha="right", va="top", fontsize=11)
    for ax in axes[-min(3, len(axes)) :]:
        ax.set_xlabel("distance (Å)")
    for ax in axes[::3]:
        ax.set_ylabel("energy (eV)")
    entries = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    if entries:
        names = list(entries)
        ncols = len(names) if len(axes) > 1 else 1
        figure.legend(entries.values(), names, loc="outside upper center", ncols=ncols, fontsize=9, frameon=False)
    if len(shown) < len(chosen):
        figure.suptitle(f"the first {len(shown)} of {len(chosen)} pairs", fontsize=9, color=GRAY)
    return figure


def dimer_energies(model: Any, pair: tuple[str, str], distances: FloatArray) -> FloatArray:
    """Return energies in eV of two atoms without those of the single atoms."""
    frames = [Atoms(list(pair), [[0.0, 0.0, 0.0], [0.0, 0.0, r]]) for r in distances]
    alone = model.predict([Atoms([symbol]) for symbol in pair]).energy.sum()
    return np.asarray(model.predict(frames).energy - alone)


def energy_volume(
    volumes: Any,
    energies: Any,
    *,
    curve: tuple[Any, Any] | None = None,
    minimum: tuple[float, float] | None = None,
    bulk_modulus: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw energies against volumes, with a fitted curve.

    Parameters
    ----------
    volumes, energies : array-like of shape (n,)
        In Å³ and eV, per atom.
    curve : (volumes, energies), optional
        Of a fitted equation of state.
    minimum : (float, float), optional
        Its volume and energy.
    bulk_modulus : float, optional
        In GPa, for the text.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    x, y = column(volumes, "volumes"), column(energies, "energies")
    if len(x) != len(y):
        raise InputError(f"energies must have as many values as volumes, {len(x)}, got {len(y)}")
    ax = new_axes(4.6, 3.6) if ax is None else ax
    zero = float(y.min()) if minimum is None else minimum[1]
    if curve is not None:
        ax.plot(np.asarray(curve[0]), 1e3 * (np.asarray(curve[1]) - zero), color=COLORS[0], linewidth=1.3, zorder=1)
    ax.scatter(x, 1e3 * (y - zero), s=28.0, color=COLORS[1], edgecolors="white", linewidths=0.4, zorder=2)
    lines = []
    if minimum is not None:
        ax.axvline(minimum[0], color=GRAY, linewidth=0.8, linestyle="--", zorder=0)
        lines.append(f"$V_0$ = {minimum[0]:.3f} Å³/atom")
    if bulk_modulus is not None:
        lines.append(f"$B_0$ = {bulk_modulus:.1f} GPa")
    if lines:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
        ax.text(0.5, 0.96, "\n".join(lines), transform=ax.transAxes, ha="center", va="top", fontsize=10, bbox=box)
    ax.set_xlabel("volume (Å³/atom)")
    ax.set_ylabel("energy above minimum (meV/atom)")
    return ax


def phonon_bands(
    distances: Any,
    frequencies: Any,
    ticks: Sequence[tuple[float, str]],
    *,
    dos: tuple[Any, Any] | None = None,
) -> Figure:
    """Draw the frequencies of phonons along a path, with their density beside.

    Parameters
    ----------
    distances : array-like of shape (n_points,)
        Along the path; it breaks where two points behind each other are at the same place.
    frequencies : array-like of shape (n_points, n_bands)
        In THz; imaginary ones as negative numbers.
    ticks : sequence of (float, str)
        Places and names of the special points.
    dos : (frequencies, densities), optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    x = column(distances, "distances")
    bands = np.asarray(frequencies, dtype=np.float64)
    if bands.ndim != 2 or len(bands) != len(x):
        raise InputError(f"frequencies must have a row for each of {len(x)} points, got shape {bands.shape}")
    figure = Figure(figsize=(5.6, 3.8), dpi=150, layout="constrained")
    ratios = [1.0] if dos is None else [3.2, 1.0]
    axes = figure.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
    ax = axes[0]
    breaks = np.flatnonzero(np.diff(x) <= 1e-9 * np.ptp(x)) + 1
    for segment in np.split(np.arange(len(x)), breaks):
        ax.plot(x[segment], bands[segment], color=COLORS[0], linewidth=1.2)
    for place, _ in ticks:
        ax.axvline(place, color="#bbbbbb", linewidth=0.7, zorder=0)
    if bands.min() < 0.0:
        ax.axhline(0.0, color=GRAY, linewidth=0.7, zorder=0)
    ax.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
    ax.set(xlim=(float(x.min()), float(x.max())), ylabel="frequency (THz)")
    low = min(0.0, float(bands.min()))
    ax.set_ylim(1.05 * low if low < -0.05 else 0.0, 1.05 * max(float(bands.max()), 0.1))
    if dos is not None:
        axes[1].fill_betweenx(np.asarray(dos[0]), np.asarray(dos[1]), color=COLORS[5], alpha=0.7, linewidth=0)
        axes[1].set(xlabel="density", xticks=[], xlim=(0.0, None))
    return figure


def conservation(times: Any, total: Any, kinetic: Any, n_atoms: int, *, ax: Axes | None = None) -> Axes:
    """Draw how far the total energy of a trajectory strays, beside the kinetic energy that it exchanges.

    Parameters
    ----------
    times : array-like of shape (n,)
        In ps.
    total, kinetic : array-like of shape (n,)
        In eV.
    n_atoms : int
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    t, all_, part = (column(v, n) for v, n in ((times, "times"), (total, "total"), (kinetic, "kinetic")))
    ax = new_axes(5.2, 3.4) if ax is None else ax
    for values, color, name in ((part, COLORS[5], "kinetic"), (all_, COLORS[1], "total")):
        ax.plot(t, 1e3 * (values - values[0]) / n_atoms, color=color, linewidth=1.3, label=f"{name} energy")
    ax.set_xlabel("time (ps)")
    ax.set_ylabel("change (meV/atom)")
    ax.set_xlim(float(t.min()), float(t.max()) if len(t) > 1 else None)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2, frameon=False, fontsize=9)
    return ax


def _dimer_limits(r: FloatArray, curve: FloatArray, nearest: float | None) -> tuple[float, float]:
    """Return limits that show the well, and of the wall only its foot."""
    known = curve if nearest is None else curve[r >= nearest]
    depth = max(-float(known.min() if len(known) else curve.min()), _WEAK)
    low = -1.3 * max(depth, min(-float(curve.min()), _CEILING))
    return low, max(min(float(curve.max()), _CEILING, 3.0 * -low), -low)
