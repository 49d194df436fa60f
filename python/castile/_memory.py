"""What fits into memory, asked before anything large is made."""

from __future__ import annotations

from castile import _core
from castile.errors import MemoryLimitError

__all__ = ["format_bytes", "require_memory"]

_ALWAYS_FITS = 64 * 1024 * 1024  # asking the system takes longer than small requests do


def format_bytes(n_bytes: int) -> str:
    """Return a size with a unit that a person can read."""
    size = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024.0:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024.0
    return f"{size:.1f} TiB"


def require_memory(n_bytes: int, what: str, remedy: str) -> None:
    """Raise MemoryLimitError, with the figures, if ``n_bytes`` are more than is available."""
    if n_bytes <= _ALWAYS_FITS:
        return
    available = int(_core.available_memory())
    if n_bytes > available:
        raise MemoryLimitError(
            f"{what} would take {format_bytes(n_bytes)}, but only {format_bytes(available)} of memory are "
            f"available; {remedy}"
        )
