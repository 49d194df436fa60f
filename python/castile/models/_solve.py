"""The linear system of kernel ridge regression, solved in place, and its leave-one-out residuals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile.errors import InputError
from castile.progress import track

__all__ = ["solve"]

FloatArray = npt.NDArray[np.float64]

_PANEL = 256  # columns: long enough for the speed of matrix products, short enough for a bar to move


def solve(
    gram: FloatArray,
    y: FloatArray,
    alpha: float,
    weights: FloatArray | None = None,
    *,
    loo: bool = False,
    progress: bool = False,
) -> tuple[FloatArray, FloatArray | None]:
    """Return the coefficients and, if asked for, the leave-one-out residuals; overwrites ``gram``.

    With weights w = s², the system is (S K S + alpha I) c' = S y and c = S c'. Targets of weight zero
    have no part in it: their coefficients are zero, their residuals those of the fit to the others.

    Parameters
    ----------
    gram : ndarray of shape (n_targets, n_targets), C-contiguous
    y : ndarray of shape (n_targets,) or (n_targets, n_outputs)
    alpha : float
    weights : ndarray of shape (n_targets,), optional
    loo, progress : bool

    Raises
    ------
    InputError
        If the matrix is not positive definite.
    """
    targets = y.reshape(len(y), -1)
    roots = np.ones(len(y)) if weights is None else np.sqrt(weights)
    ignored = np.flatnonzero(roots == 0.0)
    of_ignored = gram[ignored].copy()
    if weights is not None:
        gram *= roots[:, None] * roots
    # What is ignored stands on the diagonal alone, with a number that leaves the condition as it is.
    gram.flat[:: len(y) + 1] += np.where(roots > 0.0, alpha, gram.diagonal().max() + alpha)
    _factorize(gram, alpha, progress)
    scaled = scipy.linalg.cho_solve((gram.T, False), roots[:, None] * targets, check_finite=False)
    coefficients = roots[:, None] * scaled
    residuals = None
    if loo:
        diagonal = _diagonal_of_inverse(gram, progress)
        residuals = scaled / (np.where(roots > 0.0, roots, 1.0) * diagonal)[:, None]
        residuals[ignored] = targets[ignored] - of_ignored @ coefficients
        residuals = residuals.reshape(y.shape)
    return coefficients.reshape(y.shape), residuals


def _factorize(matrix: FloatArray, alpha: float, progress: bool) -> None:
    """Replace the lower triangle by the Cholesky factor; warn if the matrix is ill-conditioned."""
    norm = scipy.linalg.lapack.dlange("1", matrix.T)
    advice = (
        "raise alpha, remove equal rows, or check that the kernel is positive semidefinite "
        "(a distance or sigmoid need not be)"
    )
    try:
        _cholesky(matrix, progress)
    except scipy.linalg.LinAlgError as error:
        raise InputError(
            f"alpha is too small: the kernel matrix plus alpha={alpha:g} times one is not positive definite; {advice}"
        ) from error
    # The transposed view is in LAPACK's order.
    reciprocal_condition, _ = scipy.linalg.lapack.dpocon(matrix.T, norm, uplo="U")
    if reciprocal_condition < np.finfo(float).eps:
        warnings.warn(
            f"the kernel matrix plus alpha={alpha:g} is ill-conditioned (1/condition number "
            f"{reciprocal_condition:.1e}), so that the coefficients are uncertain; {advice}",
            scipy.linalg.LinAlgWarning,
            stacklevel=4,
        )


def _cholesky(matrix: FloatArray, progress: bool) -> None:
    """Factorize in place, panel by panel, each from all that stand to its left.

    LAPACK would do it in one call, during which no bar moves and nobody can interrupt.
    """
    n = len(matrix)
    panels = ((own.stop - own.start, own) for own in _panels(n))
    for own in track(panels, n, "factorization", progress):
        below = slice(own.stop, n)
        matrix[own.start :, own] -= matrix[own.start :, : own.start] @ matrix[own, : own.start].T
        matrix[own, own] = scipy.linalg.cholesky(matrix[own, own], lower=True, check_finite=False)
        matrix[below, own] = scipy.linalg.solve_triangular(
            matrix[own, own], matrix[below, own].T, lower=True, check_finite=False
        ).T


def _diagonal_of_inverse(lower: FloatArray, progress: bool) -> FloatArray:
    """Return the diagonal of (L Lᵀ)⁻¹: the sums of squares of the columns of L⁻¹, which replaces L."""
    n = len(lower)
    squares = np.zeros(n)
    # Counted in entries of L⁻¹.
    panels = (((own.stop - own.start) * (own.start + own.stop + 1) // 2, own) for own in _panels(n))
    for own in track(panels, n * (n + 1) // 2, "leave-one-out", progress):
        inverse = np.tril(scipy.linalg.lapack.dtrtri(lower[own, own], lower=1)[0])
        for left in _panels(own.start):
            # L⁻¹ is known from these columns on down to the panel, and L not yet replaced in the panel.
            known = slice(left.start, own.start)
            lower[own, left] = -(inverse @ (lower[own, known] @ lower[known, left]))
        lower[own, own] = inverse
        squares[: own.stop] += np.einsum("ij,ij->j", lower[own, : own.stop], lower[own, : own.stop])
    return squares


def _panels(n: int) -> Iterator[slice]:
    for first in range(0, n, _PANEL):
        yield slice(first, min(first + _PANEL, n))
