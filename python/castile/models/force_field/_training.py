"""What a force field takes from its training data before the linear problem: scales, references and sparse points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from castile import _checks, _core
from castile.data import Dataset
from castile.descriptors._species import checked_species
from castile.errors import InputError, InputTypeError
from castile.models.force_field._assembly import Columns
from castile.models.force_field._baseline import Baseline
from castile.models.force_field._domain import Domain, domain_of
from castile.models.force_field._fitted_terms import FittedTerm, fit_term
from castile.models.force_field._lengths import Lengths, lengths_of, shortest_distances
from castile.models.force_field._noise import KINDS
from castile.models.force_field._repulsion import RepulsionRadii, radii_below
from castile.models.force_field._whitening import Whitening
from castile.models.force_field.terms import Term
from castile.structures import species_table

__all__ = ["Foundation", "Survey", "compositions", "lay_foundation", "survey"]

FloatArray = npt.NDArray[np.float64]

# For forces that spread by 0.87 eV/Å; others are in proportion. See docs/force_fields.md.
_NOISE = {"energy": 0.0005, "force": 0.05, "stress": 0.002}
_SPREAD = 0.87
_SMALL_FORCE = 0.01  # eV/Å
_COINCIDENT = 0.2  # Å
_NO_SPREAD = 1e-5  # eV/Å or eV/atom
_FEW = 5  # frames that typical lengths are taken from


@dataclass(frozen=True, eq=False)
class Survey:
    """Scales and references of a data set.

    Attributes
    ----------
    species : tuple of str
    scale : float
        Spread of the forces over that of a typical set: energies of the model are in proportion.
    noise : dict
        Standard deviation of labels by kind: eV/atom, eV/Å, eV/Å³; those of labels with weights and sigmas of their own
        are relative to these.
    lengths : Lengths
    baseline : Baseline
    """

    species: tuple[str, ...]
    scale: float
    noise: dict[str, float]
    lengths: Lengths
    baseline: Baseline


@dataclass(frozen=True, eq=False)
class Foundation(Survey):
    """What does not change while rows are added.

    Attributes
    ----------
    shortest : ndarray of shape (n_species, n_species)
        Shortest distances in the training data in Å, infinite for pairs that are nowhere within 6 Å.
    repulsion : RepulsionRadii or None
    terms : tuple of fitted terms
    whitening : Whitening
    domain : Domain or None
        Which neighborhoods the frames have, if there is a term of products.
    """

    shortest: FloatArray
    repulsion: RepulsionRadii | None
    terms: tuple[FittedTerm, ...]
    whitening: Whitening
    domain: Domain | None

    def columns(self) -> Columns:
        """Return what makes rows of the linear problem."""
        table = species_table(self.species, np.zeros(0, dtype=np.int64), "ForceField")
        return Columns(tuple(term.columns() for term in self.terms), self.whitening, table)

    def whitened_sizes(self) -> list[int]:
        """Return how many whitened columns each term has."""
        blocks = iter(self.whitening.blocks)
        return [sum(next(blocks).n_whitened for _ in range(term.n_blocks)) for term in self.terms]

    def potential(self, weights: FloatArray, members: FloatArray | None = None) -> _core.Potential:
        """Return the potential of weights (n_columns,), and of a committee, (n_members, n_columns)."""
        parts: list[_core.EnergyTerm] = []
        first = 0
        for term in self.terms:
            own = slice(first, first + term.n_columns)
            parts.append(term.part(weights[own], None if members is None else members[:, own]))
            first += term.n_columns
        if self.repulsion is not None:
            parts.append(self.repulsion.part(self.species))
        return _core.Potential(parts)

    def digest(self) -> str:
        """Return what tells this foundation from others, as far as rows depend on it."""
        digest = hashlib.blake2b(digest_size=16)
        for term in self.terms:
            metadata, arrays = term.describe()
            digest.update(json.dumps(metadata, sort_keys=True).encode())
            for array in arrays.values():
                digest.update(array.tobytes())
        repulsion = None if self.repulsion is None else self.repulsion.to_metadata()
        others = [self.species, self.baseline.energies.tolist(), sorted(self.noise.items()), repulsion]
        digest.update(json.dumps(others).encode())
        return digest.hexdigest()


def survey(
    dataset: Dataset,
    species: Sequence[str] | None,
    noise: Mapping[str, float] | None,
    baseline: Mapping[str, float] | None,
) -> Survey:
    """Look at the labels, which a reference calculator was taken off already.

    Raises
    ------
    InputError
        For data without labels, and parameters that cannot be used.
    """
    _require_labels(dataset)
    if baseline is not None and not isinstance(baseline, Mapping):
        raise InputTypeError(f"baseline must be a dict such as {{'Si': -5.4}}, in eV, got {type(baseline).__name__}")
    known = dataset.species if species is None else checked_species(species)
    species_table(known, np.unique(dataset.numbers), "ForceField")
    _require_bound(bound_frames(dataset), known)
    counts = compositions(dataset, known)
    references = Baseline.fit(counts, dataset.energies, dataset.isolated, known, baseline)
    left = references.subtract(counts, dataset.energies)
    scale = _scale(dataset, left)
    return Survey(known, scale, _noise(noise, scale), lengths_of(typical_frames(dataset, left)), references)


def lay_foundation(
    dataset: Dataset, terms: Sequence[Term], found: Survey, *, repulsion: bool, seed: int, max_memory: int
) -> Foundation:
    """Choose everything else that the linear problem stands on: radii of repulsion and sparse points."""
    bound = bound_frames(dataset)
    of_atoms = species_table(found.species, np.unique(dataset.numbers), "ForceField")[dataset.numbers]
    shortest = shortest_distances(dataset.frames, of_atoms, len(found.species))
    _require_apart(shortest, found.species)
    radii = radii_below(shortest, found.species) if repulsion else None
    fitted = tuple(
        fit_term(term, bound, found.species, found.lengths, seed=seed, max_memory=max_memory) for term in terms
    )
    whitening = Whitening([block for term in fitted for block in term.blocks()])
    domain = domain_of(fitted, found.species, bound, seed)
    return Foundation(
        **vars(found), shortest=shortest, repulsion=radii, terms=fitted, whitening=whitening, domain=domain
    )


def _require_apart(shortest: FloatArray, species: Sequence[str]) -> None:
    a, b = np.unravel_index(int(shortest.argmin()), shortest.shape)
    if shortest[a, b] < _COINCIDENT:
        raise InputError(
            f"frames hold a pair {species[int(a)]}-{species[int(b)]} that is {shortest[a, b]:.3f} Å apart; remove or "
            "repair that structure"
        )


def bound_frames(dataset: Dataset) -> list[Atoms]:
    """Return the frames that are no isolated atoms."""
    return [atoms for atoms, alone in zip(dataset.frames, dataset.isolated, strict=True) if not alone]


def _require_bound(frames: list[Atoms], species: Sequence[str]) -> None:
    """Raise InputError if there is nothing to learn of a species."""
    if not frames:
        raise InputError("frames hold nothing but isolated atoms; add structures whose atoms are bound")
    there = {number for atoms in frames for number in np.unique(atoms.numbers).tolist()}
    missing = [symbol for symbol in species if chemical_symbols.index(symbol) not in there]
    if missing:
        raise InputError(
            f"frames have no structures that hold {', '.join(missing)}, apart from isolated atoms; add some, or leave "
            f"{', '.join(missing)} out of species and frames"
        )


def compositions(dataset: Dataset, species: Sequence[str]) -> FloatArray:
    """Return the number of atoms of each species, shape (n_frames, n_species)."""
    species_table(species, np.unique(dataset.numbers), "ForceField")  # which refuses others
    counts = np.zeros((len(dataset), len(species)))
    index = {symbol: k for k, symbol in enumerate(species)}
    columns = np.array([index[chemical_symbols[number]] for number in dataset.numbers], dtype=np.int64)
    np.add.at(counts, (dataset.frame_of_atoms(), columns), 1.0)
    return counts


def typical_frames(dataset: Dataset, energies: FloatArray) -> list[Atoms]:
    """Return the frames of lowest energy per atom, or the first ones where energies are missing."""
    usable = ~dataset.isolated & (dataset.n_atoms > 0)
    per_atom = np.where(usable & dataset.has_energy, energies / np.maximum(dataset.n_atoms, 1), np.inf)
    chosen = np.argsort(per_atom, kind="stable")[:_FEW]
    chosen = chosen[np.isfinite(per_atom[chosen])]
    if len(chosen) == 0:
        chosen = np.flatnonzero(usable)[:_FEW]
    return [dataset.frames[index] for index in chosen.tolist()]


def _require_labels(dataset: Dataset) -> None:
    if len(dataset) == 0:
        raise InputError("frames is empty; give structures with energies, forces or stresses")
    if not (dataset.has_energy.any() or dataset.has_forces.any() or dataset.has_stress.any()):
        raise InputError(
            "frames have neither energies nor forces nor stresses; name their keys with castile.data.read(frames, "
            "energy_key=..., forces_key=...)"
        )


def _scale(dataset: Dataset, energies: FloatArray) -> float:
    """Return the spread of the forces over that of a typical set; where there is none to speak of, that of energies."""
    forces = dataset.forces[dataset.has_forces]
    spread = float(np.sqrt(np.mean(forces**2))) if len(forces) else 0.0
    counted = dataset.has_energy & ~dataset.isolated
    if spread < _SMALL_FORCE and counted.any():  # perfect crystals
        spread = max(spread, float(np.std(energies[counted] / dataset.n_atoms[counted])))
    return spread / _SPREAD if spread > _NO_SPREAD else 1.0


def _noise(given: Mapping[str, float] | None, scale: float) -> dict[str, float]:
    noise = {kind: value * scale for kind, value in _NOISE.items()}
    if given is None:
        return noise
    if not isinstance(given, Mapping):
        raise InputTypeError(f"noise must be a dict such as {{'energy': 0.001}}, got {type(given).__name__}")
    for kind, value in given.items():
        _checks.choice("noise", kind, KINDS)
        noise[kind] = _checks.real(f"noise[{kind!r}]", value)
        if noise[kind] <= 0.0:
            raise InputError(f"noise[{kind!r}] must be a standard deviation above 0, got {value!r}")
    return noise
