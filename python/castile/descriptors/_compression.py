"""What ``compression`` means: mixtures of species and radial functions, and which products of them are features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from castile import _checks
from castile.errors import InputError, InputTypeError

__all__ = ["Compression", "checked_compression", "tensor_matrices"]

FloatArray = npt.NDArray[np.float64]

_NAMES = ("mu2", "mu1nu1", "crossover")
_MIXING_KEYS = {"species", "radial", "method"}
_TENSOR_KEYS = {"tensor_reduced", "seed"}


@dataclass(frozen=True, eq=False)
class Compression:
    """A checked ``compression``.

    Attributes
    ----------
    products : {"all", "crossover", "mu1nu1", "tensor_reduced"}
        Which products of channels are features.
    species, radial : int, ndarray or None
        Number of mixtures that ``fit`` learns, or the matrix (n_mixtures, n_species or n_max) itself.
    method : {"svd", "cur"}
        How they are learned.
    n_tensor_features, seed : int
        Of "tensor_reduced".
    """

    products: str = "all"
    species: int | FloatArray | None = None
    radial: int | FloatArray | None = None
    method: str = "svd"
    n_tensor_features: int = 0
    seed: int = 0


def checked_compression(compression: Any, n_species: int) -> Compression:
    """Return what ``compression`` asks for.

    Parameters
    ----------
    compression : None, str or mapping
        See :class:`castile.SOAP`.
    n_species : int
    """
    if compression is None:
        return Compression()
    if isinstance(compression, str):
        name = _checks.choice("compression", compression, _NAMES)
        return Compression(species=np.ones((1, n_species))) if name == "mu2" else Compression(products=name)
    if not isinstance(compression, Mapping):
        raise InputTypeError(f"compression must be None, a name or a dict, got {compression!r}")
    keys = set(compression)
    if "tensor_reduced" in keys and keys <= _TENSOR_KEYS:
        return Compression(
            products="tensor_reduced",
            n_tensor_features=_checks.integer("compression['tensor_reduced']", compression["tensor_reduced"], 1),
            seed=_checks.integer("compression['seed']", compression.get("seed", 0), 0),
        )
    if not keys & {"species", "radial"} or not keys <= _MIXING_KEYS:
        raise InputError(
            "compression must be one of 'mu2', 'mu1nu1', 'crossover', {'species': ..., 'radial': ..., 'method': ...} "
            f"or {{'tensor_reduced': n, 'seed': ...}}, got a dict with {sorted(map(str, keys))}"
        )
    return Compression(
        species=_mixtures("species", compression.get("species")),
        radial=_mixtures("radial", compression.get("radial")),
        method=_checks.choice("compression['method']", compression.get("method", "svd"), ("svd", "cur")),
    )


def _mixtures(key: str, value: Any) -> int | FloatArray | None:
    name = f"compression[{key!r}]"
    if value is None:
        return None
    if np.ndim(value) == 0:
        return _checks.integer(name, value, 1)
    matrix = np.array(_checks.real_array(name, value), dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape or not np.isfinite(matrix).all():
        raise InputError(f"{name} must be a number or a matrix of finite numbers, one row per mixture")
    return matrix


def tensor_matrices(n_features: int, seed: int, l_max: int, species: tuple[str, ...], n_max: int) -> FloatArray:
    """Return the random matrices of a tensor-reduced spectrum, (2, l_max + 1, n_features, n_species, n_max).

    Entries are normal with mean zero; their variance makes dot products of rows unbiased estimates of those of the full
    power spectrum. A species has the same numbers whatever the others are.
    """
    shape = (2, l_max + 1, n_features, n_max)
    parts = [np.random.default_rng([seed, atomic_numbers[symbol]]).normal(size=shape) for symbol in species]
    matrices: FloatArray = np.stack(parts, axis=3) / n_features**0.25
    return np.ascontiguousarray(matrices)
