"""What a data set holds, by group, as rows and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

if TYPE_CHECKING:
    from castile.data.dataset import Dataset

__all__ = ["DataTable", "make_table"]

BoolArray = npt.NDArray[np.bool_]

# Key of a row, heading, format.
_COLUMNS = (
    ("group", "group", "{}"),
    ("frames", "frames", "{}"),
    ("isolated", "isolated", "{}"),
    ("atoms", "atoms", "{}"),
    ("species", "species", "{}"),
    ("energies", "energies", "{}"),
    ("lowest_energy", "lowest eV/atom", "{:.3f}"),
    ("highest_energy", "highest", "{:.3f}"),
    ("force_components", "force comp.", "{}"),
    ("largest_force", "max |F| eV/Å", "{:.3f}"),
    ("stresses", "stresses", "{}"),
    ("largest_stress", "max |S| eV/Å³", "{:.4f}"),
)
_LEFT = ("group", "species")
_MOST_SPECIES = 6  # in the text


@dataclass(frozen=True)
class DataTable:
    """Counts and ranges by group; ``print`` shows them.

    Attributes
    ----------
    rows : list of dict
        One per group, in the order in which they occur, then ``"all"`` if there are several. Keys: ``group``,
        ``frames``, ``isolated`` (atoms), ``atoms``, ``species`` (tuple of symbols), ``energies``,
        ``lowest_energy`` and ``highest_energy`` (eV per atom, without isolated atoms if there are others),
        ``force_components``, ``largest_force`` (norm, eV/Å), ``stresses``, ``largest_stress`` (component, eV/Å³).
        Ranges are NaN where there is no such label.
    notes : tuple of str
        What was decided while reading and may surprise.

    Examples
    --------
    >>> from castile import data, datasets
    >>> table = data.read(datasets.load()).table()
    >>> [(row["group"], row["frames"]) for row in table.rows]
    [('Si diamond', 35), ('AlP zinc-blende', 35), ('AlP rock-salt', 13), ('Si-AlP mixed', 57), ('all', 140)]
    """

    rows: list[dict[str, Any]]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        cells = [[heading for _, heading, _ in _COLUMNS]]
        cells += [[_text(row[key], form) for key, _, form in _COLUMNS] for row in self.rows]
        widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
        lines = []
        for line in cells:
            padded = [
                text.ljust(width) if key in _LEFT else text.rjust(width)
                for text, width, (key, _, _) in zip(line, widths, _COLUMNS, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def make_table(dataset: Dataset) -> DataTable:
    """Return the table of a data set."""
    names = list(dict.fromkeys(dataset.groups.tolist()))
    rows = [_row(dataset, name, dataset.groups == name) for name in names]
    if len(names) != 1:
        rows.append(_row(dataset, "all", np.ones(len(dataset), dtype=bool)))
    return DataTable(rows, dataset.notes)


def _row(dataset: Dataset, name: str, frames: BoolArray) -> dict[str, Any]:
    atoms = frames[dataset.frame_of_atoms()]
    isolated = frames & dataset.isolated
    ranged = frames if (isolated == frames).all() else frames & ~isolated
    energies = (dataset.energies / np.maximum(dataset.n_atoms, 1))[ranged & dataset.has_energy]
    forces = dataset.forces[atoms & dataset.has_forces]
    stresses = dataset.stresses[frames & dataset.has_stress]
    return {
        "group": name,
        "frames": int(frames.sum()),
        "isolated": int(isolated.sum()),
        "atoms": int(atoms.sum()),
        "species": tuple(chemical_symbols[number] for number in np.unique(dataset.numbers[atoms])),
        "energies": int((frames & dataset.has_energy).sum()),
        "lowest_energy": float(energies.min()) if len(energies) else float("nan"),
        "highest_energy": float(energies.max()) if len(energies) else float("nan"),
        "force_components": 3 * len(forces),
        "largest_force": float(np.linalg.norm(forces, axis=1).max()) if len(forces) else float("nan"),
        "stresses": len(stresses),
        "largest_stress": float(np.abs(stresses).max()) if len(stresses) else float("nan"),
    }


def _text(value: Any, form: str) -> str:
    if isinstance(value, tuple):
        listed = " ".join(value[:_MOST_SPECIES])
        return listed if len(value) <= _MOST_SPECIES else f"{listed} … ({len(value)})"
    if isinstance(value, float) and np.isnan(value):
        return "-"
    return form.format(value) or "-"
