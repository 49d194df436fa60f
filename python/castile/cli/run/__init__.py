"""``castile run``: what a force field says about a structure, by ASE."""

from __future__ import annotations

import typer

from castile.cli.run import elastic, eos, md, phonons, relax

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Use a force field: dynamics, relaxation, equation of state, phonons, elastic constants (by ASE).",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("md")(md.md)
app.command("relax")(relax.relax)
app.command("eos")(eos.eos)
app.command("phonons")(phonons.phonons)
app.command("elastic")(elastic.elastic)
