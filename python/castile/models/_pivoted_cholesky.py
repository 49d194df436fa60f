"""Rows that span a kernel matrix best, one after the other, without the matrix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile._memory import require_memory
from castile.kernels._blocks import DotProduct, kernel_of_rows
from castile.progress import track

__all__ = ["pivoted_cholesky"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BATCH = 256  # candidates: some dozens of them become pivots, enough for the speed of matrix products
_ROUNDING = 1e-12  # relative to the largest diagonal entry: what is left below it is noise


def pivoted_cholesky(items: FloatArray, count: int, zeta: float, *, unit: bool, progress: bool) -> IntArray:
    """Choose the pivots of a Cholesky factorization of the kernel matrix (x · y)^zeta.

    The next pivot is the row whose residual diagonal is the largest: whose kernel with itself is explained
    least by those that have been chosen. The candidates with the largest residuals are factorized among
    themselves, and give pivots while the best of them is not below the largest residual of any other row.
    As residuals never grow, these are the pivots of the plain algorithm, one at a time; but their columns
    are computed together, by matrix products.

    Parameters
    ----------
    items : ndarray of shape (n_rows, n_columns), C-contiguous
    count : int
        Pivots to choose, at most.
    zeta : float
    unit : bool
        Whether every row that is not zero has the norm one, so that the first pivots do not depend on how
        its square was rounded.
    progress : bool

    Returns
    -------
    ndarray of shape (n_pivots,)
        Fewer than ``count`` if what is left is rounding, below 1e-12 of the largest diagonal entry.

    Notes
    -----
    Memory: the factor, 8 * count * n_rows bytes, and some 256 rows of that length.
    """
    n_rows = len(items)
    require_memory(
        8 * n_rows * (count + 2 * _BATCH),
        f"the factor of {count} pivots for {n_rows} rows",
        "choose fewer, or from a random part of the rows",
    )
    if not unit:
        items = items / max(np.abs(items).max(), np.finfo(float).tiny)  # no square overflows
    squares = np.einsum("ij,ij->i", items, items)
    residuals = np.where(squares > 0.0, 1.0, 0.0) if unit else squares**zeta
    factor = np.empty((count, n_rows))
    batches = _batches(items, residuals, factor, DotProduct(zeta, False))
    found = list(track(batches, count, "pivots", progress))
    return np.concatenate([np.empty(0, dtype=np.int64), *found])


def _batches(
    items: FloatArray, residuals: FloatArray, factor: FloatArray, kernel: DotProduct
) -> Iterator[tuple[int, IntArray]]:
    """Yield (number, pivots) of each batch, and fill the rows of the factor; overwrites the residuals."""
    floor = _ROUNDING * residuals.max()
    n_done, count = 0, len(factor)
    while n_done < count:
        order = np.argsort(-residuals, kind="stable")
        candidates = order[:_BATCH]
        outside = residuals[order[_BATCH]] if len(order) > _BATCH else 0.0
        known = factor[:n_done]
        block = kernel_of_rows(items[candidates], items[candidates], kernel)
        block -= known[:, candidates].T @ known[:, candidates]
        np.fill_diagonal(block, residuals[candidates])
        picks, triangle = _pivots(block, outside, floor, count - n_done)
        if len(picks) == 0:
            return
        pivots = candidates[picks]
        columns = kernel_of_rows(items[pivots], items, kernel)
        columns -= known[:, pivots].T @ known
        new = slice(n_done, n_done + len(pivots))
        # The transposed view is in BLAS's order: X U = columns' in place.
        factor[new] = scipy.linalg.blas.dtrsm(1.0, triangle, columns.T, side=1, lower=0, overwrite_b=1).T
        residuals -= np.einsum("ij,ij->j", factor[new], factor[new])
        residuals[pivots] = -1.0  # below any residual: not again
        n_done = new.stop
        yield len(pivots), pivots


def _pivots(block: FloatArray, outside: float, floor: float, count: int) -> tuple[list[int], FloatArray]:
    """Return the pivots of a small matrix that are the pivots of the whole, and the triangle U of U'U among them."""
    left = block.diagonal().copy()
    rows = np.empty_like(block)
    picks: list[int] = []
    while len(picks) < min(count, len(block)):
        best = int(left.argmax())
        if left[best] <= floor or left[best] < outside:
            break
        n = len(picks)
        rows[n] = (block[best] - rows[:n, best] @ rows[:n]) / np.sqrt(left[best])
        left -= rows[n] ** 2
        picks.append(best)
        left[picks] = -1.0
    return picks, np.triu(rows[: len(picks)][:, picks])
