"""Kernels between environments, and how they sum to kernels between structures."""

from castile.kernels.environment import soap_kernel
from castile.kernels.structure import average_kernel, species_kernel

__all__ = ["average_kernel", "soap_kernel", "species_kernel"]
