"""The command ``castile``."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from castile._core import __version__
from castile.cli import compress, demo, describe, evaluate, fit, info, run
from castile.cli._console import errors
from castile.errors import CastileError

__all__ = ["app", "main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


class _Commands(TyperGroup):
    """Commands whose expected errors are one line, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            errors.print(str(interruption) or "interrupted", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            raise  # typer's own: the reader of a pipe has gone
        except (CastileError, OSError, MemoryError) as error:
            # Not rich's markup: the message may hold brackets.
            errors.print(f"error: {error or 'out of memory'}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"castile {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Castile: force fields from labeled structures, and descriptors with exact derivatives.

    Start with `castile demo`. Units are Å, eV, eV/Å and eV/Å³.
    """


app.command("demo")(demo.demo)
app.command("fit")(fit.fit)
app.command("evaluate")(evaluate.evaluate)
app.command("compress")(compress.compress)
app.add_typer(run.app, name="run")
app.command("describe")(describe.describe)
app.command("info")(info.info)


def main() -> None:
    """Run the command line; the entry point of ``castile`` and ``python -m castile``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no Å shows a question mark
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="castile")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
