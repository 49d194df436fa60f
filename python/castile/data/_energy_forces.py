"""Energies and forces of frames, each under one label or under several that agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from castile.data._labels import ENERGY, FORCES, Frame, Kind, Label, as_numbers, find
from castile.errors import InputError

__all__ = ["energy_kind", "frame_energy", "frame_forces"]

FloatArray = npt.NDArray[np.float64]

_ENERGY_TOLERANCE = 1e-5  # eV per atom
_FORCE_TOLERANCE = 1e-4  # eV/Å
_RELATIVE = 1e-8  # of energies, for files that keep few digits
_ENERGY_UNITS = {"Hartree": 27.211386, "Rydberg": 13.605693, "kcal/mol": 0.0433641, "kJ/mol": 0.0103643}
_FORCE_UNITS = {"Hartree/bohr": 51.422067, "Rydberg/bohr": 25.711034, "kcal/mol/Å": 0.0433641}
_MISFIT = 1e-3


def energy_kind(frames: Sequence[Frame]) -> tuple[Kind, list[str]]:
    """Decide which energy of the calculators is meant, the same for all frames; return notes about it.

    Forces and stresses are derivatives of ``free_energy``. It is taken if no frame has only ``energy``, so that
    energies of two kinds never mix.
    """
    free = [frame for frame in frames if "free_energy" in frame.results]
    plain = [frame for frame in frames if "energy" in frame.results]
    if not free:
        return replace(ENERGY, results=("energy",)), []
    without_free = [frame for frame in plain if "free_energy" not in frame.results]
    if not without_free:
        return replace(ENERGY, results=("free_energy",)), _note_on_difference(frames)
    only_free = [frame for frame in free if "energy" not in frame.results]
    if only_free:
        raise InputError(
            f"{only_free[0].name} has only a free_energy and {without_free[0].name} only an energy, which are not the "
            "same with smeared occupations; name one with energy_key, or give all frames the same"
        )
    note = f"energies are the calculators' energy, since {len(without_free)} of {len(plain)} frames have no free_energy"
    return replace(ENERGY, results=("energy",)), [note]


def _note_on_difference(frames: Sequence[Frame]) -> list[str]:
    both = [frame for frame in frames if {"energy", "free_energy"} <= set(frame.results)]
    differences = [
        abs(float(frame.results["free_energy"]) - float(frame.results["energy"])) / max(len(frame.atoms), 1)
        for frame in both
    ]
    largest = max(differences, default=0.0)
    if not largest > _ENERGY_TOLERANCE:
        return []
    return [
        "energies are the calculators' free_energy, which forces derive from; energy differs from it by up to "
        f"{1e3 * largest:.3g} meV/atom (energy_key='energy' takes that)"
    ]


def frame_energy(frame: Frame, kind: Kind, key: str | bool | None, allow_nan: bool) -> float | None:
    """Return the total energy in eV; None if there is none, InputError if two labels disagree."""
    labels = find(frame, kind, key)
    values = [as_numbers(frame, label, [()], allow_nan) for label in labels]
    found = [(label, float(value)) for label, value in zip(labels, values, strict=True) if not np.isnan(value)]
    if not found:
        return None
    first, energy = found[0]
    for label, other in found[1:]:
        tolerance = _ENERGY_TOLERANCE * len(frame.atoms) + _RELATIVE * abs(energy)
        if abs(other - energy) > tolerance:
            ratio = other / energy if energy else 0.0
            raise InputError(
                f"{frame.name}: {first.source} ({energy:.10g} eV) and {label.source} ({other:.10g} eV) disagree"
                f"{_reason(ratio, _ENERGY_UNITS)}; {_remedy(kind, first, label)}"
            )
    return energy


def frame_forces(frame: Frame, key: str | bool | None, allow_nan: bool) -> FloatArray | None:
    """Return the forces in eV/Å, shape (n_atoms, 3); None if there are none, InputError if two labels disagree."""
    labels = find(frame, FORCES, key)
    shape = (len(frame.atoms), 3)
    values = [np.asarray(as_numbers(frame, label, [shape], allow_nan)) for label in labels]
    found = [(label, array) for label, array in zip(labels, values, strict=True) if not np.isnan(array).all()]
    if not found:
        return None
    first, forces = found[0]
    for label, other in found[1:]:
        difference = np.abs(other - forces)
        if np.nanmax(difference, initial=0.0) > _FORCE_TOLERANCE + 1e-5 * np.nanmax(np.abs(forces), initial=0.0):
            atom, axis = np.unravel_index(int(np.nanargmax(difference)), shape)
            ratio = float(other[atom, axis] / forces[atom, axis]) if forces[atom, axis] else 0.0
            raise InputError(
                f"{frame.name}: {first.source} and {label.source} disagree, at atom {atom} by "
                f"{forces[atom, axis]:.6g} and {other[atom, axis]:.6g} eV/Å along {'xyz'[axis]}"
                f"{_reason(ratio, _FORCE_UNITS)}; {_remedy(FORCES, first, label)}"
            )
    return forces


def _reason(ratio: float, units: dict[str, float]) -> str:
    if abs(ratio + 1.0) < _MISFIT:
        return ": one of them likely has the other sign"
    for unit, value in units.items():
        if abs(ratio * value - 1.0) < _MISFIT:
            return f": the second is likely in {unit}"
        if abs(ratio / value - 1.0) < _MISFIT:
            return f": the first is likely in {unit}"
    return ""


def _remedy(kind: Kind, first: Label, second: Label) -> str:
    if first.key == second.key:
        return f"they go by the same name: remove one of them, or give {kind.argument}=False to use neither"
    return f"name the one to use, {kind.argument}={first.key!r} or {kind.argument}={second.key!r}"
