"""What a force field says about frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Prediction", "Uncertainty"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Standard deviations of the posterior: what the model does not know of its own function, without noise of labels.

    Attributes
    ----------
    energy_std : ndarray of shape (n_frames,), in eV
    forces_std : ndarray of shape (n_atoms_total, 3), in eV/Å
    stress_std : ndarray of shape (n_frames, 6), in eV/Å³
        NaN without a cell.
    """

    energy_std: FloatArray
    forces_std: FloatArray
    stress_std: FloatArray

    def __repr__(self) -> str:
        return (
            f"<Uncertainty of {_size(self.energy_std, self.forces_std)}: energy_std {_range(self.energy_std)} eV, "
            f"forces_std {_range(self.forces_std)} eV/Å>"
        )


@dataclass(frozen=True, eq=False)
class Prediction:
    """Energies and their derivatives for frames.

    Attributes
    ----------
    energy : ndarray of shape (n_frames,), in eV
    forces : ndarray of shape (n_atoms_total, 3), in eV/Å
        Minus the derivative of the energy.
    stress : ndarray of shape (n_frames, 6), in eV/Å³
        dE/dstrain / volume in the order xx, yy, zz, yz, xz, xy; NaN for frames without a cell of three vectors.
    energies : ndarray of shape (n_atoms_total,), in eV
        Of each atom; they add up to ``energy``, but for what a reference calculator adds.
    offsets : ndarray of shape (n_frames + 1,)
        The atoms of frame ``f`` are ``offsets[f]:offsets[f + 1]``.
    uncertainty : Uncertainty or None
        If it was asked for.
    committee : ndarray of shape (n_members, n_frames), or None
        Energies of models drawn from the posterior, if asked for.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray
    energies: FloatArray
    offsets: IntArray
    uncertainty: Uncertainty | None = None
    committee: FloatArray | None = None

    def __repr__(self) -> str:
        also = "" if self.uncertainty is None else ", with uncertainty"
        if self.committee is not None:
            also += f", committee of {len(self.committee)}"
        return (
            f"<Prediction for {_size(self.energy, self.forces)}: energy {_range(self.energy)} eV, "
            f"forces {_range(self.forces)} eV/Å{also}>"
        )

    @property
    def energy_std(self) -> FloatArray | None:
        """That of ``uncertainty``."""
        return None if self.uncertainty is None else self.uncertainty.energy_std

    @property
    def forces_std(self) -> FloatArray | None:
        """That of ``uncertainty``."""
        return None if self.uncertainty is None else self.uncertainty.forces_std

    @property
    def stress_std(self) -> FloatArray | None:
        """That of ``uncertainty``."""
        return None if self.uncertainty is None else self.uncertainty.stress_std


def _size(of_frames: FloatArray, of_atoms: FloatArray) -> str:
    return f"{len(of_frames)} frames, {len(of_atoms)} atoms"


def _range(values: FloatArray) -> str:
    return f"{values.min():.4g} to {values.max():.4g}" if values.size else "of nothing"
