"""The arrays of a data set, collected from its frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from castile.data._energy_forces import energy_kind, frame_energy, frame_forces
from castile.data._isolated import is_isolated_atom, named_isolated
from castile.data._labels import ENERGY, FORCES, STRESS, VIRIAL, Frame, Kind, check_keys, find
from castile.data._stress import frame_stress, has_volume
from castile.data._weights import KINDS, file_sigmas, file_weights, force_mask
from castile.progress import track

__all__ = ["Keys", "find_groups", "find_isolated", "find_labels", "find_weights", "mask_forces"]

FloatArray = npt.NDArray[np.float64]

GROUP = Kind("group_key", "info", (), ("config_type", "group"))
MASK = Kind("force_mask_key", "arrays", (), ("force_mask",))


class Keys(NamedTuple):
    """Named keys; None for the customary ones, False for none."""

    energy: str | bool | None
    forces: str | bool | None
    stress: str | bool | None
    virial: str | bool | None
    group: str | bool | None
    force_mask: str | bool | None

    def checked(self, frames: Sequence[Frame]) -> Keys:
        """Return them if each that is named is in at least one frame."""
        kinds = (ENERGY, FORCES, STRESS, VIRIAL, GROUP, MASK)
        return Keys(*(check_keys(frames, kind, key) for kind, key in zip(kinds, self, strict=True)))


def find_groups(frames: Sequence[Frame], key: str | bool | None) -> npt.NDArray[np.str_]:
    """Return the group of each frame, empty where none is named."""
    if key is False:
        return np.full(len(frames), "")
    keys = GROUP.customary if key is None else (str(key),)
    found = [next((frame.atoms.info[name] for name in keys if name in frame.atoms.info), "") for frame in frames]
    return np.array([str(group) for group in found], dtype=str)


def find_labels(
    frames: Sequence[Frame], keys: Keys, *, allow_nan: bool, progress: bool
) -> tuple[dict[str, FloatArray], list[str]]:
    """Return energies, forces and stresses, NaN where missing, and notes."""
    kind, notes = energy_kind(frames) if keys.energy is None else (ENERGY, [])
    energies = np.full(len(frames), np.nan)
    stresses = np.full((len(frames), 6), np.nan)
    forces = [np.full((len(frame.atoms), 3), np.nan) for frame in frames]
    for number, frame in enumerate(track(((1, frame) for frame in frames), len(frames), "labels", progress)):
        if (energy := frame_energy(frame, kind, keys.energy, allow_nan)) is not None:
            energies[number] = energy
        if (found := frame_forces(frame, keys.forces, allow_nan)) is not None:
            forces[number] = found
        if has_volume(frame) and (stress := frame_stress(frame, keys.stress, keys.virial, allow_nan)) is not None:
            stresses[number] = stress
    notes += _notes_on_stresses(frames, stresses, forces, keys)
    every = np.concatenate([np.empty((0, 3)), *forces])
    every[np.isnan(every).any(axis=1)] = np.nan  # of the three components, all are known or none
    return {"energies": energies, "forces": every, "stresses": stresses}, notes


def _notes_on_stresses(
    frames: Sequence[Frame], stresses: FloatArray, forces: Sequence[FloatArray], keys: Keys
) -> list[str]:
    notes = []
    flat = [frame for frame in frames if not has_volume(frame)]
    ignored = sum(bool(find(frame, STRESS, keys.stress) or find(frame, VIRIAL, keys.virial)) for frame in flat)
    if ignored:
        notes.append(f"stress or virial of {_frames(ignored)} ignored: not periodic along three axes")
    pairs = zip(stresses, forces, strict=True)
    zeros = sum(bool((stress == 0.0).all() and np.nan_to_num(force).any()) for stress, force in pairs)
    if zeros:
        notes.append(
            f"stress exactly zero in {_frames(zeros)} with forces; if it was never computed, leave it out "
            "(stress_key=False, virial_key=False)"
        )
    return notes


def _frames(number: int) -> str:
    return f"{number} frame{'s' if number > 1 else ''}"


def mask_forces(forces: FloatArray, frames: Sequence[Frame], key: str | bool | None) -> list[str]:
    """Set forces that a mask leaves out to NaN; return notes."""
    if key is False:
        return []
    name = MASK.customary[0] if key is None else str(key)
    mask = np.concatenate([np.empty(0, dtype=bool), *(force_mask(frame, name) for frame in frames)])
    forces[mask] = np.nan
    return [f"forces of {mask.sum()} of {len(mask)} atoms left out by arrays[{name!r}]"] if mask.any() else []


def find_isolated(frames: Sequence[Frame], groups: npt.NDArray[np.str_]) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Return which frames are isolated atoms, and notes on those that are only named so."""
    isolated = np.zeros(len(frames), dtype=bool)
    notes = []
    for number, (frame, group) in enumerate(zip(frames, groups.tolist(), strict=True)):
        isolated[number] = is_isolated_atom(frame.atoms, group)
        if named_isolated(group) and len(frame.atoms) > 1:
            notes.append(f"{frame.name} of group {group!r} has {len(frame.atoms)} atoms, and is no isolated atom")
    return isolated, notes


def find_weights(frames: Sequence[Frame]) -> tuple[dict[str, FloatArray], list[str]]:
    """Return weights and sigmas that the frames carry, and notes."""
    factors = np.array([file_weights(frame) for frame in frames]).reshape(-1, len(KINDS))
    arrays: dict[str, FloatArray] = {f"{kind}_weights": factors[:, row].copy() for row, kind in enumerate(KINDS)}
    sigmas = [file_sigmas(frame, has_volume(frame)) for frame in frames]
    arrays["energy_sigmas"] = np.array([energy for energy, _, _ in sigmas])
    arrays["force_sigmas"] = np.concatenate([np.empty(0), *(force for _, force, _ in sigmas)])
    arrays["stress_sigmas"] = np.array([stress for _, _, stress in sigmas])
    notes = []
    if weighted := int((factors != 1.0).any(axis=1).sum()):
        notes.append(f"weights of {_frames(weighted)} come from the file: roots of its weights of squared errors")
    if counts := _counts(arrays):
        notes.append(f"sigmas of {', '.join(counts)} come from the file")
    return arrays, notes


def _counts(arrays: dict[str, FloatArray]) -> list[str]:
    names = {"energy": "energies", "force": "atoms' forces", "stress": "stresses"}
    counts = {kind: int((~np.isnan(arrays[f"{kind}_sigmas"])).sum()) for kind in KINDS}
    return [f"{count} {names[kind]}" for kind, count in counts.items() if count]
