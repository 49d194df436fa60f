"""From paths, frames and data sets to frames with names for messages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ase import Atoms

from castile.errors import InputError
from castile.structures import as_frames

__all__ = ["are_paths", "load"]


def are_paths(source: Any) -> bool:
    """Return True for a path or a list of paths."""
    if isinstance(source, (list, tuple)):
        return len(source) > 0 and all(isinstance(entry, (str, os.PathLike)) for entry in source)
    return isinstance(source, (str, os.PathLike))


def load(source: Any, index: str, format: str | None) -> tuple[list[Atoms], list[str]]:
    """Return frames, and what messages call each."""
    if not are_paths(source):
        if index != ":" or format is not None:
            raise InputError("index and format are for files; choose frames as in frames[::10]")
        frames = as_frames(source)
        return frames, [f"frame {number}" for number in range(len(frames))]
    from castile.io import read_frames

    paths: Sequence[Any] = [source] if isinstance(source, (str, os.PathLike)) else source
    frames, names = [], []
    for path in paths:
        found = read_frames(path, index, format)
        frames += found
        names += [f"frame {number} of {path}" for number in range(len(found))]
    return frames, names
