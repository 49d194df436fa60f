"""Coordinates in which the prior of all coefficients is a unit normal distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _checks
from castile.errors import InputError
from castile.models.force_field._blas import PANEL, check_matrix, one_thread, panels
from castile.models.force_field._columns import (
    Block,
    DiagonalBlock,
    EigenBlock,
    TriangularBlock,
    describe,
    kernel_block,
    restore,
)

__all__ = ["DiagonalBlock", "EigenBlock", "TriangularBlock", "Whitening", "kernel_block"]

FloatArray = npt.NDArray[np.float64]


class Whitening:
    """Coefficients c = W v of a model, block by block, with v from a unit normal distribution.

    What is linear in c, A c, is Φ v with the whitened rows Φ = A W.

    Parameters
    ----------
    blocks : sequence of TriangularBlock, EigenBlock or DiagonalBlock
        In the order of the columns; :func:`kernel_block` makes those of kernels.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        if not blocks:
            raise InputError("blocks must hold at least one block of columns")
        self.blocks = tuple(blocks)

    @property
    def n_columns(self) -> int:
        """Number of coefficients."""
        return sum(block.n_columns for block in self.blocks)

    @property
    def n_whitened(self) -> int:
        """Number of whitened columns, at most ``n_columns``."""
        return sum(block.n_whitened for block in self.blocks)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Estimate of the rank of each block, at most its number of whitened columns."""
        return tuple(block.rank for block in self.blocks)

    def whiten(self, rows: Any, out: FloatArray | None = None) -> FloatArray:
        """Return A W for rows A.

        Parameters
        ----------
        rows : array-like of shape (n, n_columns)
        out : ndarray of shape (n, n_whitened), optional
            Where to write; may be ``rows`` themselves if no block has lost columns.

        Returns
        -------
        ndarray of shape (n, n_whitened); ``out`` if it was given

        Notes
        -----
        Memory: the result, unless ``out`` is given, and 48 rows. The bits of a row do not depend on the others.
        """
        rows = check_matrix("rows", rows, self.n_columns)
        shape = (len(rows), self.n_whitened)
        if out is None:
            out = np.empty(shape)
        if out.shape != shape or out.dtype != np.float64:
            raise InputError(f"out must be a float64 array of shape {shape}, got {out.dtype} of shape {out.shape}")
        with one_thread():
            for panel in panels(len(rows)):
                self._whiten(rows[panel], out[panel])
        return out

    def _whiten(self, rows: FloatArray, out: FloatArray) -> None:
        rows = rows.copy() if self.n_whitened < self.n_columns and np.may_share_memory(rows, out) else rows
        first = start = 0
        for block in self.blocks:
            panel = np.zeros((PANEL, block.n_columns))
            panel[: len(rows)] = rows[:, first : first + block.n_columns]
            out[:, start : start + block.n_whitened] = block.whiten(panel)[: len(rows)]
            first += block.n_columns
            start += block.n_whitened

    def coefficients(self, v: Any) -> FloatArray:
        """Return W v.

        Parameters
        ----------
        v : array-like of shape (n_whitened,) or (n_whitened, k)

        Returns
        -------
        ndarray of shape (n_columns,) or (n_columns, k)
        """
        v = np.asarray(_checks.finite_array("v", v), dtype=np.float64)
        if v.ndim not in (1, 2) or len(v) != self.n_whitened:
            raise InputError(f"v must have shape ({self.n_whitened},) or ({self.n_whitened}, k), got {v.shape}")
        ends = np.cumsum([block.n_whitened for block in self.blocks])
        parts = np.split(v.reshape(len(v), -1), ends[:-1])
        with one_thread():
            c = np.concatenate([block.coefficients(part) for block, part in zip(self.blocks, parts, strict=True)])
        return c.reshape(-1, *v.shape[1:])

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """Return what :meth:`from_arrays` takes: metadata that JSON can hold, and arrays by name."""
        described = [describe(block) for block in self.blocks]
        arrays = {f"block_{number}": array for number, (_, array) in enumerate(described)}
        return {"blocks": [entry for entry, _ in described]}, arrays

    @classmethod
    def from_arrays(cls, metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> Whitening:
        """Make the whitening that :meth:`to_arrays` described; InputError if that cannot be."""
        try:
            kinds = list(metadata["blocks"])
            return cls([restore(entry, arrays[f"block_{number}"]) for number, entry in enumerate(kinds)])
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"metadata and arrays do not describe a whitening: {error!r}") from error
