"""Radial functions that the user gives as numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from castile import _checks
from castile.errors import InputError

__all__ = ["TabulatedBasis"]

_QUANTITIES = {"g": "radial_functions", "R": "expansion_integrals"}


class TabulatedBasis:
    """Radial functions of one's own, for ``radial_basis``: a cubic spline through given values. Cannot be changed.

    Parameters
    ----------
    r : array of shape (n_r,)
        Distances in Å, ascending from 0. The functions are zero beyond the last one.
    values : array of shape (n_r, n_max) or (n_r, l_max + 1, n_max)
        The functions at these distances, the same for every degree l or one set for each.
    quantity : {"g", "R"}
        "g": radial functions g_n(r) or g_nl(r), on which the neighbors' Gaussians of width ``sigma`` are projected (or,
        with ``sigma=0``, whose values are taken). "R": the expansion integrals R_nl(r) of a neighbor at r themselves,
        as from another code; ``sigma`` is not used.

    Raises
    ------
    InputError
        For shapes that do not fit, numbers that are not finite, or distances that do not ascend from 0.

    Examples
    --------
    >>> import castile, numpy as np
    >>> basis = castile.TabulatedBasis.from_function(lambda r: np.stack([(4 - r) ** 3, (4 - r) ** 4], -1), 4.0)
    >>> soap = castile.SOAP(cutoff=4.0, n_max=2, l_max=3, radial_basis=basis, species=["Si"])
    >>> len(soap.get_feature_names_out())
    12
    """

    def __init__(self, r: Any, values: Any, quantity: str = "g") -> None:
        self.r = np.array(_checks.real_array("r", r), dtype=np.float64)
        self.values = np.array(_checks.real_array("values", values), dtype=np.float64)
        self.quantity: str = _checks.choice("quantity", quantity, tuple(_QUANTITIES))
        if self.r.ndim != 1 or len(self.r) < 4:
            raise InputError(f"r must hold at least 4 distances, got an array of shape {self.r.shape}")
        if not (np.isfinite(self.r).all() and self.r[0] == 0.0 and (np.diff(self.r) > 0).all()):
            raise InputError("r must hold finite distances in Å that ascend from 0")
        if self.values.ndim not in (2, 3) or len(self.values) != len(self.r) or 0 in self.values.shape:
            raise InputError(
                f"values must have shape ({len(self.r)}, n_max) or ({len(self.r)}, l_max + 1, n_max), "
                f"got {self.values.shape}"
            )
        if not np.isfinite(self.values).all():
            raise InputError("values must be finite")
        self._lock()

    def _lock(self) -> None:
        """Make the arrays constants, so that a descriptor knows its basis again without looking at all numbers."""
        for array in (self.r, self.values):
            array.flags.writeable = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            raise AttributeError(f"{name} of a TabulatedBasis cannot be changed; make another one")
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        # What follows from the rest; no other process has the same hash.
        return {name: value for name, value in self.__dict__.items() if name not in ("_hash", "_coefficients")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock()

    @classmethod
    def from_function(
        cls, function: Callable[[npt.NDArray[np.float64]], Any], end: float, n_points: int = 1001, quantity: str = "g"
    ) -> TabulatedBasis:
        """Sample a function.

        Parameters
        ----------
        function : callable
            From distances (n_r,) to values as for the class.
        end : float
            Where the functions end, Å.
        n_points : int
            Number of evenly spaced distances.
        quantity : {"g", "R"}
        """
        count = _checks.integer("n_points", n_points, 4)
        r = np.linspace(0.0, _checks.positive_length("end", end), count)
        return cls(r, function(r), quantity)

    @property
    def n_max(self) -> int:
        """Number of functions."""
        return int(self.values.shape[-1])

    def __repr__(self) -> str:
        return f"<TabulatedBasis: {self.quantity}, values {self.values.shape} up to {self.r[-1]:g} Å>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TabulatedBasis):
            return NotImplemented
        same = self.quantity == other.quantity and np.array_equal(self.r, other.r)
        return bool(same and np.array_equal(self.values, other.values))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.quantity, self.r.tobytes(), self.values.tobytes()))

    def core_parameters(self, n_max: int, l_max: int) -> dict[str, Any]:
        """Return the functions as the compiled core takes them; sizes must fit the descriptor's."""
        n_l = self.values.shape[1] if self.values.ndim == 3 else 1
        if self.n_max != n_max:
            raise InputError(f"n_max must be {self.n_max}, the number of functions of radial_basis, got {n_max}")
        if n_l not in (1, l_max + 1):
            raise InputError(f"l_max must be {n_l - 1}, the highest degree of radial_basis, got {l_max}")
        return {
            "quantity": _QUANTITIES[self.quantity],
            "breakpoints": self.r,
            "n_l": n_l,
            "coefficients": self._coefficients,
        }

    @cached_property
    def _coefficients(self) -> npt.NDArray[np.float64]:
        """Of the spline, (n_intervals, 4, n_l, n_max), powers rising."""
        spline = CubicSpline(self.r, self.values.reshape(len(self.r), -1, self.n_max))
        coefficients = np.ascontiguousarray(np.moveaxis(spline.c[::-1], 0, 1))
        coefficients.flags.writeable = False
        return coefficients
