"""Rotation of density coefficients: Wigner matrices of the real spherical harmonics that Castile uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _checks
from castile._blas_threads import one_thread
from castile.errors import InputError
from castile.layouts import degree_slice, join_degrees, split_degrees

__all__ = ["rotate_coefficients", "wigner_matrices"]

FloatArray = npt.NDArray[np.float64]

_LARGEST_DEGREE = 30  # of the descriptors
_ORTHOGONALITY = 1e-9  # how far a matrix may be from orthogonal; what is off shows in the result


def wigner_matrices(rotation: Any, l_max: int) -> list[FloatArray]:
    """Return the matrices that turn real spherical harmonics: Y_l(R u) = D_l Y_l(u).

    The harmonics are those of the descriptors: orthonormal, without Condon-Shortley phase, m from -l to l, so that
    degree 1 is (y, z, x). Each entry is an integral over the sphere, D_l[m, m'] = ∫ Y_lm(R u) Y_lm'(u) du, by a
    product quadrature that is exact for it; improper rotations need no case of their own.

    Parameters
    ----------
    rotation : array of shape (3, 3)
        Orthogonal matrix R that acts on column vectors: a rotation, or a rotation with a reflection or inversion.
    l_max : int
        Highest degree, 0 to 30.

    Returns
    -------
    list of ndarray
        D_l of shape (2l + 1, 2l + 1) for l = 0, ..., l_max, orthogonal, with errors of 1e-13 at most (of those that R
        has itself, about l times). D(R S) = D(R) D(S).

    Raises
    ------
    InputError
        If ``rotation`` is not an orthogonal 3 x 3 matrix or ``l_max`` is out of range.

    References
    ----------
    Ivanic, Ruedenberg, J. Phys. Chem. 100, 6342 (1996), doi:10.1021/jp953350u, define the matrices (and
    find them by a recurrence).

    Examples
    --------
    >>> import numpy as np
    >>> from castile.rotations import wigner_matrices
    >>> quarter_turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to y, y to -x
    >>> wigner_matrices(quarter_turn, 1)[1].round(12) + 0.0  # of (y, z, x)
    array([[ 0.,  0.,  1.],
           [ 0.,  1.,  0.],
           [-1.,  0.,  0.]])
    """
    matrix = _orthogonal(rotation)
    if _checks.integer("l_max", l_max, 0) > _LARGEST_DEGREE:
        raise InputError(f"l_max must be at most {_LARGEST_DEGREE}, got {l_max}")
    u, weights = _sphere_quadrature(l_max)
    turned = _real_harmonics(u @ matrix.T, l_max)
    weighted = _real_harmonics(u, l_max) * weights
    degrees = [degree_slice(degree) for degree in range(l_max + 1)]
    with one_thread():  # several threads change bits
        return [turned[own] @ weighted[own].T for own in degrees]


def rotate_coefficients(coefficients: Any, rotation: Any) -> npt.NDArray[Any]:
    """Return the density coefficients of the rotated structure.

    A structure with positions ``positions @ R.T`` and cell ``cell @ R.T`` has the coefficients that this function makes
    from those of the structure as it was.

    Parameters
    ----------
    coefficients : array of shape (..., (l_max + 1)²)
        With lm = l² + l + m last: what :func:`castile.layouts.to_array` makes of ``SphericalExpansion`` rows. All other
        axes are left alone; a Cartesian axis of a derivative needs its own product with R.
    rotation : array of shape (3, 3)
        As for :func:`wigner_matrices`.

    Returns
    -------
    ndarray of shape (..., (l_max + 1)²)
        Of the precision of ``coefficients``.

    Raises
    ------
    InputError
        If the last axis does not hold all m of all degrees up to some l_max, or ``rotation`` is not orthogonal.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> import castile
    >>> from castile.layouts import to_array
    >>> from castile.rotations import rotate_coefficients
    >>> expansion = castile.SphericalExpansion(cutoff=3.0, n_max=2, l_max=3, species=["H", "O"])
    >>> water = molecule("H2O")
    >>> c = to_array(expansion.transform(water), expansion)
    >>> mirror = np.diag([1.0, -1.0, 1.0])
    >>> water.positions = water.positions @ mirror.T
    >>> np.allclose(to_array(expansion.transform(water), expansion), rotate_coefficients(c, mirror))
    True
    """
    parts = split_degrees(coefficients)
    matrices = wigner_matrices(rotation, len(parts) - 1)
    with one_thread():
        turned = [part @ D.T.astype(part.dtype) for part, D in zip(parts, matrices, strict=True)]
    return join_degrees(turned)


def _orthogonal(rotation: Any) -> FloatArray:
    matrix: FloatArray = _checks.real_array("rotation", rotation).astype(np.float64)
    if matrix.shape != (3, 3):
        raise InputError(f"rotation must be a matrix of shape (3, 3), got shape {matrix.shape}")
    defect = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if not defect <= _ORTHOGONALITY:
        raise InputError(
            f"rotation must be orthogonal, but R Rᵀ differs from 1 by {defect:.1e}; the nearest orthogonal matrix is "
            "u @ v of u, _, v = numpy.linalg.svd(rotation)"
        )
    return matrix


def _sphere_quadrature(l_max: int) -> tuple[FloatArray, FloatArray]:
    """Return points (n, 3) and weights (n,) that integrate products of two harmonics up to ``l_max`` exactly."""
    z, z_weights = np.polynomial.legendre.leggauss(l_max + 1)
    n_turns = 2 * l_max + 1
    phi = 2 * np.pi * np.arange(n_turns) / n_turns
    sine = np.sqrt(1 - z**2)[:, None]
    x, y, z = np.broadcast_arrays(sine * np.cos(phi), sine * np.sin(phi), z[:, None])
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    return points, np.repeat(z_weights * 2 * np.pi / n_turns, n_turns)


def _real_harmonics(u: FloatArray, l_max: int) -> FloatArray:
    """Return Y_lm at unit vectors (n, 3), shape ((l_max + 1)², n).

    Of normalized Legendre functions divided by sin^m, and of (x + iy)^m, so that poles are no special case.
    """
    result = np.empty(((l_max + 1) ** 2, len(u)))
    z = u[:, 2]
    in_plane = u[:, 0] + 1j * u[:, 1]
    azimuth = np.ones(len(u), dtype=complex)
    norm = np.sqrt(0.25 / np.pi)
    for m in range(l_max + 1):
        if m > 0:
            azimuth = azimuth * in_plane
            norm *= np.sqrt((2 * m + 1) / (2 * m)) * (np.sqrt(2) if m == 1 else 1.0)
        previous, legendre, damping = np.zeros(len(u)), np.full(len(u), norm), 0.0
        for degree in range(m, l_max + 1):
            middle = degree * degree + degree
            result[middle - m] = legendre * azimuth.imag
            result[middle + m] = legendre * azimuth.real  # for m = 0 this is the one that stays
            growth = np.sqrt((4 * (degree + 1) ** 2 - 1) / ((degree + 1) ** 2 - m**2))
            previous, legendre = legendre, growth * (z * legendre - damping * previous)
            damping = 1.0 / growth
    return result
