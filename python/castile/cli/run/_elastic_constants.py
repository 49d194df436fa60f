"""Elastic constants from stresses at small strains, and the moduli of polycrystals that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

__all__ = ["ElasticConstants", "elastic_constants", "stiffness_of"]

FloatArray = npt.NDArray[np.float64]

_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # xx yy zz yz xz xy


@dataclass(frozen=True, eq=False)
class ElasticConstants:
    """Stiffness in the order xx, yy, zz, yz, xz, xy, with shear strains twice the tensor's.

    Attributes
    ----------
    stiffness : ndarray of shape (6, 6)
        In the unit of the stresses, symmetric.
    asymmetry : float
        Largest difference of transposed entries before they were averaged.
    strained : sequence of ase.Atoms
        The twelve structures whose stresses it is from: of each strain the positive one first.
    """

    stiffness: FloatArray
    asymmetry: float
    strained: Sequence[Atoms] = ()

    @property
    def eigenvalues(self) -> FloatArray:
        """Of the stiffness; all positive if the crystal is stable at zero stress."""
        return np.asarray(np.linalg.eigvalsh(self.stiffness))

    @property
    def stable(self) -> bool:
        """Whether the stiffness is positive definite."""
        return bool(self.eigenvalues[0] > 0.0)

    def moduli(self) -> dict[str, float]:
        """Return bulk and shear moduli of polycrystals, Young's modulus and Poisson's ratio.

        Returns
        -------
        dict
            ``bulk_voigt``, ``shear_voigt`` (uniform strain), ``bulk_reuss``, ``shear_reuss`` (uniform stress; NaN if
            the stiffness is singular), ``bulk_hill``, ``shear_hill`` (their means), ``young``, ``poisson`` (of those).

        References
        ----------
        Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307.
        """
        bulk_voigt, shear_voigt = _averages(self.stiffness)
        bulk_reuss = shear_reuss = float("nan")
        if np.abs(self.eigenvalues).min() > 1e-9 * np.abs(self.eigenvalues).max():
            # Averages of compliances weigh shears differently, as these strains are twice the tensor's.
            s = np.linalg.inv(self.stiffness)
            bulk_reuss = 1.0 / float(s[:3, :3].sum())
            normal, mixed = float(np.trace(s[:3, :3])), float(s[0, 1] + s[0, 2] + s[1, 2])
            shear_reuss = 15.0 / (4.0 * normal - 4.0 * mixed + 3.0 * float(np.trace(s[3:, 3:])))
        bulk, shear = 0.5 * (bulk_voigt + bulk_reuss), 0.5 * (shear_voigt + shear_reuss)
        return {
            "bulk_voigt": bulk_voigt,
            "bulk_reuss": bulk_reuss,
            "bulk_hill": bulk,
            "shear_voigt": shear_voigt,
            "shear_reuss": shear_reuss,
            "shear_hill": shear,
            "young": 9.0 * bulk * shear / (3.0 * bulk + shear),
            "poisson": (3.0 * bulk - 2.0 * shear) / (2.0 * (3.0 * bulk + shear)),
        }


def elastic_constants(
    atoms: Atoms, step: float, relax: Callable[[Atoms], Any] | None = None, each: Callable[[], Any] | None = None
) -> ElasticConstants:
    """Return elastic constants by central differences of the stress.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal with a calculator; not changed. Its stress should be small.
    step : float
        Strain, on either side.
    relax : callable, optional
        Brings the atoms of a strained structure to rest.
    each : callable, optional
        Called after each of the twelve structures.

    Returns
    -------
    ElasticConstants
        In eV/Å³.
    """
    structures, stresses = [], []
    for a, b in _PAIRS:
        for sign in (1.0, -1.0):
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5 * sign * step
            strain[b, a] += 0.5 * sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain).T, scale_atoms=True)
            strained.calc = atoms.calc
            if relax is not None:
                relax(strained)
            structures.append(strained)
            stresses.append(strained.get_stress())
            if each is not None:
                each()
    return stiffness_of(np.array(stresses), step, structures)


def stiffness_of(stresses: FloatArray, step: float, strained: Sequence[Atoms] = ()) -> ElasticConstants:
    """Return elastic constants for the stresses (12, 6) of the strained structures."""
    pairs = stresses.reshape(6, 2, 6)
    columns = (pairs[:, 0] - pairs[:, 1]).T / (2.0 * step)
    return ElasticConstants(0.5 * (columns + columns.T), float(np.abs(columns - columns.T).max()), strained)


def _averages(c: FloatArray) -> tuple[float, float]:
    normal, mixed = float(np.trace(c[:3, :3])), float(c[0, 1] + c[0, 2] + c[1, 2])
    return (normal + 2.0 * mixed) / 9.0, (normal - mixed + 3.0 * float(np.trace(c[3:, 3:]))) / 15.0
