"""Weights, sigmas and masks."""

import ase.io
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeled import crystal, lone, message_of, random_forces

from castile import data, datasets
from castile.errors import InputError, InputTypeError

STRESS = np.array([0.01, -0.02, 0.03, 0.004, -0.005, 0.006])


def labeled(seed=0, **info):
    atoms = crystal(seed, energy=-1.0, forces=random_forces(), stress=STRESS)
    atoms.info.update(info)
    return atoms


def factors(dataset):
    return dataset.energy_weights.tolist(), dataset.force_weights.tolist(), dataset.stress_weights.tolist()


def test_weights_are_one_by_default():
    assert factors(data.read([labeled(), labeled()])) == ([1.0, 1.0],) * 3


def test_weights_by_group_are_factors():
    frames = [labeled(group="a"), labeled(group="b"), labeled(group="c")]
    dataset = data.read(frames, weights={"a": 2, "b": {"energy": 3.0, "forces": 0.5, "virial": 0}})
    assert factors(dataset) == ([2.0, 3.0, 1.0], [2.0, 0.5, 1.0], [2.0, 0.0, 1.0])


def test_weights_of_files_weigh_squared_errors():
    dataset = data.read(
        [labeled(config_weight=4.0), labeled(config_energy_weight=9.0, forces_weight=0.0, config_stress_weight=0.25)]
    )
    assert factors(dataset) == ([2.0, 3.0], [2.0, 0.0], [2.0, 0.5])
    assert "weights of 2 frames come from the file" in dataset.notes[0]


def test_weights_of_files_and_groups_are_multiplied_and_files_can_be_ignored():
    frames = [labeled(config_weight=4.0, group="a", virials_weight=16.0)]
    assert factors(data.read(frames, weights={"a": 0.5})) == ([1.0], [1.0], [4.0])
    ignored = data.read(frames, file_weights=False)
    assert factors(ignored) == ([1.0],) * 3
    assert ignored.notes == ()


@pytest.mark.parametrize("value", [-1.0, np.nan, "heavy"])
def test_weights_of_files_must_be_numbers_of_zero_or_more(value):
    assert message_of(data.read, labeled(config_weight=value)).startswith("frame 0: info['config_weight'] ")


def test_weights_of_two_names_must_agree():
    message = message_of(data.read, labeled(config_stress_weight=1.0, virials_weight=2.0))
    assert "info['config_stress_weight'] = 1.0 and info['virials_weight'] = 2.0 disagree" in message
    assert "file_weights=False" in message


@pytest.mark.parametrize(
    ("weights", "error", "text"),
    [
        ({"z": 1.0}, InputError, "names the group 'z'.* groups are 'a', 'b'"),
        ({"a": -1.0}, InputError, "zero or more"),
        ({"a": np.nan}, InputError, "finite"),
        ({"a": "much"}, InputTypeError, "must be a number"),
        ({"a": {"dipole": 1.0}}, InputError, "must have the keys energy, force, stress"),
        (2.0, InputTypeError, "must map groups to factors"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, error, text):
    with pytest.raises(error, match=text):
        data.read([labeled(group="a"), labeled(group="b")], weights=weights)


def test_sigmas_of_files_are_those_of_the_labels():
    atoms = labeled(energy_sigma=0.02, force_sigma=0.1, virial_sigma=0.5)
    volume = atoms.get_volume()
    dataset = data.read([atoms, labeled()])
    np.testing.assert_allclose(dataset.energy_sigmas, [0.02, np.nan])
    np.testing.assert_allclose(dataset.force_sigmas, [0.1, 0.1, np.nan, np.nan])
    np.testing.assert_allclose(dataset.stress_sigmas, [0.5 / volume, np.nan])
    noise = dataset.noise(energy=0.001, force=0.2, stress=0.01)
    np.testing.assert_allclose(noise.energy, [0.02, 2 * 0.001])
    np.testing.assert_allclose(noise.force, [0.1, 0.1, 0.2, 0.2])
    np.testing.assert_allclose(noise.stress, [0.5 / volume, 0.01])
    assert dataset.notes == ("sigmas of 1 energies, 2 atoms' forces, 1 stresses come from the file",)


def test_sigmas_of_single_atoms_come_first():
    atoms = labeled(force_sigma=0.1)
    atoms.arrays["force_atom_sigma"] = np.array([0.3, 0.4])
    np.testing.assert_array_equal(data.read(atoms).force_sigmas, [0.3, 0.4])
    atoms.arrays["force_atom_sigma"] = np.array([0.3, 0.0])
    assert "arrays['force_atom_sigma'] must be positive" in message_of(data.read, atoms)


def test_a_sigma_of_zero_is_refused():
    assert "info['energy_sigma'] must be positive" in message_of(data.read, labeled(energy_sigma=0.0))


def test_labels_that_do_not_count_have_infinite_noise():
    frames = [labeled(group="a"), lone(energy=-3.0), labeled(group="b")]
    frames[2].arrays["force_mask"] = np.array([True, False])
    noise = data.read(frames, weights={"a": {"force": 0.0}}).noise(energy=0.001, force=0.2, stress=0.01)
    np.testing.assert_allclose(noise.energy, [0.002, 0.001, 0.002])
    np.testing.assert_allclose(noise.force, [np.inf, np.inf, np.inf, np.inf, 0.2])
    np.testing.assert_allclose(noise.stress, [0.01, np.inf, 0.01])


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_noise_is_sigma_divided_by_the_weight(weight, sigma):
    dataset = data.read([labeled()]).with_weights(energy=weight, force=[weight], stress=0)
    noise = dataset.noise(energy=sigma, force=sigma, stress=sigma)
    np.testing.assert_allclose(noise.energy, [2 * sigma / weight])
    np.testing.assert_allclose(noise.force, [sigma / weight] * 2)
    assert np.isinf(noise.stress).all()


@pytest.mark.parametrize("weights", [[1.0, 2.0], -1.0, np.nan, np.ones((1, 1))])
def test_weights_of_a_wrong_shape_or_sign_are_refused(weights):
    with pytest.raises(InputError, match="energy_weights"):
        data.read([labeled()]).with_weights(energy=weights)
    with pytest.raises(InputError, match="positive standard deviation"):
        data.read([labeled()]).noise(energy=0.0, force=1.0, stress=1.0)


@pytest.mark.parametrize("dtype", [bool, int, float])
def test_masked_forces_are_left_out(dtype, tmp_path):
    atoms = labeled()
    atoms.arrays["force_mask"] = np.array([0, 1], dtype=dtype)
    ase.io.write(tmp_path / "a.xyz", atoms)
    for source in (atoms, tmp_path / "a.xyz"):
        dataset = data.read(source)
        assert dataset.has_forces.tolist() == [True, False]
        assert np.isnan(dataset.forces[1]).all()
        assert dataset.notes == ("forces of 1 of 2 atoms left out by arrays['force_mask']",)
    assert data.read(atoms, force_mask_key=False).has_forces.all()


def test_masks_are_named_and_checked():
    atoms = labeled()
    atoms.arrays["frozen"] = np.array([True, False])
    assert data.read(atoms, force_mask_key="frozen").has_forces.tolist() == [False, True]
    atoms.arrays["force_mask"] = np.array([0.5, 1.0])
    assert "arrays['force_mask'] must hold one truth value per atom" in message_of(data.read, atoms)
    with pytest.raises(InputError, match="force_mask_key='ice'"):
        data.read(datasets.load(), force_mask_key="ice")
