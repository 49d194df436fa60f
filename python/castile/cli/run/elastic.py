"""``castile run elastic``: elastic constants and moduli."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms

from castile._text import plain
from castile.cli._console import key_value_table, output, plain_table, warnings_as_lines
from castile.cli._files import (
    check_frames_file,
    print_json,
    read_model,
    read_structure,
    require_crystal,
    warn,
    write_frames,
)
from castile.cli._report import section, show
from castile.cli.fit import with_threads
from castile.cli.run._common import (
    GPA,
    AsJson,
    FileFormat,
    Index,
    ModelFile,
    Overwrite,
    StructureFile,
    Threads,
    largest_force,
    relax_atoms,
    snapshot,
)
from castile.cli.run._elastic_constants import ElasticConstants, elastic_constants, stiffness_of
from castile.cli.run._propagation import propagated
from castile.cli.run._watch import Watch
from castile.errors import InputError
from castile.models.force_field import ForceField
from castile.progress import step as shown_step

__all__ = ["elastic"]

_NAMES = ("xx", "yy", "zz", "yz", "xz", "xy")
_STRESSED = 0.1  # GPa, of what should be at rest


def elastic(  # noqa: PLR0917 -- the arguments are options of the command line
    model_file: ModelFile,
    structure: StructureFile,
    strain: Annotated[float, typer.Option(help="Strain, to either side.")] = 0.005,
    relax: Annotated[
        bool, typer.Option("--relax/--no-relax", help="Relax the atoms of strained cells (no: clamped ions).")
    ] = True,
    cell: Annotated[
        bool, typer.Option("--cell/--no-cell", help="Relax structure and cell first, to zero stress.")
    ] = True,
    fmax: Annotated[float, typer.Option(help="Of the relaxations, eV/Å.")] = 0.0005,
    steps: Annotated[int, typer.Option("--steps", "-n", min=1, help="Of each relaxation, at most.")] = 500,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the unstrained structure goes, extended XYZ.")
    ] = None,
    index: Index = "-1",
    file_format: FileFormat = None,
    threads: Threads = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Compute the 6x6 matrix of elastic constants, and bulk and shear moduli (Voigt, Reuss, Hill), all in GPa.

    For example: castile run elastic si.castile si.cif

    The matrix is that of the axes in which the cell is given, in the order xx, yy, zz, yz, xz, xy; turn the
    cell first if it is to be along those of the crystal.
    """
    if not 0.0 < strain <= 0.1:
        raise InputError(f"--strain must be above 0 and at most 0.1, got {strain!r}")
    if not fmax > 0.0:
        raise InputError(f"--fmax must be above 0, got {fmax!r}")
    check_frames_file(out, overwrite)
    with warnings_as_lines(), with_threads(threads):
        model = read_model(model_file)
        atoms = read_structure(structure, model, index=index, file_format=file_format, supercell=None)
        require_crystal(atoms, "elastic constants")
        watch = Watch(model)
        if cell:
            from ase.filters import FrechetCellFilter

            _relaxed(FrechetCellFilter(atoms), fmax, steps, "relaxing the cell")
        elif relax:
            _relaxed(atoms, fmax, steps, "relaxing")
        watch.distances(atoms, "at the start")
        watch.energy_and_forces(atoms, "at the start")
        stress = GPA * atoms.get_stress()
        if np.abs(stress).max() > _STRESSED:
            warn(f"the structure is under stress, up to {np.abs(stress).max():.2f} GPa: leave out --no-cell")

        def rest(strained: Atoms) -> None:
            _relaxed(strained, fmax, steps, None)

        with shown_step("12 strained structures", True):
            found = elastic_constants(atoms, strain, rest if relax else None)
        if not found.stable:
            warn(
                "the matrix is not positive definite (lowest eigenvalue "
                f"{GPA * found.eigenvalues[0]:.2f} GPa): the crystal is unstable, or the model does not know it"
            )
        for strained in found.strained:
            watch.energy_and_forces(strained, "of a strained structure")
        results = _results(atoms, found, stress, relax, watch)
        results["std"] = _deviations(model, found, strain)
        if out is not None:
            write_frames(out, [snapshot(atoms)], overwrite)
    if as_json:
        print_json({**results, "output": out})
        return
    _show(results, watch)
    if out is not None:
        output.print(f"  Wrote {out}", markup=False, soft_wrap=True)


def _relaxed(target: Any, fmax: float, steps: int, label: str | None) -> None:
    converged, _ = relax_atoms(target, fmax=fmax, steps=steps, label=label)
    if not converged:
        force = largest_force(target.get_forces())
        warn(f"not relaxed after {steps} steps: the largest force is {force:.4f} eV/Å; raise --steps or --fmax")


def _results(atoms: Atoms, found: ElasticConstants, stress: Any, relaxed_ions: bool, watch: Watch) -> dict[str, Any]:
    return {
        "stiffness": GPA * found.stiffness,
        "order": _NAMES,
        "unit": "GPa",
        "asymmetry": GPA * found.asymmetry,
        "eigenvalues": GPA * found.eigenvalues,
        "positive_definite": found.stable,
        "relaxed_ions": relaxed_ions,
        "moduli": _moduli(found),
        "stress": stress,
        "cell": {"lengths": atoms.cell.lengths(), "angles": atoms.cell.angles()},
        **watch.results(),
    }


def _deviations(model: ForceField, found: ElasticConstants, strain: float) -> dict[str, Any]:
    """Return standard deviations in GPa that follow from those of the stresses, of the structures as they are."""
    stresses = np.array([atoms.get_stress() for atoms in found.strained]).ravel()
    covariance = model.covariance(list(found.strained), quantity="stress")

    def entries(values: Any) -> dict[str, float]:
        other = stiffness_of(values.reshape(12, 6), strain)
        return {f"{i}{j}": GPA * other.stiffness[i, j] for i in range(6) for j in range(6)}

    def moduli(values: Any) -> dict[str, float]:
        other = stiffness_of(values.reshape(12, 6), strain)
        if np.linalg.eigvalsh(other.stiffness)[0] <= 0.0:
            raise InputError("the crystal is not stable there, and its moduli mean nothing")
        return _moduli(other)

    linear = propagated(entries, stresses, covariance)
    matrix = None if linear is None else [[linear.get(f"{i}{j}", 0.0) for j in range(6)] for i in range(6)]
    return {"stiffness": matrix, "moduli": propagated(moduli, stresses, covariance)}


def _moduli(found: ElasticConstants) -> dict[str, float]:
    return {name: value if name == "poisson" else GPA * value for name, value in found.moduli().items()}


def _show(results: dict[str, Any], watch: Watch) -> None:
    section(f"Elastic constants in GPa, {'relaxed' if results['relaxed_ions'] else 'clamped'} ions, along x, y and z")
    table = plain_table("", *_NAMES, numeric=range(1, 7))
    for name, row in zip(_NAMES, results["stiffness"], strict=True):
        table.add_row(name, *(f"{value:.1f}" for value in np.round(row, 1) + 0.0))
    show(table)
    moduli, std = results["moduli"], results["std"]["moduli"] or {}
    matrix = results["std"]["stiffness"]
    spread = "uncertain" if matrix is None else f"± {plain(float(np.max(matrix)))} GPa at most"
    output.print()

    def sure(name: str, digits: int) -> str:
        return f"{moduli[name]:.{digits}f}" + (f" ± {plain(std[name])}" if name in std else "")

    table = plain_table("modulus (GPa)", "Voigt", "Reuss", "Hill", numeric=(1, 2, 3))
    for name in ("bulk", "shear"):
        table.add_row(name, *(sure(f"{name}_{kind}", 1) for kind in ("voigt", "reuss", "hill")))
    show(table)
    lengths = "  ".join(f"{length:.4f}" for length in results["cell"]["lengths"])
    rows = [
        ("Young's modulus", f"{sure('young', 1)} GPa"),
        ("Poisson's ratio", sure("poisson", 3)),
        ("cell lengths", f"{lengths} Å"),
        ("constants", f"{spread} (standard deviations, positions of atoms as they are)"),
        *([] if std else [("moduli", "too uncertain for standard deviations")]),
        ("lowest eigenvalue", f"{results['eigenvalues'][0]:.1f} GPa"),
        ("asymmetry", f"{plain(results['asymmetry'], 1)} GPa before averaging"),
    ]
    output.print()
    show(key_value_table([*rows, *watch.rows()]))
