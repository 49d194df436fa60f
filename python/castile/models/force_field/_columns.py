"""Blocks of columns, and how the prior of their coefficients becomes a unit normal distribution."""

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
from castile.models.force_field._blas import divide_rows, one_thread, pack, unpack

__all__ = ["Block", "DiagonalBlock", "EigenBlock", "TriangularBlock", "describe", "kernel_block", "positive", "restore"]

FloatArray = npt.NDArray[np.float64]

_JITTER = 1e-10  # of the mean diagonal
_ABOVE_JITTER = 16.0  # times the jitter: what a point adds to those before it, if it adds anything
_DROP = 1e-12  # of the largest eigenvalue


@dataclass(frozen=True, eq=False)
class TriangularBlock:
    """Coefficients c = std U⁻¹ v of a kernel, with U'U = K_MM plus jitter.

    Attributes
    ----------
    upper : ndarray of shape (n_columns, n_columns), Fortran-ordered
    std : float
        Prior standard deviation of the function at a point whose kernel with itself is one.
    """

    upper: FloatArray
    std: float

    @property
    def n_columns(self) -> int:
        """Number of sparse points."""
        return len(self.upper)

    @property
    def n_whitened(self) -> int:
        """As many."""
        return len(self.upper)

    @property
    def rank(self) -> int:
        """Number of points that those before them do not explain up to the jitter.

        Duplicates do not count; of points that several others explain together, a few may.
        """
        jitter = _JITTER * float(np.einsum("ij,ij->", self.upper, self.upper)) / len(self.upper)
        return int(np.count_nonzero(self.upper.diagonal() ** 2 > _ABOVE_JITTER * jitter))

    def whiten(self, panel: FloatArray) -> FloatArray:
        """Return rows A W of a panel of rows A, which may be overwritten."""
        divide_rows(panel, self.upper)
        panel *= self.std
        return panel

    def coefficients(self, v: FloatArray) -> FloatArray:
        """Return W v for v of shape (n_whitened, k)."""
        return np.asarray(self.std * scipy.linalg.solve_triangular(self.upper, v, check_finite=False))


@dataclass(frozen=True, eq=False)
class EigenBlock:
    """Coefficients c = std Q Λ^(-1/2) v of a kernel with the leading eigenvectors Q of K_MM.

    Attributes
    ----------
    weights : ndarray of shape (n_columns, n_whitened)
        std Q Λ^(-1/2).
    """

    weights: FloatArray

    @property
    def n_columns(self) -> int:
        """Number of sparse points."""
        return int(self.weights.shape[0])

    @property
    def n_whitened(self) -> int:
        """Number of eigenvectors that were kept."""
        return int(self.weights.shape[1])

    @property
    def rank(self) -> int:
        """As many."""
        return self.n_whitened

    def whiten(self, panel: FloatArray) -> FloatArray:
        """Return rows A W of a panel of rows A."""
        return np.asarray(panel @ self.weights)

    def coefficients(self, v: FloatArray) -> FloatArray:
        """Return W v for v of shape (n_whitened, k)."""
        return np.asarray(self.weights @ v)


class DiagonalBlock:
    """Coefficients c = std v, each with a standard deviation of its own.

    Parameters
    ----------
    stds : array-like of shape (n_columns,)
        Above zero.
    """

    def __init__(self, stds: Any) -> None:
        self.stds: FloatArray = np.array(_checks.finite_array("stds", stds), dtype=np.float64)
        if self.stds.ndim != 1 or not (self.stds > 0.0).all():
            raise InputError("stds must hold one prior standard deviation above 0 for each column")

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.stds)

    @property
    def n_whitened(self) -> int:
        """As many."""
        return len(self.stds)

    @property
    def rank(self) -> int:
        """As many."""
        return len(self.stds)

    def whiten(self, panel: FloatArray) -> FloatArray:
        """Return rows A W of a panel of rows A."""
        return panel * self.stds

    def coefficients(self, v: FloatArray) -> FloatArray:
        """Return W v for v of shape (n_whitened, k)."""
        return self.stds[:, None] * v


Block = TriangularBlock | EigenBlock | DiagonalBlock


def kernel_block(K: Any, std: float) -> TriangularBlock | EigenBlock:
    """Whiten the coefficients of a kernel, whose prior precision is K_MM / std².

    By the Cholesky factor of K_MM with 1e-10 of its mean diagonal added, which duplicate points do not harm. If that
    fails, since K_MM is rounded to less than those ten digits, by the eigenvectors of K_MM whose eigenvalue is at
    least 1e-12 of the largest: then there are fewer whitened columns than sparse points.

    Parameters
    ----------
    K : array-like of shape (n_points, n_points)
        Kernel of the sparse points; the upper triangle is used.
    std : float
        Above zero.

    Raises
    ------
    InputError
        If the kernel is not square, not finite, or has no eigenvalue above zero.

    Notes
    -----
    Memory: two matrices of the size of K, three with eigenvectors.
    """
    std = positive("std", std)
    K = _checks.finite_array("K", K)
    if K.ndim != 2 or K.shape[0] != K.shape[1] or len(K) == 0:
        raise InputError(f"K must be a square matrix of at least one sparse point, got shape {K.shape}")
    require_memory(3 * 8 * K.size, f"whitening of {len(K)} sparse points", "take fewer sparse points")
    upper = np.array(K, dtype=np.float64, order="F")
    diagonal = upper.diagonal().mean()
    upper.flat[:: len(K) + 1] += _JITTER * diagonal
    with one_thread():
        upper, info = scipy.linalg.lapack.dpotrf(upper, lower=0, clean=1, overwrite_a=1)
        if info == 0:
            return TriangularBlock(upper, std)
        values, vectors = scipy.linalg.eigh(K, lower=False, check_finite=False)
    kept = values > max(_DROP * values[-1], 0.0)
    if not kept.any():
        raise InputError("K must be positive semidefinite and not zero: it has no eigenvalue above 0")
    return EigenBlock(np.asfortranarray(vectors[:, kept][:, ::-1] * (std / np.sqrt(values[kept][::-1]))))


def describe(block: Block) -> tuple[dict[str, Any], FloatArray]:
    """Return what :func:`restore` takes: metadata that JSON can hold, and an array."""
    if isinstance(block, TriangularBlock):
        return {"kind": "triangular", "n_columns": block.n_columns, "std": block.std}, pack(block.upper)
    if isinstance(block, EigenBlock):
        return {"kind": "eigenvectors"}, block.weights
    return {"kind": "diagonal"}, block.stds


def restore(entry: Mapping[str, Any], array: FloatArray) -> Block:
    """Make the block that :func:`describe` described; InputError if that cannot be."""
    array = np.asarray(_checks.finite_array("arrays", array), dtype=np.float64)
    if entry["kind"] == "diagonal":
        return DiagonalBlock(array)
    if entry["kind"] == "eigenvectors":
        if array.ndim != 2 or not 1 <= array.shape[1] <= array.shape[0]:
            raise InputError(f"eigenvectors must be the columns of a matrix, got shape {array.shape}")
        return EigenBlock(np.asfortranarray(array))
    if entry["kind"] != "triangular":
        raise InputError(f"a block is triangular, eigenvectors or diagonal, got {entry['kind']!r}")
    upper = unpack(array, _checks.integer("n_columns", entry["n_columns"], 1))
    if not (upper.diagonal() > 0.0).all():
        raise InputError("the diagonal of a triangular block must be above 0")
    return TriangularBlock(upper, positive("std", entry["std"]))


def positive(name: str, value: Any) -> float:
    """Return a number above zero as float."""
    number = _checks.real(name, value)
    if number <= 0.0:
        raise InputError(f"{name} must be a number above 0, got {value!r}")
    return number
