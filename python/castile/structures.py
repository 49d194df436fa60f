"""From ``ase.Atoms`` to the contiguous arrays of the core: the only converter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from castile import _core
from castile.errors import InputError, InputTypeError, UnknownSpeciesError

__all__ = [
    "StructureArrays",
    "as_frames",
    "as_structure_arrays",
    "is_single_frame",
    "iterate_frames",
    "species_table",
    "trained_species_table",
    "volumes",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ADD_SPECIES = "add them to species=, or fit on frames that hold them"
_READ_FILES = "read files with ase.io.read(path, ':')"
_DOUBTFUL_GRAM_DETERMINANT = 1e-8
_SMALLEST_VOLUME_RATIO = 1e-10  # |det| of the unit cell vectors, below which a cell counts as flat


@dataclass(frozen=True, eq=False)
class StructureArrays:
    """Many structures behind each other, checked and contiguous.

    Attributes
    ----------
    positions : ndarray of shape (n_atoms, 3)
        Cartesian positions of all frames' atoms in Å.
    numbers : ndarray of shape (n_atoms,)
        Atomic numbers.
    cells : ndarray of shape (n_frames, 3, 3)
        Cell vectors as rows, Å; zero rows where there is none.
    pbc : ndarray of shape (n_frames, 3)
        True along periodic axes.
    atom_offsets : ndarray of shape (n_frames + 1,)
        The atoms of frame ``f`` are ``atom_offsets[f]:atom_offsets[f + 1]``.
    first_frame : int
        Number of frame 0 here in the stream that it was taken from; messages count from there.
    """

    positions: FloatArray
    numbers: IntArray
    cells: FloatArray
    pbc: npt.NDArray[np.bool_]
    atom_offsets: IntArray
    first_frame: int = 0

    @property
    def n_frames(self) -> int:
        """Number of structures."""
        return len(self.cells)

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all structures together."""
        return len(self.positions)

    def frame_of_atoms(self) -> IntArray:
        """Return the frame that each atom belongs to, shape (n_atoms,)."""
        return np.repeat(np.arange(self.n_frames), np.diff(self.atom_offsets))

    def slice(self, start: int, stop: int) -> StructureArrays:
        """Return frames ``start`` to ``stop`` as views."""
        first, last = self.atom_offsets[start], self.atom_offsets[stop]
        return StructureArrays(
            self.positions[first:last],
            self.numbers[first:last],
            self.cells[start:stop],
            self.pbc[start:stop],
            self.atom_offsets[start : stop + 1] - first,
            self.first_frame + start,
        )

    def to_core(self, species_of_number: npt.NDArray[np.int32]) -> _core.Structures:
        """Return the structures for the compiled core, with atomic numbers mapped to indices."""
        return _core.Structures(
            self.positions, species_of_number[self.numbers], self.cells, self.pbc, self.atom_offsets
        )


def as_frames(frames: Any) -> list[Atoms]:
    """Return the user's frames as a list of ``ase.Atoms``.

    Parameters
    ----------
    frames : ase.Atoms, pymatgen Structure or Molecule, or an iterable of them
        An ``Atoms`` counts as one frame, although one can iterate over it.

    Raises
    ------
    InputTypeError
        If something else than a structure is found.
    """
    if isinstance(frames, (list, tuple)) and set(map(type, frames)) == {Atoms}:
        return list(frames)  # which the loop would tell, too, but slower
    return list(iterate_frames(frames))


def iterate_frames(frames: Any) -> Iterator[Atoms]:
    """Return the user's frames one by one, as :func:`as_frames`; what is no collection of frames is refused at once."""
    if is_single_frame(frames):
        return iter([_as_atoms(frames, 0)])
    if isinstance(frames, (str, bytes)) or not isinstance(frames, Iterable):
        raise InputTypeError(
            f"frames must be ase.Atoms or a sequence of them, got {type(frames).__name__}; {_READ_FILES}"
        )
    if isinstance(frames, Mapping):
        raise InputTypeError(
            f"frames must be ase.Atoms or a sequence of them, got {type(frames).__name__}; "
            "give list(frames.values()) if its values are structures"
        )
    # "pandas.core.frame" before version 3, "pandas" since.
    if type(frames).__module__.partition(".")[0] == "pandas" and hasattr(frames, "columns"):
        raise InputTypeError(
            f"frames must be ase.Atoms or a sequence of them, got a {type(frames).__name__}; "
            f"give its column of structures, df[{_column_of_structures(frames)!r}]"
        )
    return (_as_atoms(frame, index) for index, frame in enumerate(frames))


def is_single_frame(frames: Any) -> bool:
    """Return True for one structure, although one can iterate over its atoms."""
    return isinstance(frames, Atoms) or _is_pymatgen(frames)


def _is_pymatgen(frame: Any) -> bool:
    return type(frame).__module__.startswith("pymatgen.") and hasattr(frame, "to_ase_atoms")


def _as_atoms(frame: Any, index: int) -> Atoms:
    if isinstance(frame, Atoms):
        return frame
    if _is_pymatgen(frame):
        return cast(Atoms, frame.to_ase_atoms())
    remedy = f"; {_READ_FILES}" if isinstance(frame, (str, os.PathLike)) else ""
    raise InputTypeError(
        f"frames[{index}] must be an ase.Atoms or a pymatgen Structure, got {type(frame).__name__}{remedy}"
    )


def _column_of_structures(table: Any) -> Any:
    """Return the name of the first column of a pandas DataFrame that holds structures, or an example."""
    for name in table.columns if len(table) else ():
        if is_single_frame(table[name].iloc[0]):
            return name
    return "atoms"


def as_structure_arrays(frames: Any, first_frame: int = 0) -> StructureArrays:
    """Convert and check frames.

    Parameters
    ----------
    frames : ase.Atoms or a sequence of them
        Positions may lie outside the cell. A periodic axis needs a cell vector.
    first_frame : int
        Number that messages give to the first of them.

    Returns
    -------
    StructureArrays

    Raises
    ------
    InputTypeError
        If something else than structures is given.
    InputError
        For positions or cells that are not finite, a periodic axis without a cell vector, or periodic
        cell vectors that span no volume. The message names the frame and the atom.
    """
    atoms_list = as_frames(frames)
    positions, numbers, cells, pbc, offsets, plainly_valid = _core.frame_arrays(
        atoms_list, first_frame, len(chemical_symbols)
    )
    arrays = StructureArrays(positions, numbers, cells, pbc, offsets, first_frame)
    if not plainly_valid:
        _check_numbers(arrays)
        _check_finite(arrays)
        _check_cells(arrays)
    return arrays


def _check_numbers(arrays: StructureArrays) -> None:
    numbers = arrays.numbers
    if not numbers.size or (numbers.min() >= 0 and numbers.max() < len(chemical_symbols)):
        return
    atom = int(np.flatnonzero((numbers < 0) | (numbers >= len(chemical_symbols)))[0])
    frame = int(np.searchsorted(arrays.atom_offsets, atom, side="right")) - 1
    raise InputError(
        f"atom {atom - arrays.atom_offsets[frame]} of frame {arrays.first_frame + frame} has atomic number "
        f"{numbers[atom]}; it must lie between 0 and {len(chemical_symbols) - 1}"
    )


def _check_finite(arrays: StructureArrays) -> None:
    if not np.isfinite(arrays.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(arrays.positions).all(axis=1))[0])
        frame = int(np.searchsorted(arrays.atom_offsets, atom, side="right")) - 1
        raise InputError(
            f"the position of atom {atom - arrays.atom_offsets[frame]} of frame {arrays.first_frame + frame} "
            "is not finite: "
            f"{arrays.positions[atom].tolist()}; remove or repair that structure"
        )
    if not np.isfinite(arrays.cells).all():
        frame = int(np.flatnonzero(~np.isfinite(arrays.cells).all(axis=(1, 2)))[0])
        raise InputError(
            f"the cell of frame {arrays.first_frame + frame} is not finite: {arrays.cells[frame].tolist()}"
        )


def _check_cells(arrays: StructureArrays) -> None:
    lengths = np.linalg.norm(arrays.cells, axis=2)
    missing = arrays.pbc & (lengths == 0.0)
    if missing.any():
        frame, axis = (int(value) for value in np.argwhere(missing)[0])
        raise InputError(
            f"frame {arrays.first_frame + frame} is periodic along axis {axis} but has no cell vector there; "
            "set atoms.cell, or set atoms.pbc to False along that axis"
        )
    unit = arrays.cells / np.where(lengths > 0.0, lengths, 1.0)[:, :, None]
    # The Gram determinant of the periodic vectors alone: the others are free.
    gram = np.einsum("fia,fja->fij", unit, unit)
    both = arrays.pbc[:, :, None] & arrays.pbc[:, None, :]
    gram = np.where(both, gram, np.eye(3))
    # Its rounding errors hide small volumes, so that doubtful cells are looked at once more.
    for frame in np.flatnonzero(np.linalg.det(gram) < _DOUBTFUL_GRAM_DETERMINANT).tolist():
        ratio = np.prod(np.linalg.svd(unit[frame][arrays.pbc[frame]], compute_uv=False))
        if ratio < _SMALLEST_VOLUME_RATIO:
            raise InputError(
                f"the periodic cell vectors of frame {arrays.first_frame + frame} span no volume: "
                f"{arrays.cells[frame].tolist()}; check atoms.cell, or set atoms.pbc to False"
            )


def volumes(cells: FloatArray) -> FloatArray:
    """Return the volumes of cells (n, 3, 3), NaN for those without three vectors that span one."""
    lengths = np.linalg.norm(cells, axis=2)
    found = np.abs(np.linalg.det(cells))
    return np.asarray(np.where(found > _SMALLEST_VOLUME_RATIO * np.prod(lengths, axis=1), found, np.nan))


def species_table(
    species: Sequence[str], numbers_present: IntArray, what: str, remedy: str = _ADD_SPECIES
) -> npt.NDArray[np.int32]:
    """Return the map from atomic number to dense species index.

    Parameters
    ----------
    species : sequence of str
        Chemical symbols, sorted by atomic number.
    numbers_present : ndarray of int
        Atomic numbers of the structures that the map will be used on.
    what : str
        Who asks, for the message.
    remedy : str
        What to do, for the message.

    Returns
    -------
    ndarray of shape (119,), int32
        -1 for species that are not in the list.

    Raises
    ------
    UnknownSpeciesError
        If a number is present whose symbol is not in ``species``.
    """
    table = _species_of_number(tuple(species))
    absent = table[numbers_present] < 0
    if absent.any():
        names = ", ".join(chemical_symbols[number] for number in np.unique(numbers_present[absent]))
        raise UnknownSpeciesError(
            f"{what} knows the species {', '.join(species)}, but the frames also hold {names}; {remedy}"
        )
    return table


def trained_species_table(species: Sequence[str], numbers_present: IntArray) -> npt.NDArray[np.int32]:
    """Return the map of :func:`species_table` for a force field that is fitted, whose species cannot be added to."""
    remedy = "it was not trained on them: fit anew, with training data that hold them, or leave these frames out"
    return species_table(species, numbers_present, "the force field", remedy)


@lru_cache
def _species_of_number(species: tuple[str, ...]) -> npt.NDArray[np.int32]:
    table = np.full(len(chemical_symbols), -1, dtype=np.int32)
    table[[atomic_numbers[symbol] for symbol in species]] = np.arange(len(species))
    table.flags.writeable = False
    return table
