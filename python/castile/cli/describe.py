"""``castile describe``: the features of a file of structures."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms
from ase.data import chemical_symbols
from rich.console import Group
from rich.text import Text

from castile._memory import format_bytes
from castile.cli._console import errors, key_value_table, output, warnings_as_lines
from castile.descriptors import DESCRIPTORS, SOAP
from castile.errors import InputError
from castile.io import check_output, read_frames, save_features

__all__ = ["DESCRIPTOR_NAMES", "describe"]


def _command_line_name(cls: type) -> str:
    """Return ``spherical-expansion`` for SphericalExpansion."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()


DESCRIPTOR_NAMES = {_command_line_name(cls): cls for cls in DESCRIPTORS}
_SYMBOLS = {str(number): symbol for number, symbol in enumerate(chemical_symbols) if number > 0}
_MANY_ATOMS = 1000
_DEFAULTS = {name: p.default for name, p in inspect.signature(SOAP).parameters.items()}


def _option(name: str, text: str, **options: Any) -> Any:
    """Declare an option that stands for a descriptor's parameter."""
    return typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{text} (default {_DEFAULTS[name]}).",
        rich_help_panel="Parameters of the descriptor",
        **options,
    )


def _number_option(name: str, text: str, kind: type[float] = float) -> Any:
    """Declare a parameter that is a number; what is none is named, which typer's own message leaves out."""

    def parse(given: str) -> float:
        try:
            return kind(given)
        except ValueError:
            what = "an integer" if kind is int else "a number"
            raise typer.BadParameter(f"must be {what}, got {given!r}") from None

    return _option(name, text, parser=parse, metavar="INTEGER" if kind is int else "NUMBER")


def describe(  # noqa: PLR0917 -- the arguments are options of the command line
    file: Annotated[Path, typer.Argument(help="Structures, in any format that ASE reads.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The .npz file to write.")],
    descriptor: Annotated[
        str, typer.Option("--descriptor", "-d", help=f"One of {', '.join(DESCRIPTOR_NAMES)}.")
    ] = "soap",
    index: Annotated[
        str, typer.Option("--index", "-i", help="Which frames, as a slice: ':', '-1', ':100', '::10'.")
    ] = ":",
    file_format: Annotated[
        str | None, typer.Option("--format", "-f", help="ASE's name of the file format (default: guessed).")
    ] = None,
    centers: Annotated[
        str | None, typer.Option(help="Rows for these species only, as in 'Si,O' (default: all atoms).")
    ] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients", "-g", help="Also write the derivatives by positions and strain.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    cutoff: Annotated[float | None, _number_option("cutoff", "Radius of the neighborhood in Å")] = None,
    n_max: Annotated[int | None, _number_option("n_max", "Number of radial functions", int)] = None,
    l_max: Annotated[int | None, _number_option("l_max", "Highest degree of the spherical harmonics", int)] = None,
    sigma: Annotated[float | None, _number_option("sigma", "Width of the Gaussians in Å")] = None,
    cutoff_width: Annotated[float | None, _number_option("cutoff_width", "Å over which neighbors fade out")] = None,
    species: Annotated[
        str | None,
        typer.Option(
            help="Species of the columns, as in 'Si,O' or '14,8' (default: those in the file).",
            rich_help_panel="Parameters of the descriptor",
        ),
    ] = None,
    average: Annotated[
        str | None,
        _option("average", "One row per structure: 'inner', 'outer'; per species: '..._per_species'; per atom: 'off'"),
    ] = None,
    normalize: Annotated[bool, _option("normalize", "Scale rows to norm one")] = False,
    sparse: Annotated[bool, _option("sparse", "Store the features as a sparse matrix")] = False,
    dtype: Annotated[str | None, _option("dtype", "float64 or float32")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="NAME=VALUE",
            help="Any other parameter, as in -s center_weight=0.5; may be repeated.",
            rich_help_panel="Parameters of the descriptor",
        ),
    ] = None,
) -> None:
    """Compute the features of a file's structures and write them as .npz.

    For example: castile describe trajectory.xyz -o features.npz --cutoff 4.5 --average outer
    """
    given = {
        "cutoff": cutoff,
        "n_max": n_max,
        "l_max": l_max,
        "sigma": sigma,
        "cutoff_width": cutoff_width,
        "average": average,
        "dtype": dtype,
        "species": _symbols(species),
        "normalize": normalize or None,
        "sparse": sparse or None,
    }
    parameters = {name: value for name, value in given.items() if value is not None}
    for text in parameter or []:
        name, value = _assignment(text)
        if name in parameters:
            raise InputError(f"{name} is given twice, as {parameters[name]!r} and by --set {text}; leave out one")
        parameters[name] = value
    transformer = _descriptor_class(descriptor)(**parameters)
    _check_name(out)
    check_output(out, overwrite)
    with warnings_as_lines():
        with errors.status(f"reading {file}"):
            frames = read_frames(file, index, file_format)
        output.print(_found(file, frames))
        chosen = _present(_symbols(centers), frames)
        rows, seconds = _write(out, frames, transformer, centers=chosen, gradients=gradients, overwrite=overwrite)
    output.print(_result(out, rows, _time(seconds, sum(map(len, frames))), transformer.sparse))


def _symbols(text: str | None) -> list[str] | None:
    """Return the symbols that an option lists; atomic numbers are turned into theirs."""
    if text is None:
        return None
    entries = re.findall(r"[^\s,;]+", text)
    return [_SYMBOLS.get(entry, entry) for entry in entries]


def _present(centers: list[str] | None, frames: list[Atoms]) -> list[str] | None:
    """Return the centers; raise for an element that no frame holds, as most likely a slip."""
    present = dict.fromkeys(symbol for atoms in frames for symbol in atoms.get_chemical_symbols())
    for symbol in centers or ():
        if symbol in _SYMBOLS.values() and symbol not in present:
            raise InputError(
                f"--centers names {symbol}, which no frame holds; choose from {', '.join(sorted(present))}"
            )
    return centers


def _check_name(path: Path) -> None:
    if path.suffix.lower() != ".npz":
        raise InputError(
            f"--output must end in .npz, as NumPy's format is the only one that is written, got {str(path)!r}; "
            f"write {path.stem}.npz, from which numpy.load gives the array"
        )


def _time(seconds: float, n_atoms: int) -> str:
    """Say how long it took; per atom only where setting up does not rule."""
    total = f"{seconds:.2f} s" if seconds < 10.0 else f"{seconds:.0f} s"
    return total if n_atoms < _MANY_ATOMS else f"{total}, {1e6 * seconds / n_atoms:.0f} µs per atom"


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"--set takes NAME=VALUE, as in center_weight=0.5, got {text!r}")
    try:
        return name.strip().replace("-", "_"), json.loads(value)
    except ValueError:  # a word
        return name.strip().replace("-", "_"), None if value == "None" else value


def _descriptor_class(name: str) -> Any:
    wanted = {"".join(filter(str.isalnum, key)): cls for key, cls in DESCRIPTOR_NAMES.items()}
    found = wanted.get("".join(filter(str.isalnum, name)).lower())
    if found is None:
        close = difflib.get_close_matches(name, DESCRIPTOR_NAMES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"descriptor must be one of {', '.join(DESCRIPTOR_NAMES)}, got {name!r}{hint}")
    return found


def _write(
    path: Path,
    frames: list[Atoms],
    descriptor: Any,
    *,
    centers: list[str] | None,
    gradients: bool,
    overwrite: bool,
) -> tuple[Any, float]:
    """Compute and store; return the features and the seconds that computing took."""
    chosen = None if centers is None else [centers] * len(frames)
    start = time.perf_counter()
    descriptor.fit(frames)
    rows = descriptor.transform(frames, chosen, progress=True)
    jacobian = None
    if gradients:  # last, so that what it may take does not count the memory of the rows
        with errors.status("computing gradients"):
            jacobian = descriptor.jacobian(frames, chosen)
    seconds = time.perf_counter() - start
    with errors.status(f"writing {path}"):
        samples = descriptor.samples(frames, chosen)
        save_features(path, rows, samples, descriptor, jacobian, overwrite=overwrite)
    return rows, seconds


def _found(path: Path, frames: list[Atoms]) -> Group:
    counts = [len(atoms) for atoms in frames]
    symbols, numbers = np.unique([s for atoms in frames for s in atoms.get_chemical_symbols()], return_counts=True)
    per_frame = str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    table = key_value_table(
        [
            ("frames", len(frames)),
            ("atoms", f"{sum(counts)} ({per_frame} per frame)"),
            ("species", ", ".join(f"{symbol} ({n})" for symbol, n in zip(symbols, numbers, strict=True))),
            ("periodicity", _periodicity(frames)),
        ]
    )
    return Group(f"Found in {path}", table)


def _periodicity(frames: list[Atoms]) -> str:
    names = {0: "none (molecules, clusters)", 1: "one axis", 2: "two axes (slabs)", 3: "all three axes"}
    axes, counts = np.unique([int(atoms.pbc.sum()) for atoms in frames], return_counts=True)
    if len(axes) == 1:
        return names[int(axes[0])]
    return "; ".join(f"{names[int(a)]}: {n} frames" for a, n in zip(axes, counts, strict=True))


def _result(path: Path, rows: Any, seconds: str, sparse: bool) -> Group:
    n_rows, n_columns = rows.shape
    table = key_value_table(
        [
            ("features", f"{n_rows} rows x {n_columns} columns, {rows.dtype}{', sparse' if sparse else ''}"),
            ("time", seconds),
            ("file", f"{path}, {format_bytes(path.stat().st_size)}"),
        ]
    )
    plain = f"scipy.sparse.load_npz({str(path)!r})" if sparse else f"numpy.load({str(path)!r})['features']"
    lines = ("To load it in Python:", f"  X = {plain}", f"  everything = castile.io.load_features({str(path)!r})")
    return Group(f"Wrote {path}", table, *(Text(line) for line in lines))
