"""Castile: fast, differentiable descriptors and kernel regression for atomistic machine learning.

Units are Å, eV, eV/Å and eV/Å³; structures are ``ase.Atoms``.
"""

from castile import kernels
from castile._core import __version__
from castile.descriptors import (
    SOAP,
    Gradients,
    Jacobian,
    JacobianGroup,
    MemoryEstimate,
    RadialSpectrum,
    SphericalExpansion,
)
from castile.errors import (
    CastileError,
    FileReadError,
    InputError,
    InputTypeError,
    MemoryLimitError,
    NotFittedError,
    UnknownSpeciesError,
)
from castile.models import KernelRidge, select
from castile.neighbors import NeighborList, neighbor_list
from castile.parallel import num_threads, set_num_threads, threads

__all__ = [
    "SOAP",
    "CastileError",
    "FileReadError",
    "Gradients",
    "InputError",
    "InputTypeError",
    "Jacobian",
    "JacobianGroup",
    "KernelRidge",
    "MemoryEstimate",
    "MemoryLimitError",
    "NeighborList",
    "NotFittedError",
    "RadialSpectrum",
    "SphericalExpansion",
    "UnknownSpeciesError",
    "__version__",
    "kernels",
    "neighbor_list",
    "num_threads",
    "select",
    "set_num_threads",
    "threads",
]
