"""``castile run eos``: energy against volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from ase import Atoms

from castile._text import plain
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
    pressure,
    relax_atoms,
    snapshot,
)
from castile.cli.run._propagation import propagated
from castile.cli.run._watch import Watch
from castile.errors import InputError
from castile.progress import track

__all__ = ["eos", "equation_of_state"]

FloatArray = npt.NDArray[np.float64]

EQUATIONS = ("birchmurnaghan", "vinet", "murnaghan")


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
            where = f"at {100 * factor:.1f} % of the volume"
            watch.distances(frames[-1], where)
            watch.energy_and_forces(frames[-1], where)
        frames = [snapshot(frame) for frame in frames]
        volumes = np.array([frame.get_volume() for frame in frames])
        energies = np.array([frame.get_potential_energy() for frame in frames])
        results = equation_of_state(volumes, energies, equation)
        results["pressures"] = [pressure(frame) for frame in frames]
        results["std"] = _deviations(results, model.covariance(frames), equation)
        results |= watch.results()
        if out is not None:
            write_frames(out, frames, overwrite)
        if not as_json:
            _show(results, atoms, watch)
        if pictures.wanted:
            from castile.plots import energy_volume

            pictures.draw(
                "eos.png",
                lambda: energy_volume(
                    np.array(results["volumes"]) / n,
                    np.array(results["energies"]) / n,
                    curve=(np.array(results["curve"][0]) / n, np.array(results["curve"][1]) / n),
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


def equation_of_state(volumes: FloatArray, energies: FloatArray, equation: str) -> dict[str, Any]:
    """Fit energies (eV) at several volumes (Å³).

    Returns
    -------
    dict
        Volume (Å³) and energy (eV) of the minimum, ``bulk_modulus`` in GPa, its ``derivative`` by pressure,
        root mean square ``residual`` in eV, ``volumes``, ``energies``, and the ``curve``.
    """
    from ase.eos import EquationOfState

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
    x = np.linspace(volumes.min(), volumes.max(), 200)
    curve = fit.func(x, *parameters)
    fitted = np.interp(volumes, x, curve)
    return {
        "equation": equation,
        "volume": float(volume),
        "energy": float(energy),
        "bulk_modulus": GPA * float(modulus),
        "derivative": float(parameters[2]),
        "residual": float(np.sqrt(np.mean((fitted - energies) ** 2))),
        "volumes": volumes.tolist(),
        "energies": energies.tolist(),
        "curve": [x.tolist(), np.asarray(curve).tolist()],
    }


def _deviations(results: dict[str, Any], covariance: FloatArray, equation: str) -> dict[str, float] | None:
    """Return the standard deviations of the numbers that a fit gives, which follow from those of the energies.

    Structures are taken as they are: to first order, energies do not change with the places at which atoms rest.
    """
    volumes = np.array(results["volumes"])

    def numbers(energies: FloatArray) -> dict[str, float]:
        found = equation_of_state(volumes, energies, equation)
        return {name: found[name] for name in ("volume", "energy", "bulk_modulus", "derivative")}

    return propagated(numbers, np.array(results["energies"]), covariance)


def _show(results: dict[str, Any], atoms: Atoms, watch: Watch) -> None:
    n = len(atoms)
    section(f"Energy against volume, {n} atoms")
    table = plain_table("volume (Å³/atom)", "energy (eV/atom)", "pressure (GPa)", numeric=(0, 1, 2))
    for volume, energy, gpa in zip(results["volumes"], results["energies"], results["pressures"], strict=True):
        table.add_row(f"{volume / n:.4f}", f"{energy / n:.6f}", f"{gpa:.3f}")
    show(table)
    scale = (results["volume"] / atoms.get_volume()) ** (1 / 3)
    lengths = "  ".join(f"{scale * length:.4f}" for length in atoms.cell.lengths())
    std = results["std"]

    def sure(name: str, digits: int, per: int = 1) -> str:
        return f"{results[name] / per:.{digits}f}" + (f" ± {plain(std[name] / per)}" if std else "")

    rows = [
        ("equation", f"{results['equation']}, off by {plain(1e3 * results['residual'] / n)} meV/atom (RMS)"),
        ("volume", f"{sure('volume', 4, n)} Å³/atom, cell lengths {lengths} Å"),
        ("energy", f"{sure('energy', 6, n)} eV/atom"),
        ("bulk modulus", f"{sure('bulk_modulus', 1)} GPa"),
        ("its derivative", f"{sure('derivative', 2)} by pressure"),
    ]
    if std is None:
        rows.append(("", "the energies are too uncertain to say how far these may be off"))
    output.print()
    show(key_value_table([*rows, *watch.rows()]))
