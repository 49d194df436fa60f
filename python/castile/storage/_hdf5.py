"""Features as an HDF5 file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castile.errors import FileReadError, InputError
from castile.storage._arrays import GrowingArray, sync_folder
from castile.storage._groups import columns, import_optional, read_rows

__all__ = ["Hdf5Format"]

_METADATA = "castile"


class Hdf5Format:
    """One file with the datasets ``features``, ``samples/*`` and ``castile``, the metadata as JSON."""

    name = "hdf5"
    suffixes: tuple[str, ...] = (".h5", ".hdf5")

    def require(self) -> None:
        """Raise MissingPackageError without h5py."""
        import_optional("h5py")

    def files(self, target: Path) -> list[Path]:
        """Return all files that may belong to a target."""
        return [target]

    def check_overwritten(self, target: Path) -> None:
        """Raise if the target must not be overwritten even if that is allowed."""
        if target.exists() and not target.is_file():
            raise InputError(f"{target} exists and is not a regular file; choose another name")

    def publish(self, arrays: Mapping[str, GrowingArray], metadata: dict[str, Any], target: Path, work: Path) -> None:
        """Write the file elsewhere, then give it its name.

        HDF5 files that grow are damaged beyond repair if their writer is killed, hence in one go at the end.
        """
        temporary = work / "features.h5"
        with _create(temporary) as file:
            for column in columns(arrays):
                # HDF5 knows no text of four bytes a character.
                dtype = np.dtype(f"S{column.dtype.itemsize // 4}") if column.dtype.kind == "U" else column.dtype
                column.copy_to(file.create_dataset(column.name, column.shape, dtype))
            # An attribute holds 64 kB, and there may be thousands of feature names.
            file.create_dataset(_METADATA, data=json.dumps(metadata))
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Return what :meth:`publish` was given."""
        with import_optional("h5py").File(path, "r") as file:
            if _METADATA not in file:
                raise FileReadError(f"{path} was not written by transform_to; h5py may read it")
            metadata: dict[str, Any] = json.loads(file[_METADATA][()])
            return metadata

    def read(self, path: Path, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows of an array."""
        with import_optional("h5py").File(path, "r") as file:
            return read_rows(file, name, start, stop)


@contextmanager
def _create(path: Path) -> Iterator[Any]:
    """Open a new file. If the disk is full, h5py fails to close it, too, with an error that hides the cause."""
    try:
        with import_optional("h5py").File(path, "w") as file:
            yield file
    except RuntimeError as error:
        cause = error.__context__
        raise (cause if isinstance(cause, OSError) else OSError(str(error))) from None
