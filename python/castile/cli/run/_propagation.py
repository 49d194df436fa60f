"""Standard deviations of results that follow from uncertain numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from castile.errors import InputError

__all__ = ["propagated"]

FloatArray = npt.NDArray[np.float64]


def propagated(
    results: Callable[[FloatArray], Mapping[str, float]], mean: FloatArray, covariance: FloatArray
) -> dict[str, float] | None:
    """Return the standard deviations of functions of normal variables, to first order.

    Parameters
    ----------
    results : callable
        From n numbers to results by name.
    mean : ndarray of shape (n,)
    covariance : ndarray of shape (n, n)

    Returns
    -------
    dict of str to float, or None
        The root of the sum of squares of half the differences between one standard deviation up and down, along each
        principal axis of the covariance. None if there are no results at one of these places (InputError): the
        uncertainty is then larger than what the results are taken from.
    """
    values, axes = np.linalg.eigh(covariance)
    variances: dict[str, float] = {}
    for value, axis in zip(values.tolist(), axes.T, strict=True):
        if value <= 1e-14 * float(values[-1]):  # rounding
            continue
        shift = np.sqrt(value) * axis
        try:
            up, down = results(mean + shift), results(mean - shift)
        except InputError:
            return None
        for name in up:
            variances[name] = variances.get(name, 0.0) + (0.5 * (up[name] - down[name])) ** 2
    if not np.isfinite(list(variances.values())).all():
        return None
    return {name: float(np.sqrt(variance)) for name, variance in variances.items()}
