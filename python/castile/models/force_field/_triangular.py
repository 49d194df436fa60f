"""The triangle of a QR factorization that grows row by row, where normal equations lose too many digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _checks
from castile._memory import require_memory
from castile.errors import InputError, InputTypeError
from castile.models.force_field._blas import check_matrix, check_vector, one_thread
from castile.models.force_field._noise import KINDS, check_noise, require_kind
from castile.models.force_field._solution import Solution

__all__ = ["TriangularState"]

FloatArray = npt.NDArray[np.float64]

_ROWS = 256  # taken in at a time
_INNER = 64  # columns of a block of reflections


class TriangularState:
    """Triangle R of the QR factorization of all whitened rows and targets, divided by their noise.

    The posterior of :class:`NormalEquations` without the squares: it loses as many digits as the condition number
    of R has, the root of that of I + H. The price is a noise that cannot be changed, and two to four times the work.

    Parameters
    ----------
    n_columns : int
        Number of whitened columns.
    noise : mapping
        Standard deviation above zero by kind.
    kinds : sequence of str, default=("energy", "force", "stress")

    Notes
    -----
    Memory: one matrix (n_columns, n_columns) and some 512 rows; one matrix more while solving. The same
    pieces give the same bits on any number of threads; other pieces agree to rounding.
    """

    def __init__(self, n_columns: int, noise: Mapping[str, float], kinds: Sequence[str] = KINDS) -> None:
        self.n_columns = _checks.integer("n_columns", n_columns, 1)
        self.kinds = tuple(kinds)
        self.noise = check_noise(noise, self.kinds, {kind: int(kind in noise) for kind in self.kinds})
        self.n_rows = dict.fromkeys(self.kinds, 0)
        require_memory(8 * self.n_columns**2, "the triangle", "take fewer sparse points or functions")
        self._triangle: FloatArray = np.zeros((self.n_columns, self.n_columns), order="F")
        self._right: FloatArray = np.zeros((self.n_columns, 1), order="F")  # what the reflections make of the targets
        self._rest = 0.0  # squared, of targets that no coefficients reach

    def add(self, kind: str, rows: Any, targets: Any) -> None:
        """Take in rows and targets, as :meth:`NormalEquations.add` does."""
        require_kind(kind, self.kinds)
        if kind not in self.noise:
            raise InputError(f"noise has no standard deviation for {kind!r}; make the state with one")
        rows = check_matrix("rows", rows, self.n_columns)
        targets = check_vector("targets", targets, len(rows))
        with one_thread():
            for first in range(0, len(rows), _ROWS):
                part = slice(first, min(first + _ROWS, len(rows)))
                block = np.divide(rows[part], self.noise[kind], order="F")
                self._rest += _take_in(self._triangle, self._right, block, targets[part] / self.noise[kind])
        self.n_rows[kind] += len(rows)

    def merge(self, other: TriangularState) -> None:
        """Take in all rows that another state has seen; it stays as it is."""
        if not isinstance(other, TriangularState):
            raise InputTypeError(f"other must be a TriangularState, got {type(other).__name__}")
        if other is self:
            raise InputError("other must be another state: merging with itself would count every row twice")
        if (other.n_columns, other.kinds, other.noise) != (self.n_columns, self.kinds, self.noise):
            raise InputError("states must be of the same columns, kinds and noise")
        with one_thread():
            for first in range(0, self.n_columns, _ROWS):
                part = slice(first, min(first + _ROWS, self.n_columns))
                block = other._triangle[part].copy(order="F")
                self._rest += _take_in(self._triangle, self._right, block, other._right[part, 0])
        self._rest += other._rest
        for kind, n in other.n_rows.items():
            self.n_rows[kind] += n

    def solve(self, precision: FloatArray | None = None) -> Solution:
        """Return the posterior of the whitened coefficients, of any condition number.

        Parameters
        ----------
        precision : ndarray of shape (n_columns,), optional
            Of the prior, as for :meth:`NormalEquations.solve`.
        """
        precision = np.ones(self.n_columns) if precision is None else precision
        require_memory(self._triangle.nbytes, "the solution", "take fewer sparse points or functions")
        n = self.n_columns
        with one_thread():
            factor, right, rest = self._triangle.copy(order="F"), self._right.copy(order="F"), self._rest
            # The prior's rows come last: reflections keep small rows exact where large ones came before.
            for first in range(0, n, _ROWS):
                block = np.zeros((min(_ROWS, n - first), n), order="F")
                block[np.arange(len(block)), first + np.arange(len(block))] = np.sqrt(precision[first : first + _ROWS])
                rest += _take_in(factor, right, block, np.zeros(len(block)))
            signs = np.sign(factor.diagonal())
            factor *= signs[:, None]
            right = signs * right[:, 0]
            mean = scipy.linalg.solve_triangular(factor, right, check_finite=False)
            # As that of normal equations, of a matrix with a unit diagonal.
            scales = np.sqrt(np.einsum("ij,ij->j", factor, factor))
            factor /= scales
            reciprocal, _ = scipy.linalg.lapack.dtrcon(factor, norm="1", uplo="U", diag="N")
            factor *= scales
        noise = {kind: self.noise[kind] for kind in self.kinds if self.n_rows[kind] > 0}
        twice = rest + 2.0 * float(np.log(factor.diagonal()).sum()) - float(np.log(precision).sum())
        twice += sum(self.n_rows[kind] * np.log(2.0 * np.pi * sigma**2) for kind, sigma in noise.items())
        return Solution(mean, factor, float(-0.5 * twice), float(reciprocal) ** -2, noise)


def _take_in(triangle: FloatArray, right: FloatArray, block: FloatArray, targets: FloatArray) -> float:
    """Replace R by that of the QR factorization of R on top of more rows, which are overwritten.

    The right side follows in place; returns the square of what is left of the targets.
    """
    inner = min(_INNER, len(triangle))
    below = np.array(targets[:, None], order="F")
    _, reflections, factors, _ = scipy.linalg.lapack.dtpqrt(0, inner, triangle, block, overwrite_a=1, overwrite_b=1)
    scipy.linalg.lapack.dtpmqrt(0, reflections, factors, right, below, trans="T", overwrite_a=1, overwrite_b=1)
    return float(below[:, 0] @ below[:, 0])
