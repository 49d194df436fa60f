"""Options and relaxation that the commands of ``castile run`` share."""

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
from castile.errors import InputError

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
