"""Checks of what users give as rows of features."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse

from castile.errors import InputError, InputTypeError
from castile.structures import is_single_frame

__all__ = ["as_rows", "check_columns", "check_finite", "check_zeta", "require_rows"]

_MAKE_ROWS = "descriptor.transform(frames) gives the rows of all structures as one matrix"


def check_zeta(zeta: Any) -> float:
    """Return the power as a float; raise unless it is a number above zero."""
    if isinstance(zeta, (bool, np.bool_)) or not isinstance(zeta, Real):
        raise InputTypeError(f"zeta must be a number above 0, got {zeta!r}")
    try:
        power = float(zeta)
    except OverflowError:  # of an integer
        power = np.inf
    if not (power > 0.0 and np.isfinite(power)):
        raise InputError(f"zeta must be a finite number above 0, got {zeta!r}")
    return power


def as_rows(X: Any, name: str, *, allow_none: bool = False) -> Any:
    """Return finite rows, (n_rows, n_features), as a contiguous float64 array or a CSR array.

    Parameters
    ----------
    X : array-like or SciPy sparse matrix of shape (n_rows, n_features)
    name : str
        What the user calls it, for messages.
    allow_none : bool
        Whether there may be no rows at all.

    Raises
    ------
    InputError, InputTypeError
        For another shape, for numbers that are not finite, and for what is no array of numbers.
    """
    require_rows(X, name)
    if scipy.sparse.issparse(X):
        rows = scipy.sparse.csr_array(X, dtype=np.float64)
    else:
        if np.iscomplexobj(X):
            raise InputTypeError(f"{name} must be an array of real numbers, got complex ones")
        try:
            rows = np.asarray(X, dtype=np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise InputTypeError(f"{name} must be an array of real numbers: {error}; {_MAKE_ROWS}") from error
        if rows.ndim != 2:
            remedy = f"a single row is {name}.reshape(1, -1)" if rows.ndim < 2 else _MAKE_ROWS
            raise InputError(f"{name} must have shape (n_rows, n_features), got {rows.shape}; {remedy}")
    if rows.shape[1] == 0 or (rows.shape[0] == 0 and not allow_none):
        raise InputError(f"{name} must have at least one row and one column, got {rows.shape}")
    check_finite(rows, name)
    return rows


def require_rows(X: Any, name: str) -> None:
    """Raise InputTypeError for structures, text, or lists of unequal lengths in the place of rows."""
    if scipy.sparse.issparse(X) or not isinstance(X, Iterable):
        return
    if isinstance(X, str) or (isinstance(X, (list, tuple)) and X and isinstance(X[0], str)):
        raise InputTypeError(f"{name} must be rows of numbers, got text, {X!r:.60}; {_MAKE_ROWS}")
    if is_single_frame(X) or (getattr(X, "ndim", 1) == 1 and is_single_frame(next(iter(X), None))):
        raise InputTypeError(
            f"{name} must be rows of numbers, shape (n_rows, n_features), got structures; {_MAKE_ROWS}"
        )
    if isinstance(X, (list, tuple)):
        listed = (row for row in X if isinstance(row, (list, tuple)) or getattr(row, "ndim", 0) > 0)
        lengths = sorted({row.shape[0] if hasattr(row, "shape") else len(row) for row in listed})
        if len(lengths) > 1:
            raise InputTypeError(
                f"{name} must be rows of numbers, all of one length, got lengths from {lengths[0]} to "
                f"{lengths[-1]}; {_MAKE_ROWS}"
            )


def check_columns(rows: Any, other: Any) -> None:
    """Raise InputError unless both have as many columns."""
    if rows.shape[1] != other.shape[1]:
        raise InputError(
            f"X and Y must have the same number of columns, got {rows.shape[1]} and "
            f"{other.shape[1]}; compute both with the same fitted descriptor"
        )


def check_finite(array: Any, name: str) -> None:
    """Raise InputError, naming the first bad entry, unless all numbers are finite."""
    sparse = scipy.sparse.issparse(array)
    values = array.data if sparse else array
    if np.isfinite(np.sum(values)) or np.isfinite(values).all():
        return
    bad = np.argwhere(~np.isfinite(values))[0]
    value = values[tuple(bad)]
    text = "NaN" if np.isnan(value) else "inf" if value > 0 else "-inf"
    if sparse:
        where = [int(np.searchsorted(array.indptr, bad[0], side="right")) - 1]
        where.append(int(array.indices[bad[0]]))
    else:
        where = [int(index) for index in bad]
    raise InputError(f"{name} must be finite (no NaN, no inf), but {name}{where} is {text}; remove or repair that row")
