"""Where the repulsion of nuclei is joined to what the data show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers, covalent_radii

from castile import _core

__all__ = ["RepulsionRadii", "radii_below"]

FloatArray = npt.NDArray[np.float64]

# Of the shortest distance in the data; so far inside that a pair somewhat closer is left to what was learned.
_INNER, _OUTER = 0.5, 0.85
_OF_BOND = 0.7  # of the sum of covalent radii, for pairs that are nowhere close in the data


@dataclass(frozen=True, eq=False)
class RepulsionRadii:
    """Whole below ``inner``, gone from ``outer`` on.

    Attributes
    ----------
    inner, outer : ndarray of shape (n_species, n_species), in Å
    """

    inner: FloatArray
    outer: FloatArray

    def part(self, species: tuple[str, ...]) -> _core.Repulsion:
        """Return the term of the potential."""
        numbers = [float(atomic_numbers[symbol]) for symbol in species]
        return _core.Repulsion(numbers, self.inner.ravel().tolist(), self.outer.ravel().tolist())

    def to_metadata(self) -> dict[str, Any]:
        """Return what :meth:`from_metadata` takes."""
        return {"inner": self.inner.tolist(), "outer": self.outer.tolist()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> RepulsionRadii:
        """Make the radii that were described."""
        return cls(*(np.array(metadata[name], dtype=np.float64) for name in ("inner", "outer")))


def radii_below(shortest: FloatArray, species: tuple[str, ...]) -> RepulsionRadii:
    """Return radii that leave all pairs of the data alone.

    Parameters
    ----------
    shortest : ndarray of shape (n_species, n_species)
        Shortest distances in the data, infinite where there is none.
    species : tuple of str
    """
    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in species])
    bonds = _OF_BOND * (radii[:, None] + radii[None, :])
    # Pairs that keep far apart in the data may still come close: no farther out than that.
    limit = np.minimum(shortest, np.maximum(bonds / _OUTER, 0.5))
    return RepulsionRadii(_INNER * limit, _OUTER * limit)
