"""Models that are fitted to descriptors."""

from castile.models.kernel_ridge import KernelRidge
from castile.models.selection import select

__all__ = ["KernelRidge", "select"]
