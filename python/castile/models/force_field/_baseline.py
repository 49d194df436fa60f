"""Reference energies of the species, which a force field adds to what it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from castile import _checks
from castile.errors import InputError, UnknownSpeciesError
from castile.models.force_field._baseline_input import BaselineData, checked_data
from castile.models.force_field._composition_fit import fit_composition

__all__ = ["ORIGINS", "Baseline"]

FloatArray = npt.NDArray[np.float64]

ORIGINS = ("given", "isolated atom", "mean", "least squares", "undetermined")


@dataclass(frozen=True, eq=False)
class Baseline:
    """Energy per atom of each species; get it from :meth:`fit` or :meth:`from_energies`.

    Attributes
    ----------
    species : tuple of str
    energies : ndarray of shape (n_species,)
        In eV, read-only, and always finite.
    origin : tuple of str
        Of each species: ``"given"`` by the user; ``"isolated atom"`` of the data; ``"mean"`` energy per atom, where
        there is one species only; ``"least squares"`` over composition; ``"undetermined"`` if it occurs in no frame
        with an energy. The last has the mean energy per atom of all frames, or zero if no frame has an energy, so that
        energies of structures that hold it are known up to a constant.
    rank : int
        Number of independent combinations of the fitted energies that the frames determine.
    n_fitted : int
        Number of energies that are means or fitted; some are not determined separately if ``rank`` is lower.
    groups : tuple of tuple of str
        Species whose fitted energies are not determined separately. Energies of frames do not depend on how they are
        shared, as long as compositions are those of the frames; each is as near to the mean as it can be.
    residual : float or None
        Root mean square of what is left of the energies, in eV/atom, without isolated atoms; None if there are none.
    """

    species: tuple[str, ...]
    energies: FloatArray
    origin: tuple[str, ...]
    rank: int = 0
    n_fitted: int = 0
    groups: tuple[tuple[str, ...], ...] = ()
    residual: float | None = None

    def __post_init__(self) -> None:
        energies = np.array(self.energies, dtype=np.float64)
        energies.flags.writeable = False
        object.__setattr__(self, "energies", energies)

    @classmethod
    def fit(
        cls,
        compositions: npt.ArrayLike,
        energies: npt.ArrayLike,
        isolated: npt.ArrayLike,
        species: Sequence[str],
        given: Mapping[str, float] | None = None,
    ) -> Baseline:
        """Find the energies that leave the least for the model to learn.

        Energies that are given, and then those of isolated atoms, are kept exactly. The others minimize the sum of
        squares of residuals per atom, so that each frame counts alike, however large it is.

        Parameters
        ----------
        compositions : array of shape (n_frames, n_species)
            Number of atoms of each species.
        energies : array of shape (n_frames,)
            Total energies in eV; NaN where there is none.
        isolated : array of bool of shape (n_frames,)
            Whether the frame is one atom without neighbors.
        species : sequence of str
        given : mapping of str to float, optional
            Energies per atom in eV of some or all species.

        Raises
        ------
        InputError
            If isolated atoms of one species disagree by more than 1 meV, or arrays do not fit together.
        UnknownSpeciesError
            If a given species is not in ``species``.
        """
        data = checked_data(compositions, energies, isolated, species)
        told = _checked_given(given, data.species)
        values = np.full(len(data.species), np.nan)
        origin = ["undetermined"] * len(data.species)
        for known, name in ((data.isolated_energies(besides=told), "isolated atom"), (told, "given")):
            for k, energy in known.items():
                values[k], origin[k] = energy, name
        rank, groups = _fit_missing(data, values, origin)
        n_fitted = sum(name in ("mean", "least squares") for name in origin)
        return cls(data.species, values, tuple(origin), rank, n_fitted, groups, _residual(values, data))

    @classmethod
    def from_energies(cls, energies: Mapping[str, float], species: Sequence[str] | None = None) -> Baseline:
        """Take the energies of all species from the user.

        Parameters
        ----------
        energies : mapping of str to float
            Energies per atom in eV.
        species : sequence of str, optional
            By default those of the mapping, sorted by atomic number.

        Raises
        ------
        InputError
            If one is missing, or not finite.
        UnknownSpeciesError
            If a species is no chemical symbol, or not in ``species``.
        """
        for name in energies:
            if name not in atomic_numbers:
                raise UnknownSpeciesError(f"{name!r} is not a chemical symbol; energies need names such as 'Si'")
        chosen = tuple(sorted(energies, key=atomic_numbers.__getitem__) if species is None else species)
        values = _checked_given(energies, chosen)
        missing = [name for k, name in enumerate(chosen) if k not in values]
        if missing:
            raise InputError(f"energies must have all species, but {', '.join(missing)} are missing; add them")
        return cls(chosen, np.array([values[k] for k in range(len(chosen))]), ("given",) * len(chosen))

    @property
    def determined(self) -> npt.NDArray[np.bool_]:
        """Whether each energy has a source, of shape (n_species,)."""
        return np.array([name != "undetermined" for name in self.origin], dtype=bool)

    def of(self, compositions: npt.ArrayLike) -> FloatArray:
        """Return the sum of reference energies of each frame.

        Parameters
        ----------
        compositions : array of shape (..., n_species)
            Number of atoms of each species.

        Returns
        -------
        ndarray of shape (...), in eV
        """
        counts = np.asarray(_checks.finite_array("compositions", compositions), dtype=np.float64)
        if counts.ndim == 0 or counts.shape[-1] != len(self.species):
            raise InputError(
                f"compositions must have {len(self.species)} columns, one for each of {', '.join(self.species)}; "
                f"got shape {counts.shape}"
            )
        total = np.zeros(counts.shape[:-1])
        for k, energy in enumerate(self.energies):  # a product of matrices has other bits in other batches
            total += counts[..., k] * energy
        return total

    def subtract(self, compositions: npt.ArrayLike, energies: npt.ArrayLike) -> FloatArray:
        """Return what is left for the model: total energies in eV without the references; NaN stays NaN."""
        return np.asarray(_checks.real_array("energies", energies) - self.of(compositions), dtype=np.float64)

    def add(self, compositions: npt.ArrayLike, energies: npt.ArrayLike) -> FloatArray:
        """Return total energies in eV, given what the model predicts."""
        return np.asarray(_checks.real_array("energies", energies) + self.of(compositions), dtype=np.float64)

    def report(self) -> str:
        """Return a table of the energies and where they come from, with what is not determined."""
        lines = ["reference energies (eV/atom)"]
        rows = zip(self.species, self.energies, self.origin, strict=True)
        lines += [f"  {name:<3}{energy:>18.6f}  {origin}" for name, energy, origin in rows]
        if self.residual is not None:
            lines.append(f"  left for the model: {self.residual:.6f} eV/atom (root mean square)")
        if self.groups:
            lines.append(f"  compositions determine {self.rank} of {self.n_fitted} fitted energies:")
            for group in self.groups:
                lines.append(
                    f"  those of {', '.join(group)} are not determined separately, as the compositions do not vary "
                    "enough; they are as near to the mean energy per atom as the frames allow. Add isolated atoms, or "
                    "give their energies, if other compositions are to be compared"
                )
        unknown = [name for name, known in zip(self.species, self.determined, strict=True) if not known]
        if unknown:
            lines.append(
                f"  {', '.join(unknown)}: in no frame with an energy; total energies of structures that hold them are "
                "meaningful up to a constant only. Add isolated atoms, or give their energies"
            )
        return "\n".join(lines)

    def to_metadata(self) -> dict[str, Any]:
        """Return what :meth:`from_metadata` needs, as JSON has it."""
        return {
            "species": list(self.species),
            "energies": self.energies.tolist(),
            "origin": list(self.origin),
            "rank": self.rank,
            "n_fitted": self.n_fitted,
            "groups": [list(group) for group in self.groups],
            "residual": self.residual,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Baseline:
        """Return the baseline that :meth:`to_metadata` described.

        Raises
        ------
        InputError, InputTypeError
            If it is not such a description.
        """
        try:
            species, energies, origin = (tuple(metadata[name]) for name in ("species", "energies", "origin"))
            groups = tuple(tuple(group) for group in metadata["groups"])
            counts = (metadata["rank"], metadata["n_fitted"])
            residual = metadata["residual"]
        except (KeyError, TypeError) as error:
            raise InputError(f"metadata do not describe a baseline ({error!r})") from error
        if not len(species) == len(energies) == len(origin):
            raise InputError("metadata do not describe a baseline: species, energies and origin differ in length")
        values = [_checks.real(f"the energy of {name}", energy) for name, energy in zip(species, energies, strict=True)]
        for name in origin:
            _checks.choice("origin", name, ORIGINS)
        rank, n_fitted = (_checks.integer("rank", number, 0) for number in counts)
        left = None if residual is None else _checks.real("residual", residual)
        return cls(species, np.array(values), origin, rank, n_fitted, groups, left)


def _checked_given(given: Mapping[str, float] | None, species: tuple[str, ...]) -> dict[int, float]:
    """Return energies by the index of their species."""
    for name in given or {}:
        if name not in species:
            raise UnknownSpeciesError(
                f"energies are given for {name}, which is not one of the species {', '.join(species)}; remove it, or "
                "correct its name"
            )
    return {
        species.index(name): _checks.real(f"the energy of {name}", energy, " in eV")
        for name, energy in (given or {}).items()
    }


def _fit_missing(data: BaselineData, values: FloatArray, origin: list[str]) -> tuple[int, tuple[tuple[str, ...], ...]]:
    """Fill in the energies that are NaN, and their origin; return the rank and what is not told apart."""
    unknown = np.isnan(values)
    columns = np.flatnonzero(unknown & (data.counts[data.fitted] > 0).any(axis=0))
    rank = 0
    groups: tuple[tuple[str, ...], ...] = ()
    if columns.size:
        rows = data.fitted & (data.counts[:, columns] > 0).any(axis=1)
        counts = data.counts[rows]
        rest = data.energies[rows] - (counts * np.where(unknown, 0.0, values)).sum(axis=1)
        fit = fit_composition(counts[:, columns], rest, counts.sum(axis=1))
        values[columns] = fit.energies
        for k in columns:
            origin[k] = "least squares" if len(data.species) > 1 else "mean"
        rank = fit.rank
        groups = tuple(tuple(data.species[columns[k]] for k in group) for group in fit.groups)
    values[np.isnan(values)] = data.mean_energy()
    return rank, groups


def _residual(values: FloatArray, data: BaselineData) -> float | None:
    """Return the root mean square of what is left, in eV/atom."""
    counts, energies = data.counts[data.fitted], data.energies[data.fitted]
    if not energies.size:
        return None
    left = (energies - (counts * values).sum(axis=1)) / counts.sum(axis=1)
    return float(np.sqrt(np.mean(left**2)))
