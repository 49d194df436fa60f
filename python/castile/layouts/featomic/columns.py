"""Where each entry of featomic's blocks stands among our columns, and the factor between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from castile import _checks
from castile.descriptors import SOAP, RadialSpectrum
from castile.errors import InputError, InputTypeError
from castile.layouts._columns import PairColumns, Sizes, pair_columns, sizes_of
from castile.layouts.featomic.blocks import FeatomicBlock

__all__ = ["BlockColumns", "FeatomicColumns", "featomic_columns"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BlockColumns:
    """The entries of a block, components and properties in one axis.

    Attributes
    ----------
    head, tail : tuple of int
        The block's key, before and after the species of the center.
    components, properties : see :class:`FeatomicBlock`
    columns : ndarray of shape (n_entries,)
        Our column; the same one for two entries where featomic lists n, n' and n', n.
    factors : ndarray of shape (n_entries,)
        Theirs over ours.
    first : ndarray of shape (n_entries,)
        Whether no entry before has the same column.
    telling : ndarray of shape (n,)
        Our columns that are zero for a center that does not see the block's species.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    components: IntArray | None
    properties: IntArray
    columns: IntArray
    factors: npt.NDArray[np.float64]
    first: npt.NDArray[np.bool_]
    telling: IntArray

    @property
    def axes(self) -> tuple[int, ...]:
        """Shape of a row of the block's values."""
        n_properties = (len(self.properties),)
        return n_properties if self.components is None else (len(self.components), *n_properties)

    def require_match(self, key: tuple[int, ...], block: FeatomicBlock) -> None:
        """Raise unless a block has these very components and properties."""
        if self.components is None or block.components is None:
            same = self.components is block.components
        else:
            same = np.array_equal(self.components, block.components)
        if not same or not np.array_equal(self.properties, block.properties):
            raise InputError(
                f"block {key} has other properties or components than the descriptor, whose row of it has shape "
                f"{self.axes}; values have shape {block.values.shape}. Give featomic the parameters that "
                "featomic_parameters(descriptor) returns"
            )


@dataclass(frozen=True, eq=False)
class FeatomicColumns:
    """All blocks that a descriptor's columns make for one center, and their number."""

    sizes: Sizes
    n_columns: int
    blocks: list[BlockColumns]

    def of(self, key: tuple[int, ...]) -> BlockColumns:
        """Return the columns of the block with this key."""
        for block in self.blocks:
            n_head = len(block.head)
            if (key[:n_head], key[n_head + 1 :]) == (block.head, block.tail):
                return block
        raise InputError(
            f"block {key} does not belong to {self.sizes.name} with species {', '.join(self.sizes.species)}, "
            f"n_max={self.sizes.n_max}, l_max={self.sizes.l_max}; make both of the same species and parameters"
        )

    def checked_samples(self, samples: Any) -> npt.NDArray[Any]:
        """Return what the descriptor's ``samples`` returned, unless it is something else."""
        array = np.asarray(samples)
        if array.dtype.names is None or not {"frame", "atom", "species"} <= set(array.dtype.names):
            raise InputTypeError(f"samples must be what {self.sizes.name}.samples(frames) returns, got {samples!r}")
        if (array["atom"] < 0).any():
            raise InputError(
                "samples are averages or points in space, which featomic does not have; use average='off' and atoms"
            )
        return array


def featomic_columns(descriptor: Any) -> FeatomicColumns:
    """List the blocks that belong to a descriptor."""
    sizes = sizes_of(descriptor)
    if sizes.compression is not None:
        raise InputError(f"compression={sizes.compression!r} has no counterpart in featomic; use compression=None")
    area = np.pi * _checks.positive_length("sigma", descriptor.sigma) ** 2
    if isinstance(descriptor, SOAP):
        columns = pair_columns(sizes)
        return FeatomicColumns(sizes, columns.n_columns, list(_pair_blocks(sizes, columns, area)))
    n_columns = int(np.prod(sizes.shape))
    linear = _radial_blocks if isinstance(descriptor, RadialSpectrum) else _coefficient_blocks
    return FeatomicColumns(sizes, n_columns, list(linear(sizes, area)))


def _coefficient_blocks(sizes: Sizes, area: float) -> Iterator[BlockColumns]:
    """Yield the blocks of density coefficients, (πσ²)^(-3/4) c."""
    n = np.arange(sizes.n_max)
    for a, symbol in enumerate(sizes.species):
        isotropic = (a * sizes.n_max + n) * (sizes.l_max + 1) ** 2
        for degree in range(sizes.l_max + 1):
            m = np.arange(-degree, degree + 1)
            columns = (isotropic + (degree * degree + degree + m)[:, None]).ravel()
            yield BlockColumns(
                head=(degree, 1),
                tail=(atomic_numbers[symbol],),
                components=m,
                properties=n[:, None],
                columns=columns,
                factors=np.full(len(columns), area**-0.75),
                first=np.ones(len(columns), dtype=bool),
                telling=isotropic,
            )


def _radial_blocks(sizes: Sizes, area: float) -> Iterator[BlockColumns]:
    """Yield the blocks of a radial spectrum, the coefficients of l = 0 alone and without components."""
    for block in _coefficient_blocks(replace(sizes, l_max=0), area):
        yield replace(block, head=(), components=None)


def _pair_blocks(sizes: Sizes, columns: PairColumns, area: float) -> Iterator[BlockColumns]:
    """Yield the blocks of a power spectrum: p_f = (-1)^l (πσ²)^(-3/2) p, times √2 if a and a' differ."""
    axes = (sizes.l_max + 1, sizes.n_max, sizes.n_max)
    degree, n, k = np.indices(axes).reshape(3, -1)
    column = columns.column()
    for a, first_symbol in enumerate(sizes.species):
        for b in range(a, len(sizes.species)):
            tail = (atomic_numbers[first_symbol], atomic_numbers[sizes.species[b]])
            own = column[a, n, b, k, degree]
            # Our √2 belongs to any two channels that differ, theirs to species alone.
            factors = (-1.0) ** degree * area**-1.5 * np.where((a == b) & (n != k), np.sqrt(0.5), 1.0)
            first = (n <= k) if a == b else np.ones(len(n), dtype=bool)
            yield BlockColumns((), tail, None, np.stack([degree, n, k], axis=1), own, factors, first, telling=own)
