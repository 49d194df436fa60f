"""From a descriptor's parameters, and what it learned, to those of the compiled core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from castile import _checks, _core
from castile.descriptors._compression import Compression, tensor_matrices
from castile.descriptors._rows import AVERAGES
from castile.descriptors.tabulated import TabulatedBasis
from castile.errors import InputError, InputTypeError, NotFittedError

__all__ = ["Learned", "core_parameters", "expansion_parameters", "number_of_primitives", "species_integers"]

FloatArray = npt.NDArray[np.float64]

# What each density weighting takes beside "function" and "w0"; those that have a default are listed with it.
_WEIGHTINGS: dict[str, dict[str, float | None]] = {
    "poly": {"r0": None, "c": 1.0, "m": None},
    "pow": {"r0": None, "c": 1.0, "d": None, "m": None},
    "exp": {"r0": None, "c": 1.0, "d": None},
    "willatt": {"rate": None, "scale": None, "exponent": None},
}
_HEADS = {
    "all": "power_spectrum",
    "crossover": "crossover_spectrum",
    "mu1nu1": "total_spectrum",
    "tensor_reduced": "tensor_spectrum",
}


@dataclass(frozen=True, eq=False)
class Learned:
    """What ``fit`` found; None for what it was not asked for.

    Attributes
    ----------
    contraction : ndarray of shape (n_species, l_max + 1, n_max, n_primitives)
    species_mixing : ndarray of shape (n_mixtures, n_species)
    radial_mixing : ndarray of shape (n_mixtures, n_max)
    """

    contraction: FloatArray | None = None
    species_mixing: FloatArray | None = None
    radial_mixing: FloatArray | None = None


def core_parameters(descriptor: Any, species: tuple[str, ...], learned: Learned) -> dict[str, Any]:
    """Return the parameters of the compiled descriptor, all checked.

    Parameters
    ----------
    descriptor : DensityDescriptor
    species : tuple of str
    learned : Learned
    """
    compression = descriptor._checked_compression(len(species))
    l_max = descriptor._angular_limit()
    n_max = descriptor._radial_limit()
    tables, table_of_species = _tables(
        descriptor,
        species,
        n_max,
        l_max,
        compression=compression,
        learned=learned,
        primitives=number_of_primitives(descriptor, n_max),
    )
    tensor = None
    if compression.products == "tensor_reduced":
        n_features, seed = compression.n_tensor_features, compression.seed
        tensor = tensor_matrices(n_features, seed, l_max, species, n_max)
    kind = descriptor._kind
    return {
        "kind": _HEADS[compression.products] if kind == "power_spectrum" else kind,
        "n_species": len(species),
        "tables": tables,
        "table_of_species": table_of_species,
        "species_weights": _species_weights(descriptor.species_weights, species),
        "center_weight": _checks.real("center_weight", descriptor.center_weight),
        "species_mixing": _species_mixing(compression, learned, len(species)),
        "tensor_matrices": tensor,
        "product_rule": descriptor._product_rule(species),
        "normalize": _checks.flag("normalize", descriptor.normalize),
        "average": _checks.choice("average", descriptor.average, AVERAGES).removesuffix("_per_species"),
    }


def expansion_parameters(descriptor: Any, species: tuple[str, ...], n_max: int) -> dict[str, Any]:
    """Return those of the coefficients that a descriptor is made of, for ``n_max`` functions that are not combined."""
    l_max = descriptor._angular_limit()
    tables, table_of_species = _tables(
        descriptor, species, n_max, l_max, compression=Compression(), learned=Learned(), primitives=None
    )
    return {
        "kind": "spherical_expansion",
        "n_species": len(species),
        "tables": tables,
        "table_of_species": table_of_species,
        "species_weights": _species_weights(descriptor.species_weights, species),
        "center_weight": _checks.real("center_weight", descriptor.center_weight),
        "species_mixing": None,
        "tensor_matrices": None,
        "product_rule": None,
        "normalize": False,
        "average": "off",
    }


def _tables(
    descriptor: Any,
    species: tuple[str, ...],
    n_max: int,
    l_max: int,
    *,
    compression: Compression,
    learned: Learned,
    primitives: int | None,
) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the different radial tables, and which of them each species has."""
    radial_mixing = _radial_mixing(compression, learned, n_max)
    shared = {
        "n_max": n_max if radial_mixing is None else len(radial_mixing),
        "l_max": l_max,
        "cutoff_function": _checks.choice(
            "cutoff_function", descriptor.cutoff_function, ("cosine", "polynomial", None)
        )
        or "hard",
        "cutoff_width": _checks.positive_length("cutoff_width", descriptor.cutoff_width),
        "density_weighting": _density_weighting(descriptor.density_weighting),
        "accuracy": _checks.real("accuracy", descriptor.accuracy),
    }
    tables: list[dict[str, Any]] = []
    known: dict[Any, int] = {}
    table_of_species = []
    for index, symbol in enumerate(species):
        cutoff = _of_species("cutoff", descriptor.cutoff, symbol, species, _checks.positive_length)
        sigma = _of_species("sigma", descriptor.sigma, symbol, species, _checks.length)
        reach = cutoff
        if descriptor.neighbor_radius is not None:
            reach = _checks.positive_length("neighbor_radius", descriptor.neighbor_radius)
        key = (cutoff, sigma, reach, index if learned.contraction is not None else None)
        if key not in known:
            known[key] = len(tables)
            basis = _radial_basis(descriptor._radial_functions(cutoff), primitives or n_max, l_max)
            contraction = _contraction(
                learned, index, radial_mixing, n_primitives=primitives, n_max=n_max, l_max=l_max
            )
            tables.append(
                {**shared, **basis, "cutoff": cutoff, "sigma": sigma, "reach": reach, "contraction": contraction}
            )
        table_of_species.append(known[key])
    return tables, table_of_species


def _radial_basis(basis: Any, n_max: int, l_max: int) -> dict[str, Any]:
    """Return the name of the radial basis and, if the user gave functions, these."""
    if isinstance(basis, TabulatedBasis):
        return {"radial_basis": "tabulated", "tabulated": basis.core_parameters(n_max, l_max)}
    names = [name for name in _core.radial_basis_names() if name != "tabulated"]
    if not isinstance(basis, str) or basis not in names:
        listed = ", ".join(map(repr, names))
        raise InputError(f"radial_basis must be one of {listed} or a castile.TabulatedBasis, got {basis!r}")
    return {"radial_basis": basis, "tabulated": None}


def number_of_primitives(descriptor: Any, n_max: int) -> int | None:
    """Return how many functions are combined to ``n_max``, None if they are not."""
    if descriptor.n_primitives is None:
        return None
    number = _checks.integer("n_primitives", descriptor.n_primitives, 1)
    if number < n_max:
        raise InputError(f"n_primitives must be n_max ({n_max}) or more, got {number}")
    return number


def _contraction(
    learned: Learned,
    species: int,
    radial_mixing: FloatArray | None,
    *,
    n_primitives: int | None,
    n_max: int,
    l_max: int,
) -> FloatArray | None:
    """Return the combinations (l_max + 1, n_out, n_primitives) that become the table of a species."""
    if n_primitives is not None:
        if learned.contraction is None:
            raise NotFittedError("n_primitives asks for radial functions that fit learns; call fit(frames) first")
        own = learned.contraction[species]
        if own.shape != (l_max + 1, n_max, n_primitives):
            raise NotFittedError(
                "n_max, l_max or n_primitives changed since fit learned the radial functions; call fit again"
            )
        return np.ascontiguousarray(own if radial_mixing is None else radial_mixing @ own)
    if radial_mixing is None:
        return None
    return np.ascontiguousarray(np.broadcast_to(radial_mixing, (l_max + 1, *radial_mixing.shape)))


def _radial_mixing(compression: Compression, learned: Learned, n_max: int) -> FloatArray | None:
    return _mixing("radial", compression.radial, learned.radial_mixing, n_max, "radial function (n_max)")


def _species_mixing(compression: Compression, learned: Learned, n_species: int) -> FloatArray | None:
    return _mixing("species", compression.species, learned.species_mixing, n_species, "species")


def _mixing(
    key: str, wanted: int | FloatArray | None, learned: FloatArray | None, n_columns: int, what: str
) -> FloatArray | None:
    if isinstance(wanted, int):
        if wanted > n_columns:
            raise InputError(
                f"compression[{key!r}] must be at most {n_columns}, one per {what}, got {wanted}"
            )
        if learned is None or learned.shape != (wanted, n_columns):
            raise NotFittedError(
                f"compression[{key!r}] is a number of mixtures that fit learns; call fit(frames) first"
            )
        return learned
    if wanted is not None and wanted.shape[1] != n_columns:
        raise InputError(
            f"compression[{key!r}] must have {n_columns} columns, one per {what}, got shape {wanted.shape}"
        )
    return wanted


def _of_species(name: str, value: Any, symbol: str, species: Sequence[str], check: Any) -> float:
    """Return a length that may differ between species."""
    if not isinstance(value, Mapping):
        return float(check(name, value))
    _check_symbols(name, value)
    if symbol not in value:
        raise InputError(f"{name} must have an entry for each of the species {list(species)}, but lacks {symbol!r}")
    return float(check(f"{name}[{symbol!r}]", value[symbol]))


def _check_symbols(name: str, by_symbol: Mapping[Any, Any]) -> None:
    """Raise for keys that are no element; elements that are not there may have entries."""
    wrong = [key for key in by_symbol if not isinstance(key, str) or key not in atomic_numbers]
    if wrong:
        raise InputError(f"{name} must have chemical symbols for keys, got {wrong}")


def species_integers(name: str, by_symbol: Any, highest: int) -> dict[str, int]:
    """Return integers from 0 to ``highest`` by symbol."""
    if not isinstance(by_symbol, Mapping):
        raise InputTypeError(f"{name} must be None or a dict of integers by symbol, got {by_symbol!r}")
    _check_symbols(name, by_symbol)
    return {symbol: _checks.integer(f"{name}[{symbol!r}]", value, 0, highest) for symbol, value in by_symbol.items()}


def _species_weights(weights: Any, species: Sequence[str]) -> list[float]:
    if weights is None:
        return []
    if not isinstance(weights, Mapping):
        raise InputTypeError(f"species_weights must be None or a dict of numbers by symbol, got {weights!r}")
    _check_symbols("species_weights", weights)
    missing = [symbol for symbol in species if symbol not in weights]
    if missing:
        raise InputError(f"species_weights must have an entry for each species, but lacks {missing}")
    return [_checks.real(f"species_weights[{symbol!r}]", weights[symbol]) for symbol in species]


def _density_weighting(weighting: Any) -> dict[str, Any]:
    """Return the name, all numbers and the weight at the center (or None) of a density weighting."""
    if weighting is None:
        return {"name": "none", "w0": None}
    if not isinstance(weighting, Mapping) or not ("function" in weighting or set(weighting) == {"w0"}):
        raise InputTypeError(
            "density_weighting must be None or a dict with 'function' and its parameters, such as "
            f"{{'function': 'poly', 'r0': 5.0, 'm': 2}}, got {weighting!r}"
        )
    function = "none"
    if "function" in weighting:
        function = _checks.choice("density_weighting['function']", weighting["function"], tuple(_WEIGHTINGS))
    known = _WEIGHTINGS.get(function, {})
    unknown = sorted(set(map(str, weighting)) - set(known) - {"function", "w0"})
    if unknown:
        raise InputError(f"density_weighting of {function!r} takes {sorted(known)} and 'w0', got {unknown} too")
    result: dict[str, Any] = {"name": function, "w0": None}
    for key, default in known.items():
        value = weighting.get(key, default)
        if value is None:
            raise InputError(f"density_weighting of {function!r} needs {key!r}")
        result[key] = _checks.real(f"density_weighting[{key!r}]", value)
    if weighting.get("w0") is not None:
        result["w0"] = _checks.real("density_weighting['w0']", weighting["w0"])
    return result
