r"""Stresses and virials: shapes, symmetry, sign and units.

A virial here is that of GAP and most extended-XYZ files: minus volume times stress, in eV, with ASE's stress
dE/dstrain / volume, which is positive under tension.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from castile.data._labels import STRESS, VIRIAL, Frame, Label, as_numbers, find
from castile.errors import InputError

__all__ = ["frame_stress", "has_volume"]

FloatArray = npt.NDArray[np.float64]

_SHAPES = ((3, 3), (6,), (9,))
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_RELATIVE = 1e-3  # of the largest component
_ABSOLUTE = 1e-5  # eV/Å³: 1.6 MPa
_MISFIT = 0.02  # of a guess at the reason for a difference
_UNITS = {"GPa": 160.21766, "kbar": 1602.1766, "bar": 1602176.6, "Pa": 1.6021766e11, "Ha/bohr³": 0.0054459}


class _Stress(NamedTuple):
    source: str
    remedy: str
    values: FloatArray


def has_volume(frame: Frame) -> bool:
    """Return True for a structure that is periodic along three axes, which alone have a stress here."""
    return bool(frame.atoms.pbc.all()) and frame.atoms.cell.rank == 3


def frame_stress(
    frame: Frame, stress_key: str | bool | None, virial_key: str | bool | None, allow_nan: bool
) -> FloatArray | None:
    """Return the stress of a frame as six numbers, in ASE's order and sign; None if there is none.

    A key that is named stands for both kinds, unless the other is named, too. Raises InputError if two labels disagree.
    """
    if isinstance(virial_key, str) and stress_key is None:
        stress_key = False
    if isinstance(stress_key, str) and virial_key is None:
        virial_key = False
    volume = frame.atoms.get_volume()
    found = [
        _Stress(label.source, f"stress_key={label.key!r}", _voigt(frame, label, 1.0, allow_nan))
        for label in find(frame, STRESS, stress_key)
    ]
    for label in find(frame, VIRIAL, virial_key):
        source = f"{label.source} / -{volume:.6g} Å³"
        values = -_voigt(frame, label, volume, allow_nan) / volume
        found.append(_Stress(source, f"virial_key={label.key!r}", values))
    complete = [entry for entry in found if not np.isnan(entry.values).any()]
    for other in complete[1:]:
        _check_agreement(frame, complete[0], other, volume)
    return complete[0].values if complete else None


def _voigt(frame: Frame, label: Label, volume: float, allow_nan: bool) -> FloatArray:
    array = as_numbers(frame, label, _SHAPES, allow_nan)
    if array.shape == (6,):
        return np.asarray(array)
    matrix = array.reshape(3, 3)
    skew = np.abs(matrix - matrix.T).max()
    if skew > _RELATIVE * np.abs(matrix).max() + _ABSOLUTE * volume:
        raise InputError(
            f"{frame.name}: {label.source} must be symmetric, but entries across the diagonal differ by {skew:.3g}: "
            f"{matrix.tolist()}; is it what it seems to be?"
        )
    symmetric = 0.5 * (matrix + matrix.T)
    return np.array([symmetric[i, j] for i, j in _VOIGT])


def _check_agreement(frame: Frame, one: _Stress, two: _Stress, volume: float) -> None:
    scale = max(np.abs(one.values).max(), np.abs(two.values).max())
    if np.abs(one.values - two.values).max() > _RELATIVE * scale + _ABSOLUTE:
        raise InputError(
            f"{frame.name}: {one.source} = {_listed(one.values)} and {two.source} = {_listed(two.values)} eV/Å³ (xx yy "
            f"zz yz xz xy) disagree{_reason(one.values, two.values, volume)}; name the right one, {one.remedy} or "
            f"{two.remedy}, or correct the data"
        )


def _listed(values: FloatArray) -> str:
    return "[" + " ".join(f"{value:.5g}" for value in values) + "]"


def _reason(stress: FloatArray, other: FloatArray, volume: float) -> str:
    """Guess why the second is another than the first: its sign, its units, a forgotten volume, the order of shears."""
    factor = _factor(stress, other)
    if factor is not None:
        sign = " with the other sign" if factor < 0.0 else ""
        if _close(abs(factor), 1.0):
            return ": the sign of one of them is likely the other"
        if _close(abs(factor), volume) or _close(abs(factor), 1.0 / volume):
            return f": one of them likely lacks the volume as a factor{', and has the other sign' if sign else ''}"
        for unit, scale in _UNITS.items():
            if _close(abs(factor), scale):
                return f": the second is likely in {unit}{sign}"
            if _close(abs(factor), 1.0 / scale):
                return f": the first is likely in {unit}{sign}"
        return f": the second is {factor:.4g} times the first"
    for order in ((0, 1, 2, 5, 3, 4), (0, 1, 2, 4, 5, 3), (0, 1, 2, 5, 4, 3)):
        if (permuted := _factor(stress, other[list(order)])) is not None and _close(abs(permuted), 1.0):
            return ": the order of the shear components is likely another"
    return ""


def _factor(stress: FloatArray, other: FloatArray) -> float | None:
    """Return c if the second is c times the first."""
    square = float(stress @ stress)
    if square == 0.0 or not other.any():
        return None
    factor = float(stress @ other) / square
    misfit = np.linalg.norm(other - factor * stress)
    return factor if misfit <= _MISFIT * np.linalg.norm(other) else None


def _close(value: float, expected: Any) -> bool:
    return bool(abs(value - expected) <= _MISFIT * abs(expected))
