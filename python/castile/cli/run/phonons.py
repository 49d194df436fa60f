"""``castile run phonons``: frequencies along a path, their density, and what follows at a temperature."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from ase import Atoms, units

from castile.cli._console import key_value_table, output, plain_table, warnings_as_lines
from castile.cli._files import (
    Pictures,
    print_json,
    read_model,
    read_structure,
    repetitions,
    require_crystal,
    warn,
)
from castile.cli._report import section, show
from castile.cli.fit import with_threads
from castile.cli.run._common import (
    AsJson,
    FileFormat,
    Index,
    ModelFile,
    Overwrite,
    StructureFile,
    Threads,
    largest_force,
)
from castile.cli.run._watch import Watch
from castile.errors import InputError
from castile.progress import track

__all__ = ["harmonic_properties", "phonons"]

FloatArray = npt.NDArray[np.float64]

_THZ = 241.7989242  # of one eV
_WIDTH = 10.0  # Å, of supercells that are not given
_AT_REST = 0.02  # eV/Å
_IMAGINARY = 0.1  # THz
_DOS_POINTS = 300
_LOOKS = 4  # at displaced structures, for their uncertainty


def phonons(  # noqa: PLR0917 -- the arguments are options of the command line
    model_file: ModelFile,
    structure: StructureFile,
    supercell: Annotated[
        str | None,
        typer.Option(metavar="N or AxBxC", help=f"Repetitions for the force constants (default: {_WIDTH:.0f} Å wide)."),
    ] = None,
    displacement: Annotated[float, typer.Option(help="Of each atom, to either side, Å.")] = 0.01,
    path: Annotated[
        str | None, typer.Option(help="Special points, as in GXWKGL (default: those of the lattice).")
    ] = None,
    n_points: Annotated[int, typer.Option("--points", "-n", min=10, help="Points of the path.")] = 200,
    mesh: Annotated[
        str, typer.Option(help="Wave vectors of the density of states along each axis; 0: no density.")
    ] = "12",
    temperature: Annotated[
        float, typer.Option("--temperature", "-T", min=0.0, help="Of free energy and heat capacity, K.")
    ] = 300.0,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Draw phonons.png.")] = None,
    index: Index = "-1",
    file_format: FileFormat = None,
    threads: Threads = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Compute phonons by finite displacements: along a path, and their density of states.

    For example: castile run phonons si.castile relaxed.xyz --supercell 3 --plots pictures

    Give a primitive cell that is relaxed (castile run relax --cell): the path is that of its lattice.
    """
    if not 0.0 < displacement <= 0.5:
        raise InputError(f"--displacement must be above 0 and at most 0.5 Å, got {displacement!r}")
    grid = None if mesh.strip() == "0" else repetitions(mesh, "--mesh")
    pictures = Pictures(plots, ("phonons.png",), overwrite)
    with warnings_as_lines(), with_threads(threads):
        model = read_model(model_file)
        atoms = read_structure(structure, model, index=index, file_format=file_format, supercell=None)
        require_crystal(atoms, "phonons")
        band_path = _band_path(atoms, path, n_points)
        size = _default_size(atoms) if supercell is None else repetitions(supercell, "--supercell")
        watch = Watch(model)
        watch.distances(atoms, "at the start")
        force = largest_force(atoms.get_forces())
        if force > _AT_REST:
            warn(f"the structure is not at rest, forces are up to {force:.3f} eV/Å; relax it first (castile run relax)")
        found = _force_constants(atoms, size, displacement)
        watch.energy_and_forces(atoms, "at rest")
        for number, displaced in enumerate(_displaced(atoms, size, displacement)):
            watch.energy_and_forces(displaced, f"with atom {number} displaced")
        x, places, names = band_path.get_linear_kpoint_axis()
        frequencies = _THZ * np.asarray(found.band_structure(band_path.kpts, verbose=False))
        results: dict[str, Any] = {
            "supercell": size,
            "path": band_path.path,
            "distances": x,
            "frequencies": frequencies,
            "points": _at_points(band_path, found),
            "largest_force": force,
        }
        lowest = float(frequencies.min())
        if grid is not None:
            own = _THZ * np.asarray(found.band_structure(_mesh_points(grid), verbose=False))
            lowest = min(lowest, float(own.min()))
            results["dos"] = _density(own)
            results["harmonic"] = harmonic_properties(own, len(atoms), temperature)
        results["lowest"] = lowest
        if lowest < -_IMAGINARY:
            text = f"imaginary frequencies, down to {-lowest:.2f}i THz: the structure is no minimum of this model"
            watch.warnings.append(text)
            warn(text)
        results |= watch.results()
        if not as_json:
            _show(results, temperature, watch)
        if pictures.wanted:
            from castile.plots import phonon_bands

            ticks = _ticks(places, names)
            pictures.draw("phonons.png", lambda: phonon_bands(x, frequencies, ticks, dos=results.get("dos")))
    if as_json:
        print_json({**results, "unit": "THz", "pictures": pictures.written})
    else:
        pictures.list()


def _band_path(atoms: Atoms, path: str | None, n_points: int) -> Any:
    try:
        return atoms.cell.bandpath(path, npoints=n_points)
    except (KeyError, ValueError, IndexError, AssertionError) as error:
        known = ", ".join(atoms.cell.bandpath(npoints=0).special_points)
        raise InputError(f"--path must be made of the points {known} of this lattice, got {path!r}") from error


def _default_size(atoms: Atoms) -> tuple[int, int, int]:
    """Return repetitions that make the supercell wide enough along each axis."""
    widths = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    a, b, c = np.ceil(_WIDTH / widths - 1e-6).astype(int).tolist()
    return a, b, c


def _force_constants(atoms: Atoms, size: tuple[int, int, int], displacement: float) -> Any:
    """Return ASE's phonons with force constants; its files are gone afterwards."""
    from ase.phonons import Phonons

    resting = atoms.copy()
    n = 1 + 6 * len(atoms)
    with tempfile.TemporaryDirectory(prefix="castile-") as folder:
        found = Phonons(resting, atoms.calc, supercell=size, delta=displacement, name=str(Path(folder) / "phonons"))
        compute = found.calculate
        bar = iter(track(((1, k) for k in range(n)), n, "displacements", True))

        def counted(supercell: Atoms, shift: Any) -> Any:
            next(bar, None)
            return compute(supercell, shift)

        found.calculate = counted
        found.run()
        next(bar, None)
        found.read(acoustic=True)
    return found


def _displaced(atoms: Atoms, size: tuple[int, int, int], displacement: float) -> list[Atoms]:
    """Return supercells with one atom displaced, of the first few atoms: one direction tells the magnitude."""
    found = []
    for number in range(min(len(atoms), _LOOKS)):
        displaced = atoms.repeat(size)
        displaced.positions[number, 0] += displacement
        found.append(displaced)
    return found


def _at_points(band_path: Any, found: Any) -> dict[str, list[float]]:
    """Return the frequencies at the special points of the path."""
    names = list(dict.fromkeys(character for character in _labels(band_path.path) if character != ","))
    kpts = np.array([band_path.special_points[name] for name in names])
    frequencies = _THZ * np.asarray(found.band_structure(kpts, verbose=False))
    return {name: row.tolist() for name, row in zip(names, frequencies, strict=True)}


def _labels(path: str) -> list[str]:
    from ase.dft.kpoints import parse_path_string

    return [name for part in parse_path_string(path) for name in part]


def _mesh_points(grid: tuple[int, int, int]) -> FloatArray:
    from ase.dft.kpoints import monkhorst_pack

    return np.asarray(monkhorst_pack(grid))


def _ticks(places: Any, names: list[str]) -> list[tuple[float, str]]:
    """Return special points; those that fall together share a line."""
    ticks: list[tuple[float, str]] = []
    for place, name in zip(np.asarray(places).tolist(), names, strict=True):
        pretty = "Γ" if name == "G" else name
        if ticks and abs(ticks[-1][0] - place) < 1e-9:
            ticks[-1] = (place, f"{ticks[-1][1]}|{pretty}")
        else:
            ticks.append((place, pretty))
    return ticks


def _density(frequencies: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return frequencies in THz and the density of states per THz, which adds up to the number of bands."""
    values = frequencies.ravel()
    low, high = min(0.0, float(values.min())), float(values.max())
    width = max(0.012 * (high - low), 1e-3)
    x = np.linspace(low - 3.0 * width, high + 3.0 * width, _DOS_POINTS)
    density = np.zeros(len(x))
    for value in values.tolist():
        density += np.exp(-0.5 * ((x - value) / width) ** 2)
    return x, density / (np.sqrt(2.0 * np.pi) * width * len(frequencies))


def harmonic_properties(frequencies: FloatArray, n_atoms: int, temperature: float) -> dict[str, float]:
    """Return what harmonic phonons of a mesh mean at a temperature; imaginary and vanishing ones are left out.

    Parameters
    ----------
    frequencies : ndarray of shape (n_points, 3 n_atoms), in THz
    n_atoms : int
    temperature : float
        In K.

    Returns
    -------
    dict
        ``temperature``, ``zero_point_energy`` and ``free_energy`` (with it) in eV/atom, ``heat_capacity`` at constant
        volume in units of Boltzmann's constant per atom (three at high temperature).
    """
    quanta = frequencies[frequencies > 1e-3] / _THZ
    share = 1.0 / (len(frequencies) * n_atoms)
    zero = 0.5 * float(quanta.sum()) * share
    thermal = capacity = 0.0
    if temperature > 0.0:
        kt = units.kB * temperature
        x = np.minimum(quanta / kt, 500.0)
        thermal = kt * float(np.log1p(-np.exp(-x)).sum()) * share
        capacity = float(np.sum((0.5 * x / np.sinh(0.5 * x)) ** 2)) * share
    return {
        "temperature": temperature,
        "zero_point_energy": zero,
        "free_energy": zero + thermal,
        "heat_capacity": capacity,
    }


def _show(results: dict[str, Any], temperature: float, watch: Watch) -> None:
    section("Phonons in THz")
    table = plain_table("point", "lowest", "", "", "highest", numeric=(1, 2, 3, 4))
    for name, row in results["points"].items():
        values = np.sort(row)
        shown = values[[0, 1, 2, -1]] + 0.0
        table.add_row("Γ" if name == "G" else name, *(f"{value:.2f}" for value in np.round(shown, 2) + 0.0))
    show(table)
    rows = [
        ("supercell", "x".join(map(str, results["supercell"]))),
        ("path", results["path"].replace("G", "Γ")),
        ("lowest", f"{results['lowest']:.2f} THz"),
    ]
    harmonic = results.get("harmonic")
    if harmonic is not None:
        rows += [
            ("zero-point energy", f"{1e3 * harmonic['zero_point_energy']:.1f} meV/atom"),
            ("free energy", f"{1e3 * harmonic['free_energy']:.1f} meV/atom at {temperature:g} K"),
            ("heat capacity", f"{harmonic['heat_capacity']:.3f} k_B per atom at {temperature:g} K"),
        ]
    output.print()
    show(key_value_table([*rows, *watch.rows()]))
