"""Power spectra against DScribe's SOAP, over its bases, weightings, averages and compressions.

Two rows are compared with DScribe's: those of the slow reference in tests/python/references, converted from Castile's
layout, and those of Castile, as far as it has the options that a case needs.

- DScribe takes β, the inverse root of the overlap, in double precision: hence the bounds of the larger bases.
- A rounded (2π)² is in its polynomial basis, 1e-11 of all values.
- DScribe does not wrap atoms into the cell and then misses neighbors, so structures are wrapped first.
- It cuts the Gaussians of the polynomial basis 5 Å away from their atom, of 5e-7 at σ = 1 Å: σ is smaller here.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers
from peer_structures import STRUCTURES

import castile
from castile.layouts import from_dscribe, to_dscribe

descriptors = pytest.importorskip("dscribe.descriptors", reason="dscribe is not installed")
reference = pytest.importorskip("references.dscribe_soap", reason="the reference needs mpmath")

pytestmark = pytest.mark.peers

SMALL = reference.Settings(r_cut=3.5, n_max=4, l_max=3, sigma=0.4)
WEIGHTINGS = {
    "poly": {"function": "poly", "r0": 4.0, "c": 1.5, "m": 2.0},
    "poly_short": {"function": "poly", "r0": 2.5, "c": 1.0, "m": 3.0},  # a kink inside the reach
    "pow": {"function": "pow", "r0": 2.0, "c": 1.0, "d": 0.7, "m": 3.0},
    "exp": {"function": "exp", "r0": 1.5, "c": 1.0, "d": 2.0},
    "pow_w0": {"function": "pow", "r0": 2.0, "c": 1.0, "d": 0.7, "m": 3.0, "w0": 0.3},
    "no_center": {"w0": 0.0},
}
AVERAGES = ["off", "inner", "outer"]
COMPRESSIONS = [None, "mu2", "mu1nu1", "crossover"]
HEAVY = {"H": 0.5, "C": 1.2, "O": 1.5, "Na": 0.8, "Mo": 0.9, "Si": 2.0, "S": 0.7, "Cl": 1.1}

# Settings, and the bound relative to the largest value: about three times the largest difference seen.
CASES = {
    "gto_l": (replace(SMALL, r_cut=4.5, n_max=7, l_max=6, sigma=0.5), 4e-11),
    "gto_l_8": (replace(SMALL, r_cut=5.0, n_max=8, l_max=3), 6e-10),
    "gto_l_10": (replace(SMALL, r_cut=5.0, n_max=10, l_max=2), 1e-7),
    "gto_l_1": (replace(SMALL, n_max=1, l_max=0), 5e-14),
    "polynomial": (replace(SMALL, radial_basis="polynomial", l_max=5), 4e-11),
    "polynomial_6": (replace(SMALL, radial_basis="polynomial", n_max=6, sigma=0.7), 1e-8),
}
for basis in ("gto_l", "polynomial"):
    plain = replace(SMALL, radial_basis=basis)
    CASES |= {f"{basis}_{name}": (replace(plain, weighting=w), 4e-11) for name, w in WEIGHTINGS.items()}
    CASES |= {f"{basis}_{average}": (replace(plain, average=average), 4e-11) for average in ("inner", "outer")}
for average in AVERAGES:
    for compression in COMPRESSIONS:
        settings = replace(SMALL, n_max=3, average=average, compression=compression, species_weights=HEAVY)
        CASES[f"weighted_{average}_{compression or 'full'}"] = settings, 6e-11


def slab():
    """Periodic along two axes."""
    cell = np.array([[3.1, 0.0, 0.2], [-1.4, 2.9, 0.0], [0.3, 0.1, 9.0]])
    atoms = Atoms("MoS2Mo", positions=[[0.1, 0.2, 1.0], [1.3, 1.1, 2.4], [0.2, 0.4, 3.3], [1.6, 1.0, 4.4]], cell=cell)
    atoms.pbc = [True, True, False]
    return atoms


MAKERS = {**STRUCTURES, "slab": slab}


@pytest.fixture(params=list(MAKERS))
def name(request):
    return request.param


@pytest.fixture(params=list(CASES))
def case(request):
    return request.param


def structure(name):
    """Return one, and its species; its own and one that is absent."""
    atoms = MAKERS[name]()
    atoms.wrap()
    return atoms, sorted({*atoms.symbols, "H"}, key=atomic_numbers.get)


def dscribe_soap(settings, species, periodic):
    weights = settings.species_weights
    return descriptors.SOAP(
        species=species,
        periodic=periodic,
        r_cut=settings.r_cut,
        n_max=settings.n_max,
        l_max=settings.l_max,
        sigma=settings.sigma,
        rbf={"gto_l": "gto"}.get(settings.radial_basis, settings.radial_basis),
        weighting=None if settings.weighting is None else dict(settings.weighting),
        average=settings.average,
        compression={
            "mode": settings.compression or "off",
            "species_weighting": weights and {symbol: weights[symbol] for symbol in species},
        },
    )


@lru_cache
def dscribe_rows(case, name):
    atoms, species = structure(name)
    rows = dscribe_soap(CASES[case][0], species, bool(atoms.pbc.any())).create(atoms)
    return rows.reshape(-1, rows.shape[-1])


def difference(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


# ---------------------------------------------------------------- the reference, in Castile's layout


def castile_rows(c, l_max, compression):
    """Rows as Castile lays them out: (2l + 1)^(-1/2) Σ_m c c', √2 where a column stands for two products."""
    rows, factors = [], []
    for degree in range(l_max + 1):
        own = slice(degree**2, (degree + 1) ** 2)
        rows.append(np.einsum("ianm,ibkm->iabnk", c[..., own], c[..., own]) / np.sqrt(2 * degree + 1))
    p = np.stack(rows, axis=3)  # center, a, b, l, n, n'
    n_species, n_max = c.shape[1:3]
    if compression == "mu2":
        p, n_species = p.sum(axis=(1, 2), keepdims=True), 1
    if compression == "mu1nu1":
        return p.sum(axis=2).reshape(len(p), -1)
    rows = []
    upper = np.triu_indices(n_max)
    factors = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    for a in range(n_species):
        rows.append((p[:, a, a][..., upper[0], upper[1]] * factors).reshape(len(p), -1))
        for b in range(a + 1, 0 if compression == "crossover" else n_species):
            rows.append(p[:, a, b].reshape(len(p), -1) * np.sqrt(2.0))
    return np.concatenate(rows, axis=1)


def soap_of(settings, species):
    """Return a descriptor that has the columns of a case, if not its numbers."""
    soap = castile.SOAP(cutoff=settings.r_cut, n_max=settings.n_max, l_max=settings.l_max, species=species)
    soap.compression = settings.compression
    return soap


def test_the_reference_in_castiles_layout_converts_to_dscribes_rows(case, name):
    settings, bound = CASES[case]
    atoms, species = structure(name)
    c = reference.coefficients(atoms, species, settings)
    if settings.average == "inner":
        c = c.mean(axis=0, keepdims=True)
    rows = castile_rows(c, settings.l_max, settings.compression)
    if settings.average == "outer":
        rows = rows.mean(axis=0, keepdims=True)
    soap, expected = soap_of(settings, species), dscribe_rows(case, name)
    assert difference(to_dscribe(rows, soap), expected) < bound
    assert difference(rows, from_dscribe(expected, soap)) < bound
    assert difference(reference.features(atoms, species, settings).reshape(expected.shape), expected) < bound


@pytest.mark.parametrize("case", ["gto_l", "polynomial", "gto_l_pow_w0", "polynomial_inner"])
def test_the_reference_is_right_around_points_in_space(case, name):
    settings, bound = CASES[case]
    atoms, species = structure(name)
    points = np.add(atoms.positions[:2], [[0.4, -0.3, 0.5], [0.0, 0.0, 0.0]])  # free, and on an atom
    rows = dscribe_soap(settings, species, bool(atoms.pbc.any())).create(atoms, centers=points.tolist())
    assert difference(reference.features(atoms, species, settings, points), rows) < bound


@pytest.mark.parametrize("n_max", [8, 10])
def test_what_keeps_large_bases_apart_is_dscribes_rounding(n_max, monkeypatch, name):
    """With its own β, in double precision, the reference comes as near as in small bases."""
    settings = replace(SMALL, r_cut=5.0, n_max=n_max, l_max=2)
    atoms, species = structure(name)
    soap = dscribe_soap(settings, species, bool(atoms.pbc.any()))
    beta = np.reshape(soap._betas, (settings.l_max + 1, n_max, n_max)).astype(np.longdouble)
    monkeypatch.setattr(reference, "basis_coefficients", lambda basis, r_cut, n_max, degree: beta[degree])
    assert difference(reference.features(atoms, species, settings), soap.create(atoms)) < 6e-11


def test_the_reach_ends_where_the_reference_says():
    settings = SMALL
    soap = dscribe_soap(settings, ["H", "He"], periodic=False)
    for separation, seen in [(settings.reach - 1e-9, True), (settings.reach + 1e-9, False)]:
        atoms = Atoms("HHe", positions=[[0, 0, 0], [0, 0, separation]])
        row = soap.create(atoms, centers=[0])[0]
        assert row[soap.get_location(("H", "He"))].any() == seen
        assert difference(reference.features(atoms, ["H", "He"], settings)[0], row) < 4e-11


# ---------------------------------------------------------------- Castile itself


TABLE_ACCURACY = 1e-12


def castile_soap(settings, species):
    """Return the descriptor of a case."""
    parameters = {
        "cutoff": settings.r_cut,
        "n_max": settings.n_max,
        "l_max": settings.l_max,
        "sigma": settings.sigma,
        "species": species,
        "radial_basis": settings.radial_basis,
        "cutoff_function": None,
        "neighbor_radius": settings.reach,
        "average": settings.average,
        "accuracy": TABLE_ACCURACY,
    }
    if settings.weighting is not None:
        parameters["density_weighting"] = settings.weighting
    if settings.compression is not None:
        parameters["compression"] = settings.compression
    if settings.species_weights is not None:
        parameters["species_weights"] = {symbol: settings.species_weights[symbol] for symbol in species}
    return castile.SOAP(**parameters)


def test_castiles_rows_are_dscribes(case, name):
    settings, bound = CASES[case]
    atoms, species = structure(name)
    soap = castile_soap(settings, species)
    expected = dscribe_rows(case, name)
    # What the tables add to the bounds of exact radial functions.
    assert difference(to_dscribe(soap.transform(atoms), soap), expected) < max(bound, 3 * TABLE_ACCURACY)


@pytest.mark.parametrize("case", ["gto_l", "polynomial"])
def test_castiles_derivatives_are_dscribes(case):
    """DScribe has analytical ones for free structures; those of the polynomial basis are its central differences."""
    settings, _ = CASES[case]
    atoms, species = structure("cluster")
    soap = castile_soap(settings, species)
    method = "analytical" if settings.radial_basis == "gto_l" else "numerical"
    expected = dscribe_soap(settings, species, periodic=False).derivatives(
        atoms, centers=list(range(len(atoms))), attach=True, method=method, return_descriptor=False
    )
    J = to_dscribe(soap.jacobian(atoms, strain=False).to_dense(), soap)
    assert difference(J, expected) < (1e-9 if method == "analytical" else 1e-7)
