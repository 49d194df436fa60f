"""Feature columns as arrays with an axis for each index, and back."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _checks
from castile.descriptors import SOAP
from castile.errors import InputError
from castile.layouts._columns import checked_rows, flattened, floating, pair_columns, sizes_of

__all__ = ["degree_slice", "from_array", "join_degrees", "lm_index", "split_degrees", "to_array"]


def to_array(X: Any, descriptor: Any) -> npt.NDArray[Any]:
    """Give the columns of a descriptor an axis for each of their indices.

    Parameters
    ----------
    X : array of shape (..., n_features)
        Features, or derivatives of them, with any axes before the columns: what ``transform``, ``jvp``,
        ``jacobian(...).to_dense()`` or ``jacobian(...).strain`` give.
    descriptor : SphericalExpansion, RadialSpectrum or SOAP
        That they are of; only its parameters and species count.

    Returns
    -------
    ndarray
        ``SphericalExpansion``: shape (..., n_species, n_max, (l_max + 1)²), the density coefficients c[a, n, lm], with
        lm = l² + l + m. A view of X.

        ``RadialSpectrum``: shape (..., n_species, n_max). A view of X.

        ``SOAP``: shape (..., n_species, n_max, n_species, n_max, l_max + 1), the full tensor p[a, n, a', n', l] = p[a',
        n', a, n, l] = (2l + 1)^(-1/2) Σ_m c[a, n, lm] c[a', n', lm], without the √2 that unlike channels have in a row.
        A new array. Compressed power spectra have fewer axes: (n, n', l) for ``mu2``, (a, n, n', l) for ``mu1nu1`` and
        ``crossover``.

    Raises
    ------
    InputError
        If X does not have the descriptor's number of columns.
    NotFittedError
        If the descriptor does not know its species yet.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> import castile
    >>> from castile.layouts import degree_slice, to_array
    >>> water, sizes = molecule("H2O"), {"cutoff": 3.0, "n_max": 4, "l_max": 2, "species": ["H", "O"]}
    >>> expansion, soap = castile.SphericalExpansion(**sizes), castile.SOAP(**sizes)
    >>> c = to_array(expansion.transform(water), expansion)
    >>> c.shape  # atom, species, n, lm
    (3, 2, 4, 9)
    >>> p = to_array(soap.transform(water), soap)
    >>> p.shape  # atom, species, n, species, n, l
    (3, 2, 4, 2, 4, 3)
    >>> own = c[..., degree_slice(2)]
    >>> np.allclose(p[..., 2], np.einsum("ianm,ibkm->ianbk", own, own) / np.sqrt(5))
    True
    """
    sizes = sizes_of(descriptor)
    if not isinstance(descriptor, SOAP):
        rows = checked_rows(X, int(np.prod(sizes.shape)), sizes)
        return rows.reshape(*rows.shape[:-1], *sizes.shape)
    columns = pair_columns(sizes)
    rows = checked_rows(X, columns.n_columns, sizes)
    scale = np.where(columns.twice, np.sqrt(0.5), 1.0).astype(rows.dtype)
    tensor: npt.NDArray[Any] = np.take(rows * scale, columns.column(), axis=-1)
    return tensor


def from_array(array: Any, descriptor: Any) -> npt.NDArray[Any]:
    """Flatten what :func:`to_array` returns into the columns of a descriptor.

    A power spectrum's tensor p need not be symmetric: an element and its mirror image are added and divided by √2. For
    symmetric ones this is the inverse of :func:`to_array`; for others its transpose, so that a scalar's derivatives
    by all elements of the tensor become those by the columns, as ``vjp`` takes them.

    Parameters
    ----------
    array : array of shape (..., n_species, n_max, (l_max + 1)²), or the shape that belongs to the descriptor
        See :func:`to_array`.
    descriptor : SphericalExpansion, RadialSpectrum or SOAP

    Returns
    -------
    ndarray of shape (..., n_features)

    Raises
    ------
    InputError
        If the last axes are not those of the descriptor.
    """
    sizes = sizes_of(descriptor)
    if not isinstance(descriptor, SOAP):
        return flattened(array, sizes.shape, sizes.axes)
    columns = pair_columns(sizes)
    flat = flattened(array, columns.shape, columns.axes)
    scale = np.where(columns.twice, np.sqrt(0.5), 0.5).astype(flat.dtype)
    rows: npt.NDArray[Any] = (flat[..., columns.place] + flat[..., columns.mirror]) * scale
    return rows


def lm_index(degree: int, m: int) -> int:
    """Return the place of the harmonic Y_lm in an lm axis: l² + l + m.

    Parameters
    ----------
    degree : int
        l, 0 or more.
    m : int
        From -l to l.

    Examples
    --------
    >>> from castile.layouts import lm_index
    >>> [lm_index(1, m) for m in (-1, 0, 1)]  # y, z, x
    [1, 2, 3]
    """
    degree = _checks.integer("degree", degree, 0)
    m = _checks.integer("m", m, -degree)
    if m > degree:
        raise InputError(f"m must be between -{degree} and {degree} for degree {degree}, got {m}")
    return degree * degree + degree + m


def degree_slice(degree: int) -> slice:
    """Return the slice of an lm axis that holds one degree: m from -l to l.

    Parameters
    ----------
    degree : int
        l, 0 or more.

    Examples
    --------
    >>> from castile.layouts import degree_slice
    >>> degree_slice(2)
    slice(4, 9, None)
    """
    degree = _checks.integer("degree", degree, 0)
    return slice(degree * degree, (degree + 1) ** 2)


def split_degrees(coefficients: Any) -> list[npt.NDArray[Any]]:
    """Split the lm axis of density coefficients into degrees.

    Parameters
    ----------
    coefficients : array of shape (..., (l_max + 1)²)

    Returns
    -------
    list of ndarray
        Views of shape (..., 2l + 1) for l = 0, ..., l_max; m from -l to l.

    Raises
    ------
    InputError
        If the last axis is not as long as (l_max + 1)² for any l_max.

    Examples
    --------
    >>> import numpy as np
    >>> from castile.layouts import split_degrees
    >>> [part.shape for part in split_degrees(np.zeros((7, 3, 9)))]
    [(7, 3, 1), (7, 3, 3), (7, 3, 5)]
    """
    c = floating("coefficients", coefficients)
    length = c.shape[-1] if c.ndim else 0
    if length == 0 or isqrt(length) ** 2 != length:
        raise InputError(
            f"coefficients must end in an lm axis of (l_max + 1)² entries, got shape {c.shape}; to_array gives rows of "
            "SphericalExpansion that axis"
        )
    return [c[..., degree_slice(degree)] for degree in range(isqrt(length))]


def join_degrees(parts: Sequence[Any]) -> npt.NDArray[Any]:
    """Join what :func:`split_degrees` returns.

    Parameters
    ----------
    parts : sequence of arrays of shape (..., 2l + 1)
        For l = 0, 1, ..., l_max, all with the same axes before the last.

    Returns
    -------
    ndarray of shape (..., (l_max + 1)²)

    Raises
    ------
    InputError
        If a part does not have 2l + 1 entries, or the parts differ in their other axes.
    """
    arrays = [_checks.real_array(f"parts[{degree}]", part) for degree, part in enumerate(parts)]
    if not arrays:
        raise InputError("parts is empty; give at least the part of degree 0")
    for degree, array in enumerate(arrays):
        expected = (*arrays[0].shape[:-1], 2 * degree + 1)
        if array.shape != expected:
            raise InputError(f"parts[{degree}] must have shape {expected}, got {array.shape}")
    return np.concatenate(arrays, axis=-1)
