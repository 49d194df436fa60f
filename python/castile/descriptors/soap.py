"""Smooth overlap of atomic positions: density coefficients, radial spectrum and power spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy.typing as npt

from castile import _checks
from castile.descriptors._base import DensityDescriptor
from castile.descriptors._compression import Compression, checked_compression
from castile.descriptors.tabulated import TabulatedBasis

__all__ = ["SOAP", "RadialSpectrum", "SphericalExpansion"]

_PARAMETERS = """
    Parameters
    ----------
    cutoff : float or dict
        Radius in Å that the radial functions are made for, and where the neighborhood ends unless ``neighbor_radius``
        says otherwise. A dict gives one for neighbors of each species.
    n_max : int
        Number of radial functions; up to 16 for the bases that come with Castile.
    l_max : int
        Highest degree of the spherical harmonics, 0 to 30.
    sigma : float or dict
        Width of the Gaussian that stands for each neighbor, in Å; 0 for a point of unit mass. A dict gives one for
        neighbors of each species.
    species : sequence of str, optional
        Chemical symbols (or atomic numbers) that the columns are laid out for. None: learned by ``fit``.
    radial_basis : {"gto", "gto_l", "polynomial", "laplacian"} or castile.TabulatedBasis
        Gaussian type orbitals x^n exp(-x²/2σ_n²), orthonormal; those with x^l that DScribe has (its ``rbf="gto"``);
        polynomials (cutoff - x)^(n+2) (its ``rbf="polynomial"``); spherical Bessel functions, the eigenstates of the
        Laplacian in a sphere; or functions of your own.
    cutoff_function : {"cosine", "polynomial", None}
        How a neighbor's weight goes to zero: half a cosine (one continuous derivative), a polynomial (two), or
        a hard edge, with which features jump when an atom crosses the cutoff.
    cutoff_width : float
        Å over which that happens.
    neighbor_radius : float, optional
        Å, where the neighborhood ends (and the cutoff function goes to zero), if not at the cutoff.
    density_weighting : dict, optional
        Weight of a neighbor by its distance: ``{"function": "poly", "r0": ..., "m": ..., "c": 1}``, c (1 + 2x³ - 3x²)^m
        with x = r/r0, zero beyond; ``{"function": "pow", "r0": ..., "d": ..., "m": ..., "c": 1}``, c/(d + x^m);
        ``{"function": "exp", "r0": ..., "d": ..., "c": 1}``, c/(d + exp(-x)); ``{"function": "willatt", "rate": ...,
        "scale": ..., "exponent": ...}``, rate/(rate + (r/scale)^exponent). A key "w0", also alone, replaces the
        weight of what sits exactly at the center.
    species_weights : dict, optional
        Factor of the density of each species, the center's own included.
    center_weight : float
        Weight of the center's own Gaussian; 0 leaves it out. Centers that are points in space have none.
    average : {"off", "inner", "outer", "inner_per_species", "outer_per_species"}
        One row per center; or one per structure, from the mean of the coefficients or the mean of the rows; or one for
        each species of a structure. See also ``groups`` of :meth:`transform`.
    normalize : bool
        Scale every row to norm one, after averaging; zero rows stay zero.
    n_primitives : int, optional
        Let ``fit`` find, for each species and degree, the ``n_max`` combinations of this many functions of
        ``radial_basis`` that keep most of the variance of the coefficients.
    compression : str or dict, optional
        Fewer features for many species. "mu2": one density, of all species together; "mu1nu1": products of each
        species' density with that; "crossover": products of each species' density with itself alone.
        ``{"species": U, "radial": V}`` mixes species and radial functions by matrices, a row per mixture; a number in
        place of a matrix lets ``fit`` find as many mixtures by ``"method": "svd"`` or ``"cur"``.
        ``{"tensor_reduced": n, "seed": 0}``: n products of random mixtures for each degree.
    sparse : bool
        Return a scipy.sparse.csr_array without the columns of species that a row does not see; ``jvp`` and
        ``jacobian`` leave these out, too.
    dtype : {"float64", "float32"}, or these as types or numpy.dtype
        Precision of the features and of the kernels that make them; also of ``jvp`` and ``jacobian``. Gradients of
        ``vjp`` are float64.
    accuracy : float
        Bound of the radial table's interpolation error, relative to the largest radial value; 1e-13 to 1e-2. (From
        n_max 13 on, rounding in the basis "gto" itself grows, to 1e-11 at 16.)
"""


def _document(cls: type) -> type:
    """Insert the parameters that the descriptors share into a docstring."""
    cls.__doc__ = (cls.__doc__ or "").replace("{parameters}", _PARAMETERS.strip())
    return cls


@_document
class SOAP(DensityDescriptor):
    """Power spectrum of the neighbor density (SOAP), invariant to rotation.

    Around each center, neighbors of each species a are smeared into Gaussians and expanded in radial functions
    and real spherical harmonics, c_{a,n,lm}; the features are

        p_{(a,n),(a',n'),l} = (2l + 1)^{-1/2} sum_m c_{a,n,lm} c_{a',n',lm}.

    Each unordered pair of channels appears once, with a factor sqrt(2) if they differ, so that dot products of
    rows are those of the full tensor. Columns: pairs of species a <= a' (by atomic number), then l, n, n' (n <= n' if
    a = a').

    {parameters}

    Attributes
    ----------
    species_ : tuple of str
        Species learned by ``fit``.

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import castile
    >>> soap = castile.SOAP(cutoff=4.0, n_max=4, l_max=3, species=["Si"])
    >>> soap.transform(bulk("Si")).shape
    (2, 40)
    """

    _kind = "power_spectrum"
    l_max: int

    def __init__(
        self,
        cutoff: float | Mapping[str, float] = 5.0,
        n_max: int = 8,
        l_max: int = 6,
        sigma: float | Mapping[str, float] = 0.4,
        species: Sequence[str] | None = None,
        *,
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

    def _angular_limit(self) -> int:
        return _checks.integer("l_max", self.l_max, 0)

    def _checked_compression(self, n_species: int) -> Compression:
        return checked_compression(self.compression, n_species)

    def _feature_names(self, species: Sequence[str], core: Any) -> list[str]:
        products = self._checked_compression(len(species)).products
        degrees, functions = range(self.l_max + 1), range(core.n_max)
        if products == "tensor_reduced":
            return [f"l{degree}_k{k}" for degree in degrees for k in range(core.n_features // len(degrees))]
        channels = self._channel_names(species, core)
        if products == "mu1nu1":
            pairs = [(a, "sum") for a in channels]
        elif products == "crossover":
            pairs = [(a, a) for a in channels]
        else:
            pairs = list(combinations_with_replacement(channels, 2))
        return [
            f"{a}-{b}_l{degree}_n{n}_n{k}"
            for a, b in pairs
            for degree in degrees
            for n in functions
            for k in functions
            if a != b or n <= k
        ]


@_document
class SphericalExpansion(DensityDescriptor):
    """Coefficients c_{a,n,lm} of the neighbor density; they rotate with the structure.

    Columns: species a (by atomic number), then n, then lm = l² + l + m with m = -l..l, for real orthonormal spherical
    harmonics without the Condon-Shortley phase (l = 1 is y, z, x).

    {parameters}

    Attributes
    ----------
    species_ : tuple of str
        Species learned by ``fit``.

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115.

    Examples
    --------
    >>> from ase.build import molecule
    >>> import castile
    >>> expansion = castile.SphericalExpansion(cutoff=3.0, n_max=2, l_max=1)
    >>> expansion.fit_transform(molecule("H2O")).shape
    (3, 16)
    """

    _kind = "spherical_expansion"
    l_max: int

    def __init__(
        self,
        cutoff: float | Mapping[str, float] = 5.0,
        n_max: int = 8,
        l_max: int = 6,
        sigma: float | Mapping[str, float] = 0.4,
        species: Sequence[str] | None = None,
        *,
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

    def _angular_limit(self) -> int:
        return _checks.integer("l_max", self.l_max, 0)

    def _feature_names(self, species: Sequence[str], core: Any) -> list[str]:
        return [
            f"{a}_n{n}_l{degree}_m{m}"
            for a in self._channel_names(species, core)
            for n in range(core.n_max)
            for degree in range(self.l_max + 1)
            for m in range(-degree, degree + 1)
        ]


@_document
class RadialSpectrum(DensityDescriptor):
    """Rotationally invariant part of the density coefficients, c_{a,n,00}: pairs of atoms only.

    Columns: species a (by atomic number), then n. The parameters are those of :class:`castile.SOAP` without ``l_max``.

    {parameters}

    Attributes
    ----------
    species_ : tuple of str
        Species learned by ``fit``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import castile
    >>> castile.RadialSpectrum(cutoff=4.0, n_max=6).fit_transform(bulk("NaCl", "rocksalt", 5.64)).shape
    (2, 12)
    """

    _kind = "radial_spectrum"

    def __init__(
        self,
        cutoff: float | Mapping[str, float] = 5.0,
        n_max: int = 8,
        sigma: float | Mapping[str, float] = 0.4,
        species: Sequence[str] | None = None,
        *,
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

    def _angular_limit(self) -> int:
        return 0

    def _feature_names(self, species: Sequence[str], core: Any) -> list[str]:
        return [f"{a}_n{n}" for a in self._channel_names(species, core) for n in range(core.n_max)]
