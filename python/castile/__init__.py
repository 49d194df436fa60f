"""Castile: fast, differentiable descriptors, kernel regression and force fields for atomistic machine learning.

Units are Å, eV, eV/Å and eV/Å³; structures are ``ase.Atoms``. The modules ``calculator``, ``data``, ``datasets``,
``io``, ``layouts``, ``plots``, ``rotations`` and ``storage``, and force fields, are imported when they are first used.
"""

from typing import TYPE_CHECKING

from castile import kernels
from castile._core import __version__
from castile.descriptors import (
    SOAP,
    Bispectrum,
    FeatureChunk,
    Gradients,
    Jacobian,
    JacobianGroup,
    MemoryEstimate,
    Products,
    RadialSpectrum,
    SphericalExpansion,
    StrainGroup,
    TabulatedBasis,
)
from castile.errors import (
    CastileError,
    FileReadError,
    FileWriteError,
    InputError,
    InputTypeError,
    MemoryLimitError,
    MissingPackageError,
    NotFittedError,
    UnknownSpeciesError,
)
from castile.models import KernelRidge, select
from castile.neighbors import NeighborList, neighbor_list
from castile.parallel import instruction_set, num_threads, set_num_threads, threads

if TYPE_CHECKING:
    from castile import calculator as calculator
    from castile import data as data
    from castile import datasets as datasets
    from castile import io as io
    from castile import layouts as layouts
    from castile import plots as plots
    from castile import rotations as rotations
    from castile import storage as storage
    from castile.models.force_field import ForceField, PairTerm, ProductTerm, SoapTerm, load

__all__ = [
    "SOAP",
    "Bispectrum",
    "CastileError",
    "FeatureChunk",
    "FileReadError",
    "FileWriteError",
    "ForceField",
    "Gradients",
    "InputError",
    "InputTypeError",
    "Jacobian",
    "JacobianGroup",
    "KernelRidge",
    "MemoryEstimate",
    "MemoryLimitError",
    "MissingPackageError",
    "NeighborList",
    "NotFittedError",
    "PairTerm",
    "ProductTerm",
    "Products",
    "RadialSpectrum",
    "SoapTerm",
    "SphericalExpansion",
    "StrainGroup",
    "TabulatedBasis",
    "UnknownSpeciesError",
    "__version__",
    "instruction_set",
    "kernels",
    "load",
    "neighbor_list",
    "num_threads",
    "select",
    "set_num_threads",
    "threads",
]

# Not in __all__: `from castile import *` must not hide the standard library's io.
_LAZY_MODULES = ("calculator", "data", "datasets", "io", "layouts", "plots", "rotations", "storage")

# Of a package that imports much; they are in __all__.
_LAZY_NAMES = ("ForceField", "PairTerm", "ProductTerm", "SoapTerm", "load")

if not TYPE_CHECKING:  # type checkers take it for a promise that every name exists

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _LAZY_NAMES:
            return getattr(import_module(f"{__name__}.models.force_field"), name)
        if name not in _LAZY_MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY_NAMES})
