"""How much too small, or too large, standard deviations are: from frames that were held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats

from castile.data import Dataset
from castile.models.force_field.prediction import Prediction, Uncertainty

__all__ = ["Calibration", "calibrate", "held_out"]

FloatArray = npt.NDArray[np.float64]

_FEWEST = 3  # frames, for a factor that means anything
_FEW, _MANY = 20, 40  # frames, up to which no factor below 1 is believed, and from which any is


@dataclass(frozen=True)
class Calibration:
    """Factors of standard deviations, and what held-out labels say about them.

    Attributes
    ----------
    factors : dict
        By kind: root mean square of errors over that of standard deviations, which are multiplied by it. Of few frames
        it is rough, and they may happen to be easy ones; the posterior is known to be too confident rather than too
        modest. So nothing below 1 is taken from up to 20 frames with labels of the kind; from there to 40 frames, more
        and more of its logarithm.
    correlations : dict
        By kind: rank correlation of absolute errors and standard deviations; of forces, of their norms by atom.
    coverage : dict
        By kind: share of errors within one scaled standard deviation, 0.68 if they are normal.
    n_frames : int
        Held out.
    """

    factors: dict[str, float]
    correlations: dict[str, float]
    coverage: dict[str, float]
    n_frames: int

    def to_metadata(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {
            "factors": self.factors,
            "correlations": self.correlations,
            "coverage": self.coverage,
            "n_frames": self.n_frames,
        }


def held_out(dataset: Dataset, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which frames are held out: a share drawn at random, but no isolated atoms."""
    chosen = np.zeros(len(dataset), dtype=bool)
    usable = np.flatnonzero(~dataset.isolated)
    # However large the share is, twice the fewest are left.
    n = min(max(round(share * len(usable)), _FEWEST), len(usable) - 2 * _FEWEST)
    if share > 0.0 and n >= _FEWEST:
        chosen[np.random.default_rng(seed).choice(usable, n, replace=False)] = True
    return chosen


def calibrate(dataset: Dataset, prediction: Prediction, stds: Uncertainty) -> Calibration:
    """Compare errors of a prediction with its standard deviations."""
    of_atoms, stressed = dataset.has_forces, dataset.has_stress & ~np.isnan(prediction.stress).any(axis=1)
    counted, n_atoms = dataset.has_energy, dataset.n_atoms
    # Per atom, so that large frames do not decide alone.
    errors = {
        "energy": ((prediction.energy - dataset.energies) / n_atoms)[counted],
        "force": (prediction.forces - dataset.forces)[of_atoms],
        "stress": (prediction.stress - dataset.stresses)[stressed],
    }
    deviations = {
        "energy": (stds.energy_std / n_atoms)[counted],
        "force": stds.forces_std[of_atoms],
        "stress": stds.stress_std[stressed],
    }
    frames = {
        "energy": int(counted.sum()),
        "force": len(np.unique(dataset.frame_of_atoms()[of_atoms])),
        "stress": int(stressed.sum()),
    }
    factors, correlations, coverage = {}, {}, {}
    for kind, error in errors.items():
        if len(error) < _FEWEST:
            continue
        # Of sums of squares: components that vanish by symmetry have ratios of rounding errors, which mean nothing.
        total = float(np.sum(deviations[kind] ** 2))
        factor = float(np.sqrt(np.sum(error**2) / total)) if total > 0.0 else 1.0
        factors[kind] = _believed(factor, frames[kind]) if factor > 0.0 else 1.0
        correlations[kind] = _rank_correlation(error, deviations[kind])
        coverage[kind] = float(np.mean(np.abs(error) <= factors[kind] * deviations[kind]))
    return Calibration(factors, correlations, coverage, len(dataset))


def _believed(factor: float, n_frames: int) -> float:
    """Return the factor, or what is taken of one below 1 that is from so few frames."""
    weight = np.clip((n_frames - _FEW) / (_MANY - _FEW), 0.0, 1.0)
    return factor if factor >= 1.0 or weight == 1.0 else float(factor**weight)


def _rank_correlation(errors: FloatArray, deviations: FloatArray) -> float:
    if errors.ndim > 1:
        errors, deviations = (np.linalg.norm(values, axis=1) for values in (errors, deviations))
    errors = np.abs(errors)
    if np.ptp(errors) == 0.0 or np.ptp(deviations) == 0.0:  # nothing has a rank
        return 0.0
    return float(scipy.stats.spearmanr(errors, deviations).statistic)
