"""The kernels that a model evaluates: the SOAP kernel of our own, and all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn import config_context
from sklearn.metrics.pairwise import kernel_metrics, pairwise_kernels

from castile import _checks
from castile._memory import require_memory
from castile.errors import InputError, InputTypeError
from castile.kernels._blocks import DotProduct, kernel_of_rows, kernel_sums, rows_per_block
from castile.kernels._groups import GroupedRows
from castile.kernels._rows import check_finite, check_zeta
from castile.models._input import TrainingData, castile_errors
from castile.models._power_kernel import PowerKernel
from castile.progress import track

__all__ = ["choose_kernel"]

FloatArray = npt.NDArray[np.float64]

KernelBlock = tuple[slice, FloatArray]
"""Some rows, and their kernel with all fitted rows."""

_BLOCK_ROWS = 64  # one shape, so that BLAS sums in one order


def choose_kernel(model: Any) -> SoapKernel | OtherKernel:
    """Return what the parameters of a model name, checked."""
    if model.kernel == "soap":
        return SoapKernel(DotProduct(check_zeta(model.zeta), _checks.flag("normalize", model.normalize)))
    if callable(model.kernel):
        if model.kernel_params is not None and not isinstance(model.kernel_params, Mapping):
            raise InputTypeError(f"kernel_params must be None or a dict of arguments, got {model.kernel_params!r}")
        return OtherKernel(model.kernel, model.kernel_params or {})
    return OtherKernel(model.kernel, {"gamma": model.gamma, "degree": model.degree, "coef0": model.coef0})


class SoapKernel:
    """The kernel of :func:`castile.kernels.soap_kernel`."""

    def __init__(self, kernel: DotProduct) -> None:
        self._kernel = kernel

    def gram(self, data: TrainingData, progress: bool) -> FloatArray:
        """Return the kernel's sums over the rows of two targets, (n_targets, n_targets)."""
        if data.numbers is None:
            return kernel_of_rows(data.rows, data.rows, self._kernel, progress=progress)
        grouped = GroupedRows.sort(data.rows, data.numbers, data.n_targets)
        return kernel_sums(grouped, grouped, self._kernel, progress=progress)

    def blocks(self, rows: Any, fitted: Any) -> Iterator[tuple[int, KernelBlock]]:
        """Yield (number of rows, block) in order."""
        length = rows_per_block(*fitted.shape)
        for first in range(0, rows.shape[0], length):
            block = rows[first : first + length]
            K = kernel_of_rows(block, fitted, self._kernel)
            yield len(K), (slice(first, first + len(K)), K)

    def derivative(self, fitted: Any) -> PowerKernel:
        """Return what differentiates the kernel with the fitted rows."""
        return PowerKernel(fitted, self._kernel)


class OtherKernel:
    """A kernel of scikit-learn's, a function of the user's, or rows that hold the values themselves.

    Parameters
    ----------
    kernel : str or callable
    parameters : mapping
        Keyword arguments; pairwise kernels take those that they have.
    """

    def __init__(self, kernel: str | Callable[..., Any], parameters: Mapping[str, Any]) -> None:
        if not callable(kernel):
            names = ["soap", "precomputed", *sorted(kernel_metrics())]
            if kernel not in names:
                raise InputError(f"kernel must be a callable or one of {', '.join(names)}, got {kernel!r}")
        self._kernel = kernel
        self._parameters = parameters

    def gram(self, data: TrainingData, progress: bool) -> FloatArray:
        """Return the kernel's sums over the rows of two targets, (n_targets, n_targets)."""
        n = data.n_targets
        require_memory(8 * n * n, f"the {n} x {n} kernel matrix", "fit fewer targets")
        gram = np.zeros((n, n))
        n_rows = data.rows.shape[0]
        blocks = track(self.blocks(data.rows, data.rows), n_rows, "kernel", progress)
        if data.numbers is None:
            for own, K in blocks:
                gram[own] = K
            return gram
        ones, offsets = np.ones(n_rows), np.arange(n_rows + 1)
        members = scipy.sparse.csr_array((ones, data.numbers, offsets), shape=(n_rows, n))
        for own, K in blocks:
            np.add.at(gram, data.numbers[own], K @ members)
        return gram

    def blocks(self, rows: Any, fitted: Any) -> Iterator[tuple[int, KernelBlock]]:
        """Yield (number of rows, block) in order."""
        n_rows = rows.shape[0]
        for first in range(0, n_rows, _BLOCK_ROWS):
            # The last block repeats its last row.
            members = np.minimum(np.arange(first, first + _BLOCK_ROWS), n_rows - 1)
            K = np.ascontiguousarray(self._evaluate(rows[members], fitted)[: n_rows - first])
            yield len(K), (slice(first, first + len(K)), K)

    def derivative(self, fitted: Any) -> PowerKernel:
        """Return what differentiates the kernel with the fitted rows; raise unless it is linear."""
        if self._kernel != "linear":
            raise InputError(
                f"gradient knows the derivative of kernel='soap' and 'linear' alone, got "
                f"kernel={self._kernel!r}; fit with one of these"
            )
        return PowerKernel(fitted, DotProduct(1.0, False))

    def _evaluate(self, rows: Any, fitted: Any) -> FloatArray:
        if self._kernel == "precomputed":
            return np.asarray(rows.toarray() if scipy.sparse.issparse(rows) else rows)
        if not callable(self._kernel):
            with castile_errors(), config_context(assume_finite=True):  # as has been checked, once
                return np.asarray(
                    pairwise_kernels(rows, fitted, metric=self._kernel, filter_params=True, **self._parameters)
                )
        K = np.asarray(self._kernel(rows, fitted, **self._parameters), dtype=np.float64)
        expected = (rows.shape[0], fitted.shape[0])
        if K.shape != expected:
            raise InputError(
                f"kernel must return the matrix of shape (len(X), len(Y)) = {expected}, "
                f"got shape {K.shape}; a function of two rows goes through "
                f"functools.partial(sklearn.metrics.pairwise.pairwise_kernels, metric=f)"
            )
        check_finite(K, "kernel(X, Y)")
        return K
