"""Features as a zarr store."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from castile.errors import FileReadError, InputError
from castile.storage._arrays import GrowingArray, sync_folder
from castile.storage._groups import columns, import_optional, read_rows

__all__ = ["ZarrFormat"]

_METADATA = "castile"
_COMPRESSORS = ("none", "blosc", "zstd", "zlib", "gzip", "lz4")


class ZarrFormat:
    """A folder with the arrays ``features`` and ``samples/*``; the metadata is the attribute ``castile``.

    Written in zarr's format 2, which the library reads from its version 2 on.
    """

    name = "zarr"
    suffixes: tuple[str, ...] = (".zarr",)

    def require(self) -> None:
        """Raise MissingPackageError without zarr."""
        import_optional("zarr")

    def files(self, target: Path) -> list[Path]:
        """Return all files that may belong to a target."""
        return [target]

    def check_overwritten(self, target: Path) -> None:
        """Raise if the target must not be overwritten even if that is allowed."""
        if target.exists() and not ((target / ".zgroup").is_file() and (target / "features").is_dir()):
            raise InputError(
                f"{target} is not a zarr store that transform_to wrote and will not be removed; do it yourself, "
                "or choose another name"
            )

    def publish(self, arrays: Mapping[str, GrowingArray], metadata: dict[str, Any], target: Path, work: Path) -> None:
        """Write the store elsewhere, then give it its name."""
        temporary = work / "features.zarr"
        group = _create(temporary)
        for column in columns(arrays):
            # Version 3 of the library has another name for it, and warns of the old one.
            create = getattr(group, "create_array", None) or group.create_dataset
            chunk = (max(min(column.block, column.shape[0]), 1), *column.shape[1:])
            column.copy_to(create(column.name, shape=column.shape, dtype=column.dtype, chunks=chunk))
        group.attrs[_METADATA] = metadata
        _sync_tree(temporary)
        if target.exists():
            os.rename(target, work / "replaced.zarr")
        os.rename(temporary, target)
        sync_folder(target.parent)

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Return what :meth:`publish` was given."""
        group = import_optional("zarr").open_group(str(path), mode="r")
        if _METADATA not in group.attrs:
            raise FileReadError(f"{path} was not written by transform_to; zarr.open may read it")
        return dict(group.attrs[_METADATA])

    def read(self, path: Path, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows of an array."""
        _refuse_code(path)
        return read_rows(import_optional("zarr").open_group(str(path), mode="r"), name, start, stop)


def _refuse_code(path: Path) -> None:
    """Raise if reading an array would run more than the codecs that Castile writes: those of objects run code."""
    for file in path.rglob(".zarray"):
        array = json.loads(file.read_text())
        compressor = (array.get("compressor") or {}).get("id", "none")
        if array.get("filters") or "O" in str(array["dtype"]) or compressor not in _COMPRESSORS:
            raise FileReadError(
                f"{file.parent} is stored in a way that Castile does not write, and is not opened: reading it might "
                "run code"
            )


def _create(path: Path) -> Any:
    zarr = import_optional("zarr")
    format_2 = {} if zarr.__version__.startswith("2.") else {"zarr_format": 2}
    return zarr.open_group(str(path), mode="w", **format_2)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(parent))
