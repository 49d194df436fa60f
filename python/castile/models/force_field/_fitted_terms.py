"""Terms with what the training data gave them: their columns, the prior of these, and their part of the potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _checks, _core
from castile._blas_threads import one_thread
from castile.descriptors._learning import leading_mixtures
from castile.errors import InputError
from castile.io import describe_descriptor, restore_descriptor
from castile.kernels._blocks import DotProduct, kernel_of_rows
from castile.models.force_field._lengths import Lengths
from castile.models.force_field._whitening import DiagonalBlock, EigenBlock, TriangularBlock, kernel_block
from castile.models.force_field.terms import REDUCTIONS, PairTerm, ProductTerm, SoapTerm, Term, descriptor_for
from castile.models.selection import select
from castile.progress import cut

__all__ = [
    "FittedFunctions",
    "FittedPairTerm",
    "FittedProductTerm",
    "FittedSoapTerm",
    "FittedTerm",
    "fit_term",
    "restore_term",
]

FloatArray = npt.NDArray[np.float64]
Block = TriangularBlock | EigenBlock | DiagonalBlock

_NO_VARIANCE = 1e-13  # of the largest: rounding
_METHODS = {"pca": "svd", "cur": "cur"}
_MOST_CANDIDATES = 20_000  # rows of each species that sparse points are chosen from
_COPIES = 6  # of them, and of what chooses among them, that there are at once
_ATOMS_AT_ONCE = 4_096


@dataclass(frozen=True, eq=False)
class FittedSoapTerm:
    """A kernel with its sparse points.

    Attributes
    ----------
    descriptor : SOAP
        With species.
    zeta : float
    points : tuple of ndarray, each of shape (n_points, n_features)
        Rows of norm one, for each species; with projections, their components, shape (n_points, n_components).
    prior_factor : float
    selection : str
        How the points were chosen.
    projections : tuple of ndarray, each of shape (n_components, n_features), or None
        Orthonormal rows, for each species: the kernel sees these components of normalized features.
    reduction : str
        How the projections were found.
    """

    descriptor: Any
    zeta: float
    points: tuple[FloatArray, ...]
    prior_factor: float = 1.0
    selection: str = "cholesky"
    projections: tuple[FloatArray, ...] | None = None
    reduction: str = "pca"

    @property
    def n_features(self) -> int:
        """Length of the rows that the kernel sees."""
        return int(self.points[0].shape[1])

    @property
    def n_columns(self) -> int:
        """Number of sparse points."""
        return sum(map(len, self.points))

    @property
    def n_blocks(self) -> int:
        """Of the prior: one for each species."""
        return len(self.points)

    def columns(self) -> _core.DescriptorColumns:
        """Return what writes the columns."""
        points = list(self.points)
        if self.projections is not None:
            # The product of components is that of the features with what the points are made up of.
            points = [_product(rows, of.T) for rows, of in zip(self.points, self.projections, strict=True)]
        return _core.DescriptorColumns(core_of(self.descriptor), float(self.zeta), True, points)

    def kernels(self) -> list[FloatArray]:
        """Return the kernel between the points of each species."""
        # What a projection leaves of a row is not of norm one.
        kernel = DotProduct(float(self.zeta), self.projections is None)
        return [kernel_of_rows(rows, rows, kernel) for rows in self.points]

    def blocks(self) -> list[Block]:
        """Return the prior of the columns, for a force field whose prior is one."""
        return [kernel_block(kernel, self.prior_factor) for kernel in self.kernels()]

    def part(self, weights: FloatArray, members: FloatArray | None = None) -> _core.DescriptorTerm:
        """Return the term with weights (n_columns,) and those of a committee, (n_members, n_columns)."""
        sizes = [len(rows) for rows in self.points]
        core, zeta = core_of(self.descriptor), float(self.zeta)
        return _core.DescriptorTerm(
            core,
            zeta,
            True,
            list(self.points),
            _parts(weights, sizes),
            None if members is None else _parts(members, sizes),
            None if self.projections is None else list(self.projections),
        )

    def specification(self) -> SoapTerm:
        """Return the term that would be fitted like this."""
        n_sparse = max(map(len, self.points))
        return SoapTerm(
            self.descriptor,
            self.zeta,
            n_sparse,
            self.selection,
            prior_factor=self.prior_factor,
            n_features=None if self.projections is None else max(map(len, self.projections)),
            reduction=self.reduction,
        )

    def describe(self) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """Return metadata and arrays for a file."""
        metadata = {
            "kind": "soap",
            "descriptor": describe_descriptor(self.descriptor),
            "zeta": self.zeta,
            "prior_factor": self.prior_factor,
            "selection": self.selection,
        }
        arrays = {f"points_{k}": rows for k, rows in enumerate(self.points)}
        if self.projections is not None:
            metadata["reduction"] = self.reduction
            arrays.update((f"projection_{k}", rows) for k, rows in enumerate(self.projections))
        return metadata, arrays


@dataclass(frozen=True, eq=False)
class FittedFunctions:
    """Functions of a center's neighborhood that are the columns, for each species of the center.

    Attributes
    ----------
    descriptor : RadialSpectrum or Products
        With species.
    scales : ndarray of shape (n_features,)
        What prior standard deviations are inversely proportional to.
    prior_factor : float
    """

    descriptor: Any
    scales: FloatArray
    prior_factor: float = 1.0

    kind: ClassVar[str]
    n_blocks: ClassVar[int] = 1  # of the prior

    @property
    def n_features(self) -> int:
        """Functions of one species of the center."""
        return len(self.scales)

    @property
    def n_columns(self) -> int:
        """Functions for each species of the center."""
        return len(self.descriptor._species_or_raise()) * len(self.scales)

    def columns(self) -> _core.DescriptorColumns:
        """Return what writes the columns."""
        return _core.DescriptorColumns(core_of(self.descriptor))

    def blocks(self) -> list[Block]:
        """Return the prior of the columns, for a force field whose prior is one."""
        return [DiagonalBlock(np.tile(self.prior_factor / self.scales, len(self.descriptor._species_or_raise())))]

    def part(self, weights: FloatArray, members: FloatArray | None = None) -> _core.DescriptorTerm:
        """Return the term with weights (n_columns,) and those of a committee, (n_members, n_columns)."""
        n_species, size = len(self.descriptor._species_or_raise()), len(self.scales)
        vectors = weights[None] if members is None else np.concatenate([weights[None], members])
        # Products with the vectors of weights, of which the first one counts, and each member's is its own.
        chosen = np.eye(len(vectors))
        others = None if members is None else [chosen[1:]] * n_species
        rows = _parts(vectors, [size] * n_species)
        return _core.DescriptorTerm(core_of(self.descriptor), 1.0, False, rows, [chosen[0]] * n_species, others)

    def describe(self) -> tuple[dict[str, Any], dict[str, FloatArray]]:
        """Return metadata and arrays for a file."""
        metadata = {
            "kind": self.kind,
            "descriptor": describe_descriptor(self.descriptor),
            "prior_factor": self.prior_factor,
        }
        return metadata, {"scales": self.scales}


class FittedPairTerm(FittedFunctions):
    """Pair functions; scales are their root mean squares, as each is to add about as much to an energy."""

    kind = "pair"

    def specification(self) -> PairTerm:
        """Return the term that would be fitted like this."""
        return PairTerm(self.descriptor.n_max, self.descriptor.cutoff, self.prior_factor)


class FittedProductTerm(FittedFunctions):
    """Products of density coefficients; scales rise with their degrees."""

    kind = "product"

    def specification(self) -> ProductTerm:
        """Return the term that would be fitted like this."""
        return ProductTerm(self.descriptor, prior_factor=self.prior_factor)


FittedTerm = FittedSoapTerm | FittedPairTerm | FittedProductTerm


def _parts(values: FloatArray, sizes: list[int]) -> list[FloatArray]:
    """Cut the last axis by species."""
    return [np.ascontiguousarray(part) for part in np.split(values, np.cumsum(sizes)[:-1], axis=-1)]


def core_of(descriptor: Any) -> Any:
    """Return the compiled descriptor."""
    return descriptor._core(descriptor._species_or_raise())


def fit_term(
    term: Term,
    frames: list[Any],
    species: tuple[str, ...],
    lengths: Lengths,
    *,
    seed: int,
    max_memory: int,
) -> FittedTerm:
    """Choose what a term learns from structures alone: its lengths and sparse points.

    Parameters
    ----------
    term : SoapTerm, PairTerm or ProductTerm
    frames : list of ase.Atoms
    species : tuple of str
    lengths : Lengths
    seed : int
    max_memory : int
        Bytes; bounds the number of environments that points are chosen from.
    """
    descriptor = descriptor_for(term, species, lengths, frames)
    if isinstance(term, PairTerm):
        return FittedPairTerm(descriptor, _root_mean_squares(descriptor, frames), term.prior_factor)
    if isinstance(term, ProductTerm):
        return FittedProductTerm(descriptor, (descriptor.total_degrees() / 2.0) ** 2, term.prior_factor)
    points, projections, wanted = [], [], term.points_of_each(len(species))
    n_features = len(descriptor.get_feature_names_out())
    reduces = term.n_features is not None and term.n_features < n_features
    for k, symbol in enumerate(species):
        most = _most_candidates(descriptor, wanted, max_memory)
        rows = _unit_rows(descriptor, frames, symbol, most, np.random.default_rng([seed, k]))
        if len(rows) == 0:
            raise InputError(
                f"all environments of {symbol} are empty; raise the cutoff, or use a descriptor with center_weight "
                "above 0"
            )
        if reduces:
            projections.append(_projection(rows, cast(int, term.n_features), term.reduction))
            rows = _product(rows, projections[-1])
        points.append(_sparse_points(rows, term, seed, wanted, normalize=not reduces))
    return FittedSoapTerm(
        descriptor,
        float(term.zeta),
        tuple(points),
        term.prior_factor,
        term.selection,
        tuple(projections) if reduces else None,
        term.reduction,
    )


def _projection(rows: FloatArray, n: int, reduction: str) -> FloatArray:
    """Return orthonormal rows that keep most of others: principal components about zero, or features."""
    with one_thread():  # several threads change bits
        covariance = rows.T @ rows
        variances = scipy.linalg.eigvalsh(covariance)
        # What no environment has is of no use.
        rank = int(np.count_nonzero(variances > _NO_VARIANCE * variances[-1]))
        mixtures, _ = leading_mixtures(covariance, min(n, rank), _METHODS[reduction])
    return np.ascontiguousarray(mixtures)


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return left rightᵀ, with the same bits on any machine's threads."""
    return kernel_of_rows(left, np.ascontiguousarray(right), DotProduct(1.0, False))


def _root_mean_squares(descriptor: Any, frames: list[Any]) -> FloatArray:
    squares, n_rows = np.zeros(len(descriptor.get_feature_names_out())), 0
    for first, last in cut(_offsets([len(atoms) for atoms in frames]), _ATOMS_AT_ONCE):
        rows = descriptor.transform(frames[first:last])
        squares += np.sum(rows * rows, axis=0)
        n_rows += len(rows)
    means = np.sqrt(squares / max(n_rows, 1))
    return np.where(means > 0.0, means, 1.0)


def _most_candidates(descriptor: Any, n_points: int, max_memory: int) -> int:
    """Return how many rows fit, with the factor of as many columns as points that some methods need."""
    width = max(len(descriptor.get_feature_names_out()), n_points)
    return max(n_points, min(_MOST_CANDIDATES, max_memory // (8 * _COPIES * width)))


def _unit_rows(descriptor: Any, frames: list[Any], symbol: str, most: int, rng: np.random.Generator) -> FloatArray:
    """Return features of norm one of the atoms of a species, or of ``most`` of them."""
    counts = np.array([np.count_nonzero(np.array(atoms.get_chemical_symbols()) == symbol) for atoms in frames])
    total, n_features = int(counts.sum()), len(descriptor.get_feature_names_out())
    wanted = np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
    rows, n_rows, before = np.empty((len(wanted), n_features)), 0, 0
    offsets = _offsets(counts)
    for first, last in cut(offsets, _ATOMS_AT_ONCE):
        n = int(offsets[last] - offsets[first])
        own = wanted[(wanted >= before) & (wanted < before + n)] - before
        before += n
        if len(own) == 0:
            continue
        found = descriptor.transform(frames[first:last], centers=symbol)[own]
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        found = found[norms[:, 0] > 0.0] / norms[norms[:, 0] > 0.0]
        rows[n_rows : n_rows + len(found)] = found
        n_rows += len(found)
    return rows[:n_rows]


def _offsets(counts: Any) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)])


def _sparse_points(rows: FloatArray, term: SoapTerm, seed: int, most: int, *, normalize: bool) -> FloatArray:
    method: Any = term.selection
    options: dict[str, Any] = {"zeta": float(term.zeta)}
    if method != "cholesky":  # which leaves out copies by itself
        rows, options = np.unique(rows, axis=0), {"seed": seed}
    n_points = min(most, len(rows))
    chosen = select(rows, n_points, method=method, normalize=normalize, **options)
    return np.ascontiguousarray(rows[chosen])


def restore_term(metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> FittedTerm:
    """Make the term that ``describe`` described; raise InputError if that cannot be."""
    try:
        descriptor = restore_descriptor(metadata["descriptor"])
        functions = {kind.kind: kind for kind in (FittedPairTerm, FittedProductTerm)}
        if metadata["kind"] in functions:
            made = functions[metadata["kind"]](descriptor, arrays["scales"], float(metadata["prior_factor"]))
            return cast(FittedTerm, made)
        _checks.choice("kind", metadata["kind"], (*functions, "soap"))
        species = range(len(descriptor.species_))
        points = tuple(arrays[f"points_{k}"] for k in species)
        factor, selection = float(metadata["prior_factor"]), str(metadata["selection"])
        reduction = _checks.choice("reduction", metadata.get("reduction", "pca"), REDUCTIONS)
        projections = None
        if any(name.startswith("projection_") for name in arrays):
            projections = tuple(arrays[f"projection_{k}"] for k in species)
        return FittedSoapTerm(descriptor, float(metadata["zeta"]), points, factor, selection, projections, reduction)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the file does not describe a term of a force field: {error!r}") from error
