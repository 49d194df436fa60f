"""Time Castile against featomic, DScribe, vesin, matscipy and ASE, on one thread.

Needs the environment of ``tests/peers/requirements.txt`` and Castile in it::

    python bench/peers.py > table.md
    python bench/peers.py --quick

Every contest runs in this one process. Before it, values are compared. Then the contestants take turns, in an order
that rotates, so that a machine that gets slower does so for all. The table has medians, and the best turns, which
other processes disturb least, each with its ratio. What a contestant does not need anew for other structures is made
beforehand (calculators, radial tables); finding the neighbors is part of every time. Each result is freed before the
next turn.
"""

# ruff: noqa: E402 -- some of the libraries read their number of threads when they are imported

import argparse
import gc
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

for variable in ("RAYON", "OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{variable}_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "peers"))

import featomic
import numpy as np
import vesin
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbor_list
from dscribe.descriptors import SOAP as DScribeSOAP  # noqa: N811
from matscipy.neighbours import neighbour_list as matscipy_neighbor_list
from pairs import assert_same_pairs

import castile
from cases import CASES, parameters_for, silicon
from castile.layouts import featomic_parameters, from_featomic, jacobian_from_featomic

PACKAGES = ("featomic", "dscribe", "vesin", "matscipy", "ase", "numpy")


@dataclass(frozen=True)
class Contest:
    """The same task for several libraries; ``castile`` comes first."""

    task: str
    entries: dict[str, Callable[[], object]]
    size: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Print machine, versions and table."""
    arguments = parse_arguments()
    describe_machine()
    print_header()
    with castile.threads(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for contest in contests(arguments.quick):
            report(contest, race(contest.entries, arguments.repeats, arguments.seconds))
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.2f}.")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="silicon only, one or two minutes")
    parser.add_argument("--repeats", type=int, default=31, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=None, help="stop a contest after this, with 5 turns or more")
    arguments = parser.parse_args()
    if arguments.seconds is None:
        arguments.seconds = 8.0 if arguments.quick else 60.0
    return arguments


def contests(quick: bool) -> Iterator[Contest]:
    """Yield the contests, each after its values were compared."""
    yield from feature_contests("silicon_1000", "silicon, 1 000 atoms")
    yield from jacobian_contests()
    yield from neighbor_contests(5, with_ase=True)
    if quick:
        return
    yield from feature_contests("perovskite_500", "five species, 500 atoms")
    yield from feature_contests("molecules_1000", "1 000 molecules of H, C, N, O")
    yield from feature_contests("frames_1000x8", "1 000 cells of 8 Si")
    yield from neighbor_contests(2, with_ase=True)
    yield from neighbor_contests(10, with_ase=False)


def feature_contests(name: str, title: str) -> Iterator[Contest]:
    """Compare power spectra; featomic's must be ours, DScribe's only have as many columns."""
    case = CASES[name]
    frames = case.make(False)
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    calculator = featomic.SoapPowerSpectrum(**featomic_parameters(soap))
    require_equal_features(soap, frames)

    n_columns = len(soap.get_feature_names_out())
    n_pairs = len(case.species) * (len(case.species) + 1) // 2
    featomic_columns = n_pairs * soap.n_max**2 * (soap.l_max + 1)
    periodic = bool(frames[0].pbc.all())
    dscribe = dscribe_soap(soap, soap.cutoff, periodic)
    # Its Gaussians reach past r_cut; this r_cut gives it the neighbors that the others see.
    reach = soap.sigma * np.sqrt(2 * np.log(1000))
    dscribe_inside = dscribe_soap(soap, soap.cutoff - reach, periodic)
    if dscribe.get_number_of_features() != n_columns:
        raise RuntimeError(f"DScribe has {dscribe.get_number_of_features()} columns")
    pairs = {r: len(castile.NeighborList(frames, r)) for r in (soap.cutoff, soap.cutoff + reach)}
    per_atom = {r: n / sum(map(len, frames)) for r, n in pairs.items()}

    yield Contest(
        f"power spectrum, {title}",
        {
            "castile": lambda: soap.transform(frames),
            "featomic": lambda: calculator.compute(frames),
            "dscribe": lambda: dscribe.create(frames, n_jobs=1),
            "dscribe, same neighbors": lambda: dscribe_inside.create(frames, n_jobs=1),
        },
        {
            "castile": f"{n_columns} columns, {per_atom[soap.cutoff]:.0f} neighbors",
            "featomic": f"{featomic_columns} columns, equal values",
            "dscribe": f"{n_columns} columns, other basis, {per_atom[soap.cutoff + reach]:.0f} neighbors",
            "dscribe, same neighbors": f"{n_columns} columns, other basis, r_cut {soap.cutoff - reach:.2f} Å",
        },
    )


def dscribe_soap(soap: castile.SOAP, r_cut: float, periodic: bool) -> DScribeSOAP:
    """Return DScribe's descriptor with as many functions as ours; its basis is another one."""
    return DScribeSOAP(
        r_cut=r_cut,
        n_max=soap.n_max,
        l_max=soap.l_max,
        sigma=soap.sigma,
        species=soap.species,
        periodic=periodic,
    )


def jacobian_contests() -> Iterator[Contest]:
    """Compare position gradients."""
    case = CASES["silicon_1000"]
    frames = case.make(False)
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    calculator = featomic.SoapPowerSpectrum(**featomic_parameters(soap))
    require_equal_gradients(soap, silicon(2))
    cotangent = np.random.default_rng(0).normal(size=soap.transform(frames).shape)

    yield Contest(
        "features and explicit position gradients, silicon, 1 000 atoms",
        {
            "castile": lambda: (soap.transform(frames), soap.jacobian(frames, strain=False)),
            "featomic": lambda: calculator.compute(frames, gradients=["positions"]),
        },
        {"castile": "blocks of 252 columns", "featomic": "blocks of 448 columns, equal values"},
    )
    yield Contest(
        "features and forces of a given cotangent, silicon, 1 000 atoms",
        {
            "castile": lambda: (soap.transform(frames), soap.vjp(frames, cotangent)),
            "featomic": lambda: calculator.compute(frames, gradients=["positions"]),
        },
        {
            "castile": "reverse mode, with the stress",
            "featomic": "explicit gradients, their contraction not timed, no stress",
        },
    )
    free = silicon(3)
    free[0].pbc = False
    dscribe = dscribe_soap(soap, soap.cutoff, periodic=False)
    yield Contest(
        "features and explicit position gradients, free cluster of 216 Si",
        {
            "castile": lambda: (soap.transform(free), soap.jacobian(free, strain=False)),
            "featomic": lambda: calculator.compute(free, gradients=["positions"]),
            "dscribe": lambda: dscribe.derivatives(free[0], method="analytical", attach=True),
        },
        {"dscribe": "dense array; it has analytical ones for free structures only"},
    )


def neighbor_contests(n_cells: int, with_ase: bool) -> Iterator[Contest]:
    """Compare full neighbor lists with all five arrays."""
    (atoms,) = silicon(n_cells)
    cutoff = 5.0
    lists = {
        "castile": castile.neighbor_list,
        "vesin": vesin.ase_neighbor_list,
        "matscipy": matscipy_neighbor_list,
        "ase": ase_neighbor_list,
    }
    if not with_ase:
        del lists["ase"]
    ours = castile.neighbor_list("ijSDd", atoms, cutoff)
    for function in lists.values():
        assert_same_pairs(function("ijSDd", atoms, cutoff), ours)
    entries: dict[str, Callable[[], object]] = {
        name: lambda function=function: function("ijSDd", atoms, cutoff)  # type: ignore[misc]
        for name, function in lists.items()
    }
    # The class leaves out the sorting by center that its function for ASE does.
    calculator = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    entries["vesin, unsorted"] = lambda: calculator.compute(atoms.positions, atoms.cell.array, True, "ijSDd")
    yield Contest(
        f"neighbor list ijSDd, {len(atoms)} Si, 5 Å",
        entries,
        {"castile": f"{len(ours[0])} pairs"} | dict.fromkeys(list(lists)[1:], "equal set"),
    )


def require_equal_features(soap: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless featomic's power spectrum is ours, at the settings timed and at tight ones."""
    for accuracy, spline_accuracy, bound in ((1e-8, 1e-8, 1e-6), (1e-10, 1e-12, 1e-9)):
        ours = soap.__class__(**{**soap.get_params(), "accuracy": accuracy})
        parameters = featomic_parameters(ours, spline_accuracy)
        tensor = featomic.SoapPowerSpectrum(**parameters).compute(frames)
        theirs = from_featomic(tensor, ours, ours.samples(frames))
        require_close(ours.transform(frames), theirs, bound)


def require_equal_gradients(soap: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless featomic's gradients are ours, at tight settings."""
    ours = soap.__class__(**{**soap.get_params(), "accuracy": 1e-10})
    parameters = featomic_parameters(ours, 1e-12)
    tensor = featomic.SoapPowerSpectrum(**parameters).compute(frames, gradients=["positions"])
    jacobian = ours.jacobian(frames, strain=False)
    theirs = jacobian_from_featomic(tensor, ours, ours.samples(frames), jacobian.atom_offsets)
    require_close(jacobian.to_dense(), theirs, 1e-7)


def require_close(ours: np.ndarray, theirs: np.ndarray, bound: float) -> None:
    """Raise if the largest difference is above ``bound`` times the largest value."""
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    if not difference < bound:
        raise RuntimeError(f"values differ by {difference:.1e} of the largest, bound {bound}")


def race(entries: dict[str, Callable[[], object]], repeats: int, seconds: float) -> dict[str, list[float]]:
    """Return the seconds of every turn, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in entries}
    names = list(entries)
    for run in entries.values():
        run()
    end = time.perf_counter() + seconds
    gc.disable()
    for turn in range(repeats):
        if turn >= 5 and time.perf_counter() > end:
            break
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            result: Any = entries[name]()
            times[name].append(time.perf_counter() - start)
            del result
    gc.enable()
    return times


def describe_machine() -> None:
    """Print what a time depends on."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"{date.today()}, {processor()}, {os.cpu_count()} CPUs, {platform.platform()}.")
    print(
        f"castile {castile.__version__} ({castile._core.instruction_set()}, "
        f"{castile._core.compiler()}), {versions}, Python {platform.python_version()}."
    )
    print("One thread for all. DScribe's basis is not ours: same number of columns, other values.")
    print(f"Load average at the start: {os.getloadavg()[0]:.2f}.\n", flush=True)


def processor() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor()


def print_header() -> None:
    """Print the first lines of the table."""
    print("| task | library | median ms | best ms | ratio of medians | of bests | what it makes |")
    print("|---|---|---:|---:|---:|---:|---|")


def milliseconds(seconds: float) -> str:
    """Format with three digits, without an exponent."""
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def report(contest: Contest, times: dict[str, list[float]]) -> None:
    """Print one line per library; times over Castile's are from the same turns."""
    ours = times["castile"]
    for name, values in times.items():
        median, best = statistics.median(values), min(values)
        task = f"{contest.task} ({len(values)} turns)" if name == "castile" else ""
        print(
            f"| {task} | {name} | {milliseconds(median)} | {milliseconds(best)} | "
            f"{median / statistics.median(ours):.1f} | {best / min(ours):.1f} | "
            f"{contest.size.get(name, '')} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
