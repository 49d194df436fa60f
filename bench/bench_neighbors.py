"""Neighbor lists: all five arrays."""

import pytest

import castile
from cases import CASES, silicon


@pytest.mark.parametrize("n_cells", [1, 2, 5, 10])
def test_neighbor_list_of_silicon(benchmark, n_cells, tiny):
    (atoms,) = silicon(1 if tiny else n_cells)
    i, *_ = benchmark(castile.neighbor_list, "ijSDd", atoms, 5.0)
    assert len(i) > 20 * len(atoms)


@pytest.mark.parametrize("name", CASES)
def test_neighbor_list_of_many_frames(measure, name, tiny):
    case = CASES[name]
    frames = case.make(tiny)
    pairs = measure(case, castile.NeighborList, frames, case.parameters["cutoff"])
    assert len(pairs) > 0


def test_neighbor_list_for_bonds_only(benchmark, tiny):
    (atoms,) = silicon(1 if tiny else 10)
    pairs = benchmark(castile.NeighborList, atoms, 2.8, half=True)
    assert len(pairs) == 2 * len(atoms)
