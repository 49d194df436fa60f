"""The list of neighbors with a skin: what it holds, and that it is never used when it could miss a pair."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from named_structures import STRUCTURES
from scipy.spatial.transform import Rotation

from castile import neighbor_list
from castile._ghosts import GhostNeighbors, _distinct
from castile.structures import as_structure_arrays

CUTOFF = 3.0


def made(atoms, skin=0.5):
    return GhostNeighbors(atoms, as_structure_arrays(atoms), CUTOFF, skin)


def pair_vectors_within(neighbors, atoms):
    """Center, neighbor and pair vector of what the list holds closer than the cutoff, sorted."""
    positions = neighbors.positions(as_structure_arrays(atoms))
    i = np.repeat(np.arange(len(atoms)), np.diff(neighbors.offsets))
    D = positions[neighbors.neighbors] - positions[i]
    j = np.r_[np.arange(len(atoms)), neighbors.owners][neighbors.neighbors]
    close = np.linalg.norm(D, axis=1) < CUTOFF
    return sorted_pairs(i[close], j[close], D[close])


def sorted_pairs(i, j, D):
    order = np.lexsort((*D.round(6).T, j, i))
    return i[order], j[order], D[order]


def assert_complete(neighbors, atoms):
    """Neither missing nor doubled: the very pairs that a new list finds."""
    i, j, D = sorted_pairs(*neighbor_list("ijD", atoms, CUTOFF))
    own_i, own_j, own_D = pair_vectors_within(neighbors, atoms)
    np.testing.assert_array_equal(own_i, i)
    np.testing.assert_array_equal(own_j, j)
    np.testing.assert_allclose(own_D, D, rtol=0, atol=1e-9)


def changed(atoms, rng, move, strain, *, drift=0.0, turn=0.0):
    """Atoms that moved by up to ``move`` in a cell that was strained, drifted and turned with them."""
    result = atoms.copy()
    deformation = np.eye(3) + strain * rng.uniform(-1.0, 1.0, (3, 3))
    deformation = deformation @ Rotation.from_rotvec([0.0, turn, turn]).as_matrix()
    result.set_cell(atoms.cell.array @ deformation)
    directions = rng.normal(size=(len(atoms), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    result.positions = atoms.positions @ deformation + move * directions + drift
    return result


@pytest.mark.parametrize("skin", [0.0, 0.5, 4.0])
def test_lists_hold_the_pairs_of_every_structure(structure, skin):
    neighbors = made(structure, skin)
    assert_complete(neighbors, structure)
    assert (np.diff(neighbors.owners) >= 0).all()
    assert neighbors.serve(as_structure_arrays(structure)) or skin == 0.0


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(STRUCTURES)),
    seed=st.integers(0, 2**32 - 1),
    move=st.floats(0.0, 0.4),
    strain=st.floats(0.0, 0.15),
    skin=st.floats(0.01, 1.5),
    drift=st.sampled_from([0.0, 100.0]),
    turn=st.sampled_from([0.0, 0.0, 1.0]),
)
def test_a_list_that_serves_misses_no_pair(*, name, seed, move, strain, skin, drift, turn):
    rng = np.random.default_rng(seed)
    atoms = STRUCTURES[name]()
    neighbors = made(atoms, skin)
    for factor in (1.0, 0.3, 0.1):  # so that many of them serve
        now = changed(atoms, rng, factor * move, factor * strain, drift=drift, turn=turn)
        if neighbors.serve(as_structure_arrays(now)):
            assert_complete(neighbors, now)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), skin=st.floats(0.1, 1.5), share=st.floats(0.0, 0.999))
def test_the_worst_pairs_are_kept_to_the_end_of_the_skin(seed, skin, share):
    """Two atoms come straight at each other in a cell that shrinks along that line: nothing is left to spare."""
    rng = np.random.default_rng(seed)
    gap = CUTOFF + skin * rng.uniform(0.9, 1.1)
    before = Atoms("Ar2", positions=[[0, 0, 0], [gap, 0, 0]], cell=[30.0, 30.0, 30.0], pbc=True)
    shrinking = 1.0 - share * rng.uniform(0.0, 1.0) * skin / (CUTOFF + skin)
    now = before.copy()
    now.set_cell(before.cell.array * [shrinking, 1.0, 1.0], scale_atoms=True)
    closer = 0.5 * share * ((CUTOFF + skin) * shrinking - CUTOFF)
    now.positions[:, 0] += [closer, -closer]
    neighbors = made(before, skin)
    assert neighbors.serve(as_structure_arrays(now))
    assert_complete(neighbors, now)


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_lists_serve_to_the_end_of_the_skin_and_not_beyond(share):
    atoms = bulk("Cu", cubic=True)
    neighbors = made(atoms, 0.5)
    moved = atoms.copy()
    moved.positions[:2] += [[share * 0.25, 0.0, 0.0], [-share * 0.25, 0.0, 0.0]]
    assert neighbors.serve(as_structure_arrays(moved)) == (share < 1.0)
    squeezed = atoms.copy()
    squeezed.set_cell(atoms.cell.array * (1.0 - share * 0.5 / 3.5), scale_atoms=True)
    assert neighbors.serve(as_structure_arrays(squeezed)) == (share < 1.0)


def test_lists_serve_what_drifts_turns_and_grows(triclinic):
    neighbors = made(triclinic, 0.3)
    now = changed(triclinic, np.random.default_rng(0), 0.0, 0.0, drift=1000.0, turn=2.0)
    now.set_cell(1.7 * now.cell.array, scale_atoms=True)
    assert neighbors.serve(as_structure_arrays(now))
    assert_complete(neighbors, now)


def test_cell_vectors_of_axes_that_are_not_periodic_play_no_role():
    atoms = STRUCTURES["slab"]()
    neighbors = made(atoms)
    now = atoms.copy()
    now.cell[2] = [0.0, 0.0, 0.0]
    assert neighbors.serve(as_structure_arrays(now))
    assert_complete(neighbors, now)


def test_other_atoms_need_another_list(triclinic):
    neighbors = made(triclinic)
    other_species, other_axes, fewer = triclinic.copy(), triclinic.copy(), triclinic[:-1]
    other_species.numbers[0] += 1
    other_axes.pbc = [True, False, True]
    wrapped = triclinic.copy()
    wrapped.wrap()
    for other in (other_species, other_axes, fewer, wrapped, Atoms()):
        assert not neighbors.serve(as_structure_arrays(other))


def test_atoms_far_apart_in_cells_give_as_few_ghosts_as_wrapped_ones(triclinic):
    wrapped = triclinic.copy()
    wrapped.wrap()
    scattered = wrapped.copy()
    scattered.positions += np.random.default_rng(0).integers(-1000, 1000, (len(wrapped), 3)) @ wrapped.cell.array
    assert_complete(made(scattered), scattered)
    assert len(made(scattered).owners) == len(made(wrapped).owners)


def test_no_atoms_have_no_neighbors():
    neighbors = made(Atoms())
    assert neighbors.serve(as_structure_arrays(Atoms()))
    assert neighbors.positions(as_structure_arrays(Atoms())).shape == (0, 3)
    assert neighbors.fold(np.zeros((0, 3))).shape == (0, 3)


def test_forces_of_ghosts_are_added_to_their_atoms(tiny_cell):
    neighbors = made(tiny_cell)
    forces = np.random.default_rng(0).normal(size=(len(tiny_cell) + len(neighbors.owners), 3))
    expected = forces[: len(tiny_cell)].copy()
    np.add.at(expected, neighbors.owners, forces[len(tiny_cell) :])
    np.testing.assert_allclose(neighbors.fold(forces), expected, rtol=0, atol=1e-13)


def test_many_possible_keys_are_sorted_instead_of_tabulated():
    keys = np.random.default_rng(0).integers(0, 1000, 300)
    for found, expected in zip(_distinct(keys, 1000), _distinct(keys, 1 << 60), strict=True):
        np.testing.assert_array_equal(found, expected)
