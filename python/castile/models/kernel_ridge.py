"""Kernel ridge regression on rows, or on sums of rows."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score

from castile import _checks, _core
from castile._blas_threads import one_thread
from castile._memory import require_memory
from castile._pickling import VersionedPickle
from castile.errors import InputError, InputTypeError
from castile.kernels._blocks import rows_per_block
from castile.kernels._groups import group_numbers
from castile.models._input import (
    check_new_rows,
    check_scored,
    check_training_data,
    require_fitted,
    require_groups,
)
from castile.models._kernels import choose_kernel
from castile.models._solve import solve
from castile.progress import track

__all__ = ["KernelRidge"]

FloatArray = npt.NDArray[np.float64]


class KernelRidge(_checks.CheckedParameters, VersionedPickle, RegressorMixin, BaseEstimator):  # type: ignore[misc]
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
        (len(X), len(Y)) and is called with some rows at a time.
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

    The second of three structures has no rows, as with centers of a species that it lacks:

    >>> model.predict(rows, groups=[0, 0, 2], n_groups=3).round(3)
    array([4., 0., 2.])
    """

    _fitted_names = (
        "X_fit_",
        "group_indices_",
        "dual_coef_",
        "_targets",
        "loo_residuals_",
        "n_features_in_",
        "feature_names_in_",
    )

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

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        *,
        n_groups: int | None = None,
        progress: bool = False,
    ) -> KernelRidge:
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
        n_groups : int, optional
            Number of structures, that of the targets, if some have no rows; ``groups`` must then be
            their places in ``y``, from 0. The target of a structure without rows has no part in
            the fit: its prediction is zero whatever the others are, its coefficient is zero, and
            its leave-one-out residual the target itself. What such structures are to contribute
            must be taken off the targets beforehand.
        progress : bool, default=False
            Show progress bars of the kernel matrix (which counts pairs of rows), its factorization
            and the leave-one-out residuals.

        Returns
        -------
        KernelRidge
            The fitted model itself.

        Raises
        ------
        InputError
            For parameters or arrays that cannot be used, and if the kernel matrix plus ``alpha`` is
            not positive definite.
        InputTypeError
            For parameters or arrays of a wrong type.
        MemoryLimitError
            If the kernel matrix would not fit into memory.
        """
        alpha, kernel = self._checked_alpha(), choose_kernel(self)
        data = check_training_data(
            self,
            X,
            y,
            sample_weight=sample_weight,
            groups=groups,
            n_groups=n_groups,
            square=self.kernel == "precomputed",
        )
        with one_thread():  # several threads change bits
            gram = kernel.gram(data, progress)
            coefficients, residuals = solve(
                gram, data.targets, alpha, data.weights, loo=_checks.flag("loo", self.loo), progress=progress
            )
        self.X_fit_ = data.rows if self.kernel == "precomputed" else data.rows_apart_from(X)
        self.group_indices_ = data.numbers
        self.dual_coef_ = coefficients
        self._targets = data.targets
        if residuals is not None:
            self.loo_residuals_ = residuals
        elif hasattr(self, "loo_residuals_"):
            del self.loo_residuals_
        return self

    def predict(self, X: Any, groups: Any = None, *, n_groups: int | None = None, progress: bool = False) -> FloatArray:
        """Predict the targets of rows, or their sums over groups.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_rows, n_features)
            Rows; for ``kernel="precomputed"`` their kernel with the training rows.
        groups : array-like of shape (n_rows,), optional
            A label per row, or ``soap.samples(frames)``. Labels need not have been seen in ``fit``.
            Without them every row is predicted by itself: after a fit with groups, its
            contribution.
        n_groups : int, optional
            Number of structures, if some may have no rows, as with centers of one species: zero is
            predicted for them. ``groups`` must then be the structures' places in their list, from 0.
        progress : bool, default=False
            Show a progress bar, which counts rows.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_outputs)
            With groups one entry per group, in the order of their first appearance; with
            ``n_groups`` one per structure, in the order of their list.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InputError
            For rows with another number of columns than in ``fit``, or that are not finite; for
            groups that are not one label per row, or samples that skip a frame although there is no
            ``n_groups``.
        InputTypeError
            For rows that are no numbers, and for labels that are no integers with ``n_groups``.
        """
        return self._predict(X, groups, n_groups, progress)

    def gradient(self, X: Any, *, progress: bool = False) -> FloatArray:
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
            Rows; there may be none.
        progress : bool, default=False
            Show a progress bar, which counts rows.

        Returns
        -------
        ndarray of shape (n_rows, n_features) or (n_rows, n_features, n_outputs)
            Dense, also for sparse rows: entries that are zero have a derivative too.
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
        kernel = choose_kernel(self)
        rows = check_new_rows(self, X, allow_none=True)
        (n_rows, n_features), coefficients = rows.shape, self._row_coefficients()
        shape = (n_rows, n_features, coefficients.shape[1])
        require_memory(8 * int(np.prod(shape, dtype=object)), "the gradient", "take fewer rows at a time")
        result = np.empty(shape)
        derivative = kernel.derivative(self.X_fit_)
        length = rows_per_block(*self.X_fit_.shape)
        blocks = ((min(length, n_rows - first), first) for first in range(0, n_rows, length))
        for first in track(blocks, n_rows, "gradient", progress):
            block = rows[first : first + length]
            dense = block.toarray() if scipy.sparse.issparse(block) else block
            for output, weights in enumerate(coefficients.T):
                result[first : first + length, :, output] = derivative.gradient(dense, weights)
        return result.reshape(n_rows, n_features, *self.dual_coef_.shape[1:])

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        *,
        n_groups: int | None = None,
        progress: bool = False,
    ) -> float:
        """Return the coefficient of determination R² of the prediction.

        Parameters
        ----------
        X, y, sample_weight, groups, n_groups
            As of :meth:`fit`.
        progress : bool, default=False
            Show a progress bar, which counts rows.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, InputError, InputTypeError
            As of :meth:`predict`, and if there is not one target per prediction.
        """
        # Samples may skip frames, since the number of targets shows which are meant.
        predictions = self._predict(X, groups, n_groups, progress, subset=True)
        check_scored(y, len(predictions), groups is not None)
        return float(r2_score(y, predictions, sample_weight=sample_weight))

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

    def _predict(
        self, X: Any, groups: Any, n_groups: int | None, progress: bool, *, subset: bool = False
    ) -> FloatArray:
        require_groups(groups, n_groups)
        rows = check_new_rows(self, X, allow_none=n_groups is not None)
        n_rows = rows.shape[0]
        grouped = None if groups is None else group_numbers(groups, n_rows, n_groups, subset=subset)
        columns = np.ascontiguousarray(self._row_coefficients().T)
        result = np.empty((n_rows, len(columns)))
        with one_thread():
            blocks = choose_kernel(self).blocks(rows, self.X_fit_)
            for own, K in track(blocks, n_rows, "prediction", progress):
                # Our product sums in the same order for any number of rows.
                result[own] = _core.dot_product_kernel(K, columns, 1.0, False)
        if grouped is not None:
            local, (numbers, n_groups) = result, grouped
            result = np.zeros((n_groups, len(columns)))
            np.add.at(result, numbers, local)
        return result.reshape(len(result), *self.dual_coef_.shape[1:])

    def _row_coefficients(self) -> FloatArray:
        """Return the coefficient of each training row, (n_training_rows, n_outputs)."""
        coefficients = self.dual_coef_.reshape(len(self.dual_coef_), -1)
        if self.group_indices_ is not None:
            coefficients = coefficients[self.group_indices_]
        return np.asarray(coefficients)

    def _residuals(self) -> FloatArray:
        require_fitted(self)
        if not hasattr(self, "loo_residuals_"):
            raise InputError("loo must be True in fit for leave-one-out residuals, got False")
        return np.asarray(self.loo_residuals_)

    def _checked_alpha(self) -> float:
        if isinstance(self.alpha, (bool, np.bool_)) or not isinstance(self.alpha, Real):
            raise InputTypeError(f"alpha must be a number of 0 or more, got {self.alpha!r}")
        alpha = float(self.alpha)
        if not (alpha >= 0.0 and np.isfinite(alpha)):
            raise InputError(f"alpha must be a finite number of 0 or more, got {self.alpha!r}")
        return alpha
