"""Descriptors as scikit-learn transformers, on frames instead of numeric arrays."""

import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from ase import Atoms
from ase.build import bulk
from checks import same_bits
from named_structures import STRUCTURES, several_frames
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

import castile
from castile.descriptors import DESCRIPTORS
from castile.errors import InputError


class OnArrays:
    """Mixed into a descriptor, it makes a structure of each row of the numeric arrays that scikit-learn's checks
    feed, since a descriptor as such takes no arrays; everything else is the descriptor's own."""

    def fit(self, X, y=None):
        return super().fit(structures_of(validate_data(self, X, dtype=np.float64)), y)

    def fit_transform(self, X, y=None):
        return self.fit(X, y).transform(X)

    def transform(self, X):
        check_is_fitted(self)
        return super().transform(structures_of(validate_data(self, X, dtype=np.float64, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.no_validation = False
        return tags


def structures_of(X):
    """One molecule of hydrogen per row, its bond drawn out by the row's numbers."""
    return [Atoms("H2", positions=[[0, 0, 0], [0, 0, 1 + np.tanh(row.sum())]]) for row in X]


class SOAPOnArrays(OnArrays, castile.SOAP):
    pass


class SphericalExpansionOnArrays(OnArrays, castile.SphericalExpansion):
    pass


class RadialSpectrumOnArrays(OnArrays, castile.RadialSpectrum):
    pass


class ProductsOnArrays(OnArrays, castile.Products):
    pass


class BispectrumOnArrays(OnArrays, castile.Bispectrum):
    pass


ON_ARRAYS = [
    SOAPOnArrays,
    SphericalExpansionOnArrays,
    RadialSpectrumOnArrays,
    ProductsOnArrays,
    BispectrumOnArrays,
]
EXPECTED_FAILED_CHECKS = {
    "check_do_not_raise_errors_in_init_or_set_params": (
        "it sets the parameter 'unknown' of **unknown, which is there to refuse misspelled options"
    ),
}


@parametrize_with_checks(
    [cls(average="outer", n_max=3, **({"l_max": 2} if "l_max" in cls._get_param_names() else {})) for cls in ON_ARRAYS],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_scikit_learn_checks_run_on_every_descriptor():
    assert {cls.__mro__[2] for cls in ON_ARRAYS} == set(DESCRIPTORS)


def test_tags_say_that_the_input_is_no_array(cls):
    tags = get_tags(make(cls))
    assert not tags.input_tags.two_d_array
    assert tags.no_validation
    assert tags.requires_fit
    assert not get_tags(make(cls, species=["H"])).requires_fit


def make(cls=castile.SOAP, **options):
    sizes = {"cutoff": 3.4, "n_max": 3, "l_max": 2, "sigma": 0.5, **options}
    return cls(**{name: value for name, value in sizes.items() if name in cls._get_param_names()})


@pytest.fixture(params=DESCRIPTORS, ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


def labelled(n=24):
    """Strained copper-zinc cells and a smooth property of each."""
    rng = np.random.default_rng(0)
    frames, energies = [], []
    for _ in range(n):
        atoms = bulk("CuZn", "cesiumchloride", a=rng.uniform(2.7, 3.3))
        atoms.rattle(0.1, rng=rng)
        distance = atoms.get_distance(0, 1, mic=True)
        frames.append(atoms)
        energies.append(atoms.get_volume() / 27 + np.sin(distance))
    return frames, np.array(energies)


# ---------------------------------------------------------------- parameters


def test_parameters_are_stored_untouched(cls):
    species = ["O", "H"]
    estimator = make(cls, species=species, cutoff="not yet checked")
    assert estimator.species is species
    assert estimator.get_params()["cutoff"] == "not yet checked"
    assert set(estimator.get_params()) == set(cls._get_param_names())


def test_clones_have_equal_parameters_and_no_fitted_state(cls, molecule):
    estimator = make(cls, average="outer").fit(molecule)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "species_")
    with pytest.raises(NotFittedError):
        copy.transform(molecule)
    assert same_bits(copy.fit_transform(molecule), estimator.transform(molecule))


def test_set_params_takes_effect_on_the_next_call(cls, molecule):
    estimator = make(cls).fit(molecule)
    estimator.set_params(n_max=2, sigma=0.3, normalize=True)
    expected = make(cls, n_max=2, sigma=0.3, normalize=True).fit(molecule)
    assert same_bits(estimator.transform(molecule), expected.transform(molecule))
    with pytest.raises(ValueError, match=r"no parameter 'rcut'; did you mean cutoff\?"):
        estimator.set_params(rcut=3.0)


def test_fit_returns_self_and_learns_the_species_sorted_by_atomic_number(cls, frames):
    estimator = make(cls)
    assert estimator.fit(frames) is estimator
    assert estimator.species_ == ("H", "C", "O", "S", "Cu", "Zn", "Mo")
    estimator.fit(Atoms("ON"))
    assert estimator.species_ == ("N", "O")
    given = make(cls, species=["O", 7]).fit(Atoms("N"))
    assert given.species_ == ("N", "O")


def test_given_species_need_no_fit(cls, molecule):
    estimator = make(cls, species=["H", "C", "O"])
    check_is_fitted(estimator)
    assert same_bits(estimator.transform(molecule), make(cls).fit_transform(molecule))
    with pytest.raises(NotFittedError):
        check_is_fitted(make(cls))
    check_is_fitted(make(cls).fit(molecule))


def test_repr_shows_what_differs_from_the_defaults(cls):
    assert repr(cls(n_max=3)) == f"{cls.__name__}(n_max=3)"


# ---------------------------------------------------------------- pickling


@pytest.mark.parametrize("sparse", [False, True])
def test_pickled_descriptors_give_the_same_bits(cls, sparse, frames):
    estimator = make(cls, sparse=sparse).fit(frames)
    expected = estimator.transform(frames)
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    buffer.seek(0)
    for copy in (pickle.loads(pickle.dumps(estimator)), joblib.load(buffer)):
        assert copy.species_ == estimator.species_
        assert same_bits(copy.transform(frames), expected)
    unfitted = pickle.loads(pickle.dumps(make(cls)))
    with pytest.raises(NotFittedError):
        unfitted.transform(frames)


def test_results_can_be_pickled(cls, molecule):
    estimator = make(cls).fit(molecule)
    J = pickle.loads(pickle.dumps(estimator.jacobian(molecule)))
    assert same_bits(J.to_dense(), estimator.jacobian(molecule).to_dense())
    g = pickle.loads(pickle.dumps(estimator.vjp(molecule, estimator.transform(molecule))))
    assert g.positions.shape == (9, 3)


# ---------------------------------------------------------------- pandas


def test_pandas_output_has_the_names_of_the_features_as_columns(cls, frames):
    estimator = make(cls).fit(frames)
    expected = estimator.transform(frames)
    table = estimator.set_output(transform="pandas").transform(frames)
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == list(estimator.get_feature_names_out())
    assert np.array_equal(table.to_numpy(), expected)
    assert isinstance(clone(estimator).fit_transform(frames), pd.DataFrame)
    with config_context(transform_output="pandas"):
        assert isinstance(make(cls).fit_transform(frames), pd.DataFrame)


def test_a_series_of_structures_keeps_its_index_once_per_center(cls, frames):
    index = ["ethanol", "nothing", "brass", "carbon", "slab"]
    series = pd.Series(frames, index=pd.Index(index, name="material"))
    estimator = make(cls).set_output(transform="pandas")
    table = estimator.fit_transform(series)
    expected = np.repeat(index, [len(atoms) for atoms in frames])
    assert list(table.index) == list(expected)
    assert table.index.name == "material"
    assert np.array_equal(table.to_numpy(), make(cls).fit_transform(frames))
    some = estimator.transform(series, centers="C")
    assert list(some.index) == ["ethanol", "ethanol", "carbon"]
    averaged = make(cls, average="outer").set_output(transform="pandas").fit_transform(series)
    assert list(averaged.index) == index
    assert averaged.index.name == "material"


def test_a_series_gives_plain_arrays_by_default(cls, frames):
    series = pd.Series(frames, index=[7, 3, 3, 1, 0])  # repeated labels, not in order
    X = make(cls).fit_transform(series)
    assert isinstance(X, np.ndarray)
    assert same_bits(X, make(cls).fit_transform(frames))
    table = make(cls).set_output(transform="pandas").fit_transform(series)
    assert list(table.index) == list(np.repeat([7, 3, 3, 1, 0], [len(atoms) for atoms in frames]))


def test_a_column_of_a_data_frame_is_a_series_of_structures(cls, frames):
    data = pd.DataFrame({"structure": frames, "energy": range(len(frames))}, index=list("abcde"))
    table = make(cls, average="inner").set_output(transform="pandas").fit_transform(data["structure"])
    joined = table.join(data["energy"])
    assert list(joined["energy"]) == list(range(len(frames)))


# ---------------------------------------------------------------- composition


def test_descriptors_work_in_a_pipeline():
    frames, energies = labelled()
    model = make_pipeline(make(average="outer", normalize=True), castile.KernelRidge(alpha=1e-6, zeta=2))
    model.fit(frames[:16], energies[:16])
    assert model.score(frames[16:], energies[16:]) > 0.5
    assert same_bits(clone(model).fit(frames[:16], energies[:16]).predict(frames), model.predict(frames))
    names = model[:-1].get_feature_names_out()
    assert len(names) == len(model[0].get_feature_names_out())
    scaled = Pipeline([("soap", make(average="outer")), ("scale", StandardScaler())]).fit(frames)
    assert np.abs(scaled.transform(frames).mean(axis=0)).max() < 1e-10
    assert list(scaled.get_feature_names_out()) == list(names)


@pytest.mark.parametrize("average", ["off", "outer"])
def test_a_feature_union_puts_descriptors_side_by_side(average):
    frames = several_frames()
    parts = [(cls.__name__, make(cls, average=average)) for cls in DESCRIPTORS]
    union = FeatureUnion(parts)
    X = union.fit_transform(frames)
    assert same_bits(X, np.hstack([make(cls, average=average).fit_transform(frames) for cls in DESCRIPTORS]))
    assert len(union.get_feature_names_out()) == len(set(union.get_feature_names_out())) == X.shape[1]
    assert union.get_feature_names_out()[0].startswith("SOAP__H-H_l0")
    table = union.set_output(transform="pandas").fit_transform(frames)
    assert np.array_equal(table.to_numpy(), X)


def test_a_feature_union_takes_sparse_rows(frames):
    union = FeatureUnion([("soap", make(sparse=True)), ("radial", make(castile.RadialSpectrum, sparse=True))])
    X = union.fit_transform(frames)
    assert sp.issparse(X)
    expected = [make(cls).fit_transform(frames) for cls in (castile.SOAP, castile.RadialSpectrum)]
    assert np.array_equal(X.toarray(), np.hstack(expected))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_parameters_of_descriptor_and_model(n_jobs):
    frames, energies = labelled()
    model = Pipeline([("soap", make(average="outer")), ("krr", castile.KernelRidge(alpha=1e-6))])
    grid = {"soap__sigma": [0.3, 0.6], "soap__l_max": [0, 2], "krr__zeta": [1, 2]}
    search = GridSearchCV(model, grid, cv=3, n_jobs=n_jobs, error_score="raise").fit(frames, energies)
    assert len(search.cv_results_["params"]) == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(search.best_params_) == set(grid)
    assert search.predict(frames[:3]).shape == (3,)


def test_grid_search_over_the_kind_of_average():
    frames, energies = labelled(12)
    model = make_pipeline(make(), castile.KernelRidge(alpha=1e-6))
    search = GridSearchCV(model, {"soap__average": ["inner", "outer"]}, cv=3, error_score="raise")
    search.fit(frames, energies)
    assert search.best_params_["soap__average"] in ("inner", "outer")


def test_cross_validation_takes_lists_of_structures():
    frames, energies = labelled()
    model = make_pipeline(make(castile.RadialSpectrum, average="outer"), castile.KernelRidge(alpha=1e-6, zeta=2))
    assert cross_val_score(model, frames, energies, cv=3, error_score="raise").shape == (3,)


def test_local_rows_with_targets_per_structure_are_refused_with_the_remedy(cls):
    frames, energies = labelled(6)
    model = make_pipeline(make(cls), castile.KernelRidge())
    message = rf"y has 6 targets, one per structure, but {cls.__name__} with average='off' gives 12 rows"
    with pytest.raises(InputError, match=message) as caught:
        model.fit(frames, energies)
    for remedy in ("average='inner'", "groups=", "samples(frames)['frame']"):
        assert remedy in str(caught.value)


def test_the_remedy_for_local_rows_works():
    frames, energies = labelled(12)
    soap = make(normalize=True)
    X = soap.fit_transform(frames)
    model = castile.KernelRidge(alpha=1e-6).fit(X, energies, groups=soap.samples(frames)["frame"])
    assert model.predict(X, soap.samples(frames)["frame"]).shape == energies.shape


def test_one_atom_per_structure_may_have_a_target_each(cls):
    frames = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]
    assert make(cls).fit_transform(frames, [1.0, 2.0, 3.0]).shape[0] == 3
    per_atom = STRUCTURES["molecule"]()
    assert make(cls).fit_transform(per_atom, np.arange(9.0)).shape[0] == 9


def test_frames_pass_through_other_transformers(cls, frames):
    def wrapped(all_frames):
        for atoms in all_frames:
            atoms.wrap()
        return all_frames

    model = make_pipeline(FunctionTransformer(wrapped), make(cls))
    assert model.fit_transform([atoms.copy() for atoms in frames]).shape[0] == sum(map(len, frames))


def test_joblib_workers_compute_the_same_bits(cls, frames):
    estimator = make(cls).fit(frames)
    expected = estimator.transform(frames)
    parts = joblib.Parallel(n_jobs=2)(joblib.delayed(estimator.transform)([atoms]) for atoms in frames)
    assert same_bits(np.vstack(parts), expected)
