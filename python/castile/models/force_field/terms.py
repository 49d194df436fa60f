"""The parts that a force field's energy is a sum of, as a user asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ase import Atoms
from sklearn.base import clone

from castile import _checks
from castile.descriptors import SOAP, Products, RadialSpectrum
from castile.descriptors._learning import learns
from castile.descriptors.products import count_products
from castile.errors import InputError, InputTypeError
from castile.kernels._rows import check_zeta
from castile.models.force_field._lengths import Lengths

__all__ = [
    "CUTOFF",
    "DEFAULT_PRESET",
    "PRESETS",
    "PairTerm",
    "ProductTerm",
    "SoapTerm",
    "Term",
    "cutoff_for",
    "default_products",
    "default_soap",
    "descriptor_for",
    "finest_degrees",
]

# In nearest-neighbor distances, from cross-validation on training sets; see docs/force_fields.md.
CUTOFF = 2.2
_SIGMA = 0.21
_CUTOFF_WIDTH = 0.43
_WEIGHT_RADIUS = 1.28
_SHORTEST_CUTOFF = 5.0  # Å
_SHORTEST_NEIGHBOR = 1.8  # Å: bonds to hydrogen are no measure of what surrounds an atom

_POINTS, _MOST_POINTS, _POINTS_TOGETHER = 1500, 2000, 6000

_FEWEST_FUNCTIONS = 200
# Degrees by order, from coarse to fine; those of one species have 8 to 2 401 functions.
_RULES: tuple[tuple[int, ...], ...] = (
    (8,),
    (8, 4),
    (8, 6, 5),
    (8, 8, 6),
    (8, 8, 6, 6),
    (8, 9, 7, 6),
    (8, 10, 8, 6),
    (8, 11, 9, 8),
    (8, 12, 10, 8),
    (8, 13, 11, 9),
    (8, 14, 12, 10),
    (8, 15, 13, 10),
    (8, 16, 14, 11),
    (8, 16, 14, 12, 11),
    (8, 17, 15, 12, 11),
    (8, 18, 16, 13),
    (8, 18, 16, 14, 12),
)

REDUCTIONS = ("pca", "cur")
_SELECTIONS = ("cholesky", "cur", "fps", "random")


@dataclass(frozen=True)
class SoapTerm:
    """A Gaussian process of SOAP environments: sums over atoms of the kernel (p·p')^zeta with sparse points.

    Parameters
    ----------
    descriptor : SOAP, optional
        By default one whose lengths follow from the training data.
    zeta : float
        Power of the kernel; 1 is a linear model of the power spectrum, 2 one whose cost does not depend on the number
        of sparse points.
    n_sparse : int, optional
        Sparse points of each species, at most; fewer if the data hold fewer that are not alike. By default 1 500 for
        one species, 2 000 for each of two or three, and 6 000 together for more.
    selection : {"cholesky", "cur", "fps", "random"}
        How they are chosen, see :func:`castile.select`.
    cutoff : float, optional
        Of the default descriptor, Å.
    prior_factor : float
        Prior standard deviation of an atom's energy from this term, over the ``prior`` of the force field.
    n_features : int, optional
        So many combinations of the features, or features, of each species' environments are all that the kernel sees:
        faster predictions, larger errors. By default all of them.
    reduction : {"pca", "cur"}
        How these are found in the training data: as principal components, or as features chosen by their leverage.
    """

    descriptor: SOAP | None = None
    zeta: float = 4.0
    n_sparse: int | None = None
    selection: str = "cholesky"
    cutoff: float | None = None
    prior_factor: float = 1.0
    n_features: int | None = None
    reduction: str = "pca"

    def __post_init__(self) -> None:
        if self.descriptor is not None and not isinstance(self.descriptor, SOAP):
            raise InputTypeError(f"descriptor must be a castile.SOAP, got {type(self.descriptor).__name__}")
        if self.descriptor is not None:
            if self.cutoff is not None:
                raise InputError("give either descriptor or cutoff, which is that of the default descriptor")
            _check_descriptor(self.descriptor)
        check_zeta(self.zeta)
        if self.n_sparse is not None:
            _checks.integer("n_sparse", self.n_sparse, 1)
        if self.n_features is not None:
            _checks.integer("n_features", self.n_features, 1)
        _checks.choice("selection", self.selection, _SELECTIONS)
        _checks.choice("reduction", self.reduction, REDUCTIONS)
        _check_numbers(self)

    def points_of_each(self, n_species: int) -> int:
        """Return how many sparse points each of several species gets at most."""
        if self.n_sparse is not None:
            return self.n_sparse
        return _POINTS if n_species == 1 else max(1, min(_MOST_POINTS, _POINTS_TOGETHER // n_species))


@dataclass(frozen=True)
class PairTerm:
    """Functions of the distances of pairs, for each pair of species, linear in their weights.

    Parameters
    ----------
    n_max : int
        Radial functions.
    cutoff : float, optional
        In Å; by default that of the SOAP term's default descriptor.
    prior_factor : float
        Prior standard deviation of what each function adds to an atom's energy, over the ``prior`` of the force field.
    """

    n_max: int = 8
    cutoff: float | None = None
    prior_factor: float = 1.0

    def __post_init__(self) -> None:
        _checks.integer("n_max", self.n_max, 1)
        _check_numbers(self)


@dataclass(frozen=True)
class ProductTerm:
    """Invariant products of up to five density coefficients, linear in their weights: an atomic cluster expansion.

    Each species of the center has weights of its own. Their prior falls with the square of a function's total degree,
    so that smooth functions are preferred.

    Parameters
    ----------
    descriptor : Products, optional
        By default one whose lengths follow from the training data.
    n_functions : int
        Functions of each species, at most: the default descriptor has the finest rule of degrees that leaves no more.
        For several species, so many together, but no fewer than 200 for each.
    cutoff : float, optional
        Of the default descriptor, Å.
    prior_factor : float
        Prior standard deviation in an atom's energy of a product of total degree 2 that is one, over the ``prior`` of
        the force field.
    """

    descriptor: Products | None = None
    n_functions: int = 500
    cutoff: float | None = None
    prior_factor: float = 1.0

    def __post_init__(self) -> None:
        if self.descriptor is not None and not isinstance(self.descriptor, Products):
            raise InputTypeError(f"descriptor must be a castile.Products, got {type(self.descriptor).__name__}")
        if self.descriptor is not None:
            if self.cutoff is not None:
                raise InputError("give either descriptor or cutoff, which is that of the default descriptor")
            _check_descriptor(self.descriptor)
        _checks.integer("n_functions", self.n_functions, 1)
        _check_numbers(self)


Term = SoapTerm | PairTerm | ProductTerm


def descriptor_for(term: Term, species: tuple[str, ...], lengths: Lengths, frames: list[Atoms]) -> Any:
    """Return the descriptor of a term for given species; what it learns, it learns from the frames."""
    if not isinstance(term, PairTerm) and term.descriptor is not None:
        descriptor = _with_species(term.descriptor, species)
        if learns(descriptor) and not hasattr(descriptor, "species_"):
            return clone(descriptor).fit(frames)
        return descriptor
    cutoff = term.cutoff if term.cutoff is not None else cutoff_for(lengths)
    if isinstance(term, PairTerm):
        neighbor = _neighbor(lengths)
        width = _width(neighbor, cutoff)
        return RadialSpectrum(cutoff, n_max=term.n_max, sigma=_SIGMA * neighbor, species=species, cutoff_width=width)
    if isinstance(term, ProductTerm):
        return default_products(species, lengths, cutoff, term.n_functions)
    return default_soap(species, lengths, cutoff)


def cutoff_for(lengths: Lengths, factor: float = CUTOFF) -> float:
    """Return a cutoff in Å that is in proportion to a material's lengths, and not too short for molecules."""
    return max(factor * lengths.neighbor, _SHORTEST_CUTOFF)


def default_products(species: tuple[str, ...], lengths: Lengths, cutoff: float, n_functions: int) -> Products:
    """Return the descriptor of a term of products."""
    most = max(n_functions // len(species), min(n_functions, _FEWEST_FUNCTIONS))
    degrees = finest_degrees(len(species), most)
    return Products(cutoff, degrees, species, neighbor_distance=_neighbor(lengths))


@lru_cache
def finest_degrees(n_species: int, n_functions: int) -> tuple[int, ...]:
    """Return the finest of a family of rules that leaves at most so many functions, or the coarsest of all."""
    chosen = _RULES[0]
    for rule in _RULES[1:]:
        if count_products(n_species, rule) > n_functions:
            break
        chosen = rule
    return chosen


def default_soap(
    species: tuple[str, ...], lengths: Lengths, cutoff: float, *, n_max: int = 8, l_max: int = 6, sigma: float = _SIGMA
) -> SOAP:
    """Return the descriptor of a SOAP term; ``sigma`` is in distances of nearest neighbors."""
    neighbor = _neighbor(lengths)
    return SOAP(
        cutoff,
        n_max=n_max,
        l_max=l_max,
        sigma=sigma * neighbor,
        species=species,
        cutoff_width=_width(neighbor, cutoff),
        density_weighting={"function": "pow", "r0": _WEIGHT_RADIUS * neighbor, "c": 1.0, "d": 1.0, "m": 3},
    )


def _neighbor(lengths: Lengths) -> float:
    return max(lengths.neighbor, _SHORTEST_NEIGHBOR)


def _width(neighbor: float, cutoff: float) -> float:
    return min(_CUTOFF_WIDTH * neighbor, 0.5 * cutoff)


def _with_species(descriptor: Any, species: tuple[str, ...]) -> Any:
    if descriptor.species is None and not hasattr(descriptor, "species_"):
        return clone(descriptor).set_params(species=species)
    known = tuple(descriptor.species if descriptor.species is not None else descriptor.species_)
    missing = [symbol for symbol in species if symbol not in known]
    if missing:
        raise InputError(
            f"descriptor does not know {', '.join(missing)}, which the frames hold; add them to its species"
        )
    if len(known) > len(species):
        # Species that no frame holds have no environments that could be sparse points.
        weights = descriptor.species_weights
        kept = weights and {symbol: weight for symbol, weight in weights.items() if symbol in species}
        return clone(descriptor).set_params(species=species, species_weights=kept)
    return descriptor


def _check_descriptor(descriptor: SOAP | Products) -> None:
    for name, needed in (("average", "off"), ("sparse", False), ("dtype", "float64")):
        value = getattr(descriptor, name)
        if value != needed:
            raise InputError(f"descriptor must have {name}={needed!r} in a force field, got {value!r}")


def _check_numbers(term: Term) -> None:
    if term.cutoff is not None:
        _checks.positive_length("cutoff", term.cutoff)
    if _checks.real("prior_factor", term.prior_factor) <= 0.0:
        raise InputError(f"prior_factor must be above 0, got {term.prior_factor!r}")


PRESETS: dict[str, tuple[Term, ...]] = {
    "fast": (ProductTerm(),),
    "balanced": (SoapTerm(zeta=2.0), ProductTerm()),
    "accurate": (SoapTerm(zeta=2.0, n_sparse=2000), ProductTerm(n_functions=2500)),
}
"""Terms by name, from the fastest to the most accurate."""

DEFAULT_PRESET = "balanced"
"""What cross-validation on training sets favors at a moderate cost; see docs/force_fields.md."""
