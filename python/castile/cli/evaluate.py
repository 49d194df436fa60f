"""``castile evaluate``: the errors of a force field on labeled structures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from castile import data
from castile.cli import _report as report
from castile.cli._console import errors, output, warnings_as_lines
from castile.cli._files import Pictures, label_keys, print_json, read_model
from castile.cli.fit import PICTURES, draw_errors, with_threads
from castile.models.force_field.error_table import error_table, residuals
from castile.structures import trained_species_table

__all__ = ["evaluate"]


def evaluate(  # noqa: PLR0917 -- the arguments are options of the command line
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file that castile fit wrote.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Structures with labels, in any format that ASE reads.")
    ],
    index: Annotated[
        str, typer.Option("--index", "-i", help="Which frames of each file, as a slice: ':100', '::10'.")
    ] = ":",
    file_format: Annotated[
        str | None, typer.Option("--format", "-f", help="ASE's name of the file format (default: guessed).")
    ] = None,
    energy_key: Annotated[str | None, typer.Option(help="Where energies are ('none': leave them out).")] = None,
    forces_key: Annotated[str | None, typer.Option(help="Where forces are ('none': leave them out).")] = None,
    stress_key: Annotated[str | None, typer.Option(help="Where stresses are ('none': leave them out).")] = None,
    virial_key: Annotated[str | None, typer.Option(help="Where virials are ('none': leave them out).")] = None,
    group_key: Annotated[str | None, typer.Option(help="What names the groups of frames ('none': one group).")] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help=f"Draw {', '.join(PICTURES)}.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, in eV/atom, eV/Å and eV/Å³, in place of tables.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPUs to use (default: all there are).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace existing pictures.")] = False,
) -> None:
    """Compare a force field with labels: errors of energies per atom, forces and stresses, by group.

    For example: castile evaluate si.castile test.xyz --plots pictures
    """
    pictures = Pictures(plots, PICTURES, overwrite)
    keys = label_keys(
        energy_key=energy_key,
        forces_key=forces_key,
        stress_key=stress_key,
        virial_key=virial_key,
        group_key=group_key,
    )
    with warnings_as_lines(), with_threads(threads):
        model = read_model(model_file)
        with errors.status("reading the data"):
            dataset = data.read(files, index=index, format=file_format, **keys)
        trained_species_table(model.species_, dataset.numbers)
        start = time.perf_counter()
        prediction = model.predict(dataset.frames, progress=True)
        seconds = time.perf_counter() - start
        table = error_table(residuals(dataset, prediction))
        calibration = report.calibrate(model, dataset, prediction)
        if not as_json:
            report.section(f"Errors of {model_file}")
            report.show_errors({"all": table}, {"all": len(dataset)})
            report.show_calibration(calibration)
            output.print(f"\n  {len(dataset.numbers)} atoms, {1e6 * seconds / len(dataset.numbers):.0f} µs per atom")
        if pictures.wanted:
            with errors.status("drawing"):
                draw_errors(
                    pictures, model, part="", dataset=dataset, prediction=prediction, table=table, silent=as_json
                )
    if as_json:
        print_json(
            {
                "model": model_file,
                "frames": len(dataset),
                "atoms": len(dataset.numbers),
                "errors": report.error_rows(table),
                "calibration": None if calibration is None else calibration.as_dict(),
                "pictures": pictures.written,
            }
        )
