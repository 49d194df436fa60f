"""The derivative of the SOAP kernel with respect to rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from castile.kernels._blocks import DotProduct, dense_blocks, kernel_of_rows, rows_per_block
from castile.kernels._groups import GroupedRows

__all__ = ["PowerKernel"]

FloatArray = npt.NDArray[np.float64]


class PowerKernel:
    """The kernel (x · q)^zeta with given rows q, for its derivative by x.

    Parameters
    ----------
    fitted : ndarray or CSR array of shape (n_fitted, n_features)
        The rows q, checked.
    kernel : DotProduct
        Its power, and whether x and q are divided by their norms.
    """

    def __init__(self, fitted: Any, kernel: DotProduct) -> None:
        self._fitted = fitted
        self._zeta, self._normalize = kernel
        # The core multiplies rows with rows, in an order that batches do not change.
        transposed = fitted.T
        sparse = scipy.sparse.issparse(fitted)
        self._columns = transposed.tocsr() if sparse else np.ascontiguousarray(transposed)
        blocks = dense_blocks(GroupedRows.one_by_one(fitted), rows_per_block(1, fitted.shape[1]))
        norms = [_norms(block.rows) for block in blocks]
        self._inverse_norms = _inverse(np.concatenate(norms)) if self._normalize else np.ones(fitted.shape[0])

    def gradient(self, rows: FloatArray, weights: FloatArray) -> FloatArray:
        """Return the derivative of sum_q weights_q k(x, q) by x.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            The rows x; a row of zeros has none if rows are normalized, and gets zeros.
        weights : ndarray of shape (n_fitted,)

        Returns
        -------
        ndarray of shape (n_rows, n_features)
        """
        scaled = self._zeta * weights * self._inverse_norms
        powers = np.ones((1, len(scaled))) if self._zeta == 1.0 else self._powers(rows)
        v = kernel_of_rows(powers * scaled, self._columns, DotProduct(1.0, False))
        if not self._normalize:
            return np.broadcast_to(v, rows.shape)
        inverse = _inverse(_norms(rows))[:, None]
        directions = rows * inverse
        # np.sum adds each row in an order of its own; a matrix product might not.
        return np.asarray((v - np.sum(directions * v, axis=1, keepdims=True) * directions) * inverse)

    def _powers(self, rows: FloatArray) -> FloatArray:
        """Return (x · q)^(zeta - 1), zero where the kernel counts a negative base as zero."""
        if self._zeta > 1.0:
            return kernel_of_rows(rows, self._fitted, DotProduct(self._zeta - 1.0, self._normalize))
        K, base = (
            kernel_of_rows(rows, self._fitted, DotProduct(power, self._normalize)) for power in (self._zeta, 1.0)
        )
        return np.divide(K, base, out=np.zeros_like(K), where=base > 0.0)


def _norms(rows: FloatArray) -> FloatArray:
    """Return the norms of rows; zero for those without a direction, as in the kernel."""
    largest = np.abs(rows).max(axis=1)
    largest[largest < np.finfo(float).tiny] = 0.0
    # By the largest entry first, so that no square over- or underflows.
    scaled = rows / np.where(largest > 0.0, largest, 1.0)[:, None]
    return np.where(largest > 0.0, largest * np.sqrt(np.sum(scaled * scaled, axis=1)), 0.0)


def _inverse(norms: FloatArray) -> FloatArray:
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
