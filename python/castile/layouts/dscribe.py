"""Rows of DScribe's SOAP, from ours and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from castile.layouts._columns import checked_rows, pair_columns, sizes_of_soap

__all__ = ["from_dscribe", "to_dscribe"]


def to_dscribe(X: Any, descriptor: Any) -> npt.NDArray[Any]:
    """Convert rows of :class:`castile.SOAP` to those of DScribe's SOAP.

    Both list species a <= a', then l, n, n', with n <= n' if a = a', and compressed ones alike. DScribe's products are

        p_D = π √(8 / (2l + 1)) Σ_m c[a, n, lm] c[a', n', lm],

    ours have (2l + 1)^(-1/2) in place of that factor, and √2 where a column stands for two elements of the symmetric
    tensor. DScribe leaves the √2 out, so that dot products of its rows are not those of the tensor.

    Only the layout is converted. Numbers are those of DScribe if ``descriptor`` has its basis, its weights and all
    neighbors that it sees: those within r_cut + σ √(2 ln 1000).

    Parameters
    ----------
    X : array of shape (..., n_features)
        Rows, or derivatives of them. DScribe's ``derivatives`` have the axes of our dense Jacobian: row, atom, xyz,
        column.
    descriptor : SOAP
        That they are of; only its parameters and species count.

    Returns
    -------
    ndarray of shape (..., n_features)

    Raises
    ------
    InputError
        If X does not have the descriptor's number of columns.

    Notes
    -----
    Written for DScribe 2.1.2.

    References
    ----------
    Himanen et al., Computer Physics Communications 247, 106949 (2020), doi:10.1016/j.cpc.2019.106949; for the
    compressions Darby, Kermode, Csányi, npj Computational Materials 8, 166 (2022), doi:10.1038/s41524-022-00847-y.

    Examples
    --------
    >>> from ase.build import molecule
    >>> import castile
    >>> from castile.layouts import to_dscribe
    >>> soap = castile.SOAP(cutoff=3.0, n_max=4, l_max=2, species=["H", "O"])
    >>> to_dscribe(soap.transform(molecule("H2O")), soap).shape
    (3, 108)
    """
    rows, factor = _rows_and_factor(X, descriptor)
    converted: npt.NDArray[Any] = rows * factor
    return converted


def from_dscribe(X: Any, descriptor: Any) -> npt.NDArray[Any]:
    """Convert rows of DScribe's SOAP to those of :class:`castile.SOAP`; the inverse of :func:`to_dscribe`.

    Parameters
    ----------
    X : array of shape (..., n_features)
        Rows, or derivatives of them.
    descriptor : SOAP
        With the species, ``n_max``, ``l_max`` and compression that they were made with.

    Returns
    -------
    ndarray of shape (..., n_features)

    Raises
    ------
    InputError
        If X does not have the descriptor's number of columns.
    """
    rows, factor = _rows_and_factor(X, descriptor)
    converted: npt.NDArray[Any] = rows / factor
    return converted


def _rows_and_factor(X: Any, descriptor: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    sizes = sizes_of_soap(descriptor, "DScribe")
    columns = pair_columns(sizes)
    X = checked_rows(X, columns.n_columns, sizes)
    factor = np.where(columns.twice, 2 * np.pi, np.pi * np.sqrt(8))
    return X, factor.astype(X.dtype)
