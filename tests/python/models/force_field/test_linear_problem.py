"""Weights, prior and noise are those of dense matrices made by NumPy."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from checks import assert_close
from dense_reference import Dense
from scipy.stats import Covariance, multivariate_normal
from tiny_force_fields import (
    NOISE,
    alloy,
    clusters,
    copper,
    labeled,
    organic,
    shaken,
    small,
    small_products,
    small_soap,
    small_terms,
)

from castile import ForceField, data
from castile.errors import CastileError
from castile.models.force_field import PairTerm, ProductTerm, SoapTerm
from castile.models.force_field._evidence import _PRIORS, NOISE_FACTORS, Widths, log_evidence


def check(ff, frames):
    """Compare weights in the norm of the prior, in which their rounding errors are alike; and all predictions."""
    relative = 1e-8 + 1e-15 * ff.training_["condition"]
    dense = Dense(ff, frames)
    expected, _ = dense.solve(ff.prior_, ff.noise_["force"] / ff.foundation_.noise["force"])
    root = np.linalg.cholesky(dense.precision).T
    assert_close(root @ ff.weights_, root @ expected, relative, what="weights")
    assert_close(dense.A @ ff.weights_, dense.A @ expected, 1e-7, what="predicted labels")


@pytest.mark.parametrize("zeta", [1, 2, 3, 2.5])
@pytest.mark.parametrize("make", [copper, alloy, clusters, organic])
def test_weights_are_those_of_the_dense_problem(make, zeta):
    frames = make(3)
    check(small(zeta, n_sparse=6).fit(frames), frames)


@pytest.mark.parametrize("kind", ["energy", "forces", "stress"])
def test_one_kind_of_labels_alone(kind):
    frames = alloy(6, kinds=(kind,))
    ff = small(n_sparse=4).fit(frames)
    assert [k for k, n in ff.training_["rows"].items() if n] == [{"forces": "force"}.get(kind, kind)]
    check(ff, frames)


def test_several_terms_with_priors_of_their_own():
    terms = [
        SoapTerm(small_soap(3.0), 2.0, 5, prior_factor=0.3),
        PairTerm(4, 4.2, prior_factor=2.0),
        SoapTerm(small_soap(4.5), 4.0, 6),
        ProductTerm(small_products(), prior_factor=0.7),
    ]
    frames = alloy(4)
    check(ForceField(terms, noise=NOISE, calibration=0.0).fit(frames), frames)


def test_default_noise_is_in_proportion_to_the_forces_and_its_factor_to_all_kinds():
    frames = alloy(5)
    ff = small(noise=None).fit(frames)
    rms = np.sqrt(np.mean(np.concatenate([atoms.get_forces() for atoms in frames]) ** 2))
    expected = {"energy": 0.0005, "force": 0.05, "stress": 0.002}
    for kind, value in expected.items():
        assert ff.foundation_.noise[kind] == pytest.approx(value * rms / 0.87, rel=1e-12)
        assert ff.noise_[kind] / ff.foundation_.noise[kind] == pytest.approx(
            ff.noise_["energy"] / ff.foundation_.noise["energy"]
        )
    check(ff, frames)


def test_noise_that_is_given_in_part_is_kept_and_the_rest_is_the_default():
    ff = small(noise={"energy": 0.01}).fit(alloy(4))
    assert ff.noise_["energy"] == 0.01
    assert ff.noise_ == ff.foundation_.noise
    assert ff.noise_["force"] == small(noise=None).prepare(alloy(4)).foundation_.noise["force"]


# ---------------------------------------------------------------- evidence


@pytest.mark.parametrize("noise", [None, NOISE])
def test_evidence_is_the_density_of_the_labels(noise):
    frames = copper(2)
    ff = small(n_sparse=4, noise=noise).fit(frames)
    dense = Dense(ff, frames)
    found = {}
    for factor in [1.0] if noise else NOISE_FACTORS:
        for prior in [p * ff.foundation_.scale for p in _PRIORS]:
            covariance = dense.prior_covariance(prior) + np.diag((factor * dense.sigma) ** 2)
            # As scipy's own factorization takes for singular what is only ill-conditioned.
            covariance = Covariance.from_cholesky(np.linalg.cholesky(covariance))
            expected = multivariate_normal(np.zeros(len(dense.y)), covariance).logpdf(dense.y)
            widths = Widths(prior, factor, ff.prior_shares_)
            precision = widths.precision(ff.foundation_.whitened_sizes())
            solution = ff.state_.solve({k: factor * s / prior for k, s in ff.foundation_.noise.items()}, precision)
            value = log_evidence(ff.state_, solution, prior, precision)
            # Rows are in units of their kind's noise: energies of n atoms are divided by n.
            units = np.log(dense.sigma / [ff.foundation_.noise[kind] for kind in dense.kinds]).sum()
            assert value - units == pytest.approx(expected, rel=1e-5, abs=1e-5)
            found[prior, factor] = value
    chosen = ff.prior_, ff.noise_["force"] / ff.foundation_.noise["force"]
    best = ff.training_["log_evidence"]
    for (prior, factor), value in found.items():
        if np.isclose(prior, chosen[0]) or np.isclose(factor, chosen[1]):  # one after the other is searched
            assert value <= best + 1e-9


def test_each_term_has_the_share_of_the_prior_that_is_the_most_probable():
    """The best of all that differ in one of them."""
    frames = clusters(12)
    ff = ForceField([PairTerm(8, 6.0), ProductTerm(small_products(6.0))], noise=NOISE, calibration=0.0).fit(frames)
    assert min(ff.prior_shares_) < 1.0
    chosen = Widths(ff.prior_, ff.noise_["force"] / NOISE["force"], ff.prior_shares_)
    best = ff.training_["log_evidence"]
    for term in range(2):
        for share in (1.0, 0.3, 0.1, 0.03):
            shares = [share if k == term else own for k, own in enumerate(ff.prior_shares_)]
            other = replace(chosen, shares=tuple(shares))
            precision = other.precision(ff.foundation_.whitened_sizes())
            solution = ff.state_.solve({k: s / ff.prior_ for k, s in ff.noise_.items()}, precision)
            assert log_evidence(ff.state_, solution, ff.prior_, precision) <= best + 1e-9
    check(ff, frames)


def test_a_prior_that_is_given_is_kept():
    frames = alloy(4)
    ff = small(prior=3.5).fit(frames)
    assert ff.prior_ == 3.5
    assert ff.prior_shares_ == (1.0, 1.0)
    check(ff, frames)


def test_a_wider_prior_and_wider_noise_give_the_same_weights():
    one = small(prior=1.0).fit(alloy(4))
    ten = small(prior=10.0, noise={kind: 10.0 * sigma for kind, sigma in NOISE.items()}).fit(alloy(4))
    np.testing.assert_allclose(ten.weights_, one.weights_, rtol=1e-9)
    frames = alloy(2, seed=5)
    np.testing.assert_allclose(ten.uncertainty(frames).energy_std, 10.0 * one.uncertainty(frames).energy_std, rtol=1e-9)


# ---------------------------------------------------------------- weights, sigmas, masks


def accumulated(dataset, whole, **options):
    """Return a force field with the sparse points of the whole set and the rows of another."""
    return small(n_sparse=6, **options).prepare(whole).accumulate(dataset).solve()


def test_labels_of_weight_zero_are_left_out():
    whole = data.read(alloy(6))
    weights = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    without = accumulated(whole.subset(weights > 0.0), whole)
    zero = accumulated(whole.with_weights(energy=weights, force=weights, stress=weights), whole)
    assert zero.state_.n_rows == without.state_.n_rows
    np.testing.assert_array_equal(zero.weights_, without.weights_)


def test_a_weight_of_one_kind_leaves_out_that_kind():
    whole = data.read(alloy(4))
    ff = accumulated(whole.with_weights(force=0.0), whole)
    assert ff.state_.n_rows == {"energy": 4, "force": 0, "stress": 24}
    np.testing.assert_array_equal(ff.weights_, accumulated(data.read(whole.frames, forces_key=False), whole).weights_)


def test_weights_count_as_repeated_frames():
    whole = data.read(alloy(4))
    counts = np.array([1, 4, 2, 1])
    weights = np.sqrt(counts)
    weighted = accumulated(whole.with_weights(energy=weights, force=weights, stress=weights), whole)
    repeated = accumulated(whole.subset(np.repeat(np.arange(4), counts)), whole, prior=weighted.prior_)
    assert_close(weighted.weights_, repeated.weights_, 1e-8)


def test_sigmas_of_single_labels_and_weights_together():
    rng = np.random.default_rng(0)
    dataset = data.read(alloy(5))
    n_atoms = len(dataset.numbers)
    sigmas = {"energy_sigmas": 0.02, "stress_sigmas": 0.004}
    sigmas = {name: value * rng.uniform(0.5, 2.0, 5) for name, value in sigmas.items()}
    sigmas["energy_sigmas"][1] = np.nan  # for which the model's own holds
    sigmas["force_sigmas"] = 0.1 * rng.uniform(0.5, 2.0, n_atoms)
    changed = replace(dataset, **sigmas).with_weights(energy=rng.uniform(0.5, 2.0, 5))
    check(small(n_sparse=6).fit(changed), changed)


def test_single_labels_that_are_missing():
    dataset = data.read(alloy(5))
    energies, forces, stresses = (np.array(a) for a in (dataset.energies, dataset.forces, dataset.stresses))
    energies[1], stresses[[0, 3]] = np.nan, np.nan
    forces[[2, 7, 8]] = np.nan
    changed = replace(dataset, energies=energies, forces=forces, stresses=stresses)
    ff = small(n_sparse=6).fit(changed)
    assert ff.training_["rows"] == {"energy": 4, "force": 3 * (20 - 3), "stress": 18}
    check(ff, changed)


def test_groups_of_a_file_have_their_weights():
    frames = alloy(6)
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = "strained" if k % 2 else "relaxed"
    dataset = data.read(frames, weights={"strained": {"force": 0.1, "stress": 0.0}})
    ff = small(n_sparse=6).fit(dataset)
    assert ff.training_["rows"]["stress"] == 18
    check(ff, dataset)


# ---------------------------------------------------------------- what is known beforehand


def test_energies_of_isolated_atoms_are_the_references():
    from ase import Atoms

    frames = alloy(5)
    lone = [labeled(Atoms(symbol), kinds=("energy",)) for symbol in ("Cu", "Au")]
    ff = small(n_sparse=6).fit(frames + lone)
    np.testing.assert_array_equal(ff.baseline_energies_, [atoms.get_potential_energy() for atoms in lone])
    assert ff.foundation_.baseline.origin == ("isolated atom",) * 2
    check(ff, frames + lone)


def test_given_references_come_first():
    ff = small(n_sparse=6, baseline={"Cu": -1.0}).fit(alloy(5))
    assert ff.baseline_energies_[0] == -1.0
    assert ff.foundation_.baseline.origin == ("given", "least squares")
    check(ff, alloy(5))


def test_shifts_of_reference_energies_change_nothing_else():
    frames, shifted = alloy(5), []
    for atoms in alloy(5):
        atoms.calc.results["energy"] += 7.0 * np.count_nonzero(atoms.numbers == 29) - 3.0 * len(atoms)
        shifted.append(atoms)
    one, two = small(n_sparse=6).fit(frames), small(n_sparse=6).fit(shifted)
    np.testing.assert_allclose(two.baseline_energies_ - one.baseline_energies_, [4.0, -3.0], atol=1e-9)
    np.testing.assert_allclose(two.predict(frames).forces, one.predict(frames).forces, atol=1e-7)


def argon(n=5, seed=0):
    rng = np.random.default_rng(seed)
    calculator = LennardJones(sigma=3.4, epsilon=0.1, rc=8.0)
    return [labeled(shaken(bulk("Ar", cubic=True, a=5.3), rng), calculator) for _ in range(n)], calculator


def test_a_reference_that_is_right_leaves_nothing_to_learn():
    frames, calculator = argon()
    ff = small(reference=calculator).fit(frames)
    assert np.abs(ff.weights_).max() < 1e-9
    assert np.abs(ff.baseline_energies_).max() < 1e-9
    found = ff.predict(frames)
    np.testing.assert_allclose(found.energy, [atoms.get_potential_energy() for atoms in frames], atol=1e-9)
    np.testing.assert_allclose(found.forces, np.concatenate([atoms.get_forces() for atoms in frames]), atol=1e-9)
    np.testing.assert_allclose(found.stress, [atoms.get_stress() for atoms in frames], atol=1e-9)


def test_a_reference_is_subtracted_before_the_fit_and_added_to_predictions():
    frames, _ = argon()
    reference = LennardJones(sigma=3.3, epsilon=0.08, rc=8.0)
    differences = []
    for atoms in frames:
        twin = atoms.copy()
        twin.calc = reference
        values = {
            "energy": atoms.get_potential_energy() - twin.get_potential_energy(),
            "forces": atoms.get_forces() - twin.get_forces(),
            "stress": atoms.get_stress() - twin.get_stress(),
        }
        twin = labeled(atoms, atoms.calc)
        twin.calc.results = values
        differences.append(twin)
    by_reference, by_hand = small(reference=reference).fit(frames), small().fit(differences)
    np.testing.assert_allclose(by_reference.weights_, by_hand.weights_, rtol=1e-8, atol=1e-10)
    found, rest = by_reference.predict(frames), by_hand.predict(frames)
    for number, atoms in enumerate(frames):
        twin = atoms.copy()
        twin.calc = reference
        assert found.energy[number] == pytest.approx(rest.energy[number] + twin.get_potential_energy(), abs=1e-9)
    assert by_reference.evaluate(frames)["force"]["rmse"] == pytest.approx(
        by_hand.evaluate(differences)["force"]["rmse"]
    )


def test_ill_conditioned_data_are_solved_by_rows():
    """Labels without noise, for which normal equations are too coarse."""
    frames = alloy(6)
    noise = {"energy": 1e-9, "force": 1e-9, "stress": 1e-10}
    ff = small(noise=noise, prior=100.0).fit(frames)
    assert ff.training_["condition"] > 1e14
    dense = Dense(ff, frames)
    expected, _ = dense.solve(100.0)
    assert_close(dense.A @ ff.weights_, dense.A @ expected, 1e-6, what="predicted labels")


def test_terms_are_side_by_side_in_one_solution():
    ff = small().fit(alloy())
    soap, pairs = ff.foundation_.terms
    assert len(ff.weights_) == soap.n_columns + pairs.n_columns == ff.training_["columns"]
    assert soap.specification() == small_terms()[0] or soap.specification().zeta == 3.0


class CountingLennardJones(LennardJones):
    """Counts what it is asked for."""

    asked = 0

    def calculate(self, *args, **kwargs):
        type(self).asked += 1
        super().calculate(*args, **kwargs)


def test_a_reference_is_asked_once_for_each_frame_of_a_fit():
    frames, _ = argon(12)
    reference = CountingLennardJones(sigma=3.3, epsilon=0.08, rc=8.0)
    CountingLennardJones.asked = 0
    ff = small(reference=reference, calibration=0.25).fit(frames)
    assert CountingLennardJones.asked == len(frames)
    ff.compress(frames, tolerance=1.0)
    assert CountingLennardJones.asked == 2 * len(frames)
    ff.learning_curve(frames[:9], frames[9:])
    assert CountingLennardJones.asked == 3 * len(frames)
    CountingLennardJones.asked = 0
    ff.prepare(frames).accumulate(frames).solve(frames)  # whose frames are for ill-conditioned data alone
    assert CountingLennardJones.asked == 2 * len(frames)


@pytest.mark.parametrize("wrong", [{"calibration": 7.0}, {"terms": []}, {"prior": -1.0}, {"species": ["Cu"]}])
def test_a_reference_is_not_asked_before_all_else_is_right(wrong):
    frames, _ = argon(12)
    CountingLennardJones.asked = 0
    with pytest.raises(CastileError):
        small(**{"reference": CountingLennardJones(), **wrong}).fit(frames)
    assert CountingLennardJones.asked == 0
