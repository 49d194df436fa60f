"""``castile demo``: features, derivatives, and a force field with its errors, on real structures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from ase import Atoms, units

from castile import _core, data, datasets
from castile._memory import format_bytes
from castile._text import plain
from castile.cli import _report as report
from castile.cli._console import key_value_table, output, paragraph, plain_table, warnings_as_lines
from castile.cli._files import Pictures
from castile.cli.run._watch import Watch
from castile.cli.run.md import drift, integrate
from castile.data import Dataset
from castile.descriptors import SOAP
from castile.models.force_field import ErrorTable, ForceField, Prediction
from castile.models.force_field.error_table import error_table, residuals

__all__ = ["demo"]

FloatArray = npt.NDArray[np.float64]

_TEST = 0.2  # of the structures
_STEP = 1e-4  # of central differences, in Å and as strain
_PICTURES = ("parity.png", "errors.png", "dimers.png", "conservation.png", "map.png")
_MODEL = "demo.castile"
_TEMPERATURE = 300.0  # K
_STEPS = 1000  # of one fs


def demo(
    directory: Annotated[Path, typer.Option("--output", "-o", help="Directory for the pictures and the model.")] = Path(
        "castile-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the split, of random directions and of velocities.")] = 0,
) -> None:
    """Show what Castile does on real structures with DFT labels, in about a minute.

    Reads a small set that ships with the library, computes SOAP and its gradients, fits a force field, reports its
    errors on structures that it has not seen, checks its derivatives, runs molecular dynamics, and writes pictures.
    """
    start = time.perf_counter()
    pictures = Pictures(directory, _PICTURES, overwrite=True)
    output.print(
        f"Castile {_core.__version__}, {_core.num_threads()} threads, instruction set {_core.instruction_set()}"
    )
    dataset = data.read(datasets.load())
    _show_structures(dataset)
    _show_features(dataset.frames)
    with warnings_as_lines():
        train, test = data.split(dataset, _TEST, seed=seed, stratify=True)
        model = _fit(train, len(test), seed)
        prediction, table = _show_errors(model, train, test)
        _show_checks(model, test.frames, np.random.default_rng(seed))
        records, n_atoms = _run(model, dataset.frames[0], seed)
    _draw(pictures, model, train, test, prediction=prediction, table=table, records=records, n_atoms=n_atoms)
    path = directory / _MODEL
    model.save(path)
    report.section("Files")
    pictures.list()
    output.print(f"  {path}, {format_bytes(path.stat().st_size)}: the force field", markup=False, soft_wrap=True)
    output.print(f"\nDone in {time.perf_counter() - start:.0f} s. Your own data, and what to do with the force field:")
    output.print("  castile fit train.xyz --test test.xyz -o my.castile")
    output.print(f"  castile run elastic {path} STRUCTURE    (md, relax, eos, phonons)", markup=False, soft_wrap=True)


def _show_structures(dataset: Dataset) -> None:
    report.section("Structures")
    counts, groups = dataset.n_atoms, dataset.groups
    paragraph(f"{len(dataset)} structures, {counts.sum()} atoms, with energies, forces and stresses:")
    paragraph(datasets.level_of_theory())
    paragraph("A set for trying things out: castile.datasets.description() tells its limits.")
    output.print()
    table = plain_table("group", "structures", "atoms", "energy (eV/atom)", "max force (eV/Å)", numeric=(1, 2, 4))
    per_atom, frame_of_atoms = dataset.energies / counts, dataset.frame_of_atoms()
    for group in dict.fromkeys(groups.tolist()):
        members = groups == group
        force = np.linalg.norm(dataset.forces[members[frame_of_atoms]], axis=1).max()
        low, high = counts[members].min(), counts[members].max()
        table.add_row(
            group,
            str(int(members.sum())),
            str(low) if low == high else f"{low}-{high}",
            f"{per_atom[members].min():.3f} to {per_atom[members].max():.3f}",
            f"{force:.2f}",
        )
    report.show(table)


def _show_features(frames: list[Atoms]) -> None:
    report.section("SOAP features and their gradients")
    soap = SOAP(4.0, 6, 4, 0.6, cutoff_width=2.0, normalize=True).fit(frames)
    start = time.perf_counter()
    rows = soap.transform(frames)
    features_seconds = time.perf_counter() - start
    start = time.perf_counter()
    soap.vjp(frames, rows)
    gradient_seconds = time.perf_counter() - start
    memory = soap.estimate_memory(frames)
    jacobian = soap.jacobian(frames[0])
    blocks = sum(len(group.row) for group in jacobian.groups)
    n_atoms = sum(len(atoms) for atoms in frames)
    settings = f"cutoff {soap.cutoff} Å, n_max {soap.n_max}, l_max {soap.l_max}, sigma {soap.sigma} Å"
    table = key_value_table(
        [
            ("settings", f"{settings}, norm one"),
            ("features", f"{rows.shape[0]} rows x {rows.shape[1]} columns, {format_bytes(rows.nbytes)}"),
            ("time", f"{1e6 * features_seconds / n_atoms:.0f} µs per atom, set-up included"),
            ("gradient (vjp)", f"{1e6 * gradient_seconds / n_atoms:.0f} µs per atom, by positions and strain"),
            ("Jacobian of all", f"{format_bytes(memory.jacobian + memory.strain)}; not formed, vjp does without"),
            ("Jacobian of one", f"{format_bytes(jacobian.nbytes)}, {blocks} blocks for the first structure"),
        ]
    )
    report.show(table)


def _fit(train: Dataset, n_test: int, seed: int) -> ForceField:
    report.section("Force field")
    paragraph(
        f"A sparse Gaussian process on SOAP, and pair functions, fitted to the energies, forces and stresses of "
        f"{len(train)} structures with default settings; {n_test} structures, drawn at random from each group, are for "
        "the test."
    )
    output.print()
    start = time.perf_counter()
    model = ForceField(seed=seed).fit(train, progress=True)
    seconds = time.perf_counter() - start
    shown = ("typical lengths", "SOAP term", "sparse points", "noise", "prior", "rows", "columns")
    rows = [(name, text) for name, text in report.model_rows(model) if name in shown]
    report.show(key_value_table([*rows, ("time", f"{seconds:.1f} s")]))
    return model


def _show_errors(model: ForceField, train: Dataset, test: Dataset) -> tuple[Prediction, ErrorTable]:
    report.section("Errors")
    parts = {"training": train, "test": test}
    predictions = {name: model.predict(part.frames) for name, part in parts.items()}
    tables = {name: error_table(residuals(part, predictions[name])) for name, part in parts.items()}
    report.show_errors(tables, {name: len(part) for name, part in parts.items()})
    output.print()
    table = tables["test"]
    shares = {kind: 100.0 * np.sqrt(max(1.0 - table[kind]["r2"], 0.0)) for kind in ("energy", "force", "stress")}
    by_group = [row for row in table.rows if row["quantity"] == "force" and row["group"] != "all"]
    worst = max(by_group, key=lambda row: float(row["rmse"]))["group"]
    paragraph(
        f"Test errors are {shares['energy']:.0f} % (energy), {shares['force']:.0f} % (force) and "
        f"{shares['stress']:.0f} % (stress) of the spread of the labels, which is wide, as the structures are strongly "
        f"distorted. {len(train)} structures of eight atoms are few: forces of {worst} are the worst, "
        "and of surfaces, defects and liquids this force field knows nothing."
    )
    report.show_judgment(tables["training"], table)
    report.show_calibration(report.calibrate(model, test, predictions["test"]))
    return predictions["test"], table


def _show_checks(model: ForceField, frames: list[Atoms], rng: np.random.Generator) -> None:
    atoms = frames[int(rng.integers(len(frames)))]
    report.section(f"Checks on one structure: {atoms.get_chemical_formula()}, {atoms.info['group']}")
    found = model.predict(atoms)
    turned, order, rotation = _turned(atoms, rng)
    other = model.predict(turned)
    forces, stress = _differences(model, atoms)
    rows = [
        ("energy, rotated, translated and permuted", _deviation(other.energies, found.energies[order])),
        ("forces, the same", _deviation(other.forces, found.forces[order] @ rotation.T)),
        ("forces and central differences of the energy", _deviation(forces, found.forces)),
        ("stress and central differences of the energy", _deviation(stress, found.stress[0])),
    ]
    table = plain_table("what is compared", "largest deviation", numeric=(1,))
    for name, deviation in rows:
        table.add_row(name, f"{deviation:.0e}")
    report.show(table)
    paragraph(f"Deviations are relative to the largest value; the step of the differences is {_STEP:g} (Å, strain).")


def _turned(atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, npt.NDArray[Any], FloatArray]:
    """Return a structure that is rotated, translated and permuted, with order and rotation."""
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    order = rng.permutation(len(atoms))
    moved = atoms[order]
    moved.set_cell(atoms.cell.array @ rotation.T)
    moved.positions = atoms.positions[order] @ rotation.T + rng.normal(size=3)
    moved.wrap()
    return moved, order, rotation


def _differences(model: ForceField, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
    """Return forces (n_atoms, 3) and stress (6,) from central differences of the energy."""
    none, unit = np.zeros((len(atoms), 3)), np.eye(3)
    directions = [(direction.reshape(-1, 3), np.zeros((3, 3))) for direction in np.eye(3 * len(atoms))]
    pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    directions += [(none, 0.5 * (np.outer(unit[a], unit[b]) + np.outer(unit[b], unit[a]))) for a, b in pairs]
    moved = [_moved(atoms, *direction, sign * _STEP) for direction in directions for sign in (1, -1)]
    ahead, behind = model.predict(moved).energy.reshape(-1, 2).T
    slopes = (ahead - behind) / (2 * _STEP)
    return -slopes[:-6].reshape(-1, 3), slopes[-6:] / atoms.get_volume()


def _moved(atoms: Atoms, shifts: FloatArray, strain: FloatArray, step: float) -> Atoms:
    """Return the structure strained, atoms and cell, and displaced by so much."""
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + step * strain).T, scale_atoms=True)
    moved.positions += step * shifts
    return moved


def _deviation(values: Any, reference: Any) -> float:
    return float(np.max(np.abs(np.subtract(values, reference))) / np.max(np.abs(reference)))


def _run(model: ForceField, crystal: Atoms, seed: int) -> tuple[FloatArray, int]:
    """Run dynamics at constant energy; return the records and the number of atoms."""
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
    from ase.md.verlet import VelocityVerlet

    atoms = crystal.copy().repeat(2)
    n_atoms = len(atoms)
    report.section(f"Molecular dynamics at constant energy: {n_atoms} atoms of {atoms.info['group']}")
    atoms.calc = model.calculator()
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2.0 * _TEMPERATURE, rng=rng, force_temp=True)
    Stationary(atoms)
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    start = time.perf_counter()
    records = integrate(dynamics, atoms, Watch(model), steps=_STEPS, every=5)
    seconds = time.perf_counter() - start
    half, exchanged = records[len(records) // 2 :, 1], np.std(records[:, 3] - records[:, 2])
    table = key_value_table(
        [
            ("run", f"{plain(records[-1, 0])} ps in steps of 1 fs, at {half.mean():.0f} K"),
            ("energy drift", f"{plain(1e3 * drift(records[:, 0], records[:, 3], n_atoms))} meV per atom and ps"),
            (
                "fluctuation",
                f"total energy {plain(1e3 * np.std(records[:, 3]) / n_atoms)} meV/atom (RMS), "
                f"kinetic energy {plain(1e3 * exchanged / n_atoms)}",
            ),
            ("speed", f"{1e6 * seconds / (_STEPS * n_atoms):.0f} µs per atom and step"),
        ]
    )
    report.show(table)
    return records, n_atoms


def _draw(
    pictures: Pictures,
    model: ForceField,
    train: Dataset,
    test: Dataset,
    *,
    prediction: Prediction,
    table: ErrorTable,
    records: FloatArray,
    n_atoms: int,
) -> None:
    from castile import plots

    title = f"{len(test)} test structures"
    pictures.draw("parity.png", lambda: plots.parity_panels(residuals(test, prediction), title))
    pictures.draw("errors.png", lambda: plots.errors_by_group(table))
    pictures.draw("dimers.png", lambda: plots.dimer_curves(model))
    kinetic = records[:, 3] - records[:, 2]
    pictures.draw("conservation.png", lambda: plots.conservation(records[:, 0], records[:, 3], kinetic, n_atoms))
    frames, groups = [*train.frames, *test.frames], np.concatenate([train.groups, test.groups])
    energies = np.concatenate([part.energies / part.n_atoms for part in (train, test)])
    averaged = SOAP(4.0, 6, 4, 0.6, cutoff_width=2.0, average="outer").fit_transform(frames)
    pictures.draw("map.png", lambda: plots.feature_map(averaged, energies, groups, label="reference energy (eV/atom)"))
