"""The parts that a force field's energy is a sum of, as a user asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ase import Atoms
from sklearn.base import clone

from castile import _checks
from castile.descriptors import SOAP, RadialSpectrum
from castile.descriptors._learning import learns
from castile.errors import InputError, InputTypeError
from castile.kernels._rows import check_zeta
from castile.models.force_field._lengths import Lengths

__all__ = ["PairTerm", "SoapTerm", "Term", "default_soap", "descriptor_for"]

# In nearest-neighbor distances, from cross-validation on training sets; see docs/force_fields.md.
_SIGMA = 0.21
_CUTOFF_WIDTH = 0.43
_WEIGHT_RADIUS = 1.28
_SPACINGS = 2.0  # cutoff in cube roots of the volume per atom
_SHORTEST_CUTOFF = 5.0  # Å
_SHORTEST_NEIGHBOR = 1.8  # Å: bonds to hydrogen are no measure of what surrounds an atom

_MOST_POINTS, _POINTS_TOGETHER, _FEWEST_POINTS = 2500, 3600, 600

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
        Sparse points of each species, at most; fewer if the data hold fewer that are not alike. By default 2 500 for
        one species, and 3 600 for several together, but no fewer than 600 for each.
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
        return min(_MOST_POINTS, max(_FEWEST_POINTS, _POINTS_TOGETHER // n_species))


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


Term = SoapTerm | PairTerm


def descriptor_for(term: Term, species: tuple[str, ...], lengths: Lengths, frames: list[Atoms]) -> Any:
    """Return the descriptor of a term for given species; what it learns, it learns from the frames."""
    if isinstance(term, SoapTerm) and term.descriptor is not None:
        descriptor = _with_species(term.descriptor, species)
        if learns(descriptor) and not hasattr(descriptor, "species_"):
            return clone(descriptor).fit(frames)
        return descriptor
    cutoff = term.cutoff if term.cutoff is not None else max(_SPACINGS * lengths.spacing, _SHORTEST_CUTOFF)
    if isinstance(term, PairTerm):
        neighbor = _neighbor(lengths)
        width = _width(neighbor, cutoff)
        return RadialSpectrum(cutoff, n_max=term.n_max, sigma=_SIGMA * neighbor, species=species, cutoff_width=width)
    return default_soap(species, lengths, cutoff)


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
        density_weighting={"function": "pow", "r0": _WEIGHT_RADIUS * neighbor, "c": 1.0, "d": 1.0, "m": 6},
    )


def _neighbor(lengths: Lengths) -> float:
    return max(lengths.neighbor, _SHORTEST_NEIGHBOR)


def _width(neighbor: float, cutoff: float) -> float:
    return min(_CUTOFF_WIDTH * neighbor, 0.5 * cutoff)


def _with_species(descriptor: SOAP, species: tuple[str, ...]) -> SOAP:
    if descriptor.species is None and not hasattr(descriptor, "species_"):
        return cast(SOAP, clone(descriptor).set_params(species=species))
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
        return cast(SOAP, clone(descriptor).set_params(species=species, species_weights=kept))
    return descriptor


def _check_descriptor(descriptor: SOAP) -> None:
    for name, needed in (("average", "off"), ("sparse", False), ("dtype", "float64")):
        value = getattr(descriptor, name)
        if value != needed:
            raise InputError(f"descriptor must have {name}={needed!r} in a force field, got {value!r}")


def _check_numbers(term: Term) -> None:
    if term.cutoff is not None:
        _checks.positive_length("cutoff", term.cutoff)
    if _checks.real("prior_factor", term.prior_factor) <= 0.0:
        raise InputError(f"prior_factor must be above 0, got {term.prior_factor!r}")
