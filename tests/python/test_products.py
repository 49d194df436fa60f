"""Products of density coefficients: which there are, what they are, and what they see."""

from collections import Counter
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from references.clebsch_gordan import coupling
from scipy.special import sph_harm_y

import castile
from castile import Products, SphericalExpansion, _core
from castile.descriptors.products import chebyshev_basis
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


def count_of_theory(n_channels, n_max, l_max, degrees, channel_degrees=(), most_channels=5):  # noqa: PLR0917 -- the core's
    """Scalars in the symmetric products of all sets of coefficients, by integrals of characters over rotations."""
    own = channel_degrees or [0] * n_channels
    n_angles = 512
    angles = np.arange(n_angles) * 2 * np.pi / n_angles
    measure = (1.0 - np.cos(angles)) / n_angles  # exact for trigonometric polynomials of lower degree
    factors = list(product(range(n_channels), range(1, n_max + 1), range(l_max + 1)))
    total = 0
    for order, limit in enumerate(degrees, start=1):
        for chosen in combinations_with_replacement(factors, order):
            if sum(n + degree + own[a] for a, n, degree in chosen) > limit or sum(degree for *_, degree in chosen) % 2:
                continue
            if len({a for a, *_ in chosen}) > most_channels:
                continue
            characters = np.ones(n_angles)
            for (*_, degree), power in Counter(chosen).items():
                characters = characters * symmetric_power(degree, power, angles)
            total += round(float(np.sum(characters * measure)))
    return total


@pytest.mark.parametrize(
    "rule",
    [
        (1, 4, 4, (3, 8, 8, 8)),
        (1, 3, 5, (0, 0, 10)),
        (1, 3, 2, (0, 0, 100)),
        (1, 2, 3, (0, 0, 0, 12)),
        (1, 2, 3, (2, 4, 6, 8, 9)),
        (2, 3, 2, (2, 6, 6, 6)),
        (2, 3, 2, (3, 6, 7, 7), (0, 2)),
        (2, 3, 2, (3, 6, 6, 6), (), 1),
        (3, 2, 2, (2, 4, 5, 6)),
        (3, 2, 2, (4, 6, 7, 8), (1, 0, 3)),
        (3, 2, 2, (2, 4, 5, 6), (), 2),
        (3, 2, 2, (2, 4, 5, 6), (), 1),
        (3, 2, 2, (2, 5, 6, 6, 8), (0, 1, 1), 2),
    ],
)
def test_there_are_as_many_as_independent_scalars(rule):
    functions = _core.product_functions(*rule)
    assert len(functions) == _core.product_count(*rule) == count_of_theory(*rule)
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


@pytest.mark.parametrize(
    "options",
    [
        {"most_species": 1},
        {"most_species": 2},
        {"species_degrees": {"H": 2, "O": 1}},
        {"species_degrees": {"H": 1, "C": 1, "O": 1}, "most_species": 2},
    ],
    ids=str,
)
def test_rules_for_species_leave_out_columns_and_change_none(options):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    every, some = Products(4.5, (4, 6, 6, 6)).fit(atoms), Products(4.5, (4, 6, 6, 6), **options).fit(atoms)
    names = list(every.get_feature_names_out())
    own = options.get("species_degrees", {})
    functions = _core.product_functions(3, every._radial_limit(), every._angular_limit(), every.degrees)
    extra = [own.get(symbol, 0) for symbol in "HCO"]
    degrees = np.array([sum(extra[a] + n + 1 + degree for a, n, degree in factors) for factors, _ in functions])
    kept = np.array(
        [
            degree <= every.degrees[len(factors) - 1]
            and len({a for a, *_ in factors}) <= options.get("most_species", 3)
            for (factors, _), degree in zip(functions, degrees, strict=True)
        ]
    )
    assert 0 < kept.sum() < len(names)
    assert list(some.get_feature_names_out()) == [name for name, is_kept in zip(names, kept, strict=True) if is_kept]
    assert np.array_equal(some.total_degrees(), degrees[kept])
    assert np.array_equal(some.transform(atoms), every.transform(atoms)[:, kept])


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
            "there are [0-9]{7} products of 1 species, more than 200000; lower the degrees",
        ),
        ({"neighbor_distance": 0.0}, InputError, "neighbor_distance must be a positive length"),
        ({"most_species": 0}, InputError, "most_species must be 1 or more, got 0"),
        ({"most_species": True}, InputTypeError, "most_species must be an integer, got True"),
        ({"most_species": 1.0}, InputTypeError, "most_species must be an integer"),
        ({"species_degrees": 1}, InputTypeError, "species_degrees must be None or a dict of integers by symbol"),
        ({"species_degrees": {"Q": 1}}, InputError, r"species_degrees must have chemical symbols .*, got \['Q'\]"),
        ({"species_degrees": {6: 1}}, InputError, r"species_degrees must have chemical symbols .*, got \[6\]"),
        ({"species_degrees": {"C": -1}}, InputError, r"species_degrees\['C'\] must be 0 or more, got -1"),
        ({"species_degrees": {"C": True}}, InputTypeError, r"species_degrees\['C'\] must be an integer, got True"),
        ({"species_degrees": {"C": 1.0}}, InputTypeError, r"species_degrees\['C'\] must be an integer"),
        ({"species_degrees": {"C": 41}}, InputError, r"species_degrees\['C'\] must be at most 40, got 41"),
        ({"species_degrees": {"C": 40}}, InputError, "degrees leave no product; raise them"),
        (
            {"species_degrees": {"C": 1}, "compression": {"species": [[1.0]]}},
            InputError,
            r"species_degrees is about species, but compression=\{'species': .*\} mixes these",
        ),
        ({"species_degrees": {"C": 1}, "compression": "mu2"}, InputError, "compression='mu2' mixes these"),
    ],
)
def test_rules_that_cannot_be_meant(options, error, message):
    with pytest.raises(error, match=message):
        Products(species=["C"], **options).transform(molecule("C2H2")[:2])


# ---------------------------------------------------------------- many species

TWELVE = ["H", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl"]


def test_many_species_are_counted_before_any_memory_is_taken():
    with pytest.raises(InputError, match=r"there are \d+ products of 20 species, more than 200000"):
        Products(species=list(range(1, 21))).get_feature_names_out()


def test_the_refusal_tells_how_many_there_would_be_and_what_helps():
    count = round(_core.product_count(12, 7, 3, (6, 8, 8, 8)))
    with pytest.raises(InputError, match=f"there are {count} products of 12 species, more than 200000") as error:
        Products(5.0, (6, 8, 8, 8), TWELVE).get_feature_names_out()
    for remedy in ("lower the degrees", "most_species", "species_degrees", "compression={'species': k}"):
        assert remedy in str(error.value)


@pytest.mark.parametrize(
    "remedy",
    [
        {"most_species": 2},
        {"species_degrees": dict.fromkeys(TWELVE[4:], 2)},
        {"compression": {"species": np.random.default_rng(0).normal(size=(3, 12))}},
    ],
    ids=lambda remedy: next(iter(remedy)),
)
def test_what_the_refusal_names_helps(remedy):
    atoms = bulk("NaCl", "rocksalt", 5.6)
    rows = Products(5.0, (6, 8, 8, 8), TWELVE, **remedy).transform(atoms)
    assert 1000 < rows.shape[1] < 50000
    assert (rows != 0.0).any()


def test_species_degrees_may_name_elements_that_are_not_there():
    rule = {"species": ["C", "O"], "degrees": (3, 5)}
    names = Products(species_degrees={"O": 1, "U": 3}, **rule).get_feature_names_out()
    assert list(names) == list(Products(species_degrees={"O": 1}, **rule).get_feature_names_out())


@pytest.mark.parametrize(("cutoff", "neighbor"), [(5.2, 2.35), (5.0, 1.8), (3.0, 2.4)])
def test_radial_functions_level_off_where_atoms_are_too_close(cutoff, neighbor):
    """So that products of them do not grow without bounds: no polynomial is beyond one, and all end with slope zero."""
    basis = chebyshev_basis(13, cutoff, neighbor)
    expansion = SphericalExpansion(
        cutoff, 13, 0, sigma=0.0, radial_basis=basis, species=["Ar"], center_weight=0.0, cutoff_function=None
    )

    def values(r):
        rows = expansion.transform([Atoms("Ar2", [[0, 0, 0], [0, 0, d]]) for d in r])[::2]
        return rows * np.sqrt(4.0 * np.pi) / ((1.0 - (r / cutoff) ** 2) ** 2)[:, None]

    assert np.abs(values(np.linspace(0.01, 0.999 * cutoff, 400))).max() < 1.0 + 1e-4
    core, h = 0.75 * min(neighbor, cutoff / 1.5), 0.005
    below, at, above = values(np.array([core - h, core, core + h]))[:, 1]
    assert at - below == pytest.approx(above - at, rel=0.1)  # smooth where that sets in
    dead = 0.3 * min(neighbor, cutoff / 1.5)
    np.testing.assert_allclose(values(np.linspace(0.01, dead, 9)), 1.0, atol=1e-6)
