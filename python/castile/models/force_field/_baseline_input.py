"""Compositions and energies that reference energies are found from, checked."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from castile import _checks
from castile.errors import InputError, InputTypeError

__all__ = ["BaselineData", "checked_data"]

FloatArray = npt.NDArray[np.float64]

_DISAGREEMENT = 1e-3  # eV; another spin or charge makes far more, settings of convergence less
_LISTED = 5


class BaselineData(NamedTuple):
    """What :meth:`Baseline.fit` was given.

    Attributes
    ----------
    species : tuple of str
    counts : ndarray of shape (n_frames, n_species)
    energies : ndarray of shape (n_frames,), in eV
        NaN where there is none.
    isolated : ndarray of bool of shape (n_frames,)
    """

    species: tuple[str, ...]
    counts: FloatArray
    energies: FloatArray
    isolated: npt.NDArray[np.bool_]

    @property
    def fitted(self) -> npt.NDArray[np.bool_]:
        """Frames with energies that are not isolated atoms."""
        return ~np.isnan(self.energies) & ~self.isolated

    def mean_energy(self) -> float:
        """Return the mean energy per atom of frames with energies, preferably not of isolated atoms; else zero."""
        labelled = ~np.isnan(self.energies)
        rows = self.fitted if self.fitted.any() else labelled
        return float(np.mean(self.energies[rows] / self.counts[rows].sum(axis=1))) if rows.any() else 0.0

    def isolated_energies(self, besides: Container[int] = ()) -> dict[int, float]:
        """Return the energies of isolated atoms in eV, by the index of their species; InputError if they disagree.

        Species of ``besides`` are left out, whether their atoms agree or not.
        """
        rows = np.flatnonzero(self.isolated & ~np.isnan(self.energies))
        kinds = self.counts[rows].argmax(axis=1)
        result: dict[int, float] = {}
        for kind in np.unique(kinds).tolist():
            if kind in besides:
                continue
            frames = rows[kinds == kind]
            energies = self.energies[frames]
            if np.ptp(energies) > _DISAGREEMENT:
                raise InputError(_disagreement(self.species[kind], frames, energies))
            # The middle one, with the digits that it has in the data.
            result[kind] = float(np.sort(energies)[len(energies) // 2])
        return result


def _disagreement(name: str, frames: npt.NDArray[np.int64], energies: FloatArray) -> str:
    pairs = zip(frames[:_LISTED].tolist(), energies[:_LISTED].tolist(), strict=True)
    listed = ", ".join(f"frame {frame}: {energy:.6f} eV" for frame, energy in pairs)
    more = f" and {len(frames) - _LISTED} more" if len(frames) > _LISTED else ""
    return (
        f"isolated atoms of {name} disagree by {np.ptp(energies):.6f} eV ({listed}{more}); keep the one that the other "
        f"energies refer to, or give the energy of {name}"
    )


def checked_data(compositions: Any, energies: Any, isolated: Any, species: Sequence[str]) -> BaselineData:
    """Return the arrays as needed; raise InputError or InputTypeError if they cannot be meant."""
    names = tuple(species)
    if not names or len(set(names)) < len(names):
        raise InputError(f"species must be one or more different names, got {list(names)}")
    counts = np.asarray(_checks.finite_array("compositions", compositions), dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] != len(names):
        raise InputError(f"compositions must have shape (n_frames, {len(names)}), got {counts.shape}")
    values = np.asarray(_checks.real_array("energies", energies), dtype=np.float64)
    if values.shape != counts.shape[:1]:
        raise InputError(f"energies must have shape ({len(counts)},), one per frame, got {values.shape}")
    mask = np.asarray(isolated)
    if mask.dtype != bool:
        raise InputTypeError(f"isolated must be an array of bool, got {mask.dtype}")
    if mask.shape != values.shape:
        raise InputError(f"isolated must have shape ({len(counts)},), one per frame, got {mask.shape}")
    _check_frames(counts, values, mask)
    return BaselineData(names, counts, values, mask)


def _check_frames(counts: FloatArray, energies: FloatArray, isolated: npt.NDArray[np.bool_]) -> None:
    for wrong, what in (
        (((counts < 0) | (counts != np.rint(counts))).any(axis=1), "has numbers of atoms that are no counts"),
        (counts.sum(axis=1) == 0, "has no atoms"),
        (np.isinf(energies), "has an infinite energy; NaN says that there is none"),
        (isolated & (counts.sum(axis=1) != 1), "is marked as an isolated atom, but does not have exactly one atom"),
    ):
        if wrong.any():
            raise InputError(f"frame {int(np.flatnonzero(wrong)[0])} {what}; remove or correct it")
