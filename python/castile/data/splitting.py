"""Splits into training and test parts, and folds for cross-validation, as indices of frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from castile._checks import choice, flag, integer
from castile.data import _partitions
from castile.data._features import features_of
from castile.data._partitions import Parts
from castile.data.dataset import Dataset
from castile.errors import InputError, InputTypeError

__all__ = ["folds", "split", "split_indices"]

IntArray = npt.NDArray[np.int64]

_METHODS = ("random", "group", "block", "farthest")


def split(
    dataset: Any,
    test_size: float = 0.2,
    method: str = "random",
    *,
    seed: int = 0,
    stratify: bool = False,
    groups: Any = None,
    block_size: int | None = None,
    features: Any = None,
) -> tuple[Dataset, Dataset]:
    """Split a data set into a training and a test part.

    Parameters
    ----------
    dataset : Dataset, or what :func:`read` takes
    test_size : float or int, default=0.2
        Fraction of the frames, or their number; isolated atoms, which always stay in training, do not count.
    method : {"random", "group", "block", "farthest"}, default="random"
        ``"random"``: single frames. Neighbors of one trajectory fall into both parts, so that errors look smaller
        than they are. ``"group"``: whole groups, drawn as long as they bring the size nearer. ``"block"``: the end of
        each trajectory; with ``block_size``, blocks of trajectories at random. A trajectory is an unbroken run of
        frames of one group with the same atoms in the same order. ``"farthest"``: the training part is chosen by
        farthest point sampling, so that it reaches as far as the data do and the test part lies in between.
    seed : int, default=0
    stratify : bool, default=False
        With ``"random"``: from each group its share.
    groups : array-like of shape (n_frames,), optional
        Instead of ``dataset.groups``; for ``"block"``, it also tells trajectories apart.
    block_size : int, optional
        With ``"block"``: how many frames a block has.
    features : array-like of shape (n_frames, n_features), or descriptor, optional
        With ``"farthest"``: what distances are taken of. By default, the averages of SOAP (cutoff 5 Å) over each frame.

    Returns
    -------
    train, test : Dataset
        With frames in their order.

    Raises
    ------
    InputError
        If there are too few frames or groups, or an argument is out of range.
    InputTypeError
        If an argument has a type that cannot be used.

    Examples
    --------
    >>> from castile import data, datasets
    >>> dataset = data.read(datasets.load())
    >>> train, test = data.split(dataset, 0.1, method="group")
    >>> sorted(set(test.groups.tolist()))
    ['AlP rock-salt']
    """
    dataset = _as_dataset(dataset)
    train, test = split_indices(
        dataset,
        test_size,
        method,
        seed=seed,
        stratify=stratify,
        groups=groups,
        block_size=block_size,
        features=features,
    )
    return dataset.subset(train), dataset.subset(test)


def split_indices(
    dataset: Any,
    test_size: float = 0.2,
    method: str = "random",
    *,
    seed: int = 0,
    stratify: bool = False,
    groups: Any = None,
    block_size: int | None = None,
    features: Any = None,
) -> tuple[IntArray, IntArray]:
    """Return the indices of the frames of a training and a test part; arguments as in :func:`split`.

    Returns
    -------
    train, test : ndarray of int64
        Sorted; together they hold every frame once.

    Examples
    --------
    >>> from castile import data, datasets
    >>> train, test = data.split_indices(data.read(datasets.load()), 14, method="block")
    >>> len(train), len(test)
    (126, 14)
    """
    parts = _parts(_as_dataset(dataset), method, seed=seed, stratify=stratify, groups=groups, block_size=block_size)
    n_test = _test_count(test_size, parts.n_items)
    if method == "random":
        test = _partitions.random_test(parts, n_test, stratify)
    elif method == "group":
        test = _partitions.group_test(parts, n_test)
    elif method == "block":
        test = _partitions.block_test(parts, n_test, block_size)
    else:
        order = _farthest_order(parts, features, seed)
        test = order[parts.n_items - n_test :]
    return parts.train_and_test(test)


def folds(
    dataset: Any,
    n_folds: int = 5,
    method: str = "random",
    *,
    seed: int = 0,
    stratify: bool = False,
    groups: Any = None,
    block_size: int | None = None,
    features: Any = None,
) -> Iterator[tuple[IntArray, IntArray]]:
    """Return pairs of training and test indices, in which every frame but isolated atoms is tested once.

    Parameters
    ----------
    dataset : Dataset, or what :func:`read` takes
    n_folds : int, default=5
        At least 2.
    method : {"random", "group", "block", "farthest"}, default="random"
        As in :func:`split`. ``"group"``: whole groups, the largest first into the smallest fold. ``"block"``: each
        trajectory is cut into ``n_folds`` blocks, one for each fold; with ``block_size``, into blocks of that size,
        dealt at random. ``"farthest"``: frames in the order of farthest point sampling are dealt in turn, so that
        every fold reaches as far as the data do.
    seed, stratify, groups, block_size, features
        As in :func:`split`.

    Returns
    -------
    iterator of (train, test)
        Sorted indices, as scikit-learn's splitters give them: ``cv=list(folds(...))``.

    Raises
    ------
    InputError
        If there are fewer frames or groups than folds, or an argument is out of range.
    InputTypeError
        If an argument has a type that cannot be used.

    Examples
    --------
    >>> from castile import data, datasets
    >>> dataset = data.read(datasets.load())
    >>> [len(test) for train, test in data.folds(dataset, 4, method="block")]
    [35, 35, 35, 35]
    """
    n_folds = integer("n_folds", n_folds, 2)
    parts = _parts(_as_dataset(dataset), method, seed=seed, stratify=stratify, groups=groups, block_size=block_size)
    if n_folds > parts.n_items:
        raise InputError(f"n_folds must be at most the number of frames, {parts.n_items}, got {n_folds}")
    if method == "random":
        fold = _partitions.random_folds(parts, n_folds, stratify)
    elif method == "group":
        fold = _partitions.group_folds(parts, n_folds)
    elif method == "block":
        fold = _partitions.block_folds(parts, n_folds, block_size)
    else:
        fold = np.empty(parts.n_items, dtype=np.int64)
        fold[_farthest_order(parts, features, seed)] = np.arange(parts.n_items) % n_folds
    return (parts.train_and_test(np.flatnonzero(fold == number)) for number in range(n_folds))


def _as_dataset(dataset: Any) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    from castile.data.reading import read

    return read(dataset, allow_unlabeled=True)


def _parts(dataset: Dataset, method: str, *, seed: int, stratify: bool, groups: Any, block_size: int | None) -> Parts:
    choice("method", method, _METHODS)
    if flag("stratify", stratify) and method != "random":
        raise InputError(f"stratify is for method='random', got method={method!r}")
    if block_size is not None:
        integer("block_size", block_size, 1)
        if method != "block":
            raise InputError(f"block_size is for method='block', got method={method!r}")
    names = dataset.groups if groups is None else np.asarray(groups)
    if names.shape != (len(dataset),):
        raise InputError(f"groups must hold one entry per frame, shape ({len(dataset)},), got {names.shape}")
    items = np.flatnonzero(~dataset.isolated)
    if len(items) < 2:
        raise InputError(f"a split needs two frames or more that are not isolated atoms, got {len(items)}")
    _, labels = np.unique(names, return_inverse=True)
    return Parts(dataset, items, labels[items], np.random.default_rng(integer("seed", seed, 0)))


def _test_count(test_size: Any, n_items: int) -> int:
    if isinstance(test_size, bool) or not isinstance(test_size, (int, float, np.integer, np.floating)):
        raise InputTypeError(f"test_size must be a fraction or a number of frames, got {test_size!r}")
    if isinstance(test_size, (int, np.integer)):
        if not 1 <= test_size < n_items:
            raise InputError(f"test_size must lie between 1 and {n_items - 1} frames, got {test_size}")
        return int(test_size)
    if not 0.0 < test_size < 1.0:
        raise InputError(f"test_size must lie between 0 and 1, or be an integer number of frames, got {test_size!r}")
    return min(max(round(float(test_size) * n_items), 1), n_items - 1)


def _farthest_order(parts: Parts, features: Any, seed: int) -> IntArray:
    from castile.models import select

    rows = features_of(parts.dataset, features)[parts.items]
    return select(rows, len(rows), "fps", seed=seed, normalize=False)
