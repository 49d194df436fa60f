"""What each column of a descriptor stands for, and the checks that all conversions share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from castile import _checks
from castile.descriptors import SOAP, RadialSpectrum, SphericalExpansion
from castile.errors import InputError, InputTypeError

__all__ = [
    "PairColumns",
    "Sizes",
    "checked_rows",
    "flattened",
    "floating",
    "kind_of",
    "pair_columns",
    "sizes_of",
    "sizes_of_soap",
]

IntArray = npt.NDArray[np.int64]

_KINDS: tuple[type, ...] = (SOAP, SphericalExpansion, RadialSpectrum)


@dataclass(frozen=True)
class Sizes:
    """Parameters that the columns of a descriptor depend on."""

    name: str
    species: tuple[str, ...]
    n_max: int
    l_max: int
    is_radial: bool
    compression: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes of what is linear in the density."""
        lengths = (len(self.species), self.n_max)
        return lengths if self.is_radial else (*lengths, (self.l_max + 1) ** 2)

    @property
    def axes(self) -> str:
        """Names of these axes."""
        return "(species, n)" if self.is_radial else "(species, n, lm)"


def kind_of(descriptor: Any) -> type:
    """Return which of the classes that the conversions know a descriptor is."""
    for kind in _KINDS:
        if isinstance(descriptor, kind):
            return kind
    known = ", ".join(kind.__name__ for kind in _KINDS)
    raise InputTypeError(f"descriptor must be one of castile's {known}, got {descriptor!r}")


def sizes_of(descriptor: Any) -> Sizes:
    """Read a descriptor's parameters, checked; mixtures stand in the place of species."""
    kind = kind_of(descriptor)
    species = descriptor._species_or_raise()
    core = descriptor._core(species)
    compression = descriptor.compression
    if isinstance(compression, Mapping) and "tensor_reduced" in compression:
        raise InputError(f"compression={compression!r} has random columns, which are no tensor of species")
    if kind is not SOAP or not isinstance(compression, str):
        compression = None  # what is left is a number of channels
    return Sizes(
        name=kind.__name__,
        species=species if compression is not None else tuple(descriptor._channel_names(species, core)),
        n_max=core.n_max,
        l_max=descriptor._angular_limit(),
        is_radial=kind is RadialSpectrum,
        compression=compression,
    )


def sizes_of_soap(descriptor: Any, library: str) -> Sizes:
    """Read the parameters of a power spectrum; ``library`` stands in the message for anything else."""
    if not isinstance(descriptor, SOAP):
        raise InputTypeError(f"descriptor must be a castile.SOAP, all that {library} has, got {descriptor!r}")
    return sizes_of(descriptor)


@dataclass(frozen=True, eq=False)
class PairColumns:
    """Columns of a power spectrum, as places in the flattened tensor.

    Attributes
    ----------
    axes : str
        Names of the tensor's axes.
    shape : tuple of int
        Their lengths.
    place : ndarray of shape (n_columns,)
        Where the column's product stands.
    mirror : ndarray of shape (n_columns,)
        Where the same product stands with its factors swapped; ``place`` itself if that is no other element.
    """

    axes: str
    shape: tuple[int, ...]
    place: IntArray
    mirror: IntArray

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.place)

    @property
    def twice(self) -> npt.NDArray[np.bool_]:
        """Whether a column stands for two elements, and so carries √2."""
        return np.not_equal(self.place, self.mirror)

    def column(self) -> IntArray:
        """Return the column of every element of the tensor, shape ``shape``."""
        column = np.empty(self.shape, dtype=np.int64)
        column.ravel()[self.place] = column.ravel()[self.mirror] = np.arange(self.n_columns)
        return column


def pair_columns(sizes: Sizes) -> PairColumns:
    """List the columns of a power spectrum: block of species by block, then l, n, n'."""
    lengths = {"species": len(sizes.species), "n": sizes.n_max, "l": sizes.l_max + 1}
    axes = {None: ("species", "n", "species", "n", "l"), "mu2": ("n", "n", "l")}
    names = axes.get(sizes.compression, ("species", "n", "n", "l"))
    shape = tuple(lengths[name] for name in names)
    blocks = list(_blocks(sizes))
    place = [np.ravel_multi_index(element, shape) for element, _ in blocks]
    mirror = [np.ravel_multi_index(element, shape) for _, element in blocks]
    return PairColumns(f"({', '.join(names)})", shape, np.concatenate(place), np.concatenate(mirror))


def _blocks(sizes: Sizes) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield the elements of each block of species and their mirror images, as indices of the tensor."""
    species = range(len(sizes.species))
    n, k, degree = _radial_pairs(sizes, half=sizes.compression != "mu1nu1")
    if sizes.compression == "mu2":
        yield (n, k, degree), (k, n, degree)
    elif sizes.compression == "mu1nu1":  # of one species with all: the factors differ in kind, and do not swap
        for a in species:
            yield (a, n, k, degree), (a, n, k, degree)
    elif sizes.compression == "crossover":
        for a in species:
            yield (a, n, k, degree), (a, k, n, degree)
    else:
        all_n, all_k, all_degree = _radial_pairs(sizes, half=False)
        for a in species:
            yield (a, n, a, k, degree), (a, k, a, n, degree)
            for b in species[a + 1 :]:
                yield (a, all_n, b, all_k, all_degree), (b, all_k, a, all_n, all_degree)


def _radial_pairs(sizes: Sizes, half: bool) -> tuple[IntArray, IntArray, IntArray]:
    """Return n, n' and l of one block, n' fastest; only n <= n' if ``half``."""
    n, k = np.triu_indices(sizes.n_max) if half else np.indices((sizes.n_max, sizes.n_max)).reshape(2, -1)
    n_degrees = sizes.l_max + 1
    return np.tile(n, n_degrees), np.tile(k, n_degrees), np.repeat(np.arange(n_degrees), len(n))


def checked_rows(X: Any, n_columns: int, sizes: Sizes) -> npt.NDArray[Any]:
    """Return an array of floating-point numbers whose last axis holds the columns of a descriptor."""
    if sp.issparse(X):
        raise InputTypeError("X is sparse; the conversions take dense arrays, such as X.toarray()")
    array = floating("X", X)
    if array.ndim == 0 or array.shape[-1] != n_columns:
        raise InputError(
            f"X must have {n_columns} columns in its last axis, those of {sizes.name} with species "
            f"{', '.join(sizes.species)}, n_max={sizes.n_max}, l_max={sizes.l_max}"
            f"{'' if sizes.compression is None else f', compression={sizes.compression!r}'}; got shape {array.shape}"
        )
    return array


def flattened(array: Any, shape: tuple[int, ...], axes: str) -> npt.NDArray[Any]:
    """Return an array of floating-point numbers with its last axes, which must be the given ones, made one."""
    given = floating("array", array)
    n_leading = given.ndim - len(shape)
    if n_leading < 0 or given.shape[n_leading:] != shape:
        raise InputError(f"array must end in the axes {axes} of shape {shape}, got shape {given.shape}")
    return given.reshape(*given.shape[:n_leading], int(np.prod(shape)))


def floating(name: str, value: Any) -> npt.NDArray[Any]:
    """Return an array of floating-point numbers, of the precision that it has."""
    array: npt.NDArray[Any] = _checks.real_array(name, value)
    return array if array.dtype.kind == "f" else array.astype(np.float64)
