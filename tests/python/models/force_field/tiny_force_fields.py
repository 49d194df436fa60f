"""Small labeled sets from ASE's own calculators, and force fields that are fitted to them in a moment."""

from functools import cache

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from castile import SOAP, ForceField, Products
from castile.models.force_field import PairTerm, SoapTerm
from castile.models.force_field._memory_plan import MemoryPlan, plan_memory

CUTOFF, WIDTH = 4.0, 1.0
NOISE = {"energy": 0.002, "force": 0.05, "stress": 0.002}


def labeled(atoms, calculator=None, kinds=("energy", "forces", "stress")):
    """Attach what a calculator says (by default EMT), as a reader of files does; stresses need three periods."""
    atoms = atoms.copy()
    atoms.calc = EMT() if calculator is None else calculator
    results = {"energy": atoms.get_potential_energy, "forces": atoms.get_forces, "stress": atoms.get_stress}
    kept = [kind for kind in kinds if kind != "stress" or atoms.pbc.all()]
    values = {kind: results[kind]() for kind in kept}
    atoms.calc = SinglePointCalculator(atoms, **values)
    return atoms


def shaken(atoms, rng, amplitude=0.1, strain=0.03):
    atoms = atoms.copy()
    atoms.rattle(amplitude, rng=rng)
    if strain and atoms.cell.rank == 3:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    return atoms


def copper(n=6, seed=0, **options):
    """Cells of four atoms."""
    rng = np.random.default_rng(seed)
    return [labeled(shaken(bulk("Cu", cubic=True, a=3.6), rng), **options) for _ in range(n)]


def alloy(n=8, seed=0, **options):
    """Cells of four atoms of copper and gold, of several compositions."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(n):
        atoms = bulk("Cu", cubic=True, a=3.7 + 0.05 * (k % 4))
        atoms.symbols[rng.permutation(4)[: k % 4]] = "Au"
        frames.append(labeled(shaken(atoms, rng), **options))
    return frames


def clusters(n=6, seed=0, **options):
    """Seven argon atoms each, in empty space, with Lennard-Jones energies."""
    rng = np.random.default_rng(seed)
    a = 3.8
    ideal = a * np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    calculator = LennardJones(sigma=3.4, epsilon=0.1, rc=12.0)
    return [labeled(Atoms("Ar7", ideal + 0.2 * rng.normal(size=(7, 3))), calculator, **options) for _ in range(n)]


def organic(n=6, seed=0, **options):
    """Methanol, shaken, with energies of EMT."""
    rng = np.random.default_rng(seed)
    return [labeled(shaken(molecule("CH3OH"), rng, 0.05), **options) for _ in range(n)]


def slab(seed=0):
    """Copper with gold on top, periodic along two axes."""
    atoms = fcc111("Cu", (2, 2, 3), a=3.65, vacuum=6.0)
    atoms.symbols[-2:] = "Au"
    atoms.rattle(0.1, seed=seed)
    return atoms


def tiny_cell():
    """Two atoms in a skewed cell smaller than the cutoff."""
    cell = np.array([[2.6, 0.2, 0.1], [-0.7, 2.7, 0.3], [0.4, -0.5, 2.5]])
    return Atoms("CuAu", scaled_positions=[[0.05, 0.1, 0.2], [0.52, 0.47, 0.66]], cell=cell, pbc=True)


def small_soap(cutoff=CUTOFF, **options):
    return SOAP(**{"cutoff": cutoff, "cutoff_width": WIDTH, "n_max": 3, "l_max": 2, "sigma": 0.5, **options})


def small_products(cutoff=CUTOFF, **options):
    return Products(**{"cutoff": cutoff, "degrees": (3, 4, 4, 4), "neighbor_distance": 2.4, **options})


def small_terms(zeta=3.0, n_sparse=8, cutoff=CUTOFF, selection="cholesky"):
    """One SOAP and one pair term."""
    return SoapTerm(small_soap(cutoff), zeta, n_sparse, selection), PairTerm(4, cutoff)


def small(zeta=3.0, n_sparse=8, **options):
    """A force field that is not fitted, whose standard deviations are those of the posterior."""
    return ForceField(**{"terms": small_terms(zeta, n_sparse), "noise": NOISE, "calibration": 0.0, **options})


@cache
def fitted(make=copper, zeta=3.0, **options):
    """A fitted force field that several tests look at, and none changes."""
    return small(zeta, **options).fit(make())


def least_memory(ff):
    """Return the smallest max_memory of a prepared force field: it leaves 64 rows at a time."""
    columns, whitened = ff.foundation_.whitening.n_columns, ff.foundation_.whitening.n_whitened
    huge, rows = 1 << 40, 64 * 8 * columns
    limit = huge - plan_memory(huge, columns, whitened).most + rows
    assert plan_memory(limit, columns, whitened) == MemoryPlan(rows, rows)
    return limit
