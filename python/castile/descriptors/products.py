"""Invariant products of several density coefficients: the atomic cluster expansion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _checks, _core
from castile.descriptors._parameters import number_of_primitives
from castile.descriptors._product_base import MOST_DEGREE, ProductDescriptor
from castile.descriptors.tabulated import TabulatedBasis
from castile.errors import InputError, InputTypeError

__all__ = ["Products", "chebyshev_basis", "count_products"]

FloatArray = npt.NDArray[np.float64]

_CORE, _DEAD = 0.75, 0.35  # of the neighbor distance: from where on, and up to where, closer ones make no difference
_NEIGHBORS = 2.35  # neighbor distances in a cutoff, where none is given
_POINTS = 2001
_MOST_DEGREES = 5


class Products(ProductDescriptor):
    r"""Rotation- and reflection-invariant products of one to five coefficients of the neighbor density.

    With coefficients :math:`A_{a,nlm} = \sum_j R_n(r_{ij}) Y_{lm}(\hat r_{ij})` over the neighbors j of species a,
    columns are products such as :math:`A_{n_1 l_1} A_{n_2 l_2} A_{n_3 l_3}`, coupled to a scalar by Clebsch-Gordan
    coefficients: all that are independent and whose degrees :math:`\sum (n + l)`, n counted from 1, are within
    ``degrees``. Products of k coefficients see k neighbors at a time; the power spectrum has those of two.

    Parameters
    ----------
    cutoff : float or dict
        Radius in Å. A dict gives one for neighbors of each species.
    degrees : sequence of int
        The highest total degree of products of one, two, ... coefficients.
    species : sequence of str, optional
        Chemical symbols (or atomic numbers) that the columns are laid out for. None: learned by ``fit``.
    n_max, l_max : int, optional
        Number of radial functions and highest degree l of the coefficients; by default as many as ``degrees`` can use.
    most_species : int, optional
        How many different species there are at most among the factors of a product. None: any number.
    species_degrees : dict, optional
        What a factor of each species adds to the total degree of a product beside n + l, an integer of 0 or more; 0 for
        those that it does not name. Rare or unimportant species get fewer functions. Not for mixtures of species.
    neighbor_distance : float, optional
        Å, of nearest neighbors: the scale of the distance that the Chebyshev polynomials are taken of. By default the
        cutoff over 2.35.
    radial_basis : "chebyshev", a name that :class:`castile.SOAP` takes, or castile.TabulatedBasis
        "chebyshev": polynomials of a transformed distance, which resolves near neighbors most, times
        (1 - (r/cutoff)²)², which is a cutoff function.
    sigma : float or dict
        Width of the Gaussians of neighbors in Å; 0: points.
    cutoff_function, cutoff_width, neighbor_radius, density_weighting, species_weights, center_weight, average, \
normalize, n_primitives, compression, sparse, dtype, accuracy
        As for :class:`castile.SOAP`.

    Attributes
    ----------
    species_ : tuple of str
        Species learned by ``fit``.

    References
    ----------
    Drautz, Phys. Rev. B 99, 014104 (2019), doi:10.1103/PhysRevB.99.014104; Dusson et al., J. Comput. Phys. 454, 110946
    (2022), doi:10.1016/j.jcp.2022.110946.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import castile
    >>> castile.Products(cutoff=5.0, degrees=(4, 6, 5)).fit_transform(bulk("Si")).shape
    (2, 23)

    Many species have many products: of twelve, these degrees alone would leave 220 391, more than are allowed. Here
    none has more than two different species, and all but a few species have coarser functions.

    >>> species = ["Al", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zr", "Nb", "Mo"]
    >>> rare = {symbol: 1 for symbol in species[4:]}
    >>> few = castile.Products(5.0, (6, 8, 8, 8), species, most_species=2, species_degrees=rare)
    >>> len(few.get_feature_names_out())
    8364
    """

    degrees: Sequence[int]
    n_max: int | None  # type: ignore[assignment]
    l_max: int | None
    neighbor_distance: float | None

    def __init__(
        self,
        cutoff: float | Mapping[str, float] = 5.0,
        degrees: Sequence[int] = (8, 12, 10, 8),
        species: Sequence[str] | None = None,
        *,
        n_max: int | None = None,
        l_max: int | None = None,
        most_species: int | None = None,
        species_degrees: Mapping[str, int] | None = None,
        neighbor_distance: float | None = None,
        radial_basis: str | TabulatedBasis = "chebyshev",
        sigma: float | Mapping[str, float] = 0.0,
        cutoff_function: str | None = None,
        cutoff_width: float = 0.5,
        neighbor_radius: float | None = None,
        density_weighting: Mapping[str, Any] | None = None,
        species_weights: Mapping[str, float] | None = None,
        center_weight: float = 0.0,
        average: str = "off",
        normalize: bool = False,
        n_primitives: int | None = None,
        compression: str | Mapping[str, Any] | None = None,
        sparse: bool = False,
        dtype: npt.DTypeLike = "float64",
        accuracy: float = 1e-8,
        **unknown: Any,
    ) -> None:
        self._store(locals())

    def _radial_limit(self) -> int:
        if self.n_max is not None:
            return _checks.integer("n_max", self.n_max, 1)
        return max(1, _core.product_sizes(self._product_degrees())[0])  # for rules that leave nothing, to be said so

    def _angular_limit(self) -> int:
        if self.l_max is not None:
            return _checks.integer("l_max", self.l_max, 0)
        return _core.product_sizes(self._product_degrees())[1]

    def _product_degrees(self) -> tuple[int, ...]:
        degrees = self.degrees
        if not isinstance(degrees, Sequence) or isinstance(degrees, str):
            raise InputTypeError(f"degrees must be a sequence such as (8, 12, 10), got {degrees!r}")
        if not 1 <= len(degrees) <= _MOST_DEGREES:
            raise InputError(f"degrees must be 1 to 5 numbers, for products of 1, 2, ... coefficients, got {degrees!r}")
        return tuple(_checks.integer("degrees", degree, 0, MOST_DEGREE) for degree in degrees)

    def _radial_functions(self, cutoff: float) -> str | TabulatedBasis:
        if self.radial_basis != "chebyshev":
            return self.radial_basis
        distance = cutoff / _NEIGHBORS if self.neighbor_distance is None else self.neighbor_distance
        n_functions = number_of_primitives(self, self._radial_limit()) or self._radial_limit()
        return chebyshev_basis(n_functions, cutoff, _checks.positive_length("neighbor_distance", distance))


def count_products(n_channels: int, degrees: Sequence[int]) -> int:
    """Return how many functions a rule leaves for so many species, or their mixtures."""
    n_max, l_max = _core.product_sizes(tuple(degrees))
    return round(_core.product_count(n_channels, n_max, l_max, tuple(degrees)))


@lru_cache(maxsize=64)
def chebyshev_basis(n_max: int, cutoff: float, neighbor_distance: float) -> TabulatedBasis:
    """Return Chebyshev polynomials of a transformed distance times a polynomial that ends at the cutoff.

    Atoms that come closer than data ever are see functions that level off at one, so that products of them do not grow
    without bounds there.

    Parameters
    ----------
    n_max : int
    cutoff : float
        Å.
    neighbor_distance : float
        Å; the transformation is steepest near it.
    """
    scale = min(neighbor_distance, 0.5 * cutoff / _CORE)
    core, width = _CORE * scale, (_CORE - _DEAD) * scale

    def transformed(r: FloatArray | float) -> Any:
        s = np.clip((core - np.asarray(r)) / width, 0.0, 1.0)
        # Down to the middle between the two, with two continuous derivatives.
        t = (np.maximum(r, core) - width * (s - s**3 + 0.5 * s**4)) / neighbor_distance
        return 1.0 / (1.0 + t**4 / (1.0 + t**2))

    inner, outer = transformed(0.0), transformed(cutoff)

    def functions(r: FloatArray) -> FloatArray:
        y = 2.0 * (transformed(r) - outer) / (inner - outer) - 1.0
        polynomials = np.polynomial.chebyshev.chebvander(y, n_max - 1)
        return np.asarray(polynomials * ((1.0 - np.minimum(r / cutoff, 1.0) ** 2) ** 2)[:, None])

    return TabulatedBasis.from_function(functions, cutoff, _POINTS)
