"""Errors of a model on labeled frames, by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from castile.data import Dataset
from castile.models.force_field._units import SHOWN
from castile.models.force_field.prediction import Prediction

__all__ = ["ErrorTable", "Residuals", "error_table", "residuals"]

FloatArray = npt.NDArray[np.float64]

_HEADER = f"{'group':<24} {'quantity':<8} {'n':>8} {'MAE':>10} {'RMSE':>10} {'R²':>9}  unit"


@dataclass(frozen=True, eq=False)
class Residuals:
    """Predictions and labels of one kind, and the group of each.

    Attributes
    ----------
    kind : {"energy", "force", "stress"}
    predicted, labels : ndarray of shape (n,)
        In eV/atom, eV/Å (components) and eV/Å³ (components).
    groups : ndarray of str, shape (n,)
    """

    kind: str
    predicted: FloatArray
    labels: FloatArray
    groups: npt.NDArray[np.str_]


def residuals(dataset: Dataset, prediction: Prediction) -> list[Residuals]:
    """Return what there are labels for; isolated atoms, whose energy is the reference, are left out."""
    counted = dataset.has_energy & ~dataset.isolated
    n_atoms = dataset.n_atoms
    of_atoms = dataset.has_forces
    stressed = dataset.has_stress & ~np.isnan(prediction.stress).any(axis=1)
    groups_of_atoms = dataset.groups[dataset.frame_of_atoms()]
    found = [
        Residuals(
            "energy",
            prediction.energy[counted] / n_atoms[counted],
            dataset.energies[counted] / n_atoms[counted],
            dataset.groups[counted],
        ),
        Residuals(
            "force",
            prediction.forces[of_atoms].ravel(),
            dataset.forces[of_atoms].ravel(),
            np.repeat(groups_of_atoms[of_atoms], 3),
        ),
        Residuals(
            "stress",
            prediction.stress[stressed].ravel(),
            dataset.stresses[stressed].ravel(),
            np.repeat(dataset.groups[stressed], 6),
        ),
    ]
    return [one for one in found if len(one.labels)]


@dataclass(frozen=True, eq=False)
class ErrorTable:
    """Errors of energies per atom, force components and stress components; ``print`` it.

    Attributes
    ----------
    rows : list of dict
        ``group`` ("all" for all together), ``quantity`` ("energy", "force", "stress"), ``n``, ``mae`` and ``rmse`` in
        eV/atom, eV/Å and eV/Å³, and ``r2``.
    """

    rows: list[dict[str, Any]]

    def __getitem__(self, quantity: str) -> dict[str, Any]:
        """Return the row of a quantity for all groups together."""
        for row in self.rows:
            if row["group"] == "all" and row["quantity"] == quantity:
                return row
        raise KeyError(quantity)

    def __contains__(self, quantity: object) -> bool:
        return any(row["quantity"] == quantity for row in self.rows)

    def __str__(self) -> str:
        lines = [_HEADER]
        for row in self.rows:
            factor, unit = SHOWN[row["quantity"]]
            lines.append(
                f"{row['group']:<24} {row['quantity']:<8} {row['n']:>8} {factor * row['mae']:>10.3f} "
                f"{factor * row['rmse']:>10.3f} {row['r2']:>9.5f}  {unit}"
            )
        return "\n".join(lines)

    __repr__ = __str__


def error_table(found: list[Residuals], *, by_group: bool = True) -> ErrorTable:
    """Return the errors for all groups together and, if there are several, for each."""
    rows = [_row("all", one) for one in found]
    names = sorted({str(name) for one in found for name in np.unique(one.groups)})
    for name in names if by_group and len(names) > 1 else []:
        for one in found:
            own = one.groups == name
            if own.any():
                part = Residuals(one.kind, one.predicted[own], one.labels[own], one.groups[own])
                rows.append(_row(name or "(no group)", part))
    return ErrorTable(rows)


def _row(group: str, of: Residuals) -> dict[str, Any]:
    errors = of.predicted - of.labels
    spread = float(np.sum((of.labels - of.labels.mean()) ** 2))
    r2 = 1.0 - float(np.sum(errors**2)) / spread if spread > 0.0 else float("nan")
    return {
        "group": group,
        "quantity": of.kind,
        "n": len(errors),
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "r2": r2,
    }
