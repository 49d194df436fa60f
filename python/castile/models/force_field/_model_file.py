"""The model file: a zip of JSON and .npy arrays, written as a whole, and read only if every byte that counts is right.

``docs/model_file.md`` describes it, for readers without Castile. Nothing in it is pickled.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import struct
import textwrap
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt

from castile._core import __version__
from castile._memory import require_memory
from castile.errors import FileReadError, InputError, InputTypeError, MemoryLimitError
from castile.models.force_field._model_arrays import checked_array
from castile.models.force_field._model_members import (
    list_members,
    read_array,
    read_bytes,
    sums_text,
    write_array,
    write_bytes,
)
from castile.models.force_field._model_metadata import METADATA_LIMIT, metadata_from_bytes, metadata_to_bytes
from castile.models.force_field._replacing import replacing

__all__ = ["FORMAT_NAME", "FORMAT_VERSION", "read_model", "write_model"]

Metadata = dict[str, Any]
Arrays = dict[str, npt.NDArray[Any]]
FilePath = str | os.PathLike[str]

FORMAT_NAME = "castile model"
FORMAT_VERSION = 1

# By version v: makes of what a file of version v holds what one of version v + 1 would hold.
_MIGRATIONS: dict[int, Callable[[Metadata, Arrays], tuple[Metadata, Arrays]]] = {}

_METADATA = "metadata.json"
_SUMS = "SHA256SUMS"
_SUMS_LIMIT = 16 * 1024 * 1024  # bytes
# No dots, so that unpacking never leaves the folder, nor needs one name for a file and a folder.
_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_MEMBER = re.compile(rf"arrays/({_NAME.pattern})\.npy")
_LONGEST_NAME = 200

# What zipfile and the readers of the members raise for damage of one kind or another.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,  # also NotImplementedError and RecursionError
    SyntaxError,
    TypeError,
    ValueError,  # also UnicodeError
)


def write_model(path: FilePath, metadata: Mapping[str, Any], arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write a model file; it replaces an older one only when all of it is on the disk.

    The same model gives the same bytes.

    Parameters
    ----------
    path : str or path-like
        A symbolic link stays one; the permissions of an existing file are kept.
    metadata : mapping of str to JSON values
        None, bool, int, finite float, str, and lists and mappings of these.
    arrays : mapping of str to ndarray
        float64, float32, int64 or int32, of any shape; NaN and infinities are kept. Names consist of letters, digits,
        ``_``, ``-``, and ``/`` between parts.

    Raises
    ------
    InputError, InputTypeError
        If something cannot be stored, or the name cannot be written to.
    FileWriteError
        If the disk is full or fails; nothing is left behind, and an older file is untouched.
    """
    _check_path(path)
    if not isinstance(metadata, Mapping):
        raise InputTypeError(f"metadata must be a dict, got {type(metadata).__name__}")
    header = {"castile_version": __version__, "format": FORMAT_NAME, "format_version": FORMAT_VERSION}
    text = metadata_to_bytes({**header, "metadata": metadata})
    checked = {_checked_name(name): checked_array(name, value) for name, value in arrays.items()}
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        sums = {_METADATA: write_bytes(archive, _METADATA, text)}
        for name, array in sorted(checked.items()):
            member = f"arrays/{name}.npy"
            sums[member] = write_array(archive, member, array)
        write_bytes(archive, _SUMS, sums_text(sums))


def read_model(path: FilePath) -> tuple[Metadata, Arrays]:
    """Read what :func:`write_model` wrote; this runs no code, whatever the file holds.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    metadata : dict
    arrays : dict of str to ndarray
        Writable, in C order.

    Raises
    ------
    FileReadError
        If the file is missing, damaged, cut off, something else, written by a newer Castile, or does not fit into
        memory; the message says which, and the remedy.
    """
    _check_path(path)
    with _errors_explained(path):
        size = _checked_size(Path(path))
        with open(path, "rb") as file:
            _check_beginning(path, file.read(4))
            with zipfile.ZipFile(file) as archive:
                envelope, arrays = _read_members(path, archive, size)
        return _migrated(path, envelope, arrays)


def _read_members(path: FilePath, archive: zipfile.ZipFile, size: int) -> tuple[Metadata, Arrays]:
    members = list_members(archive, size)
    if _METADATA not in members:
        raise _foreign(path, "a zip or .npz file without metadata.json")
    text = read_bytes(archive, members.pop(_METADATA), METADATA_LIMIT)
    # Before anything else is looked at: what else there is depends on the version.
    envelope = _checked_envelope(path, metadata_from_bytes(text))
    if _SUMS not in members:
        raise ValueError(f"{_SUMS} is missing")
    expected = read_bytes(archive, members.pop(_SUMS), _SUMS_LIMIT)
    _check_memory(path, sum(member.file_size for member in members.values()))
    sums = {_METADATA: hashlib.sha256(text).hexdigest()}
    arrays = {}
    for name, member in sorted(members.items()):
        match = _MEMBER.fullmatch(name)
        if match is None:
            raise ValueError(f"it holds {name!r}, which is not part of a model")
        arrays[match[1]], sums[name] = read_array(archive, member)
    if sums_text(sums) != expected:
        raise ValueError(f"what it holds does not agree with its {_SUMS}")
    return envelope, arrays


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise InputTypeError(f"path must be the name of a file, got {type(path).__name__}")


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise InputError(
            f"names of arrays must be at most {_LONGEST_NAME} letters, digits, '_', '-', and '/' between parts, "
            f"got {name!r}"
        )
    return name


def _checked_size(path: Path) -> int:
    """Return the size of a file in bytes; raise if it cannot be a model."""
    if path.is_dir():
        raise FileReadError(f"{path} is a directory; give the model file")
    if not path.exists():
        raise FileReadError(f"{path} does not exist; check the spelling and the current directory")
    if not path.is_file():
        raise FileReadError(f"{path} is not a regular file; give the model file")
    size = path.stat().st_size
    if size == 0:
        raise FileReadError(f"{path} is empty (0 bytes); copy it again, or save the model again")
    return size


@contextmanager
def _errors_explained(path: FilePath) -> Iterator[None]:
    try:
        yield
    except FileReadError:
        raise
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before the beginning
            raise _damaged(path, "what it says of its members cannot be") from error
        reason = error.strerror or str(error)
        raise FileReadError(f"cannot read {path} ({reason}); check its name and permissions, and the disk") from error
    except _DAMAGE as error:
        raise _damaged(path, str(error) or type(error).__name__) from error


def _damaged(path: FilePath, reason: str) -> FileReadError:
    reason = textwrap.shorten(reason, 200, placeholder=" ...")  # it may quote the file
    return FileReadError(
        f"cannot read {path}: it is damaged or cut off ({reason}); copy it again, or save the model again"
    )


def _foreign(path: FilePath, what: str) -> FileReadError:
    return FileReadError(f"{path} is not a model file of Castile, but {what}; give a file that save wrote")


def _check_beginning(path: FilePath, start: bytes) -> None:
    """Raise for what is no zip file at all, with a guess at what it is."""
    if start.startswith(b"\x80"):
        raise _foreign(path, "perhaps a pickle, which would run code when it is loaded")
    if start != b"PK\x03\x04":
        raise _foreign(path, "something else, or damaged at its beginning")


def _check_memory(path: FilePath, n_bytes: int) -> None:
    try:
        require_memory(n_bytes, "its arrays", "use a machine with more memory")
    except MemoryLimitError as error:
        raise FileReadError(f"cannot read {path}: {error}") from error


def _checked_envelope(path: FilePath, envelope: Metadata) -> Metadata:
    """Raise unless this is a model of a version that can be read."""
    if envelope.get("format") != FORMAT_NAME:
        raise _foreign(path, "a zip file with other metadata")
    version = envelope["format_version"]
    if type(version) is not int or version < 1:
        raise ValueError(f"its version is {version!r}")
    if version > FORMAT_VERSION:
        raise FileReadError(
            f"{path} was written by Castile {envelope.get('castile_version')} in version {version} of the format; "
            f"this is Castile {__version__}, which reads versions up to {FORMAT_VERSION}: update Castile"
        )
    if not isinstance(envelope["metadata"], dict):
        raise ValueError("its metadata are no object")
    return envelope


def _migrated(path: FilePath, envelope: Metadata, arrays: Arrays) -> tuple[Metadata, Arrays]:
    """Bring what an older version wrote to the form that this one writes."""
    metadata: Metadata = envelope["metadata"]
    for version in range(envelope["format_version"], FORMAT_VERSION):
        if version not in _MIGRATIONS:
            raise FileReadError(
                f"{path} has version {version} of the format, which is no longer read; load and save it with the "
                f"version of Castile that wrote it or the next ones (it was {envelope.get('castile_version')})"
            )
        metadata, arrays = _MIGRATIONS[version](metadata, arrays)
    return metadata, arrays
