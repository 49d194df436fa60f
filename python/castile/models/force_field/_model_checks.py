"""Whether what a model file holds can be, and belongs together: sums over bytes tell accidents, not other writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _checks
from castile.descriptors import SOAP, Products, RadialSpectrum
from castile.errors import InputError
from castile.kernels._rows import check_zeta
from castile.models.force_field._blas import one_thread
from castile.models.force_field._calibration import Calibration
from castile.models.force_field._columns import Block, DiagonalBlock, TriangularBlock, positive
from castile.models.force_field._fitted_terms import FittedPairTerm, FittedProductTerm, FittedSoapTerm, FittedTerm
from castile.models.force_field._noise import KINDS
from castile.models.force_field._repulsion import RepulsionRadii
from castile.models.force_field._solution import Solution
from castile.models.force_field._whitening import Whitening

__all__ = [
    "check_arrays",
    "check_radii",
    "check_solution",
    "check_terms",
    "check_whitening",
    "checked_calibration",
    "checked_distances",
    "checked_noise",
    "checked_shares",
]

FloatArray = npt.NDArray[np.float64]

_LARGEST = 1e100  # whose square is a number
_ROUNDING = 1e-6  # on any machine
# Of the factor: its condition number is at most the root of what normal equations allow, or as rows have it.
_LEAST_RECIPROCAL_CONDITION = 1e-40


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise InputError unless all are finite numbers in double precision."""
    for name, array in arrays.items():
        # Not a number is not below anything.
        if array.dtype != np.float64 or not (np.abs(array) < _LARGEST).all():
            raise InputError(f"array {name} must hold finite float64 numbers")


def checked_noise(noise: Mapping[str, Any], kinds: Sequence[str]) -> dict[str, float]:
    """Return standard deviations above zero of just these kinds."""
    if set(noise) != set(kinds):
        raise InputError(f"noise must be of {', '.join(kinds)}, got {', '.join(map(str, noise))}")
    return {kind: positive(f"noise of {kind}", noise[kind]) for kind in kinds}


def checked_shares(shares: Sequence[Any] | None, n_terms: int) -> tuple[float, ...]:
    """Return the shares of the prior, above 0 up to 1; older files have none, which means one."""
    checked = (1.0,) * n_terms if shares is None else tuple(positive("a share of the prior", one) for one in shares)
    if len(checked) != n_terms or any(share > 1.0 for share in checked):
        raise InputError(f"shares of the prior must be {n_terms} numbers above 0, at most 1")
    return checked


def checked_calibration(metadata: Mapping[str, Any]) -> Calibration:
    """Return the factors, correlations and coverage that were described."""
    factors, correlations, coverage = (metadata[name] for name in ("factors", "correlations", "coverage"))
    if not set(factors) == set(correlations) == set(coverage) <= set(KINDS):
        raise InputError("factors, correlations and coverage of the calibration must be of the same kinds")
    return Calibration(
        {kind: positive(f"factor of {kind}", value) for kind, value in factors.items()},
        {kind: _checks.real(f"correlation of {kind}", value) for kind, value in correlations.items()},
        {kind: _checks.real(f"coverage of {kind}", value) for kind, value in coverage.items()},
        _checks.integer("n_frames", metadata["n_frames"], 1, 1 << 60),
    )


def checked_distances(rows: Sequence[Sequence[Any]], species: Sequence[str]) -> FloatArray:
    """Return the shortest distances of pairs of species; None stands for pairs that are nowhere close."""
    distances = np.array(
        [[np.inf if value is None else positive("a shortest distance", value) for value in row] for row in rows]
    )
    if distances.shape != (len(species), len(species)) or not (distances == distances.T).all():
        raise InputError(f"shortest distances must be symmetric, one for each pair of {len(species)} species")
    return distances


def check_radii(repulsion: RepulsionRadii, species: Sequence[str]) -> None:
    """Raise InputError unless there are two radii for each pair of species."""
    inner, outer = repulsion.inner, repulsion.outer
    shape = (len(species), len(species))
    if inner.shape != shape or outer.shape != shape:
        raise InputError(f"radii of the repulsion must have shape {shape}, got {inner.shape} and {outer.shape}")
    if not ((inner > 0.0) & (inner < outer) & (outer < _LARGEST)).all():
        raise InputError("radii of the repulsion must be above 0, the inner below the outer ones")
    if not (inner == inner.T).all() or not (outer == outer.T).all():
        raise InputError("radii of the repulsion must be symmetric")


def check_terms(terms: Sequence[FittedTerm], species: tuple[str, ...]) -> None:
    """Raise InputError unless each term has a descriptor of these species, and numbers of its length."""
    kinds: dict[Any, Any] = {FittedSoapTerm: SOAP, FittedPairTerm: RadialSpectrum, FittedProductTerm: Products}
    for term in terms:
        kind = kinds[type(term)]
        if type(term.descriptor) is not kind or tuple(term.descriptor.species_) != species:
            raise InputError(f"a term must have a {kind.__name__} of the species {', '.join(species)}")
        positive("prior_factor", term.prior_factor)
        n_features = len(term.descriptor.get_feature_names_out())
        if isinstance(term, FittedSoapTerm):
            check_zeta(term.zeta)
            _check_points(term, n_features)
        elif term.scales.shape != (n_features,) or not (term.scales > 0.0).all():
            raise InputError(f"scales must be {n_features} numbers above 0, got shape {term.scales.shape}")


def _check_points(term: FittedSoapTerm, n_features: int) -> None:
    for k, rows in enumerate(term.points):
        width = n_features
        if term.projections is not None:
            projection = term.projections[k]
            if projection.ndim != 2 or not 0 < len(projection) < projection.shape[1] == n_features:
                raise InputError(f"a projection must have fewer than {n_features} rows of {n_features} numbers")
            if not np.abs(projection @ projection.T - np.eye(len(projection))).max() < _ROUNDING:
                raise InputError("the rows of a projection must be orthonormal")
            width = len(projection)
        if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != width:
            raise InputError(f"sparse points must be rows of {width} features, got shape {rows.shape}")
        squares = np.einsum("ij,ij->i", rows, rows)
        if not (squares < 1.0 + _ROUNDING).all() or (term.projections is None and (squares < 1.0 - _ROUNDING).any()):
            raise InputError("sparse points must be of norm one, or shorter where they are projected")


def check_whitening(whitening: Whitening, terms: Sequence[FittedTerm]) -> None:
    """Raise InputError unless the blocks are what the terms' priors give, but for rounding."""
    blocks = list(whitening.blocks)
    for term in terms:
        if isinstance(term, FittedSoapTerm):
            for kernel in term.kernels():
                _check(bool(blocks) and _whitens(blocks.pop(0), kernel, term.prior_factor))
        else:
            stds = term.blocks()[0].stds  # type: ignore[union-attr]
            block = blocks.pop(0) if blocks else None
            fits = isinstance(block, DiagonalBlock) and block.stds.shape == stds.shape
            _check(fits and np.allclose(block.stds, stds, rtol=_ROUNDING, atol=0.0))  # type: ignore[union-attr]
    _check(not blocks)


def _check(fits: bool) -> None:
    if not fits:
        raise InputError("the whitening does not belong to the sparse points and functions")


def _whitens(block: Block, kernel: FloatArray, std: float) -> bool:
    """Return whether c = W v has the prior covariance std² K⁻¹, for one v."""
    if isinstance(block, DiagonalBlock) or block.n_columns != len(kernel):
        return False
    with one_thread():
        if isinstance(block, TriangularBlock):
            v = np.cos(np.arange(float(len(kernel))))
            left, right = block.upper.T @ (block.upper @ v), kernel @ v
            return bool(block.std == std and np.abs(left - right).max() < _ROUNDING * np.abs(right).max())
        v = np.cos(np.arange(float(block.n_whitened)))
        left, right = block.weights.T @ (kernel @ (block.weights @ v)), std**2 * v
        # Eigenvalues of 1e-12 are known to few digits.
        return bool(np.abs(left - right).max() < 0.1 * std**2)


def check_solution(solution: Solution, whitening: Whitening, weights: FloatArray) -> None:
    """Raise InputError unless the weights are the mean of a posterior that is narrower than the prior."""
    if solution.n_columns != whitening.n_whitened:
        raise InputError(f"the solution must have {whitening.n_whitened} columns, got {solution.n_columns}")
    if weights.shape != (whitening.n_columns,):
        raise InputError(f"weights must be {whitening.n_columns} numbers, got shape {weights.shape}")
    expected = whitening.coefficients(solution.mean)
    if not np.abs(expected - weights).max() <= _ROUNDING * np.abs(weights).max():
        raise InputError("the weights are not those of the solution")
    if not (solution.factor.diagonal() > 1.0 - _ROUNDING).all():
        raise InputError("the diagonal of the solution's factor must be 1 or more")
    with one_thread():
        reciprocal, _ = scipy.linalg.lapack.dtrcon(solution.factor, norm="1", uplo="U")
    if not reciprocal > _LEAST_RECIPROCAL_CONDITION:
        raise InputError("the solution's factor is singular")
