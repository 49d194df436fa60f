"""Which frames are isolated atoms, whose energy is the reference of their species."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

__all__ = ["SHORTEST_IMAGE_DISTANCE", "is_isolated_atom", "named_isolated"]

SHORTEST_IMAGE_DISTANCE = 10.0  # Å, beyond which the images of an atom count as no neighbors
_NAMES = ("isolatedatom", "isolatedatoms", "isolated")


def named_isolated(group: str) -> bool:
    """Return True for the names that files give to the group of isolated atoms."""
    return "".join(letter for letter in group.lower() if letter.isalnum()) in _NAMES


def is_isolated_atom(atoms: Atoms, group: str) -> bool:
    """Return True for one atom that is named so, not periodic, or far from its images."""
    if len(atoms) != 1:
        return False
    if named_isolated(group) or not atoms.pbc.any():
        return True
    cell, _ = minkowski_reduce(atoms.cell, atoms.pbc)
    return bool(np.linalg.norm(np.asarray(cell)[atoms.pbc], axis=1).min() >= SHORTEST_IMAGE_DISTANCE)
