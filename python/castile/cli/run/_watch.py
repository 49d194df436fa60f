"""What the commands of ``castile run`` say about structures that the training data do not cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile._text import plain
from castile.cli._files import warn
from castile.models.force_field import ForceField
from castile.neighbors import neighbor_list

__all__ = ["KnownError", "Watch", "known_errors"]

FloatArray = npt.NDArray[np.float64]

# Of the error that is known. On the structures that ship with Castile, the least certain ones of a test set like the
# training data reach 1.7, crystals of other coordination 10 and more, shaken ones of melting amplitude 2.5 to 9.
_UNSURE = 2.5
_EXTRAPOLATED = 3.0  # times the grade of the most unusual neighborhood of the training data
_SHOWN = {"energy": (1e3, "meV/atom"), "force": (1e3, "meV/Å")}
_NAMES = {"energy": "the energy", "force": "forces"}


class KnownError(NamedTuple):
    """What errors of a kind a model is known to make: root mean square, in eV/atom or eV/Å, and of what frames."""

    rmse: float
    of: str


def known_errors(model: ForceField) -> dict[str, KnownError]:
    """Return the errors of energies and forces that the fit has seen, those of held-out frames if there are any.

    Force fields that were not made by ``fit`` know none; the noise of their labels stands for them.
    """
    known = {kind: KnownError(float(model.noise_[kind]), "labels, as assumed") for kind in _SHOWN}
    errors: Any = model.training_.get("errors", {})
    for part, of in (("training", "training frames"), ("held out", "held-out frames")):
        for row in errors.get(part, []):
            if row["quantity"] in known:
                known[row["quantity"]] = KnownError(float(row["rmse"]), of)
    return known


class Watch:
    """Warns when atoms come closer than in the training data, and when the model is unsure of energy or forces.

    Unsure means a standard deviation of more than 2.5 times the error that is known: of held-out frames, or of training
    frames where none were held out. That of the energy is taken per atom; that of forces is the root mean square over
    the components of the atom where it is largest. Both are needed: forces of perfect crystals are known by symmetry
    even where nothing else is, and in large cells the energy averages over what a single atom meets.

    Parameters
    ----------
    model : ForceField

    Attributes
    ----------
    warnings : list of str
    closest : float
        Shortest distance that was seen, Å; infinite beyond those of the training data.
    known : dict of str to KnownError
    grades : list of float
        The largest extrapolation grade, if the model has a term of products.
    deviations : dict of str to list of float
        ``"energy"`` in eV/atom and ``"force"`` in eV/Å, of the least certain atom, in the order of the looks.
    """

    def __init__(self, model: ForceField) -> None:
        self._model = model
        shortest = model.foundation_.shortest
        self._radii = np.where(np.isfinite(shortest), shortest, 0.0)
        self._warned: set[tuple[str, ...]] = set()
        self.warnings: list[str] = []
        self.closest = float("inf")
        self.known = known_errors(model)
        self.noise = model.noise_
        self.deviations: dict[str, list[float]] = {kind: [] for kind in _SHOWN}
        self.grades: list[float] = []

    def distances(self, atoms: Atoms, where: str) -> None:
        """Look for pairs that are too close; ``where`` ends the sentence of the warning."""
        if not self._radii.any():
            return
        i, j, d = neighbor_list("ijd", atoms, float(self._radii.max()))
        if len(d) == 0:
            return
        self.closest = min(self.closest, float(d.min()))
        index = {symbol: k for k, symbol in enumerate(self._model.species_)}
        species = np.array([index[symbol] for symbol in atoms.get_chemical_symbols()])
        limit = self._radii[species[i], species[j]]
        for k in np.flatnonzero(d < limit).tolist():
            a, b = sorted((self._model.species_[species[i[k]]], self._model.species_[species[j[k]]]))
            self._warn(
                (a, b),
                f"atoms {i[k]} and {j[k]} ({a}-{b}) are {d[k]:.2f} Å apart {where}, closer than in the training "
                f"data; below {limit[k]:.2f} Å the model is a guess",
            )

    def energy(self, atoms: Atoms, where: str) -> None:
        """Look at the standard deviation of the energy, which is cheap."""
        variance = float(self._model.covariance(atoms)[0, 0])
        self._note("energy", float(np.sqrt(max(variance, 0.0))) / len(atoms), where)
        self._look_at_grades(atoms, where)

    def energy_and_forces(self, atoms: Atoms, where: str) -> None:
        """Look at both standard deviations, which costs about as much as some dozens of steps of dynamics."""
        found = self._model.uncertainty(atoms)
        self._note("energy", float(found.energy_std[0]) / len(atoms), where)
        self._note("force", _largest(found.forces_std), where)
        self._look_at_grades(atoms, where)

    def results(self) -> dict[str, Any]:
        """Return what programs get."""
        return {
            "energy_std": self.deviations["energy"],
            "force_std": self.deviations["force"],
            "extrapolation_grade": self.grades,
            "known_errors": {kind: known._asdict() for kind, known in self.known.items()},
            "warnings": self.warnings,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return rows of a table: the largest deviations, and the errors that they compare with."""
        seen = [kind for kind, values in self.deviations.items() if values]
        if not seen:
            return []
        names = {"energy": "energy", "force": "force of an atom"}
        largest = ", ".join(f"{names[kind]} {self._text(kind, max(self.deviations[kind]))}" for kind in seen)
        known = ", ".join(f"{kind} {self._text(kind, self.known[kind].rmse)} ({self.known[kind].of})" for kind in seen)
        rows = [("uncertainty", f"{largest} at most (standard deviations)"), ("known errors", known)]
        if self.grades:
            rows.append(("extrapolation", f"grade {plain(max(self.grades), 2)} at most; 1 in the training data"))
        return rows

    def _look_at_grades(self, atoms: Atoms, where: str) -> None:
        if self._model.foundation_.domain is None or len(atoms) == 0:
            return
        grades = self._model.extrapolation_grade(atoms)
        k = int(grades.argmax())
        self.grades.append(float(grades[k]))
        if grades[k] > _EXTRAPOLATED:
            self._warn(
                ("grade",),
                f"the neighborhood of atom {k} ({atoms.symbols[k]}) is unlike the training data {where}: its "
                f"extrapolation grade is {plain(float(grades[k]), 2)}, at most 1 there",
            )

    def _note(self, kind: str, deviation: float, where: str) -> None:
        self.deviations[kind].append(deviation)
        known = self.known[kind]
        if deviation > _UNSURE * max(known.rmse, self.noise[kind]):  # errors of perfect crystals vanish
            self._warn(
                ("unsure", kind),
                f"the model is unsure of {_NAMES[kind]} {where}: a standard deviation of "
                f"{self._text(kind, deviation)}, while the error of {known.of} is {self._text(kind, known.rmse)}; "
                "such structures are missing in the training data",
            )

    def _text(self, kind: str, value: float) -> str:
        factor, unit = _SHOWN[kind]
        return f"{plain(round(factor * value, 3))} {unit}"  # of symmetry, rounding errors are left

    def _warn(self, what: Sequence[str], text: str) -> None:
        """Warn of a thing once."""
        if tuple(what) not in self._warned:
            self._warned.add(tuple(what))
            self.warnings.append(text)
            warn(text)


def _largest(forces_std: FloatArray) -> float:
    return float(np.sqrt(np.mean(forces_std**2, axis=1).max(initial=0.0)))
