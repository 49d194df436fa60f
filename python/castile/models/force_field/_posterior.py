"""What the posterior of the weights says about frames beyond its mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile import _checks
from castile._memory import require_memory
from castile.models.force_field._assembly import Columns, Layout, label_layout
from castile.models.force_field._noise import KINDS
from castile.models.force_field._solution import Solution
from castile.models.force_field.prediction import Uncertainty
from castile.progress import cut, track
from castile.structures import StructureArrays, as_structure_arrays, volumes

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
        for rows, layout in self._rows(frames, KINDS, progress=progress):
            stds = layout.split(self.solution.standard_deviations(rows))
            stds = {kind: self._factor(kind) * values for kind, values in stds.items()}
            energy.append(stds["energy"])
            forces.append(stds["force"].reshape(-1, 3))
            if layout.counts[0] == 0:  # further atoms of a large frame
                continue
            part = np.full((len(layout.stress), 6), np.nan)
            part[layout.stress >= 0] = stds["stress"].reshape(-1, 6)
            stress.append(part)
        return Uncertainty(np.concatenate(energy), np.concatenate(forces), np.concatenate(stress))

    def energy_std(self, frames: list[Atoms]) -> FloatArray:
        """Return standard deviations of total energies, which need no derivatives."""
        return self._factor("energy") * self.solution.standard_deviations(self._all_rows(frames, "energy"))

    def covariance(self, frames: list[Atoms], others: list[Atoms] | None, kind: str) -> FloatArray:
        """Return the covariance of all quantities of a kind."""
        theirs = None if others is None else self._all_rows(others, kind)
        return self._factor(kind) ** 2 * self.solution.covariance(self._all_rows(frames, kind), theirs)

    def members(self, n: int, seed: int) -> FloatArray:
        """Draw weights; return how they differ from the mean's, shape (n, n_columns)."""
        draws = self.solution.sample(_checks.integer("committee", n, 1), seed) - self.solution.mean
        return np.ascontiguousarray(self._factor("energy") * self.columns.whitening.coefficients(draws.T).T)

    def _factor(self, kind: str) -> float:
        return self.prior * self.calibration.get(kind, 1.0)

    def _all_rows(self, frames: list[Atoms], kind: str) -> FloatArray:
        n_atoms = sum(map(len, frames))
        n_rows = {"energy": len(frames), "force": 3 * n_atoms, "stress": 6 * len(frames)}[kind]
        n_bytes = 2 * n_rows * self.columns.bytes_per_row
        require_memory(n_bytes, f"the rows of {n_rows} {kind} labels", "take fewer frames at a time")
        parts = [rows for rows, _ in self._rows(frames, (kind,))]
        return np.concatenate(parts) if parts else np.zeros((0, self.solution.n_columns))

    def _rows(
        self, frames: list[Atoms], kinds: Sequence[str], *, progress: bool = False
    ) -> Iterator[tuple[FloatArray, Layout]]:
        """Yield whitened rows of some frames after the other, or of some atoms of a large one, and their layout."""
        structures = as_structure_arrays(frames)
        heights = {"energy": 1, "force": 3, "stress": 6}
        n_rows = sum(heights[kind] for kind in kinds if kind != "force") + np.zeros(len(frames), dtype=np.int64)
        n_rows += 3 * np.diff(structures.atom_offsets) if "force" in kinds else 0
        offsets = np.concatenate([[0], np.cumsum(n_rows)])
        most = max(7 + 3, self.max_bytes // self.columns.bytes_per_row)
        runs = ((last - first, (first, last)) for first, last in cut(offsets, most))
        for first, last in track(runs, len(frames), "uncertainties", progress):
            part = structures.slice(first, last)
            spans = range(0, part.n_atoms, max(1, (most - 7) // 3)) if offsets[last] - offsets[first] > most else (0,)
            for start in spans:
                layout = _layout(part, kinds, start, part.n_atoms if len(spans) == 1 else start + (most - 7) // 3)
                yield self.columns.rows(part, layout), layout


def _layout(structures: StructureArrays, kinds: Sequence[str], first_atom: int, last_atom: int) -> Layout:
    """Return the layout of all quantities of some kinds; of atoms in between, and of frames with the first of them."""
    wanted = {kind: float(kind in kinds) for kind in KINDS}
    begins = float(first_atom == 0)
    of_atoms = np.zeros(structures.n_atoms)
    of_atoms[first_atom:last_atom] = wanted["force"]
    has_volume = ~np.isnan(volumes(structures.cells))
    return label_layout(
        structures,
        np.full(structures.n_frames, begins * wanted["energy"]),
        of_atoms,
        np.where(has_volume, begins * wanted["stress"], 0.0),
    )
