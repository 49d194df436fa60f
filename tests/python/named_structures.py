"""Hard structures by name; all distances keep clear of the edges of the cutoff that the gradient tests use."""

import numpy as np
from ase import Atoms
from ase.build import molecule as ase_molecule

# Å; central differences need distances that stay on one side of the cutoff and of where it begins to act.
CUTOFF = 3.4
CUTOFF_WIDTH = 0.6

TRICLINIC_CELL = np.array([[4.1, 0.3, -0.2], [0.9, 3.9, 0.4], [-0.6, 0.7, 4.4]])


def _scattered(symbols, cell, pbc, seed):
    """Atoms at random places of a cell, none closer than 1 Å (images included)."""
    rng = np.random.default_rng(seed)
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1] if periodic else [0] for periodic in pbc], indexing="ij"), -1)
    images = shifts.reshape(-1, 3) @ cell
    positions = []
    while len(positions) < len(symbols):
        trial = rng.random(3) @ cell
        others = np.array(positions).reshape(-1, 1, 3) + images
        if not len(others) or np.linalg.norm(others - trial, axis=-1).min() > 1.0:
            positions.append(trial)
    return Atoms(symbols, positions=positions, cell=cell, pbc=pbc)


def triclinic():
    """Six atoms of three species in a skewed cell, smaller than twice the cutoff; one atom outside of it."""
    atoms = _scattered(["O", "Si", "O", "Mg", "O", "Si"], TRICLINIC_CELL, [True, True, True], seed=1)
    atoms.positions[2] += 2 * TRICLINIC_CELL[0] - TRICLINIC_CELL[2]
    return atoms


def tiny_cell():
    """Two atoms in a cell smaller than the cutoff: most neighbors are images, many of the atom itself."""
    cell = np.array([[2.3, 0.2, 0.1], [-0.7, 2.5, 0.3], [0.4, -0.5, 2.1]])
    return Atoms("CuZn", scaled_positions=[[0.05, 0.1, 0.2], [0.52, 0.47, 0.66]], cell=cell, pbc=True)


def slab():
    """Periodic along two axes, with a finite third cell vector."""
    cell = np.array([[3.1, 0.0, 0.2], [-1.4, 2.9, 0.0], [0.3, 0.1, 9.0]])
    atoms = Atoms("MoS2Mo", positions=[[0.1, 0.2, 1.0], [1.3, 1.1, 2.4], [0.2, 0.4, 3.3], [1.6, 1.0, 4.4]])
    atoms.set_cell(cell)
    atoms.pbc = [True, True, False]
    return atoms


def wire():
    """Periodic along one axis, no other cell vectors, and a left-handed order of axes."""
    atoms = Atoms("CNC", positions=[[0.0, 0.1, 0.3], [1.1, 0.2, 1.0], [-0.4, 1.2, 2.1]])
    atoms.set_cell([[0.0, 0.0, 0.0], [0.1, -0.2, 2.9], [0.0, 0.0, 0.0]])
    atoms.pbc = [False, True, False]
    return atoms


def molecule():
    """Ethanol, shaken, without a cell."""
    atoms = ase_molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=3)
    return atoms


def five_species():
    """Seven atoms of five species, periodic."""
    cell = np.array([[4.4, 0.0, 0.0], [0.0, 4.7, 0.2], [0.3, 0.0, 4.2]])
    return _scattered(["H", "C", "N", "O", "S", "H", "C"], cell, [True, True, True], seed=4)


STRUCTURES = {builder.__name__: builder for builder in (triclinic, tiny_cell, slab, wire, molecule, five_species)}


def several_frames():
    """Frames of different size, periodicity and species; one has no atoms, one a single atom."""
    return [molecule(), Atoms(), tiny_cell(), Atoms("C", positions=[[0.3, 0.1, 0.2]]), slab()]


def frames_of_five_species():
    """All structures, one without atoms and a lone atom, by name; species renamed in order of appearance, so that
    one descriptor of five species fits them all."""
    frames = {name: make() for name, make in STRUCTURES.items()}
    for atoms in frames.values():
        symbols = atoms.get_chemical_symbols()
        renamed = dict(zip(dict.fromkeys(symbols), five_species().symbols, strict=False))
        atoms.set_chemical_symbols([renamed[symbol] for symbol in symbols])
    return {**frames, "no_atoms": Atoms(), "lone_atom": Atoms("C", positions=[[0.3, 0.1, 0.2]])}
