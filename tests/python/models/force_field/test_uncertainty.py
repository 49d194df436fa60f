"""Standard deviations, covariances and committees are those of the Gaussian process; calibration as it is described."""

import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from checks import assert_close, same_bits
from dense_reference import Dense
from scipy.stats import spearmanr
from tiny_force_fields import alloy, clusters, copper, fitted, organic, slab, small, small_soap

from castile import ForceField, data
from castile.errors import InputError, InputTypeError, NotFittedError, UnknownSpeciesError
from castile.models.force_field import PairTerm, SoapTerm
from castile.models.force_field._calibration import calibrate, held_out


def posterior(ff, frames):
    """Return the dense problem and a root of the covariance of the weights."""
    dense = Dense(ff, frames)
    return dense, dense.solve(ff.prior_, ff.noise_["force"] / ff.foundation_.noise["force"])[1]


# ---------------------------------------------------------------- against a Gaussian process


@pytest.mark.parametrize("zeta", [1, 3, 2.5])
@pytest.mark.parametrize("make", [copper, alloy, clusters])
def test_standard_deviations_are_those_of_the_dense_posterior(make, zeta):
    ff = small(zeta, n_sparse=6).fit(make(4))
    dense, root = posterior(ff, make(4))
    for atoms in make(2, seed=7):
        found = ff.uncertainty(atoms)
        energy = dense.energy_rows([atoms])
        forces, stress = dense.derivative_rows(atoms)
        for value, rows in ((found.energy_std, energy), (found.forces_std, forces), (found.stress_std, stress)):
            if np.isnan(value).all():
                assert not atoms.pbc.all()
                continue
            expected = np.linalg.norm(rows @ root, axis=-1)
            np.testing.assert_allclose(value.reshape(expected.shape), expected, rtol=1e-5, atol=1e-9)


def test_covariances_are_those_of_the_dense_posterior():
    ff = small(n_sparse=6).fit(alloy(4))
    dense, root = posterior(ff, alloy(4))
    frames, others = alloy(3, seed=7), [*alloy(2, seed=8), slab()]
    rows, theirs = dense.energy_rows(frames) @ root, dense.energy_rows(others) @ root
    assert_close(ff.covariance(frames), rows @ rows.T, 1e-6)
    assert_close(ff.covariance(frames, others), rows @ theirs.T, 1e-6)


def test_it_is_the_sparse_gaussian_process_of_the_labels():
    """By the covariance of function values, without weights: k(x, x) - k(x, y) (k(y, y) + noise)⁻¹ k(y, x)."""
    ff = small(n_sparse=5, prior=4.0).fit(copper(3))
    dense = Dense(ff, copper(3))
    rows = dense.energy_rows(copper(2, seed=7))
    root = np.linalg.cholesky(dense.precision)
    labels, new = (4.0 * np.linalg.solve(root, A.T).T for A in (dense.A, rows))
    gain = np.linalg.solve(labels @ labels.T + np.diag(dense.sigma**2), labels @ new.T)
    expected = new @ new.T - (new @ labels.T) @ gain
    np.testing.assert_allclose(
        ff.covariance(copper(2, seed=7)), expected, rtol=0, atol=1e-9 * np.abs(new @ new.T).max()
    )


# ---------------------------------------------------------------- one thing in several ways


@pytest.mark.parametrize("make", [alloy, organic])
def test_covariances_and_standard_deviations_agree(make):
    ff, frames = small(calibration=0.2).fit(make(20)), make(5, seed=7)
    covariance = ff.covariance(frames)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), ff.uncertainty(frames).energy_std, rtol=1e-10)
    assert same_bits(covariance, covariance.T.copy())
    assert np.linalg.eigvalsh(covariance).min() > -1e-12 * np.trace(covariance)
    cross = ff.covariance(frames[:2], frames)
    np.testing.assert_allclose(cross, covariance[:2], rtol=1e-9, atol=1e-15)
    assert ff.covariance(frames[0], frames[1:3]).shape == (1, 2)


def test_predict_and_uncertainty_agree():
    ff, frames = fitted(alloy), alloy(3, seed=7)
    one, two = ff.predict(frames, uncertainty=True), ff.uncertainty(frames)
    for name in ("energy_std", "forces_std", "stress_std"):
        assert same_bits(getattr(one, name), getattr(two, name))
    plain = ff.predict(frames)
    assert plain.uncertainty is plain.energy_std is plain.forces_std is plain.stress_std is plain.committee is None
    assert same_bits(plain.forces, one.forces)


def test_supercells_have_twice_the_deviation():
    """As the errors of repeated cells are the same error."""
    ff, atoms = fitted(alloy), alloy(1, seed=7)[0]
    one, two = ff.uncertainty(atoms), ff.uncertainty(atoms * (2, 1, 1))
    np.testing.assert_allclose(two.energy_std, 2.0 * one.energy_std, rtol=1e-8)
    np.testing.assert_allclose(two.forces_std, np.tile(one.forces_std, (2, 1)), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(two.stress_std, one.stress_std, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_few_structures_are_as_good_as_many(n):
    """Energies alone are fewer rows than a force, or a stress, would be."""
    ff, frames = fitted(alloy), alloy(6, seed=7)
    assert ff.covariance(frames[:n]).shape == (n, n)
    assert same_bits(ff.predict(frames[:n], committee=3).committee, ff.predict(frames, committee=3).committee[:, :n])


def test_molecules_slabs_and_nothing_at_all():
    ff = fitted(alloy)
    frames = [slab(), Atoms(), Atoms("Cu"), alloy(1)[0], Atoms("CuAu", [[0, 0, 0], [2.4, 0, 0]])]
    found = ff.predict(frames, uncertainty=True, committee=4)
    np.testing.assert_array_equal(np.isnan(found.stress_std).all(axis=1), [False, True, True, False, True])
    np.testing.assert_array_equal(np.isnan(found.stress_std), np.isnan(found.stress))
    assert found.committee.shape == (4, 5)
    assert np.isfinite(found.committee).all()
    assert np.isfinite(found.energy_std).all()
    assert np.isfinite(found.forces_std).all()
    assert found.energy[1] == found.energy_std[1] == 0.0
    assert (found.committee[:, 1] == 0.0).all()
    empty = ff.predict([], uncertainty=True, committee=2)
    assert empty.committee.shape == (2, 0)
    assert empty.forces_std.shape == (0, 3)
    assert ff.covariance([]).shape == (0, 0)


def test_a_reference_shifts_committees_too():
    from ase.calculators.emt import EMT

    frames = alloy(6)
    ff = small(reference=EMT()).fit(frames)
    found = ff.predict(frames[:2], committee=3)
    assert np.abs(found.committee - found.energy).max() < 0.1


def test_deviations_fall_with_more_data_and_grow_far_away():
    few, many = small(prior=5.0).prepare(alloy(20)), small(prior=5.0).prepare(alloy(20))
    few.accumulate(alloy(4)).solve()
    many.accumulate(alloy(20)).solve()
    frames = alloy(5, seed=9)
    assert (many.uncertainty(frames).energy_std < few.uncertainty(frames).energy_std).all()
    assert (many.uncertainty(frames).forces_std <= few.uncertainty(frames).forces_std * (1 + 1e-9)).all()
    strange = frames[0].copy()
    strange.set_cell(0.8 * strange.cell.array, scale_atoms=True)
    assert many.uncertainty(strange).energy_std > 2.0 * many.uncertainty(frames).energy_std.max()


# ---------------------------------------------------------------- committees


def test_committees_have_the_posterior_covariance():
    ff, frames = fitted(alloy), alloy(4, seed=7)
    n = 20_000
    found = ff.predict(frames, committee=n)
    covariance = ff.covariance(frames)
    scale = np.sqrt(np.diag(covariance))
    means = (found.committee.mean(axis=0) - found.energy) / scale
    assert np.abs(means).max() < 5.0 / np.sqrt(n)
    sample = np.cov(found.committee, rowvar=False)
    assert np.abs((sample - covariance) / np.outer(scale, scale)).max() < 6.0 / np.sqrt(n)


def test_committees_depend_on_their_seed_alone():
    ff, frames = fitted(alloy), alloy(3, seed=7)
    one = ff.predict(frames, committee=5, seed=1).committee
    assert same_bits(one, ff.predict(frames, committee=5, seed=1).committee)
    assert not np.allclose(one, ff.predict(frames, committee=5, seed=2).committee, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ff.predict(frames, committee=2, seed=1).committee, one[:2], rtol=0, atol=1e-9)


# ---------------------------------------------------------------- calibration


def test_factors_are_those_of_the_frames_that_were_held_out():
    frames = alloy(30)
    ff = small(calibration=0.3, seed=5).fit(frames)
    dataset = data.read(frames)
    out = held_out(dataset, 0.3, 5)
    assert out.sum() == ff.calibration_.n_frames == 9
    # The same model from the rest: sparse points are those of all frames.
    rest = small(calibration=0.0, seed=5).prepare(frames).accumulate(dataset.subset(~out)).solve()
    found, test = rest.predict(dataset.subset(out).frames, uncertainty=True), dataset.subset(out)
    pairs = {
        "energy": ((found.energy - test.energies) / test.n_atoms, found.energy_std / test.n_atoms),
        "force": (found.forces - test.forces, found.forces_std),
        "stress": (found.stress - test.stresses, found.stress_std),
    }
    for kind, (error, std) in pairs.items():
        factor = np.sqrt(np.mean(error**2)) / np.sqrt(np.mean(std**2))
        assert ff.calibration_.factors[kind] == pytest.approx(factor, rel=1e-9)
        within = np.mean(np.abs(error) <= ff.calibration_.factors[kind] * std)
        assert ff.calibration_.coverage[kind] == pytest.approx(within, abs=2.0 / error.size)
    errors = np.linalg.norm(found.forces - test.forces, axis=1)
    expected = spearmanr(errors, np.linalg.norm(found.forces_std, axis=1)).statistic
    assert ff.calibration_.correlations["force"] == pytest.approx(expected, rel=1e-9)
    assert set(ff.calibration_.correlations) == {"energy", "force", "stress"}
    assert all(-1.0 <= value <= 1.0 for value in ff.calibration_.correlations.values())


def test_factors_scale_standard_deviations_covariances_and_committees():
    ff = small(calibration=0.2).fit(alloy(20))
    frames = alloy(3, seed=7)
    factors, calibrated = ff.calibration_.factors, ff.predict(frames, uncertainty=True, committee=2)
    covariance = ff.covariance(frames)
    ff.calibration_ = None
    ff._make_potential()  # which forgets the committee
    plain = ff.predict(frames, uncertainty=True, committee=2)
    for name, kind in (("energy_std", "energy"), ("forces_std", "force"), ("stress_std", "stress")):
        np.testing.assert_allclose(getattr(calibrated, name), factors[kind] * getattr(plain, name), rtol=1e-12)
    np.testing.assert_allclose(covariance, factors["energy"] ** 2 * ff.covariance(frames), rtol=1e-12)
    shifts = calibrated.committee - calibrated.energy, plain.committee - plain.energy
    np.testing.assert_allclose(shifts[0], factors["energy"] * shifts[1], rtol=1e-9, atol=1e-12)
    assert same_bits(calibrated.forces, plain.forces)


def test_scaled_deviations_are_as_large_as_errors():
    """Of force components, of which there are many."""
    ff = small(calibration=0.3).fit(alloy(60))
    frames = alloy(40, seed=11)
    found, labels = ff.predict(frames, uncertainty=True), data.read(frames)
    ratio = np.sqrt(np.mean(((found.forces - labels.forces) / found.forces_std) ** 2))
    assert 0.7 < ratio < 1.4


@pytest.mark.parametrize(
    ("n", "share", "expected"),
    [(5, 0.1, 0), (8, 0.5, 0), (9, 0.0, 0), (9, 0.01, 3), (9, 0.5, 3), (9, 0.99, 3), (20, 0.1, 3), (20, 0.9, 14)],
)
def test_few_frames_are_not_held_out(n, share, expected):
    """Three at least, and six are left."""
    assert held_out(data.read(copper(n)), share, 0).sum() == expected


def test_isolated_atoms_are_not_held_out():
    lone = Atoms("Cu")
    frames = [lone] * 10 + copper(9)
    dataset = data.Dataset.from_arrays(frames, energies=np.zeros(19), isolated=np.arange(19) < 10)
    out = held_out(dataset, 0.5, 0)
    assert out.sum() == 3
    assert not out[:10].any()


def test_kinds_without_labels_have_no_factor():
    ff = small(calibration=0.5).fit(alloy(10, kinds=("energy",)))
    assert set(ff.calibration_.factors) == {"energy"}
    found = ff.uncertainty(alloy(1))
    assert np.isfinite(found.forces_std).all()
    assert np.isfinite(found.stress_std).all()


def test_perfect_predictions_give_a_factor_that_can_be_used():
    ff, frames = fitted(alloy), alloy(4, seed=7)
    found = ff.predict(frames, uncertainty=True)
    dataset = data.Dataset.from_arrays(frames, energies=found.energy, forces=found.forces, stresses=found.stress)
    calibration = calibrate(dataset, found, found.uncertainty)
    assert calibration.factors == {"energy": 1.0, "force": 1.0, "stress": 1.0}
    assert all(np.isfinite(value) for value in calibration.correlations.values())


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("call", ["uncertainty", "covariance"])
def test_before_a_fit_and_for_unknown_species(call):
    with pytest.raises(NotFittedError, match="call fit with labeled frames first"):
        getattr(small(), call)(copper(1))
    with pytest.raises(UnknownSpeciesError, match="the frames also hold Au"):
        getattr(fitted(copper), call)([*copper(1), slab()])
    with pytest.raises(InputTypeError, match="frames must be"):
        getattr(fitted(copper), call)("copper.xyz")
    if call == "covariance":
        with pytest.raises(UnknownSpeciesError, match="the frames also hold Au"):
            fitted(copper).covariance(copper(1), slab())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"committee": -1}, InputError, "committee must be 1 or more"),
        ({"committee": 1.5}, InputTypeError, "committee must be an integer"),
        ({"committee": "5"}, InputTypeError, "committee must be an integer"),
        ({"committee": 2, "seed": -1}, InputError, "seed must be 0 or more"),
        ({"committee": 2, "seed": None}, InputTypeError, "seed must be an integer"),
    ],
)
def test_committees_that_cannot_be_meant(options, error, message):
    with pytest.raises(error, match=message):
        fitted(copper).predict(copper(1), **options)


# ---------------------------------------------------------------- real data


@pytest.mark.slow
@pytest.mark.skipif("CASTILE_DATA" not in os.environ, reason="CASTILE_DATA names no directory of data")
def test_errors_of_silicon_are_larger_where_deviations_are():
    folder = Path(os.environ["CASTILE_DATA"]) / "mlearn"
    soap = SoapTerm(small_soap(5.0, n_max=6, l_max=4, sigma=0.5), 4.0, 300)
    ff = ForceField([soap, PairTerm(8, 5.0)]).fit(folder / "Si_train.xyz.gz")
    test = data.read(folder / "Si_test.xyz")
    found = ff.predict(test.frames, uncertainty=True)
    errors = np.linalg.norm(found.forces - test.forces, axis=1)
    deviations = np.linalg.norm(found.forces_std, axis=1)
    assert spearmanr(errors, deviations).statistic > 0.5
    assert ff.calibration_.correlations["force"] > 0.5
    # Of sums of squares: single components that vanish by symmetry have deviations of rounding errors.
    ratio = np.sqrt(np.mean((found.forces - test.forces) ** 2) / np.mean(found.forces_std**2))
    assert 0.5 < ratio < 2.0
