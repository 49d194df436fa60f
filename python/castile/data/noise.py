"""The standard deviation that each label is fitted with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from castile._checks import real
from castile.errors import InputError

if TYPE_CHECKING:
    from castile.data.dataset import Dataset

__all__ = ["Noise", "noise_of"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Noise(NamedTuple):
    """Standard deviations of labels; infinite where there is none, or its weight is zero."""

    energy: FloatArray  # (n_frames,), eV, of total energies
    force: FloatArray  # (n_atoms_total,), eV/Å, of each component
    stress: FloatArray  # (n_frames,), eV/Å³, of each component


def noise_of(dataset: Dataset, energy: float, force: float, stress: float) -> Noise:
    """Return what :meth:`Dataset.noise` promises."""
    sigma_energy, sigma_force = _positive("energy", energy), _positive("force", force)
    of_energy = np.where(np.isnan(dataset.energy_sigmas), sigma_energy * dataset.n_atoms, dataset.energy_sigmas)
    of_force = np.where(np.isnan(dataset.force_sigmas), sigma_force, dataset.force_sigmas)
    of_stress = np.where(np.isnan(dataset.stress_sigmas), _positive("stress", stress), dataset.stress_sigmas)
    return Noise(
        _divided(of_energy, dataset.energy_weights, dataset.has_energy),
        _divided(of_force, dataset.force_weights[dataset.frame_of_atoms()], dataset.has_forces),
        _divided(of_stress, dataset.stress_weights, dataset.has_stress),
    )


def _positive(name: str, value: Any) -> float:
    number = real(name, value)
    if number <= 0.0:
        raise InputError(f"{name} must be a positive standard deviation, got {value!r}")
    return number


def _divided(sigmas: FloatArray, weights: FloatArray, present: BoolArray) -> FloatArray:
    used = present & (weights > 0.0)
    return np.where(used, sigmas / np.where(used, weights, 1.0), np.inf)
