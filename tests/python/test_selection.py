"""Choice of rows and columns."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from ase.build import molecule
from bars import record_advances, shown

import castile
from castile.errors import InputError, InputTypeError, MemoryLimitError

METHODS = ["cur", "fps", "cholesky", "random"]
OPTIONS = [("cur", False), ("cur", True), ("fps", False), ("cholesky", False), ("random", False)]


def random_rows(n, k, seed=0):
    return np.random.default_rng(seed).random((n, k))


@pytest.mark.parametrize(("method", "randomize"), OPTIONS)
@pytest.mark.parametrize("what", ["samples", "features"])
@pytest.mark.parametrize("n", [1, 5, 20, 29])
def test_indices_are_distinct_and_in_range(method, randomize, what, n):
    X = random_rows(30, 40) if what == "samples" else random_rows(40, 30)
    chosen = castile.select(X, n, method, what=what, randomize=randomize, zeta=3)
    assert chosen.shape == (n,)
    assert chosen.dtype == np.int64
    assert len(set(chosen.tolist())) == n
    assert chosen.min() >= 0
    assert chosen.max() < 30


@pytest.mark.parametrize(("method", "randomize"), OPTIONS)
def test_same_choice_for_any_threads_and_every_call(method, randomize):
    X = random_rows(500, 60)
    with castile.threads(1):
        first = castile.select(X, 50, method, seed=3, randomize=randomize)
    for n in (1, 2, 4):
        with castile.threads(n):
            again = castile.select(X, 50, method, seed=3, randomize=randomize)
            np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize(("method", "randomize"), [("cur", True), ("fps", False), ("random", False)])
def test_seeds_change_the_choice(method, randomize):
    X = random_rows(300, 20)
    choices = {tuple(castile.select(X, 10, method, seed=s, randomize=randomize)) for s in range(6)}
    assert len(choices) > 1


@pytest.mark.parametrize("method", METHODS)
def test_features_are_samples_of_the_transpose(method):
    X = random_rows(40, 25)
    features = castile.select(X, 9, method, what="features")
    samples = castile.select(X.T, 9, method, what="samples", normalize=False)
    np.testing.assert_array_equal(features, samples)


@pytest.mark.parametrize("method", METHODS)
def test_sparse_equals_dense(method):
    X = random_rows(60, 25) * (random_rows(60, 25, 1) > 0.6)
    np.testing.assert_array_equal(castile.select(scipy.sparse.csr_array(X), 9, method), castile.select(X, 9, method))


@pytest.mark.parametrize("method", METHODS)
def test_fractions_and_arguments(method):
    X = random_rows(40, 6)
    before = X.copy()
    assert len(castile.select(X, 0.25, method, zeta=4)) == 10
    assert len(castile.select(X, 1.0, method, zeta=4)) == 40
    assert len(castile.select(X, 1e-9, method)) == 1
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(("method", "randomize"), [option for option in OPTIONS if option[0] != "cholesky"])
def test_copies_come_last(method, randomize):
    X = np.repeat(random_rows(12, 20), 3, axis=0)
    X[0] = 0.0  # zeros too can be chosen
    chosen = castile.select(X, 14, method, normalize=False, randomize=randomize)
    assert len(np.unique(X[chosen[:13]], axis=0)) == 13
    assert len(set(chosen.tolist())) == 14


@pytest.mark.parametrize("method", ["fps", "cholesky", "random"])
def test_shorter_choices_begin_longer_ones(method):
    X = random_rows(80, 10)
    longer = castile.select(X, 30, method, zeta=2)
    np.testing.assert_array_equal(longer[:11], castile.select(X, 11, method, zeta=2))


def test_fps_equals_a_plain_loop():
    X = random_rows(120, 8)
    chosen = castile.select(X, 40, "fps", seed=5, normalize=False)
    expected = [chosen[0]]
    distances = np.linalg.norm(X - X[chosen[0]], axis=1)
    for _ in range(39):
        expected.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(X - X[expected[-1]], axis=1))
    np.testing.assert_array_equal(chosen, expected)


def test_fps_of_samples_follows_the_kernel_distance():
    X = random_rows(100, 8) * random_rows(100, 1, 2)
    K = castile.kernels.soap_kernel(X, zeta=4)
    distances = np.sqrt(np.maximum(2 - 2 * K, 0))
    chosen = castile.select(X, 25, "fps")
    for step in range(1, 25):
        nearest = distances[:, chosen[:step]].min(axis=1)
        assert nearest[chosen[step]] == pytest.approx(nearest.max(), abs=1e-12)


def leverage_scores(X, rank):
    U = scipy.linalg.svd(X, full_matrices=False)[0][:, :rank]
    return U, np.einsum("ij,ij->i", U, U)


@pytest.mark.parametrize("shape", [(50, 12), (12, 50)])
def test_cur_equals_greedy_projection_of_the_singular_vectors(shape):
    X = random_rows(*shape)
    n = 8
    U, _ = leverage_scores(X, n)
    expected = []
    for _ in range(n):
        expected.append(int(np.einsum("ij,ij->i", U, U).argmax()))
        direction = U[expected[-1]] / np.linalg.norm(U[expected[-1]])
        U = U - np.outer(U @ direction, direction)
    np.testing.assert_array_equal(castile.select(X, n, normalize=False), expected)


def test_cur_spans_the_rows_of_a_low_rank_matrix():
    X = random_rows(200, 7) @ random_rows(7, 50, 1)
    chosen = castile.select(X, 7)
    rest = X - X @ np.linalg.pinv(X[chosen]) @ X[chosen]
    assert np.abs(rest).max() < 1e-10 * np.abs(X).max()


def test_cur_goes_on_beyond_the_rank():
    X = random_rows(30, 3) @ random_rows(3, 10, 1)
    chosen = castile.select(X, 20)
    assert len(set(chosen.tolist())) == 20
    for start in (0, 3, 6):  # every round spans the space anew
        assert np.linalg.matrix_rank(X[chosen[start : start + 3]]) == 3


def test_cur_of_zeros_chooses_the_first():
    X = np.zeros((4, 3))
    assert castile.select(X, 2).tolist() == [0, 1]


def test_randomized_cur_prefers_high_leverage():
    X = random_rows(40, 4) * 1e-3
    X[7] = [0, 0, 0, 5.0]
    hits = [7 in castile.select(X, 4, seed=s, randomize=True, normalize=False) for s in range(30)]
    assert np.mean(hits) > 0.4  # 0.7 by its leverage, 0.1 if drawn uniformly


@pytest.mark.parametrize("method", METHODS)
def test_huge_and_tiny_numbers_are_taken(method):
    X = random_rows(30, 5)
    for factor in (1e200, 1e-200):
        np.testing.assert_array_equal(
            castile.select(X * factor, 4, method, normalize=False),
            castile.select(X, 4, method, normalize=False),
        )


def pivots_one_by_one(K, n):
    """Return the pivots of the plain algorithm, and what is left of the trace."""
    residual, pivots = K.copy(), []
    for _ in range(n):
        pivots.append(int(residual.diagonal().argmax()))
        column = residual[:, pivots[-1]].copy()
        residual -= np.outer(column, column) / column[pivots[-1]]
        residual[pivots] = residual[:, pivots] = 0.0
    return pivots, residual.trace()


def rest_of_trace(K, chosen):
    """Return the trace of what the chosen do not explain, by a pseudo-inverse."""
    part = K[:, chosen]
    return float(K.trace() - np.trace(part @ np.linalg.pinv(K[np.ix_(chosen, chosen)], 1e-13, True) @ part.T))


@pytest.mark.parametrize("batch", [1, 7, 256, 5000])
@pytest.mark.parametrize(("zeta", "normalize"), [(1, False), (2, True), (4, True), (2.5, True), (3, False)])
def test_cholesky_equals_the_pivots_one_by_one(zeta, normalize, batch, monkeypatch):
    monkeypatch.setattr("castile.models._pivoted_cholesky._BATCH", batch)
    X = random_rows(400, 30) * random_rows(400, 1, 2)
    n = 25 if zeta == 1 else 60
    X[17] *= 0.0 if normalize else 2.0
    K = castile.kernels.soap_kernel(X, zeta=zeta, normalize=normalize)
    if normalize:
        np.fill_diagonal(K, X.any(axis=1))  # ties between first pivots go to the first row
    expected, _ = pivots_one_by_one(K, n)
    np.testing.assert_array_equal(castile.select(X, n, "cholesky", zeta=zeta, normalize=normalize), expected)


def clustered_rows(n):
    """Rows of a few dense groups, as the environments of crystals are, and of a few far from all others."""
    rng = np.random.default_rng(5)
    centers = rng.random((6, 40))
    rows = centers[rng.integers(0, 6, n)] + 10.0 ** rng.uniform(-5, -1, (n, 1)) * rng.standard_normal((n, 40))
    rows[:10] = rng.random((10, 40))
    return rows


@pytest.mark.parametrize("n", [20, 100, 300])
def test_cholesky_leaves_as_little_as_one_by_one_of_clustered_rows(n):
    X = clustered_rows(1200)
    K = castile.kernels.soap_kernel(X, zeta=4)
    np.fill_diagonal(K, 1.0)  # ties between first pivots go to the first row
    chosen = castile.select(X, n, "cholesky", zeta=4)
    _, expected = pivots_one_by_one(K, n)
    assert rest_of_trace(K, chosen) == pytest.approx(expected, rel=0.03, abs=1e-9)
    if n >= 100:  # those far from all others come first
        assert rest_of_trace(K, chosen) < rest_of_trace(K, castile.select(X, n, "random"))


@pytest.mark.parametrize("normalize", [False, True])
def test_cholesky_stops_at_the_rank(normalize):
    X = random_rows(300, 6) @ random_rows(6, 30, 1)
    assert len(castile.select(X, 100, "cholesky", normalize=normalize)) == 6
    assert len(castile.select(X, 100, "cholesky", zeta=2, normalize=normalize)) == 21  # products of two of six
    assert len(castile.select(X, 1.0, "cholesky", zeta=3, normalize=normalize)) == 56


def test_cholesky_leaves_out_copies_and_zeros():
    X = random_rows(60, 20)
    doubled = np.concatenate([X, X, 3 * X, X * (1 + 1e-15), np.zeros((2, 20))])
    chosen = castile.select(doubled, 200, "cholesky", zeta=4)
    assert sorted(chosen % 60) == list(range(60))
    assert len(castile.select(np.zeros((5, 3)), 4, "cholesky")) == 0


def test_cholesky_of_more_pivots_than_memory_holds_is_refused(monkeypatch):
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    available = iter([10**6, 100])
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: next(available))
    with pytest.raises(MemoryLimitError, match=r"the factor of 3 pivots for 6 rows would take .*; choose fewer"):
        castile.select(random_rows(6, 6), 3, "cholesky")


BARS = {
    "cur": ["Grammatrix", "singularvectors", "pivots"],
    "fps": ["farthestpoints"],
    "cholesky": ["pivots"],
    "random": [],
}


@pytest.mark.parametrize(("method", "randomize"), OPTIONS)
@pytest.mark.parametrize("what", ["samples", "features"])
def test_progress_bars_move_and_do_not_change_the_choice(method, randomize, what, monkeypatch, capsys):
    X = random_rows(300, 250)
    options = {"what": what, "randomize": randomize}
    with castile.threads(1):
        expected = castile.select(X, 40, method, **options)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("castile.kernels._blocks._BLOCK_PRODUCTS", 1)  # blocks of 64 rows
    weights = record_advances(monkeypatch)
    for n in (1, 2, 4):
        with castile.threads(n):
            np.testing.assert_array_equal(castile.select(X, 40, method, progress=True, **options), expected)
    text = shown(capsys.readouterr())
    assert [bar for bar in BARS[method] if bar not in text and not (randomize and bar == "pivots")] == []
    if method == "fps":
        assert weights == 3 * 39 * [1]
        assert "39/39" in text
    elif method == "cur":
        assert len(weights) >= 3 * 7  # of the blocks of the Gram matrix
        assert f"{125 * 251}/{125 * 251}" in text
    elif method == "cholesky":
        assert sum(weights) == 3 * 40
        assert "40/40" in text
    else:
        assert text == ""


def test_a_gram_matrix_that_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    available = iter([10_000, 100])
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: next(available))
    with pytest.raises(MemoryLimitError, match="the 6 x 6 kernel matrix would take 288 B"):
        castile.select(random_rows(20, 6), 3)


def test_sparse_rows_whose_dense_copy_does_not_fit_are_refused():
    rows = scipy.sparse.csr_array((300_000, 3_000_000))
    with pytest.raises(MemoryLimitError, match=r"choosing from dense rows would take .*TiB.*; give fewer rows"):
        castile.select(rows, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones((3, 2)), 4), {}, "n must lie between 1 and the number of samples, 3, got 4"),
        ((np.ones((3, 2)), 3), {"what": "features"}, "number of features, 2, got 3"),
        ((np.ones((3, 2)), 0), {}, "n must lie between 1"),
        ((np.ones((3, 2)), 1.5), {}, "n must be a fraction above 0 and up to 1"),
        ((np.ones((3, 2)), 0.0), {}, "n must be a fraction above 0"),
        ((np.ones((3, 2)), np.nan), {}, "n must be a fraction above 0"),
        ((np.ones((3, 2)), 1, "pca"), {}, "method must be 'cur', 'fps', 'cholesky' or 'random', got 'pca'"),
        ((np.ones((3, 2)), 1), {"what": "rows"}, "what must be 'samples' or 'features'"),
        ((np.ones((3, 2)), 1, "cholesky"), {"zeta": 0}, "zeta must be a finite number above 0, got 0"),
        ((np.ones((3, 2)), 1), {"seed": -1}, "seed must be an integer of 0 or more, got -1"),
        ((np.full((3, 2), np.nan), 1), {}, r"X must be finite .* X\[0, 0\] is NaN"),
        ((np.ones(3), 1), {}, "X must have shape"),
        ((np.ones((0, 3)), 1), {}, "X must have at least one row"),
    ],
)
def test_select_refuses(arguments, options, message):
    with pytest.raises(InputError, match=message):
        castile.select(*arguments, **options)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (molecule("H2O"), "got structures; descriptor.transform"),
        ([molecule("H2O"), molecule("CH4")], "got structures; descriptor.transform"),
        ((molecule("H2O"),), "got structures; descriptor.transform"),
        ([[1.0, 2.0], [1.0]], "all of one length, got lengths from 1 to 2; descriptor.transform"),
        ([np.ones((3, 2)), np.ones((5, 2))], "got lengths from 3 to 5; descriptor.transform"),
        (["H2O.xyz"], r"got text, \['H2O.xyz'\]; descriptor.transform"),
        ("H2O.xyz", "got text, 'H2O.xyz'; descriptor.transform"),
    ],
    ids=["atoms", "list", "tuple", "ragged", "matrices", "names", "name"],
)
def test_frames_and_ragged_lists_are_no_rows(X, message):
    calls = [
        lambda: castile.select(X, 1),
        lambda: castile.kernels.soap_kernel(X),
        lambda: castile.kernels.average_kernel(X, [0]),
        lambda: castile.KernelRidge().fit(X, [1.0]),
        lambda: castile.KernelRidge().fit(X, [1.0], groups=[0]),
        lambda: castile.KernelRidge().fit(np.eye(2), [1.0, 2.0]).predict(X),
        lambda: castile.KernelRidge().fit(np.eye(2), [1.0, 2.0]).gradient(X),
    ]
    for call in calls:
        with pytest.raises(InputTypeError, match=f"^X must be .*{message}"):
            call()


def test_a_stack_of_matrices_is_not_taken_for_one():
    with pytest.raises(InputError, match=r"got \(2, 3, 4\); descriptor.transform"):
        castile.select(np.ones((2, 3, 4)), 1)


@pytest.mark.parametrize(
    ("n", "seed", "message"),
    [
        ("3", 0, "n must be an integer or a fraction of the samples, got '3'"),
        (True, 0, "n must be an integer or a fraction"),
        (1, 0.5, "seed must be an integer of 0 or more, got 0.5"),
        (1, None, "seed must be an integer of 0 or more, got None"),
    ],
)
def test_select_refuses_types(n, seed, message):
    with pytest.raises(InputTypeError, match=message):
        castile.select(np.ones((3, 2)), n, seed=seed)
