"""Arrays on disk that grow by rows, as .npy files whose header is completed at the end."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from castile.errors import FileReadError

__all__ = ["ArrayType", "GrowingArray", "sync_folder", "write_all"]

# Fixed, so that the header can be rewritten in place; a multiple of 64, as the format asks for.
_HEADER_BYTES = 256


class ArrayType(NamedTuple):
    """What every row of an array is: its shape is ``(n_rows, *row_shape)``."""

    dtype: np.dtype[Any]
    row_shape: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(self.dtype.itemsize * np.prod(self.row_shape, dtype=np.int64))


class GrowingArray:
    """A .npy file to which rows are appended; until :meth:`seal`, its header says that there are none."""

    def __init__(self, path: Path, kind: ArrayType, n_rows: int = 0) -> None:
        """Open the file with its first ``n_rows`` rows; anything behind them is cut off."""
        self.path = path
        self.n_rows = n_rows
        self.type = kind
        # Unbuffered: what could not be written must not be tried again when the file is closed.
        self._file = path.open("r+b" if n_rows else "w+b", buffering=0)
        end = _HEADER_BYTES + n_rows * kind.row_bytes
        if self._file.seek(0, os.SEEK_END) < (end if n_rows else 0):
            self._file.close()
            raise FileReadError(
                f"{path} is shorter than the {n_rows} rows that were written to it; the unfinished output is damaged: "
                "start again with overwrite=True"
            )
        self._file.truncate(end if n_rows else 0)
        if not n_rows:
            write_all(self._file, _header(kind, 0))
        self._file.seek(end)

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write rows behind those that are there."""
        rows = np.ascontiguousarray(rows, dtype=self.type.dtype)
        write_all(self._file, rows.view(np.uint8) if rows.size else b"")
        self.n_rows += len(rows)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return some rows; they are read, as pages of a memory map would count as memory in use."""
        count = (stop - start) * self.type.row_bytes // self.type.dtype.itemsize
        offset = _HEADER_BYTES + start * self.type.row_bytes
        flat = np.fromfile(self.path, self.type.dtype, count, offset=offset)
        return flat.reshape(stop - start, *self.type.row_shape)

    def sync(self) -> None:
        """Return when all rows are on the disk."""
        os.fsync(self._file.fileno())

    def seal(self) -> None:
        """Complete the header, after which every reader of .npy files sees all rows."""
        self._file.seek(0)
        write_all(self._file, _header(self.type, self.n_rows))
        self.sync()
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_all(file: Any, data: Any) -> None:
    """Write all of ``data`` to an unbuffered file, which may take less at a time."""
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    while view:
        view = view[file.write(view) :]


def sync_folder(folder: Path) -> None:
    """Return when the names of a folder's files are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header(kind: ArrayType, n_rows: int) -> bytes:
    """Return what numpy.lib.format writes in its version 1.0, padded to a fixed size."""
    shape = (n_rows, *kind.row_shape)
    fields = {"descr": np.lib.format.dtype_to_descr(kind.dtype), "fortran_order": False, "shape": shape}
    magic = np.lib.format.magic(1, 0)
    text = repr(fields).ljust(_HEADER_BYTES - len(magic) - 3) + "\n"
    return bytes(magic + struct.pack("<H", len(text)) + text.encode("ascii"))
