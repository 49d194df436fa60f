"""Stress and virial: shapes, sign, units, and who has one."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import crystal, full, message_of, random_forces, with_results

from castile import data

STRESS = np.array([0.01, -0.02, 0.03, 0.004, -0.005, 0.006])


def with_virial(virial, key="virial", **results):
    atoms = crystal(**results)
    atoms.info[key] = virial
    return atoms


@pytest.mark.parametrize(
    "key", ["virial", "virials", "REF_virial", "REF_virials", "dft_virial", "dft_virials", "DFT_virial"]
)
@pytest.mark.parametrize("shape", ["3x3", "9", "6", "list"])
def test_virials_become_stresses(key, shape):
    virial = -full(STRESS) * crystal().get_volume()
    forms = {
        "3x3": virial,
        "9": virial.ravel(),
        "6": -STRESS * crystal().get_volume(),
        "list": virial.tolist(),
    }
    np.testing.assert_allclose(data.read(with_virial(forms[shape], key)).stresses, [STRESS], rtol=1e-12)


@pytest.mark.parametrize("key", ["stress", "REF_stress", "dft_stress"])
@pytest.mark.parametrize("form", [STRESS, full(STRESS), full(STRESS).ravel()], ids=["6", "3x3", "9"])
def test_stresses_have_six_or_nine_numbers(key, form):
    np.testing.assert_allclose(data.read(with_virial(form, key)).stresses, [STRESS], rtol=1e-14)


@pytest.mark.parametrize("value", [np.zeros(3), np.zeros((2, 3)), 1.0, np.zeros((2, 3, 3))])
def test_other_shapes_are_refused(value):
    assert "must have shape (3, 3) or shape (6,) or shape (9,)" in message_of(data.read, with_virial(value))


def test_order_and_sign_are_those_of_finite_differences():
    # Of an energy that is computed here, so that no convention is taken on trust.
    atoms = bulk("Ar", "fcc", a=5.0) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
    atoms.calc = calculator
    expected, step = np.empty(6), 1e-4
    for component, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5 * sign * step
            strain[j, i] += 0.5 * sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
            energies.append(strained.get_potential_energy())
        expected[component] = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
    atoms.get_stress()
    np.testing.assert_allclose(data.read(atoms).stresses[0], expected, rtol=1e-3, atol=1e-6)
    labeled = atoms.copy()
    labeled.info["virial"] = -full(expected) * atoms.get_volume()
    np.testing.assert_allclose(data.read(labeled).stresses[0], expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=6, max_size=6), st.sampled_from(["virial", "REF_virial"]))
def test_stress_and_virial_that_belong_together_agree(stress, key):
    stress = np.array(stress)
    atoms = with_virial(-full(stress) * crystal().get_volume(), key, stress=stress)
    np.testing.assert_array_equal(data.read(atoms).stresses, [stress])


@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        (-1.0, "the sign of one of them is likely the other"),
        (160.21766, "the second is likely in GPa"),
        (-1602.1766, "the second is likely in kbar with the other sign"),
        (1 / 160.21766, "the first is likely in GPa"),
        (1 / crystal().get_volume(), "one of them likely lacks the volume as a factor;"),
        (-1 / crystal().get_volume(), "lacks the volume as a factor, and has the other sign"),
        (1.7, "the second is 1.7 times the first"),
    ],
)
def test_a_disagreement_is_refused_with_its_likely_reason(factor, reason):
    atoms = with_virial(-full(STRESS) * crystal().get_volume() * factor, stress=STRESS)
    message = message_of(data.read, [crystal(stress=STRESS), atoms])
    assert message.startswith("frame 1: the calculator's stress = [0.01 -0.02 0.03 0.004 -0.005 0.006]")
    assert reason in message
    assert "stress_key='stress' or virial_key='virial'" in message
    np.testing.assert_allclose(data.read(atoms, virial_key="virial").stresses, [STRESS * factor])
    np.testing.assert_allclose(data.read(atoms, stress_key="stress").stresses, [STRESS])
    # Both named: both are compared.
    assert "disagree" in message_of(data.read, atoms, stress_key="stress", virial_key="virial")


def test_another_order_of_shears_is_noticed():
    atoms = with_virial(STRESS[[0, 1, 2, 5, 3, 4]], "REF_stress", stress=STRESS)
    message = message_of(data.read, atoms)
    assert "order of the shear components" in message
    assert "stress_key='stress' or stress_key='REF_stress'" in message


def test_unrelated_values_get_no_reason():
    message = message_of(data.read, with_virial(np.eye(3), stress=STRESS))
    assert "disagree; name" in message


def test_a_virial_must_be_symmetric():
    virial = full(STRESS)
    virial[0, 1] += 0.5
    assert "info['virial'] must be symmetric" in message_of(data.read, with_virial(virial))
    virial[0, 1] -= 0.5 - 1e-6
    assert data.read(with_virial(virial)).has_stress.all()


@pytest.mark.parametrize("pbc", [False, [True, True, False]])
def test_frames_that_are_not_periodic_have_no_stress(pbc):
    atoms = crystal()
    atoms.pbc = pbc
    dataset = data.read([with_results(atoms, energy=-1.0, stress=STRESS), crystal(energy=-1.0, stress=STRESS)])
    assert dataset.has_stress.tolist() == [False, True]
    assert dataset.notes == ("stress or virial of 1 frame ignored: not periodic along three axes",)


def test_a_virial_that_is_not_finite_is_refused_or_missing():
    virial = np.full((3, 3), np.nan)
    assert "info['virial'] is nan" in message_of(data.read, with_virial(virial, energy=-1.0))
    assert not data.read(with_virial(virial, energy=-1.0), allow_nan=True).has_stress.any()
    np.testing.assert_array_equal(data.read(with_virial(virial, stress=STRESS), allow_nan=True).stresses, [STRESS])


def test_stresses_of_exactly_zero_are_noted():
    frames = [crystal(stress=np.zeros(6), forces=random_forces()), crystal(stress=STRESS, forces=random_forces())]
    assert "exactly zero in 1 frame with forces" in data.read(frames).notes[0]
