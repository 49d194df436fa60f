"""The search for settings of the default terms, by cross-validation within a time budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from castile import _checks, data
from castile.data import Dataset
from castile.errors import CastileError, InputError
from castile.models.force_field._parameters import terms_of
from castile.models.force_field._training import survey
from castile.models.force_field._units import SHOWN
from castile.models.force_field.error_table import residuals
from castile.models.force_field.terms import PairTerm, SoapTerm, default_soap

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["Settings", "Trial", "Tuning", "tune"]

_FOLDS = 3
_TRIALS_IN_BUDGET = 12  # how large a trial may be: so many are to fit
_FEWEST_FRAMES = 12
_MOST_POINTS = 600  # of each species, in trials


@dataclass(frozen=True)
class Settings:
    """What is tuned; lengths in units that the data give.

    Attributes
    ----------
    cutoff : float
        In cube roots of the volume per atom.
    sigma : float
        In distances of nearest neighbors.
    n_max, l_max : int
    zeta : float
    energy_noise : float
        Factor of the default.
    """

    cutoff: float = 2.0
    sigma: float = 0.21
    n_max: int = 8
    l_max: int = 6
    zeta: float = 4.0
    energy_noise: float = 1.0


# What is tried, the most telling first.
_CHOICES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("cutoff", (1.7, 2.3, 2.6)),
    ("zeta", (2.0, 3.0)),
    ("sigma", (0.17, 0.26)),
    ("n_max", (6, 10)),
    ("l_max", (4, 8)),
    ("energy_noise", (0.5, 2.0)),
    ("cutoff", (1.85, 2.15, 2.45)),
)


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it.

    Attributes
    ----------
    settings : Settings
    score : float
        Mean of the logarithms of the mean absolute errors of held-out energies, forces and stresses; infinite if the
        fit failed.
    errors : dict
        Mean absolute errors by kind: eV/atom, eV/Å, eV/Å³.
    seconds : float
    """

    settings: Settings
    score: float
    errors: dict[str, float]
    seconds: float

    def __str__(self) -> str:
        errors = "  ".join(
            f"{kind} {SHOWN[kind][0] * value:.3f} {SHOWN[kind][1]}" for kind, value in self.errors.items()
        )
        values = " ".join(f"{name}={value:g}" for name, value in asdict(self.settings).items())
        return f"{values}: {errors or 'failed'} ({self.seconds:.1f} s)"


@dataclass
class Tuning:
    """All trials, the best first found; ``print`` it."""

    trials: list[Trial] = field(default_factory=list)
    n_frames: int = 0

    @property
    def best(self) -> Trial:
        """The trial of the lowest score."""
        return min(self.trials, key=lambda trial: trial.score)

    def __str__(self) -> str:
        lines = [
            f"{_FOLDS}-fold cross-validation by blocks on {self.n_frames} frames; errors are mean absolute "
            "ones. cutoff is in cube roots of the volume per atom, sigma in distances of nearest neighbors, "
            "energy_noise in that of the default"
        ]
        for trial in self.trials:
            mark = "*" if trial is self.best else " "
            lines.append(f"{mark} {trial}")
        lines.append("* the best: lowest mean of the logarithms of these errors; its settings are taken")
        return "\n".join(lines)

    __repr__ = __str__


def tune(model: ForceField, dataset: Dataset, budget: float, progress: bool) -> tuple[Tuning, dict[str, Any]]:
    """Try settings one after the other, each from the best so far, until the time is over.

    Parameters
    ----------
    model : ForceField
        With default terms.
    dataset : Dataset
    budget : float
        In seconds. Trials use as many frames and sparse points as fit about a dozen times.
    progress : bool

    Returns
    -------
    tuning : Tuning
    parameters : dict
        For ``set_params`` of the model.
    """
    seconds = _checks.real("budget", budget, " in seconds")
    if seconds <= 0.0:
        raise InputError(f"budget must be above 0, in seconds, got {budget!r}")
    tuned = getattr(model, "tuning_", None)
    if (model.terms is not None and tuned is None) or model.descriptor is not None:
        raise InputError("tune chooses the terms; leave out terms= and descriptor=")
    terms_of(model)  # which checks zeta and n_sparse
    _checks.integer("seed", model.seed, 0)
    search = _Search(model, dataset, seconds, progress)
    return search.run()


class _Search:
    def __init__(self, model: ForceField, dataset: Dataset, budget: float, progress: bool) -> None:
        self.model, self.dataset, self.budget, self.progress = model, dataset, budget, progress
        self.end = time.monotonic() + budget
        self.survey = survey(dataset, model.species, model.noise, model.baseline)
        self.tuning = Tuning()
        start = Settings() if model.zeta is None else Settings(zeta=float(model.zeta))
        self.settings = start
        self.failure: Exception = InputError("frames have no labels that could be left out and predicted")

    def run(self) -> tuple[Tuning, dict[str, Any]]:
        self._choose_frames()
        best = self._try(self.settings)
        for settings in self._candidates():
            if time.monotonic() + best.seconds > self.end:
                break
            trial = self._try(settings)
            if trial.score < best.score:
                best = trial
                self.settings = trial.settings
        if not self.tuning.best.errors:
            raise self.failure
        return self.tuning, self._parameters(self.tuning.best.settings)

    def _candidates(self) -> Iterator[Settings]:
        tried = {self.settings}
        for name, values in _CHOICES:
            for value in values:
                settings = replace(self.settings, **{name: value})
                if settings not in tried:
                    tried.add(settings)
                    yield settings

    def _choose_frames(self) -> None:
        """Take as many frames as let a trial fit a dozen times into the budget."""
        n = min(len(self.dataset), _FEWEST_FRAMES)
        rng = np.random.default_rng(self.model.seed)
        order = rng.permutation(len(self.dataset))
        order = np.concatenate([order[self.dataset.isolated[order]], order[~self.dataset.isolated[order]]])
        self.subset = self.dataset.subset(np.sort(order[:n]))
        first = self._measure(self.settings)
        share = self.budget / _TRIALS_IN_BUDGET
        n = int(np.clip(n * share / max(first.seconds, 1e-3), n, len(self.dataset)))
        self.subset = self.dataset.subset(np.sort(order[:n]))
        self.tuning.n_frames = n

    def _try(self, settings: Settings) -> Trial:
        trial = self._measure(settings)
        self.tuning.trials.append(trial)
        if self.progress:
            print(trial, flush=True)
        return trial

    def _measure(self, settings: Settings) -> Trial:
        begin = time.monotonic()
        try:
            errors = self._cross_validate(settings)
        except (CastileError, np.linalg.LinAlgError) as error:
            errors = {}
            self.failure = error
        score = float(np.mean([np.log(max(value, 1e-12)) for value in errors.values()])) if errors else np.inf
        return Trial(settings, score, errors, time.monotonic() - begin)

    def _cross_validate(self, settings: Settings) -> dict[str, float]:
        """Return mean absolute errors by kind of frames that were left out; sparse points are those of all frames."""
        from sklearn.base import clone

        model = clone(self.model).set_params(calibration=0.0, **self._parameters(settings, trial=True))
        whole = model.prepare(self.subset)
        n_folds = min(_FOLDS, len(self.subset))
        parts = [test for _, test in data.folds(self.subset, n_folds, method="block", seed=self.model.seed)]
        states = []
        for part in parts:
            whole.state_ = type(whole.state_)(whole.state_.n_columns)
            whole.accumulate(self.subset.subset(part))
            states.append(whole.state_)
        train_only = np.setdiff1d(np.arange(len(self.subset)), np.concatenate(parts))
        found: dict[str, list[npt.NDArray[np.float64]]] = {}
        for left_out, part in enumerate(parts):
            whole.state_ = type(whole.state_)(whole.state_.n_columns)
            if len(train_only):
                whole.accumulate(self.subset.subset(train_only))
            for number, state in enumerate(states):
                if number != left_out:
                    whole.state_.merge(state)
            whole.solve()
            for kind, errors in _absolute_errors(whole, self.subset.subset(part)).items():
                found.setdefault(kind, []).append(errors)
        return {kind: float(np.concatenate(values).mean()) for kind, values in found.items()}

    def _parameters(self, settings: Settings, trial: bool = False) -> dict[str, Any]:
        cutoff = settings.cutoff * self.survey.lengths.spacing
        soap = default_soap(
            self.survey.species,
            self.survey.lengths,
            cutoff,
            n_max=settings.n_max,
            l_max=settings.l_max,
            sigma=settings.sigma,
        )
        n_sparse = self.model.n_sparse
        if trial:
            n_sparse = min(n_sparse or _MOST_POINTS, _MOST_POINTS)
        terms = (SoapTerm(soap, settings.zeta, n_sparse), PairTerm(cutoff=cutoff))
        parameters: dict[str, Any] = {"terms": terms, "zeta": None, "n_sparse": None}
        if settings.energy_noise != 1.0:
            energy = settings.energy_noise * self.survey.noise["energy"]
            parameters["noise"] = {**self.survey.noise, "energy": energy}
            if self.model.noise_factor is None and self.model.noise is None:
                parameters["noise_factor"] = "evidence"  # as without a change of this noise
        return parameters


def _absolute_errors(model: ForceField, test: Dataset) -> dict[str, npt.NDArray[np.float64]]:
    found = residuals(test, model.predict(test.frames))
    return {one.kind: np.abs(one.predicted - one.labels) for one in found}
