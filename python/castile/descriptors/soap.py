"""Smooth overlap of atomic positions: density coefficients, radial spectrum and power spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

from castile import _checks
from castile.descriptors._base import DensityDescriptor

__all__ = ["SOAP", "RadialSpectrum", "SphericalExpansion"]

_PARAMETERS = """
    Parameters
    ----------
    cutoff : float
        Radius of the neighborhood in Å.
    n_max : int
        Number of radial functions, 1 to 16 for the ``gto`` basis.
    l_max : int
        Highest degree of the spherical harmonics, 0 to 30.
    sigma : float
        Width of the Gaussian that stands for each neighbor, in Å.
    species : sequence of str, optional
        Chemical symbols (or atomic numbers) that the columns are laid out for. None: learned by ``fit``.
    radial_basis : {"gto"}
        Gaussian type orbitals, made orthonormal.
    cutoff_function : {"cosine", "polynomial", None}
        How a neighbor's weight goes to zero: half a cosine (one continuous derivative), a polynomial (two), or
        a hard edge, with which features jump when an atom crosses the cutoff.
    cutoff_width : float
        Å over which that happens.
    center_weight : float
        Weight of the center's own Gaussian; 0 leaves it out.
    average : {"off", "inner", "outer"}
        One row per center; or one per structure: from the mean of the coefficients, or the mean of the rows.
    normalize : bool
        Scale every row to norm one, after averaging; zero rows stay zero.
    sparse : bool
        Return a scipy.sparse.csr_array without the columns of species that a row does not see.
    dtype : {"float64", "float32"}
        Precision of the features and of the kernels that make them.
    accuracy : float
        Bound of the radial table's interpolation error, relative to the largest radial value; 1e-13 to 1e-2. (From
        n_max 13 on, rounding in the basis itself grows, to 1e-11 at 16.)
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

    def _feature_names(self, species: Sequence[str]) -> list[str]:
        names = []
        for a, b in combinations_with_replacement(species, 2):
            for degree in range(self.l_max + 1):
                for n in range(self.n_max):
                    for k in range(n if a == b else 0, self.n_max):
                        names.append(f"{a}-{b}_l{degree}_n{n}_n{k}")
        return names


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

    def _feature_names(self, species: Sequence[str]) -> list[str]:
        return [
            f"{a}_n{n}_l{degree}_m{m}"
            for a in species
            for n in range(self.n_max)
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
        cutoff: float = 5.0,
        n_max: int = 8,
        sigma: float = 0.4,
        species: Sequence[str] | None = None,
        *,
        radial_basis: str = "gto",
        cutoff_function: str | None = "cosine",
        cutoff_width: float = 0.5,
        center_weight: float = 1.0,
        average: str = "off",
        normalize: bool = False,
        sparse: bool = False,
        dtype: str = "float64",
        accuracy: float = 1e-8,
        **unknown: Any,
    ) -> None:
        # Here, since the base would take l_max.
        _checks.reject_unknown(unknown, self._get_param_names(), type(self).__name__)
        super().__init__(
            cutoff=cutoff,
            n_max=n_max,
            sigma=sigma,
            species=species,
            radial_basis=radial_basis,
            cutoff_function=cutoff_function,
            cutoff_width=cutoff_width,
            center_weight=center_weight,
            average=average,
            normalize=normalize,
            sparse=sparse,
            dtype=dtype,
            accuracy=accuracy,
        )

    def _angular_limit(self) -> int:
        return 0

    def _feature_names(self, species: Sequence[str]) -> list[str]:
        return [f"{a}_n{n}" for a in species for n in range(self.n_max)]
