"""The errors that Castile raises: each also is the built-in error that one expects."""

from __future__ import annotations

from sklearn.exceptions import NotFittedError as _SklearnNotFittedError

__all__ = [
    "CastileError",
    "FileReadError",
    "FileWriteError",
    "InputError",
    "InputTypeError",
    "MemoryLimitError",
    "MissingPackageError",
    "NotFittedError",
    "UnknownSpeciesError",
]


class CastileError(Exception):
    """Base class of every error that Castile raises on purpose."""


class InputError(CastileError, ValueError):
    """An argument has a value that cannot be used; the message names it and the remedy."""


class InputTypeError(CastileError, TypeError):
    """An argument has a type that cannot be used."""


class UnknownSpeciesError(CastileError, KeyError):
    """A structure holds a chemical species that the descriptor does not know."""

    def __str__(self) -> str:
        # KeyError would show the message's repr, with quotes and escapes.
        return str(self.args[0]) if self.args else ""


class MemoryLimitError(CastileError, MemoryError):
    """A result would not fit into the memory at hand; the message gives its size."""


class NotFittedError(CastileError, _SklearnNotFittedError):  # type: ignore[misc]
    """A method that needs fitted state was called before ``fit``."""


class FileReadError(CastileError, OSError):
    """A file cannot be read, or is not what it should be."""


class FileWriteError(CastileError, OSError):
    """A file cannot be written, for example because the disk is full; ``errno`` is that of the system."""


class MissingPackageError(CastileError, ImportError):
    """An optional package is needed that is not installed; the message names it and how to get it."""
