"""Explicit gradients of descriptors, stored in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from castile._memory import format_bytes, require_memory
from castile._pages import memory_of
from castile.errors import InputError

__all__ = ["Gradients", "Jacobian", "JacobianGroup", "MemoryEstimate", "StrainGroup"]

IntArray = npt.NDArray[np.int64]


class _Emptiable:
    """Mixin of dataclasses whose memory can be given away: they are empty then, and raise wherever they are used."""

    _is_empty = False

    if not TYPE_CHECKING:  # type checkers take it for a promise that every name exists

        def __getattr__(self, name: str) -> Any:
            """Say that what was asked for is gone: only names that are not there come here."""
            cls = type(self)
            if self._is_empty and name in cls.__dataclass_fields__:
                raise InputError(
                    f"this {cls.__name__} is empty: its memory was given away by jacobian(..., out=); use the Jacobian "
                    "that was returned then, or leave out= away to keep both"
                )
            raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes, for copies and pickles."""
        return {part.name: getattr(self, part.name) for part in fields(self)}  # type: ignore[arg-type]

    def _take(self) -> dict[str, Any]:
        """Empty this object and return its attributes; of several threads one gets them, the others InputError."""
        state = vars(self)
        state["_is_empty"] = True
        first, *others = (part.name for part in fields(self))  # type: ignore[arg-type]
        missing = object()
        taken = {first: state.pop(first, missing)}  # in one step: this tells who was first
        if taken[first] is missing:
            getattr(self, first)  # raises
        return taken | {name: state.pop(name) for name in others}


@dataclass(frozen=True, eq=False)
class Gradients:
    """Result of a descriptor's ``vjp``: a scalar's gradient, in float64 whatever the descriptor's ``dtype``.

    Attributes
    ----------
    positions : ndarray of shape (n_atoms, 3)
        Derivative with respect to the positions of all frames' atoms, per Å. Forces are its negative.
    strain : ndarray of shape (n_frames, 3, 3)
        Derivative with respect to the symmetric strain e in r -> (1 + e) r, cell -> cell (1 + e)^T; symmetric.
        Divided by the volume it is the stress.
    atom_offsets : ndarray of shape (n_frames + 1,)
        The atoms of frame ``f`` are ``atom_offsets[f]:atom_offsets[f + 1]``.
    centers : ndarray of shape (n_centers, 3) or None
        Derivative with respect to the positions of centers that are points, per Å; rows of centers that are atoms
        are zero. None if all are atoms.
    """

    positions: npt.NDArray[np.float64]
    strain: npt.NDArray[np.float64]
    atom_offsets: IntArray
    centers: npt.NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        return f"<Gradients: positions {self.positions.shape}, strain {self.strain.shape}>"


@dataclass(frozen=True, eq=False)
class JacobianGroup(_Emptiable):
    """Blocks that share the species of the moving atom and a set of columns.

    Attributes
    ----------
    species : str
        Chemical symbol of the moving atoms.
    columns : ndarray of shape (n_k,)
        Feature columns that are stored; the derivatives of all others are zero.
    values : ndarray of shape (n_blocks, 3, n_k)
        Derivatives of the features with respect to the moving atom's position, per Å.
    row, frame, atom : ndarray of shape (n_blocks,)
        Row of the feature matrix, and the moving atom: its frame and its index within the frame.
    """

    species: str
    columns: IntArray
    values: npt.NDArray[Any]
    row: IntArray
    frame: IntArray
    atom: IntArray

    def __repr__(self) -> str:
        if self._is_empty:
            return "<JacobianGroup: empty, its memory was given away>"
        return (
            f"<JacobianGroup: {len(self.row)} blocks of moving {self.species or 'points'}, "
            f"{len(self.columns)} columns, {format_bytes(self.values.nbytes)}>"
        )


@dataclass(frozen=True, eq=False)
class StrainGroup(_Emptiable):
    """Derivatives with respect to strain of rows that have the same columns.

    Attributes
    ----------
    columns : ndarray of shape (n_k,)
        Feature columns that are stored; the derivatives of all others are zero.
    values : ndarray of shape (n, 3, 3, n_k)
        See :attr:`Jacobian.strain`.
    row : ndarray of shape (n,)
        Rows of the feature matrix, ascending.
    """

    columns: IntArray
    values: npt.NDArray[Any]
    row: IntArray

    def __repr__(self) -> str:
        if self._is_empty:
            return "<StrainGroup: empty, its memory was given away>"
        return f"<StrainGroup: {len(self.row)} rows, {len(self.columns)} columns, {format_bytes(self.values.nbytes)}>"


@dataclass(frozen=True, eq=False)
class Jacobian(_Emptiable):
    """Explicit gradient of a descriptor, block sparse.

    Every pair (row, moving atom) with a non-zero derivative has exactly one block, in one of the groups. A
    neighbor of a center can change only the columns of its species; the center itself, the atoms of averaged
    rows and those of normalized rows can change all columns. So there are one or two groups per species; with
    ``sparse=True`` as many for each set of species that rows see, whose columns are all that is stored.

    With float32 descriptors all values are float32. One that was given to a descriptor's ``jacobian`` as ``out`` is
    empty: its attributes and methods raise InputError.

    Attributes
    ----------
    groups : list of JacobianGroup
    strain_groups : list of StrainGroup, or None
        Derivatives with respect to strain, if asked for: one group, or with ``sparse=True`` one for each set of
        species.
    n_rows, n_features : int
    atom_offsets : ndarray of shape (n_frames + 1,)
        The atoms of frame ``f`` are ``atom_offsets[f]:atom_offsets[f + 1]``.
    center_groups : list of JacobianGroup
        Blocks of centers that are points: their ``species`` is empty, and ``atom`` is the index of the center among
        those of its frame.
    """

    groups: list[JacobianGroup]
    strain_groups: list[StrainGroup] | None
    n_rows: int
    n_features: int
    atom_offsets: IntArray
    center_groups: list[JacobianGroup] = field(default_factory=list)

    def __repr__(self) -> str:
        if self._is_empty:
            return "<Jacobian: empty, its memory was given away by jacobian(..., out=)>"
        strain = "no strain" if self.strain_groups is None else f"strain {(self.n_rows, 3, 3, self.n_features)}"
        parts = [*self.groups, *self.center_groups]
        groups = "".join(f"\n  {group!r}" for group in parts)
        return (
            f"<Jacobian: {self.n_rows} rows x {self.n_features} features by {int(self.atom_offsets[-1])} atoms, "
            f"{strain}, {format_bytes(self.nbytes)}, {len(parts)} groups>{groups}"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(values.nbytes for values in self._values())

    @property
    def strain(self) -> npt.NDArray[Any] | None:
        """Derivatives with respect to the symmetric strain, (n_rows, 3, 3, n_features), or None.

        Entry xy is half the derivative along a strain that moves xy and yx together. With ``sparse=True`` this makes
        an array with all zeros; ``strain_groups`` have what is stored.

        Raises
        ------
        MemoryLimitError
            If that does not fit into memory.
        """
        if self.strain_groups is None:
            return None
        if len(self.strain_groups) == 1 and len(self.strain_groups[0].columns) == self.n_features:
            return self.strain_groups[0].values
        dense = self._zeros((self.n_rows, 3, 3, self.n_features), "the dense strain gradient", "J.strain_groups")
        for group in self.strain_groups:
            dense[group.row[:, None], :, :, group.columns] = np.moveaxis(group.values, 3, 1)
        return dense

    def to_dense(self) -> npt.NDArray[Any]:
        """Return the Jacobian with all its zeros.

        Returns
        -------
        ndarray of shape (n_rows, n_atoms, 3, n_features)
            With the atoms of all frames counted through; without centers that are points.

        Raises
        ------
        MemoryLimitError
            If that does not fit into memory.
        """
        shape = (self.n_rows, int(self.atom_offsets[-1]), 3, self.n_features)
        dense = self._zeros(shape, "the dense Jacobian", "J.groups or J.to_sparse()")
        for group in self.groups:
            atom = self.atom_offsets[group.frame] + group.atom
            if len(group.columns) == self.n_features:
                dense[group.row, atom] = group.values
            else:
                dense[group.row[:, None], atom[:, None], :, group.columns] = np.moveaxis(group.values, 2, 1)
        return dense

    def to_sparse(self) -> sp.csr_array:
        """Return the Jacobian as one sparse matrix.

        Returns
        -------
        scipy.sparse.csr_array of shape (n_rows * n_features, 3 * n_atoms)
            Features of all rows, row by row, against the coordinates of all frames' atoms:
            ``J.to_sparse() @ positions_dot.ravel()`` is ``jvp``, flattened. Without centers that are points.

        Raises
        ------
        MemoryLimitError
            If that does not fit into memory.
        """
        shape = (self.n_rows * self.n_features, 3 * int(self.atom_offsets[-1]))
        index_type = np.int32 if max(shape) < 2**31 else np.int64
        n_stored = sum(group.values.size for group in self.groups)
        # As coordinates first, then in rows.
        n_bytes = 2 * n_stored * (2 * np.dtype(index_type).itemsize + self._dtype.itemsize)
        require_memory(n_bytes, "the sparse Jacobian", "work with J.groups, or with vjp and jvp, which never form it")
        values, rows, columns = (np.empty(n_stored, kind) for kind in (self._dtype, index_type, index_type))
        start = 0
        for group in self.groups:
            own = slice(start, start + group.values.size)
            coordinates = 3 * (self.atom_offsets[group.frame] + group.atom)[:, None] + np.arange(3)
            features = group.row[:, None] * self.n_features + group.columns
            values[own] = group.values.ravel()
            rows[own] = np.broadcast_to(features[:, None, :], group.values.shape).ravel()
            columns[own] = np.broadcast_to(coordinates[:, :, None], group.values.shape).ravel()
            start = own.stop
        return sp.csr_array(sp.coo_array((values, (rows, columns)), shape=shape))

    def memory(self) -> list[npt.NDArray[np.uint8]]:
        """Return the memory of all values that another Jacobian may overwrite, see :meth:`give_memory`.

        Raises
        ------
        InputError
            If arrays are read-only, or this Jacobian is empty.
        """
        values = list(self._values())
        if not all(array.flags.writeable for array in values):
            raise InputError(
                "out must be a Jacobian whose memory may be overwritten, but it holds read-only arrays; leave it away"
            )
        return memory_of(values)

    def give_memory(self) -> list[npt.NDArray[np.uint8]]:
        """Return the memory of all values, for another Jacobian to overwrite, and leave this one empty.

        Raises
        ------
        InputError
            If it is empty already; of several threads one gets the memory.
        """
        mine = self._take()
        groups = [*mine["groups"], *mine["center_groups"], *(mine["strain_groups"] or ())]
        return memory_of([group._take()["values"] for group in groups])

    @property
    def _dtype(self) -> np.dtype[Any]:
        return next((values.dtype for values in self._values()), np.dtype(np.float64))

    def _values(self) -> Iterator[npt.NDArray[Any]]:
        for group in (*self.groups, *self.center_groups):
            yield group.values
        for part in self.strain_groups or ():
            yield part.values

    def _zeros(self, shape: tuple[int, ...], what: str, instead: str) -> npt.NDArray[Any]:
        n_bytes = int(np.prod(shape, dtype=object)) * self._dtype.itemsize
        require_memory(n_bytes, what, f"work with {instead}, or with vjp and jvp, which never form it")
        return np.zeros(shape, dtype=self._dtype)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that results of a descriptor take.

    Attributes
    ----------
    features : int
        The feature matrix, dense or, with ``sparse=True``, in CSR form.
    jacobian : int
        All blocks of the explicit Jacobian.
    strain : int
        Its strain part, if asked for.
    indices : int
        Row, frame and atom of each block.
    """

    features: int
    jacobian: int
    strain: int
    indices: int

    @property
    def total(self) -> int:
        """The explicit Jacobian with all that belongs to it."""
        return self.jacobian + self.strain + self.indices

    def __repr__(self) -> str:
        parts = (f"{name} {format_bytes(size)}" for name, size in vars(self).items())
        return f"<MemoryEstimate: {', '.join(parts)}>"
