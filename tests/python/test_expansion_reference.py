"""Radial functions, harmonics and density coefficients against quadrature of their definitions."""

import mpmath
import numpy as np
import pytest
from ase import Atoms
from checks import assert_close, max_abs
from named_structures import STRUCTURES
from references import density_expansion as reference

import castile

CASES = {
    "triclinic": {"cutoff_function": "cosine", "cutoff_width": 0.7, "center_weight": 1.0},
    "tiny_cell": {"cutoff_function": "polynomial", "cutoff_width": 1.3, "center_weight": 0.5},
    "slab": {"cutoff_function": None, "cutoff_width": 0.5, "center_weight": 0.0},
    "wire": {"cutoff_function": "cosine", "cutoff_width": 0.5, "center_weight": 0.25},
    "molecule": {"cutoff_function": "polynomial", "cutoff_width": 0.5, "center_weight": 1.0},
    "five_species": {"cutoff_function": "cosine", "cutoff_width": 3.0, "center_weight": -1.0},
}
SIZES = {"cutoff": 3.0, "n_max": 5, "l_max": 4, "sigma": 0.45}


@pytest.mark.parametrize("name", CASES)
def test_coefficients_are_the_quadrature_of_the_density(name):
    options = {**SIZES, **CASES[name]}
    atoms = STRUCTURES[name]()
    expansion = castile.SphericalExpansion(**options, accuracy=1e-10).fit(atoms)
    c = expansion.transform(atoms, centers=[0, len(atoms) - 1])
    for row, center in zip(c, [0, len(atoms) - 1], strict=True):
        expected = reference.coefficients_by_quadrature(atoms, center, expansion.species_, **options)
        assert_close(row, expected.ravel(), 1e-8)


def test_columns_are_named_in_the_order_of_the_reference():
    species, n_max, l_max = ["H", "O"], 2, 1
    names = castile.SphericalExpansion(n_max=n_max, l_max=l_max, species=species).get_feature_names_out()
    expected = [
        f"{a}_n{n}_l{degree}_m{m}"
        for a in species
        for n in range(n_max)
        for degree in range(l_max + 1)
        for m in range(-degree, degree + 1)
    ]
    assert list(names) == expected


def test_coefficients_of_degree_one_are_y_z_x():
    expansion = castile.SphericalExpansion(cutoff=3.0, n_max=1, l_max=1, species=["H"], center_weight=0.0)
    for axis, column in [(1, 1), (2, 2), (0, 3)]:
        position = np.zeros(3)
        position[axis] = 1.0
        row = expansion.transform(Atoms("H2", positions=[[0, 0, 0], position]), centers=[0])[0]
        assert row[column] > 0.1
        np.testing.assert_allclose(np.delete(row, [0, column]), 0.0, atol=1e-15)


def directions():
    u = np.random.default_rng(0).normal(size=(12, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    axes = np.vstack([np.eye(3), -np.eye(3)])
    return np.vstack([u, axes])


def harmonics_of_the_library(l_max, u):
    """From the coefficients of one neighbor per structure: c_{n,lm} = R_nl(r) Y_lm(u)."""
    expansion = castile.SphericalExpansion(
        cutoff=4.0, n_max=1, l_max=l_max, sigma=0.5, species=["H", "He"], center_weight=0.0
    )
    frames = [Atoms("HHe", positions=[np.zeros(3), 2.5 * direction]) for direction in u]
    c = expansion.transform(frames, centers="H")[:, (l_max + 1) ** 2 :]
    R = expansion.radial_functions([2.5])[0][0, :, 0]
    return c / np.repeat(R, 2 * np.arange(l_max + 1) + 1)


@pytest.mark.parametrize("l_max", [3, 12, 16])
def test_harmonics_are_the_real_orthonormal_ones(l_max):
    u = directions()
    assert_close(harmonics_of_the_library(l_max, u), reference.real_harmonics(l_max, u), 1e-12)


def test_the_reference_harmonics_agree_with_mpmath():
    u = directions()[:5]
    ours = reference.real_harmonics(6, u)
    for row, (x, y, z) in zip(ours, u, strict=True):
        theta, phi = mpmath.acos(z), mpmath.atan2(y, x)
        for degree in range(7):
            for m in range(degree + 1):
                Y = (-1) ** m * mpmath.spherharm(degree, m, theta, phi) * mpmath.sqrt(2 if m else 1)
                assert abs(row[degree**2 + degree + m] - float(Y.real)) < 1e-13
                if m:
                    assert abs(row[degree**2 + degree - m] - float(Y.imag)) < 1e-13


def test_harmonics_agree_with_sphericart():
    sphericart = pytest.importorskip("sphericart")
    u = directions()
    expected = sphericart.SphericalHarmonics(l_max=10).compute(u)
    assert_close(harmonics_of_the_library(10, u), expected, 1e-12)


def test_radial_basis_is_orthonormal():
    x, weights = np.polynomial.legendre.leggauss(300)
    x, weights = 12.0 * (x + 1), 12.0 * weights
    for n_max in (1, 4, 8):
        g = reference.gto(x, 5.0, n_max)
        np.testing.assert_allclose((g * x**2 * weights) @ g.T, np.eye(n_max), atol=1e-12)


@pytest.mark.parametrize(("n_max", "tolerance"), [(1, 1e-12), (8, 1e-12), (12, 1e-11), (16, 1e-9)])
def test_closed_form_is_the_adaptive_quadrature(n_max, tolerance):
    """A table of the best accuracy shows the closed form that it was made from; no cutoff function in the way."""
    sizes = {"cutoff": 5.0, "n_max": n_max, "l_max": 6, "sigma": 0.4}
    soap = castile.SOAP(**sizes, species=["H"], cutoff_function=None, accuracy=1e-13)
    r = np.array([1e-6, 0.03, 0.4, 1.9, 4.999])
    values, _ = soap.radial_functions(r)
    expected = reference.radial_integrals(r, **sizes, adaptive=True)
    scale = max_abs(reference.radial_integrals(np.linspace(0, 5, 60), **sizes))
    assert max_abs(values - expected) <= max(tolerance, 4e-13) * scale


@pytest.mark.parametrize(
    "sizes",
    [
        {"cutoff": 5.0, "n_max": 8, "l_max": 6, "sigma": 0.4},
        {"cutoff": 3.0, "n_max": 3, "l_max": 2, "sigma": 0.15},
        {"cutoff": 4.0, "n_max": 12, "l_max": 9, "sigma": 0.8},
    ],
    ids=str,
)
def test_table_error_stays_below_its_bound(sizes):
    r = np.concatenate([np.random.default_rng(1).uniform(0, sizes["cutoff"], 400), [0.0, sizes["cutoff"] - 1e-12]])
    expected = reference.radial_integrals(r, **sizes)
    for accuracy in (1e-4, 1e-8, 1e-10, 1e-12):
        soap = castile.SOAP(**sizes, species=["H"], cutoff_function=None, accuracy=accuracy)
        assert_close(soap.radial_functions(r)[0], expected, accuracy, what=f"accuracy={accuracy}")
        assert 0.0 < soap.radial_table_error() <= accuracy


def test_the_default_accuracy_is_1e_8():
    assert castile.SOAP().accuracy == 1e-8


@pytest.mark.parametrize("function", ["cosine", "polynomial", None])
def test_cutoff_function_multiplies_the_radial_functions(function):
    sizes = {"cutoff": 4.0, "n_max": 4, "l_max": 3, "sigma": 0.4}
    soap = castile.SOAP(**sizes, species=["H"], cutoff_function=function, cutoff_width=1.0, accuracy=1e-10)
    r = np.array([0.0, 1.0, 2.999, 3.0, 3.001, 3.3, 3.9, 3.9999, 4.0, 4.1, 100.0])
    values, _ = soap.radial_functions(r)
    weight = reference.cutoff_weight(r, 4.0, function, 1.0)
    expected = reference.radial_integrals(r, **sizes) * weight[:, None, None]
    assert_close(values, expected, 1e-10)
    assert not values[r >= 4.0].any()


@pytest.mark.parametrize("accuracy", [1e-8, 1e-10])
@pytest.mark.parametrize("function", ["cosine", "polynomial", None])
def test_radial_derivatives_are_those_of_the_table(function, accuracy):
    soap = castile.SOAP(4.0, 5, 4, 0.4, ["H"], cutoff_function=function, cutoff_width=1.0, accuracy=accuracy)
    # Off the knots and edges, where the second derivative jumps.
    r = np.random.default_rng(2).uniform(0.01, 3.99, 200)
    h = 1e-5
    _, slopes = soap.radial_functions(r)
    values = [soap.radial_functions(r + k * h)[0] for k in (1, -1)]
    numerical = (values[0] - values[1]) / (2 * h)
    assert_close(slopes, numerical, 1e-7)


def test_unnormalized_gaussians_make_the_coefficient_of_a_far_narrow_neighbor():
    """For a narrow Gaussian c -> (2 pi sigma^2)^{3/2} g_n(r) Y_lm(u): fixes the density's scale by hand."""
    sizes = {"cutoff": 4.0, "n_max": 3, "l_max": 1}
    expansion = castile.SphericalExpansion(
        **sizes, sigma=0.02, species=["H", "He"], center_weight=0.0, cutoff_function=None
    )
    u = np.array([0.6, 0.0, 0.8])
    c = expansion.transform(Atoms("HHe", positions=[np.zeros(3), 1.7 * u]), centers=[0])[0]
    c = c.reshape(2, 3, 4)[1] / (2 * np.pi * 0.02**2) ** 1.5
    expected = reference.gto([1.7], 4.0, 3) * reference.real_harmonics(1, u)
    np.testing.assert_allclose(c, expected, atol=2e-3)
