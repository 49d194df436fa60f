"""Fewer features for many species, and fewer radial functions: values, names, and what ``fit`` learns."""

import json

import numpy as np
import pytest
from ase import Atoms
from checks import assert_close, assert_gradients_agree, same_bits
from named_structures import STRUCTURES, several_frames
from threadpoolctl import threadpool_info, threadpool_limits

import castile

OPTIONS = {"cutoff": 3.0, "n_max": 3, "l_max": 2, "sigma": 0.5}
N, L = 3, 2
TABLE_ERROR = 1e-8  # two tables of the default accuracy


@pytest.fixture(scope="module")
def frames():
    return several_frames()


@pytest.fixture(scope="module")
def coefficients(frames):
    """(n_centers, n_species, n, lm)"""
    X = castile.SphericalExpansion(**OPTIONS).fit_transform(frames)
    return X.reshape(len(X), -1, N, (L + 1) ** 2)


def products(a, b, degree):
    own = slice(degree**2, (degree + 1) ** 2)
    return np.einsum("inm,ikm->ink", a[..., own], b[..., own]) / np.sqrt(2 * degree + 1)


def packed(c, pairs):
    """Power spectrum in the documented order, for pairs of channels."""
    columns = []
    for a, b in pairs:
        for degree in range(L + 1):
            block = products(c[:, a], c[:, b], degree)
            for n in range(c.shape[2]):
                for k in range(n if a == b else 0, c.shape[2]):
                    columns.append(block[:, n, k] * (1.0 if (a, n) == (b, k) else np.sqrt(2)))
    return np.stack(columns, axis=1)


def all_pairs(n):
    return [(a, b) for a in range(n) for b in range(a, n)]


def fit_transform(frames, **options):
    return castile.SOAP(**OPTIONS, **options).fit_transform(frames)


def test_mu2_is_the_power_spectrum_of_all_species_together(frames, coefficients):
    expected = packed(coefficients.sum(axis=1, keepdims=True), [(0, 0)])
    assert_close(fit_transform(frames, compression="mu2"), expected, 1e-13)


def test_crossover_keeps_the_blocks_of_like_species(frames, coefficients):
    n_species = coefficients.shape[1]
    expected = packed(coefficients, [(a, a) for a in range(n_species)])
    assert_close(fit_transform(frames, compression="crossover"), expected, 1e-13)


def test_mu1nu1_multiplies_each_species_with_the_sum_of_all(frames, coefficients):
    total = coefficients.sum(axis=1)
    columns = [
        products(coefficients[:, a], total, degree).reshape(len(total), -1)
        for a in range(coefficients.shape[1])
        for degree in range(L + 1)
    ]
    assert_close(fit_transform(frames, compression="mu1nu1"), np.hstack(columns), 1e-13)


def test_matrices_mix_species_and_radial_functions(frames, coefficients):
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(2, coefficients.shape[1])), rng.normal(size=(4, N))
    mixed = np.einsum("ka,vn,ianm->ikvm", U, V, coefficients)
    X = fit_transform(frames, compression={"species": U, "radial": V})
    assert_close(X, packed(mixed, all_pairs(2)), 1e-12)
    c = castile.SphericalExpansion(**OPTIONS, compression={"species": U, "radial": V}).fit_transform(frames)
    assert_close(c, mixed.reshape(len(mixed), -1), 1e-12)


def test_tensor_reduced_dot_products_estimate_those_of_the_full_power_spectrum(frames):
    rows = fit_transform(frames)[:6]
    full = rows @ rows.T
    estimates = []
    for seed in range(200):
        Z = fit_transform(frames, compression={"tensor_reduced": 64, "seed": seed})[:6]
        estimates.append(Z @ Z.T)
    mean, error = np.mean(estimates, axis=0), np.std(estimates, axis=0) / np.sqrt(len(estimates))
    assert np.all(np.abs(mean - full) < 5 * error)
    assert np.max(error / np.abs(full)) < 0.05  # else the line above says little


def test_tensor_reduced_is_deterministic_and_a_species_keeps_its_numbers(frames):
    compression = {"tensor_reduced": 8, "seed": 3}
    X = fit_transform(frames, compression=compression)
    assert np.array_equal(X, fit_transform(frames, compression=compression))
    assert not np.array_equal(X, fit_transform(frames, compression={"tensor_reduced": 8, "seed": 4}))
    molecule = STRUCTURES["molecule"]()
    own = sorted(set(molecule.symbols))
    few = castile.SOAP(**OPTIONS, species=own, compression=compression).transform(molecule)
    many = castile.SOAP(**OPTIONS, species=[*own, "U"], compression=compression).transform(molecule)
    assert_close(many, few, 1e-12)


@pytest.mark.parametrize(
    "compression",
    [
        None,
        "mu2",
        "mu1nu1",
        "crossover",
        {"species": 2},
        {"radial": 2, "method": "cur"},
        {"species": 2, "radial": 2},
        {"tensor_reduced": 4},
    ],
    ids=str,
)
def test_every_column_has_a_name_of_its_own(compression, frames):
    soap = castile.SOAP(**OPTIONS, compression=compression).fit(frames)
    names = soap.get_feature_names_out()
    assert len(set(names)) == len(names) == soap.transform(frames).shape[1]


@pytest.mark.parametrize("method", ["svd", "cur"])
def test_learned_mixtures_keep_the_variance_that_they_say(method, frames, coefficients):
    soap = castile.SOAP(**OPTIONS, compression={"species": 2, "radial": 2, "method": method}).fit(frames)
    kept = soap.variance_kept_
    U = soap.species_mixing_
    assert U.shape == (2, coefficients.shape[1])
    flat = coefficients.transpose(1, 0, 2, 3).reshape(coefficients.shape[1], -1)
    projected = np.linalg.pinv(U) @ U @ flat if method == "svd" else _explained(U, flat)
    assert kept["species"] == pytest.approx(np.sum(projected**2) / np.sum(flat**2), rel=1e-10)
    assert 0 < kept["radial"] <= 1


def _explained(U, flat):
    chosen = U @ flat
    return np.linalg.lstsq(chosen.T, flat.T, rcond=None)[0].T @ chosen


def test_as_many_mixtures_as_species_keep_all_dot_products(frames):
    X = fit_transform(frames)
    n_species = len(castile.SOAP(**OPTIONS).fit(frames).species_)
    Z = fit_transform(frames, compression={"species": n_species, "radial": N})
    assert_close(Z @ Z.T, X @ X.T, 1e-11)


# ---- contraction


def test_kernels_agree_within_the_variance_that_a_contraction_keeps(frames):
    options = {**OPTIONS, "n_max": 8}
    X = castile.SOAP(**options).fit_transform(frames)
    errors = []
    for n_max in (2, 4, 6, 8):
        soap = castile.SOAP(**{**options, "n_max": n_max}, n_primitives=8).fit(frames)
        lost = 1.0 - soap.variance_kept_["contraction"].min()
        Z = soap.transform(frames)
        error = np.max(np.abs(Z @ Z.T - X @ X.T)) / np.max(X @ X.T)
        assert error <= 10 * lost + TABLE_ERROR
        errors.append(error)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < TABLE_ERROR


def test_a_contraction_is_shared_where_species_are_summed(frames):
    soap = castile.SOAP(**OPTIONS, n_primitives=6, compression="mu2").fit(frames)
    contraction = soap.contraction_
    assert contraction.shape[1:] == (L + 1, N, 6)
    assert all(np.array_equal(own, contraction[0]) for own in contraction)


@pytest.mark.parametrize("cls", castile.descriptors.DESCRIPTORS)
def test_gradients_of_learned_combinations_agree_with_central_differences(cls, frames):
    options = {name: value for name, value in OPTIONS.items() if name in cls._get_param_names()}
    descriptor = cls(**options, n_primitives=5, compression={"species": 2, "radial": 2}, accuracy=1e-10)
    assert_gradients_agree(descriptor.fit(frames), frames, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "mu3"}, "compression must be one of"),
        ({"compression": 4}, "None, a name or a dict"),
        ({"compression": {}}, "got a dict with"),
        ({"compression": {"species": 2, "seed": 1}}, "got a dict with"),
        ({"compression": {"species": 0}}, r"compression\['species'\] must be 1 or more"),
        ({"compression": {"species": 99}}, r"compression\['species'\] must be at most"),
        ({"compression": {"radial": 99}}, r"compression\['radial'\] must be at most 3"),
        ({"compression": {"species": [[1.0]]}}, r"compression\['species'\] must have 7 columns"),
        ({"compression": {"radial": [[1.0]]}}, r"compression\['radial'\] must have 3 columns"),
        ({"compression": {"species": [[np.nan] * 7]}}, "finite"),
        ({"compression": {"species": 2, "method": "pca"}}, r"compression\['method'\]"),
        ({"compression": {"tensor_reduced": 0}}, r"compression\['tensor_reduced'\]"),
        ({"compression": {"tensor_reduced": 4, "seed": -1}}, r"compression\['seed'\]"),
        ({"n_primitives": 2}, r"n_primitives must be n_max \(3\) or more"),
        ({"n_primitives": 99}, "n_max must be at most|n_primitives"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_compressions_that_cannot_be_are_refused(options, message, frames):
    with pytest.raises(castile.CastileError, match=message):
        castile.SOAP(**OPTIONS, **options).fit(frames)


@pytest.mark.parametrize("compression", ["mu1nu1", "crossover", {"tensor_reduced": 4}], ids=str)
def test_products_are_refused_where_there_are_none(compression, frames):
    with pytest.raises(castile.InputError, match="none of"):
        castile.SphericalExpansion(**OPTIONS, compression=compression).fit(frames)


@pytest.mark.parametrize("options", [{"n_primitives": 5}, {"compression": {"species": 2}}], ids=str)
def test_learning_keeps_blas_on_one_thread_whose_bits_are_the_same_everywhere(options, frames, monkeypatch):
    used = []

    def eigh(*arguments, **named):
        used.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return plain_eigh(*arguments, **named)

    plain_eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", eigh)
    with threadpool_limits(2, user_api="blas"):
        castile.SOAP(**OPTIONS, **options).fit(frames)
    assert set(used) == {1}


@pytest.mark.parametrize("options", [{"n_primitives": 5}, {"compression": {"species": 2}}], ids=str)
def test_what_is_learned_asks_for_fit(options, frames):
    soap = castile.SOAP(**OPTIONS, **options, species=sorted({s for atoms in frames for s in atoms.symbols}))
    with pytest.raises(castile.NotFittedError, match="fit"):
        soap.transform(frames)


def test_species_are_no_remedy_where_fit_has_to_learn(frames):
    with pytest.raises(castile.NotFittedError, match=r"call fit\(frames\) first$"):
        castile.SOAP(**OPTIONS, n_primitives=5).transform(frames)
    with pytest.raises(castile.NotFittedError, match=r"or give species= to SOAP$"):
        castile.SOAP(**OPTIONS).transform(frames)


def test_learned_functions_do_not_fit_changed_parameters(frames):
    soap = castile.SOAP(**OPTIONS, n_primitives=5).fit(frames)
    with pytest.raises(castile.NotFittedError, match="changed since fit"):
        soap.set_params(n_max=4).transform(frames)


@pytest.mark.parametrize("options", [{"n_primitives": 5}, {"compression": {"species": 1}}], ids=str)
@pytest.mark.parametrize("species", [["C", "O"], ["C", "H", "O"]], ids=str)
def test_learned_functions_do_not_fit_other_species(options, species):
    soap = castile.SOAP(**OPTIONS, **options, species=["H", "O"]).fit(Atoms("H2O", positions=np.eye(3)))
    with pytest.raises(castile.NotFittedError, match=r"species changed from .*; call fit again"):
        soap.set_params(species=species).transform(Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]))


def test_nothing_is_learned_from_frames_without_atoms():
    with pytest.raises(castile.InputError, match="no centers to learn from"):
        castile.SOAP(**OPTIONS, n_primitives=4, species=["H"]).fit([Atoms(), Atoms()])


@pytest.mark.parametrize("n_bytes", [1, 20_000, 1 << 25])
def test_what_is_learned_does_not_depend_on_how_frames_are_cut(frames, monkeypatch, n_bytes):
    options = {"n_primitives": 5, "compression": {"species": 2, "radial": 2}}
    expected = castile.SOAP(**OPTIONS, **options).fit(frames)
    monkeypatch.setattr("castile.descriptors._learning._CHUNK_BYTES", n_bytes)
    found = castile.SOAP(**OPTIONS, **options).fit(frames)
    for name in ("contraction_", "species_mixing_", "radial_mixing_"):
        assert_close(getattr(found, name), getattr(expected, name), 1e-9, what=name)


def test_learning_shows_progress(frames, capsys):
    castile.SOAP(**OPTIONS, n_primitives=5).fit(frames, progress=True)
    assert "learning" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"n_primitives": 5}, {"compression": {"species": 2, "radial": 2}}], ids=str)
def test_a_description_restores_what_was_learned(frames, options):
    soap = castile.SOAP(**OPTIONS, **options).fit(frames)
    description = json.loads(json.dumps(castile.io.describe_descriptor(soap)))
    again = castile.io.restore_descriptor(description)
    assert same_bits(again.transform(frames), soap.transform(frames))
    for wrong in ({}, {**description, "name": "Soap"}, {**description, "parameters": {"rcut": 3.0}}):
        with pytest.raises(castile.CastileError, match="does not describe a descriptor"):
            castile.io.restore_descriptor(wrong)
