"""Weights and sigmas, from files and by group, and masks of forces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from castile._checks import real
from castile.data._labels import Frame, Label, as_numbers
from castile.errors import InputError, InputTypeError

__all__ = ["KINDS", "file_sigmas", "file_weights", "force_mask", "group_weights"]

FloatArray = npt.NDArray[np.float64]

KINDS = ("energy", "force", "stress")
_ALIASES = {"energies": "energy", "forces": "force", "stresses": "stress", "virial": "stress", "virials": "stress"}
_WEIGHT_KEYS = {
    "energy": ("energy_weight",),
    "force": ("forces_weight", "force_weight"),
    "stress": ("stress_weight", "virials_weight", "virial_weight"),
}
_SIGMA_KEYS = {"energy": ("energy_sigma",), "force": ("force_sigma", "forces_sigma"), "stress": ("stress_sigma",)}
_FORCE_ATOM_SIGMA = "force_atom_sigma"


def file_weights(frame: Frame) -> list[float]:
    """Return the factors of 1/sigma of energy, force and stress that ``info`` asks for.

    Files weigh squared errors: the factor is the root of ``config_weight`` times that of ``config_energy_weight`` or
    ``energy_weight``, and so on.
    """
    of_frame = _one_of(frame, ["config_weight"])
    factors = []
    for kind in KINDS:
        names = _WEIGHT_KEYS[kind]
        of_kind = _one_of(frame, [*(f"config_{name}" for name in names), *names])
        product = (1.0 if of_frame is None else of_frame) * (1.0 if of_kind is None else of_kind)
        factors.append(float(np.sqrt(product)))
    return factors


def _one_of(frame: Frame, keys: Sequence[str], lowest: str = "weight") -> float | None:
    """Return the number under the first of the keys, which must be equal under the others."""
    found = {key: frame.atoms.info[key] for key in keys if frame.atoms.info.get(key) is not None}
    values = {key: _number(frame, key, value, lowest) for key, value in found.items()}
    if len(set(values.values())) > 1:
        listed = " and ".join(f"info[{key!r}] = {value}" for key, value in values.items())
        raise InputError(
            f"{frame.name}: {listed} disagree; remove one, or give file_weights=False to use none of the file's"
        )
    return next(iter(values.values()), None)


def _number(frame: Frame, key: str, value: Any, what: str) -> float:
    number = float(as_numbers(frame, Label(f"info[{key!r}]", key, value), [()], allow_nan=False))
    if number < 0.0 or (what == "sigma" and number == 0.0):
        least = "positive" if what == "sigma" else "zero or more"
        raise InputError(
            f"{frame.name}: info[{key!r}] must be {least}, got {number}; correct it, or give file_weights=False to use "
            "none of the file's weights and sigmas"
        )
    return number


def file_sigmas(frame: Frame, with_volume: bool) -> tuple[float, FloatArray, float]:
    """Return the sigmas of total energy, of each atom's force and of stress that a file gives; NaN where it does not.

    As in GAP, those of single frames are absolute, not per atom, and that of the virial is the stress's times volume.
    """
    energy, force, stress = (_one_of(frame, _SIGMA_KEYS[kind], "sigma") for kind in KINDS)
    virial = _one_of(frame, ["virial_sigma"], "sigma")
    if stress is None and virial is not None and with_volume:
        stress = virial / frame.atoms.get_volume()
    forces = np.full(len(frame.atoms), np.nan if force is None else force)
    if _FORCE_ATOM_SIGMA in frame.atoms.arrays:
        label = Label(f"arrays[{_FORCE_ATOM_SIGMA!r}]", _FORCE_ATOM_SIGMA, frame.atoms.arrays[_FORCE_ATOM_SIGMA])
        forces = as_numbers(frame, label, [forces.shape], allow_nan=False)
        if (forces <= 0.0).any():
            raise InputError(f"{frame.name}: {label.source} must be positive, got {forces.min()}")
    return np.nan if energy is None else energy, forces, np.nan if stress is None else stress


def force_mask(frame: Frame, key: str) -> npt.NDArray[np.bool_]:
    """Return True for atoms whose force is left out."""
    if key not in frame.atoms.arrays:
        return np.zeros(len(frame.atoms), dtype=bool)
    mask = np.asarray(frame.atoms.arrays[key])
    if mask.shape != (len(frame.atoms),) or not np.isin(mask, (0, 1)).all():
        raise InputError(
            f"{frame.name}: arrays[{key!r}] must hold one truth value per atom (true leaves its force out), got "
            f"dtype {mask.dtype} and shape {mask.shape}; give force_mask_key=False to leave it unread"
        )
    return mask.astype(bool)


def group_weights(weights: Any, groups: npt.NDArray[np.str_]) -> FloatArray:
    """Return the factors of 1/sigma by group, shape (3, n_frames): energy, force, stress."""
    factors = np.ones((3, len(groups)))
    if weights is None:
        return factors
    if not isinstance(weights, Mapping):
        raise InputTypeError(
            f"weights must map groups to factors, such as {{'liquid': 0.5}} or {{'liquid': {{'force': 0.5}}}}, got "
            f"{type(weights).__name__}; weights of single frames are set by Dataset.with_weights"
        )
    for group, entry in weights.items():
        frames = groups == str(group)
        if not frames.any():
            present = ", ".join(map(repr, dict.fromkeys(groups.tolist())))
            raise InputError(f"weights names the group {group!r}, which no frame belongs to; groups are {present}")
        for row, factor in _by_kind(group, entry).items():
            factors[row, frames] = factor
    return factors


def _by_kind(group: Any, entry: Any) -> dict[int, float]:
    if not isinstance(entry, Mapping):
        entry = dict.fromkeys(KINDS, entry)
    factors = {}
    for kind, value in entry.items():
        name = _ALIASES.get(kind, kind)
        if name not in KINDS:
            raise InputError(f"weights[{group!r}] must have the keys {', '.join(KINDS)}, got {kind!r}")
        factor = real(f"weights[{group!r}][{kind!r}]", value)
        if factor < 0.0:
            raise InputError(f"weights[{group!r}] must be zero or more, got {factor}")
        factors[KINDS.index(name)] = factor
    return factors
