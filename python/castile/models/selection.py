"""Choice of rows (sparse points) or columns (features) that stand for all others."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse

from castile._blas_threads import one_thread
from castile._memory import require_memory
from castile.errors import InputError, InputTypeError
from castile.kernels._blocks import DotProduct, kernel_of_rows
from castile.kernels._rows import as_rows, check_zeta
from castile.models._pivoted_cholesky import pivoted_cholesky
from castile.progress import step, track

__all__ = ["select"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def select(
    X: Any,
    n: float,
    method: Literal["cur", "fps", "cholesky", "random"] = "cur",
    *,
    seed: int = 0,
    zeta: float = 1,
    what: Literal["samples", "features"] = "samples",
    normalize: bool | None = None,
    randomize: bool = False,
    progress: bool = False,
) -> IntArray:
    r"""Choose rows (sparse points) or columns (features) of a matrix.

    Parameters
    ----------
    X : array-like or SciPy sparse matrix of shape (n_rows, n_columns)
        Features, one sample per row. A sparse matrix is made dense, if it fits into memory.
    n : int or float
        How many; or, as a float in (0, 1], which fraction of them.
    method : {"cur", "fps", "cholesky", "random"}, default="cur"
        ``"cur"``: by leverage scores, the squared norms of the rows of the leading ``n`` left
        singular vectors [1]_. The highest score is chosen, its row is projected out of all others,
        and so on [2]_ (that is a pivoted QR factorization of the singular vectors, which are
        computed once). Beyond the numerical rank, the procedure starts anew with those that are
        left. ``"fps"``: farthest point sampling, each the farthest from all before it; the first is
        drawn. ``"cholesky"``: the pivots of a Cholesky factorization of the kernel matrix
        :math:`(x \cdot y)^\zeta` [3]_: each the one whose kernel with itself those before it explain
        least, until what is left is rounding. ``"random"``: uniformly, without replacement.
    seed : int, default=0
        Of the random numbers; ``"cholesky"`` needs none, nor does ``"cur"``, except with ``randomize``.
    zeta : float, default=1
        Power of the kernel for ``"cholesky"``, above zero; the other methods do not use it.
    what : {"samples", "features"}, default="samples"
        Rows or columns.
    normalize : bool, optional
        Divide what is chosen from by its norm first, so that directions alone count, as in the
        normalized kernel (whose distance is then the Euclidean one, and the order of ``"fps"`` the
        same for any power ``zeta``). By default samples are divided, features are not.
    randomize : bool, default=False
        With ``"cur"``: draw with probabilities proportional to the leverage scores, without
        replacement, as in [1]_.
    progress : bool, default=False
        Show progress bars: of the points chosen by ``"fps"``; of the Gram matrix for ``"cur"``, whose
        singular vectors and pivots follow, single calls of LAPACK with a bar that only shows that
        work goes on; of the pivots of ``"cholesky"``. ``"random"`` has nothing long to show.

    Returns
    -------
    ndarray of shape (n,), int64
        Distinct indices in the order in which they were chosen, so that a shorter choice by
        ``"fps"``, ``"cholesky"`` or ``"random"`` is the beginning of a longer one. A copy of one that
        has been chosen comes only after all that differ. The same for any number of threads.
        ``"cholesky"`` returns fewer than ``n`` if the kernel matrix has a lower rank: it leaves out
        copies, and whatever has less than 1e-12 of the largest kernel that the chosen do not explain.

    Raises
    ------
    InputError
        If ``n`` is out of range, ``method`` or ``what`` is unknown, or an entry is not finite.
    InputTypeError
        If ``X`` holds something else than rows of numbers, or ``n`` or ``seed`` is no number.
    MemoryLimitError
        If a dense copy of ``X``, the Gram matrix of ``"cur"``, or the factor of ``"cholesky"``, which
        has ``n`` numbers for each row, would not fit into memory.

    References
    ----------
    .. [1] Mahoney and Drineas, PNAS 106, 697 (2009), doi:10.1073/pnas.0803205106.
    .. [2] Imbalzano et al., J. Chem. Phys. 148, 241730 (2018), doi:10.1063/1.5024611.
    .. [3] Harbrecht, Peters and Schneider, Applied Numerical Mathematics 62, 428 (2012),
       doi:10.1016/j.apnum.2011.10.001.

    Examples
    --------
    >>> import numpy as np
    >>> import castile
    >>> X = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.02, 1.0]])
    >>> sorted(castile.select(X, 2, method="fps").tolist())
    [0, 3]
    """
    if method not in ("cur", "fps", "cholesky", "random"):
        raise InputError(f"method must be 'cur', 'fps', 'cholesky' or 'random', got {method!r}")
    if what not in ("samples", "features"):
        raise InputError(f"what must be 'samples' or 'features', got {what!r}")
    items = _items(X, what)
    count = _count(n, len(items), what)
    rng = _generator(seed)
    power = check_zeta(zeta)
    unit = bool(normalize if normalize is not None else what == "samples")
    if unit:
        items = _normalized(items)
    distinct, copies = _split_copies(items)
    if len(copies):
        items = items[distinct]
    n_first = min(count, len(distinct))
    # BLAS with several threads sums in another order.
    with one_thread():
        if method == "random":
            chosen = rng.permutation(len(items))[:n_first]
        elif method == "fps":
            chosen = _farthest_points(items, n_first, rng, progress)
        elif method == "cholesky":
            return distinct[pivoted_cholesky(items, n_first, power, unit=unit, progress=progress)]
        elif randomize:
            chosen = _cur_at_random(items, n_first, rng, progress)
        else:
            chosen = _cur(items, n_first, progress)
    return np.concatenate([distinct[chosen], copies[: count - n_first]])


def _items(X: Any, what: str) -> FloatArray:
    """Return what is chosen from as rows of a contiguous array."""
    rows = as_rows(X, "X")
    n_bytes = 3 * 8 * int(rows.shape[0]) * int(rows.shape[1])  # dense, divided by their norms, without copies
    require_memory(n_bytes, "choosing from dense rows", "give fewer rows, or compress the features")
    items = rows if what == "samples" else rows.T
    return np.ascontiguousarray(items.toarray() if scipy.sparse.issparse(items) else items)


def _count(n: Any, n_items: int, what: str) -> int:
    if isinstance(n, (int, np.integer)) and not isinstance(n, bool):
        if not 1 <= n <= n_items:
            raise InputError(f"n must lie between 1 and the number of {what}, {n_items}, got {n}")
        return int(n)
    if not isinstance(n, (float, np.floating)):
        raise InputTypeError(f"n must be an integer or a fraction of the {what}, got {n!r}")
    if not 0.0 < n <= 1.0:
        raise InputError(f"n must be a fraction above 0 and up to 1, or an integer number of {what}, got {n!r}")
    return max(1, round(float(n) * n_items))


def _generator(seed: Any) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise InputTypeError(f"seed must be an integer of 0 or more, got {seed!r}")
    if seed < 0:
        raise InputError(f"seed must be an integer of 0 or more, got {seed}")
    return np.random.default_rng(int(seed))


def _normalized(items: FloatArray) -> FloatArray:
    # By the largest entry first, so that no square over- or underflows.
    largest = np.abs(items).max(axis=1, keepdims=True)
    scaled = items / np.where(largest > 0.0, largest, 1.0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.where(norms > 0.0, norms, 1.0))


def _split_copies(items: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the indices of the first of equal items, and of those that repeat an earlier one."""
    seen: set[bytes] = set()
    is_copy = np.zeros(len(items), dtype=bool)
    for index, item in enumerate(items):
        key = (item + 0.0).tobytes()  # -0.0 equals 0.0
        is_copy[index] = key in seen
        seen.add(key)
    return np.flatnonzero(~is_copy), np.flatnonzero(is_copy)


def _farthest_points(items: FloatArray, count: int, rng: np.random.Generator, progress: bool) -> IntArray:
    items = items / max(np.abs(items).max(), np.finfo(float).tiny)  # no square overflows
    squares = np.einsum("ij,ij->i", items, items)
    chosen = np.empty(count, dtype=np.int64)
    chosen[0] = rng.integers(len(items))
    distances = np.full(len(items), np.inf)
    places = ((1, place) for place in range(1, count))
    for place in track(places, count - 1, "farthest points", progress):
        last = chosen[place - 1]
        new = squares + (squares[last] - 2.0 * (items @ items[last]))
        np.minimum(distances, np.maximum(new, 0.0), out=distances)
        distances[last] = -1.0  # below any distance: not again
        chosen[place] = distances.argmax()
    return chosen


def _cur(items: FloatArray, count: int, progress: bool) -> IntArray:
    left = np.arange(len(items))
    chosen: list[IntArray] = []
    while count > 0:
        vectors = _left_singular_vectors(items[left], count, progress)
        if vectors.shape[1] == 0:  # nothing but zeros
            chosen.append(left[:count])
            break
        n_round = min(count, vectors.shape[1])
        with step("pivots", progress):
            _, pivots = scipy.linalg.qr(vectors.T, mode="r", pivoting=True, overwrite_a=True, check_finite=False)
        chosen.append(left[pivots[:n_round]])
        left = np.delete(left, pivots[:n_round])
        count -= n_round
    return np.concatenate(chosen)


def _cur_at_random(items: FloatArray, count: int, rng: np.random.Generator, progress: bool) -> IntArray:
    vectors = _left_singular_vectors(items, count, progress)
    leverages = np.einsum("ij,ij->i", vectors, vectors)
    # The largest of log(p) + Gumbel noise: one draw without replacement; no leverage comes last.
    with np.errstate(divide="ignore"):
        keys = np.log(leverages) + rng.gumbel(size=len(items))
    return np.argsort(-keys, kind="stable")[:count]


def _left_singular_vectors(items: FloatArray, count: int, progress: bool) -> FloatArray:
    """Return the leading left singular vectors as columns: ``count``, or the numerical rank.

    From the smaller Gram matrix; singular values below about 1e-6 of the largest drown in its
    rounding errors and count as zero.
    """
    items = items / max(np.abs(items).max(), np.finfo(float).tiny)
    n_items, n_columns = items.shape
    tall = n_items > n_columns
    factor = np.ascontiguousarray(items.T) if tall else items
    gram = kernel_of_rows(factor, factor, DotProduct(1.0, False), description="Gram matrix", progress=progress)
    size = len(gram)
    subset = (max(0, size - count), size - 1)
    with step("singular vectors", progress):
        values, vectors = scipy.linalg.eigh(gram, subset_by_index=subset, overwrite_a=True, check_finite=False)
    keep = values > max(items.shape) * np.finfo(float).eps * max(values[-1], 0.0)
    values, vectors = values[keep][::-1], vectors[:, keep][:, ::-1]
    if not tall:
        return np.asarray(vectors)
    return np.asarray(items @ (vectors / np.sqrt(values)))
