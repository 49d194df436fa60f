"""How errors fall with the number of training frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from castile import _checks
from castile.data import Dataset
from castile.errors import InputError, InputTypeError
from castile.models.force_field._units import SHOWN
from castile.models.force_field.error_table import ErrorTable

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["LearningCurve", "learning_curve"]


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Errors on the same test frames after more and more training frames; ``print`` it.

    Attributes
    ----------
    points : list of dict
        ``n_frames`` and ``errors``, an :class:`ErrorTable`.
    """

    points: list[dict[str, Any]]

    def __str__(self) -> str:
        known = [kind for kind in SHOWN if kind in self.points[0]["errors"]]
        lines = [f"{'frames':>8}" + "".join(f"  {kind + ' MAE, ' + SHOWN[kind][1]:>22}" for kind in known)]
        for point in self.points:
            values = (SHOWN[kind][0] * point["errors"][kind]["mae"] for kind in known)
            lines.append(f"{point['n_frames']:>8}" + "".join(f"  {value:>22.3f}" for value in values))
        return "\n".join(lines)

    __repr__ = __str__


def learning_curve(
    model: ForceField, train: Dataset, test: Dataset, sizes: Sequence[int] | None, progress: bool
) -> LearningCurve:
    """Add training frames in random order and look at the errors in between.

    Parameters
    ----------
    model : ForceField
        Whose parameters are used; it is not changed.
    train, test : Dataset
    sizes : sequence of int, optional
        By default five, each about twice the one before, up to all frames.
    progress : bool
    """
    from sklearn.base import clone

    order = np.random.default_rng(_checks.integer("seed", model.seed, 0)).permutation(len(train))
    # Isolated atoms, references of all else, come first.
    order = np.concatenate([order[train.isolated[order]], order[~train.isolated[order]]])
    shuffled = train.subset(order)
    steps = _checked_sizes(sizes, len(train), int(train.isolated.sum()))
    # Lengths, references and sparse points are those of all frames; labels are taken in one after the other.
    grown = clone(model).prepare(shuffled)
    points, done = [], 0
    for size in steps:
        grown.accumulate(shuffled.subset(slice(done, size)), progress=progress)
        grown.solve(shuffled.subset(slice(0, size)), progress=progress)
        errors: ErrorTable = grown.evaluate(test, progress=progress)
        points.append({"n_frames": size, "errors": errors})
        done = size
    return LearningCurve(points)


def _checked_sizes(sizes: Sequence[int] | None, n_frames: int, n_isolated: int) -> list[int]:
    if sizes is None:
        sizes = sorted({max(n_isolated + 1, round(n_frames / 2**k)) for k in range(5)})
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise InputTypeError(f"sizes must be a list of numbers of frames, got {sizes!r}")
    sizes = list(sizes)
    checked = [_checks.integer("sizes", size, 1) for size in sizes]
    if not checked or checked != sorted(set(checked)) or checked[-1] > n_frames:
        raise InputError(f"sizes must rise, up to the number of training frames, {n_frames}, got {sizes}")
    return checked
