"""How the memory that a fit may take is shared out."""

from __future__ import annotations

from dataclasses import dataclass

from castile._memory import format_bytes
from castile.errors import MemoryLimitError

__all__ = ["MemoryPlan", "plan_memory"]

_KINDS = 3  # of rows, each with sums of its own
_WAITING = 512  # rows of each kind that wait to be summed
_SHARE = 0.25  # of the limit, for rows at a time
_ENOUGH = 1 << 28  # bytes of rows: more makes nothing faster
_FEWEST = 64  # rows


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes for rows.

    Attributes
    ----------
    usual : int
        That rows of some frames take together.
    most : int
        That those of one large frame may take.
    """

    usual: int
    most: int


def plan_memory(limit: int, n_columns: int, n_whitened: int) -> MemoryPlan:
    """Return what ``max_memory`` leaves for rows.

    Raises
    ------
    MemoryLimitError
        If it does not even hold what is needed whatever the frames are.
    """
    # Sums by kind, and again those of frames that are being added to them, when there is a solution; the triangles of
    # whitening and solution. While a new solution is made, it is one matrix instead of the second sums.
    fixed = 8 * (n_whitened * n_whitened * (2 * _KINDS + 2) + 2 * _KINDS * _WAITING * n_whitened)
    least = 8 * _FEWEST * n_columns
    most = limit - fixed
    if most < least:
        raise MemoryLimitError(
            f"max_memory is {format_bytes(limit)}, but {n_whitened} columns take {format_bytes(fixed + least)} "
            "whatever the number of frames; raise max_memory, or lower n_sparse"
        )
    return MemoryPlan(min(int(_SHARE * limit), _ENOUGH, most), most)
