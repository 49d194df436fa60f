"""Time Castile against featomic, DScribe, QUIP, vesin, matscipy and ASE, and against what the machine can do.

Needs the environment of ``tests/peers/requirements.txt`` and Castile in it::

    python bench/peers.py > table.md
    python bench/peers.py --quick            # two and a half minutes; the first run also builds bench/kernels.cpp
    python bench/peers.py --plot peers.png

Each library runs with its own settings, and Castile once more for each with equal ones: for featomic its GTOs, for
DScribe ``radial_basis="gto_l"``, no cutoff function, and the neighbors past ``r_cut`` that DScribe counts, for QUIP
its radial functions in a table. Before a contest, values are compared. Then the contestants take turns, in an order
that rotates, so that a machine that gets slower does so for all. What a contestant does not need anew for other
structures is made beforehand (calculators, radial tables); converting ``Atoms`` and finding the neighbors is part of
every time. Each result is freed before the next turn. One thread for all, where a line does not say otherwise.

The limits of the machine, measured in the same run, come first (as by ``bench/limits.py``), and a table of targets
comes last. A quick run has fewer tasks and turns; its targets only show that they can be measured.
"""

# ruff: noqa: E402 -- some of the libraries read their number of threads when they are imported

import argparse
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

for variable in ("RAYON", "OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{variable}_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "peers"))

import castile
from contests import Result, contests, race
from limits import add_kernels_option, measure_calls, measure_kernels, print_calls, print_kernels, workloads
from targets import all_targets, print_targets
from timing import machine

PACKAGES = ("featomic", "dscribe", "quippy-ase", "vesin", "matscipy", "ase", "numpy")


def main() -> None:
    """Print machine, versions and tables."""
    arguments = parse_arguments()
    quick = arguments.quick
    print(machine())
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES) + ". One thread for all.", flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limits = measure_kernels(arguments.kernels, quick)
        print_kernels(limits)
        with castile.threads(1):
            calls = [measure_calls(name, quick) for name in workloads(quick)]
            print_calls(calls, limits)
            results = run_contests(quick, arguments.repeats, arguments.seconds)
        print_targets(all_targets(results, limits, calls, quick))
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.2f}.")
    if arguments.plot:
        from drawing import draw

        draw(results, arguments.plot)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer tasks and turns, two and a half minutes")
    parser.add_argument("--repeats", type=int, default=31, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=None, help="stop a contest after this, with 5 turns or more")
    parser.add_argument("--plot", default=None, help="draw the ratios into this file")
    add_kernels_option(parser)
    arguments = parser.parse_args()
    if arguments.seconds is None:
        arguments.seconds = 4.0 if arguments.quick else 40.0
    return arguments


def run_contests(quick: bool, repeats: int, seconds: float) -> list[Result]:
    """Print a line for each peer of each contest."""
    print("\n| task | against | features, theirs | Castile ms | peer ms | ratio of medians | of bests | turns | |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---|")
    results: list[Result] = []
    for contest in contests(quick):
        for result in race(contest, repeats, seconds):
            results.append(result)
            print(line(result), flush=True)
    return results


def line(result: Result) -> str:
    """Return a result as a line of the table."""
    cells = [
        f"{result.kind}, {result.title}",
        result.peer,
        "" if result.widths is None else "{}, {}".format(*result.widths),
        milliseconds(result.ours),
        milliseconds(result.theirs),
        f"{result.ratio:.1f}",
        f"{result.best_ratio:.1f}",
        str(result.turns),
        result.note,
    ]
    return f"| {' | '.join(cells)} |"


def milliseconds(seconds: float) -> str:
    """Format with three digits, without an exponent."""
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


if __name__ == "__main__":
    main()
