"""Features as .npy files, which NumPy maps into memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castile.errors import FileReadError, InputError
from castile.storage._arrays import GrowingArray, sync_folder

__all__ = ["NpyFormat"]

_BESIDE = ("samples", "indices", "indptr")


class NpyFormat:
    """``X.npy`` holds the features; beside it are ``X.samples.npy`` and ``X.castile.json``.

    Of sparse features, ``X.npy`` holds the stored values, ``X.indices.npy`` and ``X.indptr.npy`` the rest of their
    CSR form.
    """

    name = "npy"
    suffixes: tuple[str, ...] = (".npy",)

    def require(self) -> None:
        """Raise if a package is missing: none is needed."""

    def files(self, target: Path) -> list[Path]:
        """Return all files that may belong to a target."""
        return [target, *(_beside(target, f"{name}.npy") for name in _BESIDE), _beside(target, "castile.json")]

    def check_overwritten(self, target: Path) -> None:
        """Raise if the target must not be overwritten even if that is allowed."""
        if target.exists() and not target.is_file():
            raise InputError(f"{target} exists and is not a regular file; choose another name")

    def publish(self, arrays: Mapping[str, GrowingArray], metadata: dict[str, Any], target: Path, work: Path) -> None:
        """Give the arrays their final names, the target last: when it is there, all is.

        Until then they also stay where they are, so that this can be done again after an interruption.
        """
        for file in self.files(target):  # of an output that is overwritten; the target first
            file.unlink(missing_ok=True)
        main = arrays["data"] if "data" in arrays else arrays["features"]
        for name in set(_BESIDE) & set(arrays):
            _link(arrays[name].path, work / name, _beside(target, f"{name}.npy"))
        text = work / "castile.json"
        text.write_text(json.dumps(metadata), encoding="utf-8")
        _sync(text)
        os.replace(text, _beside(target, "castile.json"))
        sync_folder(target.parent)
        os.replace(main.path, target)
        sync_folder(target.parent)

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Return what :meth:`publish` was given."""
        file = _beside(path, "castile.json")
        try:
            metadata: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileReadError(
                f"{file} is missing, which transform_to writes beside {path.name}; was {path.name} moved alone, "
                "or written by something else? numpy.load reads it"
            ) from None
        return metadata

    def read(self, path: Path, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows of an array, mapped into memory and read-only."""
        file = path if name in {"features", "data"} else _beside(path, f"{name}.npy")
        rows: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)[start:stop]
        return rows


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f"{target.name.removesuffix('.npy')}.{ending}")


def _link(source: Path, temporary: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        _sync(temporary)
    os.replace(temporary, target)


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
