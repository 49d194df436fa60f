"""How much of the machine the kernels use: shares of the peak of multiply-adds and of the bandwidth of stores.

Builds ``bench/kernels.cpp`` with CMake (``pip install cmake ninja cmeel-eigen``, or those of the system) in
``build`` and runs it on one thread; then times the package's own calls against memset, and against each other::

    python bench/limits.py > limits.md
    python bench/limits.py --quick        # in short: one workload
    python bench/limits.py --kernels .../castile_kernels        # which is built already
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import castile
from cases import CASES, parameters_for
from timing import machine, medians, take_turns

__all__ = [
    "Calls",
    "add_kernels_option",
    "measure_calls",
    "measure_kernels",
    "print_calls",
    "print_kernels",
    "workloads",
]

ROOT = Path(__file__).resolve().parents[1]
PAIR_BYTES = 60  # of i, j, S, D and d


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="in short: less time, one workload")
    add_kernels_option(parser)
    arguments = parser.parse_args()
    print(machine() + " One thread.")
    limits = measure_kernels(arguments.kernels, arguments.quick)
    print_kernels(limits)
    with castile.threads(1):
        print_calls([measure_calls(name, arguments.quick) for name in workloads(arguments.quick)], limits)


def add_kernels_option(parser: argparse.ArgumentParser) -> None:
    """Let the command line name a program that was built before."""
    parser.add_argument("--kernels", type=Path, default=None, help="the built program castile_kernels")


# ---------------------------------------------------------------- kernels


def measure_kernels(program: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Run the C++ side, built now unless ``program`` is it; see its last function for what it returns."""
    command = [str(program or build_kernels()), "0.2" if quick else "1"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    limits: dict[str, Any] = json.loads(output)
    return limits


def build_kernels() -> Path:
    """Build the C++ side in a folder that the next run finds again."""
    # Tools of this environment come first, active or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    cmake, ninja = shutil.which("cmake", path=path), shutil.which("ninja", path=path)
    if cmake is None:
        raise SystemExit("CMake is needed for bench/kernels.cpp: pip install cmake ninja cmeel-eigen")
    # CMake does not change the generator of a folder.
    folder = ROOT / "build" / ("bench_make" if ninja is None else "bench_ninja")
    options = [f"-DCMAKE_PREFIX_PATH={sysconfig.get_path('purelib')}", "-DCASTILE_BUILD_BENCH=ON"]
    if ninja is not None:
        options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    os.environ.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count()))
    run([cmake, "-S", str(ROOT), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release", *options])
    run([cmake, "--build", str(folder), "--target", "castile_kernels"])
    return folder / "castile_kernels"


def run(command: list[str]) -> None:
    """Run a command that says nothing unless it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def print_kernels(limits: dict[str, Any]) -> None:
    """Print the machine's limits, and the stages of the expansion and the power spectrum beside them."""
    print(
        f"\nInstruction set {limits['instruction_set']}; multiply-adds {limits['peak_f64'] / 1e9:.1f} GFLOP/s in "
        f"float64, {limits['peak_f32'] / 1e9:.1f} in float32. Stores to 256 MB of warm memory: memset of ones "
        f"{limits['store_bandwidth'] / 1e9:.1f} GB/s, of zeros {limits['memset_of_zeros'] / 1e9:.1f}; vector stores "
        f"{limits['plain_stores'] / 1e9:.1f}, past the caches {limits['stores_past_the_caches'] / 1e9:.1f}.\n"
    )
    print("| dtype | n_max, l_max | weights ns | accumulate ns (share of peak) | expansion | reverse | table kB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for s in limits["stages"]:
        cells = [
            f"{s[f'{stage}_ns']:.1f} ({100 * s[f'{stage}_share']:.0f} %)"
            for stage in ("accumulate", "expansion", "reverse")
        ]
        print(
            f"| {s['dtype']} | {s['n_max']}, {s['l_max']} | {s['weights_ns']:.1f} | {' | '.join(cells)} | "
            f"{s['table_bytes'] / 1000:.0f} |"
        )
    print("\n| power spectrum to memory | features | µs a center | GB/s | memset is faster |")
    print("|---|---:|---:|---:|---:|")
    for s in limits["spectrum"]:
        print(
            f"| {s['n_functions']} functions, l_max {s['l_max']} | {s['n_features']} | {s['us']:.2f} | "
            f"{s['bandwidth'] / 1e9:.1f} | {limits['store_bandwidth'] / s['bandwidth']:.1f} times |",
            flush=True,
        )


# ---------------------------------------------------------------- calls of the package


@dataclass(frozen=True)
class Calls:
    """Medians of what the package's calls take for a workload, in seconds, and the bytes that they write.

    ``warm_jacobian`` is None as long as ``jacobian`` has no ``out=``.
    """

    workload: str
    n_atoms: int
    values: float
    single: float
    vjp: float
    jacobian: float
    warm_jacobian: float | None
    neighbors: float
    feature_bytes: int
    jacobian_bytes: int
    pair_bytes: int


def workloads(quick: bool) -> tuple[str, ...]:
    """Return the workloads whose calls are timed."""
    return ("silicon_1000",) if quick else ("silicon_1000", "perovskite_500", "water_648")


def measure_calls(name: str, quick: bool) -> Calls:
    """Time the calls of one workload in turns."""
    case = CASES[name]
    frames = case.make(False)
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    single = castile.SOAP(**parameters_for(castile.SOAP, case), dtype="float32")
    X = soap.transform(frames)
    G = np.random.default_rng(0).normal(size=X.shape)
    kept = [soap.jacobian(frames, strain=False)]
    jacobian_bytes = kept[0].nbytes

    def into_the_last() -> None:
        kept[0] = soap.jacobian(frames, strain=False, out=kept[0])  # which is empty then

    calls = {
        "values": lambda: soap.transform(frames),
        "single": lambda: single.transform(frames),
        "vjp": lambda: soap.vjp(frames, G),
        "jacobian": lambda: soap.jacobian(frames, strain=False),
        "neighbors": lambda: castile.neighbor_list("ijSDd", frames[0], soap.cutoff),
    }
    if "out" in inspect.signature(soap.jacobian).parameters:
        calls["warm_jacobian"] = into_the_last
    times = medians(take_turns(calls, 5 if quick else 31, seconds=3.0 if quick else 20.0, least=3))
    return Calls(
        name,
        sum(map(len, frames)),
        **{"warm_jacobian": None, **times},
        feature_bytes=X.nbytes,
        jacobian_bytes=jacobian_bytes,
        pair_bytes=PAIR_BYTES * len(castile.neighbor_list("i", frames[0], soap.cutoff)),
    )


def print_calls(measured: Sequence[Calls], limits: dict[str, Any]) -> None:
    """Print what calls of the package take against memset, and against each other."""
    print("\n| what | time | against | ratio |")
    print("|---|---:|---|---:|")
    for calls in measured:
        for what, seconds, against, ratio in rows(calls, limits["store_bandwidth"]):
            cell = "n/a" if seconds is None else f"{1e6 * seconds / calls.n_atoms:.2f} µs/atom"
            print(
                f"| {calls.workload}: {what} | {cell} | {against} | {'n/a' if ratio is None else f'{ratio:.2f}'} |",
                flush=True,
            )


def rows(calls: Calls, bandwidth: float) -> list[tuple[str, float | None, str, float | None]]:
    """Return what was timed, seconds, against what, and the ratio."""
    memset_of_jacobian = calls.jacobian_bytes / bandwidth
    warm = calls.warm_jacobian
    return [
        ("values", calls.values, "memset of them", calls.values / (calls.feature_bytes / bandwidth)),
        ("float32", calls.single, "float64", calls.single / calls.values),
        ("vjp", calls.vjp, "values", calls.vjp / calls.values),
        ("Jacobian, new output", calls.jacobian, "memset of it", calls.jacobian / memset_of_jacobian),
        ("Jacobian, warm output", warm, "memset of it", None if warm is None else warm / memset_of_jacobian),
        (
            "neighbor list",
            calls.neighbors,
            f"memset of {PAIR_BYTES} bytes a pair",
            calls.neighbors / (calls.pair_bytes / bandwidth),
        ),
    ]


if __name__ == "__main__":
    main()
