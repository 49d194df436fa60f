"""Kernels that see combinations of features, or some of them; and what compressing a force field tries."""

import json

import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces
from checks import same_bits
from damaged_files import rebuilt
from tiny_force_fields import alloy, copper, small, small_soap

import castile
from castile.errors import FileReadError, InputError
from castile.models.force_field import PairTerm, SoapTerm

REDUCTIONS = ["pca", "cur"]
N_FEATURES = 7


def projected(reduction="pca", zeta=3.0, n_features=N_FEATURES, **options):
    term = SoapTerm(small_soap(), zeta, 12, n_features=n_features, reduction=reduction)
    return small(terms=[term, PairTerm(3, 4.0)], **options)


def unit_rows(descriptor, frames, symbol):
    rows = descriptor.transform(frames, centers=symbol)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("zeta", [1.0, 2.0, 3.0])
def test_energies_are_those_of_components(reduction, zeta):
    ff = projected(reduction, zeta, repulsion=False).fit(alloy())
    soap, pairs = ff.foundation_.terms
    frames = alloy(3, seed=5)
    for atoms in frames:
        expected, first = 0.0, 0
        for symbol, points, projection in zip(ff.species_, soap.points, soap.projections, strict=True):
            assert projection.shape == (N_FEATURES, len(soap.descriptor.get_feature_names_out()))
            assert points.shape[1] == N_FEATURES
            weights = ff.weights_[first : first + len(points)]
            components = unit_rows(soap.descriptor, [atoms], symbol) @ projection.T
            expected += float(np.sum((components @ points.T) ** zeta @ weights))
            first += len(points)
        for number, symbol in enumerate(ff.species_):
            weights = ff.weights_[first : first + len(pairs.scales)]
            rows = pairs.descriptor.transform([atoms], centers=symbol)
            expected += float(np.sum(rows @ weights)) + len(rows) * ff.baseline_energies_[number]
            first += len(pairs.scales)
        assert ff.predict(atoms).energy[0] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_forces_are_derivatives(reduction):
    atoms = alloy(1, seed=8)[0]
    atoms.calc = projected(reduction).fit(alloy()).calculator()
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6)


def test_principal_components_keep_the_most_and_features_are_features():
    ff = projected("pca").fit(copper())
    soap = ff.foundation_.terms[0]
    rows = unit_rows(soap.descriptor, copper(), "Cu")
    kept = np.sum((rows @ soap.projections[0].T) ** 2)
    np.testing.assert_allclose(kept, np.sum(np.linalg.svd(rows, compute_uv=False)[:N_FEATURES] ** 2), rtol=1e-10)
    features = projected("cur").fit(copper()).foundation_.terms[0].projections[0]
    assert (np.sort(features, axis=1)[:, -1] == 1.0).all()
    assert (features.sum(axis=1) == 1.0).all()
    assert (features.sum(axis=0) <= 1.0).all()


def test_all_features_are_no_reduction():
    whole, same = projected(n_features=None).fit(alloy()), projected(n_features=100_000).fit(alloy())
    assert same.foundation_.terms[0].projections is None
    assert same_bits(whole.weights_, same.weights_)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_files_and_threads_change_no_bit(reduction, tmp_path):
    ff = projected(reduction).fit(alloy())
    with castile.threads(3):
        other = projected(reduction).fit(alloy())
    ff.save(tmp_path / "one.castile")
    loaded = castile.load(tmp_path / "one.castile")
    term = loaded.foundation_.terms[0].specification()
    assert (term.n_features, term.reduction) == (N_FEATURES, reduction)
    found = ff.predict(alloy(4, seed=3), uncertainty=True, committee=2)
    for twin in (other, loaded):
        again = twin.predict(alloy(4, seed=3), uncertainty=True, committee=2)
        for name in ("energy", "forces", "stress", "committee", "energy_std", "forces_std"):
            assert same_bits(getattr(found, name), getattr(again, name)), name


def _change_projection(change):
    def of_members(members):
        name = "arrays/term_0/projection_0.npy"
        header, numbers = members[name][:128], np.frombuffer(members[name][128:])
        members[name] = header + change(numbers).tobytes()

    return of_members


def _without_projection(members):
    del members["arrays/term_0/projection_1.npy"]


def _unknown_reduction(members):
    metadata = json.loads(members["metadata.json"])
    metadata["metadata"]["terms"][0]["reduction"] = "ica"
    members["metadata.json"] = json.dumps(metadata).encode()


@pytest.mark.parametrize(
    "change",
    [_change_projection(lambda numbers: 1.01 * numbers), _without_projection, _unknown_reduction],
    ids=["not orthonormal", "missing", "unknown"],
)
def test_files_whose_projections_cannot_be_are_refused(change, tmp_path):
    path = tmp_path / "model.castile"
    projected().fit(alloy()).save(path)
    rebuilt(path, change)
    with pytest.raises(FileReadError):
        castile.load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_features": 0}, "n_features must be 1 or more"), ({"reduction": "ica"}, "reduction must be one of")],
)
def test_reductions_that_cannot_be_meant(options, message):
    with pytest.raises(InputError, match=message):
        SoapTerm(**options)


def test_compressing_tries_projections_and_takes_the_fastest_that_is_good_enough():
    ff = small(zeta=4.0, n_sparse=30, calibration=0.0).fit(alloy(12))
    faster = ff.compress(alloy(12), tolerance=10.0)
    table = faster.compression_
    names = [one.name for one in table.candidates]
    assert names[0] == "as it is"
    assert sum("PCA" in name for name in names) == 2
    assert sum("CUR" in name for name in names) == 1
    assert table.chosen.micros <= 1.08 * min(one.micros for one in table.candidates)
    assert table.candidates[1].n_features < table.candidates[0].n_features
    assert faster.predict(alloy(2, seed=4)).energy.shape == (2,)
    strict = ff.compress(alloy(12), tolerance=0.0).compression_
    own, chosen = strict.candidates[0].errors, strict.chosen.errors
    growth = [np.log(chosen[kind]["mae"] / own[kind]["mae"]) for kind in ("energy", "force", "stress")]
    assert np.mean(growth) <= 1e-12
    assert any(one.micros < strict.chosen.micros for one in strict.candidates) or strict.chosen is not own


def test_a_projected_force_field_is_compressed_from_what_it_sees():
    ff = projected("cur", 3.0, 10, calibration=0.0).fit(alloy(12))
    table = ff.compress(alloy(12), tolerance=10.0).compression_
    seen = {one.name: one.n_features for one in table.candidates}
    assert seen["as it is"] == 10 + 6
    assert seen["5 features by PCA"] == 5 + 6
    assert all(term.n_features is None for one in table.candidates if "optimal" in one.name for term in one.terms[:1])


def test_every_term_is_compressed_by_its_own_sizes():
    terms = [SoapTerm(small_soap(n_max=4), 3.0, 8), SoapTerm(small_soap(n_max=2, l_max=1), 3.0, 8)]
    table = small(terms=terms).fit(alloy(12)).compress(alloy(12), tolerance=10.0).compression_
    for one in table.candidates[1:]:
        assert all(term.descriptor.n_max <= own.descriptor.n_max for term, own in zip(one.terms, terms, strict=True))
        assert all(term.descriptor.l_max <= own.descriptor.l_max for term, own in zip(one.terms, terms, strict=True))


def test_no_more_components_than_the_data_have():
    ff = projected("pca", 3.0, 17).fit(copper(1))
    assert len(ff.foundation_.terms[0].projections[0]) <= 4
