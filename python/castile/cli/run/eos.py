"""``castile run eos``: energy against volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms

from castile.cli._console import key_value_table, output, plain_table, warnings_as_lines
from castile.cli._files import (
    Pictures,
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
    Watch,
    pressure,
    relax_atoms,
    snapshot,
)
from castile.errors import InputError
from castile.progress import track

__all__ = ["eos", "equation_of_state"]

EQUATIONS = ("birchmurnaghan", "vinet", "murnaghan", "sj")


def eos(  # noqa: PLR0917 -- the arguments are options of the command line
    model_file: ModelFile,
    structure: StructureFile,
    volume_range: Annotated[
        float, typer.Option("--range", min=0.1, max=50.0, help="Volumes: so many percent up and down.")
    ] = 6.0,
    n_points: Annotated[int, typer.Option("--points", "-n", min=5, help="Number of volumes.")] = 11,
    equation: Annotated[str, typer.Option(help=f"One of {', '.join(EQUATIONS)}.")] = "birchmurnaghan",
    relax: Annotated[
        bool, typer.Option("--relax/--no-relax", help="Relax the atoms at each volume; the cell keeps its shape.")
    ] = True,
    fmax: Annotated[float, typer.Option(help="Of the relaxation, eV/Å.")] = 0.005,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Where the structures go, extended XYZ.")] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Draw eos.png.")] = None,
    index: Index = "-1",
    file_format: FileFormat = None,
    threads: Threads = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Compute energy against volume, and fit an equation of state: equilibrium volume and bulk modulus.

    For example: castile run eos si.castile si.cif --plots pictures
    """
    if equation not in EQUATIONS:
        raise InputError(f"--equation must be one of {', '.join(EQUATIONS)}, got {equation!r}")
    check_frames_file(out, overwrite)
    pictures = Pictures(plots, ("eos.png",), overwrite)
    with warnings_as_lines(), with_threads(threads):
        model = read_model(model_file)
        atoms = read_structure(structure, model, index=index, file_format=file_format, supercell=None)
        require_crystal(atoms, "equations of state")
        watch, frames, n = Watch(model), [], len(atoms)
        factors = np.linspace(1.0 - volume_range / 100.0, 1.0 + volume_range / 100.0, n_points)
        for factor in track(((1, factor) for factor in factors.tolist()), n_points, "volumes", True):
            frames.append(_at_volume(atoms, factor, fmax if relax else None))
            watch.distances(frames[-1], f"at {100 * factor:.1f} % of the volume")
        frames = [snapshot(frame) for frame in frames]
        results = equation_of_state(frames, equation)
        results["pressures"] = [pressure(frame) for frame in frames]
        results["warnings"] = watch.warnings
        if out is not None:
            write_frames(out, frames, overwrite)
        if not as_json:
            _show(results, atoms)
        if pictures.wanted:
            from castile.plots import energy_volume

            pictures.draw(
                "eos.png",
                lambda: energy_volume(
                    np.array(results["volumes"]) / n,
                    np.array(results["energies"]) / n,
                    curve=tuple(np.array(values) / n for values in results["curve"]),
                    minimum=(results["volume"] / n, results["energy"] / n),
                    bulk_modulus=results["bulk_modulus"],
                ),
            )
    if as_json:
        print_json({**results, "output": out, "pictures": pictures.written})
    else:
        pictures.list()
        if out is not None:
            output.print(f"  Wrote {out}", markup=False, soft_wrap=True)


def _at_volume(atoms: Atoms, factor: float, fmax: float | None) -> Atoms:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell.array * factor ** (1 / 3), scale_atoms=True)
    scaled.calc = atoms.calc.model.calculator()
    if fmax is not None:
        converged, _ = relax_atoms(scaled, fmax=fmax, steps=300)
        if not converged:
            warn(f"atoms at {100 * factor:.1f} % of the volume did not come to rest within 300 steps")
    return scaled


def equation_of_state(frames: list[Atoms], equation: str) -> dict[str, Any]:
    """Fit the energies of structures of several volumes.

    Returns
    -------
    dict
        Volume (Å³) and energy (eV) of the minimum, ``bulk_modulus`` in GPa, its ``derivative`` by pressure (None if the
        equation has none), root mean square ``residual`` in eV, ``volumes``, ``energies``, and the ``curve``.
    """
    from ase.eos import EquationOfState

    volumes = np.array([frame.get_volume() for frame in frames])
    energies = np.array([frame.get_potential_energy() for frame in frames])
    fit = EquationOfState(volumes, energies, eos=equation)
    try:
        volume, energy, modulus = fit.fit(warn=False)
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"no equation of state fits these energies ({error}); try another --range") from error
    if not (volumes.min() <= volume <= volumes.max() and modulus > 0.0):
        raise InputError(
            f"the energy has no minimum between {volumes.min():.2f} and {volumes.max():.2f} Å³; relax the structure "
            "first (castile run relax --cell), or raise --range"
        )
    parameters = fit.eos_parameters
    derivative = float(parameters[2]) if equation != "sj" else None
    x = np.linspace(volumes.min(), volumes.max(), 200)
    curve = fit.func(x, *parameters) if equation != "sj" else fit.fit0(x ** -(1.0 / 3.0))
    fitted = np.interp(volumes, x, curve)
    return {
        "equation": equation,
        "volume": float(volume),
        "energy": float(energy),
        "bulk_modulus": GPA * float(modulus),
        "derivative": derivative,
        "residual": float(np.sqrt(np.mean((fitted - energies) ** 2))),
        "volumes": volumes.tolist(),
        "energies": energies.tolist(),
        "curve": [x.tolist(), np.asarray(curve).tolist()],
    }


def _show(results: dict[str, Any], atoms: Atoms) -> None:
    n = len(atoms)
    section(f"Energy against volume, {n} atoms")
    table = plain_table("volume (Å³/atom)", "energy (eV/atom)", "pressure (GPa)", numeric=(0, 1, 2))
    for volume, energy, gpa in zip(results["volumes"], results["energies"], results["pressures"], strict=True):
        table.add_row(f"{volume / n:.4f}", f"{energy / n:.6f}", f"{gpa:.3f}")
    show(table)
    scale = (results["volume"] / atoms.get_volume()) ** (1 / 3)
    lengths = "  ".join(f"{scale * length:.4f}" for length in atoms.cell.lengths())
    derivative = results["derivative"]
    rows = [
        ("equation", f"{results['equation']}, off by {1e3 * results['residual'] / n:.2g} meV/atom (RMS)"),
        ("volume", f"{results['volume'] / n:.4f} Å³/atom, cell lengths {lengths} Å"),
        ("energy", f"{results['energy'] / n:.6f} eV/atom"),
        ("bulk modulus", f"{results['bulk_modulus']:.1f} GPa"),
    ]
    if derivative is not None:
        rows.append(("its derivative", f"{derivative:.2f} by pressure"))
    output.print()
    show(key_value_table(rows))
