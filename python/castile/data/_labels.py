"""Where labels are found: results of calculators, named keys, customary keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from castile.errors import InputError, InputTypeError

__all__ = ["ENERGY", "FORCES", "STRESS", "VIRIAL", "Frame", "Kind", "Label", "as_numbers", "check_keys", "find"]

_GEOMETRY = ("positions", "numbers", "cell", "pbc")


@dataclass(frozen=True)
class Kind:
    """A kind of label, and where files keep it.

    Attributes
    ----------
    argument : str
        The argument of ``read`` that names its key.
    store : str
        Attribute of ``Atoms``: ``"info"`` or ``"arrays"``.
    results : tuple of str
        What ASE's calculators call it.
    customary : tuple of str
        Keys that are taken unless one is named; in any case of letters, if they are longer than one.
    """

    argument: str
    store: str
    results: tuple[str, ...]
    customary: tuple[str, ...]

    def is_customary(self, key: str) -> bool:
        """Return True for a key that is taken without being named."""
        return key in self.customary or (len(key) > 1 and key.lower() in self.customary)


ENERGY = Kind("energy_key", "info", ("free_energy", "energy"), ("ref_energy", "dft_energy", "energy", "E"))
FORCES = Kind(
    "forces_key",
    "arrays",
    ("forces",),
    ("ref_forces", "ref_force", "dft_forces", "dft_force", "forces", "force"),
)
STRESS = Kind("stress_key", "info", ("stress",), ("ref_stress", "dft_stress", "stress"))
VIRIAL = Kind(
    "virial_key",
    "info",
    (),
    ("ref_virial", "ref_virials", "dft_virial", "dft_virials", "virial", "virials"),
)


class Label(NamedTuple):
    """A label as it was found."""

    source: str  # for messages
    key: str  # what names it, in the argument of its kind
    value: Any


@dataclass(frozen=True)
class Frame:
    """A structure with its name for messages and what its calculator left."""

    atoms: Atoms
    name: str
    results: Mapping[str, Any]

    @classmethod
    def of(cls, atoms: Atoms, name: str) -> Frame:
        """Take the results of a calculator, if they belong to these atoms."""
        results = getattr(atoms.calc, "results", None)
        known = {key: value for key, value in (results or {}).items() if value is not None}
        labels = {name for kind in (ENERGY, FORCES, STRESS) for name in kind.results} & set(known)
        if labels and hasattr(atoms.calc, "check_state"):
            changed = [part for part in atoms.calc.check_state(atoms) if part in _GEOMETRY]
            if changed:
                raise InputError(
                    f"{name}: the {', '.join(sorted(labels))} of its calculator belong to other "
                    f"{' and '.join(changed)}; was it changed afterwards, or is the calculator shared between frames? "
                    "Calculate it again, and keep the results in a SinglePointCalculator of its own"
                )
        return cls(atoms, name, known)


def find(frame: Frame, kind: Kind, named: str | bool | None) -> list[Label]:
    """Return the labels of a kind: those under the named key, or all under customary names; none for False."""
    if named is False:
        return []
    store = getattr(frame.atoms, kind.store)
    if named is None:
        names: Iterable[str] = kind.results
        keys = sorted((key for key in store if kind.is_customary(str(key))), key=lambda key: _rank(kind, key))
    else:
        names, keys = [str(named)], [str(named)]
    labels = [Label(f"the calculator's {name}", name, frame.results[name]) for name in names if name in frame.results]
    labels += [Label(f"{kind.store}[{key!r}]", str(key), store[key]) for key in keys if store.get(key) is not None]
    return labels


def _rank(kind: Kind, key: str) -> tuple[int, str]:
    return kind.customary.index(key if key in kind.customary else key.lower()), key


def check_keys(frames: Sequence[Frame], kind: Kind, named: Any) -> str | bool | None:
    """Return a named key, if it is a name and at least one frame has it."""
    if named is None or named is False:
        return named
    if not isinstance(named, str):
        raise InputTypeError(f"{kind.argument} must be a string, or False to leave it out, got {named!r}")
    if any(named in frame.results or named in getattr(frame.atoms, kind.store) for frame in frames):
        return named
    present = list(dict.fromkeys(str(key) for frame in frames for key in _keys(frame, kind.store)))
    meant = get_close_matches(named, present, n=1)
    hint = f" (did you mean {meant[0]!r}?)" if meant else ""
    raise InputError(
        f"{kind.argument}={named!r} is in no frame's {kind.store} nor among its calculator's results{hint}; "
        f"they hold {', '.join(map(repr, present)) or 'nothing'}"
    )


def _keys(frame: Frame, store: str) -> list[str]:
    hidden = ("numbers", "positions")
    return [*frame.results, *(key for key in getattr(frame.atoms, store) if key not in hidden)]


def as_numbers(frame: Frame, label: Label, shapes: Sequence[tuple[int, ...]], allow_nan: bool) -> Any:
    """Return a label as float64 array of one of the shapes; what is not finite becomes NaN, if that is allowed."""
    try:
        array = np.asarray(label.value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{frame.name}: {label.source} must hold numbers, got {_short(label.value)}") from None
    if () in shapes and array.size == 1:
        array = array.reshape(())
    if array.shape not in shapes:
        expected = " or ".join("one number" if shape == () else f"shape {shape}" for shape in shapes)
        raise InputError(f"{frame.name}: {label.source} must have {expected}, got shape {array.shape}")
    finite = np.isfinite(array)
    if finite.all():
        return array
    if not allow_nan:
        where = f" at {[int(i) for i in np.argwhere(~finite)[0]]}" if array.ndim else ""
        raise InputError(
            f"{frame.name}: {label.source} is {array[~finite].flat[0]}{where}; leave the label or the frame out, or "
            "give allow_nan=True to take it as missing"
        )
    return np.where(finite, array, np.nan)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
