"""Fewer features for speed: smaller descriptors of a force field, projections, and what each costs in errors."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone

from castile import _checks, data
from castile.data import Dataset
from castile.descriptors import SOAP
from castile.errors import CastileError, InputError
from castile.models.force_field._parameters import OF_PRESETS
from castile.models.force_field._units import SHOWN
from castile.models.force_field.error_table import ErrorTable
from castile.models.force_field.terms import ProductTerm, SoapTerm, Term, finest_degrees

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["Candidate", "CompressionTable", "compress"]

_HELD_OUT = 0.2
_REPEATS = 3
_SAME_SPEED = 1.08  # times that differ by less do so by chance

_SHARES = (0.5, 0.25)  # of the products
_PROJECTIONS = (("pca", 0.5), ("pca", 0.25), ("cur", 0.5))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A force field with fewer features.

    Attributes
    ----------
    name : str
    terms : tuple of terms
    n_features : int
        Of all terms together.
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

    def __str__(self) -> str:
        values = "".join(f" {SHOWN[kind][0] * self.errors[kind]['mae']:>18.3f}" for kind in _kinds(self))
        return f"{self.name:<34} {self.n_features:>8} {self.micros:>8.1f}{values}"


def _kinds(one: Candidate) -> list[str]:
    return [kind for kind in SHOWN if kind in one.errors]


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
        known = _kinds(self.candidates[0])
        head = f"  {'descriptor':<34} {'features':>8} {'µs/atom':>8}"
        lines = [head + "".join(f" {kind + ', ' + SHOWN[kind][1]:>18}" for kind in known)]
        lines += [f"{'*' if one is self.chosen else ' '} {one}" for one in self.candidates]
        return "\n".join([*lines, "* chosen: errors within the tolerance, and about as fast as any such"])

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
        try:
            candidates.append(_measure(model, name, terms, train, test))
        except CastileError as error:
            if not candidates:
                raise
            warnings.warn(f"{name}: left out, {error}", stacklevel=4)
            continue
        if progress:
            print(candidates[-1], flush=True)
    return CompressionTable(candidates, _chosen(candidates, tolerance))


def _chosen(candidates: list[Candidate], tolerance: float) -> Candidate:
    """Return the best of those that are about as fast as the fastest that is good enough."""
    growth = {id(one): _growth(one.errors, candidates[0].errors) for one in candidates}
    good = [one for one in candidates if growth[id(one)] <= tolerance]
    fastest = min(one.micros for one in good)
    return min((one for one in good if one.micros <= _SAME_SPEED * fastest), key=lambda one: growth[id(one)])


def _growth(errors: ErrorTable, own: ErrorTable) -> float:
    """Return the mean growth of errors of all kinds, as a share."""
    kinds = [kind for kind in ("energy", "force", "stress") if kind in own]
    ratios = [np.log(errors[kind]["mae"] / max(own[kind]["mae"], 1e-300)) for kind in kinds]
    return float(np.exp(np.mean(ratios)) - 1.0)


def _smaller(terms: tuple[Term, ...]) -> Iterator[tuple[str, tuple[Term, ...]]]:
    """Yield terms with fewer features: products, no kernel, projections, optimal radial functions, lower degrees."""
    yield "as it is", terms
    for n_functions, changed in _with_fewer_products(terms):
        yield f"{n_functions} products", changed
    products = tuple(term for term in terms if not isinstance(term, SoapTerm))
    if products and len(products) < len(terms):
        yield "no SOAP term", products
    soaps = [term.descriptor for term in terms if isinstance(term, SoapTerm) and term.descriptor is not None]
    if not soaps:
        return
    for reduction, share in _PROJECTIONS:
        changed = tuple(_projected(term, share, reduction) for term in terms)
        kept = "+".join(str(term.n_features) for term in changed if isinstance(term, SoapTerm))
        yield f"{kept} features by {reduction.upper()}", changed
    zetas = sorted({float(term.zeta) for term in terms if isinstance(term, SoapTerm)} | {2.0}, reverse=True)
    for zeta in zetas:
        for number, (n_max, l_max) in enumerate(_sizes(soaps[0])):
            changed = tuple(_changed(term, zeta, number) for term in terms)
            if changed != terms:
                yield f"zeta {zeta:g}, {n_max} optimal functions, l_max {l_max}", changed


def _with_fewer_products(terms: tuple[Term, ...]) -> Iterator[tuple[int, tuple[Term, ...]]]:
    """Yield terms with a half and a quarter of the products, and how many these are."""
    before = _n_products(terms)
    for share in _SHARES:
        changed = tuple(_fewer_products(term, share) for term in terms)
        n_functions = _n_products(changed)
        if 0 < n_functions < before:
            before = n_functions
            yield n_functions, changed


def _n_products(terms: tuple[Term, ...]) -> int:
    own = [term.descriptor for term in terms if isinstance(term, ProductTerm)]
    return sum(len(descriptor.get_feature_names_out()) for descriptor in own if descriptor is not None)


def _fewer_products(term: Term, share: float) -> Term:
    if not isinstance(term, ProductTerm) or term.descriptor is None:
        return term
    own = term.descriptor
    n_functions = round(share * len(own.get_feature_names_out()))
    n_channels = len(own._species_or_raise())
    return replace(term, descriptor=clone(own).set_params(degrees=finest_degrees(n_channels, n_functions)))


def _projected(term: Term, share: float, reduction: str) -> Term:
    """Return a term that sees a share of what it sees now."""
    if not isinstance(term, SoapTerm) or term.descriptor is None:
        return term
    seen = term.n_features or len(term.descriptor.get_feature_names_out())
    return replace(term, n_features=max(1, round(share * seen)), reduction=reduction)


def _sizes(descriptor: SOAP) -> list[tuple[int, int]]:
    n, degree = descriptor.n_max, descriptor.l_max
    most, half = max(1, round(0.75 * n)), max(1, n // 2)
    sizes = [(n, degree), (most, degree), (half, degree), (half, max(1, degree - 2))]
    return list(dict.fromkeys(sizes))


def _changed(term: Term, zeta: float, number: int) -> Term:
    """Return a term with another power, and one of the sizes of its descriptor, of whose features it sees all."""
    if not isinstance(term, SoapTerm) or term.descriptor is None:
        return term
    own = term.descriptor
    sizes = _sizes(own)
    n_max, l_max = sizes[min(number, len(sizes) - 1)]
    if n_max == own.n_max and l_max == own.l_max:
        return replace(term, zeta=zeta, n_features=term.n_features if zeta == term.zeta else None)
    smaller = clone(own).set_params(n_max=n_max, l_max=l_max)
    if n_max < own.n_max:
        smaller.set_params(n_primitives=own.n_primitives or own.n_max)
    return replace(term, descriptor=smaller, zeta=zeta, n_features=None)


def _measure(model: ForceField, name: str, terms: tuple[Term, ...], train: Dataset, test: Dataset) -> Candidate:
    fitted = clone(model).set_params(terms=terms, calibration=0.0, **dict.fromkeys(OF_PRESETS))
    with warnings.catch_warnings():  # of the labels, which the fit of the whole says once
        warnings.simplefilter("ignore")
        fitted.fit(train)
    micros: list[float] = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        fitted.predict(test.frames)
        micros.append(1e6 * (time.perf_counter() - begin) / len(test.numbers))
    n_features = sum(term.n_features for term in fitted.foundation_.terms)
    return Candidate(name, terms, n_features, min(micros), fitted.evaluate(test))
