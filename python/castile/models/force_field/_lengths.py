"""The lengths of a material, from which the defaults of descriptors follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile.neighbors import NeighborList
from castile.progress import cut

__all__ = ["Lengths", "lengths_of", "shortest_distances"]

FloatArray = npt.NDArray[np.float64]

_FARTHEST_NEIGHBOR = 6.0  # Å: a nearest neighbor is looked for up to here
_ALONE = 3.0  # Å: of atoms without any
_ATOMS_AT_ONCE = 10_000
_OPEN = 0.8  # nearest distance over spacing: 0.866 in a diamond lattice, the most open of the common ones


@dataclass(frozen=True)
class Lengths:
    """Two lengths in Å.

    Attributes
    ----------
    neighbor : float
        Mean distance of the nearest neighbor.
    spacing : float
        Cube root of the volume per atom, at most that of an open solid with such neighbors, as molecules and slabs have
        no volume of their own.
    """

    neighbor: float
    spacing: float


def lengths_of(frames: list[Atoms]) -> Lengths:
    """Return the lengths of typical frames: the means over the frames."""
    pairs = NeighborList(frames, _FARTHEST_NEIGHBOR)
    counts = np.diff(pairs.offsets)
    nearest = np.full(len(counts), _ALONE)
    some = counts > 0
    if some.any():
        nearest[some] = np.minimum.reduceat(pairs.d, pairs.offsets[:-1][some])
    neighbor = float(nearest.mean())
    spacings = [(atoms.cell.volume / len(atoms)) ** (1 / 3) for atoms in frames if atoms.pbc.all() and len(atoms)]
    # Vacuum around slabs and molecules is no volume of theirs.
    most = neighbor / _OPEN
    return Lengths(neighbor, min(float(np.mean(spacings)), most) if spacings else most)


def shortest_distances(frames: list[Atoms], species_of_atom: npt.NDArray[np.int32], n_species: int) -> FloatArray:
    """Return the shortest distance between atoms of each pair of species, infinite where they are nowhere close.

    Parameters
    ----------
    frames : list of ase.Atoms
    species_of_atom : ndarray of int32, shape (n_atoms_total,)
    n_species : int

    Returns
    -------
    ndarray of shape (n_species, n_species), in Å
    """
    shortest = np.full((n_species, n_species), np.inf)
    offsets = np.concatenate([[0], np.cumsum([len(atoms) for atoms in frames])])
    for first, last in cut(offsets, _ATOMS_AT_ONCE):
        pairs = NeighborList(frames[first:last], _FARTHEST_NEIGHBOR)
        species = species_of_atom[offsets[first] : offsets[last]]
        np.minimum.at(shortest, (species[pairs.i], species[pairs.j]), pairs.d)
    return shortest
