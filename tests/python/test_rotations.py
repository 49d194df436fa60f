"""Wigner matrices against SciPy's harmonics, closed forms and group laws; coefficients of rotated structures."""

import numpy as np
import pytest
from checks import assert_close, max_abs
from named_structures import STRUCTURES
from references.density_expansion import real_harmonics
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

import castile
from castile.errors import InputError, InputTypeError
from castile.layouts import degree_slice, lm_index, to_array
from castile.rotations import rotate_coefficients, wigner_matrices

L_MAX = 30
PROPER = [Rotation.random(random_state=seed).as_matrix() for seed in range(3)]
AXES = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
MATRICES = {
    "identity": np.eye(3),
    "proper": PROPER[0],
    "improper": -PROPER[1],
    "mirror": np.diag([1.0, 1.0, -1.0]),
    "axes": AXES,
    "half_turn": np.diag([1.0, -1.0, -1.0]),
    "tiny": Rotation.from_rotvec([1e-9, -2e-9, 1e-9]).as_matrix(),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Products this small take longer on several."""
    with threadpool_limits(1, user_api="blas"):
        yield


matrices = pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)


@matrices
def test_matrices_turn_the_harmonics_of_scipy(matrix):
    """By least squares: D Y(u) = Y(R u) for more points than a degree has harmonics."""
    u = np.random.default_rng(0).normal(size=(200, 3))
    before, after = real_harmonics(L_MAX, u), real_harmonics(L_MAX, u @ matrix.T)
    for degree, D in enumerate(wigner_matrices(matrix, L_MAX)):
        own = degree_slice(degree)
        fitted = np.linalg.lstsq(before[:, own], after[:, own], rcond=None)[0].T
        assert_close(D, fitted, 1e-12, what=f"degree {degree}")


@matrices
def test_matrices_are_orthogonal(matrix):
    for degree, D in enumerate(wigner_matrices(matrix, L_MAX)):
        assert_close(D @ D.T, np.eye(2 * degree + 1), 1e-12)


@pytest.mark.parametrize("first", MATRICES)
@pytest.mark.parametrize("second", ["proper", "improper"])
def test_the_matrix_of_a_product_is_the_product_of_matrices(first, second):
    R, S = MATRICES[first], MATRICES[second]
    parts = (wigner_matrices(R @ S, L_MAX), wigner_matrices(R, L_MAX), wigner_matrices(S, L_MAX))
    for both, one, other in zip(*parts, strict=True):
        assert_close(both, one @ other, 1e-12)


def test_the_identity_changes_nothing():
    for degree, D in enumerate(wigner_matrices(np.eye(3), L_MAX)):
        assert_close(D, np.eye(2 * degree + 1), 1e-13)


def test_inversion_changes_the_sign_of_odd_degrees():
    for degree, D in enumerate(wigner_matrices(-np.eye(3), L_MAX)):
        assert_close(D, (-1.0) ** degree * np.eye(2 * degree + 1), 1e-13)


@matrices
def test_degree_one_is_the_matrix_itself_in_the_order_y_z_x(matrix):
    yzx = [1, 2, 0]
    assert_close(wigner_matrices(matrix, 1)[1], matrix[np.ix_(yzx, yzx)], 1e-14)


@pytest.mark.parametrize("angle", [0.3, -2.5])
def test_a_turn_about_z_mixes_m_with_minus_m(angle):
    """cos mφ and sin mφ of φ + angle, written out."""
    matrix = Rotation.from_rotvec([0.0, 0.0, angle]).as_matrix()
    for degree, D in enumerate(wigner_matrices(matrix, L_MAX)):
        expected = np.zeros((2 * degree + 1, 2 * degree + 1))
        for m in range(-degree, degree + 1):
            expected[degree + m, degree + m] = np.cos(m * angle)
            expected[degree + m, degree - m] += -np.sin(m * angle) if m else 0.0
        assert_close(D, expected, 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_traces_are_the_characters_of_the_rotation_group(seed):
    rotation = Rotation.random(random_state=seed)
    half = rotation.magnitude() / 2
    for degree, D in enumerate(wigner_matrices(rotation.as_matrix(), L_MAX)):
        assert abs(np.trace(D) - np.sin((2 * degree + 1) * half) / np.sin(half)) < 1e-11


def test_lower_degrees_do_not_depend_on_the_highest():
    for few, many in zip(wigner_matrices(PROPER[2], 4), wigner_matrices(PROPER[2], 17), strict=False):
        assert_close(few, many, 1e-13)


# ---------------------------------------------------------------- coefficients


def moved(atoms, matrix):
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ matrix.T)
    copy.positions = atoms.positions @ matrix.T
    return copy


def expansion_of(atoms, **options):
    sizes = {"cutoff": 3.4, "n_max": 3, "l_max": 5, "sigma": 0.5, "cutoff_width": 0.6, **options}
    return castile.SphericalExpansion(**sizes).fit(atoms)


@matrices
@pytest.mark.parametrize("name", STRUCTURES)
def test_coefficients_of_a_rotated_structure(name, matrix):
    atoms = STRUCTURES[name]()
    expansion = expansion_of(atoms)
    c = to_array(expansion.transform(atoms), expansion)
    assert max_abs(c[..., lm_index(5, -5) :]) > 1e-6
    after = to_array(expansion.transform(moved(atoms, matrix)), expansion)
    assert_close(after, rotate_coefficients(c, matrix), 1e-11)


@matrices
def test_derivatives_rotate_in_lm_and_in_xyz(matrix, molecule):
    expansion = expansion_of(molecule)
    J = to_array(expansion.jacobian(molecule).to_dense(), expansion)
    after = to_array(expansion.jacobian(moved(molecule, matrix)).to_dense(), expansion)
    turned = np.einsum("xy,iky...->ikx...", matrix, rotate_coefficients(J, matrix))
    assert_close(after, turned, 1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_precision_of_coefficients_is_kept(dtype):
    c = np.random.default_rng(0).normal(size=(5, 2, 3, 16)).astype(dtype)
    turned = rotate_coefficients(c, PROPER[0])
    assert turned.dtype == dtype
    assert_close(turned, rotate_coefficients(c.astype(float), PROPER[0]), 1e-6 if dtype == "float32" else 1e-15)


def test_a_single_set_of_coefficients_and_integers_are_taken():
    turned = rotate_coefficients([0, 1, 0, 0], AXES)  # y, which this matrix makes z
    np.testing.assert_allclose(turned, [0.0, 0.0, 1.0, 0.0], atol=1e-15)


def test_arguments_are_not_modified():
    c = np.random.default_rng(0).normal(size=(2, 9))
    before = c.copy()
    c.setflags(write=False)
    rotate_coefficients(c, PROPER[0])
    assert np.array_equal(c, before)


@pytest.mark.parametrize(
    ("rotation", "l_max", "error", "message"),
    [
        (np.eye(2), 3, InputError, r"shape \(3, 3\)"),
        (2 * np.eye(3), 3, InputError, "orthogonal"),
        (np.eye(3) + 1e-6, 3, InputError, "svd"),
        (np.full((3, 3), np.nan), 3, InputError, "orthogonal"),
        ("a turn", 3, InputTypeError, "rotation must hold real numbers"),
        (np.eye(3), 31, InputError, "l_max must be at most 30, got 31"),
        (np.eye(3), -1, InputError, "l_max must be 0 or more"),
        (np.eye(3), 2.0, InputTypeError, "l_max must be an integer"),
    ],
)
def test_bad_arguments_are_named(rotation, l_max, error, message):
    with pytest.raises(error, match=message):
        wigner_matrices(rotation, l_max)


def test_the_axis_of_coefficients_must_hold_whole_degrees():
    with pytest.raises(InputError, match="to_array"):
        rotate_coefficients(np.zeros((4, 8)), np.eye(3))
