"""Frames with labels, for the tests of ``castile.data``."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from castile.errors import InputError

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def crystal(seed=0, **results):
    """Two atoms of AlP, shaken, in a cell with a volume of some 40 Å³; results as a reader leaves them."""
    atoms = bulk("AlP", "zincblende", a=5.5)
    atoms.rattle(0.05, seed=seed)
    return with_results(atoms, **results)


def with_results(atoms, **results):
    """Attach results of a calculator."""
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def random_forces(n_atoms=2, seed=0):
    """Return forces whose sum is zero."""
    forces = np.random.default_rng(seed).normal(size=(n_atoms, 3))
    return forces - forces.mean(axis=0)


def full(voigt):
    """Return six numbers as a symmetric matrix."""
    matrix = np.empty((3, 3))
    for value, (i, j) in zip(voigt, VOIGT, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return matrix


def lone(symbol="Si", cell=None, pbc=False, energy=-1.0, **info):
    """One atom."""
    atoms = Atoms(symbol, positions=[[0.1, 0.2, 0.3]], cell=cell, pbc=pbc, info=info)
    return with_results(atoms, energy=energy)


def message_of(call, *args, **kwargs):
    """Return the text of the InputError that a call raises."""
    try:
        call(*args, **kwargs)
    except InputError as error:
        return str(error)
    raise AssertionError("no InputError was raised")
