"""The neighbor list against the oldest ASE that Castile supports: pairs, cutoffs, options."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111, graphene
from ase.neighborlist import neighbor_list
from pairs import assert_same_pairs

import castile

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("cutoff", [1.0, 2.9, 5.0, 9.3])
def test_pairs_equal_ases(structure, cutoff):
    actual = castile.neighbor_list("ijSDd", structure, cutoff)
    assert_same_pairs(actual, neighbor_list("ijSDd", structure, cutoff))


@pytest.mark.parametrize("make", [lambda: fcc111("Cu", (2, 2, 3), vacuum=5.0), graphene])
def test_pairs_equal_ases_for_mixed_periodicity(make):
    atoms = make()
    assert atoms.pbc.any()
    assert not atoms.pbc.all()
    actual = castile.neighbor_list("ijSDd", atoms, 6.0)
    assert_same_pairs(actual, neighbor_list("ijSDd", atoms, 6.0))


def test_cutoffs_per_species_mean_the_same(structure):
    a, b = sorted(set(structure.symbols))[:2]
    cutoffs = {(a, b): 3.1, (b, b): 4.2}
    actual = castile.neighbor_list("ijSDd", structure, cutoffs)
    assert_same_pairs(actual, neighbor_list("ijSDd", structure, cutoffs))


def test_radii_per_atom_mean_the_same(structure):
    radii = np.random.default_rng(4).uniform(0.5, 2.5, len(structure))
    actual = castile.neighbor_list("ijSDd", structure, radii)
    assert_same_pairs(actual, neighbor_list("ijSDd", structure, radii))


def test_self_interaction_means_the_same(structure):
    actual = castile.neighbor_list("ijSDd", structure, 4.0, self_interaction=True)
    assert_same_pairs(actual, neighbor_list("ijSDd", structure, 4.0, self_interaction=True))


def test_an_atom_without_neighbors_has_no_pairs():
    atoms = Atoms("He")
    assert all(len(array) == 0 for array in castile.neighbor_list("ijSDd", atoms, 5.0))
    assert len(neighbor_list("i", atoms, 5.0)) == 0
