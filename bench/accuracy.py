"""Errors of force fields with default settings on published data, beside the published ones.

    CASTILE_DATA=... python bench/accuracy.py                       # all sets: some twenty minutes on two threads
    CASTILE_DATA=... python bench/accuracy.py --sets Si Li --groups --preset accurate

Nothing is chosen with a test set: ``castile.ForceField()`` as it comes, or a preset, the same for all; tantalum, which
has no test set, is cross-validated.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import units
from scipy.stats import spearmanr

import castile
from castile import data
from castile.models.force_field.error_table import ErrorTable, Residuals, error_table, residuals
from castile.models.force_field.terms import DEFAULT_PRESET, PRESETS
from timing import machine

GPA = 1.0 / units.GPa


@dataclass(frozen=True)
class Published:
    """What others reach; energies in meV/atom, forces in eV/Å, stresses in GPa; None where it is not known."""

    model: str
    energy: float | None
    force: float | None
    stress: float | None = None


# Mean absolute errors, mlearn: Zuo et al., J. Phys. Chem. A 124, 731 (2020), doi:10.1021/acs.jpca.9b08723, and what its
# potentials give on the same files; tantalum: Thompson et al., J. Comput. Phys. 285, 316 (2015),
# doi:10.1016/j.jcp.2014.12.018, training errors; acetylacetone: Batatia et al., arXiv:2205.06643, root mean squares in
# meV per molecule and eV/Å.
PUBLISHED = {
    "Si": [
        Published("GAP", 2.91, 0.07),
        Published("MTP", 2.21, 0.056, 0.231),
        Published("qSNAP", 3.81, 0.1157),
        Published("SNAP", 6.44, 0.1327),
    ],
    "Li": [
        Published("GAP", 0.49, 0.01),
        Published("MTP", 0.487, 0.0101, 0.049),
        Published("qSNAP", 0.73, 0.0328),
        Published("SNAP", 1.03, 0.0277),
    ],
    "Ta": [
        Published("SNAP, its training errors", 112.787, 0.0758, 6.83),
        Published("quadratic SNAP, its training errors", 0.238, 0.01585, 34.8),
    ],
    "acac": [Published("NequIP, RMSE", 0.81, 0.0059), Published("MACE, RMSE", 0.9, 0.0051)],
}


@dataclass
class Outcome:
    """Errors and costs of one set."""

    name: str
    errors: ErrorTable
    energy: float
    force: float
    stress: float | None
    n_columns: int
    n_atoms: int
    fit_seconds: float
    micros: float
    correlation: str


def read(*names: str) -> data.Dataset:
    """Read files of the shared data."""
    folder = Path(os.environ["CASTILE_DATA"])
    return data.read([str(folder / name) for name in names])


def measure(
    preset: str, train: data.Dataset, test: data.Dataset
) -> tuple[list[Residuals], castile.ForceField, float, float]:
    begin = time.perf_counter()
    model = castile.ForceField(preset).fit(train)
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    prediction = model.predict(test.frames)
    micros = 1e6 * (time.perf_counter() - begin) / len(test.numbers)
    return residuals(test, prediction), model, seconds, micros


def with_test_set(preset: str, name: str, train: data.Dataset, test: data.Dataset) -> Outcome:
    found, model, seconds, micros = measure(preset, train, test)
    errors = error_table(found)
    return Outcome(
        name,
        errors,
        1e3 * errors["energy"]["mae"],
        errors["force"]["mae"],
        GPA * errors["stress"]["mae"] if "stress" in errors else None,
        model.training_["columns"],
        len(train.numbers),
        seconds,
        micros,
        reliability(model, test),
    )


def reliability(model: castile.ForceField, test: data.Dataset) -> str:
    """Tell how standard deviations of forces fare.

    Rank correlation with errors, by atom; errors over deviations (root mean squares) before and after scaling by
    held-out training frames; and the share of errors within one scaled deviation, 0.68 if they are normal.
    """
    some = test.subset(slice(0, 60))
    prediction = model.predict(some.frames, uncertainty=True)
    errors = prediction.forces - some.forces
    norms = [np.linalg.norm(values, axis=1) for values in (errors, prediction.forces_std)]
    ratio = float(np.sqrt(np.mean(errors**2) / np.mean(prediction.forces_std**2)))
    factor = model.calibration_.factors["force"]
    coverage = float(np.mean(np.abs(errors) <= prediction.forces_std))
    return f"{spearmanr(*norms).statistic:.2f}, {factor * ratio:.1f}, {ratio:.2f}, {coverage:.2f}"


def cross_validated(preset: str, name: str, dataset: data.Dataset, n_folds: int = 5) -> Outcome:
    found: dict[str, list[Residuals]] = {}
    seconds = micros = 0.0
    for train, test in data.folds(dataset, n_folds, seed=0):
        part, model, fit_seconds, predict_micros = measure(preset, dataset.subset(train), dataset.subset(test))
        seconds, micros = seconds + fit_seconds / n_folds, micros + predict_micros / n_folds
        for one in part:
            found.setdefault(one.kind, []).append(one)
    errors = error_table([joined(parts) for parts in found.values()])
    return Outcome(
        f"{name}, {n_folds}-fold",
        errors,
        1e3 * errors["energy"]["mae"],
        errors["force"]["mae"],
        GPA * errors["stress"]["mae"],
        model.training_["columns"],
        len(dataset.numbers),
        seconds,
        micros,
        "",
    )


def joined(parts: list[Residuals]) -> Residuals:
    values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("predicted", "labels", "groups"))
    return Residuals(parts[0].kind, *values)


def molecules(preset: str, name: str, train: data.Dataset, test: data.Dataset) -> Outcome:
    """As with_test_set, but root mean squares, of energies in meV per molecule."""
    outcome = with_test_set(preset, name, train, test)
    per_molecule = float(test.n_atoms.mean()) * 1e3 * outcome.errors["energy"]["rmse"]
    outcome.energy, outcome.force = per_molecule, outcome.errors["force"]["rmse"]
    return outcome


def outcomes(preset: str, names: list[str]) -> Iterator[tuple[str, Outcome]]:
    acac = ("acac/train_300K.xyz", "acac/isolated_atoms.xyz")
    for name in names:
        if name in ("Si", "Li"):
            yield (
                name,
                with_test_set(preset, name, read(f"mlearn/{name}_train.xyz.gz"), read(f"mlearn/{name}_test.xyz")),
            )
        elif name == "Ta":
            yield name, cross_validated(preset, name, read("ta_snap2014/Ta.xyz"))
        else:
            train = read(*acac)
            yield name, molecules(preset, "acac 300 K, RMSE", train, read("acac/test_MD_300K.xyz.gz"))
            yield name, molecules(preset, "acac 600 K, RMSE", train, read("acac/test_MD_600K.xyz.gz"))


def line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def show(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--preset", default=DEFAULT_PRESET, choices=list(PRESETS))
    parser.add_argument("--groups", action="store_true", help="print errors by group, too")
    arguments = parser.parse_args()
    if "CASTILE_DATA" not in os.environ:
        sys.exit("set CASTILE_DATA to the folder of the data sets")
    print(f"{machine()}; {castile.num_threads()} threads.\n")
    print(
        line(
            "set",
            "model",
            "E",
            "F, eV/Å",
            "S, GPa",
            "columns",
            "fit, s",
            "E + F, µs/atom",
            "std of F: rank, raw, scaled, within",
        )
    )
    print(line("---", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---"))
    groups = []
    for name, outcome in outcomes(arguments.preset, arguments.sets):
        print(
            line(
                outcome.name,
                f"**Castile, {arguments.preset}**",
                f"**{outcome.energy:.2f}**",
                f"**{outcome.force:.4f}**",
                f"**{show(outcome.stress, 3)}**" if outcome.stress is not None else "",
                outcome.n_columns,
                f"{outcome.fit_seconds:.0f}",
                f"{outcome.micros:.0f}",
                outcome.correlation,
            ),
            flush=True,
        )
        if "600" not in outcome.name:
            for other in PUBLISHED[name]:
                print(
                    line(
                        "",
                        other.model,
                        show(other.energy, 2),
                        show(other.force, 4),
                        show(other.stress, 3),
                        "",
                        "",
                        "",
                        "",
                    )
                )
        groups.append(f"{outcome.name}\n\n{outcome.errors}\n")
    print("\nE in meV/atom (acac: meV per molecule); mean absolute errors where nothing else is said.")
    print(f"Peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB.")
    if arguments.groups:
        print("\n" + "\n".join(groups))


if __name__ == "__main__":
    main()
