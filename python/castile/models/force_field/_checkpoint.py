"""Checkpoints: arrays and JSON in one ``.npz`` file, written as a whole or not at all."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from castile._core import __version__
from castile.errors import CastileError, FileReadError, FileWriteError, InputTypeError

__all__ = ["read_checkpoint", "write_checkpoint"]

_FORMAT = "castile checkpoint"
_VERSION = 1

Made = TypeVar("Made")


def write_checkpoint(
    path: str | Path, metadata: Mapping[str, Any], arrays: Iterable[tuple[str, npt.NDArray[Any]]]
) -> None:
    """Write a checkpoint, which replaces an earlier one when it is complete; each array is forgotten when written."""
    from castile.io import atomic_write

    header = {"format": _FORMAT, "version": _VERSION, "castile_version": __version__, **metadata}
    try:
        text = json.dumps(header)
    except TypeError as error:
        raise InputTypeError(f"notes must be what JSON can hold: {error}") from error
    try:
        with atomic_write(path, overwrite=True) as file, zipfile.ZipFile(file, "w") as archive:
            _write_array(archive, "header", np.array(text))
            for name, array in arrays:
                _write_array(archive, name, array)
    except CastileError:
        raise
    except OSError as error:
        raised = FileWriteError(f"cannot write {path} ({error.strerror or error}); make room or write elsewhere")
        raised.errno = error.errno
        raise raised from error


def read_checkpoint(path: str | Path, make: Callable[[dict[str, Any], dict[str, Any]], Made]) -> Made:
    """Return what ``make`` makes of the metadata and arrays of a checkpoint."""
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            if header["format"] != _FORMAT:
                raise ValueError("another format")
            if header["version"] > _VERSION:
                raise FileReadError(f"{path} was written by Castile {header['castile_version']}; update Castile")
            return make(header, {name: stored[name] for name in stored.files if name != "header"})
    except FileReadError:
        raise
    except FileNotFoundError as error:
        raise FileReadError(f"cannot read {path}: there is no such file") from error
    except (OSError, ValueError, TypeError, EOFError, KeyError, AttributeError, IndexError, MemoryError,
            OverflowError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        # NumPy's own words would advise to allow pickle, which runs code from the file.
        raise FileReadError(
            f"cannot read {path}: it is not a checkpoint that Castile wrote, or it is damaged or cut off; start "
            "the fit again without it"
        ) from error


def _write_array(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    # As numpy.savez does, but for the date: the same state gives the same bytes.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
