"""What a run computes, so that another run can tell whether it would compute the same."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from castile import _core
from castile.descriptors._base import sample_dtype
from castile.errors import InputError
from castile.io import describe_descriptor
from castile.storage._arrays import ArrayType
from castile.storage._store import FORMAT_VERSION

__all__ = ["array_types", "check_header", "make_header"]

_REMEDIES = {
    "castile_version": "finish it with that version",
    "instruction_set": "set CASTILE_SIMD in the environment to the former, as other instructions round differently",
    "what fit learned": "give the descriptor that was fitted then",
    "parameter": "give the same parameters",
}


def make_header(descriptor: Any, format_name: str, groups: bool) -> dict[str, Any]:
    """Return everything that the bits of the output depend on, except the frames; JSON can hold it."""
    header = {
        "castile_format": FORMAT_VERSION,
        "castile_version": _core.__version__,
        "format": format_name,
        "instruction_set": _core.instruction_set(),
        "descriptor": describe_descriptor(descriptor),
        "sparse": bool(descriptor.sparse),
        "groups": groups,
        "dtype": descriptor._precision(),
        "n_features": int(descriptor._core(descriptor._species_or_raise()).n_features),
        "run": secrets.token_hex(8),
    }
    plain: dict[str, Any] = json.loads(json.dumps(header, default=_plain))
    return plain


def array_types(header: dict[str, Any]) -> dict[str, ArrayType]:
    """Return what the arrays of the output are."""
    dtype = np.dtype(header["dtype"])
    samples = {"samples": ArrayType(sample_dtype(header["groups"]))}
    if not header["sparse"]:
        return {"features": ArrayType(dtype, (header["n_features"],)), **samples}
    parts = {"data": dtype, "indices": np.dtype(np.int32), "indptr": np.dtype(np.int64)}
    return {name: ArrayType(part) for name, part in parts.items()} | samples


def check_header(now: dict[str, Any], then: dict[str, Any], where: Path) -> None:
    """Raise InputError, naming all differences, if an earlier run computed something else."""
    found = list(_differences(now, then))
    if not found:
        return
    listed = "; ".join(f"{name} was {_short(old)}, now {_short(new)}" for name, old, new in found)
    remedy = next((_REMEDIES[name] for name, _, _ in found if name in _REMEDIES), _REMEDIES["parameter"])
    raise InputError(f"{where} was begun differently: {listed}; {remedy}, or start again with overwrite=True")


def _differences(now: dict[str, Any], then: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in ("castile_format", "castile_version", "instruction_set", "format", "groups"):
        if now[name] != then.get(name):
            yield name, then.get(name), now[name]
    new, old = now["descriptor"], then["descriptor"]
    for name in ("name", "species"):
        if new[name] != old[name]:
            yield "descriptor" if name == "name" else name, old[name], new[name]
    if new["learned"] != old["learned"]:
        yield "what fit learned", list(old["learned"]), f"{list(new['learned'])} of other values"
    new, old = new["parameters"], old["parameters"]
    for name in sorted({*new, *old} - {"species"}):
        if new.get(name) != old.get(name):
            yield name, old.get(name), new.get(name)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    """Return what JSON can hold instead of a parameter; functions by name: their values are compared elsewhere."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return f"{type(value).__name__} {getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', '?')}"
