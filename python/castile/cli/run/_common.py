"""Options, watch and relaxation that the commands of ``castile run`` share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from ase import Atoms

from castile._units import GPA
from castile.cli._console import errors
from castile.cli._files import warn
from castile.errors import InputError
from castile.models.force_field import ForceField
from castile.neighbors import neighbor_list

__all__ = [
    "GPA",
    "AsJson",
    "FileFormat",
    "Index",
    "ModelFile",
    "Overwrite",
    "StructureFile",
    "Supercell",
    "Threads",
    "Watch",
    "cell_rows",
    "largest_force",
    "pressure",
    "relax_atoms",
    "snapshot",
]

FloatArray = npt.NDArray[np.float64]


ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file that castile fit wrote.")]
StructureFile = Annotated[Path, typer.Argument(metavar="STRUCTURE", help="In any format that ASE reads.")]
Index = Annotated[str, typer.Option("--index", "-i", help="Which frame of the file.")]
FileFormat = Annotated[
    str | None, typer.Option("--format", "-f", help="ASE's name of the file format (default: guessed).")
]
Supercell = Annotated[
    str | None, typer.Option(metavar="N or AxBxC", help="Repeat the structure along its cell vectors, as in 2x2x2.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPUs to use (default: all there are).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON, in place of tables.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", "--force", help="Replace existing files.")]

_GROWTH = 3.0  # of the standard deviation of the energy, which is worth a warning


class Watch:
    """Warns when atoms come closer than in the training data, or when the model grows unsure of the energy.

    Parameters
    ----------
    model : ForceField

    Attributes
    ----------
    warnings : list of str
    closest : float
        Shortest distance that was seen, Å; infinite beyond those of the training data.
    deviations : list of float
        Standard deviations of the energy in eV/atom, in the order of the calls.
    """

    def __init__(self, model: ForceField) -> None:
        self._model = model
        shortest = model.foundation_.shortest
        self._radii = np.where(np.isfinite(shortest), shortest, 0.0)
        self._warned: set[tuple[str, str]] = set()
        self._unsure = False
        self.warnings: list[str] = []
        self.closest = float("inf")
        self.deviations: list[float] = []

    def distances(self, atoms: Atoms, where: str) -> None:
        """Look for pairs that are too close; ``where`` ends the sentence of the warning."""
        if not self._radii.any():
            return
        i, j, d = neighbor_list("ijd", atoms, float(self._radii.max()))
        if len(d) == 0:
            return
        self.closest = min(self.closest, float(d.min()))
        index = {symbol: k for k, symbol in enumerate(self._model.species_)}
        species = np.array([index[symbol] for symbol in atoms.get_chemical_symbols()])
        limit = self._radii[species[i], species[j]]
        for k in np.flatnonzero(d < limit).tolist():
            a, b = sorted((self._model.species_[species[i[k]]], self._model.species_[species[j[k]]]))
            if (a, b) not in self._warned:
                self._warned.add((a, b))
                self._warn(
                    f"atoms {i[k]} and {j[k]} ({a}-{b}) are {d[k]:.2f} Å apart {where}, closer than in the training "
                    f"data; below {limit[k]:.2f} Å the model is a guess"
                )

    def energy(self, atoms: Atoms, where: str) -> float:
        """Return the standard deviation of the energy in eV/atom; warn if it has grown much since the first call."""
        variance = float(self._model.covariance(atoms)[0, 0])
        deviation = float(np.sqrt(max(variance, 0.0))) / len(atoms)
        self.deviations.append(deviation)
        first, noise = self.deviations[0], self._model.noise_["energy"]
        if deviation > max(_GROWTH * first, noise) and not self._unsure:
            self._unsure = True
            self._warn(
                f"the model grows unsure of the energy {where}: its standard deviation is {1e3 * deviation:.2g} "
                f"meV/atom, at the start it was {1e3 * first:.2g}; such structures are missing in the training data"
            )
        return deviation

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        warn(text)


def snapshot(atoms: Atoms) -> Atoms:
    """Return a copy that carries energy, forces and, for crystals, stress as plain results."""
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = atoms.copy()
    results: dict[str, Any] = {"energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces().copy()}
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress().copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def pressure(atoms: Atoms, kinetic: bool = False) -> float:
    """Return the pressure in GPa, NaN unless all directions are periodic."""
    if not atoms.pbc.all():
        return float("nan")
    stress = atoms.get_stress(include_ideal_gas=True) if kinetic else atoms.get_stress()
    return -GPA * float(np.mean(stress[:3]))


def largest_force(forces: Any) -> float:
    """Return the largest norm of the rows."""
    return float(np.sqrt(np.max(np.sum(np.square(forces), axis=1), initial=0.0)))


def cell_rows(atoms: Atoms) -> dict[str, Any]:
    """Return lengths in Å, angles in degrees and the volume in Å³, of crystals."""
    if not atoms.pbc.all():
        return {}
    return {
        "lengths": atoms.cell.lengths().tolist(),
        "angles": atoms.cell.angles().tolist(),
        "volume": float(atoms.get_volume()),
    }


OPTIMIZERS = ("bfgs", "lbfgs", "fire")


def relax_atoms(
    target: Any,
    *,
    fmax: float,
    steps: int,
    optimizer: str = "bfgs",
    each: Callable[[int, float], None] | None = None,
    label: str | None = None,
) -> tuple[bool, int]:
    """Minimize the energy of atoms, or of a filter over them.

    Parameters
    ----------
    target : ase.Atoms or filter
    fmax : float
        eV/Å, of the largest (generalized) force at the end.
    steps : int
    optimizer : str
        One of ``OPTIMIZERS``.
    each : callable, optional
        Called with the step and the largest force, at the start and after every step.
    label : str, optional
        Of a line on the terminal that shows the largest force.

    Returns
    -------
    converged, n_steps
    """
    from ase import optimize

    classes = dict(zip(OPTIMIZERS, (optimize.BFGS, optimize.LBFGS, optimize.FIRE), strict=True))
    if optimizer not in classes:
        raise InputError(f"--optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    dynamics = classes[optimizer](target, logfile=None)
    converged = False
    with nullcontext() if label is None else errors.status(label) as status:
        for done in dynamics.irun(fmax=fmax, steps=steps):
            force = largest_force(target.get_forces())
            if not np.isfinite(force):
                raise InputError("forces became infinite while relaxing; start from another structure")
            if status is not None:
                status.update(f"{label}: step {dynamics.nsteps}, largest force {force:.4f} eV/Å")
            if each is not None:
                each(dynamics.nsteps, force)
            converged = bool(done)
    return converged, int(dynamics.nsteps)
