"""Models from files."""

from __future__ import annotations

import os
from typing import Any

from castile.models.force_field.force_field import ForceField

__all__ = ["load"]


def load(path: str | os.PathLike[str], *, reference: Any = None) -> ForceField:
    """Read a force field that :meth:`castile.ForceField.save` wrote; this runs no code, whatever the file holds.

    Parameters
    ----------
    path : str or path-like
    reference : ASE calculator, optional
        That of the fit, if there was one.

    Returns
    -------
    ForceField

    Raises
    ------
    FileReadError
        If the file is missing, damaged, something else, or of a newer version.
    """
    return ForceField.load(path, reference=reference)
