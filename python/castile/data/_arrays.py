"""Checks of the arrays of a data set, and of what one takes from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from castile._checks import real_array
from castile.errors import InputError, InputTypeError

__all__ = ["as_indices", "checked_array"]

IntArray = npt.NDArray[np.int64]


def checked_array(name: str, value: Any, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy of the same kind and shape as what it stands for."""
    if like.dtype.kind == "U":
        array = np.array(value, dtype=str)
    elif like.dtype.kind == "b":
        array = np.array(value)
        if array.dtype.kind != "b":
            raise InputTypeError(f"{name} must hold truth values, got dtype {array.dtype}")
    else:
        array = np.array(real_array(name, value), dtype=np.float64)
        if np.isinf(array).any():
            raise InputError(f"{name} must be finite, or NaN where there is none")
    if array.shape != like.shape:
        raise InputError(f"{name} must have the shape {like.shape}, got {array.shape}")
    if name.endswith("_weights") and not (array >= 0.0).all():
        raise InputError(f"{name} must be zero or more, got {array.min()}")
    if name.endswith("_sigmas") and (array <= 0.0).any():
        raise InputError(f"{name} must be positive, or NaN where there is none, got {np.nanmin(array)}")
    return array


def as_indices(indices: Any, n_frames: int) -> IntArray:
    """Return indices, a mask or a slice as indices of 0 or more."""
    if isinstance(indices, slice):
        return np.arange(n_frames)[indices]
    array = np.atleast_1d(np.asarray(indices))
    if array.dtype.kind == "b":
        if array.shape != (n_frames,):
            raise InputError(f"indices, as a mask, must have the shape ({n_frames},), got {array.shape}")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputTypeError(f"indices must be integers, a mask or a slice, got {indices!r}")
    array = array.astype(np.int64)
    if array.min() < -n_frames or array.max() >= n_frames:
        wrong = array[(array < -n_frames) | (array >= n_frames)][0]
        raise InputError(f"indices must lie below the number of frames, {n_frames}, got {wrong}")
    return np.where(array < 0, array + n_frames, array)
