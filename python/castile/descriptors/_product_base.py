"""What descriptors made of products of density coefficients share: the rule for which there are, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _checks, _core
from castile.descriptors._base import DensityDescriptor
from castile.descriptors._parameters import species_integers
from castile.errors import InputError

__all__ = ["MOST_DEGREE", "ProductDescriptor"]

FloatArray = npt.NDArray[np.float64]

MOST_DEGREE = 40
_MOST_FACTORS = 5


class ProductDescriptor(DensityDescriptor):
    """Base of :class:`castile.Products` and :class:`castile.Bispectrum`, which tell the degrees by order."""

    _kind = "product_spectrum"

    most_species: int | None
    species_degrees: Mapping[str, int] | None

    def _product_degrees(self) -> tuple[int, ...]:
        """Return the highest total degree of products of one, two, ... coefficients."""
        raise NotImplementedError

    def _product_rule(self, species: Sequence[str]) -> dict[str, Any]:
        most = _MOST_FACTORS
        if self.most_species is not None:
            most = min(most, _checks.integer("most_species", self.most_species, 1))
        return {
            "degrees": self._product_degrees(),
            "channel_degrees": self._channel_degrees(species),
            "most_channels": most,
        }

    def _channel_degrees(self, species: Sequence[str]) -> tuple[int, ...]:
        if self.species_degrees is None:
            return ()
        degrees = species_integers("species_degrees", self.species_degrees, MOST_DEGREE)
        if self._checked_compression(len(species)).species is not None:
            raise InputError(
                f"species_degrees is about species, but compression={self.compression!r} mixes these, and a mixture "
                "is none; leave out one of the two"
            )
        return tuple(degrees.get(symbol, 0) for symbol in species)

    def _functions(self, species: Sequence[str], core: Any) -> list[Any]:
        sizes = core.n_channels, core.n_max, self._angular_limit()
        return list(_core.product_functions(*sizes, **self._product_rule(species)))

    def total_degrees(self) -> FloatArray:
        """Return how fine a function each column is: the sum over its factors of n + l and of their species' degrees.

        Returns
        -------
        ndarray of shape (n_features,)
            With n counted from 1, and zero for species that ``species_degrees`` does not name.
        """
        species = self._species_or_raise()
        core = self._core(species)
        functions = self._functions(species, core)
        own = self._channel_degrees(species) or (0,) * core.n_channels
        return np.array([float(sum(own[a] + n + 1 + degree for a, n, degree in factors)) for factors, _ in functions])

    def _feature_names(self, species: Sequence[str], core: Any) -> list[str]:
        channels = self._channel_names(species, core)
        names = []
        for factors, couplings in self._functions(species, core):
            parts = ["-".join(channels[channel] for channel, *_ in factors)]
            parts += [f"n{n}l{degree}" for _, n, degree in factors]
            names.append("_".join([*parts, *(f"L{degree}" for degree in couplings)]))
        return names
