"""Packages that only some features need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from castile.errors import MissingPackageError

__all__ = ["import_optional"]


def import_optional(package: str, what: str, install: str, instead: str) -> ModuleType:
    """Import a package.

    Parameters
    ----------
    package : str
    what : str
        What needs it.
    install : str
        What pip is to install, such as ``castile[storage]``.
    instead : str
        What works without it.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingPackageError(
            f'{what} needs the package {package}; install it with pip install "{install}", or {instead}'
        ) from None
