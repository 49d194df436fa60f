"""Energies, forces and stresses of another calculator, which a force field learns the difference from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from castile.data import Dataset
from castile.errors import InputError, InputTypeError
from castile.structures import volumes

__all__ = ["ReferenceLabels", "check_reference", "reference_labels", "subtract_reference"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReferenceLabels:
    """What a calculator says; of the shapes of a prediction."""

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray


def check_reference(calculator: Any) -> None:
    """Raise InputTypeError for what is no calculator."""
    if isinstance(calculator, type) or not callable(getattr(calculator, "get_potential_energy", None)):
        found = calculator.__name__ if isinstance(calculator, type) else type(calculator).__name__
        raise InputTypeError(f"reference must be an ASE calculator, such as EMT(), got {found}")


def reference_labels(calculator: Any, frames: list[Atoms]) -> ReferenceLabels:
    """Ask an ASE calculator for frames; its own errors are passed on."""
    check_reference(calculator)
    energy, forces, stress = np.zeros(len(frames)), [np.zeros((0, 3))], np.full((len(frames), 6), np.nan)
    for number, given in enumerate(frames):
        atoms = given.copy()
        atoms.calc = calculator
        try:
            energy[number] = atoms.get_potential_energy(force_consistent=False)
            forces.append(np.asarray(atoms.get_forces(apply_constraint=False)))
            if np.isfinite(volumes(atoms.cell.array[None])[0]):
                stress[number] = atoms.get_stress()
        except PropertyNotImplementedError:
            if len(forces) < number + 2:
                raise InputError(f"reference has no energies or no forces for frame {number}") from None
    return ReferenceLabels(energy, np.concatenate(forces), stress)


def subtract_reference(calculator: Any, dataset: Dataset) -> Dataset:
    """Return what a calculator, or None, leaves of the labels; stresses that it does not have are taken out."""
    if calculator is None:
        return dataset
    labels = reference_labels(calculator, dataset.frames)
    return replace(
        dataset,
        energies=dataset.energies - labels.energy,
        forces=dataset.forces - labels.forces,
        stresses=dataset.stresses - labels.stress,
    )
