"""Kernel ridge regression on rows, or on sums of rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import kernel_metrics, pairwise_kernels
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from castile import _core
from castile._memory import require_memory
from castile.errors import CastileError, InputError, InputTypeError, NotFittedError
from castile.kernels import (
    GroupedRows,
    as_rows,
    check_finite,
    check_zeta,
    group_indices,
    kernel_of_rows,
    kernel_sums,
    require_rows,
)
from castile.models._power_kernel import PowerKernel

__all__ = ["KernelRidge"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BLOCK_BYTES = 1 << 25  # of the kernel matrix that a prediction holds at a time
_BLOCK_ROWS = 64  # of kernels that are not ours: one shape, so that BLAS sums in one order


class KernelRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Kernel ridge regression with the SOAP kernel, on structures or on their local environments.

    Without groups every row has a target, as in :class:`sklearn.kernel_ridge.KernelRidge`, whose
    results it gives for the same kernel. With groups the rows are local environments, a target
    belongs to a group of them (the energy of a structure), and a prediction is the sum of what its
    rows contribute.

    Parameters
    ----------
    alpha : float, default=1e-6
        Regularization, zero or more: the variance of the noise over that of the function, in units
        of the kernel, which is one between equal environments. It is small by default, as energies
        are free of noise.
    kernel : str or callable, default="soap"
        ``"soap"``: :func:`castile.kernels.soap_kernel`; ``"precomputed"``: rows hold kernel values
        with the training rows; a name of :func:`sklearn.metrics.pairwise.pairwise_kernels`, such as
        ``"rbf"``; or ``f(X, Y, **kernel_params)``, which returns the matrix of shape
        (len(X), len(Y)).
    zeta : float, default=2
        Power of the SOAP kernel, above zero.
    normalize : bool, default=True
        Whether the SOAP kernel divides rows by their norms.
    gamma, degree, coef0 : float, default=None, 3, 1
        Of the pairwise kernels that have them.
    kernel_params : dict, optional
        Keyword arguments of a callable kernel.
    loo : bool, default=True
        Compute the leave-one-out residuals in ``fit``, which doubles the cost of the factorization.

    Attributes
    ----------
    dual_coef_ : ndarray of shape (n_targets,) or (n_targets, n_outputs)
        Coefficient of each training row or, with groups, of each group.
    X_fit_ : ndarray or CSR array of shape (n_rows, n_features)
        The training rows; the kernel matrix if it was precomputed.
    group_indices_ : ndarray of shape (n_rows,), or None
        The number of each training row's group.
    loo_residuals_ : ndarray of shape (n_targets,) or (n_targets, n_outputs)
        Target minus the prediction of a model fitted to all others (with groups: to all other
        groups), in closed form; only with ``loo``.
    n_features_in_ : int
        Number of columns seen in ``fit``.

    Notes
    -----
    With the Gram matrix K and targets y, the coefficients are :math:`c = (K + \alpha I)^{-1} y`,
    and the leave-one-out residuals :math:`c_i / [(K + \alpha I)^{-1}]_{ii}`. Weights multiply the
    squared residuals of the fit. Targets have no offset taken off: subtract composition energies,
    or the mean, beforehand. With the SOAP kernel or a precomputed one, the bits of a prediction do
    not depend on the other rows or on the number of threads.

    References
    ----------
    Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115; the
    leave-one-out formula: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
    section 5.4.2.

    Examples
    --------
    >>> import numpy as np
    >>> import castile
    >>> rows = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> model = castile.KernelRidge(alpha=1e-8).fit(rows, [1.0, 3.0, 2.0])
    >>> model.predict(rows).round(3)
    array([1., 3., 2.])

    Energies of two structures, of two atoms and of one, and what their atoms contribute:

    >>> model = castile.KernelRidge(alpha=1e-8).fit(rows, [4.0, 2.0], groups=[0, 0, 1])
    >>> model.predict(rows, groups=[0, 0, 1]).round(3)
    array([4., 2.])
    >>> model.predict(rows).shape
    (3,)
    """

    def __init__(
        self,
        alpha: float = 1e-6,
        *,
        kernel: str | Callable[..., Any] = "soap",
        zeta: float = 2,
        normalize: bool = True,
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict[str, Any] | None = None,
        loo: bool = True,
    ) -> None:
        self.alpha = alpha
        self.kernel = kernel
        self.zeta = zeta
        self.normalize = normalize
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.loo = loo

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> KernelRidge:
        """Fit to targets of rows, or of groups of rows.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_rows, n_features)
            One row per target; with groups, local rows. For ``kernel="precomputed"`` the kernel
            matrix of all rows, shape (n_rows, n_rows).
        y : array-like of shape (n_targets,) or (n_targets, n_outputs)
            Targets of the rows; with groups one per group, in the order in which the groups first
            appear in ``groups`` (for ``soap.samples(frames)["frame"]``: the order of the frames).
        sample_weight : float or array-like of shape (n_targets,), optional
            Weights of the targets' squared residuals, zero or more. To ask for an error per atom of
            structures of n atoms, pass ``1 / n**2``.
        groups : array-like of shape (n_rows,), optional
            A label per row, or ``soap.samples(frames)``, whose field ``frame`` is taken.

        Returns
        -------
        KernelRidge
            The fitted model itself.

        Raises
        ------
        InputError
            For parameters or arrays that cannot be used, and if the kernel matrix plus ``alpha`` is
            not positive definite.
        """
        alpha = self._check_parameters()
        require_rows(X, "X")
        rows, targets, indices, n_targets = self._check_training_data(X, y, groups)
        weights = _check_weights(sample_weight, n_targets)
        with threadpool_limits(1, user_api="blas"):  # several threads change bits
            gram = self._gram(rows, indices, n_targets)
            coefficients, residuals = _solve(gram, targets, alpha, weights, bool(self.loo))
        # A later change of the caller's array must not change the model.
        shared = self.kernel != "precomputed" and _shares_memory(rows, X)
        self.X_fit_ = rows.copy() if shared else rows
        self.group_indices_ = indices
        self.dual_coef_ = coefficients
        self._targets = targets
        if residuals is not None:
            self.loo_residuals_ = residuals
        elif hasattr(self, "loo_residuals_"):
            del self.loo_residuals_
        return self

    def predict(self, X: Any, groups: Any = None) -> FloatArray:
        """Predict the targets of rows, or their sums over groups.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_rows, n_features)
            Rows; for ``kernel="precomputed"`` their kernel with the training rows.
        groups : array-like of shape (n_rows,), optional
            A label per row, or ``soap.samples(frames)``. Labels need not have been seen in ``fit``.
            Without them every row is predicted by itself: after a fit with groups, its
            contribution.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_outputs)
            With groups one entry per group, in the order of their first appearance.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InputError
            For rows with another number of columns than in ``fit``, or that are not finite, and for
            groups that are not one label per row.
        """
        rows = self._check_new_rows(X)
        n_rows = rows.shape[0]
        of_groups = None if groups is None else group_indices(groups, n_rows)
        columns = np.ascontiguousarray(self._row_coefficients().T)
        result = np.empty((n_rows, len(columns)))
        with threadpool_limits(1, user_api="blas"):
            for first, K in self._kernel_blocks(rows):
                # Our product sums in the same order for any number of rows.
                result[first : first + len(K)] = _core.dot_product_kernel(K, columns, 1.0, False)
        if of_groups is not None:
            local, (indices, labels) = result, of_groups
            result = np.zeros((len(labels), len(columns)))
            np.add.at(result, indices, local)
        return result.reshape(len(result), *self.dual_coef_.shape[1:])

    def gradient(self, X: Any) -> FloatArray:
        r"""Differentiate what each row contributes to the prediction with respect to that row.

        Row i contributes :math:`f(x_i) = \sum_q c_q k(x_i, q)`, a sum over the training rows, so that
        :math:`\partial f / \partial x_i = \sum_q c_q \, \partial k(x_i, q) / \partial x_i`. For the
        SOAP kernel, with :math:`\hat x = x / |x|`,

        .. math::

            \frac{\partial f}{\partial x} = \frac{1}{|x|} (v - (\hat x \cdot v) \, \hat x),
            \qquad v = \sum_q c_q \zeta (\hat x \cdot \hat q)^{\zeta - 1} \hat q,

        and :math:`\partial f / \partial x = v` with x and q as they are if ``normalize=False``. A
        prediction of groups is the sum over its rows: its derivative with respect to a row is the
        same, and needs no groups. Handed to the ``vjp`` of the descriptor that made the rows, it
        gives forces and stresses.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_rows, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_rows, n_features) or (n_rows, n_features, n_outputs)
            Zero for a row of zeros if rows are normalized, as the kernel has no derivative there, and
            from products of rows that are not positive if ``zeta`` is no integer. The bits of a row
            do not depend on the other rows or on the number of threads.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InputError
            For another kernel than ``"soap"`` or ``"linear"``, and for rows as in :meth:`predict`.
        MemoryLimitError
            If the result would not fit into memory.

        Examples
        --------
        >>> from ase.build import molecule
        >>> import castile
        >>> frames = [molecule("H2O"), molecule("NH3")]
        >>> soap = castile.SOAP(cutoff=3.0, n_max=3, l_max=2)
        >>> X, rows = soap.fit_transform(frames), soap.samples(frames)
        >>> model = castile.KernelRidge().fit(X, [-1.0, 1.0], groups=rows)
        >>> forces = -soap.vjp(frames, model.gradient(X)).positions
        >>> forces.shape
        (7, 3)
        """
        if self.kernel not in ("soap", "linear"):
            raise InputError(
                f"gradient knows the derivative of kernel='soap' and 'linear' alone, got "
                f"kernel={self.kernel!r}; fit with one of these"
            )
        rows = self._check_new_rows(X)
        (n_rows, n_features), coefficients = rows.shape, self._row_coefficients()
        shape = (n_rows, n_features, coefficients.shape[1])
        require_memory(8 * int(np.prod(shape, dtype=object)), "the gradient", "take fewer rows at a time")
        result = np.empty(shape)
        soap = self.kernel == "soap"
        kernel = PowerKernel(self.X_fit_, check_zeta(self.zeta) if soap else 1.0, soap and self.normalize)
        length = max(_BLOCK_ROWS, _BLOCK_BYTES // (8 * max(self.X_fit_.shape)))
        for first in range(0, n_rows, length):
            block = rows[first : first + length]
            dense = block.toarray() if scipy.sparse.issparse(block) else block
            for output, weights in enumerate(coefficients.T):
                result[first : first + length, :, output] = kernel.gradient(dense, weights)
        return result.reshape(n_rows, n_features, *self.dual_coef_.shape[1:])

    def score(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> float:
        """Return the coefficient of determination R² of the prediction.

        Parameters
        ----------
        X, y, sample_weight, groups
            As of :meth:`fit`.

        Returns
        -------
        float
        """
        return float(r2_score(y, self.predict(X, groups), sample_weight=sample_weight))

    def loo_predictions(self) -> FloatArray:
        """Return each training target as predicted by a model fitted to all others.

        Returns
        -------
        ndarray of shape (n_targets,) or (n_targets, n_outputs)
        """
        residuals = self._residuals()
        return np.asarray(self._targets - residuals)

    def loo_rmse(self) -> Any:
        """Return the root mean square leave-one-out residual: a float, or one per output."""
        return np.sqrt(np.mean(self._residuals() ** 2, axis=0))

    def loo_mae(self) -> Any:
        """Return the mean absolute leave-one-out residual: a float, or one per output."""
        return np.mean(np.abs(self._residuals()), axis=0)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.target_tags.multi_output = True
        # (p.p')^2 is even: made for power spectra, not for the centered data of the generic checks.
        tags.regressor_tags.poor_score = self.kernel == "soap"
        return tags

    def _check_new_rows(self, X: Any) -> Any:
        """Return rows of as many columns as in fit, for a model that is fitted."""
        with _castile_errors():
            check_is_fitted(self)
        require_rows(X, "X")
        with _castile_errors():
            rows = check_array(X, accept_sparse="csr", dtype=np.float64, ensure_all_finite=False)
        rows = as_rows(rows, "X")
        with _castile_errors():
            validate_data(self, X, reset=False, skip_check_array=True)
        return rows

    def _row_coefficients(self) -> FloatArray:
        """Return the coefficient of each training row, (n_training_rows, n_outputs)."""
        coefficients = self.dual_coef_.reshape(len(self.dual_coef_), -1)
        if self.group_indices_ is not None:
            coefficients = coefficients[self.group_indices_]
        return np.asarray(coefficients)

    def _residuals(self) -> FloatArray:
        with _castile_errors():
            check_is_fitted(self)
        if not hasattr(self, "loo_residuals_"):
            raise InputError("loo must be True in fit for leave-one-out residuals, got False")
        return np.asarray(self.loo_residuals_)

    def _check_parameters(self) -> float:
        if isinstance(self.alpha, (bool, np.bool_)) or not isinstance(self.alpha, Real):
            raise InputTypeError(f"alpha must be a number of 0 or more, got {self.alpha!r}")
        alpha = float(self.alpha)
        if not (alpha >= 0.0 and np.isfinite(alpha)):
            raise InputError(f"alpha must be a finite number of 0 or more, got {self.alpha!r}")
        if self.kernel == "soap":
            check_zeta(self.zeta)
        elif not callable(self.kernel):
            names = ["soap", "precomputed", *sorted(kernel_metrics())]
            if self.kernel not in names:
                raise InputError(
                    f"kernel must be a callable or one of {', '.join(names)}, got {self.kernel!r}"
                )
        return alpha

    def _check_training_data(
        self, X: Any, y: Any, groups: Any
    ) -> tuple[Any, FloatArray, IntArray | None, int]:
        if groups is None:
            _check_lengths(X, y)
        options = {"accept_sparse": "csr", "dtype": np.float64, "ensure_all_finite": False}
        with _castile_errors():
            if y is None:
                validate_data(self, X, y, **options)  # says that y is missing
            X = validate_data(self, X, **options)
            # A copy: the leave-one-out predictions need the targets later.
            y = check_array(
                y,
                ensure_2d=False,
                allow_nd=True,
                dtype=np.float64,
                copy=True,
                ensure_all_finite=False,
                input_name="y",
            )
        rows = as_rows(X, "X")
        n_rows = rows.shape[0]
        check_finite(y, "y")
        if y.ndim > 2:
            raise InputError(
                f"y must have shape (n_targets,) or (n_targets, n_outputs), got {y.shape}"
            )
        if self.kernel == "precomputed" and n_rows != rows.shape[1]:
            raise InputError(
                f"X must be the square kernel matrix of all training rows with "
                f"kernel='precomputed', got shape {rows.shape}"
            )
        if groups is None:
            _check_lengths(rows, y)
            return rows, y, None, n_rows
        indices, labels = group_indices(groups, n_rows)
        if len(y) == n_rows != len(labels):
            raise InputError(
                f"y must hold one target per group, got {len(y)} targets, one per row, for the "
                f"{len(labels)} different labels of groups; drop groups= to fit a target per row"
            )
        if len(labels) != len(y):
            raise InputError(
                f"y must hold one target per group, got {len(y)} targets for the {len(labels)} "
                f"different labels of groups; a structure without any row cannot be fitted: "
                f"leave its target out"
            )
        return rows, y, indices, len(labels)

    def _gram(self, rows: Any, indices: IntArray | None, n_targets: int) -> FloatArray:
        if self.kernel == "soap":
            zeta = check_zeta(self.zeta)
            if indices is None:
                return kernel_of_rows(rows, rows, zeta, self.normalize)
            grouped = GroupedRows(rows, indices, n_targets)
            return kernel_sums(grouped, grouped, zeta, self.normalize)
        if indices is None:
            return np.array(self._other_kernel(rows, rows))
        members = scipy.sparse.csr_array(
            (np.ones(len(indices)), indices, np.arange(len(indices) + 1)),
            shape=(len(indices), n_targets),
        )
        gram = np.zeros((n_targets, n_targets))
        for first, K in self._kernel_blocks(rows, rows):
            np.add.at(gram, indices[first : first + len(K)], K @ members)
        return gram

    def _kernel_blocks(self, rows: Any, fitted: Any = None) -> Iterator[tuple[int, FloatArray]]:
        """Yield (first row, kernel of a block of rows with all training rows)."""
        fitted = self.X_fit_ if fitted is None else fitted
        n_rows = rows.shape[0]
        if self.kernel == "soap":
            zeta = check_zeta(self.zeta)
            length = max(_BLOCK_ROWS, _BLOCK_BYTES // (8 * fitted.shape[0]))
            for first in range(0, n_rows, length):
                block = rows[first : first + length]
                yield first, kernel_of_rows(block, fitted, zeta, self.normalize)
            return
        for first in range(0, n_rows, _BLOCK_ROWS):
            members = np.minimum(np.arange(first, first + _BLOCK_ROWS), n_rows - 1)
            K = self._other_kernel(rows[members], fitted)
            yield first, np.ascontiguousarray(K[: n_rows - first])

    def _other_kernel(self, rows: Any, fitted: Any) -> FloatArray:
        """Return the kernel matrix of a kernel that is not ours."""
        if self.kernel == "precomputed":
            return np.asarray(rows.toarray() if scipy.sparse.issparse(rows) else rows)
        if not callable(self.kernel):
            parameters = {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
            with _castile_errors():
                return np.asarray(
                    pairwise_kernels(
                        rows, fitted, metric=self.kernel, filter_params=True, **parameters
                    )
                )
        K = np.asarray(self.kernel(rows, fitted, **(self.kernel_params or {})), dtype=np.float64)
        expected = (rows.shape[0], fitted.shape[0])
        if K.shape != expected:
            raise InputError(
                f"kernel must return the matrix of shape (len(X), len(Y)) = {expected}, "
                f"got shape {K.shape}; a function of two rows goes through "
                f"functools.partial(sklearn.metrics.pairwise.pairwise_kernels, metric=f)"
            )
        check_finite(K, "kernel(X, Y)")
        return K


@contextmanager
def _castile_errors() -> Iterator[None]:
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


def _shares_memory(rows: Any, X: Any) -> bool:
    if scipy.sparse.issparse(rows):
        rows, X = rows.data, getattr(X, "data", None)
    return isinstance(X, np.ndarray) and np.may_share_memory(rows, X)


def _length(array: Any) -> int | None:
    shape = getattr(array, "shape", None)
    if shape:
        return int(shape[0])
    return len(array) if hasattr(array, "__len__") else None


def _check_lengths(X: Any, y: Any) -> None:
    n_rows, n_targets = _length(X), _length(y)
    if n_rows is not None and n_targets is not None and n_rows != n_targets:
        raise InputError(
            f"y must hold one target per row of X: these look like local rows ({n_rows} rows for "
            f"{n_targets} targets); pass groups=soap.samples(frames)['frame'], or make one row "
            f"per structure with average='outer' or 'inner' of the descriptor"
        )


def _check_weights(sample_weight: Any, n_targets: int) -> FloatArray | None:
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
            f"sample_weight must hold one number per target, shape ({n_targets},), "
            f"got shape {weights.shape}"
        )
    check_finite(weights, "sample_weight")
    if (weights < 0.0).any():
        index = int(np.argmax(weights < 0.0))
        raise InputError(
            f"sample_weight must not be negative, got sample_weight[{index}] = {weights[index]}"
        )
    if not weights.any():
        raise InputError("sample_weight must have an entry above 0, but all are zero")
    return weights


def _solve(
    gram: FloatArray, y: FloatArray, alpha: float, weights: FloatArray | None, loo: bool
) -> tuple[FloatArray, FloatArray | None]:
    """Return the coefficients and, if asked for, the leave-one-out residuals; overwrites ``gram``.

    With weights w = s², the system is (S K S + alpha I) c' = S y and c = S c'.
    """
    targets = y.reshape(len(y), -1)
    roots = np.ones(len(y)) if weights is None else np.sqrt(weights)
    # Targets of weight zero have no part in the fit, so that theirs are plain residuals.
    ignored = np.flatnonzero(roots == 0.0)
    of_ignored = gram[ignored].copy()
    if weights is not None:
        gram *= roots[:, None] * roots
    gram.flat[:: len(y) + 1] += alpha
    lower = _cholesky(gram, alpha)
    scaled = scipy.linalg.cho_solve((lower, True), roots[:, None] * targets, check_finite=False)
    coefficients = roots[:, None] * scaled
    residuals = None
    if loo:
        inverse, _ = scipy.linalg.lapack.dtrtri(lower, lower=1, overwrite_c=1)
        diagonal = np.einsum("ij,ij->j", inverse, inverse)
        residuals = scaled / (np.where(roots > 0.0, roots, 1.0) * diagonal)[:, None]
        residuals[ignored] = targets[ignored] - of_ignored @ coefficients
        residuals = residuals.reshape(y.shape)
    return coefficients.reshape(y.shape), residuals


def _cholesky(matrix: FloatArray, alpha: float) -> FloatArray:
    """Return the lower factor, in place of the matrix."""
    norm = scipy.linalg.lapack.dlange("1", matrix.T)
    advice = (
        "raise alpha, remove equal rows, or check that the kernel is positive semidefinite "
        "(a distance or sigmoid need not be)"
    )
    try:
        # The transposed view is in LAPACK's order; the matrix is symmetric.
        lower = scipy.linalg.cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    except scipy.linalg.LinAlgError as error:
        raise InputError(
            f"alpha is too small: the kernel matrix plus alpha={alpha:g} times one is not positive "
            f"definite; {advice}"
        ) from error
    reciprocal_condition, _ = scipy.linalg.lapack.dpocon(lower, norm, uplo="L")
    if reciprocal_condition < np.finfo(float).eps:
        warnings.warn(
            f"the kernel matrix plus alpha={alpha:g} is ill-conditioned (1/condition number "
            f"{reciprocal_condition:.1e}), so that the coefficients are uncertain; {advice}",
            scipy.linalg.LinAlgWarning,
            stacklevel=4,
        )
    return np.asarray(lower)
