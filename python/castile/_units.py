"""Factors between units that are shown and those of ASE."""

from ase import units

__all__ = ["GPA"]

GPA: float = 1.0 / units.GPa
"""Of one eV/Å³."""
