"""Radial bases, delta densities, weights by distance and species: closed forms, limits, and one against another."""

import numpy as np
import pytest
from ase import Atoms
from checks import assert_close, assert_gradients_agree
from named_structures import several_frames

import castile
from castile import SphericalExpansion, TabulatedBasis

OPTIONS = {"cutoff": 4.0, "n_max": 4, "l_max": 3, "sigma": 0.5, "accuracy": 1e-10}
BASES = ["gto", "gto_l", "polynomial", "laplacian"]


def dimer(r, symbols="HO"):
    return Atoms(symbols, [[0, 0, 0], [0.48 * r, -0.6 * r, 0.64 * r]])


def of_neighbor(atoms, **options):
    """Coefficients (n, lm) of the second atom, as the first sees it."""
    expansion = SphericalExpansion(**{**OPTIONS, **options}, species=["H", "O"])
    return expansion.transform(atoms, centers=[0]).reshape(2, -1, 16)[1]


# ---- tables of the user's own


@pytest.mark.parametrize("basis", BASES)
def test_a_table_of_another_basis_gives_its_features(basis):
    """Expansion integrals with a hard edge, sampled finely, are taken as they are."""
    frames = several_frames()
    soap = castile.SOAP(**OPTIONS, radial_basis=basis, cutoff_function=None, species=["H"])
    r = np.linspace(0.0, 4.0, 2001)
    values = soap.radial_functions(np.minimum(r, 4.0 - 1e-9))[0]
    own = TabulatedBasis(r, values, "R")
    smooth = {"cutoff_function": "cosine"}
    expected = castile.SOAP(**OPTIONS, radial_basis=basis, **smooth).fit_transform(frames)
    table = castile.SOAP(**{**OPTIONS, "accuracy": 1e-8}, radial_basis=own, **smooth).fit_transform(frames)
    assert_close(table, expected, 1e-7)


def test_radial_functions_of_ones_own_are_projected():
    """Normalised functions φ_0 of the basis "gto" with one function are that basis."""
    width = 4.0  # cutoff · max(√0, 1)/1
    norm = np.sqrt(np.sqrt(np.pi) / 4 * width**3)
    own = TabulatedBasis.from_function(lambda r: np.exp(-(r**2) / (2 * width**2))[:, None] / norm, 40.0, 8001)
    frames = several_frames()
    options = {**OPTIONS, "n_max": 1}
    expected = castile.SOAP(**options).fit_transform(frames)
    assert_close(castile.SOAP(**options, radial_basis=own).fit_transform(frames), expected, 1e-8)


def test_a_table_may_depend_on_the_degree():
    r = np.linspace(0, 4, 401)

    def function(r):  # (n_r, l, n)
        n, degree = np.arange(2), np.arange(3)[:, None]
        r = np.asarray(r)[:, None, None]
        return np.cos(r) * r**n * (4 - r) ** (3 + degree)

    values = function(r)
    own = TabulatedBasis(r, values, "R")
    options = {**OPTIONS, "n_max": 2, "l_max": 2, "cutoff_function": None, "accuracy": 1e-8}
    distances = np.array([0.3, 1.23, 3.7])
    found, _ = castile.SOAP(**options, radial_basis=own, species=["H"]).radial_functions(distances)
    assert_close(found, function(distances), 1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1, 2], np.ones((3, 2))), "at least 4"),
        (([0.1, 1, 2, 3], np.ones((4, 2))), "ascend from 0"),
        (([0, 2, 1, 3], np.ones((4, 2))), "ascend from 0"),
        (([0, 1, 2, 3], np.ones(4)), r"values must have shape \(4, n_max\)"),
        (([0, 1, 2, 3], np.ones((5, 2))), r"values must have shape \(4, n_max\)"),
        (([0, 1, 2, 3], np.full((4, 2), np.nan)), "finite"),
        (([0, 1, 2, 3], np.ones((4, 2)), "f"), "quantity must be one of"),
        ((["a", "b"], np.ones((4, 2))), "r must hold real numbers"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_tables_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(castile.CastileError, match=message):
        TabulatedBasis(*arguments)


def test_sizes_that_a_table_does_not_have_are_refused():
    own = TabulatedBasis(np.linspace(0, 4, 9), np.ones((9, 3, 2)))
    with pytest.raises(castile.InputError, match="n_max must be 2"):
        castile.SOAP(n_max=3, l_max=2, radial_basis=own, species=["H"]).transform(dimer(1.0, "HH"))
    with pytest.raises(castile.InputError, match="l_max must be 2"):
        castile.SOAP(n_max=2, l_max=4, radial_basis=own, species=["H"]).transform(dimer(1.0, "HH"))


# ---- delta densities


@pytest.mark.parametrize("basis", BASES)
def test_delta_densities_are_the_limit_of_narrow_gaussians(basis):
    """For a smooth basis the difference falls with sigma²."""
    atoms = dimer(1.7)
    exact = of_neighbor(atoms, radial_basis=basis, sigma=0.0)
    errors = []
    for sigma in (0.1, 0.05, 0.025):
        narrow = of_neighbor(atoms, radial_basis=basis, sigma=sigma) / (2 * np.pi * sigma**2) ** 1.5
        errors.append(np.max(np.abs(narrow - exact)) / np.max(np.abs(exact)))
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.3)
    assert errors[2] == pytest.approx(errors[1] / 4, rel=0.1)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_gradients_of_every_basis_agree_with_central_differences(basis, sigma):
    frames = several_frames()
    soap = castile.SOAP(**{**OPTIONS, "sigma": sigma, "cutoff": 3.0}, cutoff_width=1.0, radial_basis=basis)
    assert_gradients_agree(soap.fit(frames), frames, None)


# ---- weights


WEIGHTINGS = [
    ({"function": "poly", "r0": 3.5, "m": 2, "c": 0.7}, lambda x: 0.7 * (1 + 2 * x**3 - 3 * x**2) ** 2, 3.5),
    ({"function": "pow", "r0": 2.0, "d": 1.5, "m": 3}, lambda x: 1 / (1.5 + x**3), 2.0),
    ({"function": "exp", "r0": 1.5, "d": 0.5, "c": 2.0}, lambda x: 2 / (0.5 + np.exp(-x)), 1.5),
    ({"function": "willatt", "rate": 1.0, "scale": 2.0, "exponent": 4}, lambda x: 1 / (1 + x**4), 2.0),
    ({"function": "willatt", "rate": 0.0, "scale": 2.0, "exponent": 3, "w0": 1.0}, lambda x: x**-3, 2.0),
]


@pytest.mark.parametrize(("weighting", "weight", "r0"), WEIGHTINGS, ids=lambda value: str(value)[:50])
def test_a_weighting_scales_a_neighbor_by_its_distance(weighting, weight, r0):
    for r in (0.5, 1.3, 3.3):
        plain = of_neighbor(dimer(r))
        assert_close(of_neighbor(dimer(r), density_weighting=weighting), weight(r / r0) * plain, 1e-12)


def test_a_weighting_with_w0_replaces_the_weight_at_the_center():
    atoms = Atoms("H", [[0, 0, 0]])
    plain = SphericalExpansion(**OPTIONS).fit_transform(atoms)
    weighting = {"function": "pow", "r0": 2.0, "d": 2.0, "m": 3}
    weighted = SphericalExpansion(**OPTIONS, density_weighting=weighting).fit_transform(atoms)
    assert_close(weighted, plain / 2.0, 1e-13)
    replaced = SphericalExpansion(**OPTIONS, density_weighting={**weighting, "w0": 3.0}).fit_transform(atoms)
    assert_close(replaced, plain * 3.0, 1e-13)
    alone = SphericalExpansion(**OPTIONS, density_weighting={"w0": 3.0}).fit_transform(atoms)
    assert_close(alone, plain * 3.0, 1e-13)


def test_species_weights_scale_channels_and_the_center():
    atoms = dimer(1.3)
    weights = {"H": 0.5, "O": 3.0}
    plain = SphericalExpansion(**OPTIONS).fit_transform(atoms).reshape(2, 2, -1)
    weighted = SphericalExpansion(**OPTIONS, species_weights=weights).fit_transform(atoms).reshape(2, 2, -1)
    assert_close(weighted, plain * np.array([0.5, 3.0])[None, :, None], 1e-13)


# ---- reach, and species that differ


@pytest.mark.parametrize("name", ["cutoff", "sigma"])
def test_lengths_by_species_give_the_channels_of_these_lengths(name):
    frames = several_frames()
    species = sorted({s for atoms in frames for s in atoms.symbols})
    lengths = {s: {"cutoff": 2.5, "sigma": 0.4}[name] + 0.3 * (k % 3) for k, s in enumerate(species)}
    expansion = SphericalExpansion(**{**OPTIONS, name: lengths}).fit(frames)
    X = expansion.transform(frames).reshape(-1, len(species), 64)
    for k, symbol in enumerate(expansion.species_):
        alone = SphericalExpansion(**{**OPTIONS, name: lengths[symbol]}).fit_transform(frames)
        assert_close(X[:, k], alone.reshape(-1, len(species), 64)[:, k], 1e-12, floor=1e-3)


@pytest.mark.parametrize("cls", castile.descriptors.DESCRIPTORS)
def test_gradients_with_lengths_and_weights_by_species_agree_with_central_differences(cls):
    frames = several_frames()
    species = sorted({s for atoms in frames for s in atoms.symbols})
    options = {name: value for name, value in OPTIONS.items() if name in cls._get_param_names()}
    descriptor = cls(
        **{
            **options,
            "cutoff": {s: 2.6 + 0.2 * (k % 3) for k, s in enumerate(species)},
            "sigma": {s: 0.4 + 0.1 * (k % 2) for k, s in enumerate(species)},
        },
        species_weights={s: 1.0 + 0.5 * k for k, s in enumerate(species)},
    )
    assert_gradients_agree(descriptor.fit(frames), frames, None)


def test_neighbors_count_up_to_the_neighbor_radius():
    r = 4.6  # beyond the cutoff, which sets the basis alone
    assert not of_neighbor(dimer(r), cutoff_function=None).any()
    c = of_neighbor(dimer(r), cutoff_function=None, neighbor_radius=5.0)
    soap = castile.SOAP(**OPTIONS, cutoff_function=None, neighbor_radius=5.0, species=["H"])
    R = soap.radial_functions([r])[0][0]  # (l, n)
    assert_close(c[:, 0], R[0] / np.sqrt(4 * np.pi), 1e-12)
    assert_close(c[:, 2], R[1] * 0.64 * np.sqrt(3 / (4 * np.pi)), 1e-12)
    assert not of_neighbor(dimer(5.0 + 1e-9), cutoff_function=None, neighbor_radius=5.0).any()
