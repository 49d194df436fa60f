"""Checks of scalar parameters, with messages that name the parameter and the remedy."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from castile.errors import CastileError, InputError, InputTypeError

_LARGEST_INTEGER = 10**6  # of sizes that the core counts with 32 bits; it has closer limits of its own

_PRECISIONS: dict[str, tuple[type, ...]] = {"float64": (float, np.float64), "float32": (np.float32,)}

# How other libraries call the same thing.
_SYNONYMS = {
    "rcut": "cutoff",
    "r_cut": "cutoff",
    "rc": "cutoff",
    "radius": "cutoff",
    "interaction_cutoff": "cutoff",
    "nmax": "n_max",
    "max_radial": "n_max",
    "lmax": "l_max",
    "max_angular": "l_max",
    "atom_sigma": "sigma",
    "gaussian_sigma_constant": "sigma",
    "atomic_gaussian_width": "sigma",
    "rbf": "radial_basis",
    "cutoff_smooth_width": "cutoff_width",
    "cutoff_transition_width": "cutoff_width",
    "center_atom_weight": "center_weight",
    "central_weight": "center_weight",
    "elements": "species",
    "symbols": "species",
    "normalise": "normalize",
    "weighting": "density_weighting",
    "species_weighting": "species_weights",
}


class CheckedParameters:
    """Mixin of estimators, before ``BaseEstimator``: ``set_params`` raises our error for what does not exist."""

    def set_params(self, **parameters: Any) -> Any:
        """Change parameters.

        Parameters
        ----------
        **parameters
            Those of ``__init__``, stored as they are and checked when they are used.

        Returns
        -------
        self

        Raises
        ------
        InputError
            For a name that does not exist; nothing is changed then.
        """
        known = self.get_params()  # type: ignore[attr-defined]
        reject_unknown([name for name in parameters if name not in known], known, type(self).__name__, InputError)
        return super().set_params(**parameters)  # type: ignore[misc]


def reject_unknown(
    unknown: Iterable[str], known: Iterable[str], owner: str, kind: type[CastileError] = InputTypeError
) -> None:
    """Raise for names of parameters that do not exist, with the name that was probably meant."""
    for name in unknown:
        meant = _SYNONYMS.get(name.lower())
        if meant is None and name not in _SYNONYMS.values():  # l_max, where there is none, is no slip for n_max
            meant = next(iter(difflib.get_close_matches(name, list(known), n=1)), None)
        hint = f"; did you mean {meant}?" if meant in set(known) else ""
        raise kind(f"{owner} has no parameter {name!r}{hint}")


def real(name: str, value: Any, unit: str = "") -> float:
    """Return a finite real number as float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(f"{name} must be a number{unit}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # of an integer
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} must be a finite number{unit}, got {value!r}")
    return number


def positive_length(name: str, value: Any) -> float:
    """Return a positive length in Å."""
    number = real(name, value, " in Å")
    if number <= 0.0:
        raise InputError(f"{name} must be a positive length in Å, got {value!r}")
    return number


def length(name: str, value: Any) -> float:
    """Return a length in Å that may be zero."""
    number = real(name, value, " in Å")
    if number < 0.0:
        raise InputError(f"{name} must be a length in Å of 0 or more, got {value!r}")
    return number


def real_array(name: str, value: Any) -> Any:
    """Return an array of real numbers, of the dtype that it has."""
    if value is None:  # which NumPy turns into NaN
        raise InputTypeError(f"{name} must hold real numbers, got None")
    try:
        array = np.asarray(value)
        if array.dtype == object:
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"{name} must hold real numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise InputTypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def finite_array(name: str, value: Any) -> Any:
    """Return an array of finite real numbers, of the dtype that it has."""
    array = real_array(name, value)
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()  # quicker than a look at each entry
    if not np.isfinite(total) and not np.isfinite(array).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{name} must be finite, but {name}{list(place)} is {array[place]}")
    return array


def integer(name: str, value: Any, lowest: int, highest: int = _LARGEST_INTEGER) -> int:
    """Return an integer that is not below ``lowest``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputTypeError(f"{name} must be an integer, got {value!r}")
    if value < lowest:
        raise InputError(f"{name} must be {lowest} or more, got {value}")
    if int(value) > highest:
        raise InputError(f"{name} must be at most {highest}, got {value}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return a truth value."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputTypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def precision(name: str, value: Any) -> str:
    """Return the name of float64 or float32, given as such, as a type or as a NumPy dtype."""
    if isinstance(value, np.dtype) and value.isnative:
        value = value.type
    for known, types in _PRECISIONS.items():
        if (isinstance(value, str) and value == known) or any(value is own for own in types):
            return known
    raise InputError(f"{name} must be one of 'float64', 'float32' or the types of NumPy, got {value!r}")


def choice(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return one of the allowed values."""
    options = list(allowed)
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        listed = ", ".join(repr(option) for option in options)
        raise InputError(f"{name} must be one of {listed}, got {value!r}")
    return value
