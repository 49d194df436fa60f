"""Kernel matrices of checked rows, computed block by block where that is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from castile import _core
from castile._memory import require_memory
from castile.kernels._groups import GroupedRows
from castile.progress import cut, track

__all__ = ["Block", "DotProduct", "dense_blocks", "kernel_of_rows", "kernel_sums", "rows_per_block"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BLOCK_BYTES = 1 << 25  # of a block's rows made dense, or of their kernels
_BLOCK_PRODUCTS = 1 << 32  # multiplications of a block: a fraction of a second
_LEAST_ROWS = 64


class DotProduct(NamedTuple):
    """The kernel (x · y)^zeta, of rows divided by their norms if ``normalize``."""

    zeta: float
    normalize: bool


class Block(NamedTuple):
    """Whole groups of rows, dense."""

    groups: slice
    rows: FloatArray
    """(n_rows, n_features), C-contiguous."""
    offsets: IntArray
    """(n_groups + 1,), from 0."""


def rows_per_block(n_other: int, n_features: int) -> int:
    """Return how many rows to take at a time for their kernels with ``n_other`` rows."""
    by_memory = _BLOCK_BYTES // (8 * max(n_other, n_features, 1))
    return max(_LEAST_ROWS, min(by_memory, _BLOCK_PRODUCTS // max(n_other * n_features, 1)))


def dense_blocks(side: GroupedRows, length: int, n_groups: int | None = None) -> Iterator[Block]:
    """Yield the first ``n_groups`` (by default all) in blocks of about ``length`` rows."""
    offsets = side.offsets if n_groups is None else side.offsets[: n_groups + 1]
    for first, last in cut(offsets, length):
        rows = side.rows[offsets[first] : offsets[last]]
        dense = np.ascontiguousarray(rows.toarray()) if scipy.sparse.issparse(rows) else rows
        yield Block(slice(first, last), dense, offsets[first : last + 1] - offsets[first])


def kernel_of_rows(
    rows: Any, other: Any, kernel: DotProduct, *, description: str = "kernel", progress: bool = False
) -> FloatArray:
    """Return the kernel matrix of rows that have been checked; mirrored if both are one object.

    The bits of an element depend on its two rows alone.
    """
    left = GroupedRows.one_by_one(rows)
    right = left if other is rows else GroupedRows.one_by_one(other)

    def values(x: Block, y: Block) -> FloatArray:
        return _core.dot_product_kernel(x.rows, y.rows, *kernel)

    return _assemble(left, right, values, description, progress)


def kernel_sums(
    left: GroupedRows,
    right: GroupedRows,
    kernel: DotProduct,
    *,
    description: str = "structure kernel",
    progress: bool = False,
) -> FloatArray:
    """Return the kernel's sums over all pairs of rows of two structures, (left.n_groups, right.n_groups).

    Mirrored if both are one object. The bits of a sum depend on its two structures and their order alone.
    """

    def values(x: Block, y: Block) -> FloatArray:
        return _core.dot_product_kernel_sums(x.rows, x.offsets, y.rows, y.offsets, *kernel)

    return _assemble(left, right, values, description, progress)


def _assemble(
    left: GroupedRows,
    right: GroupedRows,
    function: Callable[[Block, Block], FloatArray],
    description: str,
    progress: bool,
) -> FloatArray:
    """Return the matrix of a function of blocks, which sees a block twice on the diagonal.

    Dense rows are cut only if a bar has to move, since a matrix in one piece need not be copied.
    """
    mirrored = right is left
    n_pairs = left.n_rows * (left.n_rows + 1) // 2 if mirrored else left.n_rows * right.n_rows
    shape = (left.n_groups, right.n_groups)
    require_memory(
        8 * shape[0] * shape[1], f"the {shape[0]} x {shape[1]} kernel matrix", "take fewer rows or structures at a time"
    )
    K = np.empty(shape)
    for x, y in track(_pairs_of_blocks(left, right, progress), n_pairs, description, progress):
        values = function(x, y)
        if values.shape == shape:
            K = values
            continue
        K[x.groups, y.groups] = values
        if mirrored and x is not y:
            K[y.groups, x.groups] = values.T
    return K


def _pairs_of_blocks(
    left: GroupedRows, right: GroupedRows, cut_dense: bool
) -> Iterator[tuple[int, tuple[Block, Block]]]:
    """Yield (pairs of rows, two blocks); of two equal sides the lower half alone."""
    length = rows_per_block(right.n_rows, right.rows.shape[1])
    left_length = length if cut_dense or scipy.sparse.issparse(left.rows) else left.n_rows
    right_length = length if scipy.sparse.issparse(right.rows) else right.n_rows
    for x in dense_blocks(left, left_length):
        if right is not left:
            for y in dense_blocks(right, right_length):
                yield len(x.rows) * len(y.rows), (x, y)
            continue
        for y in dense_blocks(right, right_length, x.groups.start):
            yield len(x.rows) * len(y.rows), (x, y)
        yield len(x.rows) * (len(x.rows) + 1) // 2, (x, x)
