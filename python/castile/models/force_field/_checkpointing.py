"""Sums over rows that outlive a fit which is broken off."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

from castile.errors import FileWriteError, InputError, InputTypeError
from castile.models.force_field._normal import NormalEquations

__all__ = ["Checkpoint"]

_SECONDS = 30.0  # between two checkpoints


class Checkpoint:
    """Where sums are kept from time to time, or nowhere.

    Parameters
    ----------
    path : path or None
    name : str
        What the sums belong to: those of something else are refused.
    """

    def __init__(self, path: str | os.PathLike[str] | None, name: str) -> None:
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise InputTypeError(f"checkpoint must be a path, got {type(path).__name__}")
        self._path = None if path is None else Path(path)
        if self._path is not None and not self._path.parent.is_dir():
            # Rather now than when there is something to lose.
            raise InputError(f"checkpoint {self._path}: its folder does not exist; create it, or name another file")
        self._name = name
        self._last = time.monotonic()

    def resume(self, state: NormalEquations) -> NormalEquations:
        """Return the sums that were kept, or those given if there are none."""
        if self._path is None or not self._path.exists():
            return state
        kept = NormalEquations.load(self._path)
        if kept.notes.pop("of", None) != self._name or kept.n_columns != state.n_columns:
            raise InputError(
                f"checkpoint {self._path} is of other frames or of another force field; remove it, or name another file"
            )
        return kept

    def keep(self, state: NormalEquations, n_frames: int) -> None:
        """Write the sums after so many frames, unless that was done shortly before."""
        if time.monotonic() - self._last >= _SECONDS:
            self.keep_all(state, n_frames)

    def keep_all(self, state: NormalEquations, n_frames: int) -> None:
        """Write the sums after so many frames."""
        if self._path is None:
            return
        notes = dict(state.notes)
        state.notes.update(of=self._name, frames_of_this=n_frames)
        try:
            state.save(self._path)
        except FileWriteError as error:  # which is no reason to lose the fit, too
            warnings.warn(f"no checkpoint was written: {error}", stacklevel=2)
        finally:
            state.notes.clear()
            state.notes.update(notes)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the file, as the fit is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
