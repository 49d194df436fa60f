"""Members of a model file: bytes and arrays that are stored in a zip as they are, each with its SHA-256.

Nothing is compressed: numbers hardly shrink, and what is stored as it is cannot unpack to more than the file's size.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from castile.models.force_field._model_arrays import HEADER_LIMIT, ArrayHeader, array_header

__all__ = ["list_members", "read_array", "read_bytes", "sums_text", "write_array", "write_bytes"]

_CHUNK = 1024 * 1024
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest of the zip format: equal models are equal files
_UNIX = 3
_ENCRYPTED = 1  # bit of the flags


def write_bytes(archive: zipfile.ZipFile, name: str, *parts: Any) -> str:
    """Store one part after the other, each with a buffer of bytes; return the SHA-256 of them all."""
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.create_system = _UNIX  # on every system
    info.external_attr = 0o644 << 16
    views = [memoryview(part) for part in parts]
    info.file_size = sum(view.nbytes for view in views)  # told in advance, as larger sizes take longer headers
    digest = hashlib.sha256()
    with archive.open(info, "w") as file:
        for view in views:
            for start in range(0, view.nbytes, _CHUNK):
                digest.update(view[start : start + _CHUNK])
                file.write(view[start : start + _CHUNK])
    return digest.hexdigest()


def write_array(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> str:
    """Store an array in C order as .npy; return the SHA-256 of the member."""
    return write_bytes(archive, name, ArrayHeader(array.dtype, array.shape).to_bytes(), _bytes_of(array))


def sums_text(sums: Mapping[str, str]) -> bytes:
    """Return one line per member, as ``sha256sum --check`` reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode("ascii")


def list_members(archive: zipfile.ZipFile, file_size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, once it is clear that they take no more room than the file does."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in members:
            raise ValueError(f"{info.filename} is there twice")
        members[info.filename] = info
    # Members that lie on top of each other would add up to more.
    total = sum(info.compress_size for info in members.values())
    if total > file_size:
        raise ValueError(f"its members claim {total} bytes, more than the file's {file_size}")
    return members


def read_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Return what a member holds, if it has at most ``limit`` bytes."""
    _require_stored(member)
    if member.file_size > limit:
        raise ValueError(f"{member.filename} has {member.file_size} bytes, more than {limit}")
    return archive.read(member)


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[npt.NDArray[Any], str]:
    """Return an array, and the SHA-256 of its member; no memory is taken before its size is known to be right."""
    _require_stored(member)
    with archive.open(member) as file:
        start = file.read(HEADER_LIMIT)
        header = array_header(start)
        n_header = len(header.to_bytes())
        if n_header + header.n_bytes != member.file_size:
            raise ValueError(f"{member.filename} has {member.file_size} bytes, which is not what its shape asks for")
        array = np.empty(header.shape, header.dtype)
        digest = hashlib.sha256(start)
        target = _bytes_of(array)
        done = len(start) - n_header
        target[:done] = start[n_header:]
        _fill(target[done:], file, digest)
    return array.astype(header.dtype.newbyteorder("="), copy=False), digest.hexdigest()


def _require_stored(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"{member.filename} is encrypted")
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise ValueError(f"{member.filename} is compressed, which Castile never does; was it packed anew?")


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """Return the memory of an array in C order."""
    return array.reshape(-1).view(np.uint8).data


def _fill(target: memoryview, file: IO[bytes], digest: Any) -> None:
    """Read as many bytes as there is room for, up to the end, where zipfile compares the checksum of the zip."""
    done = 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        target[done : done + len(chunk)] = chunk
        done += len(chunk)
    if done != len(target):
        raise EOFError("an array ends too early")
