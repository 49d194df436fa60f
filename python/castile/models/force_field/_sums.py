"""What a fit needs to know of all rows of one kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile.models.force_field._blas import pack, unpack

__all__ = ["KindSums"]

FloatArray = npt.NDArray[np.float64]

_BLOCK = 512  # rows


class KindSums:
    """Sums over rows Φ and targets y of one kind, at unit noise.

    Rows are taken in blocks of 512, counted from the first one, whatever pieces they come in: those that do not fill
    a block yet wait. So the bits of the sums depend on the rows and their order alone, until :meth:`fold` is called.

    Parameters
    ----------
    n_columns : int
    gram : ndarray, optional
        To begin with; by default zero.

    Attributes
    ----------
    gram : ndarray of shape (n_columns, n_columns), Fortran-ordered
        Φ'Φ in the upper triangle; what stands below is never read.
    moment : ndarray of shape (n_columns,)
        Φ'y.
    square : float
        y'y.
    n_rows : int
        Rows seen, those that wait among them.
    waiting, waiting_targets : ndarrays of shape (512, n_columns) and (512,)
        Rows and targets, of which the first ``n_waiting`` are not in the sums yet.
    """

    def __init__(self, n_columns: int, gram: FloatArray | None = None) -> None:
        self.gram: FloatArray = np.zeros((n_columns, n_columns), order="F") if gram is None else gram
        self.moment: FloatArray = np.zeros(n_columns)
        self.square = 0.0
        self.n_rows = 0
        self.waiting: FloatArray = np.empty((_BLOCK, n_columns))
        self.waiting_targets: FloatArray = np.empty(_BLOCK)
        self.n_waiting = 0

    def add(self, rows: FloatArray, targets: FloatArray) -> None:
        """Take in rows, (n, n_columns), and targets, (n,)."""
        self.n_rows += len(rows)
        first = 0
        while first < len(rows):
            if self.n_waiting == 0 and len(rows) - first >= _BLOCK:
                self._sum(rows[first : first + _BLOCK], targets[first : first + _BLOCK])
                first += _BLOCK
                continue
            n = min(_BLOCK - self.n_waiting, len(rows) - first)
            place = slice(self.n_waiting, self.n_waiting + n)
            self.waiting[place] = rows[first : first + n]
            self.waiting_targets[place] = targets[first : first + n]
            self.n_waiting += n
            first += n
            if self.n_waiting == _BLOCK:
                self.fold()

    def fold(self) -> None:
        """Take the rows that wait into the sums."""
        n, self.n_waiting = self.n_waiting, 0
        if n > 0:
            self._sum(self.waiting[:n], self.waiting_targets[:n])

    def merge(self, other: KindSums) -> None:
        """Take in all rows that another has seen; it stays as it is."""
        self.gram += other.gram
        self.moment += other.moment
        self.square += other.square
        self.n_rows += other.n_rows - other.n_waiting
        self.add(other.waiting[: other.n_waiting], other.waiting_targets[: other.n_waiting])

    def to_arrays(self) -> dict[str, Any]:
        """Return all of it as arrays, of the matrix one triangle; they share memory with the sums."""
        n = self.n_waiting
        return {
            "gram": pack(self.gram),
            "moment": self.moment,
            "square": np.array(self.square),
            "n_rows": np.array(self.n_rows),
            "waiting": self.waiting[:n],
            "waiting_targets": self.waiting_targets[:n],
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any], n_columns: int) -> KindSums:
        """Make what :meth:`to_arrays` gave anew; ValueError if it cannot be."""
        n = len(arrays["waiting_targets"])
        if n >= _BLOCK or arrays["waiting"].shape != (n, n_columns) or arrays["moment"].shape != (n_columns,):
            raise ValueError("shapes do not fit each other")
        if any(values.dtype.kind not in "fi" or not np.isfinite(values).all() for values in arrays.values()):
            raise ValueError("numbers are not finite")
        sums = cls(n_columns, unpack(arrays["gram"], n_columns))
        sums.moment[:] = arrays["moment"]
        sums.square = float(arrays["square"])
        sums.n_rows = int(arrays["n_rows"])
        sums.waiting[:n] = arrays["waiting"]
        sums.waiting_targets[:n] = arrays["waiting_targets"]
        sums.n_waiting = n
        return sums

    def __getstate__(self) -> dict[str, Any]:
        return self.to_arrays()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(KindSums.from_arrays(state, len(state["moment"])).__dict__)

    def _sum(self, rows: FloatArray, targets: FloatArray) -> None:
        # The transposed view of C-ordered rows is in BLAS's order.
        scipy.linalg.blas.dsyrk(1.0, rows.T, beta=1.0, c=self.gram, trans=0, lower=0, overwrite_c=1)
        self.moment += rows.T @ targets
        self.square += float(targets @ targets)
