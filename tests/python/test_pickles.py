"""Pickles: with a version, and of another version only if all that they hold is understood."""

import copy
import pickle
import pickletools

import joblib
import numpy as np
import pytest
from ase.build import bulk, molecule
from checks import same_bits
from sklearn.base import clone

import castile
from castile import _pickling
from castile.data import Dataset
from castile.descriptors import DESCRIPTORS
from castile.errors import InputError


def frames():
    return [molecule("H2O"), molecule("CH4")]


def pickled_by(monkeypatch, version, thing, **changes):
    """What another version would have written, whose state differs by ``changes``; None leaves a name out."""
    state = {**thing.__getstate__(), "_castile_version": version, **changes}
    for name in [name for name, value in changes.items() if value is None]:
        del state[name]
    if version is None:
        del state["_castile_version"]
    with monkeypatch.context() as patch:
        patch.setattr(type(thing), "__getstate__", lambda self: state)
        return pickle.dumps(thing)


def test_a_pickle_carries_the_version():
    state = castile.SOAP().fit(frames()).__getstate__()
    assert state["_castile_version"] == castile.__version__
    restored = pickle.loads(pickle.dumps(castile.SOAP()))
    assert "_castile_version" not in vars(restored)


@pytest.mark.parametrize("version", ["0.0.9", "7.0.0", None])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_a_pickle_of_another_version_is_read_if_its_parameters_are_known(monkeypatch, cls, version):
    descriptor = cls(cutoff=3.0, n_max=3, sigma=0.5).fit(frames())
    restored = pickle.loads(pickled_by(monkeypatch, version, descriptor))
    assert restored.get_params() == descriptor.get_params()
    assert same_bits(restored.transform(frames()), descriptor.transform(frames()))


def test_a_parameter_that_an_older_version_did_not_have_gets_its_default(monkeypatch):
    old = castile.SOAP(cutoff=3.0, center_weight=1.0).fit(frames())
    restored = pickle.loads(pickled_by(monkeypatch, "0.0.9", old, center_weight=None))
    assert restored.center_weight == 1.0
    assert same_bits(restored.transform(frames()), old.transform(frames()))


@pytest.mark.parametrize("name", ["of_tomorrow", "learned_", "_secret", "unknown"])
def test_what_this_version_does_not_know_is_refused(monkeypatch, name):
    new = pickled_by(monkeypatch, "7.1.0", castile.SOAP(), **{name: 1.0})
    with pytest.raises(
        InputError, match=rf"SOAP was pickled by Castile 7\.1\.0 with {name}, which Castile .* not know"
    ):
        pickle.loads(new)


def test_a_value_that_this_version_does_not_know_is_refused_when_it_is_used(monkeypatch):
    new = pickled_by(monkeypatch, "7.1.0", castile.SOAP(species=["H", "C", "O"]), radial_basis="of tomorrow")
    with pytest.raises(InputError, match="radial_basis must be one of"):
        pickle.loads(new).transform(frames())


def test_a_model_of_another_version_predicts_the_same_or_is_refused(monkeypatch):
    X = np.random.default_rng(0).normal(size=(6, 4))
    model = castile.KernelRidge(alpha=1e-3).fit(X, X[:, 0])
    restored = pickle.loads(pickled_by(monkeypatch, "0.0.9", model))
    assert same_bits(restored.predict(X), model.predict(X))
    assert same_bits(restored.loo_residuals_, model.loo_residuals_)
    with pytest.raises(InputError, match=r"KernelRidge was pickled by Castile 7\.1\.0 with scale_"):
        pickle.loads(pickled_by(monkeypatch, "7.1.0", model, scale_=2.0))


def test_all_that_fit_learns_is_declared():
    """Otherwise this version's own pickles would be refused by the next one."""
    X = np.random.default_rng(0).normal(size=(6, 4))
    fitted = [cls().fit(frames()) for cls in DESCRIPTORS]
    fitted.append(castile.KernelRidge().fit(X, X[:, 0]))
    terms = [castile.PairTerm(2, 3.0)]
    fitted.append(castile.ForceField(terms).fit(Dataset.from_arrays(frames(), energies=[1.0, 2.0])))
    for estimator in fitted:
        names = set(estimator.__getstate__()) - set(estimator.get_params()) - {"_castile_version"}
        assert names
        assert names <= estimator._known_names()


def test_copies_and_clones_are_as_before():
    soap = castile.SOAP(cutoff=3.0).fit(frames()).set_output(transform="default")
    for twin in (copy.copy(soap), copy.deepcopy(soap), pickle.loads(pickle.dumps(soap))):
        assert vars(twin) == vars(soap)
    assert not hasattr(clone(soap), "species_")
    assert joblib.hash(soap) == joblib.hash(copy.deepcopy(soap))


def test_results_are_pickled_as_plain_arrays():
    """So that they outlive the compiled core: of Castile, a pickle names only the class."""
    soap = castile.SOAP(cutoff=3.0, n_max=2, l_max=1, species=["Si"])
    atoms = bulk("Si")
    X = soap.transform(atoms)
    results = [
        soap.jacobian(atoms),
        soap.vjp(atoms, X),
        castile.NeighborList(atoms, 3.0),
        soap.estimate_memory(atoms),
        soap,
    ]
    for result in results:
        data = pickle.dumps(result)
        strings = {argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)}
        assert not any("castile._core" in text for text in strings), type(result)
    pairs = castile.NeighborList(atoms, 3.0)
    restored = pickle.loads(pickle.dumps(pairs))
    for name in ("i", "j", "S", "D", "d", "offsets"):
        assert same_bits(getattr(restored, name), getattr(pairs, name))


def test_a_force_field_of_another_version_predicts_the_same_or_is_refused(monkeypatch):
    dataset = Dataset.from_arrays(frames(), energies=[1.0, 2.0], forces=np.zeros((8, 3)))
    ff = castile.ForceField([castile.PairTerm(2, 3.0)]).fit(dataset)
    restored = pickle.loads(pickled_by(monkeypatch, "0.0.9", ff))
    assert same_bits(restored.predict(frames()).forces, ff.predict(frames()).forces)
    with pytest.raises(InputError, match=r"ForceField was pickled by Castile 7\.1\.0 with scale_"):
        pickle.loads(pickled_by(monkeypatch, "7.1.0", ff, scale_=2.0))


def test_the_version_that_is_compared_is_the_packages():
    assert _pickling.__version__ == castile.__version__
