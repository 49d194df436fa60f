"""The workloads of all benchmarks: structures and parameters, full size and tiny (for CI)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2

__all__ = ["CASES", "Case", "alloy", "parameters_for", "silicon"]


@dataclass(frozen=True)
class Case:
    """A workload.

    Attributes
    ----------
    make : callable
        Takes whether the tiny version is wanted, returns the frames; the same ones every time.
    species : tuple of str
        Chemical symbols of all frames.
    parameters : dict
        Of a descriptor, without ``species``.
    one_round : bool
        Whether a single call says enough, as it takes long.
    """

    make: Callable[[bool], list[Atoms]]
    species: tuple[str, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    one_round: bool = False


def silicon(n_cells: int) -> list[Atoms]:
    """Return a rattled crystal of 8 n³ atoms; each sees about 28 others within 5 Å."""
    atoms = bulk("Si", cubic=True) * (n_cells, n_cells, n_cells)
    atoms.rattle(0.05, seed=1)
    return [atoms]


def perovskite(n_cells: tuple[int, int, int]) -> list[Atoms]:
    """Return a rattled (Ba,Sr)(Ti,Zr)O3 with both sites occupied at random, 5 atoms a cell."""
    random = np.random.default_rng(2)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    atoms = Atoms("BaTiO3", scaled_positions=places, cell=[4.0] * 3, pbc=True) * n_cells
    symbols = np.array(atoms.get_chemical_symbols())
    for site, other in (("Ba", "Sr"), ("Ti", "Zr")):
        symbols[(symbols == site) & (random.random(len(symbols)) < 0.5)] = other
    # All five in any size, as the columns are laid out for them.
    symbols[:2], symbols[5:7] = ("Ba", "Ti"), ("Sr", "Zr")
    atoms.set_chemical_symbols(symbols.tolist())
    atoms.rattle(0.08, seed=3)
    return [atoms]


def molecules(n_frames: int) -> list[Atoms]:
    """Return rattled molecules of H, C, N and O from the G2 set, 2 to 14 atoms each, free."""
    names = [name for name in g2.names if set(molecule(name).symbols) <= set("HCNO")]
    names = [name for name in names if len(molecule(name)) > 1]
    frames = [molecule(names[index % len(names)]) for index in range(n_frames)]
    for index, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=index)
    return frames


def water(n_per_axis: int) -> list[Atoms]:
    """Return n³ molecules at 1 g/cm³, on a jittered grid, each turned at random."""
    random = np.random.default_rng(4)
    spacing = 3.104  # Å: (18.015 g/mol / N_A / (1 g/cm³))^(1/3)
    box = Atoms(cell=[n_per_axis * spacing] * 3, pbc=True)
    for place in np.ndindex(n_per_axis, n_per_axis, n_per_axis):
        one = molecule("H2O")
        one.euler_rotate(*random.uniform(0, 360, 3), center="COM")
        one.translate(spacing * np.array(place) + random.uniform(-0.2, 0.2, 3))
        box += one
    return [box]


def small_cells(n_frames: int, n_cells: int = 1) -> list[Atoms]:
    """Return frames of 8 n³ rattled silicon atoms, whose cells are not much larger than the cutoff."""
    frames = [bulk("Si", cubic=True).repeat(n_cells) for _ in range(n_frames)]
    for index, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=index)
    return frames


def alloy(n_cells: int, species: Sequence[str], seed: int = 0) -> Atoms:
    """Return a rattled face-centered crystal of 4 n³ sites, which the species share at random, about equally."""
    atoms = bulk("Cu", cubic=True) * (n_cells, n_cells, n_cells)
    order = np.random.default_rng(seed).permutation(len(atoms))
    atoms.symbols[:] = [species[k % len(species)] for k in order]
    atoms.rattle(0.1, seed=seed)
    return atoms


_TWELVE = ("Al", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zr", "Nb", "Mo")
_USUAL = {"cutoff": 5.0, "n_max": 8, "l_max": 6, "sigma": 0.4}

CASES = {
    "silicon_1000": Case(lambda tiny: silicon(1 if tiny else 5), ("Si",), _USUAL),
    "perovskite_500": Case(
        lambda tiny: perovskite((2, 1, 1) if tiny else (5, 5, 4)),
        ("O", "Ti", "Sr", "Zr", "Ba"),
        _USUAL,
    ),
    "molecules_1000": Case(lambda tiny: molecules(5 if tiny else 1000), ("H", "C", "N", "O"), _USUAL),
    "water_648": Case(
        lambda tiny: water(2 if tiny else 6),
        ("H", "O"),
        {"cutoff": 6.0, "n_max": 9, "l_max": 9, "sigma": 0.4},
    ),
    "alloy_500": Case(
        lambda tiny: [alloy(2 if tiny else 5, _TWELVE)],
        _TWELVE,
        {"cutoff": 5.0, "n_max": 6, "l_max": 4, "sigma": 0.4},
    ),
    "frames_1000x8": Case(lambda tiny: small_cells(5 if tiny else 1000), ("Si",), _USUAL),
    "frames_1000x64": Case(lambda tiny: small_cells(2 if tiny else 1000, 2), ("Si",), _USUAL),
    "silicon_100000": Case(lambda tiny: silicon(2 if tiny else 23), ("Si",), _USUAL, one_round=True),
}


def parameters_for(cls: type, case: Case) -> dict[str, Any]:
    """Return those parameters of a case that a descriptor's class knows, and its species."""
    known = cls().get_params()
    given = case.parameters | {"species": list(case.species)}
    return {key: value for key, value in given.items() if key in known}
