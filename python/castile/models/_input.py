"""Checks of what models are given, and scikit-learn's complaints as errors of our own classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from castile.errors import CastileError, InputError, InputTypeError, NotFittedError
from castile.kernels._groups import group_numbers
from castile.kernels._rows import as_rows, check_finite, require_rows

__all__ = [
    "TrainingData",
    "castile_errors",
    "check_new_rows",
    "check_scored",
    "check_training_data",
    "require_fitted",
    "require_groups",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NUMBERS = {"accept_sparse": "csr", "dtype": np.float64, "ensure_all_finite": False}  # which we check ourselves


class TrainingData(NamedTuple):
    """Rows and targets, checked."""

    rows: Any
    """(n_rows, n_features), an array or a CSR array; may share the memory of the user's."""
    targets: FloatArray
    """(n_targets,) or (n_targets, n_outputs); a copy."""
    numbers: IntArray | None
    """(n_rows,), the target that each row belongs to; None if each row has its own."""
    weights: FloatArray | None
    """(n_targets,), zero also for targets without rows; None if all count alike."""

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return len(self.targets)

    def rows_apart_from(self, X: Any) -> Any:
        """Return the rows in memory of their own, since X may be changed later."""
        own, other = self.rows, X
        if scipy.sparse.issparse(own):
            own, other = own.data, getattr(X, "data", None)
        shared = isinstance(other, np.ndarray) and np.may_share_memory(own, other)
        return self.rows.copy() if shared else self.rows


@contextmanager
def castile_errors() -> Iterator[None]:
    """Raise scikit-learn's complaints as our own classes."""
    try:
        yield
    except CastileError:
        raise
    except SklearnNotFittedError as error:
        raise NotFittedError(str(error)) from error
    except TypeError as error:
        raise InputTypeError(str(error)) from error
    except ValueError as error:
        raise InputError(str(error)) from error


def check_training_data(
    model: Any, X: Any, y: Any, *, sample_weight: Any, groups: Any, n_groups: Any, square: bool
) -> TrainingData:
    """Check the arguments of ``model.fit``, and let scikit-learn note the features' number and names.

    Raises
    ------
    InputError, InputTypeError
        For arrays that cannot be used, or do not fit each other; ``square`` asks for a kernel matrix.
    """
    require_rows(X, "X")
    require_groups(groups, n_groups)
    if groups is None:
        _check_one_target_per_row(X, y)
    with castile_errors():
        if y is None:
            validate_data(model, X, y, **_NUMBERS)  # says that y is missing
        X = validate_data(model, X, **_NUMBERS)
        # A copy: the leave-one-out predictions need the targets later.
        y = check_array(
            y, ensure_2d=False, allow_nd=True, dtype=np.float64, copy=True, ensure_all_finite=False, input_name="y"
        )
    rows = as_rows(X, "X")
    check_finite(y, "y")
    if y.ndim > 2:
        raise InputError(f"y must have shape (n_targets,) or (n_targets, n_outputs), got {y.shape}")
    if square and rows.shape[0] != rows.shape[1]:
        raise InputError(
            f"X must be the square kernel matrix of all training rows with kernel='precomputed', got shape {rows.shape}"
        )
    if square and not _is_symmetric(rows):
        raise InputError("X must be a symmetric kernel matrix with kernel='precomputed', but X and X.T differ")
    if groups is None:
        _check_one_target_per_row(rows, y)
        return TrainingData(rows, y, None, _checked_weights(sample_weight, len(y)))
    numbers = _target_of_rows(groups, n_groups, rows.shape[0], len(y))
    weights = _checked_weights(sample_weight, len(y))
    return TrainingData(rows, y, numbers, _without_empty(weights, np.bincount(numbers, minlength=len(y))))


def check_new_rows(model: Any, X: Any, *, allow_none: bool) -> Any:
    """Return rows of as many columns as ``model`` was fitted to, as an array or a CSR array."""
    require_fitted(model)
    require_rows(X, "X")
    with castile_errors():
        rows = check_array(X, ensure_min_samples=0 if allow_none else 1, **_NUMBERS)
    rows = as_rows(rows, "X", allow_none=allow_none)
    with castile_errors():
        validate_data(model, X, reset=False, skip_check_array=True)
    return rows


def require_fitted(model: Any) -> None:
    """Raise NotFittedError before ``fit``."""
    with castile_errors():
        check_is_fitted(model)


def require_groups(groups: Any, n_groups: Any) -> None:
    """Raise InputError for a number of groups without groups."""
    if groups is None and n_groups is not None:
        raise InputError("n_groups was given without groups; pass groups=soap.samples(frames) too, or neither")


def check_scored(y: Any, n_predictions: int, grouped: bool) -> None:
    """Raise InputError unless there is a target for each prediction."""
    n_targets = _length(y)
    if n_targets not in (None, n_predictions):
        remedy = "; for structures without rows pass n_groups=len(y)" if grouped else ""
        raise InputError(
            f"y must hold one target per {'group' if grouped else 'row of X'}, got {n_targets} targets for "
            f"{n_predictions} predictions{remedy}"
        )


def _length(array: Any) -> int | None:
    """Return the length of what may be no array yet, or None if it has none."""
    shape = getattr(array, "shape", None)
    if shape:
        return int(shape[0])
    return len(array) if hasattr(array, "__len__") else None


def _check_one_target_per_row(X: Any, y: Any) -> None:
    n_rows, n_targets = _length(X), _length(y)
    if n_rows is not None and n_targets is not None and n_rows != n_targets:
        raise InputError(
            f"y must hold one target per row of X, got {n_rows} rows for {n_targets} targets; for local rows pass "
            "groups=soap.samples(frames), or make one row per structure with average='outer' or 'inner' of the "
            "descriptor; if X has one already, give as many targets"
        )


def _target_of_rows(groups: Any, n_groups: Any, n_rows: int, n_targets: int) -> IntArray:
    # Samples may skip frames, since the number of targets shows which are meant.
    numbers, n = group_numbers(groups, n_rows, n_groups, subset=True)
    if n == n_targets:
        return numbers
    if n_groups is not None:
        raise InputError(f"n_groups must be the number of targets, got n_groups={n} for {n_targets} targets in y")
    found = f"y must hold one target per group, got {n_targets} targets"
    if n_targets == n_rows:
        raise InputError(
            f"{found}, one per row, for the {n} different labels of groups; drop groups= to fit a target per row"
        )
    raise InputError(
        f"{found} for the {n} different labels of groups; if structures have no rows, pass n_groups=len(y), with "
        f"groups that count the structures from 0, as soap.samples(frames) does"
    )


def _checked_weights(sample_weight: Any, n_targets: int) -> FloatArray | None:
    if sample_weight is None:
        return None
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"sample_weight must hold real numbers: {error}") from error
    if weights.ndim == 0:
        weights = np.full(n_targets, weights)
    if weights.shape != (n_targets,):
        raise InputError(
            f"sample_weight must hold one number per target, shape ({n_targets},), got shape {weights.shape}"
        )
    check_finite(weights, "sample_weight")
    if (weights < 0.0).any():
        index = int(np.argmax(weights < 0.0))
        raise InputError(f"sample_weight must not be negative, got sample_weight[{index}] = {weights[index]}")
    if not weights.any():
        raise InputError("sample_weight must have an entry above 0, but all are zero")
    return weights


def _without_empty(weights: FloatArray | None, n_rows_of_targets: IntArray) -> FloatArray | None:
    """Return weights that are zero for targets without rows, whose prediction is zero whatever is fitted."""
    has_rows = n_rows_of_targets > 0
    if has_rows.all():
        return weights
    weights = has_rows.astype(np.float64) if weights is None else weights * has_rows
    if not weights.any():
        raise InputError("sample_weight must have an entry above 0 for a structure that has rows, but all are zero")
    return weights


def _is_symmetric(matrix: Any) -> bool:
    """Return whether the two triangles agree to what rounding, of single precision too, may leave."""
    difference = abs(matrix - matrix.T).max()
    return bool(difference <= 1e-5 * abs(matrix).max())
