"""Kinds of rows, and the noise of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from castile import _checks
from castile.errors import InputError, InputTypeError

__all__ = ["KINDS", "check_noise", "require_kind"]

KINDS = ("energy", "force", "stress")
_LEAST = 1e-100  # whose square is a number


def require_kind(kind: str, kinds: Sequence[str]) -> None:
    """Raise InputError unless it is one of the kinds."""
    if kind not in kinds:
        raise InputError(f"kind must be one of {', '.join(map(repr, kinds))}, got {kind!r}")


def check_noise(noise: Mapping[str, float], kinds: Sequence[str], n_rows: Mapping[str, int]) -> dict[str, float]:
    """Return the noise of the kinds that have rows, in the order of the kinds."""
    if not isinstance(noise, Mapping):
        raise InputTypeError(f"noise must map kinds to standard deviations, got {noise!r}")
    for kind, sigma in noise.items():
        require_kind(kind, kinds)
        if not _LEAST < _checks.real(f"noise[{kind!r}]", sigma) < 1.0 / _LEAST:
            raise InputError(
                f"noise[{kind!r}] must be a standard deviation above 0 (and within 1e-100 to 1e100), got {sigma!r}"
            )
    used = [kind for kind in kinds if n_rows[kind] > 0]
    missing = [kind for kind in used if kind not in noise]
    if missing:
        raise InputError(f"noise must have a standard deviation for each kind with rows, but not for {missing[0]!r}")
    return {kind: float(noise[kind]) for kind in used}
