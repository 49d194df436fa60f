"""Products of density coefficients: which there are, what they are, and what they see."""

from collections import Counter
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.special import sph_harm_y
from sympy.physics.quantum.cg import CG

import castile
from castile import Products, _core
from castile.errors import InputError, InputTypeError

# ---------------------------------------------------------------- which there are


def rotation_characters(degree, angles):
    return np.sum([np.cos(m * angles) for m in range(-degree, degree + 1)], axis=0)


def symmetric_power(degree, power, angles):
    """Character of the symmetric power of the rotations of a degree, from its power sums."""
    characters = [np.ones_like(angles)]
    for k in range(1, power + 1):
        sums = [rotation_characters(degree, i * angles) * characters[k - i] for i in range(1, k + 1)]
        characters.append(np.sum(sums, axis=0) / k)
    return characters[power]


def count_of_theory(n_channels, degrees, n_max, l_max):
    """Scalars in the symmetric products of all sets of coefficients, by integrals of characters over rotations."""
    n_angles = 512
    angles = np.arange(n_angles) * 2 * np.pi / n_angles
    measure = (1.0 - np.cos(angles)) / n_angles  # exact for trigonometric polynomials of lower degree
    factors = list(product(range(n_channels), range(1, n_max + 1), range(l_max + 1)))
    total = 0
    for order, limit in enumerate(degrees, start=1):
        for chosen in combinations_with_replacement(factors, order):
            if sum(n + degree for _, n, degree in chosen) > limit or sum(degree for *_, degree in chosen) % 2:
                continue
            characters = np.ones(n_angles)
            for (_, _, degree), power in Counter(chosen).items():
                characters = characters * symmetric_power(degree, power, angles)
            total += round(float(np.sum(characters * measure)))
    return total


@pytest.mark.parametrize(
    ("n_channels", "degrees", "n_max", "l_max"),
    [
        (1, (3, 8, 8, 8), 4, 4),
        (1, (0, 0, 10), 3, 5),
        (1, (0, 0, 0, 12), 2, 3),
        (1, (2, 4, 6, 8, 9), 2, 3),
        (2, (2, 6, 6, 6), 3, 2),
        (3, (2, 4, 5, 6), 2, 2),
    ],
)
def test_there_are_as_many_as_independent_scalars(n_channels, degrees, n_max, l_max):
    functions = _core.product_functions(n_channels, n_max, l_max, degrees)
    assert len(functions) == count_of_theory(n_channels, degrees, n_max, l_max)
    assert len(set(functions)) == len(functions)


def random_clusters(n, n_neighbors=9, seed=0):
    """Neighbors at random around an atom in the origin."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        directions = rng.normal(size=(n_neighbors, 3))
        directions *= rng.uniform(1.5, 4.5, (n_neighbors, 1)) / np.linalg.norm(directions, axis=1, keepdims=True)
        frames.append(Atoms(f"C{n_neighbors + 1}", np.vstack([np.zeros(3), directions])))
    return frames


def test_columns_are_linearly_independent():
    products = Products(5.0, (4, 8, 7, 7), species=["C"])
    rows = products.transform(random_clusters(600, 12), centers=[[0]] * 600)
    rows /= np.linalg.norm(rows, axis=0)
    assert np.linalg.matrix_rank(rows, tol=1e-11) == rows.shape[1]


def test_names_are_unique_and_say_what_is_multiplied():
    products = Products(4.0, (2, 4, 5), species=["C", "O"])
    names = products.get_feature_names_out()
    assert len(set(names)) == len(names) == products.fit_transform(molecule("CO2")).shape[1]
    assert {"C_n0l0", "C-O_n0l1_n0l1", "C-C-O_n0l0_n0l1_n0l1_L1"} <= set(names)


# ---------------------------------------------------------------- what they are


def real_harmonic(degree, m, directions):
    theta, phi = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    values = sph_harm_y(degree, abs(m), theta, phi) * (-1) ** m * (np.sqrt(2) if m else 1)
    return values.real if m >= 0 else values.imag


def to_complex(degree):
    """Rows: real harmonics by complex ones."""
    U = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    U[degree, degree] = 1
    for m in range(1, degree + 1):
        U[degree + m, degree + m], U[degree + m, degree - m] = (-1) ** m / np.sqrt(2), 1 / np.sqrt(2)
        U[degree - m, degree - m], U[degree - m, degree + m] = 1j / np.sqrt(2), -1j * (-1) ** m / np.sqrt(2)
    return U


def coupling(l1, l2, degree):
    """Clebsch-Gordan coefficients of real harmonics, (m, m1, m2), from sympy's of complex ones."""
    complex_ones = np.zeros((2 * degree + 1, 2 * l1 + 1, 2 * l2 + 1))
    for m1, m2 in product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        if abs(m1 + m2) <= degree:
            value = float(CG(l1, m1, l2, m2, degree, m1 + m2).doit())
            complex_ones[degree + m1 + m2, l1 + m1, l2 + m2] = value
    real = np.einsum(
        "Mm,mab,Aa,Bb->MAB", to_complex(degree), complex_ones, to_complex(l1).conj(), to_complex(l2).conj()
    )
    return real.real if (l1 + l2 + degree) % 2 == 0 else real.imag


def along_path(tensors, couplings):
    """The scalar that a function is of tensors."""
    degrees = [(len(x) - 1) // 2 for x in tensors]

    def couple(x, y, degree):
        return np.einsum("mab,a,b->m", coupling((len(x) - 1) // 2, (len(y) - 1) // 2, degree), x, y)

    if len(tensors) == 1:
        return tensors[0][0]
    left, right = tensors[0], tensors[-1]
    if len(tensors) >= 3:
        left = couple(tensors[0], tensors[1], couplings[0])
    if len(tensors) == 4:
        right = couple(tensors[2], tensors[3], couplings[0])
    if len(tensors) == 5:
        left = couple(left, couple(tensors[2], tensors[3], couplings[1]), degrees[4])
    return left @ right / np.sqrt(len(left))


@pytest.mark.parametrize("degrees", [(3, 6, 6), (0, 0, 8), (0, 0, 0, 8), (0, 0, 0, 0, 8)])
def test_values_are_sums_over_tuples_of_neighbors(degrees):
    """Of radial functions, harmonics of SciPy and coefficients of SymPy."""
    (atoms,) = random_clusters(1, 2, seed=3)
    products = Products(5.0, degrees, l_max=2, species=["C"])
    D = atoms.positions[1:]
    d = np.linalg.norm(D, axis=1)
    basis = products._radial_functions(5.0)
    radial = np.array([[np.interp(r, basis.r, values) for values in basis.values.T] for r in d])
    harmonics = {
        degree: np.stack([real_harmonic(degree, m, D / d[:, None]) for m in range(-degree, degree + 1)], axis=-1)
        for degree in range(3)
    }
    # Values of the descriptor's own radial functions, which interpolation between samples would spoil.
    expansion = castile.SphericalExpansion(
        5.0, basis.n_max, 0, 0.0, ["C"], radial_basis=basis, cutoff_function=None, center_weight=0.0
    )
    for k, r in enumerate(d):
        pair = Atoms("C2", [[0, 0, 0], [0, 0, r]])
        own = expansion.transform(pair, centers=[0])[0] * np.sqrt(4 * np.pi)
        np.testing.assert_allclose(own, radial[k], atol=1e-3 * np.abs(radial).max())
        radial[k] = own
    found = products.transform(atoms, centers=[0])[0]
    functions = _core.product_functions(1, products._radial_limit(), 2, degrees)
    assert len(functions) == len(found) > 5
    for column, (factors, couplings) in enumerate(functions):
        expected = 0.0
        for neighbors in product(range(len(d)), repeat=len(factors)):
            weight = np.prod([radial[j, n] for j, (_, n, _) in zip(neighbors, factors, strict=True)])
            tensors = [harmonics[degree][j] for j, (_, _, degree) in zip(neighbors, factors, strict=True)]
            expected += weight * along_path(tensors, couplings)
        assert found[column] == pytest.approx(expected, rel=1e-10, abs=1e-10 * np.abs(found).max()), (
            factors,
            couplings,
        )


@pytest.mark.parametrize("make", [lambda: molecule("CH3CH2OH"), lambda: bulk("NaCl", "rocksalt", 5.6)])
def test_rotations_and_reflections_change_nothing(make):
    atoms = make()
    atoms.rattle(0.1, seed=1)
    products = Products(4.5, (4, 7, 7, 7, 7)).fit(atoms)
    rows = products.transform(atoms)
    rng = np.random.default_rng(2)
    for sign in (1, -1):
        Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turned = atoms.copy()
        turned.set_cell(sign * atoms.cell.array @ Q)
        turned.positions = sign * atoms.positions @ Q
        assert np.abs(products.transform(turned) - rows).max() < 1e-12 * np.abs(rows).max()


# ---------------------------------------------------------------- what they see


def test_environments_with_one_power_spectrum_are_told_apart():
    """Four neighbors on a circle, at two sets of angles with the same differences (Pozdnyakov et al. 2020)."""

    def ring(places):
        angles = 2 * np.pi * np.array(places) / 8
        return Atoms("C5", [[0, 0, 0], *np.stack([2 * np.cos(angles), 2 * np.sin(angles), 0 * angles], axis=-1)])

    one, other = ring([0, 1, 3, 4]), ring([0, 1, 2, 5])
    soap = castile.SOAP(3.0, species=["C"])
    a, b = (soap.transform(atoms, centers=[0])[0] for atoms in (one, other))
    assert np.abs(a - b).max() < 1e-12 * np.abs(a).max()
    products = Products(3.0, (6, 8, 8), species=["C"])
    a, b = (products.transform(atoms, centers=[0])[0] for atoms in (one, other))
    orders = np.array([len(factors) for factors, _ in _core.product_functions(1, 7, 3, (6, 8, 8))])
    scale = np.abs(a).max()
    assert np.abs(a - b)[orders <= 2].max() < 1e-12 * scale
    assert np.abs(a - b)[orders == 3].max() > 1e-3 * scale


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"degrees": 8}, InputTypeError, "degrees must be a sequence"),
        ({"degrees": "888"}, InputTypeError, "degrees must be a sequence"),
        ({"degrees": ()}, InputError, "degrees must be 1 to 5 numbers"),
        ({"degrees": (4,) * 6}, InputError, "degrees must be 1 to 5 numbers"),
        ({"degrees": (4.5,)}, InputTypeError, "degrees must be an integer"),
        ({"degrees": (-1,)}, InputError, "degrees must be 0 or more"),
        ({"degrees": (41,)}, InputError, "degrees must .* 40"),
        ({"degrees": (0, 1, 2)}, InputError, "degrees leave no product; raise them"),
        (
            {"degrees": (8, 30, 30, 30, 30)},
            InputError,
            "degrees leave more than 200000 products of 1 species; lower them",
        ),
        ({"neighbor_distance": 0.0}, InputError, "neighbor_distance must be a positive length"),
    ],
)
def test_rules_that_cannot_be_meant(options, error, message):
    with pytest.raises(error, match=message):
        Products(species=["C"], **options).transform(molecule("C2H2")[:2])


def test_many_species_are_counted_before_any_memory_is_taken():
    with pytest.raises(InputError, match="more than 200000 products of 20 species"):
        Products(species=list(range(1, 21))).get_feature_names_out()
