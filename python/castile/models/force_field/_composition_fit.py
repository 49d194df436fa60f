"""Least squares of energies over composition, and what it can and cannot tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from castile._blas_threads import one_thread

__all__ = ["CompositionFit", "fit_composition"]

FloatArray = npt.NDArray[np.float64]

# Of singular values of atomic fractions, whose differences are at least one atom in the largest frame.
_RANK_TOLERANCE = 1e-9
_NULL_TOLERANCE = 1e-6  # of entries of a projector


class CompositionFit(NamedTuple):
    """Energies per atom that were fitted.

    Attributes
    ----------
    energies : ndarray of shape (n_columns,)
        In eV.
    rank : int
        Number of independent combinations of the energies that the frames determine.
    groups : list of list of int
        Columns whose energies the frames do not tell apart, as the numbers of Ga and As in GaAs are always the same.
    """

    energies: FloatArray
    rank: int
    groups: list[list[int]]


def fit_composition(counts: FloatArray, energies: FloatArray, sizes: FloatArray) -> CompositionFit:
    """Minimize the sum of squares of residuals per atom.

    Of the solutions that do so equally well, the one nearest to the mean energy per atom is returned.

    Parameters
    ----------
    counts : ndarray of shape (n_frames, n_columns)
        Number of atoms of each species that is fitted; each frame has one at least.
    energies : ndarray of shape (n_frames,)
        In eV, without the part of species that are not fitted.
    sizes : ndarray of shape (n_frames,)
        Number of all atoms, also of those that are not fitted.
    """
    mean = float(np.mean(energies / counts.sum(axis=1)))
    fractions = counts / sizes[:, None]
    residuals = (energies - mean * counts.sum(axis=1)) / sizes
    with one_thread():  # several threads change bits
        left, values, right = np.linalg.svd(fractions, full_matrices=False)
        rank = int(np.count_nonzero(values > _RANK_TOLERANCE * values[0]))
        right = right[:rank]
        shifts = right.T @ ((left[:, :rank].T @ residuals) / values[:rank])
        free = np.eye(counts.shape[1]) - right.T @ right
    return CompositionFit(mean + shifts, rank, _connected(np.abs(free) > _NULL_TOLERANCE))


def _connected(links: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Return the sets of columns that a symmetric matrix of links connects, without those that have none."""
    groups: list[list[int]] = []
    left = [int(k) for k in np.flatnonzero(links.any(axis=1))]
    while left:
        group = {left[0]}
        while len(larger := group | {int(k) for k in np.flatnonzero(links[sorted(group)].any(axis=0))}) > len(group):
            group = larger
        groups.append(sorted(group))
        left = [k for k in left if k not in group]
    return groups
