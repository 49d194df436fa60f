"""Which neighborhoods the training data cover: D-optimality in the space of products of density coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _checks
from castile._blas_threads import one_thread
from castile.errors import InputError
from castile.models.force_field._fitted_terms import FittedProductTerm, FittedTerm
from castile.progress import cut

__all__ = ["Domain", "domain_of"]

FloatArray = npt.NDArray[np.float64]

_MOST_FUNCTIONS = 500  # the smoothest ones
_CANDIDATES = 2_500  # neighborhoods that the active ones are chosen among
_UNSEEN = 1e-2  # of the root mean square of a function: what counts as much as an active neighborhood, if none has it
_ATOMS_AT_ONCE, _BYTES_AT_ONCE = 4_096, 1 << 26


@dataclass(frozen=True, eq=False)
class Domain:
    """Active neighborhoods of each species, whose products of coefficients span a large volume.

    The products b of any neighborhood are a combination b = Σ g A of those of the active ones, rows of a square matrix
    A; the largest |g| is the grade, here over that of all training neighborhoods. Podryabinkin and Shapeev, Comput.
    Mater. Sci. 140, 171 (2017), doi:10.1016/j.commatsci.2017.08.031.

    Attributes
    ----------
    term : int
        Which of the terms has the products.
    columns : ndarray of shape (n,)
        Of the term's features.
    inverses : tuple of ndarray, each of shape (n, n)
        A⁻¹ over the largest |g| of the training data, for each species.
    """

    term: int
    columns: npt.NDArray[np.int64]
    inverses: tuple[FloatArray, ...]

    def grades(self, terms: Sequence[FittedTerm], species: Sequence[str], frames: list[Any]) -> FloatArray:
        """Return the grade of each atom."""
        descriptor = terms[self.term].descriptor
        offsets = _offsets(frames)
        found = np.zeros(offsets[-1])
        for first, last in cut(offsets, _atoms_at_once(descriptor)):
            rows = descriptor.transform(frames[first:last])[:, self.columns]
            symbols = np.concatenate([atoms.get_chemical_symbols() for atoms in frames[first:last]] or [[]])
            part = found[offsets[first] : offsets[last]]
            for symbol, inverse in zip(species, self.inverses, strict=True):
                own = symbols == symbol
                part[own] = _largest(rows[own], inverse)
        return found

    def describe(self) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """Return metadata and arrays for a file."""
        arrays = {f"inverse_{k}": inverse for k, inverse in enumerate(self.inverses)}
        return {"term": self.term}, {"columns": self.columns.astype(np.float64), **arrays}

    @classmethod
    def restored(cls, metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray], terms: Sequence[Any]) -> Domain:
        """Make the domain that ``describe`` described; raise InputError if that cannot be."""
        number = _checks.integer("term", metadata["term"], 0, len(terms) - 1)
        if not isinstance(terms[number], FittedProductTerm):
            raise InputError("the domain must belong to a term of products")
        columns = arrays["columns"].astype(np.int64)
        rising = columns.ndim == 1 and len(columns) > 0 and (np.diff(columns) > 0).all()
        if not rising or columns[0] < 0 or columns[-1] >= terms[number].n_features:
            raise InputError("columns of the domain must be rising numbers of features")
        n_species = terms[number].n_columns // terms[number].n_features
        inverses = tuple(arrays[f"inverse_{k}"] for k in range(n_species))
        if any(inverse.shape != (len(columns), len(columns)) for inverse in inverses):
            raise InputError(f"inverses of the domain must be square matrices of {len(columns)} rows")
        return cls(number, columns, inverses)


def domain_of(terms: Sequence[FittedTerm], species: Sequence[str], frames: list[Any], seed: int) -> Domain | None:
    """Choose active neighborhoods among those of frames; None without a term of products."""
    number = next((k for k, term in enumerate(terms) if isinstance(term, FittedProductTerm)), None)
    if number is None:
        return None
    descriptor = terms[number].descriptor
    columns = np.sort(np.argsort(descriptor.total_degrees(), kind="stable")[:_MOST_FUNCTIONS])
    inverses = tuple(_inverse(descriptor, columns, frames, symbol, seed) for symbol in species)
    return Domain(number, columns, inverses)


def _inverse(descriptor: Any, columns: npt.NDArray[np.int64], frames: list[Any], symbol: str, seed: int) -> FloatArray:
    chosen = _some_rows(descriptor, columns, frames, symbol, seed)
    scale = np.sqrt(np.mean(chosen**2, axis=0))
    scale[scale == 0.0] = 1.0
    candidates = np.concatenate([chosen / scale, _UNSEEN * np.eye(len(columns))])
    with one_thread():  # several threads change bits
        _, pivots = scipy.linalg.qr(candidates.T, mode="r", pivoting=True, check_finite=False)
        inverse = scipy.linalg.inv(candidates[pivots[: len(columns)]], check_finite=False) / scale[:, None]
    largest = max(float(_largest(rows, inverse).max()) for rows in _rows(descriptor, columns, frames, symbol))
    # Of atoms that have no neighbors anywhere, all products are zero.
    return np.ascontiguousarray(inverse / (largest or 1.0))


def _offsets(frames: list[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(atoms) for atoms in frames], dtype=np.int64)])


def _atoms_at_once(descriptor: Any) -> int:
    """Return of how many atoms all features are small."""
    return max(1, min(_ATOMS_AT_ONCE, _BYTES_AT_ONCE // (8 * len(descriptor.get_feature_names_out()))))


def _largest(rows: FloatArray, inverse: FloatArray) -> FloatArray:
    with one_thread():
        return np.asarray(np.abs(rows @ inverse).max(axis=1, initial=0.0))


def _some_rows(
    descriptor: Any, columns: npt.NDArray[np.int64], frames: list[Any], symbol: str, seed: int
) -> FloatArray:
    """Return products of some centers of a species, drawn at random if there are many."""
    total = sum(atoms.get_chemical_symbols().count(symbol) for atoms in frames)
    wanted = np.arange(total)
    if total > _CANDIDATES:
        wanted = np.sort(np.random.default_rng(seed).choice(total, _CANDIDATES, replace=False))
    chosen, before = [], 0
    for rows in _rows(descriptor, columns, frames, symbol):
        own = wanted[(wanted >= before) & (wanted < before + len(rows))] - before
        chosen.append(rows[own])
        before += len(rows)
    return np.concatenate(chosen)


def _rows(descriptor: Any, columns: npt.NDArray[np.int64], frames: list[Any], symbol: str) -> Iterator[FloatArray]:
    """Yield products of all centers of a species, for some frames after the other."""
    frames = [atoms for atoms in frames if symbol in atoms.get_chemical_symbols()]
    for first, last in cut(_offsets(frames), _atoms_at_once(descriptor)):
        yield descriptor.transform(frames[first:last], centers=symbol)[:, columns]
