"""The folder in which an output grows until it is complete."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from castile.errors import FileReadError, InputError
from castile.storage._arrays import ArrayType, GrowingArray, sync_folder
from castile.storage._journal import Commit, Journal

__all__ = ["Staging", "staging_folder"]

_JOURNAL = "journal.jsonl"
_ARRAYS = ("features", "data", "indices", "indptr", "samples")
_WORK = "finishing"  # where a format prepares its files


def staging_folder(target: Path) -> Path:
    """Return the folder of the unfinished output."""
    return target.with_name(f"{target.name}.partial")


class Staging:
    """Arrays that grow, and the journal that tells how much of them is valid.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    forget : bool
        Begin anew, whatever the folder holds of an earlier run.
    """

    def __init__(self, folder: Path, *, forget: bool = False) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}, the folder for unfinished output, is a file; remove or rename it")
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._arrays: dict[str, GrowingArray] = {}
        self._journal = Journal(folder / _JOURNAL, forget=forget)

    @property
    def header(self) -> dict[str, Any] | None:
        """What the run in the folder computes; None if nothing is there to go on from."""
        return self._journal.header if self.commits else None

    @property
    def commits(self) -> list[Commit]:
        """States of the output, in order."""
        return self._journal.commits

    @property
    def n_frames(self) -> int:
        """Frames whose rows are safely on disk."""
        return self.commits[-1].frames if self.commits else 0

    @property
    def n_rows(self) -> dict[str, int]:
        """Rows of each array."""
        return {name: array.n_rows for name, array in self._arrays.items()}

    def begin(self, header: dict[str, Any], types: Mapping[str, ArrayType]) -> None:
        """Start anew with empty arrays."""
        self._remove(*_ARRAYS)
        self._journal.begin(header)
        self._arrays = {name: GrowingArray(self.folder / f"{name}.npy", kind) for name, kind in types.items()}
        sync_folder(self.folder)
        sync_folder(self.folder.parent)

    def resume(self, types: Mapping[str, ArrayType]) -> None:
        """Open the arrays as they were at the last commit."""
        rows = self.commits[-1].rows
        try:
            for name, kind in types.items():
                self._arrays[name] = GrowingArray(self.folder / f"{name}.npy", kind, rows[name])
        except FileNotFoundError as error:
            raise FileReadError(
                f"{error.filename} is missing; the unfinished output is damaged: start again with overwrite=True"
            ) from error

    def append(self, arrays: Mapping[str, npt.NDArray[Any]], n_frames: int, fingerprint: str) -> None:
        """Write the rows of the next frames, and return when they are safe."""
        for name, rows in arrays.items():
            self._arrays[name].append(rows)
        for array in self._arrays.values():
            array.sync()
        self._journal.commit(Commit(self.n_frames + n_frames, self.n_rows, fingerprint))

    def read(self, name: str, n_rows: int) -> npt.NDArray[Any]:
        """Return the first rows of an array."""
        return self._arrays[name].read(0, n_rows)

    def seal(self) -> dict[str, GrowingArray]:
        """Complete the arrays; they can still be read."""
        for array in self._arrays.values():
            array.seal()
        return self._arrays

    def work_folder(self) -> Path:
        """Return an empty folder on the same file system as the output."""
        self._remove(_WORK)
        folder = self.folder / _WORK
        folder.mkdir()
        return folder

    def close(self) -> None:
        """Close all files, which ends the lock."""
        for array in self._arrays.values():
            array.close()
        self._journal.close()

    def remove(self) -> None:
        """Remove the folder, but no file in it that does not belong to the output, and close."""
        self._remove(*_ARRAYS, _WORK)
        (self.folder / _JOURNAL).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody's file is in it
            self.folder.rmdir()
        self.close()

    def _remove(self, *names: str) -> None:
        for name in names:
            if name == _WORK:
                shutil.rmtree(self.folder / name, ignore_errors=True)
            else:
                (self.folder / f"{name}.npy").unlink(missing_ok=True)
