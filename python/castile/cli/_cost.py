"""What a cutoff means for the work, told before the work begins."""

from __future__ import annotations

import numpy as np

from castile.data import Dataset
from castile.structures import volumes

__all__ = ["cutoff_note", "neighbors_per_atom"]

_USUAL = 35  # neighbors within the default cutoff of a dense solid
_MANY = 5 * _USUAL


def neighbors_per_atom(dataset: Dataset, cutoff: float) -> float:
    """Return about how many neighbors atoms have within a cutoff in Å, from densities, without looking for them."""
    n_atoms = dataset.n_atoms.astype(float)
    others = np.maximum(n_atoms - 1.0, 0.0)
    density = n_atoms / volumes(np.array([atoms.cell.array for atoms in dataset.frames]).reshape(-1, 3, 3))
    within = 4.0 / 3.0 * np.pi * cutoff**3 * density
    periodic = np.array([atoms.pbc.all() for atoms in dataset.frames], dtype=bool) & ~np.isnan(density)
    # Without periodic images there are no more than the other atoms.
    counts = np.where(periodic, within, np.fmin(others, within))
    return float(np.sum(counts * n_atoms) / max(n_atoms.sum(), 1.0))


def cutoff_note(dataset: Dataset, cutoff: float) -> str | None:
    """Return a warning of a cutoff that makes everything slow, or None."""
    neighbors = neighbors_per_atom(dataset, cutoff)
    if neighbors < _MANY:
        return None
    pairs = neighbors * len(dataset.numbers)
    return (
        f"within --cutoff {cutoff:g} Å each atom has about {neighbors:,.0f} neighbors, {pairs:,.0f} pairs in all: fit "
        f"and prediction take about {neighbors / _USUAL:.0f} times as long as with the default; "
        "lower it, or leave it out"
    )
