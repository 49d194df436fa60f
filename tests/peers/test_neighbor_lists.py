"""The neighbor list against vesin and matscipy: the same sets of pairs."""

from importlib import import_module

import pytest
from ase.build import bulk
from pairs import assert_same_pairs

import castile

pytestmark = pytest.mark.peers

PEERS = {
    "vesin": ("vesin", "ase_neighbor_list"),
    "matscipy": ("matscipy.neighbours", "neighbour_list"),
}


@pytest.fixture(params=list(PEERS))
def peer_list(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    module, function = PEERS[request.param]
    return getattr(import_module(module), function)


@pytest.mark.parametrize("cutoff", [1.0, 2.9, 5.0, 9.3])
def test_pairs_are_the_same(structure, cutoff, peer_list):
    if structure.cell.rank == 0:  # matscipy inverts it, periodic or not
        structure.cell = [20.0, 20.0, 20.0]
    actual = castile.neighbor_list("ijSDd", structure, cutoff)
    assert_same_pairs(actual, peer_list("ijSDd", structure, cutoff))


def test_pairs_of_many_atoms_are_the_same(peer_list):
    atoms = bulk("Si", cubic=True) * (6, 5, 4)
    atoms.rattle(0.1, seed=5)
    actual = castile.neighbor_list("ijSDd", atoms, 5.0)
    assert_same_pairs(actual, peer_list("ijSDd", atoms, 5.0))
