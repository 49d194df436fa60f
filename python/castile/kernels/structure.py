"""Kernels between structures: sums of the kernel between their environments."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from castile import _checks
from castile.errors import InputError
from castile.kernels._blocks import DotProduct, kernel_sums
from castile.kernels._groups import GroupedRows, group_numbers
from castile.kernels._rows import as_rows, check_columns, check_zeta
from castile.progress import track

__all__ = ["average_kernel", "species_kernel"]

FloatArray = npt.NDArray[np.float64]


def average_kernel(
    X: Any,
    groups: Any,
    Y: Any = None,
    groups_Y: Any = None,
    *,
    n_groups: int | None = None,
    n_groups_Y: int | None = None,
    zeta: float = 2,
    normalize: bool = True,
    reduction: Literal["mean", "sum"] = "mean",
    unit_diagonal: bool = False,
    progress: bool = False,
) -> FloatArray:
    r"""Kernel between structures: the mean of the kernel over all pairs of their environments.

    .. math::

        K(A, B) = \frac{1}{n_A n_B} \sum_{a \in A, b \in B} (\hat p_a \cdot \hat p_b)^\zeta

    Parameters
    ----------
    X : array-like or SciPy sparse matrix of shape (n_rows_X, n_features)
        Local rows: one per center.
    groups : array-like of shape (n_rows_X,), or the structured array of ``soap.samples(frames)``
        The structure that each row belongs to: any labels, or samples, whose field ``frame`` is
        taken.
    Y, groups_Y : like X and groups, optional
        The structures of the other side; by default those of ``X``.
    n_groups, n_groups_Y : int, optional
        Number of structures, of which some may have no rows, as with centers of one species: their
        kernel is zero. Labels are then the places of the structures in their list, from 0.
    zeta, normalize
        As of :func:`soap_kernel`.
    reduction : {"mean", "sum"}, default="mean"
        ``"sum"`` leaves out the division: the kernel of quantities that are sums over centers.
    unit_diagonal : bool, default=False
        Divide by :math:`\sqrt{K(A, A) K(B, B)}`; a structure whose own kernel is zero keeps zeros.
    progress : bool, default=False
        Show a progress bar, which counts pairs of rows.

    Returns
    -------
    ndarray of shape (n_structures_X, n_structures_Y)
        Structures in the order in which their labels first appear or, with ``n_groups``, in that of
        their list. The matrix of all pairs of rows is never stored. The bits of an element depend
        on its two structures and their order alone, not on the number of threads.

    Raises
    ------
    InputError
        If ``groups`` does not have one entry per row, or holds samples that skip a frame although
        there is no ``n_groups``; if the numbers of columns differ, ``zeta`` is not above zero, or
        an entry is not finite.
    InputTypeError
        If something else than rows of numbers is given, or labels are no integers with ``n_groups``.
    MemoryLimitError
        If the matrix would not fit into memory.

    References
    ----------
    De, Bartók, Csányi and Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016),
    doi:10.1039/C6CP00415F.

    Examples
    --------
    >>> import numpy as np
    >>> from castile.kernels import average_kernel
    >>> rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> average_kernel(rows, ["a", "a", "b"])
    array([[0.5, 0.5],
           [0.5, 1. ]])

    The second of three structures has no center:

    >>> average_kernel(rows, [0, 0, 2], n_groups=3)
    array([[0.5, 0. , 0.5],
           [0. , 0. , 0. ],
           [0.5, 0. , 1. ]])
    """
    left = _side(X, groups, n_groups, None, "")
    right = _other_side(left, Y, groups_Y, n_groups_Y, None)
    kernel = DotProduct(check_zeta(zeta), _checks.flag("normalize", normalize))
    return _structure_kernel(left, right, kernel, reduction=reduction, unit_diagonal=unit_diagonal, progress=progress)


def species_kernel(
    X: Any,
    samples: Any,
    Y: Any = None,
    samples_Y: Any = None,
    *,
    species: Any = None,
    species_Y: Any = None,
    n_groups: int | None = None,
    n_groups_Y: int | None = None,
    zeta: float = 2,
    normalize: bool = True,
    reduction: Literal["mean", "sum"] = "mean",
    unit_diagonal: bool = False,
    progress: bool = False,
) -> FloatArray:
    """Kernel between structures that compares only centers of the same species.

    Pairs of centers of different species count as zero in the mean of :func:`average_kernel`, which
    tells more about the parameters, with the source.

    Parameters
    ----------
    X, Y : array-like or SciPy sparse matrix of shape (n_rows, n_features)
        Local rows: one per center; ``Y`` is ``X`` by default.
    samples, samples_Y : structured array of ``soap.samples(frames)``, or array-like of shape (n_rows,)
        Fields ``frame`` and ``species`` tell the structure and the species of each row; or the
        structures' labels alone, with ``species``.
    species, species_Y : array-like of shape (n_rows,), optional
        The species of each row, where samples do not hold it.
    n_groups, n_groups_Y, zeta, normalize, reduction, unit_diagonal
        As of :func:`average_kernel`.
    progress : bool, default=False
        Show a progress bar for each species, which counts pairs of rows.

    Returns
    -------
    ndarray of shape (n_structures_X, n_structures_Y)

    Raises
    ------
    InputError, InputTypeError, MemoryLimitError
        As :func:`average_kernel`, and if the species are missing or not one per row.

    Examples
    --------
    >>> import numpy as np
    >>> from castile.kernels import species_kernel
    >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> species_kernel(rows, [0, 0, 1], species=["Na", "Cl", "Cl"])
    array([[0.5, 0.5],
           [0.5, 1. ]])
    """
    left = _side(X, samples, n_groups, _species_of(samples, species, ""), "")
    other = None if Y is None else _species_of(samples_Y, species_Y, "_Y")
    right = _other_side(left, Y, samples_Y, n_groups_Y, other)
    kernel = DotProduct(check_zeta(zeta), _checks.flag("normalize", normalize))
    return _structure_kernel(left, right, kernel, reduction=reduction, unit_diagonal=unit_diagonal, progress=progress)


def _side(X: Any, groups: Any, n_groups: int | None, species: Any, suffix: str) -> GroupedRows:
    rows = as_rows(X, "Y" if suffix else "X", allow_none=n_groups is not None)
    n_rows = rows.shape[0]
    what = "groups" if species is None else "samples"
    numbers, n_groups = group_numbers(groups, n_rows, n_groups, suffix=suffix, what=what)
    if species is not None:
        species = np.asarray(species)
        if species.shape != (n_rows,):
            raise InputError(
                f"species{suffix} must hold one species per row, shape ({n_rows},), got shape {species.shape}"
            )
    return GroupedRows.sort(rows, numbers, n_groups, species)


def _other_side(left: GroupedRows, Y: Any, groups_Y: Any, n_groups_Y: int | None, species_Y: Any) -> GroupedRows:
    what = "groups" if left.species is None else "samples"
    if Y is None:
        for name, value in ((f"{what}_Y", groups_Y), ("n_groups_Y", n_groups_Y)):
            if value is not None:
                raise InputError(f"{name} was given without Y; pass both, or neither")
        return left
    if groups_Y is None:
        raise InputError(f"{what}_Y must be given with Y: the structure that each row of Y belongs to")
    right = _side(Y, groups_Y, n_groups_Y, species_Y, "_Y")
    check_columns(left.rows, right.rows)
    return right


def _species_of(samples: Any, species: Any, suffix: str) -> Any:
    if species is not None:
        return species
    fields = getattr(getattr(samples, "dtype", None), "names", None)
    if fields is None or "species" not in fields:
        raise InputError(
            f"species{suffix} must be given, one per row, or samples{suffix} must have a field species, "
            f"as soap.samples(frames) has"
        )
    return samples["species"]


def _structure_kernel(
    left: GroupedRows,
    right: GroupedRows,
    kernel: DotProduct,
    *,
    reduction: str,
    unit_diagonal: bool,
    progress: bool,
) -> FloatArray:
    if reduction not in ("mean", "sum"):
        raise InputError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    K = _sums(left, right, kernel, progress=progress)
    if unit_diagonal:
        return _with_unit_diagonal(K, left, right, kernel, progress)
    if reduction == "mean":
        # A structure without rows has sums of zero, and keeps them.
        counts = [np.maximum(np.diff(side.offsets), 1) for side in (left, right)]
        K /= counts[0][:, None] * counts[1]
    return K


def _sums(left: GroupedRows, right: GroupedRows, kernel: DotProduct, *, progress: bool = False) -> FloatArray:
    """Return the kernel's sums over pairs of rows, of the same species if these are known."""
    if left.species is None or right.species is None:
        return kernel_sums(left, right, kernel, progress=progress)
    K = np.zeros((left.n_groups, right.n_groups))
    for one in np.intersect1d(left.species, right.species):
        rows = left.of_species(one)
        other = rows if right is left else right.of_species(one)
        K += kernel_sums(rows, other, kernel, description=f"structure kernel, {one}", progress=progress)
    return K


def _with_unit_diagonal(
    K: FloatArray, left: GroupedRows, right: GroupedRows, kernel: DotProduct, progress: bool
) -> FloatArray:
    if right is left:
        diagonals = [np.diag(K).copy()] * 2
    else:
        diagonals = [_own_kernels(side, kernel, progress) for side in (left, right)]
    # The roots one by one: the product of two own kernels may overflow.
    roots = [np.sqrt(diagonal) for diagonal in diagonals]
    inverse = [np.divide(1.0, root, out=np.zeros_like(root), where=root > 0.0) for root in roots]
    K *= inverse[0][:, None] * inverse[1]
    if right is left:
        np.fill_diagonal(K, np.where(roots[0] > 0.0, 1.0, 0.0))
    return K


def _own_kernels(side: GroupedRows, kernel: DotProduct, progress: bool) -> FloatArray:
    """Return K(A, A) of each structure, without the pairs of different ones."""
    own = np.empty(side.n_groups)
    indices = ((1, index) for index in range(side.n_groups))
    for index in track(indices, side.n_groups, "own kernels", progress):
        one = side.group(index)
        own[index] = _sums(one, one, kernel)[0, 0]
    return own
