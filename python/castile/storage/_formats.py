"""Which format a file has, or is to have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from castile import _checks
from castile.errors import FileReadError, InputError
from castile.storage._arrays import GrowingArray
from castile.storage._hdf5 import Hdf5Format
from castile.storage._npy import NpyFormat
from castile.storage._zarr import ZarrFormat

__all__ = ["FORMATS", "Format", "choose_format", "recognize_format"]


class Format(Protocol):
    """What a format can do; ``arrays`` are ``features`` (or ``data``, ``indices``, ``indptr``) and ``samples``."""

    name: str
    suffixes: tuple[str, ...]

    def require(self) -> None:
        """Raise MissingPackageError if a package is missing."""

    def files(self, target: Path) -> list[Path]:
        """Return all files that may belong to a target."""

    def check_overwritten(self, target: Path) -> None:
        """Raise InputError if the target must not be overwritten even if that is allowed."""

    def publish(self, arrays: Mapping[str, GrowingArray], metadata: dict[str, Any], target: Path, work: Path) -> None:
        """Make the target from complete arrays, at once and in a way that can be repeated; ``work`` is empty."""

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Return what :meth:`publish` was given."""

    def read(self, path: Path, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows of an array."""


FORMATS: dict[str, Format] = {kind.name: kind for kind in (NpyFormat(), Hdf5Format(), ZarrFormat())}
_SIGNATURES = {b"\x93NUMPY": "npy", b"\x89HDF\r\n": "hdf5"}


def choose_format(path: Path, name: str | None) -> Format:
    """Return the format to write: the one that is named, else the one that the file's name ends in."""
    if name is not None:
        return FORMATS[_checks.choice("format", name, FORMATS)]
    for kind in FORMATS.values():
        if path.suffix.lower() in kind.suffixes:
            return kind
    endings = ", ".join(ending for kind in FORMATS.values() for ending in kind.suffixes)
    raise InputError(
        f"path must end in one of {endings}, got {str(path)!r}; "
        f"or give format= as one of {', '.join(map(repr, FORMATS))}"
    )


def recognize_format(path: Path) -> Format:
    """Return the format of a file that is there."""
    if path.is_dir():
        return FORMATS["zarr"]
    try:
        with open(path, "rb") as file:
            name = _SIGNATURES.get(file.read(6))
    except OSError as error:
        raise FileReadError(f"cannot read {path} ({os.strerror(error.errno or 0)})") from error
    if name is None:
        raise FileReadError(f"{path} is no file that transform_to wrote: neither .npy, HDF5 nor zarr")
    return FORMATS[name]
