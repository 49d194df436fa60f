"""Units in which errors are shown."""

from __future__ import annotations

from castile._units import GPA

__all__ = ["SHOWN"]

SHOWN = {"energy": (1e3, "meV/atom"), "force": (1e3, "meV/Å"), "stress": (GPA, "GPa")}
"""By kind: factor of eV/atom, eV/Å and eV/Å³, and unit."""
