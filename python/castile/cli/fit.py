"""``castile fit``: a force field from a file of structures with labels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from castile import data
from castile._memory import format_bytes
from castile.cli import _report as report
from castile.cli._console import errors, output, warnings_as_lines
from castile.cli._cost import cutoff_note
from castile.cli._files import Pictures, bytes_of, label_keys, warn
from castile.data import Dataset
from castile.errors import InputError
from castile.io import check_output
from castile.models.force_field import ErrorTable, ForceField, Prediction
from castile.models.force_field._label_check import poor_fit, poor_kinds
from castile.models.force_field.error_table import error_table, residuals
from castile.models.force_field.terms import DEFAULT_PRESET, PRESETS
from castile.parallel import threads as limited_threads

__all__ = ["PICTURES", "draw_errors", "fit", "with_threads"]

PICTURES = ("parity.png", "errors.png", "dimers.png")

_DATA, _MODEL, _RUN = "Labels and data", "The model", "Running"


def fit(  # noqa: PLR0917 -- the arguments are options of the command line
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Structures with labels, in any format that ASE reads.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="The model file to write, such as si.castile.")],
    test: Annotated[
        list[Path] | None, typer.Option("--test", "-t", help="Structures to test on; may be repeated.")
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.9, help="Keep this share of each group for the test, drawn at random."),
    ] = None,
    index: Annotated[
        str, typer.Option("--index", "-i", help="Which frames of each file, as a slice: ':100', '::10'.")
    ] = ":",
    file_format: Annotated[
        str | None, typer.Option("--format", "-f", help="ASE's name of the file format (default: guessed).")
    ] = None,
    energy_key: Annotated[
        str | None, typer.Option(help="Where energies are ('none': leave them out).", rich_help_panel=_DATA)
    ] = None,
    forces_key: Annotated[
        str | None, typer.Option(help="Where forces are ('none': leave them out).", rich_help_panel=_DATA)
    ] = None,
    stress_key: Annotated[
        str | None, typer.Option(help="Where stresses are ('none': leave them out).", rich_help_panel=_DATA)
    ] = None,
    virial_key: Annotated[
        str | None, typer.Option(help="Where virials are ('none': leave them out).", rich_help_panel=_DATA)
    ] = None,
    group_key: Annotated[
        str | None, typer.Option(help="What names the groups of frames ('none': one group).", rich_help_panel=_DATA)
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP=NUMBER", help="Weight of a group, as in liquid=0.5; may be repeated.", rich_help_panel=_DATA
        ),
    ] = None,
    atom_energy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL=EV",
            help="Reference energy of a species, as in Si=-0.81; may be repeated (default: isolated atoms in the "
            "data, else least squares).",
            rich_help_panel=_DATA,
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            "-p",
            metavar="|".join(PRESETS),
            help="From the fastest to the most accurate.",
            rich_help_panel=_MODEL,
        ),
    ] = DEFAULT_PRESET,
    n_sparse: Annotated[
        int | None, typer.Option(min=1, help="Sparse points of each species, at most.", rich_help_panel=_MODEL)
    ] = None,
    zeta: Annotated[
        float | None, typer.Option(help="Power of the kernel (default: 2, the fastest).", rich_help_panel=_MODEL)
    ] = None,
    cutoff: Annotated[
        float | None, typer.Option(help="In Å (default: from the density of the data).", rich_help_panel=_MODEL)
    ] = None,
    noise_energy: Annotated[
        float | None, typer.Option(help="Noise of energies, eV/atom (default: by the forces).", rich_help_panel=_MODEL)
    ] = None,
    noise_force: Annotated[
        float | None, typer.Option(help="Noise of force components, eV/Å.", rich_help_panel=_MODEL)
    ] = None,
    noise_stress: Annotated[
        float | None, typer.Option(help="Noise of stress components, eV/Å³.", rich_help_panel=_MODEL)
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option(help="Width in eV of an atom's energy (default: the most probable).", rich_help_panel=_MODEL),
    ] = None,
    calibration: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.5,
            help="Share of the training frames that scales the uncertainty, before it is taken in, too; 0: none.",
            rich_help_panel=_MODEL,
        ),
    ] = 0.1,
    repulsion: Annotated[
        bool,
        typer.Option("--repulsion/--no-repulsion", help="Of nuclei, closer than in the data.", rich_help_panel=_MODEL),
    ] = True,
    tune: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            metavar="SECONDS",
            help="Spend so long on finding better lengths, zeta and noise for these data first.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    learning_curve: Annotated[
        bool,
        typer.Option("--learning-curve", help="Also show test errors of fits to fewer frames.", rich_help_panel=_RUN),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.", rich_help_panel=_RUN)] = 0,
    max_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="What fitting may take, as in 4GiB.", rich_help_panel=_RUN)
    ] = "4GiB",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPUs to use (default: all there are).", rich_help_panel=_RUN)
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="File that keeps what has been done; a fit that was broken off goes on from there.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help=f"Draw {', '.join(PICTURES)}.", rich_help_panel=_RUN),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace existing files.")] = False,
) -> None:
    """Fit a force field to energies, forces and stresses, and write it to a file.

    For example: castile fit train.xyz --test test.xyz -o si.castile

    Lengths, noise and prior follow from the data unless they are given. The model file is written last.
    """
    check_output(out, overwrite)
    if checkpoint is not None:
        check_output(checkpoint, overwrite=True)
    pictures = Pictures(plots, (*PICTURES, "learning_curve.png") if learning_curve else PICTURES, overwrite)
    model = ForceField(
        preset,
        n_sparse=n_sparse,
        zeta=zeta,
        cutoff=cutoff,
        noise=_given({"energy": noise_energy, "force": noise_force, "stress": noise_stress}),
        prior=prior,
        baseline=_numbers(atom_energy, "--atom-energy", "Si=-0.81"),
        repulsion=repulsion,
        calibration=calibration,
        max_memory=bytes_of(max_memory),
        seed=seed,
    )
    keys = label_keys(
        energy_key=energy_key,
        forces_key=forces_key,
        stress_key=stress_key,
        virial_key=virial_key,
        group_key=group_key,
    )
    weights = _numbers(weight, "--weight", "liquid=0.5")
    with warnings_as_lines(), with_threads(threads):
        train, tested = _read(
            files,
            test or [],
            fraction=test_fraction,
            seed=seed,
            index=index,
            file_format=file_format,
            weights=weights,
            keys=keys,
        )
        if learning_curve and tested is None:
            raise InputError("--learning-curve needs test frames: give --test or --test-fraction")
        note = None if cutoff is None else cutoff_note(train, cutoff)
        if note is not None:
            warn(note)
        if tune is not None:
            model.tune(train, budget=tune, progress=True)
            report.section("Tuning")
            output.print(str(model.tuning_), markup=False, soft_wrap=True)
        start = time.perf_counter()
        with _interruptions_explained(checkpoint):
            model.fit(train, progress=True, checkpoint=checkpoint)
        seconds = time.perf_counter() - start
        report.show_model(model)
        if learning_curve:
            _show_learning_curve(model, train, tested, pictures)
        _show_results(model, train, tested, pictures, seconds)
        check_output(out, overwrite)
        model.save(out)
    report.section(f"Wrote {out}, {format_bytes(out.stat().st_size)}")
    output.print(f"  castile evaluate {out} FILE", markup=False, soft_wrap=True)
    output.print(
        f"  castile run md {out} STRUCTURE    (also relax, eos, phonons, elastic)", markup=False, soft_wrap=True
    )
    output.print(f"  atoms.calc = castile.load({str(out)!r}).calculator()    in Python", markup=False, soft_wrap=True)


def with_threads(n: int | None) -> AbstractContextManager[Any]:
    """Return the context in which so many threads run."""
    return nullcontext() if n is None else limited_threads(n)


@contextmanager
def _interruptions_explained(checkpoint: Path | None) -> Iterator[None]:
    """Say what is left of a fit that is broken off, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if checkpoint is None:
            text = "interrupted: nothing is kept; with --checkpoint FILE the next fit can be broken off and go on"
        elif checkpoint.exists():
            text = f"interrupted: {checkpoint} keeps what was done up to the last half minute; the same command goes on"
        else:
            text = f"interrupted before anything was kept in {checkpoint}, which is written every half minute"
        raise KeyboardInterrupt(text) from None


def _given(values: dict[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in values.items() if value is not None} or None


def _numbers(texts: list[str] | None, option: str, example: str) -> dict[str, float] | None:
    """Return the numbers of NAME=NUMBER options."""
    found: dict[str, float] = {}
    for text in texts or []:
        name, _, number = text.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            found.clear()
        if not found or not name.strip():
            raise InputError(f"{option} takes NAME=NUMBER, as in {example}, got {text!r}")
    return found or None


def _read(
    files: list[Path],
    test: list[Path],
    *,
    fraction: float | None,
    seed: int,
    index: str,
    file_format: str | None,
    weights: dict[str, float] | None,
    keys: dict[str, Any],
) -> tuple[Dataset, Dataset | None]:
    """Read training and test data, show what they hold, and check that they fit together."""
    if test and fraction is not None:
        raise InputError("give either --test or --test-fraction")
    with errors.status("reading the data"):
        train = data.read(files, index=index, format=file_format, weights=weights, **keys)
        tested = data.read(test, format=file_format, **keys) if test else None
    if fraction:
        train, tested = data.split(train, fraction, seed=seed, stratify=True)
    for name, dataset in (("Training data", train), ("Test data", tested)):
        if dataset is not None:
            report.section(name)
            for line in str(dataset.table()).splitlines():
                output.print(f"  {line}", markup=False, soft_wrap=True)
    unknown = [symbol for symbol in (tested.species if tested else ()) if symbol not in train.species]
    if unknown:
        raise InputError(
            f"test frames hold {', '.join(unknown)}, which no training frame holds; leave these frames out"
        )
    return train, tested


def _show_learning_curve(model: ForceField, train: Dataset, tested: Dataset | None, pictures: Pictures) -> None:
    from castile import plots

    curve = model.learning_curve(train, tested, progress=True)
    report.section("Learning curve")
    output.print(str(curve), markup=False, soft_wrap=True)
    pictures.draw("learning_curve.png", lambda: plots.learning_curve(curve))


def _show_results(
    model: ForceField, train: Dataset, tested: Dataset | None, pictures: Pictures, seconds: float
) -> None:
    parts = {"training": train} if tested is None else {"training": train, "test": tested}
    start = time.perf_counter()
    predictions = {name: model.predict(part.frames, progress=True) for name, part in parts.items()}
    each = (time.perf_counter() - start) / max(sum(len(part.numbers) for part in parts.values()), 1)
    compared = {name: residuals(part, predictions[name]) for name, part in parts.items()}
    tables = {name: error_table(found) for name, found in compared.items()}
    report.section("Errors")
    report.show_errors(tables, {name: len(part) for name, part in parts.items()})
    report.show_judgment(tables["training"], tables.get("test"))
    poor = poor_kinds(model, compared["training"])
    if poor and not model.notes_:  # which name what is wrong
        warn(f"{poor_fit(poor)}; if that is unexpected, check their sign, units (eV, eV/Å, eV/Å³) and keys")
    last = next(reversed(parts))
    if last == "test":
        report.show_calibration(report.calibrate(model, parts[last], predictions[last]))
    output.print(f"\n  fit {seconds:.1f} s, prediction {1e6 * each:.0f} µs per atom (energy, forces and stress)")
    if pictures.wanted:
        draw_errors(
            pictures,
            model,
            part=last,
            dataset=parts[last],
            prediction=predictions[last],
            table=tables[last],
        )


def draw_errors(
    pictures: Pictures,
    model: ForceField,
    *,
    part: str,
    dataset: Dataset,
    prediction: Prediction,
    table: ErrorTable,
    silent: bool = False,
) -> None:
    """Draw errors of a part of the data, and dimers of the model."""
    from castile import plots

    title = " ".join(f"{len(dataset)} {part} frames".split())
    pictures.draw("parity.png", lambda: plots.parity_panels(residuals(dataset, prediction), title))
    pictures.draw("errors.png", lambda: plots.errors_by_group(table))
    pictures.draw("dimers.png", lambda: plots.dimer_curves(model))
    if not silent:
        report.section("Pictures")
        pictures.list()
