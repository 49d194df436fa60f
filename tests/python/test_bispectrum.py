"""Products of three coefficients of SOAP's density: which there are, what they are, and how they relate to others."""

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from references.clebsch_gordan import coupling

import castile
from castile import Bispectrum
from castile.errors import InputError, InputTypeError


def ethanol():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    return atoms


def triples(n_species, n_max, l_max):
    """Unordered triples of (species, l, n) with an invariant that is not zero."""
    factors = product(range(n_species), range(l_max + 1), range(n_max))
    for chosen in combinations_with_replacement(list(factors), 3):
        a, b, c = (degree for _, degree, _ in chosen)
        if (a + b + c) % 2 == 0 and abs(a - b) <= c <= a + b:
            yield chosen


@pytest.mark.parametrize(("n_species", "n_max", "l_max"), [(1, 4, 3), (1, 2, 5), (2, 3, 2), (3, 2, 2), (2, 1, 0)])
def test_there_is_one_for_each_triple_that_couples_to_a_scalar(n_species, n_max, l_max):
    """Even sums of degrees make symmetric couplings, which no equal factors let vanish."""
    names = Bispectrum(4.0, n_max, l_max, species=list("HCO")[:n_species]).get_feature_names_out()
    expected = set()
    for chosen in triples(n_species, n_max, l_max):
        species = "-".join("HCO"[a] for a, *_ in chosen)
        expected.add("_".join([species, *(f"n{n}l{degree}" for _, degree, n in chosen), f"L{chosen[2][1]}"]))
    assert len(names) == len(expected)
    assert set(names) == expected


def test_values_are_couplings_of_the_coefficients():
    """With coefficients of SymPy, from those of the density that SphericalExpansion has."""
    atoms = ethanol()
    n_max, l_max = 2, 3
    options = {"cutoff": 3.5, "n_max": n_max, "l_max": l_max, "sigma": 0.5, "density_weighting": {"w0": 0.7}}
    c = castile.SphericalExpansion(**options).fit_transform(atoms).reshape(len(atoms), 3, n_max, (l_max + 1) ** 2)
    bispectrum = Bispectrum(**options).fit(atoms)
    found = dict(zip(bispectrum.get_feature_names_out(), bispectrum.transform(atoms).T, strict=True))
    scale = max(np.abs(values).max() for values in found.values())
    for chosen in triples(3, n_max, l_max):
        x, y, z = (c[:, a, n, degree**2 : (degree + 1) ** 2] for a, degree, n in chosen)
        degrees = [degree for _, degree, _ in chosen]
        expected = np.einsum("mab,ia,ib,im->i", coupling(*degrees), x, y, z) / np.sqrt(2 * degrees[2] + 1)
        species = "-".join("HCO"[a] for a, *_ in chosen)
        name = "_".join([species, *(f"n{n}l{degree}" for _, degree, n in chosen), f"L{degrees[2]}"])
        np.testing.assert_allclose(found[name], expected, rtol=1e-10, atol=1e-12 * scale)


def test_columns_are_those_products_of_three_that_one_density_has():
    atoms = ethanol()
    density = {"sigma": 0.5, "cutoff_function": "cosine", "center_weight": 1.0, "radial_basis": "gto"}
    sizes = {"cutoff": 3.5, "n_max": 3, "l_max": 2}
    products = castile.Products(degrees=(3, 10, 7), **sizes, **density).fit(atoms)
    orders = np.array([name.count("l") for name in products.get_feature_names_out()])
    of_three = products.transform(atoms)[:, orders == 3]
    bispectrum = Bispectrum(degree=7, **sizes, sigma=0.5).fit(atoms)
    assert list(bispectrum.get_feature_names_out()) == list(products.get_feature_names_out()[orders == 3])
    assert np.array_equal(bispectrum.transform(atoms), of_three)
    assert np.array_equal(bispectrum.total_degrees(), products.total_degrees()[orders == 3])


def test_another_basis_of_the_same_functions_gives_the_same_functions():
    """Columns span the same space if radial functions do."""
    atoms = ethanol()
    mixing = np.random.default_rng(0).normal(size=(2, 2))
    plain = Bispectrum(3.5, 2, 2).fit(atoms)
    mixed = Bispectrum(3.5, 2, 2, compression={"radial": mixing}).fit(atoms)
    frames = [atoms.copy() for _ in range(60)]
    for k, frame in enumerate(frames):
        frame.rattle(0.3, seed=k)
    A, B = plain.transform(frames), mixed.transform(frames)
    fitted = A @ np.linalg.lstsq(A, B, rcond=1e-13)[0]
    assert A.shape == B.shape
    assert len(A) > A.shape[1]
    assert np.abs(fitted - B).max() < 1e-8 * np.abs(B).max()
    assert np.abs(A - B).max() > 1e-3 * np.abs(B).max()


def test_environments_with_one_power_spectrum_are_told_apart():
    """Four neighbors on a circle, at two sets of angles with the same differences (Pozdnyakov et al. 2020)."""

    def ring(places):
        angles = 2 * np.pi * np.array(places) / 8
        return Atoms("C5", [[0, 0, 0], *np.stack([2 * np.cos(angles), 2 * np.sin(angles), 0 * angles], axis=-1)])

    bispectrum = Bispectrum(3.0, species=["C"])
    a, b = (bispectrum.transform(ring(places), centers=[0])[0] for places in ([0, 1, 3, 4], [0, 1, 2, 5]))
    assert np.abs(a - b).max() > 1e-3 * np.abs(a).max()


@pytest.mark.parametrize("degree", [3, 5, 8])
def test_the_degree_bounds_the_sum_of_n_and_l(degree):
    bound = Bispectrum(4.0, 3, 2, species=["C", "O"], degree=degree, species_degrees={"O": 1})
    names = Bispectrum(4.0, 3, 2, species=["C", "O"]).get_feature_names_out()
    own = Bispectrum(4.0, 3, 2, species=["C", "O"]).total_degrees() + [name.count("O") for name in names]
    assert list(bound.get_feature_names_out()) == list(names[own <= degree])
    assert (own <= degree).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_max": 12, "l_max": 9}, InputError, r"there are \d{6,7} products of 2 species, more than 200000; lower"),
        ({"n_max": 41}, InputError, "n_max must be at most 40, got 41"),
        ({"degree": 2}, InputError, "degree must be 3 or more, got 2"),
        ({"degree": 6.0}, InputTypeError, "degree must be an integer"),
        ({"species_degrees": {"C": 1}}, InputError, "species_degrees adds to what degree bounds; give degree, too"),
        ({"most_species": 0}, InputError, "most_species must be 1 or more"),
        ({"compression": "mu1nu1"}, InputError, "compression='mu1nu1' is about"),
    ],
)
def test_rules_that_cannot_be_meant(options, error, message):
    with pytest.raises(error, match=message):
        Bispectrum(species=["C", "H"], **options).transform(molecule("C2H2"))


def test_couplings_that_would_fill_the_memory_are_refused():
    with pytest.raises(InputError, match=r"more than 16777216 multiplications; lower l_max"):
        Bispectrum(4.0, 3, 30, species=["C"]).get_feature_names_out()


def test_fewer_species_at_a_time_leave_what_many_would_not():
    species = list(range(1, 31))
    with pytest.raises(InputError, match="more than 200000"):
        Bispectrum(species=species).get_feature_names_out()
    few = Bispectrum(species=species, most_species=1)
    assert len(few.get_feature_names_out()) == 30 * len(Bispectrum(species=["C"]).get_feature_names_out())
