"""``castile info``: what is installed, and how it will run."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from castile import _core
from castile._memory import format_bytes
from castile.cli._console import key_value_table, output

__all__ = ["info"]

_PACKAGES = ("numpy", "scipy", "scikit-learn", "ase", "matplotlib", "pandas", "pymatgen")


def info() -> None:
    """Print versions, threads, OpenMP and instruction sets."""
    forced = os.environ.get("CASTILE_SIMD")
    chosen = _core.instruction_set()
    threads = str(_core.num_threads())
    if not _core.openmp_enabled():
        threads = "1 (built without OpenMP: install it and build again to use more)"
    rows = [
        ("castile", _core.__version__),
        ("compiler", _core.compiler()),
        ("OpenMP", "yes" if _core.openmp_enabled() else "no"),
        ("threads", threads),
        ("instruction set", f"{chosen} (CASTILE_SIMD={forced})" if forced else f"{chosen} (chosen at run time)"),
        ("instruction sets built", ", ".join(_core.instruction_sets_built())),
        ("memory available", format_bytes(int(_core.available_memory()))),
        ("Python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        *((package, _version(package)) for package in _PACKAGES),
    ]
    output.print(key_value_table(rows))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
