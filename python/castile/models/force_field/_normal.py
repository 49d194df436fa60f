"""Normal equations that grow row by row, and can be solved for any noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _checks
from castile._memory import require_memory
from castile.errors import InputError, InputTypeError
from castile.models.force_field._blas import check_matrix, check_vector, one_thread
from castile.models.force_field._checkpoint import read_checkpoint, write_checkpoint
from castile.models.force_field._noise import KINDS, check_noise, require_kind
from castile.models.force_field._solution import LARGEST_CONDITION, IllConditionedError, Solution
from castile.models.force_field._sums import KindSums

__all__ = ["IllConditionedError", "NormalEquations", "Solution"]

FloatArray = npt.NDArray[np.float64]

_PANEL = 128  # columns that are worked on at a time, where a temporary is needed


class NormalEquations:
    """Sums over whitened rows Φ and targets y by kind, from which any noise can be chosen afterwards.

    With v from a unit normal distribution and y = Φ v plus noise of standard deviation sigma by kind, the posterior
    of v is normal, with covariance (I + H)⁻¹ and mean (I + H)⁻¹ b, where H = Σ Φ'Φ / sigma² and b = Σ Φ'y / sigma².

    Parameters
    ----------
    n_columns : int
        Number of whitened columns.
    kinds : sequence of str, default=("energy", "force", "stress")
        Kinds of rows, each with a noise of its own.

    Attributes
    ----------
    notes : dict
        Whatever JSON can hold; kept in pickles and checkpoints, for instance how many frames have been seen.

    Notes
    -----
    Memory: one matrix (n_columns, n_columns) and 512 rows for each kind that has rows; one matrix more while solving.

    BLAS runs on one thread, and rows are summed in blocks of 512 whatever pieces they come in. So the same rows, in the
    same order by kind, give the same bits on any number of threads and for any size of the pieces; pickles and
    checkpoints in between change nothing. Solving in between, or merging, shifts the blocks: then whatever the
    data determine agrees to rounding, 1e-16 times the condition number of I + H in the coefficients, and far better
    in predictions of what resembles the rows.
    """

    def __init__(self, n_columns: int, kinds: Sequence[str] = KINDS) -> None:
        self.n_columns = _checks.integer("n_columns", n_columns, 1)
        self.kinds = tuple(kinds)
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError(f"kinds must be different names, at least one, got {self.kinds}")
        self.notes: dict[str, Any] = {}
        self._sums: dict[str, KindSums] = {}

    @property
    def n_rows(self) -> dict[str, int]:
        """Number of rows of each kind."""
        return {kind: self._sums[kind].n_rows if kind in self._sums else 0 for kind in self.kinds}

    def add(self, kind: str, rows: Any, targets: Any) -> None:
        """Take in rows and targets, whitened, and divided by what is special to a row (its weight's inverse).

        Parameters
        ----------
        kind : str
        rows : array-like of shape (n, n_columns)
            Not copied if it is a C-ordered float64 array, except up to 511 rows that wait for more.
        targets : array-like of shape (n,)

        Raises
        ------
        InputError
            For an unknown kind, wrong shapes, and numbers that are not finite; the sums are then as before.
        """
        require_kind(kind, self.kinds)
        rows = check_matrix("rows", rows, self.n_columns)
        targets = check_vector("targets", targets, len(rows))
        if len(rows) == 0:
            return
        with one_thread():
            self._of(kind).add(rows, targets)

    def merge(self, other: NormalEquations) -> None:
        """Take in all rows that another state has seen; it stays as it is."""
        if not isinstance(other, NormalEquations):
            raise InputTypeError(f"other must be NormalEquations, got {type(other).__name__}")
        if other is self:
            raise InputError("other must be another state: merging with itself would count every row twice")
        if (other.n_columns, other.kinds) != (self.n_columns, self.kinds):
            raise InputError(
                f"states must be of the same columns and kinds, got {self.n_columns} of {self.kinds} and "
                f"{other.n_columns} of {other.kinds}"
            )
        with one_thread():
            for kind, sums in list(other._sums.items()):
                self._of(kind).merge(sums)

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """Return a new state that has seen the rows of both, with the notes of the first."""
        both = NormalEquations(self.n_columns, self.kinds)
        both.merge(self)
        both.merge(other)
        both.notes = dict(self.notes)
        return both

    def solve(self, noise: Mapping[str, float], precision: FloatArray | None = None) -> Solution:
        """Return the posterior of the whitened coefficients.

        Parameters
        ----------
        noise : mapping
            Standard deviation above zero of each kind that has rows, in units of its targets.
        precision : ndarray of shape (n_columns,), optional
            Of the prior, P: one or more, for coefficients whose prior is narrower than a unit normal distribution. What
            is said of I here holds for its diagonal matrix then.

        Raises
        ------
        InputError
            For a noise of unknown kinds, none for a kind with rows, or one that is not above zero.
        IllConditionedError
            If the condition number of I + H is estimated above 1e15; :class:`TriangularState` takes the same rows.
        """
        sigmas = check_noise(noise, self.kinds, self.n_rows)
        with one_thread():
            precision = np.ones(self.n_columns) if precision is None else precision
            factor, condition = self._factorized(sigmas, precision)
            moments = [self._sums[kind].moment / sigma**2 for kind, sigma in sigmas.items()]
            right = np.sum(moments, axis=0) if moments else np.zeros(self.n_columns)
            mean, _ = scipy.linalg.lapack.dpotrs(factor, right, lower=0)
            misfit = sum(self._misfits(mean, sigmas).values()) + float(mean @ (precision * mean))
        twice = misfit + 2.0 * float(np.log(factor.diagonal()).sum()) - float(np.log(precision).sum())
        twice += sum(self._sums[kind].n_rows * np.log(2.0 * np.pi * sigma**2) for kind, sigma in sigmas.items())
        return Solution(mean, factor, float(-0.5 * twice), condition, sigmas)

    def log_evidence(self, noise: Mapping[str, float]) -> float:
        """Return the logarithm of the marginal likelihood of all targets, as :meth:`solve` does."""
        return self.solve(noise).log_evidence

    def log_evidence_gradient(self, noise: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        """Return the logarithm of the marginal likelihood, and its derivatives with respect to log(sigma) by kind.

        They vanish where sigma² = |y - Φ m|² / (n - γ) for each kind, with γ = tr[(I + H)⁻¹ Φ'Φ] / sigma²
        the number of coefficients that its rows determine. Costs three solutions.
        """
        solution = self.solve(noise)
        sigmas = solution.noise
        gradient = {}
        with one_thread():
            misfits = self._misfits(solution.mean, sigmas)
            inverse, _ = scipy.linalg.lapack.dpotri(solution.factor, lower=0, overwrite_c=1)
            for kind, sigma in sigmas.items():
                determined = _trace_of_product(inverse, self._sums[kind].gram) / sigma**2
                gradient[kind] = misfits[kind] + determined - self._sums[kind].n_rows
        return solution.log_evidence, gradient

    def save(self, path: str | Path) -> None:
        """Write a checkpoint, an ``.npz`` file without pickles that appears under its name when complete.

        Raises
        ------
        FileWriteError
            If the file cannot be written; one that was there before is as it was.
        """
        arrays = ((f"{kind}/{name}", a) for kind, sums in self._sums.items() for name, a in sums.to_arrays().items())
        metadata = {"n_columns": self.n_columns, "kinds": self.kinds, "seen": list(self._sums), "notes": self.notes}
        write_checkpoint(path, metadata, arrays)

    @classmethod
    def load(cls, path: str | Path) -> NormalEquations:
        """Read what :meth:`save` wrote; FileReadError if it is damaged, cut off, or something else."""

        def make(metadata: dict[str, Any], arrays: dict[str, Any]) -> NormalEquations:
            state = cls(metadata["n_columns"], metadata["kinds"])
            state.notes = dict(metadata["notes"])
            for kind in metadata["seen"]:
                require_kind(kind, state.kinds)
                names = [name for name in arrays if name.rpartition("/")[0] == kind]
                own = {name.rpartition("/")[2]: arrays.pop(name) for name in names}
                state._sums[kind] = KindSums.from_arrays(own, state.n_columns)
            return state

        return read_checkpoint(path, make)

    def _of(self, kind: str) -> KindSums:
        if kind not in self._sums:
            n_bytes = 8 * self.n_columns**2
            require_memory(n_bytes, f"the sums over {kind} rows", "take fewer sparse points or functions")
            self._sums[kind] = KindSums(self.n_columns)
        return self._sums[kind]

    def _factorized(self, sigmas: Mapping[str, float], precision: FloatArray) -> tuple[FloatArray, float]:
        """Return the upper triangle R with R'R = P + H, and the condition number of that, scaled to a unit diagonal.

        Sums and factorization have errors that are in proportion to the roots of both diagonal elements, so that the
        scale of the columns does not matter: Higham, Accuracy and Stability of Numerical Algorithms (2002), section
        10.1.
        """
        require_memory(8 * self.n_columns**2, "the solution", "take fewer sparse points or functions")
        matrix = np.zeros((self.n_columns, self.n_columns), order="F")
        for kind, sigma in sigmas.items():
            self._sums[kind].fold()
            for columns in _panels(self.n_columns):
                matrix[:, columns] += self._sums[kind].gram[:, columns] * sigma**-2
        matrix.flat[:: self.n_columns + 1] += precision
        scales = np.sqrt(matrix.diagonal())
        for columns in _panels(self.n_columns):
            matrix[:, columns] /= scales[:, None] * scales[columns]
        norm = _one_norm(matrix)
        factor, info = scipy.linalg.lapack.dpotrf(matrix, lower=0, clean=1, overwrite_a=1)
        reciprocal = scipy.linalg.lapack.dpocon(factor, norm, uplo="U")[0] if info == 0 else 0.0
        if not reciprocal * LARGEST_CONDITION >= 1.0:
            estimate = f"{1.0 / reciprocal:.1e}" if reciprocal > 0.0 else "infinite"
            raise IllConditionedError(
                f"the normal equations cannot be solved in double precision (condition number {estimate}, at most "
                f"{LARGEST_CONDITION:.0e}); raise the noise, narrow the prior, or use a triangular factorization"
            )
        factor *= scales
        return factor, float(1.0 / reciprocal)

    def _misfits(self, mean: FloatArray, sigmas: Mapping[str, float]) -> dict[str, float]:
        """Return |y - Φ m|² / sigma² by kind."""
        # At the minimum an error of m enters in second order only, unlike in y'y - b'm.
        misfits = {}
        for kind, sigma in sigmas.items():
            sums = self._sums[kind]
            product = scipy.linalg.blas.dsymv(1.0, sums.gram, mean, lower=0)
            square = sums.square - 2.0 * float(sums.moment @ mean) + float(mean @ product)
            misfits[kind] = max(square, 0.0) / sigma**2
        return misfits


def _panels(n_columns: int) -> list[slice]:
    return [slice(first, min(first + _PANEL, n_columns)) for first in range(0, n_columns, _PANEL)]


def _one_norm(matrix: FloatArray) -> float:
    """Return the largest sum of absolute values of a column; the upper triangle is given, zeros below."""
    sums = -np.abs(matrix.diagonal())
    for columns in _panels(len(matrix)):
        values = np.abs(matrix[:, columns])
        sums += values.sum(axis=1)
        sums[columns] += values.sum(axis=0)
    return float(sums.max())


def _trace_of_product(a: FloatArray, b: FloatArray) -> float:
    """Return tr(A B) of two symmetric matrices; the upper triangles are given, zeros below in one of them."""
    halves = sum(float(np.vdot(a[:, columns], b[:, columns])) for columns in _panels(len(a)))
    return 2.0 * halves - float(a.diagonal() @ b.diagonal())
