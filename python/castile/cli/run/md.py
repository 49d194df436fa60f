"""``castile run md``: molecular dynamics."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from ase import Atoms, units

from castile._text import plain
from castile.cli._console import key_value_table, output, plain_table, warnings_as_lines
from castile.cli._files import Pictures, check_frames_file, frames_text, print_json, read_model, read_structure
from castile.cli._report import section, show
from castile.cli.fit import with_threads
from castile.cli.run._common import (
    AsJson,
    FileFormat,
    Index,
    ModelFile,
    Overwrite,
    StructureFile,
    Supercell,
    Threads,
    pressure,
    snapshot,
)
from castile.cli.run._watch import Watch
from castile.errors import InputError
from castile.progress import track

__all__ = ["drift", "integrate", "md"]

FloatArray = npt.NDArray[np.float64]

ENSEMBLES = ("nve", "nvt", "npt")
_ROWS = 10  # of the table
_FORCES_EVERY = 10  # looks at the uncertainty
_HOTTEST = 1e5  # K, beyond which a simulation has gone wrong
_COLUMNS = ("time", "temperature", "potential", "total", "pressure", "volume")


def md(  # noqa: PLR0917 -- the arguments are options of the command line
    model_file: ModelFile,
    structure: StructureFile,
    ensemble: Annotated[
        str, typer.Option("--ensemble", "-e", help="nve (Verlet), nvt (Langevin) or npt (Nosé-Hoover chains).")
    ] = "nvt",
    temperature: Annotated[float, typer.Option("--temperature", "-T", min=0.0, help="In K.")] = 300.0,
    steps: Annotated[int, typer.Option("--steps", "-n", min=1, help="Number of time steps.")] = 1000,
    timestep: Annotated[float, typer.Option(help="In fs; with hydrogen at most 0.5.")] = 1.0,
    friction: Annotated[float, typer.Option(help="Of the Langevin thermostat, 1/fs.")] = 0.01,
    pressure_gpa: Annotated[float, typer.Option("--pressure", help="Of npt, GPa.")] = 0.0,
    shape: Annotated[bool, typer.Option("--shape", help="In npt: let the shape of the cell change, too.")] = False,
    velocities: Annotated[
        str,
        typer.Option(help="'draw' at the temperature (twice it for nve, as half goes into the potential), or 'keep'."),
    ] = "draw",
    every: Annotated[int, typer.Option(min=1, help="Steps between two frames, and two looks at the state.")] = 10,
    uncertainty_every: Annotated[
        int,
        typer.Option(
            min=0,
            help="Steps between two looks at the uncertainty of the energy; at the start, the end and every tenth look "
            "also at that of forces, which takes as long as some dozens of steps. 0: never.",
        ),
    ] = 100,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Trajectory to write, extended XYZ.")] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Draw energy.png.")] = None,
    index: Index = "-1",
    file_format: FileFormat = None,
    supercell: Supercell = None,
    seed: Annotated[int, typer.Option(min=0, help="Of velocities and thermostat.")] = 0,
    threads: Threads = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Run molecular dynamics.

    For example: castile run md si.castile si.cif --supercell 2 -e nve -T 600 -n 5000 -o nve.xyz

    The trajectory has velocities, so that --velocities keep goes on from it; an interrupted run leaves what it has.
    """
    _check(ensemble, velocities, timestep, friction)
    check_frames_file(out, overwrite)
    pictures = Pictures(plots, ("energy.png",), overwrite)
    with warnings_as_lines(), with_threads(threads):
        model = read_model(model_file)
        atoms = read_structure(structure, model, index=index, file_format=file_format, supercell=supercell)
        if ensemble == "nvt":
            _hold_center(atoms)
        rng = np.random.default_rng(seed)
        _set_velocities(atoms, velocities, temperature * (2.0 if ensemble == "nve" else 1.0), rng)
        dynamics = _dynamics(
            atoms, ensemble, timestep, temperature, friction=friction, target=pressure_gpa, shape=shape, rng=rng
        )
        watch = Watch(model)
        start = time.perf_counter()
        with ExitStack() as stack:
            # Not at the end as a whole: what an interrupted run has seen is worth keeping.
            file = None if out is None else stack.enter_context(out.open("wb"))
            records = integrate(
                dynamics, atoms, watch, steps=steps, every=every, uncertainty_every=uncertainty_every, file=file
            )
        seconds = time.perf_counter() - start
        results = _results(atoms, records, watch, ensemble=ensemble, steps=steps, timestep=timestep, seconds=seconds)
        if not as_json:
            _show(results, records, out, watch)
        if pictures.wanted:
            from castile.plots import conservation

            kinetic = records[:, 3] - records[:, 2]
            pictures.draw("energy.png", lambda: conservation(records[:, 0], records[:, 3], kinetic, len(atoms)))
            if not as_json:
                pictures.list()
    if as_json:
        records_by_name = {name: records[:, k] for k, name in enumerate(_COLUMNS)}
        print_json({**results, "records": records_by_name, "trajectory": out, "pictures": pictures.written})


def _check(ensemble: str, velocities: str, timestep: float, friction: float) -> None:
    if ensemble not in ENSEMBLES:
        raise InputError(f"--ensemble must be one of {', '.join(ENSEMBLES)}, got {ensemble!r}")
    if velocities not in ("draw", "keep"):
        raise InputError(f"--velocities must be draw or keep, got {velocities!r}")
    for name, value in (("--timestep", timestep), ("--friction", friction)):
        if not 0.0 < value < float("inf"):
            raise InputError(f"{name} must be above 0, got {value!r}")


def _hold_center(atoms: Atoms) -> None:
    """Let random forces not move the center of mass; atoms with constraints of their own are held by these."""
    from ase.constraints import FixCom

    if len(atoms) > 1 and not atoms.constraints:
        atoms.set_constraint(FixCom())


def _set_velocities(atoms: Atoms, velocities: str, temperature: float, rng: np.random.Generator) -> None:
    if velocities == "keep":
        if not atoms.has("momenta"):
            raise InputError("--velocities keep: the structure has none; leave the option out to draw them")
        return
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng, force_temp=temperature > 0.0)
    if len(atoms) > 1:
        Stationary(atoms)


def _dynamics(
    atoms: Atoms,
    ensemble: str,
    timestep: float,
    temperature: float,
    *,
    friction: float,
    target: float,
    shape: bool,
    rng: np.random.Generator,
) -> Any:
    step = timestep * units.fs
    if ensemble == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, step)
    if temperature <= 0.0:
        raise InputError(f"--temperature must be above 0 for {ensemble}, got {temperature}")
    if ensemble == "nvt":
        from ase.md.langevin import Langevin

        return Langevin(atoms, step, temperature_K=temperature, friction=friction / units.fs, fixcm=False, rng=rng)
    if not atoms.pbc.all():
        raise InputError("npt needs a crystal, periodic along three axes; use nvt")
    from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT

    return (MTKNPT if shape else IsotropicMTKNPT)(
        atoms, step, temperature, target * units.GPa, tdamp=100.0 * step, pdamp=1000.0 * step
    )


def integrate(
    dynamics: Any,
    atoms: Atoms,
    watch: Watch,
    *,
    steps: int,
    every: int,
    uncertainty_every: int = 0,
    file: Any = None,
    progress: bool = True,
) -> FloatArray:
    """Run steps, and look at the atoms every so often.

    Parameters
    ----------
    dynamics : ase.md.md.MolecularDynamics
        Of the atoms.
    atoms : ase.Atoms
    watch : Watch
    steps, every, uncertainty_every : int
    file : binary file, optional
        Gets a frame of extended XYZ at each look.
    progress : bool

    Returns
    -------
    ndarray of shape (n_looks, 6)
        Time in ps, temperature in K, potential and total energy in eV, pressure in GPa, volume in Å³.
    """
    unsure = _Looks(uncertainty_every, steps)
    lengths = [min(every, steps - first) for first in range(0, steps, every)]
    records, done = [_record(atoms, dynamics)], 0
    _look(atoms, watch, "at the start", unsure.due(0), file)
    for length in track(((n, n) for n in lengths), steps, "steps", progress):
        dynamics.run(length)
        done += length
        records.append(_record(atoms, dynamics))
        if not np.isfinite(records[-1][:4]).all() or records[-1][1] > _HOTTEST:
            raise InputError(
                f"the simulation went wrong before step {done} (temperature {records[-1][1]:.0f} K); lower --timestep, "
                "relax the structure first, or train on structures like these"
            )
        _look(atoms, watch, f"at step {done}", unsure.due(done), file)
    return np.array(records)


class _Looks:
    """Tells at which steps there is a look at what uncertainty."""

    def __init__(self, every: int, steps: int) -> None:
        self._every, self._steps, self._next, self._n = every, steps, 0, 0

    def due(self, step: int) -> str | None:
        """Return ``"energy"``, ``"energy and forces"`` or None."""
        if self._every == 0 or self._next > step < self._steps:
            return None
        self._next = step + self._every
        self._n += 1
        return "energy and forces" if self._n % _FORCES_EVERY == 1 or step == self._steps else "energy"


def _record(atoms: Atoms, dynamics: Any) -> list[float]:
    potential = float(atoms.get_potential_energy())
    return [
        dynamics.get_time() / (1000.0 * units.fs),
        float(atoms.get_temperature()),
        potential,
        potential + float(atoms.get_kinetic_energy()),
        pressure(atoms, kinetic=True),
        float(atoms.get_volume()) if atoms.pbc.all() else float("nan"),
    ]


def _look(atoms: Atoms, watch: Watch, where: str, unsure: str | None, file: Any) -> None:
    watch.distances(atoms, where)
    if unsure == "energy":
        watch.energy(atoms, where)
    elif unsure is not None:
        watch.energy_and_forces(atoms, where)
    if file is not None:
        file.write(frames_text([snapshot(atoms)]))
        file.flush()


def drift(times: FloatArray, total: FloatArray, n_atoms: int) -> float:
    """Return the slope of the total energy in eV per atom and ps, by least squares."""
    return float(np.polyfit(times, total / n_atoms, 1)[0]) if len(times) > 1 else float("nan")


def _results(
    atoms: Atoms, records: FloatArray, watch: Watch, *, ensemble: str, steps: int, timestep: float, seconds: float
) -> dict[str, Any]:
    half = records[len(records) // 2 :]
    times, n = records[:, 0], len(atoms)
    found: dict[str, Any] = {"ensemble": ensemble, "atoms": n, "steps": steps, "time": float(times[-1])}
    for k, name in enumerate(_COLUMNS[1:], start=1):
        found[name] = {"mean": float(half[:, k].mean()), "std": float(half[:, k].std())}
    if ensemble == "nve":
        found["drift"] = drift(times, records[:, 3], n)
        found["total_energy_rms"] = float(np.std(records[:, 3])) / n
    found["seconds"] = seconds
    found["ns_per_day"] = 86400.0 * steps * timestep * 1e-6 / seconds
    return {**found, **watch.results()}


def _show(results: dict[str, Any], records: FloatArray, out: Path | None, watch: Watch) -> None:
    n = results["atoms"]
    section(f"{results['ensemble'].upper()} of {n} atoms, {plain(results['time'], 3)} ps")
    crystal = bool(np.isfinite(records[0, 4]))
    heads = ["time (ps)", "T (K)", "E pot (eV/atom)", "E tot (eV/atom)"]
    heads += ["P (GPa)", "V (Å³/atom)"] if crystal else []
    table = plain_table(*heads, numeric=range(len(heads)))
    for k in np.unique(np.linspace(0, len(records) - 1, min(_ROWS, len(records))).round().astype(int)).tolist():
        t, kelvin, potential, total, gpa, volume = records[k].tolist()
        cells = [f"{t:.3f}", f"{kelvin:.0f}", f"{potential / n:.5f}", f"{total / n:.5f}"]
        table.add_row(*cells, *([f"{gpa:.2f}", f"{volume / n:.3f}"] if crystal else []))
    show(table)
    output.print()
    rows = [("temperature", f"{results['temperature']['mean']:.0f} ± {results['temperature']['std']:.0f} K")]
    if crystal:
        rows.append(("pressure", f"{results['pressure']['mean']:.2f} ± {results['pressure']['std']:.2f} GPa"))
    if "drift" in results:
        rows.append(("energy drift", f"{plain(1e3 * results['drift'])} meV per atom and ps"))
        rows.append(("fluctuation", f"{plain(1e3 * results['total_energy_rms'])} meV per atom (total energy, RMS)"))
    rows += watch.rows()
    speed = f"{1e6 * results['seconds'] / (results['steps'] * n):.0f} µs per atom and step"
    rows.append(("speed", f"{speed}, {plain(results['ns_per_day'])} ns per day, with all that is looked at"))
    if out is not None:
        rows.append(("trajectory", f"{out}, {len(records)} frames"))
    show(key_value_table(rows))
    output.print("  Means are those of the second half.", soft_wrap=True)
