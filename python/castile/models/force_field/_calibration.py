"""How much too small, or too large, standard deviations are: from frames that were held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats

from castile.data import Dataset
from castile.models.force_field.prediction import Prediction

__all__ = ["Calibration", "calibrate", "held_out"]

FloatArray = npt.NDArray[np.float64]

_FEWEST = 3  # frames, for a factor that means anything


@dataclass(frozen=True)
class Calibration:
    """Factors of standard deviations, and what held-out labels say about them.

    Attributes
    ----------
    factors : dict
        By kind: root mean square of error over standard deviation, with which it becomes one.
    correlations : dict
        By kind: rank correlation of absolute errors and standard deviations; of forces, of their norms by atom.
    n_frames : int
        Held out.
    """

    factors: dict[str, float]
    correlations: dict[str, float]
    n_frames: int

    def to_metadata(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"factors": self.factors, "correlations": self.correlations, "n_frames": self.n_frames}


def held_out(dataset: Dataset, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which frames are held out: a share drawn at random, but no isolated atoms."""
    chosen = np.zeros(len(dataset), dtype=bool)
    usable = np.flatnonzero(~dataset.isolated)
    n = round(share * len(usable))
    if n >= _FEWEST and len(usable) - n >= _FEWEST:
        chosen[np.random.default_rng(seed).choice(usable, n, replace=False)] = True
    return chosen


def calibrate(dataset: Dataset, prediction: Prediction) -> Calibration:
    """Compare errors of a prediction with its standard deviations."""
    assert prediction.uncertainty is not None
    stds = prediction.uncertainty
    of_atoms, stressed = dataset.has_forces, dataset.has_stress & ~np.isnan(prediction.stress).any(axis=1)
    counted = dataset.has_energy
    errors = {
        "energy": (prediction.energy - dataset.energies)[counted],
        "force": (prediction.forces - dataset.forces)[of_atoms],
        "stress": (prediction.stress - dataset.stresses)[stressed],
    }
    deviations = {
        "energy": stds.energy_std[counted],
        "force": stds.forces_std[of_atoms],
        "stress": stds.stress_std[stressed],
    }
    factors, correlations = {}, {}
    for kind, error in errors.items():
        if len(error) < _FEWEST:
            continue
        known = deviations[kind] > 0.0
        factors[kind] = float(np.sqrt(np.mean((error[known] / deviations[kind][known]) ** 2))) if known.any() else 1.0
        correlations[kind] = _rank_correlation(error, deviations[kind])
    return Calibration(factors, correlations, len(dataset))


def _rank_correlation(errors: FloatArray, deviations: FloatArray) -> float:
    if errors.ndim > 1:
        errors, deviations = (np.linalg.norm(values, axis=1) for values in (errors, deviations))
    errors = np.abs(errors)
    if np.ptp(errors) == 0.0 or np.ptp(deviations) == 0.0:  # nothing has a rank
        return 0.0
    return float(scipy.stats.spearmanr(errors, deviations).statistic)
