"""``castile run relax``: the nearest minimum of the energy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms, units

from castile._text import plain
from castile.cli._console import key_value_table, output, warnings_as_lines
from castile.cli._files import (
    check_frames_file,
    print_json,
    read_model,
    read_structure,
    require_crystal,
    write_frames,
)
from castile.cli._report import section, show
from castile.cli.fit import with_threads
from castile.cli.run._common import (
    GPA,
    OPTIMIZERS,
    AsJson,
    FileFormat,
    Index,
    ModelFile,
    Overwrite,
    StructureFile,
    Supercell,
    Threads,
    cell_rows,
    largest_force,
    relax_atoms,
    snapshot,
)
from castile.cli.run._watch import Watch
from castile.errors import InputError

__all__ = ["relax"]


def relax(  # noqa: PLR0917 -- the arguments are options of the command line
    model_file: ModelFile,
    structure: StructureFile,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell, too.")] = False,
    pressure_gpa: Annotated[float, typer.Option("--pressure", help="With --cell, in GPa.")] = 0.0,
    fmax: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.001,
    steps: Annotated[int, typer.Option("--steps", "-n", min=1, help="At most.")] = 500,
    optimizer: Annotated[str, typer.Option(help=f"One of {', '.join(OPTIMIZERS)}.")] = "bfgs",
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the relaxed structure goes, extended XYZ.")
    ] = None,
    trajectory: Annotated[Path | None, typer.Option(help="Where all steps go, extended XYZ.")] = None,
    index: Index = "-1",
    file_format: FileFormat = None,
    supercell: Supercell = None,
    threads: Threads = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Relax a structure; the exit status is 1 if it does not get there.

    For example: castile run relax si.castile si.cif --cell -o relaxed.xyz
    """
    if not fmax > 0.0:
        raise InputError(f"--fmax must be above 0, got {fmax!r}")
    if pressure_gpa != 0.0 and not cell:
        raise InputError("--pressure acts on the cell; add --cell")
    for path in (out, trajectory):
        check_frames_file(path, overwrite)
    with warnings_as_lines(), with_threads(threads):
        model = read_model(model_file)
        atoms = read_structure(structure, model, index=index, file_format=file_format, supercell=supercell)
        before = snapshot(atoms)
        watch = Watch(model)
        watch.energy_and_forces(atoms, "at the start")
        target: Any = atoms
        if cell:
            from ase.filters import FrechetCellFilter

            require_crystal(atoms, "relaxed cells")
            target = FrechetCellFilter(atoms, scalar_pressure=pressure_gpa * units.GPa)
        kept: list[Atoms] = []

        def each(step: int, force: float) -> None:
            del force
            watch.distances(atoms, f"at step {step}")
            if trajectory is not None:
                kept.append(snapshot(atoms))

        converged, n_steps = relax_atoms(
            target, fmax=fmax, steps=steps, optimizer=optimizer, each=each, label="relaxing"
        )
        watch.energy_and_forces(atoms, "at the end")
        results = _results(before, atoms, target, watch, converged=converged, n_steps=n_steps)
        if out is not None:
            write_frames(out, [snapshot(atoms)], overwrite)
        if trajectory is not None:
            write_frames(trajectory, kept, overwrite)
    if as_json:
        print_json({**results, "output": out, "trajectory": trajectory})
    else:
        _show(results, len(atoms), watch)
        for path in (out, trajectory):
            if path is not None:
                output.print(f"  Wrote {path}", markup=False, soft_wrap=True)
    if not converged:
        raise InputError(
            f"not relaxed after {n_steps} steps: the largest force is {results['largest_force']:.4f} eV/Å; raise "
            "--steps or --fmax"
        )


def _results(
    before: Atoms, atoms: Atoms, target: Any, watch: Watch, *, converged: bool, n_steps: int
) -> dict[str, Any]:
    moved = atoms.get_scaled_positions(wrap=False) if atoms.pbc.all() else atoms.positions
    was = before.get_scaled_positions(wrap=False) if atoms.pbc.all() else before.positions
    shift = (moved - was) @ (before.cell.array if atoms.pbc.all() else np.eye(3))
    results = {
        "converged": converged,
        "steps": n_steps,
        "energy": {"before": before.get_potential_energy(), "after": atoms.get_potential_energy()},
        "largest_force": largest_force(target.get_forces()),
        "largest_displacement": largest_force(shift),
        "cell": {"before": cell_rows(before), "after": cell_rows(atoms)},
        "stress": {"before": None, "after": None},
        **watch.results(),
    }
    if atoms.pbc.all():
        results["stress"] = {"before": GPA * before.get_stress(), "after": GPA * atoms.get_stress()}
    return results


def _show(results: dict[str, Any], n_atoms: int, watch: Watch) -> None:
    section("Relaxed" if results["converged"] else "Not relaxed")
    energy, cell = results["energy"], results["cell"]
    gain = 1e3 * (energy["before"] - energy["after"]) / n_atoms
    rows = [
        ("steps", str(results["steps"])),
        ("energy", f"{energy['after']:.6f} eV, {energy['after'] / n_atoms:.6f} eV/atom"),
        ("gain", f"{plain(gain, 3)} meV/atom"),
        ("largest force", f"{plain(results['largest_force'])} eV/Å"),
        ("largest shift", f"{results['largest_displacement']:.3f} Å of an atom"),
    ]
    if cell["after"]:
        rows.append(("cell lengths", f"{_numbers(cell['after']['lengths'])} Å"))
        rows.append(("cell angles", f"{_numbers(cell['after']['angles'], 2)}°"))
        change = 100.0 * (cell["after"]["volume"] / cell["before"]["volume"] - 1.0)
        rows.append(("volume", f"{cell['after']['volume'] / n_atoms:.4f} Å³/atom ({change:+.2f} %)"))
        rows.append(("stress", f"{_numbers(results['stress']['after'], 3)} GPa (xx yy zz yz xz xy)"))
    show(key_value_table([*rows, *watch.rows()]))


def _numbers(values: Any, digits: int = 4) -> str:
    return "  ".join(f"{round(float(value), digits) + 0.0:.{digits}f}" for value in values)
