"""Splits and folds: what they have in common, and what each method promises."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import lone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

import castile
from castile import data, datasets
from castile.errors import InputError, InputTypeError

METHODS = ["random", "group", "block", "farthest"]


def make(groups, isolated=(), symbols=None):
    """Frames of one atom in a small cell, of the given groups."""
    frames = []
    for place, group in enumerate(groups):
        symbol = "Cu" if symbols is None else symbols[place]
        atoms = lone(symbol) if place in isolated else bulk(symbol, "fcc", a=3.6 + 0.01 * place)
        atoms.info["group"] = group
        frames.append(atoms)
    return data.read(frames, allow_unlabeled=True)


@st.composite
def sets_of_frames(draw):
    sizes = draw(st.lists(st.integers(1, 8), min_size=3, max_size=6))
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    if draw(st.booleans()):
        groups = draw(st.permutations(groups))
    n = len(groups)
    isolated = draw(st.sets(st.integers(0, n - 1), max_size=2))
    return make(groups, isolated)


@pytest.fixture(scope="module")
def dataset():
    return data.read(datasets.load())


def check_partition(dataset, train, test):
    assert train.dtype == test.dtype == np.int64
    assert sorted([*train, *test]) == list(range(len(dataset)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    assert not dataset.isolated[test].any()


@settings(max_examples=40, deadline=None)
@given(sets_of_frames(), st.sampled_from(["random", "block", "farthest"]), st.integers(0, 5), st.floats(0.01, 0.99))
def test_a_split_has_the_size_asked_for(dataset, method, seed, fraction):
    n = int((~dataset.isolated).sum())
    if n < 2:
        return
    features = np.arange(len(dataset))[:, None] % 5 if method == "farthest" else None
    train, test = data.split_indices(dataset, fraction, method, seed=seed, features=features)
    check_partition(dataset, train, test)
    assert len(test) == min(max(round(fraction * n), 1), n - 1)
    again = data.split_indices(dataset, fraction, method, seed=seed, features=features)
    np.testing.assert_array_equal(again[1], test)


@settings(max_examples=40, deadline=None)
@given(sets_of_frames(), st.integers(0, 5), st.floats(0.01, 0.99))
def test_groups_are_never_torn(dataset, seed, fraction):
    if len(set(dataset.groups[~dataset.isolated])) < 2:
        return
    train, test = data.split_indices(dataset, fraction, "group", seed=seed)
    check_partition(dataset, train, test)
    assert len(test) > 0
    learned = train[~dataset.isolated[train]]
    assert len(learned) > 0
    assert not set(dataset.groups[learned]) & set(dataset.groups[test])
    for learned, tested in data.folds(dataset, 2, "group", seed=seed):
        check_partition(dataset, learned, tested)
        kept = learned[~dataset.isolated[learned]]
        assert not set(dataset.groups[kept]) & set(dataset.groups[tested])


@settings(max_examples=40, deadline=None)
@given(sets_of_frames(), st.sampled_from(METHODS), st.integers(2, 4), st.integers(0, 5))
def test_folds_test_every_frame_once(dataset, method, n_folds, seed):
    members = dataset.groups[~dataset.isolated]
    if len(members) < n_folds or len(set(members)) < n_folds:
        return
    features = np.arange(len(dataset))[:, None] % 5 if method == "farthest" else None
    pairs = list(data.folds(dataset, n_folds, method, seed=seed, features=features))
    assert len(pairs) == n_folds
    for train, test in pairs:
        check_partition(dataset, train, test)
    tested = np.sort(np.concatenate([test for _, test in pairs]))
    np.testing.assert_array_equal(tested, np.flatnonzero(~dataset.isolated))
    sizes = [len(test) for _, test in pairs]
    assert min(sizes) > 0
    if method in ("random", "farthest"):
        assert max(sizes) - min(sizes) <= 1


def test_seeds_change_random_splits(dataset):
    tests = {tuple(data.split_indices(dataset, 0.2, seed=seed)[1]) for seed in range(5)}
    assert len(tests) == 5


def test_strata_get_their_share(dataset):
    _, test = data.split(dataset, 28, stratify=True)
    for group in set(dataset.groups):
        share = 0.2 * (dataset.groups == group).sum()
        assert abs((test.groups == group).sum() - share) < 1.0
    for _, tested in data.folds(dataset, 5, stratify=True):
        for group in set(dataset.groups):
            assert abs((dataset.groups[tested] == group).sum() - (dataset.groups == group).sum() / 5) < 1.0


def test_blocks_are_the_ends_of_trajectories():
    dataset = make(["a"] * 10 + ["b"] * 5)
    assert data.split_indices(dataset, 3, "block")[1].tolist() == [8, 9, 14]


def test_other_atoms_begin_another_trajectory():
    dataset = make(["a"] * 10, symbols=["Cu"] * 5 + ["Ag"] * 5)
    assert data.split_indices(dataset, 2, "block")[1].tolist() == [4, 9]
    given = data.split_indices(make(["a"] * 10), 2, "block", groups=[1] * 5 + [2] * 5)
    assert given[1].tolist() == [4, 9]


def test_folds_of_blocks_are_runs():
    dataset = make(["a"] * 20 + ["b"] * 9)
    for _, test in data.folds(dataset, 4, "block"):
        for part in (test[test < 20], test[test >= 20]):
            assert (np.diff(part) == 1).all()
        assert len(test[test < 20]) == 5
    sizes = [len(test) for _, test in data.folds(dataset, 4, "block")]
    assert max(sizes) - min(sizes) <= 1


def test_blocks_of_a_size_stay_together():
    dataset = make(["a"] * 20 + ["b"] * 10)
    _, test = data.split_indices(dataset, 10, "block", block_size=5, seed=3)
    assert {index // 5 for index in test.tolist()} == {test[0] // 5, test[-1] // 5}
    for _, tested in data.folds(dataset, 3, "block", block_size=5):
        assert sorted(set(tested // 5 * 5)) == sorted(tested[::5])
    with pytest.raises(InputError, match="gives 2 blocks for 3 folds"):
        data.folds(dataset.subset(slice(0, 20)), 3, "block", block_size=10)


def test_farthest_points_train():
    features = np.array([[0.0], [0.1], [10.0], [0.2], [-10.0], [0.15]])
    train, _ = data.split_indices(make(["a"] * 6), 3, "farthest", features=features)
    assert {2, 4} <= set(train.tolist())


def test_farthest_points_of_structures_need_no_features(dataset):
    train, test = data.split(dataset, 0.2, "farthest")
    assert (len(train), len(test)) == (112, 28)
    soap = castile.SOAP(cutoff=4.0, n_max=3, l_max=2, average="outer")
    assert len(data.split_indices(dataset, 0.2, "farthest", features=soap)[1]) == 28
    with pytest.raises(InputError, match="one row per frame"):
        data.split_indices(dataset, 0.2, "farthest", features=castile.SOAP(cutoff=4.0, n_max=3, l_max=2))


def test_the_default_features_serve_many_species():
    symbols = ["Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Al", "Pb"]
    assert len(data.split_indices(make(["a"] * 8, symbols=symbols), 3, "farthest")[1]) == 3


def test_scikit_learn_takes_folds(dataset):
    X = np.column_stack([[atoms.get_volume() for atoms in dataset.frames], dataset.energy_weights])
    scores = cross_val_score(Ridge(), X, dataset.energies, cv=list(data.folds(dataset, 4, stratify=True)))
    assert len(scores) == 4


def test_frames_are_read_first():
    train, test = data.split(datasets.load(), 10)
    assert (len(train), len(test)) == (130, 10)
    assert test.has_energy.all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"test_size": 0.0}, InputError, "test_size must lie between 0 and 1"),
        ({"test_size": 1.0}, InputError, "test_size"),
        ({"test_size": 0}, InputError, "between 1 and 139"),
        ({"test_size": 140}, InputError, "between 1 and 139"),
        ({"test_size": True}, InputTypeError, "test_size"),
        ({"test_size": "a"}, InputTypeError, "test_size"),
        ({"method": "kmeans"}, InputError, "method must be one of 'random', 'group'"),
        ({"seed": -1}, InputError, "seed"),
        ({"seed": None}, InputTypeError, "seed"),
        ({"method": "group", "stratify": True}, InputError, "stratify is for method='random'"),
        ({"block_size": 3}, InputError, "block_size is for method='block'"),
        ({"method": "block", "block_size": 0}, InputError, "block_size must be 1 or more"),
        ({"groups": [1, 2]}, InputError, "groups must hold one entry per frame"),
        ({"method": "farthest", "features": [[1.0]]}, InputError, "one row per frame"),
        ({"method": "farthest", "features": np.full((140, 1), np.nan)}, InputError, "features must be finite"),
        ({"method": "group", "groups": ["a"] * 140}, InputError, "needs 2 groups or more"),
    ],
)
def test_bad_arguments_are_refused(dataset, arguments, error, text):
    with pytest.raises(error, match=text):
        data.split_indices(dataset, **arguments)


def test_too_few_frames_or_groups_are_refused_at_once(dataset):
    with pytest.raises(InputError, match="two frames or more"):
        data.split(make(["a", "b"], isolated=[0]))
    with pytest.raises(InputError, match="n_folds must be 2 or more"):
        data.folds(dataset, 1)
    with pytest.raises(InputError, match="at most the number of frames, 3"):
        data.folds(make(["a"] * 3), 4)
    with pytest.raises(InputError, match="needs 5 groups or more, but the frames have 4"):
        data.folds(dataset, 5, "group")
