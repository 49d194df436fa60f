"""Invariant products of three coefficients of SOAP's density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from castile import _checks
from castile.descriptors._product_base import MOST_DEGREE, ProductDescriptor
from castile.descriptors.tabulated import TabulatedBasis
from castile.errors import InputError

__all__ = ["Bispectrum"]

_FACTORS = 3


class Bispectrum(ProductDescriptor):
    r"""Rotation- and reflection-invariant products of three coefficients of the neighbor density that SOAP has.

    With coefficients :math:`c_{a,nlm}` of the neighbors of species a, as :class:`castile.SphericalExpansion` has them,
    columns are

    .. math:: (2 l_3 + 1)^{-1/2} \sum_{m_1 m_2 m_3} C^{l_3 m_3}_{l_1 m_1 l_2 m_2}
        c_{a_1,n_1 l_1 m_1} c_{a_2,n_2 l_2 m_2} c_{a_3,n_3 l_3 m_3}

    for all unordered triples of (a, n, l) that make an invariant: those with an even sum of degrees, none of them
    above the sum of the others. They see three neighbors at a time, where the power spectrum sees two, and tell some
    environments apart that have one power spectrum. Their number rises with the third power of ``n_max`` and of the
    number of species: more than 200 000 are refused.

    Parameters
    ----------
    cutoff : float or dict
        Radius in Å. A dict gives one for neighbors of each species.
    n_max, l_max : int
        Number of radial functions and highest degree l of the coefficients.
    sigma : float or dict
        Width of the Gaussians of neighbors in Å; 0: points. A dict gives one for neighbors of each species.
    species : sequence of str, optional
        Chemical symbols (or atomic numbers) that the columns are laid out for. None: learned by ``fit``.
    degree : int, optional
        The highest sum over the three factors of n + l, n counted from 1. None: no bound but ``n_max`` and ``l_max``.
    most_species : int, optional
        How many different species there are at most among the factors of a product.
    species_degrees : dict, optional
        What a factor of each species adds to the sum that ``degree`` bounds, as for :class:`castile.Products`.
    radial_basis, cutoff_function, cutoff_width, neighbor_radius, density_weighting, species_weights, center_weight, \
average, normalize, n_primitives, compression, sparse, dtype, accuracy
        As for :class:`castile.SOAP`.

    Attributes
    ----------
    species_ : tuple of str
        Species learned by ``fit``.

    References
    ----------
    Bartók, Payne, Kondor, Csányi, Phys. Rev. Lett. 104, 136403 (2010), doi:10.1103/PhysRevLett.104.136403; Bartók,
    Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import castile
    >>> castile.Bispectrum(cutoff=4.0, n_max=3, l_max=2).fit_transform(bulk("Si")).shape
    (2, 74)
    """

    l_max: int
    degree: int | None

    def __init__(
        self,
        cutoff: float | Mapping[str, float] = 5.0,
        n_max: int = 4,
        l_max: int = 3,
        sigma: float | Mapping[str, float] = 0.4,
        species: Sequence[str] | None = None,
        *,
        degree: int | None = None,
        most_species: int | None = None,
        species_degrees: Mapping[str, int] | None = None,
        radial_basis: str | TabulatedBasis = "gto",
        cutoff_function: str | None = "cosine",
        cutoff_width: float = 0.5,
        neighbor_radius: float | None = None,
        density_weighting: Mapping[str, Any] | None = None,
        species_weights: Mapping[str, float] | None = None,
        center_weight: float = 1.0,
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
        return _checks.integer("n_max", self.n_max, 1, MOST_DEGREE)

    def _angular_limit(self) -> int:
        return _checks.integer("l_max", self.l_max, 0)

    def _product_degrees(self) -> tuple[int, ...]:
        if self.degree is not None:
            return 0, 0, _checks.integer("degree", self.degree, _FACTORS)
        if self.species_degrees is not None:
            raise InputError("species_degrees adds to what degree bounds; give degree, too")
        return 0, 0, _FACTORS * (self._radial_limit() + self._angular_limit())
