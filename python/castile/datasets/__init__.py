"""Small sets of structures with reference labels, which ship with the library."""

from __future__ import annotations

from importlib.resources import as_file, files

from ase import Atoms

from castile.errors import InputError

__all__ = ["DATASETS", "description", "level_of_theory", "load"]

DATASETS = ("silicon_aluminium_phosphide",)


def load(name: str = "silicon_aluminium_phosphide") -> list[Atoms]:
    """Return the structures of a set.

    Parameters
    ----------
    name : str
        One of ``DATASETS``.

    Returns
    -------
    list of ase.Atoms
        With energy, forces and stress as ``get_potential_energy()``, ``get_forces()`` and ``get_stress()`` give
        them (eV, eV/Å, eV/Å³), and the part of the set that each belongs to in ``atoms.info["group"]``.

    Raises
    ------
    InputError
        If there is no such set.

    Examples
    --------
    >>> from castile import datasets
    >>> frames = datasets.load("silicon_aluminium_phosphide")
    >>> frames[0].get_forces().shape == (len(frames[0]), 3)
    True
    """
    from castile.io import read_frames

    with as_file(files(__name__) / f"{_checked(name)}.xyz") as path:
        return read_frames(path)


def description(name: str = "silicon_aluminium_phosphide") -> str:
    """Return what is known about a set: contents, level of theory, how it was made, licence.

    Parameters
    ----------
    name : str
        One of ``DATASETS``.

    Raises
    ------
    InputError
        If there is no such set.
    """
    _checked(name)
    return (files(__name__) / "README.md").read_text(encoding="utf-8")


def level_of_theory(name: str = "silicon_aluminium_phosphide") -> str:
    """Return the paragraph of the description that names the method behind the labels, in one line.

    Parameters
    ----------
    name : str
        One of ``DATASETS``.

    Examples
    --------
    >>> from castile import datasets
    >>> "PBE" in datasets.level_of_theory()
    True
    """
    paragraphs = [" ".join(text.split()) for text in description(name).split("\n\n")]
    return next(text for text in paragraphs if "PBE" in text)


def _checked(name: str) -> str:
    if name not in DATASETS:
        raise InputError(f"name must be one of {', '.join(DATASETS)}, got {name!r}")
    return name
