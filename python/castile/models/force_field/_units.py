"""Units in which errors are shown."""

from __future__ import annotations

__all__ = ["GPA", "SHOWN"]

GPA = 160.21766208
"""Of one eV/Å³."""

SHOWN = {"energy": (1e3, "meV/atom"), "force": (1e3, "meV/Å"), "stress": (GPA, "GPa")}
"""By kind: factor of eV/atom, eV/Å and eV/Å³, and unit."""
