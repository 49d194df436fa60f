"""Energies, forces and stresses of what is the same structure, moved, renumbered, repeated or wrapped."""

import numpy as np
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tiny_force_fields import alloy, fitted, slab, tiny_cell

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
BOUND = 1e-10


@st.composite
def structures(draw):
    """Atoms of copper and gold, none on top of another, periodic along any axes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 5))
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    cell = 5.0 * np.eye(3) + rng.uniform(-0.8, 0.8, (3, 3))
    # Places of a grid, so that all distances are above 1.6 Å, those of images too.
    places = rng.permutation(8)[:n]
    grid = np.stack(np.unravel_index(places, (2, 2, 2)), axis=1)
    positions = (grid / 2.0) @ cell + rng.uniform(-0.2, 0.2, (n, 3))
    return Atoms(rng.choice(["Cu", "Au"], n), positions, cell=cell, pbc=pbc)


def matrices(stress):
    full = np.empty((len(stress), 3, 3))
    for k, (a, b) in enumerate(VOIGT):
        full[:, a, b] = full[:, b, a] = stress[:, k]
    return full


def assert_same(actual, expected, what, scale=1.0):
    """Within 1e-10, of the largest number if that is above one."""
    bound = BOUND * max(1.0, np.nanmax(np.abs(expected), initial=0.0)) * scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound, equal_nan=True, err_msg=what)


@settings(max_examples=40, deadline=None)
@given(structures(), st.integers(0, 2**32 - 1), st.booleans())
def test_forces_turn_with_the_structure(atoms, seed, mirrored):
    ff = fitted(alloy)
    rng = np.random.default_rng(seed)
    Q = Rotation.random(rng=rng).as_matrix() * (-1.0 if mirrored else 1.0)
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ Q.T)
    moved.positions = atoms.positions @ Q.T + rng.uniform(-10.0, 10.0, 3)
    before, after = ff.predict(atoms), ff.predict(moved)
    assert_same(after.energy, before.energy, "energy")
    assert_same(after.energies, before.energies, "energies of atoms")
    assert_same(after.forces, before.forces @ Q.T, "forces")
    assert_same(matrices(after.stress), Q @ matrices(before.stress) @ Q.T, "stress")


@settings(max_examples=20, deadline=None)
@given(structures(), st.randoms(use_true_random=False))
def test_numbering_does_not_matter(atoms, random):
    ff = fitted(alloy)
    order = list(range(len(atoms)))
    random.shuffle(order)
    before, after = ff.predict(atoms), ff.predict(atoms[order])
    assert_same(after.energy, before.energy, "energy")
    assert_same(after.forces, before.forces[order], "forces")
    assert_same(after.stress, before.stress, "stress")


@settings(max_examples=20, deadline=None)
@given(structures(), st.tuples(*[st.integers(1, 2)] * 3))
def test_supercells_repeat_everything(atoms, repeats):
    ff = fitted(alloy)
    repeats = [m if periodic else 1 for m, periodic in zip(repeats, atoms.pbc, strict=True)]
    n = int(np.prod(repeats))
    before, after = ff.predict(atoms), ff.predict(atoms * repeats)
    assert_same(after.energy, n * before.energy, "energy")
    assert_same(after.forces, np.tile(before.forces, (n, 1)), "forces")
    assert_same(after.stress, before.stress, "stress")


@settings(max_examples=20, deadline=None)
@given(structures(), st.integers(0, 2**32 - 1))
def test_atoms_may_be_in_any_image(atoms, seed):
    ff = fitted(alloy)
    moved = atoms.copy()
    shifts = np.random.default_rng(seed).integers(-3, 4, (len(atoms), 3)) * atoms.pbc
    moved.positions += shifts @ atoms.cell.array
    before, after = ff.predict(atoms), ff.predict(moved)
    for name in ("energy", "forces", "stress"):
        assert_same(getattr(after, name), getattr(before, name), name)


@settings(max_examples=20, deadline=None)
@given(structures())
def test_another_cell_of_the_same_lattice(atoms):
    """Vectors that are sums of the others."""
    ff = fitted(alloy)
    atoms.pbc = True
    other = atoms.copy()
    other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [-1, 2, 1]]) @ atoms.cell.array)
    before, after = ff.predict(atoms), ff.predict(other)
    for name in ("energy", "forces", "stress"):
        assert_same(getattr(after, name), getattr(before, name), name)


def test_far_apart_structures_do_not_see_each_other():
    ff = fitted(alloy)
    one, two = slab(), slab(seed=1)
    one.pbc = two.pbc = False
    two.positions += [40.0, 0.0, 0.0]
    both, alone = ff.predict(one + two), ff.predict([one, two])
    assert_same(both.energy, [alone.energy.sum()], "energy")
    assert_same(both.forces, alone.forces, "forces")


def test_the_model_is_not_zero_for_these_structures():
    found = fitted(alloy).predict([slab(), tiny_cell()])
    assert np.abs(found.forces).max() > 0.1
    assert np.abs(found.stress[1]).max() > 0.01
