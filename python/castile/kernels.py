"""Kernels between environments, and how they sum to kernels between structures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from castile import _core
from castile.errors import InputError, InputTypeError
from castile.structures import is_single_frame

__all__ = ["average_kernel", "soap_kernel", "species_kernel"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MAKE_ROWS = "descriptor.transform(frames) gives the rows of all structures as one matrix"
_BLOCK_BYTES = 1 << 25  # of a sparse matrix's rows made dense at a time


def soap_kernel(X: Any, Y: Any = None, zeta: float = 2, normalize: bool = True) -> FloatArray:
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

    Returns
    -------
    ndarray of shape (n_rows_X, n_rows_Y)
        Symmetric positive semidefinite for ``Y=None`` and an integer ``zeta``. The bits of an
        element depend on its two rows alone, not on the other rows or the number of threads.

    Raises
    ------
    InputError
        If the numbers of columns differ, ``zeta`` is not above zero, or an entry is not finite.

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
    power = check_zeta(zeta)
    rows = as_rows(X, "X")
    if Y is None or Y is X:
        return kernel_of_rows(rows, rows, power, normalize)
    other = as_rows(Y, "Y")
    _check_columns(rows, other)
    return kernel_of_rows(rows, other, power, normalize)


def average_kernel(
    X: Any,
    groups: Any,
    Y: Any = None,
    groups_Y: Any = None,
    *,
    zeta: float = 2,
    normalize: bool = True,
    reduction: Literal["mean", "sum"] = "mean",
    unit_diagonal: bool = False,
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
    zeta, normalize
        As of :func:`soap_kernel`.
    reduction : {"mean", "sum"}, default="mean"
        ``"sum"`` leaves out the division: the kernel of quantities that are sums over centers.
    unit_diagonal : bool, default=False
        Divide by :math:`\sqrt{K(A, A) K(B, B)}`; a structure whose own kernel is zero keeps zeros.

    Returns
    -------
    ndarray of shape (n_structures_X, n_structures_Y)
        Structures in the order in which their labels first appear. The matrix of all pairs of rows
        is never stored.

    Raises
    ------
    InputError
        If ``groups`` does not have one entry per row, the numbers of columns differ, ``zeta`` is
        not above zero, or an entry is not finite.

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
    """
    left = _structures(X, groups, None, "")
    right = _other_side(left, Y, groups_Y, None)
    return _structure_kernel(
        left,
        right,
        zeta=check_zeta(zeta),
        normalize=normalize,
        reduction=reduction,
        unit_diagonal=unit_diagonal,
    )


def species_kernel(
    X: Any,
    samples: Any,
    Y: Any = None,
    samples_Y: Any = None,
    *,
    species: Any = None,
    species_Y: Any = None,
    zeta: float = 2,
    normalize: bool = True,
    reduction: Literal["mean", "sum"] = "mean",
    unit_diagonal: bool = False,
) -> FloatArray:
    """Kernel between structures that compares only centers of the same species.

    Pairs of centers of different species count as zero in the mean of :func:`average_kernel`.

    Parameters
    ----------
    X : array-like or SciPy sparse matrix of shape (n_rows_X, n_features)
        Local rows: one per center.
    samples : structured array of ``soap.samples(frames)``, or array-like of shape (n_rows_X,)
        Fields ``frame`` and ``species`` tell the structure and the species of each row; or the
        structures' labels alone, with ``species``.
    Y, samples_Y : like X and samples, optional
        The structures of the other side; by default those of ``X``.
    species, species_Y : array-like of shape (n_rows_X,) and (n_rows_Y,), optional
        The species of each row, where samples do not hold it.
    zeta, normalize, reduction, unit_diagonal
        As of :func:`average_kernel`.

    Returns
    -------
    ndarray of shape (n_structures_X, n_structures_Y)
        Structures in the order in which their labels first appear.

    Raises
    ------
    InputError
        As :func:`average_kernel`, and if the species are missing or not one per row.

    References
    ----------
    De, Bartók, Csányi and Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016),
    doi:10.1039/C6CP00415F.

    Examples
    --------
    >>> import numpy as np
    >>> from castile.kernels import species_kernel
    >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> species_kernel(rows, [0, 0, 1], species=["Na", "Cl", "Cl"])
    array([[0.5, 0.5],
           [0.5, 1. ]])
    """
    own = _species_of(samples, species, "species", "samples")
    left = _structures(X, samples, own, "")
    other = None if Y is None else _species_of(samples_Y, species_Y, "species_Y", "samples_Y")
    right = _other_side(left, Y, samples_Y, other)
    return _structure_kernel(
        left,
        right,
        zeta=check_zeta(zeta),
        normalize=normalize,
        reduction=reduction,
        unit_diagonal=unit_diagonal,
    )


@dataclass(frozen=True, eq=False)
class GroupedRows:
    """Checked rows, the number of the structure that each belongs to and, if wanted, its species.

    Attributes
    ----------
    rows : ndarray or CSR array of shape (n_rows, n_features)
        Local rows.
    groups : ndarray of shape (n_rows,), int64
        0-based number of each row's structure.
    n : int
        Number of structures; some may have no rows.
    species : ndarray of shape (n_rows,), or None
        Species of the centers.
    """

    rows: Any
    groups: IntArray
    n: int
    species: Any = None

    def of_species(self, one: Any) -> GroupedRows:
        """Return the rows of one species, of the same structures."""
        mask = self.species == one
        return GroupedRows(self.rows[mask], self.groups[mask], self.n)

    def single(self, members: IntArray) -> GroupedRows:
        """Return the one structure that consists of the given rows."""
        species = None if self.species is None else self.species[members]
        return GroupedRows(self.rows[members], np.zeros(len(members), dtype=np.int64), 1, species)

    def sorted(self) -> tuple[Any, IntArray]:
        """Return the rows sorted by structure, stably, and the structures' offsets, (n + 1,)."""
        offsets = np.zeros(self.n + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.groups, minlength=self.n), out=offsets[1:])
        if (np.diff(self.groups) < 0).any():
            return self.rows[np.argsort(self.groups, kind="stable")], offsets
        return self.rows, offsets


def check_zeta(zeta: Any) -> float:
    """Return the power as a float; raise unless it is a number above zero."""
    if isinstance(zeta, (bool, np.bool_)) or not isinstance(zeta, Real):
        raise InputTypeError(f"zeta must be a number above 0, got {zeta!r}")
    power = float(zeta)
    if not (power > 0.0 and np.isfinite(power)):
        raise InputError(f"zeta must be a finite number above 0, got {zeta!r}")
    return power


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


def as_rows(X: Any, name: str) -> Any:
    """Return finite rows, (n_rows, n_features), as a contiguous float64 array or a CSR array."""
    require_rows(X, name)
    if scipy.sparse.issparse(X):
        rows = scipy.sparse.csr_array(X, dtype=np.float64)
    else:
        if np.iscomplexobj(X):
            raise InputTypeError(f"{name} must be an array of real numbers, got complex ones")
        try:
            rows = np.asarray(X, dtype=np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise InputTypeError(
                f"{name} must be an array of real numbers: {error}; {_MAKE_ROWS}"
            ) from error
        if rows.ndim != 2:
            remedy = f"a single row is {name}.reshape(1, -1)" if rows.ndim < 2 else _MAKE_ROWS
            raise InputError(
                f"{name} must have shape (n_rows, n_features), got {rows.shape}; {remedy}"
            )
    if 0 in rows.shape:
        raise InputError(f"{name} must have at least one row and one column, got {rows.shape}")
    check_finite(rows, name)
    return rows


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
    raise InputError(
        f"{name} must be finite (no NaN, no inf), but {name}{where} is {text}; "
        f"remove or repair that row"
    )


def group_indices(groups: Any, n_rows: int, name: str = "groups") -> tuple[IntArray, Any]:
    """Return a number for each row's group, in the order of first appearance.

    Parameters
    ----------
    groups : array-like of shape (n_rows,), or structured array with a field ``frame``
        Labels, sortable, without NaN.
    n_rows : int
        Number of rows that the labels belong to.
    name : str
        The argument's name, for messages.

    Returns
    -------
    indices : ndarray of shape (n_rows,), int64
        0-based number of each row's group.
    labels : ndarray of shape (n_groups,)
        The label of each group.

    Raises
    ------
    InputError
        If the length is wrong or a label is NaN.
    """
    labels = np.asarray(groups)
    if labels.dtype.names is not None:
        if "frame" not in labels.dtype.names:
            raise InputError(
                f"{name} is a structured array with the fields {', '.join(labels.dtype.names)}; "
                f"it must have a field frame, as soap.samples(frames) has"
            )
        labels = labels["frame"]
    if labels.shape != (n_rows,):
        raise InputError(
            f"{name} must hold one label per row, shape ({n_rows},), got shape {labels.shape}; "
            f"soap.samples(frames) gives them"
        )
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise InputError(
            f"{name} must not hold NaN, but {name}[{int(np.isnan(labels).argmax())}] is NaN"
        )
    try:
        _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    except TypeError as error:
        raise InputTypeError(f"{name} must hold labels of one sortable type: {error}") from error
    by_appearance = np.argsort(first)
    rank = np.empty(len(first), dtype=np.int64)
    rank[by_appearance] = np.arange(len(first))
    return rank[inverse.reshape(-1)], labels[first[by_appearance]]


def dense_blocks(rows: Any) -> Iterator[tuple[int, FloatArray]]:
    """Yield (first row, dense C-contiguous block); a dense array whole, a sparse one in blocks."""
    if not scipy.sparse.issparse(rows):
        yield 0, rows
        return
    length = max(64, _BLOCK_BYTES // (8 * rows.shape[1]))
    for first in range(0, rows.shape[0], length):
        yield first, np.ascontiguousarray(rows[first : first + length].toarray())


def kernel_of_rows(rows: Any, other: Any, zeta: float, normalize: bool) -> FloatArray:
    """Return the kernel matrix of rows that have been checked; mirrored if both are one object."""
    if not scipy.sparse.issparse(rows) and not scipy.sparse.issparse(other):
        return _core.dot_product_kernel(rows, other, zeta, bool(normalize))
    K = np.empty((rows.shape[0], other.shape[0]))
    for i, block in dense_blocks(rows):
        for j, columns in dense_blocks(other):
            values = _core.dot_product_kernel(block, columns, zeta, bool(normalize))
            K[i : i + len(block), j : j + len(columns)] = values
    return K


def kernel_sums(left: GroupedRows, right: GroupedRows, zeta: float, normalize: bool) -> FloatArray:
    """Return the kernel's sums over all pairs of rows of two structures, (left.n, right.n).

    Mirrored if both are one object.
    """
    rows, offsets = left.sorted()
    other, other_offsets = (rows, offsets) if right is left else right.sorted()
    if not scipy.sparse.issparse(rows) and not scipy.sparse.issparse(other):
        return _core.dot_product_kernel_sums(
            rows, offsets, other, other_offsets, zeta, bool(normalize)
        )
    K = np.zeros((left.n, right.n))
    for a, b, block, block_offsets in _blocks_of_groups(rows, offsets):
        for c, d, columns, column_offsets in _blocks_of_groups(other, other_offsets):
            K[a:b, c:d] = _core.dot_product_kernel_sums(
                block, block_offsets, columns, column_offsets, zeta, bool(normalize)
            )
    return np.tril(K) + np.tril(K, -1).T if right is left else K


def _blocks_of_groups(
    rows: Any, offsets: IntArray
) -> Iterator[tuple[int, int, FloatArray, IntArray]]:
    """Yield whole groups whose rows together are about one block, made dense."""
    length = max(64, _BLOCK_BYTES // (8 * rows.shape[1]))
    first, n_groups = 0, len(offsets) - 1
    while first < n_groups:
        last = int(np.searchsorted(offsets, offsets[first] + length, side="right")) - 1
        last = min(max(last, first + 1), n_groups)
        block = rows[offsets[first] : offsets[last]]
        dense = block.toarray() if scipy.sparse.issparse(block) else block
        yield first, last, np.ascontiguousarray(dense), offsets[first : last + 1] - offsets[first]
        first = last


def _structures(X: Any, groups: Any, species: Any, suffix: str) -> GroupedRows:
    rows = as_rows(X, "Y" if suffix else "X")
    n_rows = rows.shape[0]
    what = "groups" if species is None else "samples"
    indices, labels = group_indices(groups, n_rows, what + suffix)
    if species is not None:
        species = np.asarray(species)
        if species.shape != (n_rows,):
            raise InputError(
                f"species{suffix} must hold one species per row, shape ({n_rows},), "
                f"got shape {species.shape}"
            )
    return GroupedRows(rows, indices, len(labels), species)


def _other_side(left: GroupedRows, Y: Any, groups_Y: Any, species_Y: Any) -> GroupedRows:
    what = "groups" if left.species is None else "samples"
    if Y is None:
        if groups_Y is not None:
            raise InputError(f"{what}_Y was given without Y; pass both, or neither")
        return left
    if groups_Y is None:
        raise InputError(
            f"{what}_Y must be given with Y: the structure that each row of Y belongs to"
        )
    right = _structures(Y, groups_Y, species_Y, "_Y")
    _check_columns(left.rows, right.rows)
    return right


def _species_of(samples: Any, species: Any, name: str, samples_name: str) -> Any:
    if species is not None:
        return species
    fields = getattr(getattr(samples, "dtype", None), "names", None)
    if fields is None or "species" not in fields:
        raise InputError(
            f"{name} must be given, one per row, or {samples_name} must have a field species, "
            f"as soap.samples(frames) has"
        )
    return samples["species"]


def _structure_kernel(
    left: GroupedRows,
    right: GroupedRows,
    *,
    zeta: float,
    normalize: bool,
    reduction: str,
    unit_diagonal: bool,
) -> FloatArray:
    if reduction not in ("mean", "sum"):
        raise InputError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    K = _sums_of_structures(left, right, zeta, normalize)
    if unit_diagonal:
        return _with_unit_diagonal(K, left, right, zeta, normalize)
    if reduction == "mean":
        counts = [np.bincount(side.groups, minlength=side.n) for side in (left, right)]
        K /= counts[0][:, None] * counts[1]
    return K


def _sums_of_structures(
    left: GroupedRows, right: GroupedRows, zeta: float, normalize: bool
) -> FloatArray:
    if left.species is None or right.species is None:
        return kernel_sums(left, right, zeta, normalize)
    K = np.zeros((left.n, right.n))
    for one in np.intersect1d(left.species, right.species):
        rows = left.of_species(one)
        other = rows if right is left else right.of_species(one)
        K += kernel_sums(rows, other, zeta, normalize)
    return K


def _with_unit_diagonal(
    K: FloatArray, left: GroupedRows, right: GroupedRows, zeta: float, normalize: bool
) -> FloatArray:
    if right is left:
        diagonals = [np.diag(K).copy()] * 2
    else:
        diagonals = [_own_kernels(side, zeta, normalize) for side in (left, right)]
    # The roots one by one: the product of two own kernels may overflow.
    roots = [np.sqrt(diagonal) for diagonal in diagonals]
    inverse = [np.divide(1.0, root, out=np.zeros_like(root), where=root > 0.0) for root in roots]
    K *= inverse[0][:, None] * inverse[1]
    if right is left:
        np.fill_diagonal(K, np.where(roots[0] > 0.0, 1.0, 0.0))
    return K


def _own_kernels(side: GroupedRows, zeta: float, normalize: bool) -> FloatArray:
    """Return K(A, A) of each structure, without the pairs of different ones."""
    own = np.empty(side.n)
    order = np.argsort(side.groups, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(side.groups, minlength=side.n))])
    for index in range(side.n):
        one = side.single(order[offsets[index] : offsets[index + 1]])
        own[index] = _sums_of_structures(one, one, zeta, normalize)[0, 0]
    return own


def _check_columns(rows: Any, other: Any) -> None:
    if rows.shape[1] != other.shape[1]:
        raise InputError(
            f"X and Y must have the same number of columns, got {rows.shape[1]} and "
            f"{other.shape[1]}; compute both with the same fitted descriptor"
        )
