"""Kernels between environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _checks
from castile.kernels._blocks import DotProduct, kernel_of_rows
from castile.kernels._rows import as_rows, check_columns, check_zeta

__all__ = ["soap_kernel"]

FloatArray = npt.NDArray[np.float64]


def soap_kernel(
    X: Any, Y: Any = None, zeta: float = 2, normalize: bool = True, *, progress: bool = False
) -> FloatArray:
    r"""Kernel between environments, :math:`k(p, p') = (\hat p \cdot \hat p')^\zeta`.

    Parameters
    ----------
    X : array-like or SciPy sparse matrix of shape (n_rows_X, n_features)
        One environment per row, as ``SOAP.transform`` returns them.
    Y : array-like or SciPy sparse matrix of shape (n_rows_Y, n_features), optional
        The other side; by default ``X``, of which half is then computed and mirrored.
    zeta : float, default=2
        The power, above zero. Two is the lowest that is not linear in the features (which sees no
        more than three atoms at a time), and the one whose sums over training rows can be folded
        into one matrix, so that the cost of a prediction does not grow with them. Larger powers
        sharpen the differences between alike environments. For a power that is no integer, negative
        products of rows (which power spectra do not have) count as zero.
    normalize : bool, default=True
        Divide each row by its norm. A row of zeros stays zero, and so does its kernel.
    progress : bool, default=False
        Show a progress bar, which counts pairs of rows.

    Returns
    -------
    ndarray of shape (n_rows_X, n_rows_Y)
        Symmetric positive semidefinite for ``Y=None`` and an integer ``zeta``. The bits of an
        element depend on its two rows alone, not on the other rows or the number of threads.

    Raises
    ------
    InputError
        If the numbers of columns differ, ``zeta`` is not above zero, or an entry is not finite.
    InputTypeError
        If something else than rows of numbers is given.
    MemoryLimitError
        If the matrix would not fit into memory.

    References
    ----------
    Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.

    Examples
    --------
    >>> import numpy as np
    >>> from castile.kernels import soap_kernel
    >>> soap_kernel(np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])).round(4)
    array([[1.  , 0.64, 0.  ],
           [0.64, 1.  , 0.  ],
           [0.  , 0.  , 0.  ]])
    """
    kernel = DotProduct(check_zeta(zeta), _checks.flag("normalize", normalize))
    rows = as_rows(X, "X")
    if Y is None or Y is X:
        return kernel_of_rows(rows, rows, kernel, progress=progress)
    other = as_rows(Y, "Y")
    check_columns(rows, other)
    return kernel_of_rows(rows, other, kernel, progress=progress)
