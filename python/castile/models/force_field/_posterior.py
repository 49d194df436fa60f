"""What the posterior of the weights says about frames beyond its mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile import _checks
from castile.models.force_field._assembly import Columns, Layout, label_layout
from castile.models.force_field._solution import Solution
from castile.models.force_field.prediction import Uncertainty
from castile.progress import cut, track
from castile.structures import as_structure_arrays

__all__ = ["Posterior"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Weights of the columns: normal, around those of the potential.

    Attributes
    ----------
    columns : Columns
    solution : Solution
        For a prior of one.
    prior : float
        In eV; all deviations are in proportion.
    calibration : mapping
        By kind, what standard deviations are multiplied by.
    max_bytes : int
        Memory for rows.
    """

    columns: Columns
    solution: Solution
    prior: float
    calibration: Mapping[str, float]
    max_bytes: int

    def uncertainty(self, frames: list[Atoms], progress: bool = False) -> Uncertainty:
        """Return standard deviations of energies, forces and stresses."""
        energy, forces, stress = [np.zeros(0)], [np.zeros((0, 3))], [np.zeros((0, 6))]
        for rows, layout in self._rows(frames, derivatives=True, progress=progress):
            stds = layout.split(self.solution.standard_deviations(rows))
            stds = {kind: self._factor(kind) * values for kind, values in stds.items()}
            energy.append(stds["energy"])
            forces.append(stds["force"].reshape(-1, 3))
            part = np.full((len(layout.stress), 6), np.nan)
            part[layout.stress >= 0] = stds["stress"].reshape(-1, 6)
            stress.append(part)
        return Uncertainty(np.concatenate(energy), np.concatenate(forces), np.concatenate(stress))

    def energy_std(self, frames: list[Atoms]) -> FloatArray:
        """Return standard deviations of total energies, which need no derivatives."""
        return self._factor("energy") * self.solution.standard_deviations(self._energy_rows(frames))

    def covariance(self, frames: list[Atoms], others: list[Atoms] | None) -> FloatArray:
        """Return the covariance of total energies."""
        theirs = None if others is None else self._energy_rows(others)
        return self._factor("energy") ** 2 * self.solution.covariance(self._energy_rows(frames), theirs)

    def members(self, n: int, seed: int) -> FloatArray:
        """Draw weights; return how they differ from the mean's, shape (n, n_columns)."""
        draws = self.solution.sample(_checks.integer("committee", n, 1), seed) - self.solution.mean
        return np.ascontiguousarray(self._factor("energy") * self.columns.whitening.coefficients(draws.T).T)

    def _factor(self, kind: str) -> float:
        return self.prior * self.calibration.get(kind, 1.0)

    def _energy_rows(self, frames: list[Atoms]) -> FloatArray:
        parts = [rows for rows, _ in self._rows(frames, derivatives=False)]
        return np.concatenate(parts) if parts else np.zeros((0, self.solution.n_columns))

    def _rows(
        self, frames: list[Atoms], *, derivatives: bool, progress: bool = False
    ) -> Iterator[tuple[FloatArray, Layout]]:
        """Yield whitened rows of some frames after the other, and their layout."""
        structures = as_structure_arrays(frames)
        periodic = np.asarray(structures.pbc.all(axis=1))
        n_rows = 7 + 3 * np.diff(structures.atom_offsets) if derivatives else np.ones(len(frames), dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(n_rows)])
        most = max(1, self.max_bytes // self.columns.bytes_per_row)
        runs = ((last - first, (first, last)) for first, last in cut(offsets, most))
        for first, last in track(runs, len(frames), "uncertainties", progress):
            part = structures.slice(first, last)
            layout = label_layout(
                part,
                np.ones(part.n_frames),
                np.ones(part.n_atoms) if derivatives else None,
                np.where(periodic[first:last], 1.0, 0.0) if derivatives else None,
            )
            yield self.columns.rows(part, layout), layout
