"""The search for settings of a preset, by cross-validation within a time budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from castile import _checks, data
from castile.data import Dataset
from castile.errors import CastileError, InputError
from castile.models.force_field._normal import NormalEquations
from castile.models.force_field._parameters import OF_PRESETS, terms_of
from castile.models.force_field._training import survey
from castile.models.force_field._units import SHOWN
from castile.models.force_field.error_table import residuals
from castile.models.force_field.terms import (
    CUTOFF,
    DEFAULT_PRESET,
    PRESETS,
    ProductTerm,
    SoapTerm,
    Term,
    cutoff_for,
    default_soap,
)

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
        In distances of nearest neighbors; not less than 5 Å in any case.
    n_functions : int
        Of the term of products; 0 without one.
    energy_noise : float
        Factor of the default.
    zeta : float
        Of the SOAP term; 0 without one, as all that follows.
    sigma : float
        In distances of nearest neighbors.
    n_max, l_max : int
    """

    cutoff: float = CUTOFF
    n_functions: int = 500
    energy_noise: float = 1.0
    zeta: float = 2.0
    sigma: float = 0.21
    n_max: int = 8
    l_max: int = 6


_OF_SOAP = ("zeta", "sigma", "n_max", "l_max")

# What is tried, the most telling first. The noise is tried on the sums that are there already.
_CHOICES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("cutoff", (1.9, 2.5)),
    ("energy_noise", (0.5, 2.0)),
    ("n_functions", (1200, 250)),
    ("zeta", (4.0,)),
    ("sigma", (0.17, 0.26)),
    ("n_max", (6, 10)),
    ("l_max", (4, 8)),
    ("cutoff", (2.05, 2.35)),
    ("energy_noise", (0.5, 2.0)),
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
        values = " ".join(f"{name}={value:g}" for name, value in asdict(self.settings).items() if value)
        return f"{values}: {errors or 'failed'} ({self.seconds:.1f} s)"


@dataclass
class Tuning:
    """All trials, the best first found; ``print`` it.

    Attributes
    ----------
    preset : str
    trials : list of Trial
    n_frames : int
        Of the cross-validation.
    """

    preset: str = DEFAULT_PRESET
    trials: list[Trial] = field(default_factory=list)
    n_frames: int = 0

    @property
    def best(self) -> Trial:
        """The trial of the lowest score."""
        return min(self.trials, key=lambda trial: trial.score)

    def __str__(self) -> str:
        lines = [
            f"{_FOLDS}-fold cross-validation by blocks on {self.n_frames} frames; errors are mean absolute "
            "ones. cutoff and sigma are in distances of nearest neighbors, energy_noise in that of the default"
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
        With a preset, the default one among them.
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
    listed = model.terms is not None and not isinstance(model.terms, str)
    if (listed and tuned is None) or model.descriptor is not None:
        raise InputError("tune chooses the terms of a preset; leave out terms that are listed, and descriptor=")
    terms_of(model)  # which checks zeta, n_sparse and cutoff
    _checks.integer("seed", model.seed, 0)
    search = _Search(model, dataset, seconds, progress)
    return search.run()


class _Search:
    def __init__(self, model: ForceField, dataset: Dataset, budget: float, progress: bool) -> None:
        self.model, self.dataset, self.budget, self.progress = model, dataset, budget, progress
        self.end = time.monotonic() + budget
        self.survey = survey(dataset, model.species, model.noise, model.baseline)
        # What was tuned before is tuned again.
        named = DEFAULT_PRESET if model.terms is None else model.terms
        self.preset: str = named if isinstance(named, str) else model.tuning_.preset
        self.tuning = Tuning(self.preset)
        self.settings = self._first()
        self.sums: _Sums | None = None
        self.longest = 0.0  # of the trials, in seconds
        self.failure: Exception = InputError("frames have no labels that could be left out and predicted")

    def run(self) -> tuple[Tuning, dict[str, Any]]:
        self._choose_frames()
        best = self._try(self.settings)
        for settings in self._candidates():
            if time.monotonic() + self.longest > self.end:
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
            # Of a term that the preset has not, or given.
            if not getattr(self.settings, name) or (name == "cutoff" and self.model.cutoff is not None):
                continue
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
        if n > len(self.subset):
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
        seconds = time.monotonic() - begin
        self.longest = max(self.longest, seconds)
        return Trial(settings, score, errors, seconds)

    def _first(self) -> Settings:
        """Return the settings of the preset with what the model says itself."""
        terms = PRESETS[self.preset]
        sizes = [term.n_functions for term in terms if isinstance(term, ProductTerm)]
        first = Settings(n_functions=sizes[0] if sizes else 0)
        if not any(isinstance(term, SoapTerm) for term in terms):
            return replace(first, **dict.fromkeys(_OF_SOAP, 0))
        return first if self.model.zeta is None else replace(first, zeta=float(self.model.zeta))

    def _cross_validate(self, settings: Settings) -> dict[str, float]:
        """Return mean absolute errors by kind of frames that were left out; sparse points are those of all frames."""
        sums = self._sums_for(settings)
        found: dict[str, list[npt.NDArray[np.float64]]] = {}
        for left_out, part in enumerate(sums.parts):
            model = sums.without(left_out, self._noise(settings))
            for kind, errors in _absolute_errors(model, self.subset.subset(part)).items():
                found.setdefault(kind, []).append(errors)
        return {kind: float(np.concatenate(values).mean()) for kind, values in found.items()}

    def _sums_for(self, settings: Settings) -> _Sums:
        """Return sums over the rows of all parts; the last ones are kept, for settings that need no others."""
        # Labels with deviations of their own are weighted against those of their kind.
        own = bool(np.isfinite(self.subset.energy_sigmas).any())
        key = settings if own else replace(settings, energy_noise=1.0)
        if self.sums is None or self.sums.settings != key or self.sums.subset is not self.subset:
            self.sums = None  # before there are others
            terms = self._terms(settings, trial=True)
            parameters = {"terms": terms, "calibration": 0.0, **dict.fromkeys(OF_PRESETS)}
            if own:
                parameters |= {"noise": self._noise(settings), "noise_factor": self._noise_factor()}
            self.sums = _Sums(clone(self.model).set_params(**parameters), self.subset, key)
        return self.sums

    def _noise(self, settings: Settings) -> dict[str, float]:
        noise = self.survey.noise
        return {**noise, "energy": settings.energy_noise * noise["energy"]}

    def _terms(self, settings: Settings, trial: bool = False) -> tuple[Term, ...]:
        lengths = self.survey.lengths
        cutoff = cutoff_for(lengths, settings.cutoff) if self.model.cutoff is None else float(self.model.cutoff)
        terms: list[Term] = []
        for term in PRESETS[self.preset]:
            if isinstance(term, SoapTerm):
                n_sparse = term.n_sparse if self.model.n_sparse is None else self.model.n_sparse
                if trial:
                    n_sparse = min(n_sparse or _MOST_POINTS, _MOST_POINTS)
                sizes = {"n_max": settings.n_max, "l_max": settings.l_max}
                soap = default_soap(self.survey.species, lengths, cutoff, sigma=settings.sigma, **sizes)
                terms.append(replace(term, descriptor=soap, zeta=settings.zeta, n_sparse=n_sparse))
            elif isinstance(term, ProductTerm):
                terms.append(replace(term, cutoff=cutoff, n_functions=settings.n_functions))
        return tuple(terms)

    def _parameters(self, settings: Settings) -> dict[str, Any]:
        parameters = {"terms": self._terms(settings), **dict.fromkeys(OF_PRESETS)}
        if settings.energy_noise != 1.0:
            parameters |= {"noise": self._noise(settings), "noise_factor": self._noise_factor()}
        return parameters

    def _noise_factor(self) -> float | str | None:
        """Return that of a model whose noise is given, where it is chosen as if it were not."""
        chosen = self.model.noise_factor is None and self.model.noise is None
        return "evidence" if chosen else self.model.noise_factor


class _Sums:
    """Sums over the rows of each part of a cross-validation, from which models without one of them follow."""

    def __init__(self, model: ForceField, subset: Dataset, settings: Settings) -> None:
        self.settings, self.subset = settings, subset
        self.model = model.prepare(subset)
        self.foundation = model.foundation_
        n_folds = min(_FOLDS, len(subset))
        self.parts = [test for _, test in data.folds(subset, n_folds, method="block", seed=model.seed)]
        self.states = [self._state_of(part) for part in self.parts]
        self.others = np.setdiff1d(np.arange(len(subset)), np.concatenate(self.parts))

    def _state_of(self, part: npt.NDArray[np.int64]) -> NormalEquations:
        self.model.foundation_ = self.foundation  # whose columns are packed
        self.model.state_ = NormalEquations(self.foundation.whitening.n_whitened)
        if len(part):
            self.model.accumulate(self.subset.subset(part))
        return self.model.state_

    def without(self, left_out: int, noise: dict[str, float]) -> ForceField:
        """Return the model of all parts but one; a model that is solved anew by the next call."""
        state = self._state_of(self.others)
        for number, other in enumerate(self.states):
            if number != left_out:
                state.merge(other)
        self.model.state_ = state
        self.model.foundation_ = replace(self.foundation, noise=noise)
        return self.model.solve()


def _absolute_errors(model: ForceField, test: Dataset) -> dict[str, npt.NDArray[np.float64]]:
    found = residuals(test, model.predict(test.frames))
    return {one.kind: np.abs(one.predicted - one.labels) for one in found}
