"""Symmetries of the features and of their gradients, smoothness at the cutoff, and limits at distance zero."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from checks import assert_close, max_abs, numerical_gradients, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from named_structures import CUTOFF, CUTOFF_WIDTH, STRUCTURES
from references.density_expansion import real_harmonics

import castile
from castile.descriptors import DESCRIPTORS
from castile.layouts import to_array
from castile.rotations import rotate_coefficients

INVARIANT = [cls for cls in DESCRIPTORS if cls is not castile.SphericalExpansion]
AVERAGES = ["off", "inner", "outer"]
SPECIES = ["H", "C", "O", "Si"]
few_examples = settings(max_examples=25, deadline=None, derandomize=True)


def rotation_matrix(seed):
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix))


rotations = st.integers(0, 2**31).map(rotation_matrix)
unimodular = st.sampled_from(
    [
        [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
        [[2, 1, 0], [1, 1, 0], [0, 0, 1]],
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        [[-1, 0, 0], [0, 1, 0], [1, -3, 1]],
        [[1, 2, -1], [0, 1, 1], [0, 0, -1]],
    ]
)


@st.composite
def periodic_structures(draw):
    """One to five atoms of up to four species anywhere in space, in a cell of any shape and mix of pbc."""
    n_atoms = draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**31))
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    rng = np.random.default_rng(seed)
    lengths = draw(st.tuples(*[st.floats(1.8, 6.0)] * 3))
    skew = draw(st.floats(0.0, 0.6))
    cell = np.diag(lengths) @ (np.eye(3) + skew * rng.uniform(-1, 1, (3, 3)))
    if abs(np.linalg.det(cell)) < 3.0:
        cell = np.diag(lengths)
    symbols = rng.choice(SPECIES, n_atoms)
    return Atoms(symbols, positions=rng.uniform(-1.5, 1.5, (n_atoms, 3)) @ cell, cell=cell, pbc=pbc)


def make(cls, **options):
    sizes = {"cutoff": 3.1, "n_max": 4, "l_max": 4, "sigma": 0.5, "species": SPECIES, "degree": 6}
    names = cls._get_param_names()
    return cls(**{name: value for name, value in {**sizes, **options}.items() if name in names})


def transformed(atoms, matrix):
    """The same structure with all vectors multiplied by a 3 x 3 matrix."""
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ matrix.T)
    moved.positions = atoms.positions @ matrix.T
    return moved


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", INVARIANT)
@few_examples
@given(atoms=periodic_structures(), matrix=rotations, sign=st.sampled_from([1, -1]))
def test_rotations_and_reflections_leave_features_unchanged(cls, average, atoms, matrix, sign):
    descriptor = make(cls, average=average)
    before = descriptor.transform(atoms)
    assert_close(descriptor.transform(transformed(atoms, sign * matrix)), before, 1e-10)
    mirror = np.diag([1.0, 1.0, -1.0])
    assert_close(descriptor.transform(transformed(atoms, mirror @ matrix)), before, 1e-10)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
@few_examples
@given(atoms=periodic_structures(), seed=st.integers(0, 2**31))
def test_translation_wrapping_and_order_of_atoms_do_not_matter(cls, average, atoms, seed):
    descriptor = make(cls, average=average)
    before = descriptor.transform(atoms)
    rng = np.random.default_rng(seed)
    moved = atoms.copy()
    moved.positions += rng.uniform(-20, 20, 3)
    assert_close(descriptor.transform(moved), before, 1e-10, what="translation")
    moved.wrap()
    assert_close(descriptor.transform(moved), before, 1e-10, what="wrapping")
    shifts = rng.integers(-3, 4, (len(atoms), 3)) * atoms.pbc
    moved.positions += shifts @ atoms.cell.array
    assert_close(descriptor.transform(moved), before, 1e-10, what="lattice shifts")
    order = rng.permutation(len(atoms))
    expected = before[order] if average == "off" else before
    assert_close(descriptor.transform(atoms[order]), expected, 1e-10, what="permutation")


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
@few_examples
@given(atoms=periodic_structures(), matrix=unimodular)
def test_equivalent_cells_and_supercells_give_the_same_rows(cls, average, atoms, matrix):
    atoms.pbc = True
    descriptor = make(cls, average=average)
    before = descriptor.transform(atoms)
    other = atoms.copy()
    other.set_cell(np.array(matrix) @ atoms.cell.array)
    assert_close(descriptor.transform(other), before, 1e-10, what="unimodular")
    repeated = make_supercell(atoms, np.diag([2, 1, 3]), order="cell-major")
    expected = np.tile(before, (6, 1)) if average == "off" else before
    assert_close(descriptor.transform(repeated), expected, 1e-10, what="supercell")


@pytest.mark.parametrize("average", AVERAGES)
@few_examples
@given(atoms=periodic_structures(), matrix=rotations, sign=st.sampled_from([1, -1]))
def test_coefficients_rotate_with_the_structure(average, atoms, matrix, sign):
    expansion = make(castile.SphericalExpansion, average=average)
    matrix = sign * matrix
    before = to_array(expansion.transform(atoms), expansion)
    after = to_array(expansion.transform(transformed(atoms, matrix)), expansion)
    assert_close(after, rotate_coefficients(before, matrix), 1e-10)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", INVARIANT)
@few_examples
@given(atoms=periodic_structures(), matrix=rotations)
def test_forces_and_strain_gradient_rotate_and_forces_sum_to_zero(cls, average, normalize, atoms, matrix):
    descriptor = make(cls, average=average, normalize=normalize)
    rows = descriptor.transform(atoms)
    cotangent = np.random.default_rng(0).normal(size=rows.shape)
    g = descriptor.vjp(atoms, cotangent)
    rotated = descriptor.vjp(transformed(atoms, matrix), cotangent)
    scale = max_abs(rows)
    assert_close(rotated.positions, g.positions @ matrix.T, 1e-10, scale)
    assert_close(rotated.strain, matrix @ g.strain @ matrix.T, 1e-10, scale)
    assert_close(g.positions.sum(axis=0), np.zeros(3), 1e-12, max(scale, max_abs(g.positions)))
    assert_close(g.strain, g.strain.transpose(0, 2, 1), 1e-13, scale)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_rows_of_the_jacobian_sum_to_zero_over_the_atoms(cls, structure):
    descriptor = make(cls, species=None).fit(structure)
    J = descriptor.jacobian(structure)
    dense = J.to_dense()
    assert_close(dense.sum(axis=1), np.zeros_like(dense[:, 0]), 1e-12, max_abs(dense))
    assert_close(J.strain, J.strain.transpose(0, 2, 1, 3), 1e-14)


# ---------------------------------------------------------------- the cutoff


def dimer(distance, direction=(0.36, 0.48, 0.8)):
    return Atoms("CO", positions=[[0.0, 0.0, 0.0], distance * np.asarray(direction)])


def values_and_slopes(descriptor, distance):
    J = descriptor.jacobian(dimer(distance))
    return descriptor.transform(dimer(distance)), J.to_dense(), J.strain


@pytest.mark.parametrize("edge", ["cutoff", "where it begins"])
@pytest.mark.parametrize("function", ["cosine", "polynomial"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_values_and_first_derivatives_are_continuous_at_a_smooth_cutoff(cls, function, edge):
    descriptor = make(cls, cutoff=3.0, cutoff_function=function, cutoff_width=0.5)
    r = 3.0 if edge == "cutoff" else 2.5
    scale = max_abs(values_and_slopes(descriptor, 2.0)[1])
    assert scale > 0.0
    for epsilon in (1e-3, 1e-5, 1e-7):
        below, above = values_and_slopes(descriptor, r - epsilon), values_and_slopes(descriptor, r + epsilon)
        for inner, outer in zip(below, above, strict=True):
            # The second derivative is bounded by about pi^2 / (2 width^2) = 20 per square Å.
            assert max_abs(inner - outer) <= 100.0 * epsilon * scale


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_second_derivative_is_continuous_for_the_polynomial_alone(cls):
    def second(function, r):
        h = 1e-3
        descriptor = make(cls, cutoff=3.0, cutoff_function=function, accuracy=1e-12)
        rows = [descriptor.transform(dimer(r + k * h)) for k in (-1, 0, 1)]
        return max_abs(rows[0] - 2 * rows[1] + rows[2]) / h**2

    assert second("polynomial", 2.998) < 0.1 * second("cosine", 2.998)


def test_a_hard_edge_jumps_by_the_whole_contribution_of_the_neighbor():
    expansion = make(castile.SphericalExpansion, cutoff=3.0, cutoff_function=None)
    inside, outside = (expansion.transform(dimer(3.0 + step), centers=[0])[0] for step in (-1e-9, 1e-9))
    R = expansion.radial_functions([3.0 - 1e-9])[0][0]
    Y = real_harmonics(4, [0.36, 0.48, 0.8])
    degree_of = np.repeat(np.arange(5), 2 * np.arange(5) + 1)
    jump = (inside - outside).reshape(len(SPECIES), 4, 25)
    assert_close(jump[SPECIES.index("O")], R.T[:, degree_of] * Y, 1e-10)
    assert max_abs(jump) > 1e-2
    assert not outside.reshape(jump.shape)[SPECIES.index("O")].any()


@pytest.mark.parametrize("function", ["cosine", "polynomial", None])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_an_atom_exactly_at_the_cutoff_is_outside(cls, function):
    descriptor = make(cls, cutoff=3.0, cutoff_function=function)
    pair = Atoms("CO", positions=[[0, 0, 0], [0, 0, 3.0]])
    alone = [Atoms("C"), Atoms("O")]
    assert np.array_equal(descriptor.transform(pair), descriptor.transform(alone))
    J = descriptor.jacobian(pair)
    assert not J.to_dense().any()
    assert not J.strain.any()


# ---------------------------------------------------------------- distance zero, images, lone atoms


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("accuracy", [1e-8, 1e-10])
@pytest.mark.parametrize("symbols", ["COC", "OOC"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_coincident_atoms_are_the_limit_of_close_ones(cls, symbols, accuracy, normalize, average):
    descriptor = make(cls, average=average, normalize=normalize, accuracy=accuracy)

    def at(separation):
        offset = separation * np.array([0.6, 0.0, 0.8])
        return Atoms(symbols, positions=[[0, 0, 0], offset, [1.1, 0.3, -0.9]])

    together = descriptor.transform(at(0.0)), descriptor.jacobian(at(0.0))
    scale = max_abs(together[1].to_dense())
    assert scale > 0.0
    for separation in (1e-12, 1e-9, 1e-7, 1e-6):
        X, J = descriptor.transform(at(separation)), descriptor.jacobian(at(separation))
        bound = 1e-12 + 1e3 * separation
        assert_close(X, together[0], bound, what="values")
        assert_close(J.to_dense(), together[1].to_dense(), bound, scale, "Jacobian")
        assert_close(J.strain, together[1].strain, bound, what="strain")
    positions, strain = numerical_gradients(descriptor, at(0.0))
    assert_close(together[1].to_dense(), positions, 1e-7, what="central differences")
    assert_close(together[1].strain, strain, 1e-7, what="central differences, strain")


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_all_gradient_modes_agree_for_coincident_atoms(cls):
    atoms = Atoms("COCO", positions=[[0, 0, 0], [0, 0, 0], [0, 0, 0], [1.1, 0.3, -0.9]])
    descriptor = make(cls)
    J = descriptor.jacobian(atoms)
    dense = J.to_dense()
    rng = np.random.default_rng(0)
    cotangent = rng.normal(size=dense.shape[::3])
    g = descriptor.vjp(atoms, cotangent)
    assert_close(g.positions, np.einsum("rf,rakf->ak", cotangent, dense), 1e-12)
    assert_close(g.strain[0], np.einsum("rf,rabf->ab", cotangent, J.strain), 1e-12)
    velocities, rate = rng.normal(size=(4, 3)), rng.normal(size=(1, 3, 3))
    expected = np.einsum("rakf,ak->rf", dense, velocities) + np.einsum("rabf,ab->rf", J.strain, rate[0])
    assert_close(descriptor.jvp(atoms, velocities, rate), expected, 1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("symbol", ["H", "C", "O", "Si"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_an_atom_at_the_very_center_takes_nothing_from_other_species_or_frames(cls, symbol, dtype):
    """Whichever of the species comes before or after its own, as an atom or as what a point sees."""
    others = [[1.1, 0.3, -0.9], [-0.8, 1.0, 0.2], [0.1, -1.3, 0.6], [0.9, 1.2, 0.8]]
    atoms = Atoms([symbol, symbol, *SPECIES], positions=[[0, 0, 0], [0, 0, 0], *others])
    before = Atoms("OSiHC", positions=others)
    descriptor = make(cls, dtype=dtype)
    J = descriptor.jacobian(atoms)
    if dtype == "float64":
        positions, strain = numerical_gradients(descriptor, atoms)
        assert_close(J.to_dense(), positions, 1e-7, what="central differences")
        assert_close(J.strain, strain, 1e-7, what="central differences, strain")
    cotangent = np.random.default_rng(0).normal(size=(J.n_rows, J.n_features))
    alone = descriptor.vjp(atoms, cotangent)
    for n_threads in (1, 2):
        with castile.threads(n_threads):
            behind = descriptor.vjp([before, atoms], np.concatenate([cotangent[:4], cotangent]))
        assert same_bits(behind.positions[4:], alone.positions)
        assert same_bits(behind.strain[1:], alone.strain)
    point = [np.array([[0.0, 0.0, 0.0], [0.4, 0.2, 0.1]])]
    g = descriptor.vjp([before, atoms], cotangent[:2], centers=[[], *point])
    assert same_bits(g.positions[4:], descriptor.vjp([atoms], cotangent[:2], centers=point).positions)
    if dtype == "float64":
        J = descriptor.jacobian([atoms], centers=point)
        positions, _ = numerical_gradients(descriptor, atoms, centers=point[0])
        assert_close(J.to_dense(), positions, 1e-7, what="central differences, points")


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_images_of_the_atom_itself_cancel_in_positions_but_not_in_strain(cls, average):
    cell = [[2.1, 0.1, 0.0], [-0.4, 2.3, 0.2], [0.3, 0.0, 2.5]]
    atoms = Atoms("Si", cell=cell, pbc=True)
    descriptor = make(cls, average=average)
    J = descriptor.jacobian(atoms)
    cotangent = np.random.default_rng(0).normal(size=(1, J.n_features))
    g = descriptor.vjp(atoms, cotangent)
    scale = max_abs(g.strain)
    assert scale > 1e-3
    assert_close(g.positions, np.zeros((1, 3)), 1e-13, scale)
    assert_close(J.to_dense(), np.zeros((1, 1, 3, J.n_features)), 1e-13, max_abs(J.strain))
    _, strain = numerical_gradients(descriptor, atoms)
    assert_close(J.strain, strain, 1e-7)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("center_weight", [0.0, 0.5])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_a_lone_atom_has_its_own_term_only_and_no_gradient(cls, center_weight, average, normalize):
    descriptor = make(cls, center_weight=center_weight, average=average, normalize=normalize)
    atoms = Atoms("C", positions=[[3.0, -2.0, 1.0]])
    X = descriptor.transform(atoms)
    assert X.shape[0] == 1
    if center_weight == 0.0:
        assert not X.any()
    elif normalize:
        np.testing.assert_allclose(np.linalg.norm(X), 1.0, rtol=1e-14)
    else:
        assert X.any()
    assert not descriptor.jacobian(atoms).to_dense().any()
    g = descriptor.vjp(atoms, np.ones_like(X))
    assert np.array_equal(g.positions, np.zeros((1, 3)))
    assert np.array_equal(g.strain, np.zeros((1, 3, 3)))
    assert not descriptor.jvp(atoms, np.ones((1, 3)), np.ones((1, 3, 3))).any()


def test_the_weight_of_the_center_scales_its_own_term_only():
    expansion = {w: make(castile.SphericalExpansion, center_weight=w) for w in (0.0, 1.0, 2.0)}
    c = {w: e.transform(dimer(1.2)).reshape(2, len(SPECIES), 4, 25) for w, e in expansion.items()}
    np.testing.assert_allclose(c[2.0] - c[0.0], 2 * (c[1.0] - c[0.0]), atol=1e-14)
    own = c[1.0] - c[0.0]
    own[0, SPECIES.index("C"), :, 0] = 0.0
    own[1, SPECIES.index("O"), :, 0] = 0.0
    assert not own.any()


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_the_order_of_given_species_does_not_matter(cls, molecule):
    names = ["O", "H", "C"]
    rows = [make(cls, species=order).transform(molecule) for order in (names, names[::-1], [8, 1, 6])]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_named_structures_have_neighbors_in_every_row(name):
    atoms = STRUCTURES[name]()
    options = {"cutoff": CUTOFF, "cutoff_width": CUTOFF_WIDTH, "center_weight": 0.0}
    X = castile.RadialSpectrum(**options).fit_transform(atoms)
    assert (np.linalg.norm(X, axis=1) > 0.0).all()
