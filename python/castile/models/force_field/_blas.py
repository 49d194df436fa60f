"""Triangles on the right of rows, by BLAS on one thread, and how triangles are stored.

Rows are C-ordered, one per target; their transpose is what LAPACK, which counts columns first, calls a matrix. A
triangle is Fortran-ordered, upper, with zeros below, so that neither has to be copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _checks
from castile._blas_threads import one_thread
from castile.errors import InputError

__all__ = ["PANEL", "check_matrix", "check_vector", "divide_rows", "one_thread", "pack", "panels", "unpack"]

FloatArray = npt.NDArray[np.float64]

# Rows go through BLAS in panels of one shape, filled up with zeros: what happens to a row depends neither on how many
# others there are, nor on its place (OpenBLAS treats columns alike in multiples of 48).
PANEL = 48
_BLOCK = 128  # columns of the triangle: the rest is matrix products, which are faster than triangular solves


def panels(n_rows: int) -> Iterator[slice]:
    """Yield the slices of at most ``PANEL`` rows."""
    for first in range(0, n_rows, PANEL):
        yield slice(first, min(first + PANEL, n_rows))


def divide_rows(panel: FloatArray, upper: FloatArray) -> None:
    """Replace the rows x of a panel, (PANEL, n), by x U⁻¹."""
    n = len(upper)
    for first in range(0, n, _BLOCK):
        own = slice(first, min(first + _BLOCK, n))
        part = panel[:, own] - panel[:, :first] @ upper[:first, own]
        panel[:, own] = scipy.linalg.blas.dtrsm(
            1.0, upper[own, own], part.T, side=0, lower=0, trans_a=1, overwrite_b=1
        ).T


def pack(upper: FloatArray) -> FloatArray:
    """Return the n (n + 1) / 2 entries of a triangle, column by column."""
    packed, _ = scipy.linalg.lapack.dtrttp(upper, uplo="U")
    return np.asarray(packed)


def unpack(packed: FloatArray, n: int) -> FloatArray:
    """Return the triangle whose entries are given, Fortran-ordered, with zeros below."""
    if packed.shape != (n * (n + 1) // 2,):
        raise InputError(f"a triangle of {n} columns has {n * (n + 1) // 2} entries, got shape {packed.shape}")
    upper, _ = scipy.linalg.lapack.dtpttr(n, packed, uplo="U")
    for column in range(n):
        upper[column + 1 :, column] = 0.0
    return np.asfortranarray(upper)


def check_matrix(name: str, value: Any, n_columns: int) -> FloatArray:
    """Return finite rows as a C-ordered float64 array, copied only if they are not."""
    rows = np.ascontiguousarray(_checks.finite_array(name, value), dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != n_columns:
        raise InputError(f"{name} must have shape (n_rows, {n_columns}), got {rows.shape}")
    return rows


def check_vector(name: str, value: Any, length: int) -> FloatArray:
    """Return finite numbers as a float64 array of one axis."""
    vector = np.ascontiguousarray(_checks.finite_array(name, value), dtype=np.float64)
    if vector.shape != (length,):
        raise InputError(f"{name} must have shape ({length},), got {vector.shape}")
    return vector
