"""What a cutoff means for the work, told before the work begins."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from castile.data import Dataset

__all__ = ["cutoff_note", "neighbors_per_atom"]

_USUAL = 35  # neighbors within the default cutoff of a dense solid
_MANY = 5 * _USUAL


def neighbors_per_atom(dataset: Dataset, cutoff: float) -> float:
    """Return about how many neighbors atoms have within a cutoff in Å, from densities, without looking for them."""
    counts = np.array([_neighbors(atoms, cutoff) for atoms in dataset.frames])
    return float(np.sum(counts * dataset.n_atoms) / max(int(dataset.n_atoms.sum()), 1))


def _neighbors(atoms: Atoms, cutoff: float) -> float:
    """Return how many atoms a sphere holds, or a disk or a rod where there are two periods or one."""
    cell = atoms.cell.array
    if atoms.pbc.all():
        return float(len(atoms) * 4.0 / 3.0 * np.pi * cutoff**3 / atoms.cell.volume)
    periods = cell[atoms.pbc]
    if len(periods) == 2:
        return float(len(atoms) * np.pi * cutoff**2 / np.linalg.norm(np.cross(*periods)))
    if len(periods) == 1:
        return float(len(atoms) * 2.0 * cutoff / np.linalg.norm(periods[0]))
    return max(len(atoms) - 1.0, 0.0)


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
