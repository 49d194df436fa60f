"""``castile demo``: features, derivatives and a small energy model on real structures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from ase import Atoms
from rich.padding import Padding

from castile import _core, datasets
from castile._memory import format_bytes
from castile.cli._console import key_value_table, output, paragraph, plain_table
from castile.cli._energy_model import CrossValidation, EnergyModel, cross_validate
from castile.descriptors import SOAP
from castile.errors import InputError
from castile.io import atomic_write
from castile.progress import track

__all__ = ["demo"]

FloatArray = npt.NDArray[np.float64]

_FOLDS = 5
_STEP = 1e-4  # of central differences, in Å and as strain


def demo(
    directory: Annotated[Path, typer.Option("--output", "-o", help="Directory for the pictures.")] = Path(
        "castile-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the folds and of random directions.")] = 0,
) -> None:
    """Show what Castile does on real structures with DFT energies, in less than a minute.

    Reads a small set that ships with the library, computes SOAP and its gradients, checks invariance and
    derivatives, fits the energies, and writes two pictures.
    """
    start = time.perf_counter()
    _make_directory(directory)
    output.print(
        f"Castile {_core.__version__}, {_core.num_threads()} threads, instruction set {_core.instruction_set()}"
    )
    frames = datasets.load()
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    groups = np.array([atoms.info["group"] for atoms in frames])
    _show_structures(frames, energies, groups)

    soap = SOAP(4.0, 6, 4, 0.6, species=_species(frames), cutoff_width=2.0, normalize=True)
    _show_features(soap, frames)
    model = EnergyModel.fit(soap, frames, energies)
    _show_checks(soap, model, frames, np.random.default_rng(seed))

    _section("Energies by kernel ridge regression")
    result = cross_validate(
        soap,
        frames,
        energies,
        n_folds=_FOLDS,
        seed=seed,
        steps=lambda folds: track(((1, fold) for fold in folds), len(folds), "cross-validation", True),
    )
    _show_errors(frames, energies, groups, result)

    _section("Pictures")
    for path in _draw(directory, soap=soap, frames=frames, energies=energies, groups=groups, result=result):
        output.print(f"  {path}, {format_bytes(path.stat().st_size)}", soft_wrap=True)
    output.print(f"\nDone in {time.perf_counter() - start:.0f} s. Your own file: castile describe FILE -o OUT.npz")


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the directory {directory} ({error.strerror}); name another") from error


def _section(title: str) -> None:
    output.print(f"\n{title}", style="bold")


def _species(frames: list[Atoms]) -> list[str]:
    return sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})


def _per_atom(frames: list[Atoms], energies: FloatArray) -> FloatArray:
    return np.asarray(energies / np.array([len(atoms) for atoms in frames]))


def _show_structures(frames: list[Atoms], energies: FloatArray, groups: npt.NDArray[Any]) -> None:
    _section("Structures")
    counts = [len(atoms) for atoms in frames]
    paragraph(f"{len(frames)} structures, {sum(counts)} atoms, with energies, forces and stresses:")
    paragraph(datasets.level_of_theory())
    paragraph("A set for trying things out: castile.datasets.description() tells its limits.")
    output.print()
    table = plain_table("group", "structures", "atoms", "energy (eV/atom)", "max force (eV/Å)", numeric=(1, 2, 4))
    per_atom = _per_atom(frames, energies)
    for group in dict.fromkeys(groups.tolist()):
        members = np.flatnonzero(groups == group)
        sizes = {counts[i] for i in members}
        force = max(np.linalg.norm(frames[i].get_forces(), axis=1).max() for i in members)
        table.add_row(
            group,
            str(len(members)),
            f"{min(sizes)}-{max(sizes)}" if len(sizes) > 1 else str(min(sizes)),
            f"{per_atom[members].min():.3f} to {per_atom[members].max():.3f}",
            f"{force:.2f}",
        )
    output.print(Padding(table, (0, 0, 0, 2)))


def _show_features(soap: SOAP, frames: list[Atoms]) -> None:
    _section("SOAP features and their gradients")
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
    output.print(Padding(table, (0, 0, 0, 2)))


def _show_checks(soap: SOAP, model: EnergyModel, frames: list[Atoms], rng: np.random.Generator) -> None:
    atoms = frames[int(rng.integers(len(frames)))]
    _section(f"Checks on one structure: {atoms.get_chemical_formula()}, {atoms.info['group']}")
    velocities, rates = rng.uniform(-1, 1, (len(atoms), 3)), rng.uniform(-0.1, 0.1, (3, 3))
    rates = 0.5 * (rates + rates.T)
    ahead, behind = (_moved(atoms, velocities, rates, sign * _STEP) for sign in (1, -1))
    numeric = (soap.transform(ahead) - soap.transform(behind)) / (2 * _STEP)
    exact = soap.jvp(atoms, positions=velocities, strain=rates[None])

    gradients = model.gradients([atoms])
    numeric_positions, numeric_strain = _differences(model, atoms)
    rows = [
        ("features, rotated, translated and permuted", _invariance(soap, atoms, rng)),
        ("features along a random direction: jvp, central difference", _deviation(numeric, exact)),
        ("fitted energy, all forces: vjp, central differences", _deviation(numeric_positions, gradients.positions)),
        ("fitted energy, all stresses: vjp, central differences", _deviation(numeric_strain, gradients.strain[0])),
    ]
    table = plain_table("what is compared", "largest deviation", numeric=(1,))
    for name, deviation in rows:
        table.add_row(name, f"{deviation:.0e}")
    output.print(Padding(table, (0, 0, 0, 2)))
    paragraph(f"Deviations are relative to the largest value; the step of the differences is {_STEP:g} (Å, strain).")


def _differences(model: EnergyModel, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
    """Return central differences of the energy by positions, (n_atoms, 3), and by strain, (3, 3)."""
    none, unit = np.zeros((len(atoms), 3)), np.eye(3)
    directions = [(direction.reshape(-1, 3), np.zeros((3, 3))) for direction in np.eye(3 * len(atoms))]
    directions += [(none, 0.5 * (np.outer(a, b) + np.outer(b, a))) for a in unit for b in unit]
    moved = [_moved(atoms, *direction, sign * _STEP) for direction in directions for sign in (1, -1)]
    ahead, behind = model.energies(moved).reshape(-1, 2).T
    slopes = (ahead - behind) / (2 * _STEP)
    return slopes[:-9].reshape(-1, 3), slopes[-9:].reshape(3, 3)


def _invariance(soap: SOAP, atoms: Atoms, rng: np.random.Generator) -> float:
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    order = rng.permutation(len(atoms))
    moved = atoms[order]
    moved.set_cell(atoms.cell.array @ rotation.T)
    moved.positions = atoms.positions[order] @ rotation.T + rng.normal(size=3)
    moved.wrap()
    return _deviation(soap.transform(moved), soap.transform(atoms)[order])


def _moved(atoms: Atoms, velocities: FloatArray, rates: FloatArray, step: float) -> Atoms:
    """Return the structure after a small time: strained, atoms and cell, then displaced."""
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + step * rates).T, scale_atoms=True)
    moved.positions += step * velocities
    return moved


def _deviation(values: Any, reference: Any) -> float:
    return float(np.max(np.abs(np.subtract(values, reference))) / np.max(np.abs(reference)))


def _show_errors(frames: list[Atoms], energies: FloatArray, groups: npt.NDArray[Any], result: CrossValidation) -> None:
    reference = _per_atom(frames, energies)
    predictions = (result.mean, result.composition, result.model)
    errors = [1e3 * (prediction - reference) for prediction in predictions]
    table = plain_table("error (meV/atom)", "", "mean", "composition", "SOAP", numeric=(2, 3, 4))
    for group in dict.fromkeys(groups.tolist()):
        table.add_row(group, "MAE", *(f"{np.abs(e[groups == group]).mean():.1f}" for e in errors))
    table.add_row("all", "MAE", *(f"{np.abs(e).mean():.1f}" for e in errors), style="bold")
    table.add_row("all", "RMSE", *(f"{np.sqrt(np.mean(e**2)):.1f}" for e in errors), style="bold")
    choices = ", ".join(f"({zeta:g}, {alpha:.0e})" for zeta, alpha in result.choices)
    paragraph(
        f"{_FOLDS}-fold cross-validation: every structure is predicted by models that have not seen it. Trivial "
        "baselines: the mean energy per atom, and one energy per species by least squares (composition). SOAP: "
        "composition and KernelRidge on the atoms' rows, whose contributions add up; (zeta, alpha) are chosen by "
        f"leave-one-out error inside each training part: {choices}. The settings of SOAP were chosen beforehand, by "
        "a short search on most of these structures, so that its errors are a little optimistic."
    )
    output.print()
    output.print(Padding(table, (0, 0, 1, 2)))
    forces = np.concatenate([atoms.get_forces() for atoms in frames])
    paragraph(
        "Forces were not fitted. As the gradient of these energies they are off by "
        f"{np.abs(result.forces - forces).mean():.2f} eV/Å per component (MAE), where a component is "
        f"{np.abs(forces).mean():.2f} eV/Å on average."
    )


def _draw(
    directory: Path,
    *,
    soap: SOAP,
    frames: list[Atoms],
    energies: FloatArray,
    groups: npt.NDArray[Any],
    result: CrossValidation,
) -> list[Path]:
    from castile.plots import feature_map, parity_plot

    reference = _per_atom(frames, energies)
    parity = parity_plot(reference, result.model, groups, quantity="energy")
    averaged = SOAP(**{**soap.get_params(), "average": "outer", "normalize": False}).transform(frames)
    map_ = feature_map(averaged, reference, groups, label="reference energy (eV/atom)")
    paths = []
    figures: dict[str, Any] = {"parity.png": parity.figure, "map.png": map_.figure}
    for name, figure in figures.items():
        with atomic_write(directory / name, overwrite=True) as file:
            figure.savefig(file, format="png")
        paths.append(directory / name)
    return paths
