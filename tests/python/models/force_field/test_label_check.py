"""Labels of the wrong sign or unit, which reading cannot see."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.lj import LennardJones

from castile import ForceField, data, datasets
from castile.models.force_field import PairTerm, SoapTerm
from castile.models.force_field._label_check import explanation, label_notes, unexplained
from castile.models.force_field._reference import reference_labels
from castile.models.force_field.error_table import Residuals

MISTAKES = {
    "sign of forces": ({"forces": -1.0}, "forces likely have the other sign"),
    "sign of stresses": ({"stresses": -1.0}, "stresses likely have the other sign"),
    "sign of energies": ({"energies": -1.0}, "energies likely have the other sign"),
    "kcal/mol/Å": ({"forces": 1.0 / 0.0433641}, "forces are likely in kcal/mol/Å"),
    "Hartree/bohr": ({"forces": 1.0 / 51.4221}, "forces are likely in Hartree/bohr"),
    "Hartree": ({"energies": 1.0 / 27.2114}, "energies are likely in Hartree"),
    "kcal/mol": ({"energies": 1.0 / 0.0433641}, "energies are likely in kcal/mol"),
    "kbar, as VASP prints": ({"stresses": -1602.0}, "stresses are likely in kbar with the other sign"),
    "another factor": ({"stresses": 20.0}, "times what the other labels say"),
}


@pytest.fixture(scope="module")
def dataset():
    return data.read(datasets.load()[::2])


def notes(dataset, **options):
    """Return what a fit warns of."""
    ff = ForceField(**({} if "terms" in options else {"n_sparse": 60}), calibration=0.0, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = ff.fit(dataset).weights_
    # Looking for reasons solves again, which leaves no trace.
    np.testing.assert_array_equal(weights, ff.prepare(dataset).accumulate(dataset).solve(dataset).weights_)
    return [str(warning.message) for warning in caught]


def test_differences_from_a_reference_are_checked_too(dataset):
    """Which is asked no more than once for each frame."""

    class Counting(LennardJones):
        asked = 0

        def calculate(self, *args, **kwargs):
            type(self).asked += 1
            super().calculate(*args, **kwargs)

    reference = Counting(sigma=2.0, epsilon=0.01, rc=5.0)
    labels = reference_labels(reference, dataset.frames)
    Counting.asked = 0
    wrong = replace(
        dataset,
        energies=dataset.energies + labels.energy,
        forces=labels.forces - dataset.forces,
        stresses=dataset.stresses + labels.stress,
    )
    ff = ForceField(n_sparse=60, zeta=2.0, calibration=0.0, reference=reference, repulsion=True)
    with pytest.warns(UserWarning, match="forces likely have the other sign"):
        ff.fit(wrong)
    assert Counting.asked == len(dataset)
    assert len(ff.notes_) == 1
    assert ff.prepare(wrong).notes_ == []  # of an earlier fit


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_kind_of_the_wrong_sign_or_unit_is_named(dataset, mistake):
    factors, reason = MISTAKES[mistake]
    (note,) = notes(replace(dataset, **{name: factor * getattr(dataset, name) for name, factor in factors.items()}))
    explained = "the labels contradict each other, though the fit explains them"
    assert ("does not explain the training labels of" in note and "R² =" in note) or note.startswith(explained)
    assert reason in note


def test_of_two_kinds_either_may_be_wrong():
    dataset = data.read([atoms for atoms in datasets.load() if atoms.info["group"] == "Si diamond"])
    wrong = replace(dataset, forces=-dataset.forces, stresses=np.full_like(dataset.stresses, np.nan))
    (note,) = notes(wrong, terms=[SoapTerm(zeta=2.0, n_sparse=60), PairTerm()])
    assert note.endswith("energies likely have the other sign, or forces likely have the other sign")


def test_labels_that_fit_are_not_mentioned(dataset):
    assert notes(dataset) == []


def test_labels_of_other_frames_are_no_multiple_of_anything(dataset):
    order = np.random.default_rng(0).permutation(len(dataset))
    assert notes(replace(dataset, energies=dataset.energies[order])) == []


def test_a_kind_that_the_fit_was_told_to_ignore_is_not_mentioned(dataset):
    wrong = replace(dataset, forces=-dataset.forces, force_weights=0.0 * dataset.force_weights)
    assert notes(wrong) == []


def test_errors_below_the_noise_are_no_contradiction():
    """Forces of perfect crystals are rounding errors, which nothing explains."""
    from tiny_force_fields import copper

    frames = data.read(copper(12))
    tiny = [Residuals("force", np.zeros(9), 1e-9 * np.arange(9.0), np.array(["a"] * 9))]
    ff = ForceField(n_sparse=20, zeta=2.0, calibration=0.0).fit(frames)
    assert unexplained(tiny)[0][0] == "force"
    assert label_notes(ff, frames, tiny) == []


def test_what_is_not_correlated_or_as_it_should_be_has_no_explanation():
    x = np.random.default_rng(0).normal(size=(2, 400))
    assert explanation("force", x[0], x[1]) is None
    assert explanation("force", x[0], 1.05 * x[0]) is None
    assert explanation("force", x[0], np.zeros(400)) is None
