"""What a clock within one process cannot tell: memory at its peak, threads against processes, time outside of C++.

Run by bench/peers.py; as a program it is one of the processes that are measured::

    python bench/resources.py memory silicon_100000
    python bench/resources.py turns 4 4 2 --cpus 0 --calls 100        # waits for lines on its standard input
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.build import bulk

import castile
from cases import CASES, parameters_for, perovskite
from timing import medians, take_turns

__all__ = ["memory_beyond_output", "share_outside_kernels", "threads_against_processes"]

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
MEMORY_CASES = ("silicon_100000", "perovskite_5000")


# ---------------------------------------------------------------- time outside of the kernels


def share_outside_kernels(name: str, repeats: int) -> float:
    """Return the share of a ``transform`` that is not spent in the core, which gets structures that are ready."""
    case = CASES[name]
    frames = case.make(False)
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    given = soap._input(frames, None, None)
    core = soap._core(given.species)
    chunks = [chunk for _, chunk in given.chunks()]

    def kernels_alone() -> Any:
        # New memory, as in transform, so that its first touch counts on both sides.
        features = np.empty((given.n_rows, core.n_features), dtype=soap.dtype)
        for chunk in chunks:
            core.transform(*chunk.arguments, out=features[chunk.rows])
        return features

    if not np.array_equal(kernels_alone(), soap.transform(frames)):
        raise RuntimeError("the core's own call gives other values than transform")
    times = medians(take_turns({"all": lambda: soap.transform(frames), "kernels": kernels_alone}, repeats))
    return 1.0 - times["kernels"] / times["all"]


# ---------------------------------------------------------------- memory


def memory_beyond_output(case: str) -> tuple[float, float] | None:
    """Return bytes of the features, and how much more ``transform`` takes at its peak; None where Linux is not."""
    if not CLEAR_REFS.exists():
        return None
    measured = json.loads(run_worker("memory", case))
    return measured["output"], measured["beyond"]


def measure_memory(case: str) -> None:
    """Print the bytes of one call of transform: its output, and the peak beyond."""
    if case == "perovskite_5000":
        frames, parameters = perovskite((10, 10, 10)), parameters_for(castile.SOAP, CASES["perovskite_500"])
    else:
        frames, parameters = CASES[case].make(False), parameters_for(castile.SOAP, CASES[case])
    soap = castile.SOAP(**parameters)
    soap.transform(perovskite((2, 1, 1)) if "perovskite" in case else CASES[case].make(True))  # makes the tables
    before = resident("VmRSS")
    CLEAR_REFS.write_text("5")  # the peak is counted from here on
    features = soap.transform(frames)
    print(json.dumps({"output": features.nbytes, "beyond": resident("VmHWM") - before - features.nbytes}))


def resident(field: str) -> int:
    """Return a field of the kernel's account of this process, in bytes."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return 1024 * int(line.split()[1])


# ---------------------------------------------------------------- threads against processes


def threads_against_processes(cells: Sequence[int], repeats: int) -> float | None:
    """Return the throughput of two threads in one call over that of two processes, each on its own CPU, with halves.

    Parameters
    ----------
    cells : three int
        Cells of 8 silicon atoms along each axis of what the two threads do in one call; the first is even, and each
        process has half of them.
    repeats : int
        Turns of both.

    Returns
    -------
    float or None
        The ratio of medians; None where there are no two CPUs to be pinned to.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    cpus = sorted(os.sched_getaffinity(0))[:2]
    n_atoms = 8 * int(np.prod(cells))
    calls = max(1, 20_000 // n_atoms)  # some 20 ms a turn: starting together is known no better than to 0.1 ms
    half = [cells[0] // 2, *cells[1:]]
    team = [start_turns(cells, cpus, calls)]
    pair = [start_turns(half, [cpu], calls) for cpu in cpus]
    times: dict[str, list[float]] = {"team": [], "pair": []}
    try:
        for turn in range(repeats + 1):
            for name, workers in (("team", team), ("pair", pair))[:: 1 if turn % 2 else -1]:
                times[name].append(one_turn(workers))
    finally:
        for worker in (*team, *pair):
            close(worker)
    return statistics.median(times["pair"][1:]) / statistics.median(times["team"][1:])


def start_turns(cells: Sequence[int], cpus: Sequence[int], calls: int) -> subprocess.Popen[str]:
    """Start a process that computes when it is told to; it is ready on return."""
    arguments = [*map(str, cells), "--cpus", *map(str, cpus), "--calls", str(calls)]
    worker = subprocess.Popen(
        [sys.executable, __file__, "turns", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    read_line(worker)
    return worker


def one_turn(workers: Sequence[subprocess.Popen[str]]) -> float:
    """Let all work at once, and return the seconds of the slowest."""
    for worker in workers:
        pipe(worker.stdin).write("go\n")
        pipe(worker.stdin).flush()
    return max(float(read_line(worker)) for worker in workers)


def read_line(worker: subprocess.Popen[str]) -> str:
    """Return a worker's answer."""
    line = pipe(worker.stdout).readline()
    if not line:
        raise RuntimeError("a process of the comparison of threads and processes has died")
    return line


def close(worker: subprocess.Popen[str]) -> None:
    """Let a worker end."""
    pipe(worker.stdin).close()
    pipe(worker.stdout).close()
    worker.wait()


def pipe(stream: IO[str] | None) -> IO[str]:
    """Return a pipe that is there."""
    assert stream is not None
    return stream


def work_in_turns(cells: Sequence[int], cpus: Sequence[int], calls: int) -> None:
    """Compute for each line of the standard input, and answer with the seconds."""
    os.sched_setaffinity(0, cpus)
    castile.set_num_threads(len(cpus))
    atoms: Atoms = bulk("Si", cubic=True) * tuple(cells)
    atoms.rattle(0.05, seed=1)
    soap = castile.SOAP(**parameters_for(castile.SOAP, CASES["silicon_1000"]))
    soap.transform(atoms)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(calls):
            soap.transform(atoms)
        print(time.perf_counter() - start, flush=True)


# ---------------------------------------------------------------- this file as a program


def run_worker(*arguments: str) -> str:
    """Return what this file prints as a program."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    tasks = parser.add_subparsers(dest="task", required=True)
    memory = tasks.add_parser("memory", help="print the memory of one call")
    memory.add_argument("case", choices=[*CASES, "perovskite_5000"])
    turns = tasks.add_parser("turns", help="compute when told to")
    turns.add_argument("cells", type=int, nargs=3)
    turns.add_argument("--cpus", type=int, nargs="+", required=True)
    turns.add_argument("--calls", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.task == "memory":
        with castile.threads(1):
            measure_memory(arguments.case)
    else:
        work_in_turns(arguments.cells, arguments.cpus, arguments.calls)


if __name__ == "__main__":
    main()
