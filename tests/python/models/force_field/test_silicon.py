"""A force field of real silicon: slow, and only where the shared data are."""

import os
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from scipy.stats import spearmanr

import castile
from castile import data

DATA = os.environ.get("CASTILE_DATA")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA, reason="CASTILE_DATA is not set")]


def read(name):
    return data.read(str(Path(DATA) / "mlearn" / name))


@pytest.fixture(scope="module")
def model():
    return castile.ForceField(n_sparse=300).fit(read("Si_train.xyz.gz"))


def test_energy_is_conserved_for_twenty_picoseconds(model):
    atoms = bulk("Si", cubic=True) * 2
    rng = np.random.default_rng(0)
    velocities = rng.normal(scale=np.sqrt(units.kB * 1200 / atoms.get_masses()[0]), size=(len(atoms), 3))
    atoms.set_velocities(velocities - velocities.mean(axis=0))  # half of 1200 K becomes potential energy
    atoms.calc = model.calculator()
    dynamics = VelocityVerlet(atoms, timestep=units.fs)
    times, energies, temperatures = [], [], []
    for step in range(2000):
        dynamics.run(10)
        times.append((step + 1) * 0.01)  # ps
        energies.append(atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())
    drift = np.polyfit(times, energies, 1)[0]  # eV/atom/ps
    assert 450 < np.mean(temperatures) < 750
    assert abs(drift) < 1e-6
    assert np.std(energies) < 1e-4


def test_deviations_rank_errors_and_are_calibrated(model):
    test = read("Si_test.xyz")
    prediction = model.predict(test.frames, uncertainty=True)
    errors = prediction.forces - test.forces
    sizes, deviations = (np.linalg.norm(values, axis=1) for values in (errors, prediction.forces_std))
    assert spearmanr(sizes, deviations).statistic > 0.7
    ratio = np.sqrt(np.mean(errors**2) / np.mean(prediction.forces_std**2))
    assert 0.6 < ratio < 1.6
    assert 0.4 < np.mean(np.abs(errors) < prediction.forces_std) < 0.8


def test_errors_are_those_of_a_good_fit(model):
    table = model.evaluate(read("Si_test.xyz"))
    assert table["energy"]["mae"] < 5e-3
    assert table["force"]["mae"] < 0.08
    assert table["stress"]["mae"] < 0.3 / 160.2
