"""What the commands say about force fields and their errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.padding import Padding
from rich.table import Table

from castile._text import plain
from castile._units import GPA
from castile.cli._console import key_value_table, output, paragraph, plain_table
from castile.data import Dataset
from castile.models.force_field import ErrorTable, ForceField, Prediction
from castile.models.force_field._fitted_terms import FittedPairTerm, FittedProductTerm

__all__ = [
    "Calibration",
    "calibrate",
    "error_rows",
    "model_rows",
    "section",
    "show",
    "show_calibration",
    "show_errors",
    "show_model",
]

_MOST_ROWS = 4000  # of the posterior, which a calibration may take
_POOR, _ROUGH = 0.3, 0.15  # error of forces over their spread
_UNSEEN = 4.0  # test error over training error
_LONGEST_NAME = 28


def section(title: str) -> None:
    """Print a head."""
    output.print(f"\n{title}", style="bold", markup=False)


def show(table: Table) -> None:
    """Print an indented table."""
    output.print(Padding(table, (0, 0, 0, 2)))


def model_rows(model: ForceField) -> list[tuple[str, str]]:
    """Return what a fit has chosen, as names and texts."""
    foundation, training = model.foundation_, dict[str, Any](model.training_)
    lengths, noise = foundation.lengths, model.noise_
    rows = [
        ("species", ", ".join(model.species_)),
        (
            "typical lengths",
            f"nearest neighbor {lengths.neighbor:.2f} Å, cube root of volume per atom {lengths.spacing:.2f} Å",
        ),
    ]
    for term in foundation.terms:
        descriptor = term.descriptor
        if isinstance(term, FittedPairTerm):
            text = f"{descriptor.n_max} functions of each pair of species, cutoff {descriptor.cutoff:.2f} Å"
            rows.append(("pair term", text))
            continue
        if isinstance(term, FittedProductTerm):
            orders = len(descriptor.degrees)
            rows.append(("products", f"{len(term.scales)} functions of up to {orders} factors for each species, cutoff "
                         f"{_lengths(descriptor.cutoff)} Å"))  # fmt: skip
            continue
        points = ", ".join(f"{name} {len(p)}" for name, p in zip(model.species_, term.points, strict=True))
        rows.append(("SOAP term", f"cutoff {_lengths(descriptor.cutoff)} Å, sigma {_lengths(descriptor.sigma)} Å, "
                     f"n_max {descriptor.n_max}, l_max {descriptor.l_max}, zeta {term.zeta:g}"))  # fmt: skip
        rows.append(("sparse points", points))
    rows += [
        ("repulsion", _repulsion(model)),
        (
            "noise",
            f"energy {plain(1e3 * noise['energy'])} meV/atom, force {plain(1e3 * noise['force'], 3)} meV/Å, "
            f"stress {plain(GPA * noise['stress'])} GPa",
        ),
        ("prior", _prior(model)),
        ("rows", ", ".join(f"{kind} {n}" for kind, n in training["rows"].items())),
        (
            "columns",
            f"{training['columns']}, of rank {training['rank']}; the data determine {training['effective_rank']:.0f}",
        ),
        ("condition", f"{training['condition']:.0e}"),
        ("log evidence", f"{training['log_evidence']:.1f}"),
    ]
    calibration = model.calibration_
    if calibration is not None:
        factors = ", ".join(f"{kind} {plain(factor)}" for kind, factor in calibration.factors.items())
        correlations = ", ".join(f"{kind} {value:.2f}" for kind, value in calibration.correlations.items())
        rows.append(("uncertainty", f"scaled by {factors} ({calibration.n_frames} frames that were held out at first)"))
        rows.append(("", f"rank correlation with errors: {correlations}"))
    return rows


def show_model(model: ForceField) -> None:
    """Print what a fit has chosen, with the reference energies."""
    section("Force field")
    show(key_value_table(model_rows(model)))
    for line in model.foundation_.baseline.report().splitlines():
        output.print(f"  {line}", markup=False, soft_wrap=True)


def _lengths(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else str(value)


def _prior(model: ForceField) -> str:
    widths = [f"{plain(share * model.prior_, 2)}" for share in model.prior_shares_]
    return f"{', '.join(widths)} eV per atom, by term{'' if model.prior else ', the most probable'}"


def _repulsion(model: ForceField) -> str:
    radii = model.foundation_.repulsion
    if radii is None:
        return "none"
    low, high = float(radii.outer.min()), float(radii.outer.max())
    where = f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}"
    return f"of nuclei, below {where} Å (by pair of species)"


def error_rows(table: ErrorTable) -> list[dict[str, Any]]:
    """Return the errors as JSON has them, in eV/atom, eV/Å and eV/Å³."""
    return [dict(row) for row in table.rows]


def show_errors(tables: Mapping[str, ErrorTable], numbers: Mapping[str, int] | None = None) -> None:
    """Print mean absolute and root mean square errors, by part of the data and group.

    Parameters
    ----------
    tables : mapping of str to ErrorTable
        By the name of the part.
    numbers : mapping of str to int, optional
        How many frames each part has.
    """
    kinds = [kind for kind in ("energy", "force", "stress") if any(kind in table for table in tables.values())]
    units = {"energy": (1e3, "meV/atom", 1), "force": (1e3, "meV/Å", 0), "stress": (GPA, "GPa", 3)}
    heads = [f"{kind}, {units[kind][1]}" for kind in kinds]
    table_out = plain_table("MAE / RMSE", *heads, numeric=range(1, len(heads) + 1))
    for part, table in tables.items():
        found = {(row["group"], row["quantity"]): row for row in table.rows}
        groups = list(dict.fromkeys(row["group"] for row in table.rows))
        for group in groups:
            cells = []
            for kind in kinds:
                factor, _, digits = units[kind]
                row = found.get((group, kind))
                digits = digits if row is None else _digits(factor * row["rmse"], digits)
                cells.append("-" if row is None else " / ".join(
                    f"{factor * row[name]:.{digits}f}" for name in ("mae", "rmse")
                ))  # fmt: skip
            whole = part if numbers is None else f"{part}, {numbers[part]} frames"
            name = whole if group == "all" else f"  {_short(group)}"
            table_out.add_row(name, *cells, style="bold" if group == "all" else None)
    show(table_out)


def _digits(value: float, least: int) -> int:
    """Return decimals with which a small number keeps two figures."""
    return least if value >= 10.0**-least * 10.0 or value <= 0.0 else max(least, 1 - int(np.floor(np.log10(value))))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def judge(train: ErrorTable | None, test: ErrorTable | None) -> list[str]:
    """Return what a user should know about the errors."""
    if test is None:
        return ["Errors of training frames say little about other structures: give a file with --test."]
    said = []
    if "force" in test and np.isfinite(test["force"]["r2"]):
        share = float(np.sqrt(max(1.0 - test["force"]["r2"], 0.0)))
        if share > _ROUGH:
            what = "poor: not good enough for dynamics" if share > _POOR else "rough: good for trying things out"
            said.append(
                f"The error of test forces is {100 * share:.0f} % of their spread, which is {what}. "
                "More training frames like these are what helps most."
            )
    if train is not None:
        worse = [
            kind
            for kind in ("energy", "force", "stress")
            if kind in train and kind in test and test[kind]["rmse"] > _UNSEEN * train[kind]["rmse"]
        ]
        if worse:
            said.append(
                f"Test errors of {' and '.join(worse)} are more than {_UNSEEN:.0f} times those of training frames: "
                "the test frames hold what the training frames do not show."
            )
    return said


def show_judgment(train: ErrorTable | None, test: ErrorTable | None) -> None:
    """Print what :func:`judge` says."""
    for text in judge(train, test):
        paragraph(text)


@dataclass(frozen=True)
class Calibration:
    """How the predicted standard deviations of force components compare with their errors.

    Attributes
    ----------
    n : int
        Number of components.
    ratio : float
        Root mean square of error over standard deviation; one is ideal.
    rank_correlation : float
        Of standard deviation and absolute error.
    """

    n: int
    ratio: float
    rank_correlation: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"components": self.n, "ratio": self.ratio, "rank_correlation": self.rank_correlation}


def calibrate(model: ForceField, dataset: Dataset, prediction: Prediction) -> Calibration | None:
    """Compare on so many frames as are cheap; None if there are no forces, or the first frame is too large."""
    has = dataset.has_forces
    labeled = np.array([has[a:b].any() for a, b in zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)])
    usable = np.flatnonzero(labeled & ~dataset.isolated)
    n_rows = 7 + 3 * dataset.n_atoms[usable]
    if len(usable) == 0 or n_rows[0] > _MOST_ROWS:
        return None
    step = int(np.ceil(n_rows.sum() / _MOST_ROWS))
    chosen = usable[::step]
    deviations = model.uncertainty([dataset.frames[index] for index in chosen.tolist()]).forces_std
    atoms = np.concatenate([np.arange(dataset.offsets[f], dataset.offsets[f + 1]) for f in chosen])
    kept = has[atoms]
    errors = np.abs(prediction.forces[atoms] - dataset.forces[atoms])[kept].ravel()
    sigmas = deviations[kept].ravel()
    errors, sigmas = errors[sigmas > 0.0], sigmas[sigmas > 0.0]
    if len(sigmas) < 3:
        return None
    from scipy.stats import spearmanr

    varies = np.ptp(errors) > 0.0 and np.ptp(sigmas) > 0.0
    correlation = float(spearmanr(errors, sigmas).statistic) if varies else float("nan")
    return Calibration(len(sigmas), float(np.sqrt(np.mean((errors / sigmas) ** 2))), correlation)


def show_calibration(found: Calibration | None) -> None:
    """Print it as a sentence."""
    if found is None:
        return
    paragraph(
        f"Uncertainty: errors of {found.n} force components are {plain(found.ratio)} times the predicted standard "
        f"deviations (root mean square; 1 is ideal), their rank correlation is {found.rank_correlation:.2f}."
    )
