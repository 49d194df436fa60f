"""Frames with their labels as arrays; what is missing is NaN, never zero."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from castile._checks import finite_array
from castile.data._arrays import as_indices, checked_array
from castile.data.noise import Noise, noise_of
from castile.data.table import DataTable, make_table
from castile.errors import InputError, InputTypeError
from castile.structures import as_frames, as_structure_arrays

__all__ = ["PER_ATOM", "PER_FRAME", "Dataset"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

PER_ATOM = ("forces", "force_sigmas")
PER_FRAME = (
    "energies",
    "stresses",
    "groups",
    "isolated",
    "energy_weights",
    "force_weights",
    "stress_weights",
    "energy_sigmas",
    "stress_sigmas",
)
_SAME_ATOM_TOLERANCE = 1e-3  # eV, between energies of isolated atoms of one species


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Frames with labels; made by :func:`read` or :meth:`from_arrays`, and not changed afterwards.

    Attributes
    ----------
    frames : list of ase.Atoms
        As they were given, not copies.
    energies : ndarray of shape (n_frames,)
        Total energies in eV.
    forces : ndarray of shape (n_atoms_total, 3)
        In eV/Å, frames behind each other; rows are NaN where forces are missing or left out by a mask.
    stresses : ndarray of shape (n_frames, 6)
        In eV/Å³, in the order xx, yy, zz, yz, xz, xy and with the sign of ASE: dE/dstrain / volume.
    groups : ndarray of str, shape (n_frames,)
        Empty strings where no group is named.
    isolated : ndarray of bool, shape (n_frames,)
        True for single atoms without neighbors, whose energy is the reference of their species.
    offsets : ndarray of shape (n_frames + 1,)
        The atoms of frame ``f`` are ``offsets[f]:offsets[f + 1]``.
    numbers : ndarray of shape (n_atoms_total,)
        Atomic numbers.
    energy_weights, force_weights, stress_weights : ndarray of shape (n_frames,)
        Factors of 1/sigma: a label of weight 2 counts as if its sigma were half as large, one of weight 0 not at all.
    energy_sigmas, stress_sigmas : ndarray of shape (n_frames,)
        Standard deviations that the file gives for single labels, in eV (of the total energy) and eV/Å³; NaN where it
        gives none, and the model's own hold.
    force_sigmas : ndarray of shape (n_atoms_total,)
        The same of force components, in eV/Å.
    notes : tuple of str
        What was decided while reading and may surprise; ``table()`` prints it.

    Examples
    --------
    >>> from castile import data, datasets
    >>> dataset = data.read(datasets.load())
    >>> dataset
    <Dataset: 140 frames, 1120 atoms of Al, Si, P; 140 energies, 3360 force components, 140 stresses>
    >>> dataset.subset(dataset.groups == "Si diamond").species
    ('Si',)
    """

    frames: list[Atoms]
    energies: FloatArray
    forces: FloatArray
    stresses: FloatArray
    groups: npt.NDArray[np.str_]
    isolated: BoolArray
    offsets: IntArray
    numbers: IntArray
    energy_weights: FloatArray
    force_weights: FloatArray
    stress_weights: FloatArray
    energy_sigmas: FloatArray
    force_sigmas: FloatArray
    stress_sigmas: FloatArray
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                view = value.view()
                view.flags.writeable = False
                object.__setattr__(self, entry.name, view)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # arrays of a pickle could be written to

    @classmethod
    def from_arrays(cls, frames: Any, **labels: Any) -> Dataset:
        """Make a data set of frames and labels that are arrays already.

        Parameters
        ----------
        frames : ase.Atoms or a sequence of them
        **labels : array-like
            Any of the attributes ``energies``, ``forces``, ``stresses``, ``groups``, ``isolated``, the weights and the
            sigmas, by name and of the same shape; NaN where something is missing.

        Raises
        ------
        InputError
            If a shape does not fit the frames, or a label is infinite.
        InputTypeError
            For a name that is none of these, or an array of something else than numbers.

        Examples
        --------
        >>> from ase.build import molecule
        >>> from castile import data
        >>> dataset = data.Dataset.from_arrays(molecule("H2O"), energies=[-14.2])
        >>> dataset.has_energy, dataset.has_forces
        (array([ True]), array([False, False, False]))
        """
        atoms_list = as_frames(frames)
        arrays = as_structure_arrays(atoms_list)
        n_frames, n_atoms = arrays.n_frames, arrays.n_atoms
        filled: dict[str, Any] = {
            "energies": np.full(n_frames, np.nan),
            "forces": np.full((n_atoms, 3), np.nan),
            "stresses": np.full((n_frames, 6), np.nan),
            "groups": np.full(n_frames, ""),
            "isolated": np.zeros(n_frames, dtype=bool),
            **{name: np.ones(n_frames) for name in ("energy_weights", "force_weights", "stress_weights")},
            **{name: np.full(n_frames, np.nan) for name in ("energy_sigmas", "stress_sigmas")},
            "force_sigmas": np.full(n_atoms, np.nan),
        }
        for name, value in labels.items():
            if name not in filled:
                raise InputTypeError(f"Dataset has no array {name!r}; it has {', '.join(filled)}")
            filled[name] = checked_array(name, value, filled[name])
        return cls(atoms_list, offsets=arrays.atom_offsets, numbers=arrays.numbers, **filled)

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return (
            f"<Dataset: {len(self)} frames, {len(self.numbers)} atoms of {', '.join(self.species) or 'no species'}; "
            f"{self.has_energy.sum()} energies, {3 * self.has_forces.sum()} force components, "
            f"{self.has_stress.sum()} stresses>"
        )

    @property
    def n_atoms(self) -> IntArray:
        """Number of atoms of each frame."""
        return np.diff(self.offsets)

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols that occur, sorted by atomic number."""
        return tuple(chemical_symbols[number] for number in np.unique(self.numbers))

    @property
    def has_energy(self) -> BoolArray:
        """True for frames with an energy."""
        return ~np.isnan(self.energies)

    @property
    def has_forces(self) -> BoolArray:
        """True for atoms with a force, shape (n_atoms_total,)."""
        return np.asarray(~np.isnan(self.forces).any(axis=1))

    @property
    def has_stress(self) -> BoolArray:
        """True for frames with a stress."""
        return np.asarray(~np.isnan(self.stresses).any(axis=1))

    def frame_of_atoms(self) -> IntArray:
        """Return the frame that each atom belongs to, shape (n_atoms_total,)."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    def subset(self, indices: Any) -> Dataset:
        """Return some of the frames, in the order asked for, without the notes on reading.

        Parameters
        ----------
        indices : array-like of int, of bool of shape (n_frames,), or slice

        Raises
        ------
        InputError
            If an index is out of range.
        InputTypeError
            If ``indices`` holds something else than integers or truth values.
        """
        chosen = as_indices(indices, len(self))
        n_atoms = self.n_atoms[chosen]
        offsets = np.concatenate([[0], np.cumsum(n_atoms)])
        atoms = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], n_atoms)
        return Dataset(
            [self.frames[index] for index in chosen.tolist()],
            offsets=offsets,
            numbers=self.numbers[atoms],
            **{name: getattr(self, name)[chosen] for name in PER_FRAME},
            **{name: getattr(self, name)[atoms] for name in PER_ATOM},
        )

    def with_weights(self, *, energy: Any = None, force: Any = None, stress: Any = None) -> Dataset:
        """Return the same data with other weights.

        Parameters
        ----------
        energy, force, stress : float or array-like of shape (n_frames,), optional
            Factors of 1/sigma, zero or more; None keeps those that are there.

        Raises
        ------
        InputError
            If a weight is negative or not finite, or the shape is another.
        """
        given = {"energy_weights": energy, "force_weights": force, "stress_weights": stress}
        changed: dict[str, Any] = {}
        for name, value in given.items():
            if value is not None:
                weights = np.broadcast_to(finite_array(name, value), np.shape(value) or (len(self),))
                changed[name] = checked_array(name, weights, getattr(self, name))
        return replace(self, **changed)

    def noise(self, *, energy: float, force: float, stress: float) -> Noise:
        """Return the standard deviation that each label is fitted with.

        Parameters
        ----------
        energy : float
            In eV per atom: that of a total energy is ``energy * n_atoms``.
        force : float
            Of each component, in eV/Å.
        stress : float
            Of each component, in eV/Å³.

        Returns
        -------
        Noise
            Those given, or the label's own sigma from the file, divided by the weight of frame and group.

        Examples
        --------
        >>> from castile import data, datasets
        >>> dataset = data.read(datasets.load()[:2], weights={"Si diamond": 4.0})
        >>> dataset.groups.tolist()
        ['Si diamond', 'AlP zinc-blende']
        >>> dataset.noise(energy=0.001, force=0.1, stress=0.01).energy.tolist()
        [0.002, 0.008]
        """
        return noise_of(self, energy, force, stress)

    def isolated_atom_energies(self) -> dict[str, float]:
        """Return the energy of the isolated atom of each species that has one, in eV.

        Raises
        ------
        InputError
            If two of one species have energies that differ.
        """
        found: dict[str, tuple[int, float]] = {}
        for frame in np.flatnonzero(self.isolated & self.has_energy).tolist():
            symbol = chemical_symbols[self.numbers[self.offsets[frame]]]
            energy = float(self.energies[frame])
            first, known = found.setdefault(symbol, (frame, energy))
            if abs(known - energy) > _SAME_ATOM_TOLERANCE:
                raise InputError(
                    f"frames {first} and {frame} are both isolated {symbol} atoms, of {known} and {energy} eV; "
                    "keep the one of the level of theory of the other data"
                )
        return {symbol: found[symbol][1] for symbol in self.species if symbol in found}

    def table(self) -> DataTable:
        """Return what there is, by group: counts and ranges; ``print`` it, or take its ``rows``."""
        return make_table(self)
