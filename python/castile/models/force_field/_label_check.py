"""Kinds of labels that contradict the others, such as forces of the other sign, and what is likely wrong with them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from castile._text import plain
from castile.data import Dataset
from castile.errors import InputError
from castile.models.force_field._training import compositions
from castile.models.force_field.error_table import Residuals, error_table, residuals

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["explanation", "label_notes", "poor_fit", "poor_kinds", "size_notes", "unexplained"]

FloatArray = npt.NDArray[np.float64]

_POOR = 0.5  # R² of training labels, below which something may be wrong with them
_GOOD = 0.9  # R² of the other kinds once the wrong one is left out, and its correlation with what they predict
_SURE, _ENOUGH = 0.95, 25  # correlation and number of labels where the fit explains all of them
_CLOSE = 0.15  # relative deviation of a factor: what is predicted of a kind that was left out has its errors
_OF_UNIT = 0.25  # logarithm: predictions tend to be too small, as the prior has it
_DOUBTFUL = 3.0  # factor that a model gives which learned little of a kind
_SIGN_ALONE = 0.4  # logarithm of a factor that is no unit's
_FAR = 5.0  # factor that is worth a word, though it is no unit's
_MOST_FRAMES = 100  # that are predicted to find a reason
_NAMES = {"energy": "energies", "force": "forces", "stress": "stresses"}
_IGNORED = 1e6  # factor of the noise of labels that are not to count

# By kind: what labels are multiplied by if they are in another unit.
_FACTORS = {
    "energy": {"Hartree": 1 / 27.211386, "Rydberg": 1 / 13.605693, "kcal/mol": 1 / 0.0433641, "kJ/mol": 1 / 0.0103643},
    "force": {
        "Hartree/bohr": 1 / 51.422067,
        "Rydberg/bohr": 1 / 25.711034,
        "kcal/mol/Å": 1 / 0.0433641,
        "kJ/mol/Å": 1 / 0.0103643,
        "Hartree/Å": 1 / 27.211386,
        "eV/bohr": 0.529177,
    },
    "stress": {"GPa": 160.21766, "kbar": 1602.1766, "Hartree/bohr³": 1 / 183.63152},
}


def label_notes(model: ForceField, dataset: Dataset, found: Sequence[Residuals]) -> list[str]:
    """Say which kinds of training labels the fit does not explain because one of them is wrong, and in what way.

    A kind that contradicts the others spoils the predictions of all. So each is left out in turn, which costs one
    solution from the sums over rows and the prediction of some frames: if the others agree then, and predict what was
    left out but for a factor, that factor tells the reason. A flexible model may explain training labels that are
    wrong, too; then only a factor far from one counts.

    Parameters
    ----------
    model : ForceField
        Fitted to the dataset, with its sums over rows.
    dataset : Dataset
        What a reference calculator leaves of it.
    found : sequence of Residuals
        Of the training data.

    Returns
    -------
    list of str
        Empty as a rule: also where labels are explained poorly, but nothing is found to be wrong with them.
    """
    if len(found) < 2:
        return []
    poor = poor_kinds(model, found)
    comparisons = [(one.kind, _without(model, dataset, one.kind)) for one in found if model.state_.n_rows[one.kind]]
    reasons = [explanation(kind, *both, poor=bool(poor)) for kind, both in comparisons if both is not None]
    # Of two kinds that contradict each other, either may be wrong.
    remedy = ", or ".join(reason for reason in reasons if reason is not None)
    if not remedy:
        return []
    begin = poor_fit(poor) if poor else "the labels contradict each other, though the fit explains them"
    return [f"{begin}; {remedy}"]


def size_notes(model: ForceField) -> list[str]:
    """Say that there are fewer labels than coefficients, and how many of these they determine."""
    n_labels, n_columns = sum(model.state_.n_rows.values()), model.foundation_.whitening.n_columns
    if n_labels >= n_columns:
        return []
    rank = model.training_["effective_rank"]
    return [
        f"there are {n_labels} labels for {n_columns} coefficients, of which they determine {rank:.0f}; the prior "
        "decides on the others: add frames, or take fewer functions and sparse points"
    ]


def poor_kinds(model: ForceField, found: Sequence[Residuals]) -> list[tuple[str, float]]:
    """Return the kinds that were fitted, but are not explained, with their R²."""
    return [
        (kind, r2) for kind, r2, rmse in unexplained(found) if model.state_.n_rows[kind] and rmse > model.noise_[kind]
    ]


def poor_fit(poor: Sequence[tuple[str, float]]) -> str:
    """Return the beginning of a note about kinds of labels with their R²."""
    names = " and ".join(f"{_NAMES[kind]} (R² = {r2:.2f})" for kind, r2 in poor)
    return f"the fit does not explain the training labels of {names}"


def unexplained(found: Sequence[Residuals]) -> list[tuple[str, float, float]]:
    """Return kinds whose R² is poor, with it and the root mean square error."""
    rows = error_table(list(found), by_group=False).rows
    return [(row["quantity"], row["r2"], row["rmse"]) for row in rows if row["r2"] < _POOR]


def explanation(kind: str, predicted: FloatArray, labels: FloatArray, *, poor: bool = True) -> str | None:
    """Return what is likely wrong with labels that are predicted from other kinds of labels.

    Parameters
    ----------
    kind : {"energy", "force", "stress"}
    predicted, labels : ndarray of shape (n,)
    poor : bool
        Whether some labels are not explained, so that one kind must be wrong.

    Returns
    -------
    str or None
        None if they are no multiple of each other, or as they should be.
    """
    x, y = predicted - predicted.mean(), labels - labels.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    if scale == 0.0 or abs(x @ y) < (_GOOD if poor else _SURE) * scale or (not poor and len(x) < _ENOUGH):
        return None
    factor = float(np.sign(x @ y) * np.sqrt((y @ y) / (x @ x)))
    names = _NAMES[kind]
    if abs(factor - 1.0) < _CLOSE or (not poor and 1.0 / _DOUBTFUL < factor < _DOUBTFUL):
        return None
    sign = " with the other sign" if factor < 0.0 else ""
    if factor < 0.0 and abs(np.log(-factor)) < _SIGN_ALONE:
        return f"{names} likely have the other sign"
    unit, expected = min(_FACTORS[kind].items(), key=lambda item: abs(np.log(abs(factor) / item[1])))
    if abs(np.log(abs(factor) / expected)) < _OF_UNIT:
        return f"{names} are likely in {unit}{sign}"
    if factor > 0.0 and abs(np.log(factor)) < np.log(_FAR):  # as a poor fit gives
        return None
    return f"{names} are {plain(factor, 3)} times what the other labels say: another unit, or another key?"


def _without(model: ForceField, dataset: Dataset, kind: str) -> tuple[FloatArray, FloatArray] | None:
    """Return what the other kinds predict of a kind, and its labels, if the others agree without it."""
    other = copy.copy(model)
    # All noise is in proportion to the forces, which are too large or too small, if it is they that are wrong.
    other.noise_factor = "evidence" if kind == "force" else 1.0
    noise = {name: sigma * (_IGNORED if name == kind else 1.0) for name, sigma in model.foundation_.noise.items()}
    other.foundation_ = replace(model.foundation_, noise=noise)
    try:
        other.solve()
    except InputError:  # what is left does not determine the weights
        return None
    chosen = np.unique(np.linspace(0, len(dataset) - 1, _MOST_FRAMES).astype(int))
    dataset = dataset.subset(chosen)
    found = {one.kind: one for one in residuals(dataset, other._predict(dataset.frames))}
    if kind not in found or any(r2 < _GOOD for name, r2 in _r2(found).items() if name != kind):
        return None
    one = found[kind]
    predicted, labels = one.predicted, one.labels
    if kind == "energy":  # forces and stresses tell nothing of what an atom of a species adds
        counted = dataset.has_energy & ~dataset.isolated
        fractions = (compositions(dataset, model.species_) / dataset.n_atoms[:, None])[counted]
        predicted, labels = (_without_composition(values, fractions) for values in (predicted, labels))
    return predicted, labels


def _r2(found: dict[str, Residuals]) -> dict[str, float]:
    return {row["quantity"]: row["r2"] for row in error_table(list(found.values()), by_group=False).rows}


def _without_composition(values: FloatArray, fractions: FloatArray) -> FloatArray:
    return np.asarray(values - fractions @ np.linalg.lstsq(fractions, values, rcond=None)[0])
