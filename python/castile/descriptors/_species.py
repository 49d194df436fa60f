"""The chemical species that a descriptor's columns are laid out for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from numbers import Integral
from typing import Any

from ase.data import atomic_numbers, chemical_symbols

from castile.errors import InputError, InputTypeError

__all__ = ["checked_species"]


def checked_species(species: Any) -> tuple[str, ...]:
    """Return the ``species`` parameter, checked and sorted by atomic number."""
    if isinstance(species, str):
        raise InputTypeError(
            f"species must be a list of symbols, got {species!r}; "
            f"write {_symbols_of(species) or 'one such as ' + repr(['H', 'C'])}"
        )
    if not isinstance(species, Iterable):
        raise InputTypeError(f"species must be a list of symbols, got {species!r}")
    entries = tuple(species)
    return _sorted_symbols(entries) if all(type(entry) is str for entry in entries) else _checked(entries)


def _checked(species: tuple[Any, ...]) -> tuple[str, ...]:
    numbers = []
    for entry in species:
        number = atomic_numbers.get(entry) if isinstance(entry, str) else entry
        known = isinstance(number, Integral) and not isinstance(number, bool)
        if not known or not 0 <= number < len(chemical_symbols):
            raise InputError(f"species holds {entry!r}, which is not a chemical symbol or atomic number")
        numbers.append(int(number))
    if not numbers or len(set(numbers)) != len(numbers):
        raise InputError(f"species must name at least one element, each once, got {list(species)}")
    return tuple(chemical_symbols[number] for number in sorted(numbers))


_sorted_symbols = lru_cache(_checked)


def _symbols_of(formula: str) -> list[str]:
    """Return the symbols that a string such as ``H``, ``HC`` or ``H, C`` holds; none if a part is no symbol."""
    if formula in atomic_numbers:
        return [formula]
    symbols = re.findall(r"[A-Z][a-z]?", formula)
    rest = re.sub(r"[A-Z][a-z]?|[\s,;]", "", formula)
    return list(dict.fromkeys(symbols)) if not rest and set(symbols) <= set(atomic_numbers) else []
