"""From labeled frames to rows of the linear problem, some frames at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from castile import _core
from castile.data import Dataset
from castile.errors import InputError, MemoryLimitError
from castile.models.force_field._memory_plan import MemoryPlan
from castile.models.force_field._noise import KINDS
from castile.models.force_field._whitening import Whitening
from castile.structures import StructureArrays, as_structure_arrays, volumes

__all__ = ["Columns", "LabelRows", "Layout", "label_layout", "require_rows", "row_chunks"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of all terms, and how they are whitened.

    Attributes
    ----------
    terms : tuple of _core.DescriptorColumns
    whitening : Whitening
    species_table : ndarray of int32, shape (119,)
        From atomic numbers to species.
    """

    terms: tuple[_core.DescriptorColumns, ...]
    whitening: Whitening
    species_table: npt.NDArray[np.int32]

    def rows(self, structures: StructureArrays, layout: Layout) -> FloatArray:
        """Return whitened rows, shape (layout.n_rows, whitening.n_whitened)."""
        core = structures.to_core(self.species_table)
        rows = np.empty((layout.n_rows, self.whitening.n_columns))
        first = 0
        for term in self.terms:
            term.write(core, rows, first, layout.energy, layout.force, layout.stress, layout.factors)
            first += term.n_columns
        full = self.whitening.n_whitened == self.whitening.n_columns
        return self.whitening.whiten(rows, out=rows if full else None)

    @property
    def bytes_per_row(self) -> int:
        """Memory that a row takes while it is made."""
        reduced = self.whitening.n_whitened < self.whitening.n_columns
        return 8 * (self.whitening.n_columns + (self.whitening.n_whitened if reduced else 0))


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the rows of frames stand: all energies first, then forces, then stresses.

    Attributes
    ----------
    energy, stress : ndarray of shape (n_frames,)
        The row of each frame's energy, the first of the six of its stress; -1 where there is none.
    force : ndarray of shape (n_atoms,)
        The first of three rows; or -1.
    factors : ndarray of shape (n_rows,)
        What rows of dE, dE/dposition and dE/dstrain are multiplied by.
    counts : tuple of int
        Number of rows of each kind.
    """

    energy: IntArray
    force: IntArray
    stress: IntArray
    factors: FloatArray
    counts: tuple[int, int, int]

    @property
    def n_rows(self) -> int:
        """Number of all rows."""
        return sum(self.counts)

    def split(self, values: FloatArray) -> dict[str, FloatArray]:
        """Return rows by kind, as views."""
        ends = np.cumsum(self.counts)
        return dict(zip(KINDS, np.split(values, ends[:-1]), strict=True))


def label_layout(
    structures: StructureArrays,
    energy: FloatArray | None = None,
    force: FloatArray | None = None,
    stress: FloatArray | None = None,
) -> Layout:
    """Return the layout of rows of energies, forces and stresses.

    Parameters
    ----------
    structures : StructureArrays
    energy, stress : ndarray of shape (n_frames,), optional
        What each row is multiplied by; there is none where this is zero.
    force : ndarray of shape (n_atoms,), optional
    """
    energy = np.zeros(structures.n_frames) if energy is None else energy
    force = np.zeros(structures.n_atoms) if force is None else force
    stress = np.zeros(structures.n_frames) if stress is None else stress
    of_cells = volumes(structures.cells)
    has = [values != 0.0 for values in (energy, force, stress)]
    counts = (int(has[0].sum()), 3 * int(has[1].sum()), 6 * int(has[2].sum()))
    starts = (0, counts[0], counts[0] + counts[1])
    rows_of_energy, rows_of_force, rows_of_stress = (
        np.where(own, start + height * (np.cumsum(own) - 1), -1).astype(np.int64)
        for own, start, height in zip(has, starts, (1, 3, 6), strict=True)
    )
    per_volume = stress[has[2]] / of_cells[has[2]]
    factors = (energy[has[0]], np.repeat(-force[has[1]], 3), np.repeat(per_volume, 6))
    return Layout(rows_of_energy, rows_of_force, rows_of_stress, np.concatenate(factors), counts)


@dataclass(frozen=True, eq=False)
class LabelRows:
    """Rows and targets of one kind, in units of that kind's noise."""

    kind: str
    rows: FloatArray
    targets: FloatArray


def row_chunks(
    columns: Columns, dataset: Dataset, noise: dict[str, float], plan: MemoryPlan
) -> Iterator[tuple[int, list[LabelRows]]]:
    """Yield the rows of some frames after the other, with how many frames they are.

    Parameters
    ----------
    columns : Columns
    dataset : Dataset
        Its energies are those that the columns are to describe.
    noise : dict
        Standard deviation by kind: weights and sigmas of single labels are relative to these.
    plan : MemoryPlan
        Memory for rows.
    """
    factors = _factors(dataset, noise)
    n_rows = _checked_counts(columns, dataset, factors, plan)
    for first, last in _runs(n_rows, int(plan.usual) // columns.bytes_per_row):
        part = dataset.subset(slice(first, last))
        atoms = slice(int(dataset.offsets[first]), int(dataset.offsets[last]))
        energy, force, stress = factors[0][first:last], factors[1][atoms], factors[2][first:last]
        structures = as_structure_arrays(part.frames, first)
        layout = label_layout(structures, energy, force, stress)
        rows = layout.split(columns.rows(structures, layout))
        targets = (
            (part.energies * energy)[energy != 0.0],
            (part.forces * force[:, None])[force != 0.0].ravel(),
            (part.stresses * stress[:, None])[stress != 0.0].ravel(),
        )
        yield (
            last - first,
            [LabelRows(kind, rows[kind], y) for kind, y in zip(KINDS, targets, strict=True) if len(y)],
        )


def require_rows(columns: Columns, dataset: Dataset, noise: dict[str, float], plan: MemoryPlan) -> None:
    """Raise InputError or MemoryLimitError, with the number of the frame, for frames whose rows cannot be made."""
    _checked_counts(columns, dataset, _factors(dataset, noise), plan)


def _factors(dataset: Dataset, noise: dict[str, float]) -> tuple[FloatArray, FloatArray, FloatArray]:
    sigmas = dataset.noise(**noise)
    return noise["energy"] / sigmas.energy, noise["force"] / sigmas.force, noise["stress"] / sigmas.stress


def _checked_counts(
    columns: Columns, dataset: Dataset, factors: tuple[FloatArray, FloatArray, FloatArray], plan: MemoryPlan
) -> IntArray:
    """Return the number of rows of each frame, all of which can be made."""
    cells = np.array([atoms.cell.array for atoms in dataset.frames]).reshape(-1, 3, 3)
    flat = (factors[2] != 0.0) & np.isnan(volumes(cells))
    if flat.any():
        frame = int(np.flatnonzero(flat)[0])
        raise InputError(f"frame {frame} has a stress, but its cell no volume; take the stress away, or set the cell")
    of_forces = np.add.reduceat(np.append(3 * (factors[1] != 0.0), 0), dataset.offsets[:-1])
    n_rows = (factors[0] != 0.0) + np.where(dataset.n_atoms > 0, of_forces, 0) + 6 * (factors[2] != 0.0)
    largest, most = int(n_rows.max(initial=1)), int(plan.most) // columns.bytes_per_row
    if largest > most:
        raise MemoryLimitError(
            f"max_memory leaves {most} rows at a time, but frame {int(n_rows.argmax())} alone has {largest}; "
            "raise max_memory, or take fewer sparse points"
        )
    return np.asarray(n_rows, dtype=np.int64)


def _runs(n_rows: IntArray, usual: int) -> Iterator[tuple[int, int]]:
    """Cut the frames into runs of at most ``usual`` rows, or of one frame that has more."""
    first, total = 0, 0
    for frame, n in enumerate(n_rows.tolist()):
        if total + n > usual and frame > first:
            yield first, frame
            first, total = frame, 0
        total += n
    if first < len(n_rows):
        yield first, len(n_rows)
