"""The search for settings, and learning curves."""

import time
from dataclasses import replace

import numpy as np
import pytest
from tiny_force_fields import alloy, copper, small, small_soap, small_terms

from castile import ForceField, data
from castile.errors import InputError, InputTypeError
from castile.models.force_field import ProductTerm, SoapTerm, tuning


@pytest.fixture
def few(monkeypatch):
    """Two further settings, both cheap."""
    monkeypatch.setattr(tuning, "_CHOICES", (("zeta", (4.0,)), ("n_max", (4,))))
    start = tuning.Settings(n_max=3, l_max=2)
    monkeypatch.setitem(tuning.PRESETS, "balanced", (SoapTerm(zeta=2.0), ProductTerm(n_functions=16)))
    monkeypatch.setattr(tuning.Settings.__init__, "__defaults__", tuple(vars(start).values()))


def tuned(frames, budget=60.0, **options):
    return ForceField(n_sparse=8, **options).tune(frames, budget=budget)


def test_the_best_of_the_trials_is_set(few):
    ff = tuned(alloy(12))
    table = ff.tuning_
    assert len(table.trials) == 3
    assert table.best.score == min(trial.score for trial in table.trials)
    soap, products = ff.terms
    assert isinstance(soap, SoapTerm)
    assert isinstance(products, ProductTerm)
    assert products.n_functions == 16
    best = table.best.settings
    assert (soap.zeta, soap.descriptor.n_max, soap.descriptor.l_max) == (best.zeta, best.n_max, best.l_max)
    assert soap.n_sparse == 8
    assert (ff.zeta, ff.n_sparse) == (None, None)
    assert not hasattr(ff, "potential_")
    assert ff.fit(alloy(12)).evaluate(alloy(4, seed=3))["force"]["r2"] > 0.5


def test_scores_are_mean_logarithms_of_the_errors_of_what_was_left_out(few):
    for trial in tuned(alloy(12)).tuning_.trials:
        assert set(trial.errors) == {"energy", "force", "stress"}
        assert trial.score == pytest.approx(np.mean(np.log(list(trial.errors.values()))))
        assert trial.seconds > 0.0


def test_a_trial_is_a_cross_validation(few, monkeypatch):
    """Of models that are fitted one by one, with the sparse points of all frames."""
    monkeypatch.setattr(tuning, "_CHOICES", ())
    frames = data.read(alloy(12))
    ff = tuned(frames)
    assert ff.tuning_.n_frames == 12
    errors = []
    for train, test in data.folds(frames, 3, method="block", seed=0):
        model = ForceField(ff.terms, calibration=0.0).prepare(frames).accumulate(frames.subset(train)).solve()
        errors.append(np.abs(model.predict(frames.subset(test).frames).forces - frames.subset(test).forces))
    assert ff.tuning_.best.errors["force"] == pytest.approx(np.concatenate(errors).mean(), rel=1e-6)


def test_the_same_seed_finds_the_same(few):
    one, two = tuned(alloy(12)), tuned(alloy(12))
    assert [trial.score for trial in one.tuning_.trials] == [trial.score for trial in two.tuning_.trials]
    other = tuned(alloy(12), seed=1)
    assert [trial.score for trial in one.tuning_.trials] != [trial.score for trial in other.tuning_.trials]


def test_the_table_can_be_read(few, capsys):
    text = str(ForceField(n_sparse=8).tune(alloy(12), budget=60.0, progress=True).tuning_)
    assert text.count("meV/atom") == text.count("GPa") == 3
    marked = [line for line in text.splitlines() if line.startswith("*")]
    assert len(marked) == 2
    assert marked[1] == "* the best: lowest mean of the logarithms of these errors; its settings are taken"
    assert "3-fold cross-validation by blocks on 12 frames" in text
    assert capsys.readouterr().out.count("meV/atom") == 3


def test_a_small_budget_ends_soon():
    begin = time.monotonic()
    ff = ForceField(n_sparse=4).tune(copper(12), budget=0.01)
    assert time.monotonic() - begin < 20.0
    assert len(ff.tuning_.trials) >= 1


def test_zeta_that_is_given_is_where_the_search_begins(few):
    assert tuned(alloy(12), zeta=3.0).tuning_.trials[0].settings.zeta == 3.0


def test_noise_that_is_tuned_is_set(few, monkeypatch):
    monkeypatch.setattr(tuning, "_CHOICES", (("energy_noise", (0.5, 2.0)),))
    ff = tuned(alloy(12))
    factor = ff.tuning_.best.settings.energy_noise
    default = small(noise=None).prepare(alloy(12)).foundation_.noise
    if factor == 1.0:
        assert ff.noise is None
    else:
        assert ff.noise["energy"] == pytest.approx(factor * default["energy"])


def test_noise_is_tried_on_the_sums_that_are_there(few, monkeypatch):
    monkeypatch.setattr(tuning, "_CHOICES", (("energy_noise", (0.5, 2.0)),))
    calls, right = [], ForceField.accumulate

    def accumulate(self, frames, **options):
        calls.append(len(frames))
        return right(self, frames, **options)

    monkeypatch.setattr(ForceField, "accumulate", accumulate)
    ff = tuned(alloy(12))
    assert len(ff.tuning_.trials) == 3
    assert len(calls) == 3  # one for each part
    calls.clear()
    dataset = data.read(alloy(12))
    tuned(replace(dataset, energy_sigmas=np.full(12, 0.01)))
    assert len(calls) == 9  # labels with deviations of their own are weighted against the noise


def test_settings_of_a_preset_are_those_that_it_has(few, monkeypatch):
    monkeypatch.setattr(tuning, "_CHOICES", (("cutoff", (2.5,)), ("zeta", (4.0,)), ("n_functions", (8,))))
    monkeypatch.setitem(tuning.PRESETS, "fast", (ProductTerm(n_functions=16),))
    ff = ForceField("fast").tune(alloy(12), budget=60.0)
    assert [trial.settings.zeta for trial in ff.tuning_.trials] == [0, 0, 0]
    assert [type(term) for term in ff.terms] == [ProductTerm]
    given = ForceField("fast", cutoff=4.0).tune(alloy(12), budget=60.0)
    assert len(given.tuning_.trials) == 2  # the cutoff is not searched
    assert given.terms[0].cutoff == 4.0
    monkeypatch.setitem(tuning.PRESETS, "accurate", (SoapTerm(zeta=2.0, n_sparse=7), ProductTerm(n_functions=16)))
    assert ForceField("accurate").tune(alloy(12), budget=0.01).terms[0].n_sparse == 7


def test_isolated_atoms_stay_in_every_part(few):
    from ase import Atoms
    from tiny_force_fields import labeled

    lone = [labeled(Atoms(symbol), kinds=("energy",)) for symbol in ("Cu", "Au")]
    ff = tuned([*alloy(12), *lone])
    assert ff.tuning_.best.errors


def test_what_was_tuned_can_be_tuned_again(few):
    ff = tuned(alloy(12))
    chosen = ff.terms
    ff.tune(alloy(12), budget=60.0)
    assert len(ff.tuning_.trials) == 3
    assert [type(term) for term in ff.terms] == [type(term) for term in chosen]
    assert ff.fit(alloy(12)).evaluate(alloy(4, seed=3))["force"]["r2"] > 0.5


@pytest.mark.parametrize(
    ("options", "budget", "error", "message"),
    [
        ({}, 0.0, InputError, "budget must be above 0, in seconds"),
        ({}, "long", InputTypeError, "budget must be a number in seconds"),
        ({}, np.inf, InputError, "budget must be a finite number in seconds"),
        ({"terms": small_terms()}, 1.0, InputError, "leave out terms that are listed, and descriptor="),
        ({"descriptor": small_soap()}, 1.0, InputError, "leave out terms that are listed, and descriptor="),
        ({"zeta": "4"}, 1.0, InputTypeError, "zeta must be a number"),
        ({"n_sparse": "4"}, 1.0, InputTypeError, "n_sparse must be an integer"),
        ({"seed": -1}, 1.0, InputError, "seed must be 0 or more"),
        ({"max_memory": 1e9}, 1.0, InputTypeError, "max_memory must be an integer"),
        ({"baseline": 3}, 1.0, InputTypeError, "baseline must be a dict"),
        ({"noise": 3}, 1.0, InputTypeError, "noise must be a dict"),
    ],
)
def test_what_cannot_be_tuned(few, options, budget, error, message):
    with pytest.raises(error, match=message):
        ForceField(**options).tune(copper(6), budget=budget)


def test_data_without_labels_are_named():
    from ase.build import bulk

    with pytest.raises(InputError, match="none of the 1 frames has an energy"):
        ForceField().tune(bulk("Cu"))


# ---------------------------------------------------------------- learning curves


def test_the_last_point_of_a_learning_curve_is_the_whole_fit():
    train, test = alloy(10), alloy(4, seed=3)
    ff = small()
    curve = ff.learning_curve(train, test, [2, 5, 10])
    assert [point["n_frames"] for point in curve.points] == [2, 5, 10]
    assert not hasattr(ff, "potential_")
    # Frames come in random order, which also decides between sparse points that are as good.
    order = np.random.default_rng(0).permutation(10)
    whole = small().fit([train[number] for number in order]).evaluate(test)
    for kind in ("energy", "force", "stress"):
        assert curve.points[-1]["errors"][kind]["mae"] == pytest.approx(whole[kind]["mae"], rel=1e-5)
    assert curve.points[-1]["errors"]["force"]["mae"] < curve.points[0]["errors"]["force"]["mae"]


def test_sizes_of_a_learning_curve_by_default():
    curve = small().learning_curve(alloy(16), alloy(2, seed=3))
    assert [point["n_frames"] for point in curve.points] == [1, 2, 4, 8, 16]
    text = str(curve)
    assert text == repr(curve)
    assert len(text.splitlines()) == 6
    assert "force MAE, meV/Å" in text


def test_sizes_may_be_an_array_of_integers():
    curve = small().learning_curve(alloy(6), alloy(2, seed=3), np.array([3, 6]))
    assert [point["n_frames"] for point in curve.points] == [3, 6]
