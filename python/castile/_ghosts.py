"""Neighbors without periodicity: images of atoms become atoms, and with a skin they serve for many steps."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile.neighbors import NeighborList
from castile.structures import StructureArrays

__all__ = ["GhostNeighbors"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LARGEST_TABLE = 1 << 24  # entries, of possible images; with more the keys are sorted
_ROUNDING = 1e-10  # of the reach: how far rounding errors could move a pair


class GhostNeighbors:
    """The neighbors of one structure's atoms, and the images ("ghosts") that are among them.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure, whose list is kept.
    arrays : StructureArrays
        The same, converted.
    cutoff : float
        Å; pairs that come closer than this must not be missed.
    skin : float
        Å; how much farther neighbors are looked for.

    Attributes
    ----------
    offsets : ndarray of shape (n_atoms + 1,), int64
        The neighbors of atom ``i`` are ``neighbors[offsets[i]:offsets[i + 1]]``.
    neighbors : ndarray of int64
        Atoms and, from ``n_atoms`` on, ghosts.
    owners : ndarray of shape (n_ghosts,), int64
        The atom that each ghost is an image of, ascending.
    """

    offsets: IntArray
    neighbors: IntArray
    owners: IntArray

    def __init__(self, atoms: Atoms, arrays: StructureArrays, cutoff: float, skin: float) -> None:
        self._arrays = arrays
        self._cutoff = cutoff
        self._reach = cutoff + skin
        pairs = NeighborList(atoms, self._reach)
        self.offsets = pairs.offsets
        # Atoms that have left the cell are taken back, so that few images stand for all pairs.
        self._wraps = _cells_of_atoms(arrays)
        self._find_ghosts(pairs)

    def _find_ghosts(self, pairs: NeighborList) -> None:
        n_atoms = self._arrays.n_atoms
        shifts = pairs.S + self._wraps[pairs.j] - self._wraps[pairs.i]
        outside = shifts.any(axis=1)
        keys, table = _shift_keys(shifts[outside])
        images, slots = _distinct(pairs.j[outside] * len(table) + keys, n_atoms * len(table))
        self.owners, self._shift_of_ghost = np.divmod(images, max(len(table), 1))
        self._shifts = table
        self.neighbors = pairs.j.copy()
        self.neighbors[outside] = n_atoms + slots

    def serve(self, arrays: StructureArrays) -> bool:
        """Return whether no pair closer than the cutoff is missing from the list for this structure.

        Write row vectors, r and C for positions and periodic cell vectors now, r' and C' for those of the list. With
        M = 1 + pinv(C') (C - C'), which maps C' to C, and u = r - r' M, a pair's vector D' became D = D' M + u_j - u_i.
        Hence D' = (D - u_j + u_i) M^-1 and, where the smallest singular value of M is s and no u is farther than w from
        their mean, |D'| <= (|D| + 2 w) / s. Pairs with |D| < cutoff are all in the list if this is within its reach.
        Cells that shear, grow or turn together with their atoms have u = 0.
        """
        old = self._arrays
        if (
            arrays.n_atoms != old.n_atoms
            or not np.array_equal(arrays.pbc, old.pbc)
            or not np.array_equal(arrays.numbers, old.numbers)
        ):
            return False
        if arrays.n_atoms == 0:
            return True
        change, smallest = self._deformation(arrays)
        moves = arrays.positions - old.positions
        if change is not None:
            moves -= _times(old.positions, change)
        moves -= moves.mean(axis=0)
        farthest = np.sqrt(np.einsum("ix,ix->i", moves, moves).max())
        return bool(self._cutoff + 2.0 * farthest <= smallest * self._reach * (1.0 - _ROUNDING))

    def _deformation(self, arrays: StructureArrays) -> tuple[FloatArray | None, float]:
        """Return M - 1, None if that is zero, and the smallest singular value of M."""
        periodic = arrays.pbc[0]
        before, now = self._arrays.cells[0][periodic], arrays.cells[0][periodic]
        if np.array_equal(before, now):
            return None, 1.0
        change = np.linalg.pinv(before) @ (now - before)
        return change, float(np.linalg.svd(np.eye(3) + change, compute_uv=False)[-1])

    def positions(self, arrays: StructureArrays) -> FloatArray:
        """Return where atoms and ghosts are now, shape (n_atoms + n_ghosts, 3), Å."""
        n_atoms, cell = arrays.n_atoms, arrays.cells[0]
        result = np.empty((n_atoms + len(self.owners), 3))
        own = result[:n_atoms]
        np.subtract(arrays.positions, _times(self._wraps, cell), out=own)
        translations = _times(self._shifts, cell)
        np.add(own[self.owners], translations[self._shift_of_ghost], out=result[n_atoms:])
        return result

    def with_ghosts(self, of_atoms: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return values of atoms, followed by those of the ghosts."""
        return np.concatenate([of_atoms, of_atoms[self.owners]])

    def fold(self, forces: FloatArray) -> FloatArray:
        """Return the forces on atoms, with those on their ghosts, (n_atoms + n_ghosts, 3), added in a fixed order."""
        n_atoms = self._arrays.n_atoms
        folded: FloatArray = forces[:n_atoms].copy()
        if len(self.owners):
            for axis in range(3):  # faster than np.add.at by far
                folded[:, axis] += np.bincount(self.owners, forces[n_atoms:, axis], n_atoms)
        return folded


def _times(rows: npt.NDArray[np.floating | np.integer], matrix: FloatArray) -> FloatArray:
    """Return rows (n, 3) @ matrix (3, k) in one order of summing, which BLAS might choose by the number of threads."""
    product: FloatArray = rows[:, :1] * matrix[0]
    product += rows[:, 1:2] * matrix[1]
    product += rows[:, 2:] * matrix[2]
    return product


def _cells_of_atoms(arrays: StructureArrays) -> IntArray:
    """Return the cell that each atom lies in, counted along the periodic vectors, shape (n_atoms, 3)."""
    periodic = arrays.pbc[0]
    cells = np.zeros((arrays.n_atoms, 3), dtype=np.int64)
    if periodic.any():
        cells[:, periodic] = np.floor(_times(arrays.positions, np.linalg.pinv(arrays.cells[0][periodic])))
    return cells


def _shift_keys(shifts: IntArray) -> tuple[IntArray, IntArray]:
    """Return a number for each shift (n, 3), and the different shifts in the order of these numbers."""
    if not len(shifts):
        return np.zeros(0, dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    lowest = shifts.min(axis=0)
    box = tuple((shifts.max(axis=0) - lowest + 1).tolist())
    present, numbers = _distinct(np.ravel_multi_index(tuple((shifts - lowest).T), box), math.prod(box))
    return numbers, np.stack(np.unravel_index(present, box), axis=1) + lowest


def _distinct(keys: IntArray, n_possible: int) -> tuple[IntArray, IntArray]:
    """Return the different keys in order, and the place of each key among them; keys are below ``n_possible``."""
    if n_possible > _LARGEST_TABLE:
        present, places = np.unique(keys, return_inverse=True)
        return present, places.astype(np.int64)
    is_present = np.zeros(n_possible, dtype=np.bool_)
    is_present[keys] = True
    present = np.flatnonzero(is_present)
    place = np.empty(n_possible, dtype=np.int64)
    place[present] = np.arange(len(present))
    return present, place[keys]
