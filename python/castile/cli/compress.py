"""``castile compress``: a faster force field with fewer features, and what that costs in errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from castile import data
from castile._memory import format_bytes
from castile.cli import _report as report
from castile.cli._console import errors, output, warnings_as_lines
from castile.cli._files import Pictures, label_keys, print_json, read_model
from castile.cli.fit import with_threads
from castile.errors import InputError
from castile.io import check_output
from castile.models.force_field import ErrorTable
from castile.models.force_field.compression import CompressionTable
from castile.structures import trained_species_table

__all__ = ["compress"]

_PICTURE = "compression.png"


def compress(  # noqa: PLR0917 -- the arguments are options of the command line
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file that castile fit wrote.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Its training data: model files do not hold them.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="The model file to write, such as small.castile.")],
    test: Annotated[
        list[Path] | None, typer.Option("--test", "-t", help="Structures to test both on; may be repeated.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0.0, help="By how much held-out errors may grow, as a share, on average over the kinds of labels."
        ),
    ] = 0.05,
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
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help=f"Draw {_PICTURE}.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, in µs/atom, eV/atom, eV/Å and eV/Å³, in place of tables.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPUs to use (default: all there are).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace existing files.")] = False,
) -> None:
    """Fit faster force fields with fewer features, and write the fastest one whose errors hardly grow.

    For example: castile compress si.castile train.xyz --test test.xyz -o small.castile --plots pictures

    A fifth of the training data is held out to compare candidates; the one that is chosen is fitted to all.
    """
    check_output(out, overwrite)
    if out.exists() and out.samefile(model_file):
        raise InputError("--output is the model itself; name another file")
    pictures = Pictures(plots, (_PICTURE,), overwrite)
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
            train = data.read(files, index=index, format=file_format, **keys)
            tested = data.read(test, format=file_format, **keys) if test else None
        for part in (train, tested):
            if part is not None:
                trained_species_table(model.species_, part.numbers)
        smaller = model.compress(train, tolerance=tolerance, progress=not as_json)
        table = smaller.compression_
        compared = {"as it is": model, "compressed": smaller} if tested is not None else {}
        tests = {name: one.evaluate(tested) for name, one in compared.items()}
        if not as_json:
            _show(table, tests, 0 if tested is None else len(tested))
        if pictures.wanted:
            from castile.plots import compression

            pictures.draw(_PICTURE, lambda: compression(table))
        check_output(out, overwrite)
        smaller.save(out)
    if as_json:
        print_json({**_results(table, tests), "model": model_file, "output": out, "pictures": pictures.written})
        return
    pictures.list()
    report.section(f"Wrote {out}, {format_bytes(out.stat().st_size)}")


def _results(table: CompressionTable, tests: dict[str, ErrorTable]) -> dict[str, Any]:
    candidates = [
        {
            "name": one.name,
            "features": one.n_features,
            "microseconds_per_atom": one.micros,
            "errors": report.error_rows(one.errors),
            "chosen": one is table.chosen,
        }
        for one in table.candidates
    ]
    return {"candidates": candidates, "test": {name: report.error_rows(found) for name, found in tests.items()}}


def _show(table: CompressionTable, tests: dict[str, ErrorTable], n_tested: int) -> None:
    report.section("Candidates, mean absolute errors on held-out frames")
    for line in str(table).splitlines():
        output.print(f"  {line}", markup=False, soft_wrap=True)
    own, chosen = table.candidates[0], table.chosen
    if chosen is own:
        output.print("  * chosen: nothing that is faster keeps the errors within --tolerance; fitted anew as it is")
    else:
        output.print(f"  * chosen: {own.micros / chosen.micros:.1f} times as fast as it is")
    if tests:
        report.section("Errors of test frames")
        report.show_errors(tests, dict.fromkeys(tests, n_tested))
