"""Rows, Jacobians and strain gradients from featomic's blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from castile._memory import require_memory
from castile.errors import InputError
from castile.layouts.featomic.blocks import FeatomicBlock, FeatomicGradient, plain_blocks
from castile.layouts.featomic.columns import BlockColumns, FeatomicColumns, featomic_columns

__all__ = ["from_featomic", "jacobian_from_featomic", "strain_from_featomic"]

IntArray = npt.NDArray[np.int64]


def from_featomic(tensor: Any, descriptor: Any, samples: Any) -> npt.NDArray[Any]:
    """Convert featomic's blocks to rows; the inverse of :func:`to_featomic`.

    Parameters
    ----------
    tensor : metatensor.TensorMap, or dict of FeatomicBlock
        What featomic's calculator returned.
    descriptor : SphericalExpansion, RadialSpectrum or SOAP
        With the species and parameters that it was made with; see :func:`featomic_parameters`.
    samples : structured array of shape (n_rows,)
        The rows to fill: what ``descriptor.samples(frames)`` returns. Centers that are not among them are left out.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        Zero where no block has values.

    Raises
    ------
    InputError
        If the blocks are not those of the descriptor.
    """
    layout = featomic_columns(descriptor)
    samples = layout.checked_samples(samples)
    result = np.zeros((len(samples), layout.n_columns))
    for row, block, columns in _matched(tensor, layout, samples):
        values = _first_entries(block.values, 1, columns)
        kept = row >= 0
        result[np.ix_(row[kept], columns.columns[columns.first])] = values[kept]
    return result


def jacobian_from_featomic(tensor: Any, descriptor: Any, samples: Any, atom_offsets: Any) -> npt.NDArray[Any]:
    """Convert featomic's gradients by positions to our dense Jacobian.

    Parameters
    ----------
    tensor, descriptor, samples
        As for :func:`from_featomic`; the calculator was asked for ``gradients=["positions"]``.
    atom_offsets : array of shape (n_frames + 1,)
        The atoms of frame ``f`` are ``atom_offsets[f]:atom_offsets[f + 1]``, as in :class:`castile.Jacobian`.

    Returns
    -------
    ndarray of shape (n_rows, n_atoms, 3, n_features)
        As ``descriptor.jacobian(frames).to_dense()``.

    Raises
    ------
    InputError
        If the blocks are not those of the descriptor, or have no such gradients.
    MemoryLimitError
        If the result does not fit into memory.
    """
    layout = featomic_columns(descriptor)
    samples = layout.checked_samples(samples)
    offsets = np.asarray(atom_offsets, dtype=np.int64)
    shape = (len(samples), int(offsets[-1]), 3, layout.n_columns)
    require_memory(8 * int(np.prod(shape, dtype=object)), "the dense Jacobian", "take fewer frames or samples")
    result = np.zeros(shape)
    for block_row, block, columns in _matched(tensor, layout, samples):
        gradient = _require_gradient(block, "positions")
        row = block_row[gradient.samples[:, 0]]
        moving = offsets[gradient.samples[:, 1]] + gradient.samples[:, 2]
        values = _first_entries(gradient.values, 2, columns)
        kept = row >= 0
        target = columns.columns[columns.first]
        result[row[kept, None, None], moving[kept, None, None], np.arange(3)[:, None], target] = values[kept]
    return result


def strain_from_featomic(tensor: Any, descriptor: Any, samples: Any) -> npt.NDArray[Any]:
    """Convert featomic's gradients by strain to ours.

    Featomic moves one entry of the strain at a time; our strain is symmetric, and its gradient the symmetric part.

    Parameters
    ----------
    tensor, descriptor, samples
        As for :func:`from_featomic`; the calculator was asked for ``gradients=["strain"]``.

    Returns
    -------
    ndarray of shape (n_rows, 3, 3, n_features)
        As ``descriptor.jacobian(frames).strain``.

    Raises
    ------
    InputError
        If the blocks are not those of the descriptor, or have no such gradients.
    """
    layout = featomic_columns(descriptor)
    samples = layout.checked_samples(samples)
    result = np.zeros((len(samples), 3, 3, layout.n_columns))
    for block_row, block, columns in _matched(tensor, layout, samples):
        gradient = _require_gradient(block, "strain")
        row = block_row[gradient.samples[:, 0]]
        values = _first_entries(gradient.values, 3, columns)
        kept = row >= 0
        xyz = np.arange(3)
        target = columns.columns[columns.first]
        result[row[kept, None, None, None], xyz[:, None, None], xyz[:, None], target] = values[kept]
    symmetric: npt.NDArray[Any] = (result + result.swapaxes(1, 2)) / 2
    return symmetric


def _matched(
    tensor: Any, layout: FeatomicColumns, samples: npt.NDArray[Any]
) -> Iterator[tuple[IntArray, FeatomicBlock, BlockColumns]]:
    """Yield the rows of each block's samples (-1 if not asked for), the block, and its columns."""
    row_of = {(int(sample["frame"]), int(sample["atom"])): row for row, sample in enumerate(samples)}
    for key, block in plain_blocks(tensor).items():
        columns = layout.of(key)
        columns.require_match(key, block)
        rows = [row_of.get((int(system), int(atom)), -1) for system, atom in block.samples]
        yield np.array(rows, dtype=np.int64), block, columns


def _first_entries(values: npt.NDArray[Any], n_leading: int, columns: BlockColumns) -> npt.NDArray[Any]:
    """Return our values of those entries that are the first of their column, in one last axis."""
    flat = values.reshape(*values.shape[:n_leading], len(columns.columns))
    scaled: npt.NDArray[Any] = flat[..., columns.first] / columns.factors[columns.first]
    return scaled


def _require_gradient(block: FeatomicBlock, name: str) -> FeatomicGradient:
    if name not in block.gradients:
        raise InputError(f"the blocks have no gradients by {name}; compute them with gradients=[{name!r}]")
    return block.gradients[name]
