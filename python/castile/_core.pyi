"""Types of the compiled core, written by hand; CI compares them with the module (mypy.stubtest)."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

_Bool = npt.NDArray[np.bool_]
_Int32 = npt.NDArray[np.int32]
_Int64 = npt.NDArray[np.int64]
_Float64 = npt.NDArray[np.float64]

__version__: str

# Threads, processor and memory.
def num_threads() -> int: ...
def set_num_threads(n_threads: int) -> None: ...
def set_num_threads_of_this_thread(n_threads: int) -> int: ...
def openmp_enabled() -> bool: ...
def instruction_set() -> str: ...
def instruction_sets_built() -> list[str]: ...
def compiler() -> str: ...
def available_memory() -> float: ...

# Structures and their neighbors.
def frame_arrays(
    frames: list[Any], first_frame: int, n_numbers: int
) -> tuple[_Float64, _Int64, _Float64, _Bool, _Int64, bool]:
    """Copy positions, numbers, cells, pbc and offsets of ``ase.Atoms``; say if they are beyond doubt."""

class Structures:
    """Many structures behind each other; keeps the arrays that it points into."""

    def __init__(
        self,
        positions: _Float64,
        species: _Int32,
        cells: _Float64,
        pbc: _Bool,
        atom_offsets: _Int64,
    ) -> None: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def n_atoms(self) -> int: ...

def neighbor_list(
    structures: Structures,
    quantities: str,
    cutoff: float,
    of_species_pair: _Float64 | None = None,
    radii: _Float64 | None = None,
    half: bool = False,
    self_interaction: bool = False,
) -> tuple[_Int64, _Int64 | None, _Int64 | None, _Int32 | None, _Float64 | None, _Float64 | None]: ...

# Descriptors.
def radial_basis_names() -> list[str]: ...
def feature_head_names() -> list[str]: ...
def density_weighting_names() -> list[str]: ...
def product_functions(
    n_channels: int,
    n_max: int,
    l_max: int,
    degrees: Sequence[int],
    channel_degrees: Sequence[int] = ...,
    most_channels: int = 5,
) -> list[tuple[tuple[tuple[int, int, int], ...], tuple[int, ...]]]: ...
def product_count(
    n_channels: int,
    n_max: int,
    l_max: int,
    degrees: Sequence[int],
    channel_degrees: Sequence[int] = ...,
    most_channels: int = 5,
) -> float: ...
def product_sizes(degrees: Sequence[int]) -> tuple[int, int]: ...

class Centers:
    """Centers per frame, atoms or points, and the runs of them that make averaged rows; keeps the arrays."""

    def __init__(
        self,
        atoms: _Int64,
        offsets: _Int64,
        points: _Float64 | None = None,
        row_offsets: _Int64 | None = None,
    ) -> None: ...

class JacobianLayout:
    """Where the blocks of an explicit Jacobian go."""

    @property
    def groups(self) -> list[tuple[int, int, bool, int, _Int64, _Int64, _Int64]]:
        """Species of the moving atoms, set, whether all columns of the set, how many, row, frame and atom of blocks."""

    @property
    def sets(self) -> list[tuple[tuple[int, ...], int, _Int64]]:
        """Channels that rows see, how many columns that makes, and the rows."""

_Float = TypeVar("_Float", np.float32, np.float64)

class _DensityDescriptor(Generic[_Float]):
    """A descriptor for arrays of one precision."""

    def __init__(self, parameters: dict[str, Any]) -> None: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_channels(self) -> int: ...
    @property
    def mixes_species(self) -> bool: ...
    @property
    def n_max(self) -> int: ...
    @property
    def table_error(self) -> float: ...
    @property
    def table_bytes(self) -> int: ...
    def transform(
        self,
        structures: Structures,
        centers: Centers,
        out: npt.NDArray[_Float] | None = None,
        zeroed: bool = False,
    ) -> npt.NDArray[_Float]: ...
    def transform_sparse(self, structures: Structures, centers: Centers) -> tuple[npt.NDArray[_Float], _Int32, _Int64]:
        """Return values, columns and row offsets."""

    def vjp(
        self,
        structures: Structures,
        centers: Centers,
        cotangent: npt.NDArray[_Float],
        columns: _Int32 | None = None,
        row_offsets: _Int64 | None = None,
    ) -> tuple[_Float64, _Float64, _Float64]:
        """Return the gradients of positions, points (without rows if there are none) and strain.

        The cotangent is dense, or in CSR form with ``columns`` and ``row_offsets``.
        """

    def jvp(
        self,
        structures: Structures,
        centers: Centers,
        positions: _Float64,
        points: _Float64 | None,
        strain: _Float64,
    ) -> npt.NDArray[_Float]: ...
    def jvp_sparse(
        self,
        structures: Structures,
        centers: Centers,
        positions: _Float64,
        points: _Float64 | None,
        strain: _Float64,
    ) -> tuple[npt.NDArray[_Float], _Int32, _Int64]:
        """Return values, columns and row offsets."""

    def jacobian_layout(self, structures: Structures, centers: Centers, sparse: bool) -> JacobianLayout: ...
    def columns(self, channels: Sequence[int], touched_by: int = -1) -> _Int64:
        """Return the columns of rows that see these channels, or those of them that one channel touches."""

    def jacobian(
        self,
        structures: Structures,
        centers: Centers,
        layout: JacobianLayout,
        values: list[npt.NDArray[_Float]],
        strain: list[npt.NDArray[_Float]] | None,
    ) -> None:
        """Fill arrays of the caller's, one per group and one per set of the layout."""

    def radial_functions(self, distances: _Float64, species: int) -> tuple[_Float64, _Float64]: ...

class DensityDescriptor(_DensityDescriptor[np.float64]): ...
class DensityDescriptorF32(_DensityDescriptor[np.float32]): ...

# Kernels.
def dot_product_kernel(X: _Float64, Y: _Float64, zeta: float, normalize: bool) -> _Float64: ...
def dot_product_kernel_sums(
    X: _Float64,
    x_offsets: _Int64,
    Y: _Float64,
    y_offsets: _Int64,
    zeta: float,
    normalize: bool,
) -> _Float64: ...

# Potentials.
class EnergyTerm:
    """A part of a potential energy; made as one of its kinds."""

    @property
    def cutoff(self) -> float: ...
    @property
    def n_species(self) -> int: ...

class DescriptorTerm(EnergyTerm):
    """Sums over sparse points, per species of the center, of weights times powers of dot products."""

    def __init__(
        self,
        descriptor: DensityDescriptor,
        zeta: float,
        normalize: bool,
        points: Sequence[_Float64],
        weights: Sequence[_Float64],
        members: Sequence[_Float64] | None = None,
        projections: Sequence[_Float64] | None = None,
    ) -> None: ...

class Repulsion(EnergyTerm):
    """Screened repulsion of nuclei; the radii are (n_species, n_species), flat."""

    def __init__(self, numbers: Sequence[float], inner: Sequence[float], outer: Sequence[float]) -> None: ...
    def pair(self, first: int, second: int, distance: float) -> tuple[float, float]:
        """Return the energy of one pair and its derivative by the distance."""

class Potential:
    """A sum of terms over centers."""

    def __init__(self, terms: Sequence[EnergyTerm]) -> None: ...
    @property
    def cutoff(self) -> float: ...
    @property
    def n_members(self) -> int: ...
    def evaluate_members(self, structures: Structures) -> tuple[_Float64, _Float64, _Float64, _Float64]:
        """Return energies of atoms, forces, dE/dstrain of frames, and how energies of a committee's members differ."""

    def evaluate_frames(
        self, structures: Structures, forces: bool = True, strain: bool = True, strains: bool = False
    ) -> tuple[_Float64, _Float64 | None, _Float64 | None, _Float64 | None]:
        """Return energies of atoms, forces, dE/dstrain of frames, and what each atom adds to it."""

    def evaluate(
        self,
        positions: _Float64,
        species: _Int32,
        centers: _Int64 | None,
        offsets: _Int64,
        neighbors: _Int64,
        forces: bool = True,
        strain: bool = True,
        strains: bool = False,
    ) -> tuple[_Float64, _Float64 | None, _Float64 | None, _Float64 | None]:
        """Return the same for centers with given neighbors in open space; ``strain`` is (1, 3, 3)."""

class DescriptorColumns:
    """Columns of a design matrix: what each sparse point, or without them each feature, adds to energies."""

    def __init__(
        self,
        descriptor: DensityDescriptor,
        zeta: float = 1.0,
        normalize: bool = False,
        points: Sequence[_Float64] | None = None,
    ) -> None: ...
    @property
    def n_columns(self) -> int: ...
    @property
    def first_columns(self) -> list[int]:
        """Where the columns of each species start, and the end."""

    def write(
        self,
        structures: Structures,
        rows: _Float64,
        first_column: int,
        energy: _Int64,
        force: _Int64,
        strain: _Int64,
        factors: _Float64,
    ) -> None:
        """Write the rows whose numbers are given, -1 for none: one per frame, three per atom, six per frame."""
