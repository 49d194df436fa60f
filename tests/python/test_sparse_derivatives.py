"""Derivatives of sparse rows: those of dense ones, without the columns of species that a row does not see."""

import numpy as np
import pytest
import scipy.sparse as sp
from ase import Atoms
from ase.build import molecule
from checks import assert_close, same_bits
from named_structures import frames_of_five_species, several_frames

import castile
from castile.descriptors import DESCRIPTORS, _input
from castile.io import load_features, save_features

AVERAGES = ["off", "inner", "outer", "inner_per_species", "outer_per_species"]
SPECIES = ["H", "C", "N", "O", "F", "Mg", "Si", "S", "Cl", "Cu", "Zn", "Mo"]


def make(cls, **options):
    sizes = {"cutoff": 3.4, "n_max": 3, "l_max": 2, "sigma": 0.5, "species": SPECIES, "degrees": (2, 4, 4), "degree": 5}
    names = cls._get_param_names()
    return cls(**{name: value for name, value in {**sizes, **options}.items() if name in names})


@pytest.fixture(scope="module")
def frames():
    """Molecules and crystals, each with a few of the twelve species."""
    return [molecule("CH3SH"), *several_frames(), *frames_of_five_species().values(), Atoms(), molecule("Cl2")]


def tangents_of(frames):
    rng = np.random.default_rng(0)
    return rng.normal(size=(sum(map(len, frames)), 3)), rng.normal(size=(len(frames), 3, 3))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_derivatives_of_sparse_rows_are_those_of_dense_rows(cls, average, normalize, frames):
    assert_sparse_rows_are_dense_rows(cls, frames, average=average, normalize=normalize)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", [castile.Products, castile.Bispectrum])
def test_sparse_rows_know_which_species_have_coarser_functions(cls, average, frames):
    """Rows that see as many species, but others, have other columns."""
    degrees = {symbol: k % 3 for k, symbol in enumerate(SPECIES)}
    assert_sparse_rows_are_dense_rows(cls, frames, average=average, species_degrees=degrees)


def test_sparse_rows_of_species_that_no_function_is_left_of_are_empty(frames):
    degrees = dict.fromkeys(SPECIES[1:], 20)
    options = {"species_degrees": degrees, "center_weight": 1.0}
    S = make(castile.Products, **options, sparse=True).transform(frames)
    n_values = np.diff(S.indptr)
    assert (n_values == 0).any()
    assert (n_values > 0).any()
    assert np.array_equal(S.toarray(), make(castile.Products, **options).transform(frames))


def assert_sparse_rows_are_dense_rows(cls, frames, **options):
    dense, sparse = (make(cls, **options, sparse=choice) for choice in (False, True))
    X, S = dense.transform(frames), sparse.transform(frames)
    assert np.array_equal(S.toarray(), X)
    rates = sparse.jvp(frames, *tangents_of(frames))
    assert isinstance(rates, sp.csr_array)
    assert np.array_equal(rates.toarray(), dense.jvp(frames, *tangents_of(frames)))
    assert np.array_equal(rates.indptr, S.indptr)
    assert np.array_equal(rates.indices, S.indices)
    J, expected = sparse.jacobian(frames), dense.jacobian(frames)
    assert np.array_equal(J.to_dense(), expected.to_dense())
    assert np.array_equal(J.strain, expected.strain)
    cotangent = np.random.default_rng(1).normal(size=X.shape) * (X != 0.0)
    g, expected = sparse.vjp(frames, sp.csr_array(cotangent)), dense.vjp(frames, cotangent)
    assert same_bits(g.positions, expected.positions)
    assert same_bits(g.strain, expected.strain)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_sparse_jacobians_store_only_columns_that_a_row_sees(cls, average, frames):
    sparse = make(cls, average=average, sparse=True)
    S, J = sparse.transform(frames), sparse.jacobian(frames)
    parts = [(group.row, group.columns) for group in (*J.groups, *J.strain_groups)]
    for rows, columns in parts:
        for row in np.unique(rows):
            assert np.isin(columns, S.indices[S.indptr[row] : S.indptr[row + 1]]).all()
    assert sorted(row for group in J.strain_groups for row in group.row) == list(range(J.n_rows))
    assert sum(group.values.size for group in J.strain_groups) == 9 * S.nnz
    assert J.nbytes < make(cls, average=average).jacobian(frames).nbytes / 2


@pytest.mark.parametrize("strain", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_memory_is_estimated_to_the_byte(cls, sparse, strain, frames):
    descriptor = make(cls, sparse=sparse)
    estimate, J = descriptor.estimate_memory(frames, strain=strain), descriptor.jacobian(frames, strain=strain)
    assert estimate.jacobian + estimate.strain == J.nbytes
    X = descriptor.transform(frames)
    assert estimate.features == (X.data.nbytes + X.indices.nbytes if sparse else X.nbytes)


@pytest.mark.parametrize("compression", ["mu2", "mu1nu1", "crossover", {"species": 3}, {"tensor_reduced": 4}], ids=str)
def test_compressed_rows_have_sparse_derivatives(compression, frames):
    frames = [atoms for atoms in frames if len(atoms)]
    options = {"compression": compression, "normalize": True}
    dense, sparse = (make(castile.SOAP, **options, sparse=choice).fit(frames) for choice in (False, True))
    J, expected = sparse.jacobian(frames), dense.jacobian(frames)
    assert np.array_equal(J.to_dense(), expected.to_dense())
    assert np.array_equal(J.strain, expected.strain)
    assert (J.nbytes < expected.nbytes) == (compression in ("mu1nu1", "crossover"))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("average", ["off", "outer"])
def test_the_sparse_matrix_is_the_jacobian_and_multiplies_like_jvp(average, sparse, frames):
    soap = make(castile.SOAP, average=average, sparse=sparse)
    J = soap.jacobian(frames, strain=False)
    matrix = J.to_sparse()
    assert matrix.shape == (J.n_rows * J.n_features, 3 * sum(map(len, frames)))
    expected = np.moveaxis(J.to_dense(), 3, 1).reshape(matrix.shape)
    assert np.array_equal(matrix.toarray(), expected)
    velocities, _ = tangents_of(frames)
    rates = soap.jvp(frames, velocities)
    rates = rates.toarray() if sparse else rates
    assert_close((matrix @ velocities.ravel()).reshape(rates.shape), rates, 1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_chunks_do_not_show_in_sparse_derivatives(sparse, frames, monkeypatch):
    soap = make(castile.SOAP, sparse=sparse)
    J = soap.jacobian(frames)
    monkeypatch.setattr(_input, "_CHUNK_CENTERS", 4)
    own = soap.jacobian(frames)
    assert len(own.groups) == len(J.groups)
    assert len(own.strain_groups) == len(J.strain_groups)
    for left, right in zip(own.groups, J.groups, strict=True):
        assert left.species == right.species
        for name in ("columns", "values", "row", "frame", "atom"):
            assert same_bits(getattr(left, name), getattr(right, name)), name
    for left, right in zip(own.strain_groups, J.strain_groups, strict=True):
        for name in ("columns", "values", "row"):
            assert same_bits(getattr(left, name), getattr(right, name)), name


def test_points_have_sparse_derivatives(frames):
    frames = [atoms for atoms in frames if len(atoms)]
    points = [atoms.positions[:1] + np.array([0.3, 0.2, 0.1]) for atoms in frames]
    points[0] = np.vstack([points[0], [[50.0, 50.0, 50.0]]])  # which sees nothing
    dense, sparse = (make(castile.SOAP, sparse=choice) for choice in (False, True))
    J, (expected,) = sparse.jacobian(frames, points), dense.jacobian(frames, points).center_groups
    assert sum(len(group.row) for group in J.center_groups) == len(expected.row)
    for group in J.center_groups:
        assert group.species == ""
        for k, row in enumerate(group.row):
            (same,) = np.flatnonzero(expected.row == row)
            assert expected.atom[same] == group.atom[k]
            assert np.array_equal(expected.values[same][:, group.columns], group.values[k])
            assert not np.delete(expected.values[same], group.columns, axis=1).any()


def test_a_sparse_jacobian_of_atoms_and_points_is_written_and_read(tmp_path, frames):
    soap = make(castile.SOAP, sparse=True)
    centers = [np.array([[0.1, 0.2, 0.3]]) if k % 2 else np.arange(len(atoms)) for k, atoms in enumerate(frames)]
    J = soap.jacobian(frames, centers)
    save_features(tmp_path / "x.npz", soap.transform(frames, centers), soap.samples(frames, centers), soap, J)
    found = load_features(tmp_path / "x.npz").jacobian
    assert len(found.strain_groups) == len(J.strain_groups)
    assert len(found.center_groups) == len(J.center_groups) > 0
    for group, expected in zip(found.center_groups, J.center_groups, strict=True):
        assert np.array_equal(group.values, expected.values)
    assert np.array_equal(found.to_dense(), J.to_dense())
    assert np.array_equal(found.strain, J.strain)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", ["off", "outer"])
def test_a_sparse_cotangent_may_have_columns_in_any_order_twice_or_that_no_row_sees(average, normalize, frames):
    soap = make(castile.SOAP, average=average, normalize=normalize, sparse=True)
    shape = soap.transform(frames).shape
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, shape[0], 20000), rng.integers(0, shape[1], 20000)
    order = np.argsort(rows, kind="stable")
    parts = rng.normal(size=20000), columns[order], np.searchsorted(rows[order], np.arange(shape[0] + 1))
    cotangent = sp.csr_array(parts, shape=shape)
    assert not cotangent.has_canonical_format
    g, expected = soap.vjp(frames, cotangent), soap.vjp(frames, cotangent.toarray())
    assert_close(g.positions, expected.positions, 1e-12)
    assert_close(g.strain, expected.strain, 1e-12)


@pytest.mark.parametrize("average", ["off", "inner"])
def test_sparse_results_have_the_same_bits_on_any_number_of_threads(average, frames):
    soap = make(castile.SOAP, average=average, sparse=True, normalize=True)
    velocities, rates = tangents_of(frames)

    def results():
        J, t = soap.jacobian(frames), soap.jvp(frames, velocities, rates)
        return [t.data, *(group.values for group in (*J.groups, *J.strain_groups))]

    with castile.threads(1):
        expected = results()
    for n_threads in (2, 4):
        with castile.threads(n_threads):
            assert all(same_bits(a, b) for a, b in zip(results(), expected, strict=True))
