"""Structures that all libraries are compared on."""

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule


def triclinic():
    """8 atoms of 3 species in a skewed cell, shorter than the usual cutoff along one axis."""
    random = np.random.default_rng(1)
    cell = [[5.1, 0.2, 0.1], [1.4, 4.6, -0.3], [-0.9, 0.8, 4.2]]
    positions = np.array([[x, y, z] for x in (0.0, 0.5) for y in (0.0, 0.5) for z in (0.0, 0.5)]) @ np.array(
        cell
    ) + random.normal(0.0, 0.15, (8, 3))
    return Atoms("OSi2O2CSi2", positions=positions, cell=cell, pbc=True)


def self_images():
    """A 3 Å cell: inside 5 Å an atom sees its own images, and every neighbor many times."""
    positions = [[0.1, 0.0, 0.2], [1.5, 1.4, 0.1], [0.2, 1.6, 1.4]]
    cell = [[3.0, 0.0, 0.0], [0.3, 2.9, 0.0], [-0.2, 0.4, 3.1]]
    return Atoms("HCO", positions=positions, cell=cell, pbc=True)


def cluster():
    """A free cluster without a cell, some of whose atoms do not see all species."""
    random = np.random.default_rng(2)
    atoms = molecule("CH3CH2OH")
    atoms += Atoms("S", positions=[[3.6, 1.2, 0.4]])
    atoms.positions += random.normal(0.0, 0.05, atoms.positions.shape)
    return atoms


def outside_the_cell():
    """Atoms whole cells away from the cell, one of them on its face."""
    atoms = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    atoms.positions += np.random.default_rng(3).normal(0.0, 0.1, atoms.positions.shape)
    atoms.positions[1] += 2 * atoms.cell[0] - 3 * atoms.cell[2]
    atoms.positions[5] -= atoms.cell[1]
    atoms.positions[0] = 0.0
    return atoms


STRUCTURES = {make.__name__: make for make in (triclinic, self_images, cluster, outside_the_cell)}
