"""How frames are dealt into parts; indices here count the frames that may be tested."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from castile.data.dataset import Dataset
from castile.errors import InputError

__all__ = ["Parts", "block_folds", "block_test", "group_folds", "group_test", "random_folds", "random_test"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """What is dealt: ``items`` are frames that are no isolated atoms, ``labels`` number their groups."""

    dataset: Dataset
    items: IntArray
    labels: IntArray
    rng: np.random.Generator

    @property
    def n_items(self) -> int:
        """Number of frames that may be tested."""
        return len(self.items)

    def members(self) -> list[IntArray]:
        """Return the items of each group."""
        return [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]

    def runs(self) -> list[IntArray]:
        """Return unbroken runs of items of one group and with the same atoms: trajectories."""
        offsets, numbers = self.dataset.offsets, self.dataset.numbers
        keys = [
            (label, numbers[offsets[frame] : offsets[frame + 1]].tobytes())
            for frame, label in zip(self.items.tolist(), self.labels.tolist(), strict=True)
        ]
        apart = [
            place
            for place in range(1, self.n_items)
            if keys[place] != keys[place - 1] or self.items[place] != self.items[place - 1] + 1
        ]
        return np.split(np.arange(self.n_items), apart)

    def train_and_test(self, test: IntArray) -> tuple[IntArray, IntArray]:
        """Return sorted indices of all frames, by those of the items that are tested."""
        is_test = np.zeros(len(self.dataset), dtype=bool)
        is_test[self.items[test]] = True
        return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def random_test(parts: Parts, n_test: int, stratify: bool) -> IntArray:
    """Draw single items, with ``stratify`` from each group its share."""
    if not stratify:
        return parts.rng.permutation(parts.n_items)[:n_test]
    members = parts.members()
    shares = _shares(np.array([len(group) for group in members]), n_test, parts.rng)
    drawn = [parts.rng.permutation(group)[:share] for group, share in zip(members, shares, strict=True)]
    return np.concatenate(drawn)


def random_folds(parts: Parts, n_folds: int, stratify: bool) -> IntArray:
    """Return the fold of each item: shuffled and dealt in turn, with ``stratify`` one group after the other."""
    groups = parts.members() if stratify else [np.arange(parts.n_items)]
    order = np.concatenate([parts.rng.permutation(group) for group in groups])
    fold = np.empty(parts.n_items, dtype=np.int64)
    fold[order] = np.arange(parts.n_items) % n_folds
    return fold


def group_test(parts: Parts, n_test: int) -> IntArray:
    """Draw whole groups, in random order, as long as they bring the size nearer to what is asked for."""
    members = _several_groups(parts, 2)
    shuffled = [members[place] for place in parts.rng.permutation(len(members)).tolist()]
    chosen: list[IntArray] = []
    total = 0
    for group in shuffled:
        left = parts.n_items - total - len(group)
        if left > 0 and abs(total + len(group) - n_test) < abs(total - n_test):
            chosen.append(group)
            total += len(group)
    # Every group may be more than twice as large as what is asked for.
    return np.concatenate(chosen or [min(shuffled, key=len)])


def group_folds(parts: Parts, n_folds: int) -> IntArray:
    """Return the fold of each item: whole groups, the largest first, each into the smallest fold."""
    members = _several_groups(parts, n_folds)
    return _dealt([members[place] for place in parts.rng.permutation(len(members)).tolist()], n_folds, parts.n_items)


def block_test(parts: Parts, n_test: int, block_size: int | None) -> IntArray:
    """Take the end of each trajectory, or draw blocks of a size; the last block may be cut."""
    runs = parts.runs()
    if block_size is not None:
        blocks = _blocks(runs, block_size)
        drawn = np.concatenate([blocks[place] for place in parts.rng.permutation(len(blocks)).tolist()])
        return drawn[:n_test]
    shares = _shares(np.array([len(run) for run in runs]), n_test, parts.rng)
    return np.concatenate([run[len(run) - share :] for run, share in zip(runs, shares, strict=True)])


def block_folds(parts: Parts, n_folds: int, block_size: int | None) -> IntArray:
    """Return the fold of each item: blocks of one length, dealt at random, or one block of each trajectory per fold."""
    runs = parts.runs()
    if block_size is not None:
        blocks = _blocks(runs, block_size)
        if len(blocks) < n_folds:
            raise InputError(
                f"block_size={block_size} gives {len(blocks)} blocks for {n_folds} folds; make it smaller, or n_folds"
            )
        return _dealt([blocks[place] for place in parts.rng.permutation(len(blocks)).tolist()], n_folds, parts.n_items)
    fold = np.empty(parts.n_items, dtype=np.int64)
    sizes = np.zeros(n_folds, dtype=np.int64)
    for run in sorted(runs, key=len, reverse=True):
        pieces = np.array_split(run, n_folds)  # longer ones first, empty ones last
        # The order of folds along a trajectory is random, but the longer pieces go to the smaller folds.
        order = np.lexsort((parts.rng.random(n_folds), sizes))
        for number, piece in zip(order.tolist(), pieces, strict=True):
            fold[piece] = number
            sizes[number] += len(piece)
    return fold


def _several_groups(parts: Parts, at_least: int) -> list[IntArray]:
    members = parts.members()
    if len(members) < at_least:
        raise InputError(
            f"method='group' needs {at_least} groups or more, but the frames have {len(members)}; give groups=, or "
            "another group_key when reading, or use another method"
        )
    return members


def _blocks(runs: list[IntArray], size: int) -> list[IntArray]:
    return [run[start : start + size] for run in runs for start in range(0, len(run), size)]


def _dealt(pieces: list[IntArray], n_folds: int, n_items: int) -> IntArray:
    """Return the fold of each item: the largest piece first, each into the smallest fold."""
    fold = np.empty(n_items, dtype=np.int64)
    sizes = np.zeros(n_folds, dtype=np.int64)
    for piece in sorted(pieces, key=len, reverse=True):
        smallest = int(sizes.argmin())
        fold[piece] = smallest
        sizes[smallest] += len(piece)
    return fold


def _shares(sizes: IntArray, total: int, rng: np.random.Generator) -> list[int]:
    """Return how many of each size make the total, in proportion; what remains goes to the largest remainders."""
    exact = sizes * (total / sizes.sum())
    shares = np.floor(exact).astype(np.int64)
    order = np.lexsort((rng.random(len(sizes)), -np.round(exact - shares, 9)))
    shares[order[: total - shares.sum()]] += 1
    return [int(share) for share in np.minimum(shares, sizes)]
