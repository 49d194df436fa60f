"""Energies, forces and stresses of frames from a compiled potential."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from castile import _core
from castile.progress import cut, track
from castile.structures import StructureArrays, volumes

__all__ = ["Evaluation", "evaluate"]

FloatArray = npt.NDArray[np.float64]

_ATOMS_AT_ONCE = 16_384  # between two looks at the progress


class Evaluation(NamedTuple):
    """What a potential gives for frames."""

    energies: FloatArray  # (n_atoms,), eV, of each atom
    energy: FloatArray  # (n_frames,), eV
    forces: FloatArray  # (n_atoms, 3), eV/Å
    stress: FloatArray  # (n_frames, 6), eV/Å³; NaN without a cell
    committee: FloatArray  # (n_members, n_frames), eV


def evaluate(
    potential: _core.Potential,
    structures: StructureArrays,
    species_table: npt.NDArray[np.int32],
    references: FloatArray | None = None,
    progress: bool = False,
) -> Evaluation:
    """Evaluate frames.

    Parameters
    ----------
    potential : _core.Potential
    structures : StructureArrays
    species_table : ndarray of int32, shape (119,)
        From atomic numbers to species.
    references : ndarray of shape (n_species,), optional
        Energies that are added to each atom's.
    progress : bool
    """
    energies, forces, strain = [np.zeros(0)], [np.zeros((0, 3))], [np.zeros((0, 3, 3))]
    members = [np.zeros((0, potential.n_members))]
    runs = ((last - first, (first, last)) for first, last in cut(structures.atom_offsets, _ATOMS_AT_ONCE))
    for first, last in track(runs, structures.n_frames, "frames", progress):
        of_energies, of_forces, of_strain, of_members = potential.evaluate_members(
            structures.slice(first, last).to_core(species_table)
        )
        energies.append(of_energies)
        forces.append(of_forces)
        strain.append(of_strain)
        members.append(of_members)
    of_atoms = np.concatenate(energies)
    if references is not None:
        of_atoms += references[species_table[structures.numbers]]
    energy = _sums(of_atoms, structures.atom_offsets)
    return Evaluation(
        of_atoms,
        energy,
        np.concatenate(forces),
        _stresses(np.concatenate(strain), structures),
        np.ascontiguousarray(energy + np.concatenate(members).T),
    )


def _sums(values: FloatArray, offsets: npt.NDArray[np.int64]) -> FloatArray:
    """Return the sum over each frame's atoms."""
    sums = np.zeros(len(offsets) - 1)
    filled = np.diff(offsets) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values, offsets[:-1][filled])
    return sums


def _stresses(strain: FloatArray, structures: StructureArrays) -> FloatArray:
    voigt = strain.reshape(-1, 9)[:, [0, 4, 8, 5, 2, 1]]
    return np.asarray(voigt / volumes(structures.cells)[:, None])
