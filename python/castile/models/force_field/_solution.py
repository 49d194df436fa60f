"""The posterior distribution of whitened coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _checks
from castile._memory import require_memory
from castile.errors import InputError
from castile.models.force_field._blas import (
    PANEL,
    check_matrix,
    check_vector,
    divide_rows,
    one_thread,
    pack,
    panels,
    unpack,
)

__all__ = ["LARGEST_CONDITION", "IllConditionedError", "Solution"]

FloatArray = npt.NDArray[np.float64]

LARGEST_CONDITION = 1e15
"""Of I + H, scaled to a unit diagonal: beyond, its Cholesky factor is noise where the data say little."""


class IllConditionedError(InputError):
    """Normal equations cannot be solved in double precision; triangular factorization of the rows can."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Whitened coefficients v given all rows: normal, with mean m and covariance (R'R)⁻¹.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,)
    factor : ndarray of shape (n_columns, n_columns), Fortran-ordered
        Upper triangle R with R'R = I + H.
    log_evidence : float
        Logarithm of the marginal likelihood of the targets.
    condition : float
        Estimate of the condition number of I + H, scaled to a unit diagonal.
    noise : dict
        Standard deviation of the noise by kind.
    """

    mean: FloatArray
    factor: FloatArray
    log_evidence: float
    condition: float
    noise: dict[str, float]

    @property
    def n_columns(self) -> int:
        """Number of whitened coefficients."""
        return len(self.mean)

    def effective_rank(self, precision: FloatArray) -> float:
        """Return how many coefficients the data determine: the trace of (P + H)⁻¹ H, for the precision P of the prior.

        MacKay, Neural Comput. 4, 415 (1992), doi:10.1162/neco.1992.4.3.415.
        """
        with one_thread():
            inverse, _ = scipy.linalg.lapack.dtrtri(self.factor, lower=0)
        return float(self.n_columns - np.einsum("ij,ij,i->", inverse, inverse, precision))

    def standard_deviations(self, rows: Any) -> FloatArray:
        """Return the standard deviation of Φ v for each whitened row Φ, without noise.

        Parameters
        ----------
        rows : array-like of shape (n, n_columns)

        Returns
        -------
        ndarray of shape (n,)

        Notes
        -----
        Memory: the result and 48 rows. The bits of a row's value do not depend on the other rows.
        """
        rows = check_matrix("rows", rows, self.n_columns)
        squares = np.empty(len(rows))
        with one_thread():
            for panel in panels(len(rows)):
                divided = self._divided(rows[panel])
                squares[panel] = np.einsum("ij,ij->i", divided, divided)[: panel.stop - panel.start]
        return np.sqrt(squares)

    def covariance(self, rows: Any, other: Any = None) -> FloatArray:
        """Return the covariance of Φ v between whitened rows, without noise.

        Parameters
        ----------
        rows : array-like of shape (n, n_columns)
        other : array-like of shape (m, n_columns), optional
            By default the rows themselves; the result is then symmetric.

        Returns
        -------
        ndarray of shape (n, m)

        Notes
        -----
        Memory: the result, both sets of rows, and 96 rows.
        """
        left = self._all_divided(check_matrix("rows", rows, self.n_columns))
        right = left if other is None else self._all_divided(check_matrix("other", other, self.n_columns))
        require_memory(8 * len(left) * len(right), "the covariance matrix", "take fewer rows at a time")
        result = np.empty((len(left), len(right)))
        with one_thread():
            for own in panels(len(left)):
                for theirs in panels(own.stop if other is None else len(right)):
                    result[own, theirs] = _product(left[own], right[theirs])
                    if other is None and own != theirs:
                        result[theirs, own] = result[own, theirs].T
        return result

    def sample(self, n: int, seed: int = 0) -> FloatArray:
        """Draw whitened coefficients.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int, default=0

        Returns
        -------
        ndarray of shape (n, n_columns)
            For one seed, fewer draws are the first of more up to rounding.
        """
        n = _checks.integer("n", n, 1)
        rng = np.random.default_rng(_checks.integer("seed", seed, 0))
        draws = rng.standard_normal((n, self.n_columns))
        with one_thread():  # the transposed view is in LAPACK's order
            draws = scipy.linalg.blas.dtrsm(1.0, self.factor, draws.T, side=0, lower=0, overwrite_b=1).T
        draws += self.mean
        return np.asarray(draws)

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """Return what :meth:`from_arrays` takes: metadata that JSON can hold, and arrays by name."""
        numbers = {"log_evidence": self.log_evidence, "condition": self.condition, "noise": dict(self.noise)}
        return numbers, {"mean": self.mean, "factor": pack(self.factor)}

    @classmethod
    def from_arrays(cls, metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> Solution:
        """Make the solution that :meth:`to_arrays` described; InputError if that cannot be."""
        try:
            mean = check_vector("mean", arrays["mean"], len(arrays["mean"]))
            packed = np.asarray(_checks.finite_array("factor", arrays["factor"]), dtype=np.float64)
            noise = {str(kind): _checks.real(kind, sigma) for kind, sigma in metadata["noise"].items()}
            evidence, condition = (_checks.real(name, metadata[name]) for name in ("log_evidence", "condition"))
            solution = cls(mean, unpack(packed, len(mean)), evidence, condition, noise)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"metadata and arrays do not describe a solution: {error!r}") from error
        if not (solution.factor.diagonal() > 0.0).all():
            raise InputError("the diagonal of the factor must be above 0")
        return solution

    def _divided(self, rows: FloatArray) -> FloatArray:
        """Return Φ R⁻¹ in a panel of full length."""
        panel = np.zeros((PANEL, self.n_columns))
        panel[: len(rows)] = rows
        divide_rows(panel, self.factor)
        return panel

    def _all_divided(self, rows: FloatArray) -> FloatArray:
        require_memory(8 * rows.size, "the rows of a covariance", "take fewer rows at a time")
        divided = np.empty(rows.shape)
        with one_thread():
            for panel in panels(len(rows)):
                divided[panel] = self._divided(rows[panel])[: panel.stop - panel.start]
        return divided


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return left · right' by a product of one shape, so that an element depends on its two rows alone."""
    a, b = np.zeros((2, PANEL, left.shape[1]))
    a[: len(left)], b[: len(right)] = left, right
    return np.asarray((a @ b.T)[: len(left), : len(right)])
