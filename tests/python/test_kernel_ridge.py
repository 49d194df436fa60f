"""Kernel ridge regression against scikit-learn, refits and its own promises."""

import inspect
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse
from ase import Atoms
from ase.build import bulk, molecule
from bars import record_advances, shown
from sklearn import kernel_ridge as sklearn_kernel_ridge
from sklearn.base import clone
from sklearn.metrics.pairwise import laplacian_kernel, pairwise_kernels
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import castile
from castile.errors import InputError, InputTypeError, MemoryLimitError, NotFittedError
from castile.kernels import average_kernel, soap_kernel

KERNELS = [
    {"kernel": "soap", "zeta": 2},
    {"kernel": "soap", "zeta": 3.5, "normalize": False},
    {"kernel": "rbf", "gamma": 0.7},
    {"kernel": "laplacian"},
    {"kernel": "poly", "degree": 2, "coef0": 0.5},
    {"kernel": "linear"},
    {"kernel": laplacian_kernel, "kernel_params": {"gamma": 0.3}},
]
GENERIC = "scikit-learn's generic data are no kernel matrix: not positive definite, an error here"


def expected_failures(estimator):
    if estimator.kernel != "precomputed":
        return {}
    return {"check_positive_only_tag_during_fit": GENERIC, "check_estimators_dtypes": GENERIC}


@parametrize_with_checks(
    [
        castile.KernelRidge(),
        castile.KernelRidge(kernel="rbf"),
        castile.KernelRidge(kernel="precomputed", alpha=1.0),
    ],
    expected_failed_checks=expected_failures,
)
def test_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def random_data(n=60, k=9, n_outputs=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, k))
    y = np.sin(X @ rng.normal(size=(k, n_outputs or 1))) + rng.normal(size=(n, n_outputs or 1))
    return X, y if n_outputs else y[:, 0]


def gram_matrix(parameters, X, Y):
    parameters = dict(parameters)
    kernel = parameters.pop("kernel")
    if kernel == "soap":
        return soap_kernel(X, Y, **parameters)
    if callable(kernel):
        return kernel(X, Y, **parameters["kernel_params"])
    return pairwise_kernels(X, Y, metric=kernel, **parameters)


def assert_relative(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("parameters", KERNELS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [None, 3])
def test_equals_scikit_learn_on_the_same_gram_matrix(parameters, weighted, n_outputs):
    X, y = random_data(n_outputs=n_outputs)
    X_new, _ = random_data(25, seed=1)
    weights = np.random.default_rng(2).random(60) if weighted else None
    peer = sklearn_kernel_ridge.KernelRidge(alpha=1e-3, kernel="precomputed")
    peer.fit(gram_matrix(parameters, X, X), y, weights)
    model = castile.KernelRidge(alpha=1e-3, **parameters).fit(X, y, weights)
    assert_relative(model.dual_coef_, peer.dual_coef_, 1e-10)
    assert_relative(model.predict(X_new), peer.predict(gram_matrix(parameters, X_new, X)), 1e-10)
    ours = castile.KernelRidge(alpha=1e-3, kernel="precomputed")
    ours.fit(gram_matrix(parameters, X, X), y, weights)
    assert_relative(ours.dual_coef_, peer.dual_coef_, 1e-10)
    assert model.predict(X_new).shape == (25,) if n_outputs is None else (25, 3)


def test_score_is_that_of_scikit_learn():
    X, y = random_data()
    peer = sklearn_kernel_ridge.KernelRidge(alpha=0.1, kernel="rbf").fit(X, y)
    model = castile.KernelRidge(alpha=0.1, kernel="rbf").fit(X, y)
    weights = np.arange(60.0)
    assert model.score(X, y, weights) == pytest.approx(peer.score(X, y, weights), rel=1e-10)


@pytest.mark.parametrize("parameters", KERNELS[:3], ids=str)
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_leave_one_out_equals_refits(parameters, n_outputs):
    X, y = random_data(40, n_outputs=n_outputs)
    model = castile.KernelRidge(alpha=1e-2, **parameters).fit(X, y)
    expected = cross_val_predict(castile.KernelRidge(alpha=1e-2, loo=False, **parameters), X, y, cv=LeaveOneOut())
    assert_relative(model.loo_predictions(), expected, 1e-9)
    assert_relative(model.loo_residuals_, y - expected, 1e-9)
    np.testing.assert_allclose(model.loo_rmse(), np.sqrt(np.mean((y - expected) ** 2, axis=0)), rtol=1e-9)
    np.testing.assert_allclose(model.loo_mae(), np.mean(abs(y - expected), axis=0), rtol=1e-9)


def test_weighted_leave_one_out_equals_refits_also_for_weights_of_zero():
    X, y = random_data(30)
    weights = np.random.default_rng(3).random(30)
    weights[[4, 17]] = 0.0
    model = castile.KernelRidge(alpha=1e-2).fit(X, y, weights)
    for index in range(30):
        rest = np.arange(30) != index
        refit = castile.KernelRidge(alpha=1e-2).fit(X[rest], y[rest], weights[rest])
        expected = refit.predict(X[[index]])[0]
        assert model.loo_predictions()[index] == pytest.approx(expected, rel=1e-9)


def test_weights_are_repetitions():
    X, y = random_data(30)
    counts = np.random.default_rng(4).integers(0, 4, 30)
    weighted = castile.KernelRidge(alpha=1e-2).fit(X, y, counts)
    repeated = castile.KernelRidge(alpha=1e-2).fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    assert_relative(weighted.predict(X), repeated.predict(X), 1e-9)


# Local rows and groups.


def local_data(n_structures=15, n_outputs=None, seed=5):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_structures), rng.integers(1, 9, n_structures))
    X = rng.random((len(groups), 8))
    y = rng.normal(size=(n_structures,) if n_outputs is None else (n_structures, n_outputs))
    return X, y, groups


@pytest.mark.parametrize("parameters", KERNELS, ids=str)
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_groups_sum_the_kernel_over_their_rows(parameters, n_outputs):
    X, y, groups = local_data(n_outputs=n_outputs)
    X_new, _, groups_new = local_data(6, seed=6)
    P, P_new = (np.equal.outer(np.unique(g), g).astype(float) for g in (groups, groups_new))
    K = P @ gram_matrix(parameters, X, X) @ P.T
    coefficients = np.linalg.solve(K + 1e-2 * np.eye(15), y)
    expected = P_new @ gram_matrix(parameters, X_new, X) @ P.T @ coefficients
    model = castile.KernelRidge(alpha=1e-2, **parameters).fit(X, y, groups=groups)
    assert_relative(model.dual_coef_, coefficients, 1e-9)
    assert_relative(model.predict(X_new, groups=groups_new), expected, 1e-9)
    local = model.predict(X_new)
    assert len(local) == len(X_new)
    assert_relative(P_new @ local, expected, 1e-9)


def test_groups_equal_the_summed_structure_kernel():
    X, y, groups = local_data()
    K = average_kernel(X, groups, reduction="sum")
    on_structures = castile.KernelRidge(alpha=1e-3, kernel="precomputed").fit(K, y)
    on_rows = castile.KernelRidge(alpha=1e-3).fit(X, y, groups=groups)
    assert_relative(on_rows.dual_coef_, on_structures.dual_coef_, 1e-12)
    assert_relative(on_rows.predict(X, groups), on_structures.predict(K), 1e-9)


def test_precomputed_kernels_of_local_rows_are_summed():
    X, y, groups = local_data()
    by_rows = castile.KernelRidge(alpha=1e-3).fit(X, y, groups=groups)
    precomputed = castile.KernelRidge(alpha=1e-3, kernel="precomputed")
    precomputed.fit(soap_kernel(X), y, groups=groups)
    assert_relative(precomputed.predict(soap_kernel(X), groups), by_rows.predict(X, groups), 1e-9)


def test_leave_one_out_leaves_out_whole_groups():
    X, y, groups = local_data()
    weights = np.random.default_rng(7).random(15) + 0.1
    model = castile.KernelRidge(alpha=1e-2).fit(X, y, weights, groups)
    for index in range(15):
        rest = groups != index
        others = np.arange(15) != index
        refit = castile.KernelRidge(alpha=1e-2)
        refit.fit(X[rest], y[others], weights[others], groups[rest])
        expected = refit.predict(X[~rest], groups[~rest])[0]
        assert model.loo_predictions()[index] == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_groups_come_in_the_order_of_first_appearance():
    X, y, groups = local_data()
    names = np.array([f"structure {99 - g}" for g in groups])
    by_number = castile.KernelRidge().fit(X, y, groups=groups)
    by_name = castile.KernelRidge().fit(X, y, groups=names)
    np.testing.assert_array_equal(by_name.predict(X, names), by_number.predict(X, groups))
    order = np.random.default_rng(8).permutation(len(X))
    first_appearance = list(dict.fromkeys(groups[order].tolist()))
    shuffled = castile.KernelRidge().fit(X[order], y[first_appearance], groups=groups[order])
    assert_relative(
        shuffled.predict(X[order], groups[order]),
        by_number.predict(X, groups)[first_appearance],
        1e-6,
    )


def test_samples_of_a_descriptor_are_groups():
    X, y, groups = local_data()
    samples = np.zeros(len(X), dtype=[("frame", int), ("atom", int), ("species", "U2")])
    samples["frame"] = groups
    np.testing.assert_array_equal(
        castile.KernelRidge().fit(X, y, groups=samples).predict(X, samples),
        castile.KernelRidge().fit(X, y, groups=groups).predict(X, groups),
    )


def test_score_of_groups():
    X, y, groups = local_data()
    model = castile.KernelRidge(alpha=1e-8).fit(X, y, groups=groups)
    assert model.score(X, y, groups=groups) > 0.99


# Structures without rows.


def oxygen_rows():
    """Structures of which some lack oxygen, one is empty, and the rows of their oxygen atoms."""
    names = ["H2O", "CH4", "CO2", "O2", "NH3", "CH3OH"]
    frames = [*map(molecule, names), Atoms(), bulk("Si")]
    soap = castile.SOAP(cutoff=3.0, n_max=3, l_max=2).fit(frames)
    X, rows = soap.transform(frames, centers="O"), soap.samples(frames, centers="O")
    assert rows["frame"].tolist() == [0, 2, 2, 3, 3, 5]
    return frames, soap, X, rows


def test_structures_without_rows_are_predicted_in_their_places_as_zero():
    frames, soap, X, rows = oxygen_rows()
    y = np.random.default_rng(0).normal(size=(4, 2))
    model = castile.KernelRidge(alpha=1e-3).fit(X, y, groups=rows["frame"])
    predictions = model.predict(X, rows, n_groups=len(frames))
    expected = np.zeros((8, 2))
    expected[[0, 2, 3, 5]] = model.predict(X, rows["frame"])
    np.testing.assert_array_equal(predictions, expected)
    one_by_one = [model.predict(soap.transform(atoms, "O"), soap.samples(atoms, "O"), n_groups=1) for atoms in frames]
    np.testing.assert_array_equal(np.concatenate(one_by_one), predictions)
    with pytest.raises(InputError, match=r"groups hold no row of frame 1, .*: pass n_groups=len\(frames\)"):
        model.predict(X, rows)


@pytest.mark.parametrize("parameters", KERNELS[:3], ids=str)
def test_forces_on_structures_without_rows_are_zero(parameters):
    frames, soap, X, rows = oxygen_rows()
    model = castile.KernelRidge(alpha=1e-3, **parameters).fit(X, np.arange(8.0), groups=rows, n_groups=8)
    without = soap.transform(frames[1], "O")
    assert model.predict(without, [], n_groups=1).tolist() == [0.0]
    if parameters["kernel"] == "soap":
        gradient = model.gradient(without)
        assert gradient.shape == without.shape == (0, X.shape[1])
        assert not soap.vjp(frames[1], gradient, "O").positions.any()
    with pytest.raises(InputError, match="0 sample"):  # not one thing to predict
        model.predict(without)


@pytest.mark.parametrize("parameters", [*KERNELS, {"kernel": "precomputed"}], ids=str)
@pytest.mark.parametrize("n_outputs", [None, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_targets_of_structures_without_rows_have_no_part_in_the_fit(parameters, n_outputs, weighted):
    X, y, groups = local_data(n_outputs=n_outputs)
    present = np.delete(np.arange(18), [0, 6, 17])
    weights = np.random.default_rng(1).random(18) if weighted else None
    all_y = np.random.default_rng(2).normal(size=(18, *y.shape[1:]))
    all_y[present] = y
    if parameters["kernel"] == "precomputed":
        X = soap_kernel(X)
    model = castile.KernelRidge(alpha=1e-2, **parameters)
    fitted = clone(model).fit(X, all_y, weights, present[groups], n_groups=18)
    expected = clone(model).fit(X, y, None if weights is None else weights[present], groups)
    assert_relative(fitted.dual_coef_[present], expected.dual_coef_, 1e-9)
    assert_relative(fitted.loo_residuals_[present], expected.loo_residuals_, 1e-9)
    absent = [0, 6, 17]
    assert not fitted.dual_coef_[absent].any()
    np.testing.assert_array_equal(fitted.loo_residuals_[absent], all_y[absent])
    assert not fitted.loo_predictions()[absent].any()
    predictions = fitted.predict(X, present[groups], n_groups=18)
    assert_relative(predictions[present], expected.predict(X, groups), 1e-9)
    assert not predictions[absent].any()


def test_structures_without_rows_need_no_regularization_and_leave_the_condition_as_it_is():
    rows = 1e-6 * np.eye(3)
    model = castile.KernelRidge(alpha=0.0, normalize=False, zeta=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(rows, [1.0, 5.0, 2.0, 3.0], groups=[0, 2, 3], n_groups=4)
    np.testing.assert_allclose(model.predict(rows, [0, 2, 3], n_groups=4), [1.0, 0.0, 2.0, 3.0])
    # So do targets of weight zero.
    model.fit(rows, [1.0, 2.0, 3.0], [1.0, 0.0, 1.0])
    np.testing.assert_allclose(model.predict(rows), [1.0, 0.0, 3.0])


def test_scores_count_structures_without_rows():
    X, y, groups = local_data()
    places = np.delete(np.arange(18), [0, 6, 17])[groups]
    all_y = np.zeros(18)
    all_y[places] = y[groups]
    model = castile.KernelRidge(alpha=1e-8).fit(X, all_y, groups=places, n_groups=18)
    assert model.score(X, all_y, groups=places, n_groups=18) > 0.99
    all_y[0] = 100.0
    assert model.score(X, all_y, groups=places, n_groups=18) < 0.99
    with pytest.raises(InputError, match=r"18 targets for 15 predictions; for structures .* pass n_groups=len\(y\)"):
        model.score(X, all_y, groups=places)
    with pytest.raises(InputError, match=rf"one target per row of X, got 18 targets for {len(X)} predictions$"):
        model.score(X, all_y)


def test_some_samples_are_fitted_and_scored_by_the_number_of_targets():
    X, y, groups = local_data()
    samples = np.zeros(len(X), dtype=[("frame", int), ("atom", int)])
    samples["frame"] = groups
    some = np.isin(groups, [3, 4, 9, 14])
    chosen = [3, 4, 9, 14]
    model = castile.KernelRidge(alpha=1e-8).fit(X[some], y[chosen], groups=samples[some])
    by_label = castile.KernelRidge(alpha=1e-8).fit(X[some], y[chosen], groups=groups[some])
    np.testing.assert_array_equal(model.dual_coef_, by_label.dual_coef_)
    score = model.score(X[some], y[chosen], groups=samples[some])
    assert score == model.score(X[some], y[chosen], groups=groups[some])


# Progress.


@pytest.mark.parametrize("parameters", [*KERNELS, {"kernel": "precomputed"}], ids=str)
@pytest.mark.parametrize("grouped", [False, True])
def test_progress_bars_move_and_do_not_change_bits(parameters, grouped, monkeypatch, capsys):
    monkeypatch.setattr("castile.models._solve._PANEL", 16)
    X, y, groups = local_data(60)
    n_rows, n_targets = len(X), 60 if grouped else len(X)
    y, groups = (y, groups) if grouped else (X[:, 0] * X[:, 1], None)
    if parameters["kernel"] == "precomputed":
        X = soap_kernel(X)
    with_gradient = parameters["kernel"] in ("soap", "linear")

    def results(**options):
        model = castile.KernelRidge(alpha=1e-2, **parameters).fit(X, y, groups=groups, **options)
        score = model.score(X, y, groups=groups, **options)
        found = [model.dual_coef_, model.loo_residuals_, model.predict(X, groups, **options), score]
        return [*found, model.gradient(X, **options)] if with_gradient else found

    with castile.threads(1):
        expected = results()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("castile.kernels._blocks._BLOCK_PRODUCTS", 1)  # blocks of 64 rows
    weights = record_advances(monkeypatch)
    for n in (1, 2, 4):
        with castile.threads(n):
            for actual, value in zip(results(progress=True), expected, strict=True):
                assert np.asarray(actual).tobytes() == np.asarray(value).tobytes()
    assert len(weights) >= 3 * (3 + 2 * (n_targets // 16) + 3)
    text = shown(capsys.readouterr())
    n_entries = n_targets * (n_targets + 1) // 2
    for part in ("kernel", f"{n_targets}/{n_targets}", f"{n_entries}/{n_entries}", f"{n_rows}/{n_rows}"):
        assert part in text
    bars = ["factorization", "leave-one-out", "prediction"] + ["gradient"] * with_gradient
    assert [bar for bar in bars if bar not in text] == []


def test_scikit_learn_can_ask_for_bars_and_numbers_of_structures():
    for method in ("fit", "predict", "score"):
        parameters = inspect.signature(getattr(castile.KernelRidge, method)).parameters
        for name in ("n_groups", "progress"):
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert "progress" not in castile.KernelRidge().get_params()


# The linear system.


@pytest.mark.parametrize("panel", [1, 7, 20, 60, 61, 256])
@pytest.mark.parametrize("weighted", [False, True])
def test_panels_of_any_width_solve_the_same_system(panel, weighted, monkeypatch):
    monkeypatch.setattr("castile.models._solve._PANEL", panel)
    X, y = random_data(n_outputs=2)
    weights = np.random.default_rng(2).random(60) if weighted else np.ones(60)
    if weighted:
        weights[5] = 0.0
    K = soap_kernel(X)
    roots = np.sqrt(weights)[:, None]
    matrix = roots * K * roots.T + 1e-3 * np.eye(60)
    coefficients = roots * np.linalg.solve(matrix, roots * y)
    model = castile.KernelRidge(alpha=1e-3).fit(X, y, weights)
    assert_relative(model.dual_coef_, coefficients, 1e-10)
    fitted = weights > 0
    scaled = np.linalg.solve(matrix, roots * y) / np.diag(np.linalg.inv(matrix))[:, None]
    assert_relative(model.loo_residuals_[fitted], (scaled / np.where(roots > 0, roots, 1.0))[fitted], 1e-9)
    np.testing.assert_allclose(model.loo_residuals_[~fitted], (y - K @ coefficients)[~fitted], rtol=1e-9)


@pytest.mark.parametrize("column", [0, 30, 59])
def test_matrices_that_are_not_positive_definite_are_refused_in_any_panel(column, monkeypatch):
    monkeypatch.setattr("castile.models._solve._PANEL", 20)
    K = np.eye(60)
    K[column, column] = -1.0
    with pytest.raises(InputError, match=r"alpha is too small: .* not positive definite; raise alpha"):
        castile.KernelRidge(alpha=0.1, kernel="precomputed").fit(K, np.ones(60))


# Bits.


@pytest.mark.parametrize("parameters", [*KERNELS, {"kernel": "precomputed"}], ids=str)
def test_bits_do_not_depend_on_threads_or_batches(parameters):
    X, y = random_data(150, 40, 2)
    X_new, _ = random_data(231, 40, seed=9)
    if parameters["kernel"] == "precomputed":
        X, X_new = soap_kernel(X), soap_kernel(X_new, X)

    def predictions(batch):
        model = castile.KernelRidge(alpha=1e-2, **parameters).fit(X, y)
        parts = [model.predict(X_new[i : i + batch]) for i in range(0, len(X_new), batch)]
        return np.concatenate([model.loo_residuals_, *parts])

    with castile.threads(1):
        whole = predictions(231)
        for batch in (1, 7, 13, 100):
            np.testing.assert_array_equal(predictions(batch), whole)
    for n in (2, 4):
        with castile.threads(n):
            np.testing.assert_array_equal(predictions(231), whole)


def test_group_bits_do_not_depend_on_threads_or_other_structures():
    X, y, groups = local_data(60)

    def fitted():
        return castile.KernelRidge().fit(X, y, groups=groups)

    with castile.threads(1):
        model = fitted()
        whole = model.predict(X, groups)
    with castile.threads(4):
        np.testing.assert_array_equal(fitted().predict(X, groups), whole)
    some = np.isin(groups, [2, 40])
    np.testing.assert_array_equal(model.predict(X[some], groups[some]), whole[[2, 40]])


def test_predictions_in_blocks_equal_predictions_at_once(monkeypatch):
    X, y = random_data(100)
    model = castile.KernelRidge().fit(X, y)
    whole = model.predict(np.tile(X, (3, 1)))
    monkeypatch.setattr("castile.kernels._blocks._BLOCK_BYTES", 1)
    np.testing.assert_array_equal(model.predict(np.tile(X, (3, 1))), whole)


# A scikit-learn estimator.


def test_works_in_pipelines_and_grid_searches():
    X, y = random_data(50)
    search = GridSearchCV(
        make_pipeline(MaxAbsScaler(), castile.KernelRidge()),
        {"kernelridge__alpha": [1e-3, 1e-1], "kernelridge__zeta": [1, 3]},
        cv=3,
    ).fit(X, y)
    assert set(search.best_params_) == {"kernelridge__alpha", "kernelridge__zeta"}
    precomputed = GridSearchCV(castile.KernelRidge(kernel="precomputed"), {"alpha": [0.1, 1]})
    assert precomputed.fit(soap_kernel(X), y).predict(soap_kernel(X)).shape == (50,)


def test_clones_and_pickles_predict_the_same():
    X, y = random_data()
    model = castile.KernelRidge(alpha=1e-3, zeta=3).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    np.testing.assert_array_equal(copy.loo_predictions(), model.loo_predictions())
    refit = clone(model).fit(X, y)
    np.testing.assert_array_equal(refit.predict(X), model.predict(X))


def test_sparse_rows_have_the_bits_of_dense_ones():
    X, y = random_data()
    X *= random_data(seed=1)[0] > 0.5
    dense = castile.KernelRidge().fit(X, y)
    sparse = castile.KernelRidge().fit(scipy.sparse.csr_array(X), y)
    np.testing.assert_array_equal(sparse.predict(scipy.sparse.csr_array(X)), dense.predict(X))


def test_later_changes_of_the_arguments_do_not_change_the_model():
    X, y = random_data()
    model = castile.KernelRidge().fit(X, y)
    before, loo = model.predict(X.copy()), model.loo_predictions()
    probe = X.copy()
    X[:] = 0.0
    y[:] = 0.0
    np.testing.assert_array_equal(model.predict(probe), before)
    np.testing.assert_array_equal(model.loo_predictions(), loo)


def test_arguments_are_not_modified():
    X, y, groups = local_data()
    K = soap_kernel(X)
    before = K.copy()
    castile.KernelRidge(kernel="precomputed", alpha=0.1).fit(K, y, np.ones(15), groups)
    castile.KernelRidge(kernel="precomputed", alpha=0.1).fit(K, X[:, 0], np.full(len(K), 2.0))
    np.testing.assert_array_equal(K, before)


# The derivative with respect to rows.

GRADIENTS = [
    {"zeta": 2},
    {"zeta": 1},
    {"zeta": 5},
    {"zeta": 2.5},
    {"zeta": 0.7},
    {"zeta": 2, "normalize": False},
    {"zeta": 1, "normalize": False},
    {"zeta": 3.5, "normalize": False},
    {"kernel": "linear"},
]


@pytest.mark.parametrize("parameters", GRADIENTS, ids=str)
@pytest.mark.parametrize("n_outputs", [None, 2])
@pytest.mark.parametrize("grouped", [False, True])
def test_gradient_equals_central_differences(parameters, n_outputs, grouped):
    X, y, groups = local_data(n_outputs=n_outputs)
    if not grouped:
        X, groups = X[: len(y)], None
    # Powers below one are no positive definite kernel: alpha must make up for it.
    model = castile.KernelRidge(alpha=30.0, **parameters).fit(X, y, groups=groups)
    probe = random_data(11, 8, seed=3)[0] + 0.1
    step = 1e-5
    numeric = np.empty((*probe.shape, *y.shape[1:]))
    for column in range(8):
        ahead, behind = probe.copy(), probe.copy()
        ahead[:, column] += step
        behind[:, column] -= step
        numeric[:, column] = (model.predict(ahead) - model.predict(behind)) / (2 * step)
    gradient = model.gradient(probe)
    assert gradient.shape == numeric.shape
    assert_relative(gradient, numeric, 1e-7)
    if parameters.get("normalize", True) and "kernel" not in parameters:  # a longer row has the same direction
        along = np.einsum("ij...,ij->i...", gradient, probe)
        assert np.abs(along).max() < 1e-12 * np.abs(gradient).max()


def test_gradient_of_rows_with_negative_products():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(20, 4)), rng.normal(size=20)
    for zeta in (2, 3, 2.5):
        model = castile.KernelRidge(alpha=1.0, zeta=zeta).fit(X, y)
        probe, step = rng.normal(size=(9, 4)), 1e-6
        shifts = step * np.eye(4)
        numeric = np.stack([model.predict(probe + s) - model.predict(probe - s) for s in shifts], axis=1) / (2 * step)
        assert_relative(model.gradient(probe), numeric, 1e-6)


@pytest.mark.parametrize("zeta", [0.5, 1, 2, 2.5])
def test_gradient_of_rows_of_zeros_is_zero_and_sizes_do_not_matter(zeta):
    X, y = random_data(20, 5)
    X[3] = 0.0
    model = castile.KernelRidge(alpha=3.0, zeta=zeta).fit(X, y)
    gradient = model.gradient(X)
    assert np.isfinite(gradient).all()
    assert not gradient[3].any()
    assert gradient[4].any()
    for factor in (1e200, 1e-200):  # the gradient is inversely proportional to the norm
        scaled = castile.KernelRidge(alpha=3.0, zeta=zeta).fit(factor * X, y)
        assert_relative(scaled.gradient(factor * X) * factor, gradient, 1e-9)


@pytest.mark.parametrize("parameters", GRADIENTS, ids=str)
def test_bits_of_the_gradient_do_not_depend_on_threads_batches_or_sparsity(parameters, monkeypatch):
    X, y = random_data(150, 40, 2)
    X[X < 0.3] = 0.0
    X_new = random_data(131, 40, seed=9)[0]
    X_new[X_new < 0.3] = 0.0
    with castile.threads(1):
        model = castile.KernelRidge(alpha=30.0, **parameters).fit(X, y)
        whole = model.gradient(X_new)
    for n, batch in ((1, 1), (2, 7), (4, 13), (2, 131)):
        with castile.threads(n):
            parts = [model.gradient(X_new[i : i + batch]) for i in range(0, len(X_new), batch)]
            np.testing.assert_array_equal(np.concatenate(parts), whole)
    monkeypatch.setattr("castile.kernels._blocks._BLOCK_BYTES", 1)
    np.testing.assert_array_equal(model.gradient(X_new), whole)
    sparse = castile.KernelRidge(alpha=30.0, **parameters).fit(scipy.sparse.csr_array(X), y)
    if parameters.get("kernel") == "linear":  # scikit-learn's product has other bits, hence the coefficients
        assert_relative(sparse.gradient(scipy.sparse.csr_array(X_new)), whole, 1e-9)
    else:
        np.testing.assert_array_equal(sparse.gradient(scipy.sparse.csr_array(X_new)), whole)


@pytest.mark.parametrize("parameters", [{"zeta": 2}, {"zeta": 1}, {"zeta": 2.5}, {"kernel": "linear"}], ids=str)
def test_forces_and_stresses_are_the_gradient_of_the_predicted_energy(parameters):
    rng = np.random.default_rng(4)
    frames = [bulk("NaCl", "rocksalt", 5.64, cubic=True) for _ in range(6)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.1, size=(8, 3))
    soap = castile.SOAP(cutoff=3.5, n_max=3, l_max=2, sigma=0.6).fit(frames)
    X, rows = soap.transform(frames), soap.samples(frames)
    model = castile.KernelRidge(alpha=1e-4, **parameters).fit(X, rng.normal(size=6), groups=rows)
    gradients = soap.vjp(frames, model.gradient(X))

    def energy(frame, displacements=0.0, strain=0.0):
        moved = frames[frame].copy()
        moved.positions += displacements
        moved.set_cell(moved.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return model.predict(soap.transform(moved)).sum()

    step = 1e-4
    numeric = np.array(
        [
            [(energy(f, step * d.reshape(8, 3)) - energy(f, -step * d.reshape(8, 3))) / (2 * step) for d in np.eye(24)]
            for f in (0, 5)
        ]
    ).reshape(16, 3)
    assert_relative(np.concatenate([gradients.positions[:8], gradients.positions[-8:]]), numeric, 1e-5)
    unit = np.eye(3)
    strains = [0.5 * step * (np.outer(a, b) + np.outer(b, a)) for a in unit for b in unit]
    numeric = np.array([(energy(2, strain=e) - energy(2, strain=-e)) / (2 * step) for e in strains]).reshape(3, 3)
    assert_relative(gradients.strain[2], numeric, 1e-5)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "precomputed", laplacian_kernel])
def test_other_kernels_have_no_gradient_and_say_so(kernel):
    model = castile.KernelRidge(alpha=1.0, kernel=kernel).fit(np.eye(4), np.arange(4.0))
    with pytest.raises(InputError, match=r"gradient knows .* kernel='soap' and 'linear' alone, got kernel="):
        model.gradient(np.eye(4))


@pytest.mark.parametrize("kernel", ["soap", "rbf"])
def test_kernel_matrices_that_do_not_fit_into_memory_are_refused(kernel, monkeypatch):
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match="the 10 x 10 kernel matrix would take 800 B"):
        castile.KernelRidge(kernel=kernel).fit(*random_data(10, 4))


def test_gradients_that_do_not_fit_into_memory_are_refused(monkeypatch):
    model = castile.KernelRidge().fit(*random_data(10, 4))
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match="the gradient would take 320 B"):
        model.gradient(np.ones((10, 4)))


# Errors.

X, Y = random_data(12, 4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1.0}, "alpha must be a finite number of 0 or more, got -1.0"),
        ({"alpha": np.nan}, "alpha must be a finite number of 0 or more, got nan"),
        ({"zeta": 0}, "zeta must be a finite number above 0, got 0"),
        (
            {"kernel": "rbff"},
            "kernel must be a callable or one of soap, precomputed, .* got 'rbff'",
        ),
        ({"kernel": None}, "kernel must be a callable or one of"),
        ({"kernel": "precomputed"}, r"X must be the square kernel matrix .* got shape \(12, 4\)"),
        ({"kernel": "rbf", "gamma": -1.0}, "alpha is too small"),
        ({"kernel": lambda a, b: np.ones(3)}, r"kernel must return the matrix .* = \(64, 12\)"),
        ({"kernel": lambda a, b: a @ b.T * np.nan}, r"kernel\(X, Y\) must be finite"),
        ({"kernel": "chi2", "gamma": "one"}, "gamma|dtype|type"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused_in_fit(parameters, message):
    model = castile.KernelRidge(**parameters)
    with pytest.raises((InputError, InputTypeError), match=message):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": "1"}, "alpha must be a number of 0 or more, got '1'"),
        ({"alpha": True}, "alpha must be a number of 0 or more, got True"),
        ({"zeta": None}, "zeta must be a number above 0, got None"),
    ],
)
def test_parameters_of_a_wrong_type_are_refused_in_fit(parameters, message):
    with pytest.raises(InputTypeError, match=message):
        castile.KernelRidge(**parameters).fit(X, Y)


def test_equal_rows_without_regularization_are_refused_by_the_name_of_alpha():
    model = castile.KernelRidge(alpha=0.0, kernel="linear")
    with pytest.raises(InputError, match=r"alpha is too small: .* plus alpha=0 .* raise alpha"):
        model.fit(np.zeros((3, 2)), [1.0, 2.0, 3.0])


def test_ill_conditioned_kernels_warn():
    rows = np.array([[1.0, 0.0], [1.0, 1e-9], [0.0, 1.0]])
    with pytest.warns(Warning, match="ill-conditioned"):
        castile.KernelRidge(alpha=3e-16).fit(rows, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, Y[:3]), r"got 12 rows for 3 targets; for local rows pass groups=soap"),
        ((X * np.nan, Y), r"X must be finite .* X\[0, 0\] is NaN"),
        ((X, np.where(np.arange(12) == 5, np.inf, Y)), r"y must be finite .* y\[5\] is inf"),
        ((X[:0], Y[:0]), "0 sample"),
        ((X[:, 0], Y), "1D array|Expected 2D"),
        ((X, None), "requires y to be passed"),
        ((X, np.zeros((12, 2, 2))), r"y must have shape .* got \(12, 2, 2\)"),
        ((X, Y, np.ones(3)), r"sample_weight must hold one number per target, shape \(12,\)"),
        ((X, Y, -np.ones(12)), r"sample_weight must not be negative, got sample_weight\[0\] = -1"),
        ((X, Y, np.full(12, np.nan)), r"sample_weight must be finite"),
        ((X, Y, 0.0), "sample_weight must have an entry above 0, but all are zero"),
        ((X, Y, None, [0, 1]), r"groups must hold one label per row, shape \(12,\)"),
        (
            (X, Y[:5], None, [0, 1] * 6),
            r"one target per group, got 5 targets for the 2 different labels of groups; .* pass n_groups=len\(y\)",
        ),
        (
            (X, Y, None, [0, 1] * 6),
            "got 12 targets, one per row, for the 2 different labels of groups; drop groups= ",
        ),
        ((X, Y[:2], None, [0, np.nan] * 6), r"groups must not hold NaN, but groups\[1\]"),
    ],
)
def test_arrays_that_cannot_be_fitted_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        castile.KernelRidge().fit(*arguments)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, Y), {"n_groups": 12}, "n_groups was given without groups; pass groups=soap.samples"),
        ((X, Y[:3]), {"groups": [0, 1] * 6, "n_groups": 2}, "number of targets, got n_groups=2 for 3 targets in y"),
        ((X, Y[:2]), {"groups": [0, 2] * 6, "n_groups": 2}, r"between 0 and 1 with n_groups=2, but groups\[1\] is 2"),
        (
            (X, Y[:3], [0.0, 1.0, 0.0]),
            {"groups": [0, 2] * 6, "n_groups": 3},
            "sample_weight must have an entry above 0 for a structure that has rows",
        ),
        ((X[:0], Y[:2]), {"groups": [], "n_groups": 2}, "0 sample"),
    ],
)
def test_numbers_of_structures_that_cannot_be_fitted_are_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        castile.KernelRidge().fit(*arguments, **options)


def test_weights_of_a_wrong_type_are_refused():
    with pytest.raises(InputTypeError, match="sample_weight must hold real numbers"):
        castile.KernelRidge().fit(X, Y, ["a"] * 12)


def test_arrays_that_cannot_be_predicted_are_refused():
    model = castile.KernelRidge().fit(X, Y)
    with pytest.raises(InputError, match=r"3 features.*expecting 4"):
        model.predict(X[:, :3])
    with pytest.raises(InputError, match=r"X\[0, 0\] is NaN"):
        model.predict(X * np.nan)
    with pytest.raises(InputError, match="groups must hold one label per row"):
        model.predict(X, groups=[0])
    with pytest.raises(InputError, match="n_groups was given without groups"):
        model.predict(X, n_groups=12)
    with pytest.raises(InputTypeError, match="groups must be integers with n_groups"):
        model.predict(X, groups=["a"] * 12, n_groups=1)
    with pytest.raises(InputError, match=r"3 features.*expecting 4"):
        model.gradient(X[:, :3])
    with pytest.raises(InputError, match=r"X\[0, 0\] is NaN"):
        model.gradient(X * np.nan)


def test_methods_before_fit_are_refused():
    model = castile.KernelRidge()
    for call in (partial(model.predict, X), partial(model.gradient, X), model.loo_predictions, model.loo_rmse):
        with pytest.raises(NotFittedError, match="not fitted"):
            call()


def test_leave_one_out_without_loo_is_refused():
    model = castile.KernelRidge().fit(X, Y)
    model.set_params(loo=False).fit(X, Y)
    assert not hasattr(model, "loo_residuals_")
    with pytest.raises(InputError, match="loo must be True in fit"):
        model.loo_mae()
