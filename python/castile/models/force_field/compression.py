"""Fewer features for speed: smaller descriptors of a force field, projections, and what each costs in errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone

from castile import _checks, data
from castile.data import Dataset
from castile.descriptors import SOAP
from castile.errors import InputError
from castile.models.force_field._units import SHOWN
from castile.models.force_field.error_table import ErrorTable
from castile.models.force_field.terms import SoapTerm, Term

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["Candidate", "CompressionTable", "compress"]

_HELD_OUT = 0.2
_REPEATS = 3

_PROJECTIONS = (("pca", 0.5), ("pca", 0.25), ("cur", 0.5))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A force field with fewer features.

    Attributes
    ----------
    name : str
    terms : tuple of terms
    n_features : int
        Of the SOAP terms together.
    micros : float
        µs per atom of energies and forces, on the threads in use.
    errors : ErrorTable
        On held-out frames.
    """

    name: str
    terms: tuple[Term, ...]
    n_features: int
    micros: float
    errors: ErrorTable


@dataclass(frozen=True, eq=False)
class CompressionTable:
    """What each candidate costs and gives, the uncompressed one first; ``print`` it.

    Attributes
    ----------
    candidates : list of Candidate
    chosen : Candidate
    """

    candidates: list[Candidate]
    chosen: Candidate

    def __str__(self) -> str:
        known = [kind for kind in SHOWN if kind in self.candidates[0].errors]
        head = f"  {'descriptor':<34} {'features':>8} {'µs/atom':>8}"
        lines = [head + "".join(f" {kind + ', ' + SHOWN[kind][1]:>18}" for kind in known)]
        for one in self.candidates:
            mark = "*" if one is self.chosen else " "
            values = "".join(f" {SHOWN[kind][0] * one.errors[kind]['mae']:>18.3f}" for kind in known)
            lines.append(f"{mark} {one.name:<34} {one.n_features:>8} {one.micros:>8.1f}{values}")
        return "\n".join(lines)

    __repr__ = __str__


def compress(model: ForceField, dataset: Dataset, tolerance: float, progress: bool) -> CompressionTable:
    """Try smaller descriptors on a part of the data, and choose the fastest that is good enough.

    Parameters
    ----------
    model : ForceField
        Fitted.
    dataset : Dataset
        Which a fifth is held out of.
    tolerance : float
        By how much errors may grow, as a share of those of the model's own terms.
    progress : bool
        Print each candidate.
    """
    if _checks.real("tolerance", tolerance) < 0.0:
        raise InputError(f"tolerance must be 0 or more, got {tolerance!r}")
    train, test = data.split(dataset, _HELD_OUT, seed=model.seed)
    candidates: list[Candidate] = []
    for name, terms in _smaller(tuple(term.specification() for term in model.foundation_.terms)):
        candidates.append(_measure(model, name, terms, train, test))
        if progress:
            print(str(CompressionTable(candidates[:1] + candidates[-1:], candidates[0])).splitlines()[-1], flush=True)
    own = candidates[0]
    good = [one for one in candidates if _growth(one.errors, own.errors) <= tolerance]
    chosen = min(good, key=lambda one: one.micros)
    return CompressionTable(candidates, chosen)


def _growth(errors: ErrorTable, own: ErrorTable) -> float:
    """Return the mean growth of errors of all kinds, as a share."""
    kinds = [kind for kind in ("energy", "force", "stress") if kind in own]
    ratios = [np.log(errors[kind]["mae"] / max(own[kind]["mae"], 1e-300)) for kind in kinds]
    return float(np.exp(np.mean(ratios)) - 1.0)


def _smaller(terms: tuple[Term, ...]) -> Iterator[tuple[str, tuple[Term, ...]]]:
    """Yield terms with fewer features: projections, learned radial functions, lower degrees, a quadratic kernel."""
    yield "as it is", terms
    soaps = [term.descriptor for term in terms if isinstance(term, SoapTerm) and term.descriptor is not None]
    if not soaps:
        return
    n_features = len(soaps[0].get_feature_names_out())
    for reduction, share in _PROJECTIONS:
        kept = max(1, round(share * n_features))
        yield f"{kept} features by {reduction.upper()}", tuple(_projected(term, kept, reduction) for term in terms)
    zetas = sorted({float(term.zeta) for term in terms if isinstance(term, SoapTerm)} | {2.0}, reverse=True)
    for zeta in zetas:
        for n_max, l_max in _sizes(soaps[0]):
            changed = tuple(_changed(term, zeta, n_max, l_max) for term in terms)
            if changed != terms:
                yield f"zeta {zeta:g}, {n_max} optimal functions, l_max {l_max}", changed


def _projected(term: Term, n_features: int, reduction: str) -> Term:
    if not isinstance(term, SoapTerm) or term.descriptor is None:
        return term
    return replace(term, n_features=n_features, reduction=reduction)


def _sizes(descriptor: SOAP) -> list[tuple[int, int]]:
    n, degree = descriptor.n_max, descriptor.l_max
    most, half = max(1, round(0.75 * n)), max(1, n // 2)
    sizes = [(n, degree), (most, degree), (half, degree), (half, max(1, degree - 2))]
    return list(dict.fromkeys(sizes))


def _changed(term: Term, zeta: float, n_max: int, l_max: int) -> Term:
    if not isinstance(term, SoapTerm) or term.descriptor is None:
        return term
    own = term.descriptor
    if n_max == own.n_max and l_max == own.l_max:
        return replace(term, zeta=zeta)
    smaller = clone(own).set_params(n_max=n_max, l_max=l_max)
    if n_max < own.n_max:
        smaller.set_params(n_primitives=own.n_primitives or own.n_max)
    return replace(term, descriptor=smaller, zeta=zeta)


def _measure(model: ForceField, name: str, terms: tuple[Term, ...], train: Dataset, test: Dataset) -> Candidate:
    fitted = clone(model).set_params(terms=terms, descriptor=None, zeta=None, n_sparse=None, calibration=0.0)
    fitted.fit(train)
    micros: list[float] = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        fitted.predict(test.frames)
        micros.append(1e6 * (time.perf_counter() - begin) / len(test.numbers))
    n_features = sum(term.points[0].shape[1] for term in fitted.foundation_.terms if hasattr(term, "points"))
    return Candidate(name, terms, n_features, min(micros), fitted.evaluate(test))
