"""Neighbor lists of periodic and free structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from castile import _core
from castile._memory import require_memory
from castile.errors import InputError, InputTypeError
from castile.progress import cut, track
from castile.structures import StructureArrays, as_frames, as_structure_arrays, is_single_frame

__all__ = ["NeighborList", "neighbor_list"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_QUANTITIES = "ijSDd"
_NO_SPECIES = np.zeros(len(chemical_symbols), dtype=np.int32)  # cutoffs that do not depend on them
_CHUNK_ATOMS = 4096  # between two moves of a progress bar; frames are not cut


@dataclass(frozen=True, eq=False)
class _Cutoffs:
    """A user's cutoff as the core wants it: the largest, and what depends on the pair."""

    largest: float
    species_of_number: npt.NDArray[np.int32]
    of_species_pair: FloatArray | None = None
    radii: FloatArray | None = None

    def of_atoms(self, first: int, last: int) -> _Cutoffs:
        """Return the same cutoff for some of the atoms."""
        return self if self.radii is None else replace(self, radii=self.radii[first:last])


def neighbor_list(
    quantities: str,
    atoms: Atoms,
    cutoff: float | Mapping[tuple[Any, Any], float] | Sequence[float] | FloatArray,
    self_interaction: bool = False,
) -> Any:
    """Find all pairs of atoms closer than a cutoff, with the conventions of ASE.

    Parameters
    ----------
    quantities : str
        What to return, in this order: letters out of ``"ijSDd"``.

        - ``i``, ``j``: center and neighbor, int64 of shape (n_pairs,);
        - ``S``: cell shift, int32 of shape (n_pairs, 3);
        - ``D``: ``positions[j] - positions[i] + S @ cell``, float64 of shape (n_pairs, 3), in Å;
        - ``d``: norm of ``D``, float64 of shape (n_pairs,), in Å.
    atoms : ase.Atoms
        Any cell and any mix of periodic axes; atoms may lie outside the cell. Cell vectors along
        axes that are not periodic play no role.
    cutoff : float, dict or sequence of float
        In Å: one distance for all pairs; a dict from pairs of species (symbols or atomic numbers,
        in either order) to distances, where pairs of other species are no neighbors; or one radius
        per atom, where the sum of two is the cutoff of a pair.
    self_interaction : bool
        Whether each atom also counts as its own neighbor at distance zero (unless its cutoff is
        zero).

    Returns
    -------
    ndarray or tuple of ndarray
        One array per letter; a bare array for one letter. Pairs have ``d < cutoff`` strictly and
        are sorted by ``i``; the order of an atom's neighbors depends on the structure and the
        cutoff alone.

    Raises
    ------
    InputError
        For an unknown quantity, or a cutoff that cannot be used.
    InputTypeError
        If ``atoms`` is not one structure.
    MemoryLimitError
        If the pairs would not fit into memory; the message gives their number.

    See Also
    --------
    NeighborList : Pairs of many structures at once, and half lists.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import castile
    >>> i, d = castile.neighbor_list("id", bulk("Si"), 2.5)
    >>> print(i, d.round(3))
    [0 0 0 0 1 1 1 1] [2.351 2.351 2.351 2.351 2.351 2.351 2.351 2.351]
    """
    if not isinstance(quantities, str):
        raise InputTypeError(
            f"quantities must be a string of letters out of {_QUANTITIES!r}, got {type(quantities).__name__}"
        )
    unknown = sorted(set(quantities) - set(_QUANTITIES))
    if unknown or not quantities:
        raise InputError(f"quantities must be one or more letters out of {_QUANTITIES!r}, got {quantities!r}")
    if not is_single_frame(atoms):
        raise InputTypeError(
            f"atoms must be one ase.Atoms, got {type(atoms).__name__}; "
            "castile.NeighborList takes many, and ase.io.read reads files"
        )
    arrays = as_structure_arrays(atoms)
    cutoffs = _as_cutoffs(cutoff, arrays)
    results = _search(arrays, cutoffs, quantities, half=False, self_interaction=self_interaction)
    chosen = tuple(results[1 + _QUANTITIES.index(letter)] for letter in quantities)
    return chosen[0] if len(chosen) == 1 else chosen


class NeighborList:
    """All pairs of atoms closer than a cutoff, for many structures at once.

    Parameters
    ----------
    frames : ase.Atoms or a sequence of them
        Structures with any cell and any mix of periodic axes.
    cutoff : float, dict or sequence of float
        In Å, as for :func:`neighbor_list`. Radii come as one sequence over the atoms of all frames,
        or as one sequence per frame.
    half : bool
        Whether to list each pair once instead of from both ends: the one with ``i < j`` and, of a
        pair of an atom's own images, the one whose first entry of ``S`` that is not zero is
        positive.
    self_interaction : bool
        Whether each atom also counts as its own neighbor, once, at distance zero (unless its
        cutoff is zero).
    progress : bool
        Show a progress bar, which counts atoms. The pairs, the same, are then found some frames at
        a time, and joining them takes up to half as much memory again.

    Attributes
    ----------
    i, j : ndarray of shape (n_pairs,), int64
        Center and neighbor, counted over the atoms of all frames; sorted by ``i``.
    S : ndarray of shape (n_pairs, 3), int32
        Cell shift.
    D : ndarray of shape (n_pairs, 3), float64
        ``positions[j] - positions[i] + S @ cell`` in Å.
    d : ndarray of shape (n_pairs,), float64
        Norm of ``D`` in Å, below the cutoff.
    offsets : ndarray of shape (n_atoms + 1,), int64
        The pairs of center ``c`` are ``offsets[c]:offsets[c + 1]``.
    frame_offsets : ndarray of shape (n_frames + 1,), int64
        The atoms of frame ``f`` are ``frame_offsets[f]:frame_offsets[f + 1]``.

    Raises
    ------
    InputError
        If there are no frames, or the cutoff cannot be used.
    InputTypeError
        If something else than structures is given.
    MemoryLimitError
        If the pairs would not fit into memory; the message gives their number.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> import castile
    >>> pairs = castile.NeighborList([bulk("Si"), molecule("H2O")], cutoff=2.5)
    >>> len(pairs), pairs.offsets.tolist(), pairs.frame_offsets.tolist()
    (14, [0, 4, 8, 10, 12, 14], [0, 2, 5])
    """

    i: IntArray
    j: IntArray
    S: npt.NDArray[np.int32]
    D: FloatArray
    d: FloatArray
    offsets: IntArray
    frame_offsets: IntArray

    def __init__(
        self,
        frames: Any,
        cutoff: Any,
        half: bool = False,
        self_interaction: bool = False,
        *,
        progress: bool = False,
    ) -> None:
        atoms_list = as_frames(frames)
        if not atoms_list:
            raise InputError("frames is empty; give at least one structure")
        arrays = as_structure_arrays(atoms_list)
        cutoffs = _as_cutoffs(cutoff, arrays)
        starts = arrays.atom_offsets
        # In one piece unless a bar has to move: pieces must be joined.
        runs = cut(starts, _CHUNK_ATOMS if progress else arrays.n_atoms)
        items = ((int(starts[last] - starts[first]), (first, last)) for first, last in runs)
        parts: list[list[Any]] = []
        for first, last in track(items, arrays.n_atoms, "neighbors", progress):
            own, own_cutoffs = arrays.slice(first, last), cutoffs.of_atoms(starts[first], starts[last])
            part = _search(own, own_cutoffs, _QUANTITIES, half=half, self_interaction=self_interaction)
            parts.append(list(part))
            _require_memory_for_rest(parts, starts[last], arrays.n_atoms)
        self.offsets, self.i, self.j, self.S, self.D, self.d = _joined(parts)
        self.frame_offsets = arrays.atom_offsets

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.i)

    def __repr__(self) -> str:
        n_atoms, n_frames = len(self.offsets) - 1, len(self.frame_offsets) - 1
        return f"<NeighborList of {len(self)} pairs, {n_atoms} atoms, {n_frames} frames>"


def _search(
    arrays: StructureArrays, cutoffs: _Cutoffs, quantities: str, *, half: bool, self_interaction: bool
) -> tuple[Any, ...]:
    """Return the centers' offsets, and i, j, S, D and d: None for those not asked for."""
    structures = arrays.to_core(cutoffs.species_of_number)
    return _core.neighbor_list(
        structures,
        quantities,
        cutoffs.largest,
        of_species_pair=cutoffs.of_species_pair,
        radii=cutoffs.radii,
        half=bool(half),
        self_interaction=bool(self_interaction),
    )


def _require_memory_for_rest(parts: list[list[Any]], n_done: int, n_atoms: int) -> None:
    """Refuse pairs that will not fit, judged by those that are found; joining copies one array at a time."""
    if n_done == n_atoms == len(parts[0][0]) - 1:
        return  # in one piece
    found = sum(array.nbytes for part in parts for array in part)
    largest = sum(part[1 + _QUANTITIES.index("D")].nbytes for part in parts)
    require_memory(
        (found + largest) * n_atoms // max(n_done, 1) - found,
        f"the rest of the neighbor list of {n_atoms} atoms",
        "use a smaller cutoff, or progress=False, which needs less",
    )


def _joined(parts: list[list[Any]]) -> list[Any]:
    """Join what was found in parts of the frames, with atoms and pairs counted over all."""
    if len(parts) == 1:
        return parts[0]
    n_atoms = n_pairs = 0
    offsets = [np.zeros(1, dtype=np.int64)]
    for part in parts:
        for indices in part[1:3]:  # i and j
            np.add(indices, n_atoms, out=indices)
        offsets.append(part[0][1:] + n_pairs)
        n_atoms, n_pairs = n_atoms + len(part[0]) - 1, n_pairs + len(part[1])
    joined = [np.concatenate(offsets)]
    while len(parts[0]) > 1:
        # Taken off the parts, so that never two copies of all are there.
        joined.append(np.concatenate([part.pop(1) for part in parts]))
    return joined


def _as_cutoffs(cutoff: Any, arrays: StructureArrays) -> _Cutoffs:
    if isinstance(cutoff, Mapping):
        return _species_pair_cutoffs(cutoff)
    if isinstance(cutoff, Real) or (isinstance(cutoff, np.ndarray) and cutoff.ndim == 0):
        return _Cutoffs(_checked_distance(cutoff, "cutoff", "in Å"), _NO_SPECIES)
    if isinstance(cutoff, (str, bytes)) or not hasattr(cutoff, "__len__"):
        raise InputTypeError(
            f"cutoff must be a number, a dict of species pairs or one radius per atom, got {type(cutoff).__name__}"
        )
    radii = _checked_radii(cutoff, arrays)
    return _Cutoffs(2.0 * float(radii.max(initial=0.0)), _NO_SPECIES, radii=radii)


def _checked_distance(value: Any, name: str, remedy: str) -> float:
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise InputTypeError(f"{name} must be a number, got {value!r}")
    try:
        distance = float(value)
    except (TypeError, ValueError):
        raise InputTypeError(f"{name} must be a number, got {value!r}") from None
    if not (np.isfinite(distance) and distance > 0.0):
        raise InputError(f"{name} must be a positive, finite number, got {distance}; {remedy}")
    return distance


def _species_pair_cutoffs(cutoffs: Mapping[Any, Any]) -> _Cutoffs:
    if not cutoffs:
        raise InputError("cutoff is an empty dict; give it pairs of species, or give a number")
    distances: dict[tuple[int, int], float] = {}
    for key, value in cutoffs.items():
        if not isinstance(key, tuple) or len(key) != 2:
            raise InputError(f"keys of cutoff must be pairs of species such as ('C', 'H'), got {key!r}")
        name = f"cutoff[{key!r}]"
        distance = _checked_distance(value, name, "leave out pairs that have no neighbors")
        first, second = sorted(_atomic_number(species, name) for species in key)
        if distances.setdefault((first, second), distance) != distance:
            raise InputError(
                f"cutoff holds two values for one pair of species, {name} = {distance} and "
                f"{distances[first, second]}; give one"
            )
    numbers = sorted({number for pair in distances for number in pair})
    # The last index stands for all species that are in no pair.
    species_of_number = np.full(len(chemical_symbols), len(numbers), dtype=np.int32)
    species_of_number[numbers] = np.arange(len(numbers))
    table = np.zeros((len(numbers) + 1, len(numbers) + 1))
    for (first, second), distance in distances.items():
        a, b = species_of_number[first], species_of_number[second]
        table[a, b] = table[b, a] = distance
    return _Cutoffs(float(table.max()), species_of_number, of_species_pair=table)


def _atomic_number(species: Any, name: str) -> int:
    if isinstance(species, str) and species in atomic_numbers:
        return int(atomic_numbers[species])
    is_number = isinstance(species, (int, np.integer)) and not isinstance(species, bool)
    if is_number and 0 <= species < len(chemical_symbols):
        return int(species)
    raise InputError(f"{name} holds an unknown species, {species!r}; use chemical symbols or atomic numbers")


def _checked_radii(radii: Any, arrays: StructureArrays) -> FloatArray:
    per_frame = len(radii) > 0 and all(np.ndim(own) == 1 for own in radii)
    if per_frame:
        lengths, expected = [len(own) for own in radii], np.diff(arrays.atom_offsets).tolist()
        if lengths != expected:
            raise InputError(
                f"cutoff as radii per frame must have one radius per atom of each frame, {expected}, got {lengths}"
            )
        radii = [radius for own in radii for radius in own]
    try:
        flat = np.array(radii, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputTypeError("cutoff as radii must hold numbers, one per atom") from None
    if flat.shape != (arrays.n_atoms,):
        raise InputError(
            f"cutoff as radii must have one radius per atom, {arrays.n_atoms} in all, got shape {flat.shape}"
        )
    wrong = ~(np.isfinite(flat) & (flat >= 0.0))
    if wrong.any():
        atom = int(np.flatnonzero(wrong)[0])
        raise InputError(f"cutoff as radii must be finite and 0 or more, got {flat[atom]} for atom {atom}")
    return flat
