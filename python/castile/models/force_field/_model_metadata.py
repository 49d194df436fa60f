"""Metadata of a model file: JSON that says the same to every reader."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from castile.errors import InputError, InputTypeError

__all__ = ["METADATA_LIMIT", "metadata_from_bytes", "metadata_to_bytes"]

METADATA_LIMIT = 64 * 1024 * 1024  # bytes
_DEEPEST = 64


def metadata_to_bytes(metadata: Mapping[str, Any]) -> bytes:
    """Return JSON with sorted keys, in ASCII.

    Parameters
    ----------
    metadata : mapping
        Of str to None, bool, int, finite float, str, and lists and mappings of these. Tuples become lists, NumPy's
        scalars the numbers that they hold.

    Raises
    ------
    InputTypeError
        For a value of another type.
    InputError
        For infinities and NaN, and whatever is too large or too deep.
    """
    try:
        text = json.dumps(_plain(metadata, "metadata", 0), sort_keys=True, allow_nan=False, indent=1)
    except ValueError as error:  # integers of thousands of digits
        raise InputError(f"metadata cannot be written as JSON: {error}") from error
    if len(text) > METADATA_LIMIT:
        raise InputError(
            f"metadata take {len(text)} bytes, at most {METADATA_LIMIT} are allowed; store numbers as arrays"
        )
    return text.encode("ascii") + b"\n"


def metadata_from_bytes(data: bytes) -> dict[str, Any]:
    """Return what :func:`metadata_to_bytes` was given; ValueError or RecursionError if it is something else."""
    metadata = json.loads(data.decode("ascii"), parse_constant=_finite, parse_float=_finite)
    if not isinstance(metadata, dict):
        raise ValueError("metadata.json holds no object")
    return metadata


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise InputError(f"metadata must be nested at most {_DEEPEST} deep; do they hold themselves?")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where} must be a finite number, got {value}; None says that there is no number")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(entry, f"{where}[{k}]", depth + 1) for k, entry in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(entry, f"{where}[{key!r}]", depth + 1) for key, entry in value.items()}
    raise InputTypeError(
        f"{where} must be None, bool, int, float, str, or a list or dict of these, got {type(value).__name__}; "
        "give arrays as arrays"
    )


def _key(key: Any, where: str) -> str:
    if type(key) is not str:
        raise InputTypeError(f"keys of {where} must be str, got {key!r}")
    return key


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"metadata.json holds {text}, which is no finite number")
    return number
