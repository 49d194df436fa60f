"""The slow reference for DScribe's formulas, against definitions; tests/peers compares it with DScribe itself."""

import numpy as np
import pytest
from ase import Atoms
from checks import assert_close
from named_structures import STRUCTURES
from references import density_expansion
from references import dscribe_soap as reference


@pytest.mark.parametrize("n_max", [1, 4, 9])
@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize("radial_basis", ["gto_l", "polynomial"])
def test_radial_bases_are_orthonormal(radial_basis, degree, n_max):
    r_cut = 4.5
    end = r_cut if radial_basis == "polynomial" else 4 * r_cut
    x, weights = np.polynomial.legendre.leggauss(400)
    x, weights = end * (x + 1) / 2, weights * end / 2
    g = reference.basis_functions(x, radial_basis, r_cut, n_max, degree)
    np.testing.assert_allclose((g * x**2 * weights) @ g.T, np.eye(n_max), atol=1e-11)


def test_primitives_of_the_gto_l_basis_end_at_one_thousandth():
    for degree in (0, 3):
        ends = np.linspace(1.0, 5.0, 6)
        values = reference.primitives(ends, "gto_l", 5.0, 6, degree)
        np.testing.assert_allclose(np.diag(values).astype(float), 1e-3, rtol=1e-14)


@pytest.mark.parametrize("n_max", [2, 8])
def test_the_closed_form_is_the_integral(n_max):
    settings = reference.Settings(r_cut=4.0, n_max=n_max, l_max=4, sigma=0.5)
    r = np.array([1e-6, 0.4, 2.3, 3.999, 5.1])
    closed = reference.radial_in_closed_form(r, settings)
    assert_close(closed, reference.radial_by_quadrature(r, settings), 1e-11)


@pytest.mark.parametrize("radial_basis", ["gto_l", "polynomial"])
def test_a_narrow_gaussian_picks_the_value_of_the_basis(radial_basis):
    """R_nl(r) tends to (2 pi sigma^2)^(3/2) g_nl(r)."""
    settings = reference.Settings(r_cut=4.0, n_max=3, l_max=2, sigma=0.04, radial_basis=radial_basis)
    R = reference.radial_functions(np.array([1.7]), settings)[0] / (2 * np.pi * 0.04**2) ** 1.5
    g = [reference.basis_functions([1.7], radial_basis, 4.0, 3, degree)[:, 0] for degree in range(3)]
    np.testing.assert_allclose(R, g, atol=6e-3)


def test_the_reach_is_where_the_gaussian_at_the_cutoff_has_fallen_to_a_thousandth_inclusive():
    settings = reference.Settings(r_cut=3.0, n_max=2, l_max=1, sigma=0.4)
    assert np.isclose(np.exp(-((settings.reach - 3.0) ** 2) / (2 * 0.4**2)), 1e-3)
    atoms = Atoms("HHe", positions=[[0, 0, 0], [0, 0, settings.reach]])
    vectors, indices = reference.atoms_within(atoms, np.zeros(3), settings.reach)
    assert indices.tolist() == [0, 1]
    np.testing.assert_array_equal(vectors, atoms.positions)


@pytest.mark.parametrize("name", ["triclinic", "tiny_cell", "slab", "molecule"])
def test_neighbors_are_those_of_the_other_reference_and_the_center(name):
    atoms = STRUCTURES[name]()
    for center in (0, len(atoms) - 1):
        vectors, indices = reference.atoms_within(atoms, atoms.positions[center], 4.0)
        others, other_indices = density_expansion.neighbors(atoms, center, 4.0)
        others = np.vstack([others, np.zeros(3)])
        orders = [np.lexsort(v.round(9).T) for v in (vectors, others)]
        np.testing.assert_allclose(vectors[orders[0]], others[orders[1]], atol=1e-12)
        assert np.array_equal(indices[orders[0]], np.append(other_indices, center)[orders[1]])


def test_weights_are_those_of_the_formulas():
    r = np.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(reference.weight(r, None), 1.0)
    poly = reference.weight(r, {"function": "poly", "r0": 2.0, "c": 3.0, "m": 2})
    np.testing.assert_allclose(poly, [3.0, 3.0 * 0.5**2, 0.0, 0.0])
    pow_ = reference.weight(r, {"function": "pow", "r0": 2.0, "c": 3.0, "d": 1.0, "m": 3, "w0": 0.25})
    np.testing.assert_allclose(pow_, [0.25, 3 / 1.125, 1.5, 3 / 4.375])
    exp = reference.weight(r, {"function": "exp", "r0": 2.0, "c": 3.0, "d": 1.0})
    np.testing.assert_allclose(exp, 3 / (1 + np.exp(-r / 2)))
