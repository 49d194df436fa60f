"""How much of the machine the kernels use: shares of the peak of multiply-adds and of the bandwidth of stores.

Builds ``bench/kernels.cpp`` with CMake (``pip install cmake ninja cmeel-eigen``, or those of the system) and runs it on
one thread; then times the package's own calls against memset, and against each other::

    python bench/limits.py > limits.md
    python bench/limits.py --quick        # without the package's own calls
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import castile
from cases import CASES, parameters_for
from timing import best, machine

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="the kernels alone")
    quick = parser.parse_args().quick
    print(machine())
    limits = measure_kernels()
    print_kernels(limits)
    if not quick:
        with castile.threads(1):
            print_calls(limits)


def measure_kernels() -> dict[str, Any]:
    """Build and run the C++ side."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"-DCMAKE_PREFIX_PATH={sysconfig.get_path('purelib')}", "-DCASTILE_BUILD_BENCH=ON"]
        run(["cmake", "-S", str(ROOT), "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *options])
        run(["cmake", "--build", folder, "--target", "castile_kernels", "--parallel"])
        output = subprocess.run([f"{folder}/castile_kernels"], capture_output=True, text=True, check=True).stdout
    limits: dict[str, Any] = json.loads(output)
    return limits


def run(command: list[str]) -> None:
    """Run a command that says nothing unless it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def print_kernels(limits: dict[str, Any]) -> None:
    """Print the stages of the expansion, per neighbor."""
    print(
        f"\nInstruction set {limits['instruction_set']}; multiply-adds {limits['peak_f64'] / 1e9:.1f} GFLOP/s in "
        f"float64, {limits['peak_f32'] / 1e9:.1f} in float32; memset {limits['store_bandwidth'] / 1e9:.1f} GB/s.\n"
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


def print_calls(limits: dict[str, Any]) -> None:
    """Print what calls of the package take against memset, and against each other."""
    bandwidth = limits["store_bandwidth"]
    print("\n| what | time | against | ratio |")
    print("|---|---:|---|---:|")
    for name in ("silicon_1000", "perovskite_500", "water_648"):
        print_calls_of(name, bandwidth)


def print_calls_of(name: str, bandwidth: float) -> None:
    """Print one workload."""
    case = CASES[name]
    frames = case.make(False)
    n_atoms = sum(map(len, frames))
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    single = castile.SOAP(**parameters_for(castile.SOAP, case), dtype="float32")
    X = soap.transform(frames)
    G = np.random.default_rng(0).normal(size=X.shape)
    values = best(lambda: soap.transform(frames))
    vjp = best(lambda: soap.vjp(frames, G))
    in_single = best(lambda: single.transform(frames))
    jacobian = best(lambda: soap.jacobian(frames, strain=False), least=3)
    n_bytes = soap.jacobian(frames, strain=False).nbytes
    pairs = best(lambda: castile.neighbor_list("ijSDd", frames[0], soap.cutoff))
    n_pairs = len(castile.neighbor_list("i", frames[0], soap.cutoff))
    per_atom = 1e6 / n_atoms
    row(f"{name}: values", values * per_atom, "memset of them", values / (X.nbytes / bandwidth))
    row(f"{name}: vjp", vjp * per_atom, "values", vjp / values)
    row(f"{name}: Jacobian, fresh output", jacobian * per_atom, "memset of it", jacobian / (n_bytes / bandwidth))
    row(f"{name}: float32", in_single * per_atom, "float64", in_single / values)
    row(f"{name}: neighbor list", pairs * per_atom, "memset of 60 bytes a pair", pairs / (60 * n_pairs / bandwidth))


def row(what: str, microseconds: float, against: str, ratio: float) -> None:
    """Print one line of the table."""
    print(f"| {what} | {microseconds:.2f} µs/atom | {against} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
