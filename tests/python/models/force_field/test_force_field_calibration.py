"""Factors of standard deviations where most components vanish, or where there is hardly anything to see."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from tiny_force_fields import alloy, copper, labeled, slab, small

from castile import ForceField, data
from castile.models.force_field._calibration import calibrate
from castile.models.force_field.prediction import Prediction, Uncertainty


def along_x(n, seed=0):
    """Rocksalt cells whose planes are moved along x: forces along y and z vanish by symmetry."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True, a=3.6) * (2, 1, 1)
        planes = np.unique(atoms.positions[:, 0].round(6), return_inverse=True)[1]
        atoms.positions[:, 0] += 0.1 * rng.normal(size=planes.max() + 1)[planes]
        frames.append(labeled(atoms))
    return frames


def test_components_that_vanish_by_symmetry_do_not_decide_the_factor():
    ff = small(calibration=0.3).fit(along_x(30))
    test = data.read(along_x(20, seed=1))
    found = ff.predict(test.frames, uncertainty=True)
    assert np.abs(found.forces[:, 1:]).max() < 1e-9
    errors = found.forces - test.forces
    ratio = np.sqrt(np.mean(errors[:, 0] ** 2) / np.mean(found.forces_std[:, 0] ** 2))
    assert 0.5 < ratio < 2.0


def test_factors_are_ratios_of_sums_of_squares():
    """One component of a deviation that is a rounding error, and of an error that is none, would be all of the rest."""
    frames = copper(3)
    dataset = data.read(frames)
    errors = 0.1 * np.random.default_rng(0).normal(size=(12, 3))
    stds = np.full((12, 3), 0.05)
    errors[0, 0], stds[0, 0] = 1e-9, 1e-15
    prediction = Prediction(
        dataset.energies + 0.4, dataset.forces + errors, dataset.stresses, np.zeros(12), dataset.offsets
    )
    found = calibrate(dataset, prediction, Uncertainty(np.full(3, 0.2), stds, np.ones((3, 6))))
    assert found.factors["energy"] == pytest.approx(2.0)
    assert found.factors["force"] == pytest.approx(np.linalg.norm(errors) / np.linalg.norm(stds))
    assert found.factors["stress"] == 1.0
    assert found.n_frames == 3


@pytest.mark.parametrize(("n", "expected"), [(3, 1.0), (20, 1.0), (30, 0.5), (40, 0.25), (60, 0.25)])
def test_few_frames_do_not_make_the_model_surer_of_itself(n, expected):
    """Errors of a quarter of the deviations: of few frames they may be luck."""
    dataset = data.read(copper(n))
    signs = (-1.0) ** np.arange(12 * n).reshape(-1, 3)
    prediction = Prediction(
        dataset.energies + 0.25, dataset.forces + 0.25 * signs, dataset.stresses, np.zeros(4 * n), dataset.offsets
    )
    found = calibrate(dataset, prediction, Uncertainty(np.ones(n), np.ones((4 * n, 3)), np.ones((n, 6))))
    assert found.factors["energy"] == pytest.approx(expected)
    assert found.factors["force"] == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 30, 60])
def test_factors_above_one_are_taken_from_any_number_of_frames(n):
    dataset = data.read(copper(n))
    signs = (-1.0) ** np.arange(12 * n).reshape(-1, 3)
    prediction = Prediction(
        dataset.energies, dataset.forces + 3.0 * signs, dataset.stresses, np.zeros(4 * n), dataset.offsets
    )
    found = calibrate(dataset, prediction, Uncertainty(np.ones(n), np.ones((4 * n, 3)), np.ones((n, 6))))
    assert found.factors["force"] == pytest.approx(3.0)


def test_a_perfect_crystal_has_a_scale_and_deviations():
    """An equation of state, whose forces are rounding errors."""
    volumes = np.linspace(0.94, 1.06, 13)
    frames = [labeled(bulk("Cu", cubic=True, a=3.6 * v ** (1 / 3))) for v in volumes]
    assert max(np.abs(atoms.get_forces()).max() for atoms in frames) < 1e-10
    ff = ForceField(n_sparse=20).fit(frames)
    energies = np.array([atoms.get_potential_energy() / 4 for atoms in frames])
    assert ff.foundation_.scale == pytest.approx(np.std(energies) / 0.87, rel=1e-6)
    found = ff.predict(frames, uncertainty=True)
    assert np.abs(found.energy / 4 - energies).max() < 0.1 * np.ptp(energies)
    assert (found.energy_std / 4 < np.ptp(energies)).all()
    assert np.isfinite(found.forces_std).all()
    assert found.forces_std.max() < 1.0
    assert np.nanmax(found.stress_std) < 0.1
    assert all(1e-3 < factor < 1e3 for factor in ff.calibration_.factors.values())


def test_a_reference_far_away_gives_the_same_errors():
    """Energies of other zeros are not errors: -1000 eV per atom."""

    class Shifted(LennardJones):
        def calculate(self, *arguments):
            super().calculate(*arguments)
            self.results["energy"] -= 1000.0 * len(self.atoms)

    options = {"sigma": 2.3, "epsilon": 0.05, "rc": 5.0}
    near, far = (
        small(reference=calculator(**options), calibration=0.2).fit(alloy(20)) for calculator in (LennardJones, Shifted)
    )
    test = alloy(5, seed=3)
    for kind in ("energy", "force", "stress"):
        one, two = near.evaluate(test)[kind], far.evaluate(test)[kind]
        assert two["mae"] == pytest.approx(one["mae"], rel=1e-3, abs=1e-9)
    assert far.foundation_.lengths == near.foundation_.lengths
    assert far.calibration_.factors == pytest.approx(near.calibration_.factors, rel=1e-3)


def test_slabs_have_a_stress_with_a_reference_too():
    """As without one: that of the box."""
    reference = LennardJones(sigma=2.3, epsilon=0.05, rc=5.0)
    ff = small(reference=reference).fit(alloy())
    atoms = slab()
    found = ff.predict(atoms, uncertainty=True)
    assert np.isfinite(found.stress).all()
    own, atoms.calc = ff.calculator(), reference
    twin = atoms.copy()
    twin.calc = own.mixer.calcs[0]
    np.testing.assert_allclose(found.stress[0], twin.get_stress() + atoms.get_stress(), atol=1e-9)
