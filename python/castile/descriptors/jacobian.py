"""Explicit gradients of descriptors, stored in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from castile._memory import format_bytes, require_memory

__all__ = ["Gradients", "Jacobian", "JacobianGroup", "MemoryEstimate"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gradients:
    """Result of a descriptor's ``vjp``: a scalar's gradient.

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
class JacobianGroup:
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
        return (
            f"<JacobianGroup: {len(self.row)} blocks of moving {self.species or 'points'}, "
            f"{len(self.columns)} columns, {format_bytes(self.values.nbytes)}>"
        )


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Explicit gradient of a descriptor, block sparse.

    Every pair (row, moving atom) with a non-zero derivative has exactly one block, in one of the groups. A
    neighbor of a center can change only the columns of its species; the center itself, the atoms of averaged
    rows and those of normalized rows can change all columns. So there are one or two groups per species.

    Attributes
    ----------
    groups : list of JacobianGroup
    strain : ndarray of shape (n_rows, 3, 3, n_features) or None
        Derivative with respect to the symmetric strain; entry xy is half the derivative along a strain that
        moves xy and yx together.
    n_rows, n_features : int
    atom_offsets : ndarray of shape (n_frames + 1,)
        The atoms of frame ``f`` are ``atom_offsets[f]:atom_offsets[f + 1]``.
    centers : JacobianGroup or None
        Blocks of centers that are points: their ``species`` is empty, and ``atom`` is the index of the center among
        those of its frame.
    """

    groups: list[JacobianGroup]
    strain: npt.NDArray[Any] | None
    n_rows: int
    n_features: int
    atom_offsets: IntArray
    centers: JacobianGroup | None = None

    def __repr__(self) -> str:
        strain = "no strain" if self.strain is None else f"strain {self.strain.shape}"
        parts = self.groups if self.centers is None else [*self.groups, self.centers]
        groups = "".join(f"\n  {group!r}" for group in parts)
        return (
            f"<Jacobian: {self.n_rows} rows x {self.n_features} features by {int(self.atom_offsets[-1])} atoms, "
            f"{strain}, {format_bytes(self.nbytes)}, {len(parts)} groups>{groups}"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        total = sum(group.values.nbytes for group in self.groups)
        total += 0 if self.centers is None else self.centers.values.nbytes
        return total + (0 if self.strain is None else self.strain.nbytes)

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
        n_atoms = int(self.atom_offsets[-1])
        dtype = self.groups[0].values.dtype if self.groups else np.dtype(np.float64)
        shape = (self.n_rows, n_atoms, 3, self.n_features)
        require_memory(
            int(np.prod(shape, dtype=object)) * dtype.itemsize,
            "the dense Jacobian",
            "work with J.groups, or with vjp and jvp, which never form it",
        )
        dense = np.zeros(shape, dtype=dtype)
        for group in self.groups:
            atom = self.atom_offsets[group.frame] + group.atom
            if len(group.columns) == self.n_features:
                dense[group.row, atom] = group.values
            else:
                blocks = np.zeros((len(group.row), 3, self.n_features), dtype=dtype)
                blocks[:, :, group.columns] = group.values
                dense[group.row, atom] = blocks
        return dense


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that results of a descriptor take.

    Attributes
    ----------
    features : int
        The dense feature matrix.
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
