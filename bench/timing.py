"""What the scripts of this folder share: clocks, and the machine that they ran on."""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from datetime import date
from pathlib import Path
from typing import TypeVar

import castile

__all__ = ["Call", "machine", "medians", "processor", "take_turns"]


Call = Callable[[], object]
Key = TypeVar("Key", bound=Hashable)


def take_turns(
    calls: Mapping[Key, Call], repeats: int, seconds: float = float("inf"), least: int = 5
) -> dict[Key, list[float]]:
    """Time calls in turns, in an order that rotates, so that a machine that gets slower does so for all.

    Parameters
    ----------
    calls : mapping to callables
        One round that is not counted comes first; short calls are repeated within a turn. Each result is freed before
        the next turn.
    repeats : int
        Turns of each.
    seconds : float
        Stop after this, once all had ``least`` turns.

    Returns
    -------
    dict
        Seconds of one call, in each turn.
    """
    times: dict[Key, list[float]] = {key: [] for key in calls}
    keys = list(calls)
    repetitions = {key: calls_per_turn(call) for key, call in calls.items()}
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeats):
            if turn >= least and time.perf_counter() > end:
                break
            first = turn % len(keys)
            for key in keys[first:] + keys[:first]:
                call = calls[key]
                start = time.perf_counter()
                for _ in range(repetitions[key]):
                    result = call()
                times[key].append((time.perf_counter() - start) / repetitions[key])
                del result
    finally:
        gc.enable()
    return times


def calls_per_turn(call: Call) -> int:
    """Return how many calls take some milliseconds, so that a turn does not begin and end with cold caches."""
    call()
    start = time.perf_counter()
    call()
    return max(1, min(100, round(0.005 / (time.perf_counter() - start))))


def medians(times: Mapping[Key, list[float]]) -> dict[Key, float]:
    """Return the medians of what :func:`take_turns` gives."""
    return {key: statistics.median(values) for key, values in times.items()}


def machine() -> str:
    """Return a line on what a time depends on."""
    return (
        f"{date.today()}, {processor()}, {os.cpu_count()} CPUs, {platform.platform()}; castile {castile.__version__} "
        f"({castile._core.instruction_set()}, {castile._core.compiler()}), Python {platform.python_version()}; "
        f"load average {os.getloadavg()[0]:.2f}."
    )


def processor() -> str:
    """Return the processor's name, and on Linux its family and model, as names may hide them."""
    path = Path("/proc/cpuinfo")
    known: dict[str, str] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        key, _, value = line.partition(":")
        known.setdefault(key.strip(), value.strip())
    name = known.get("model name") or platform.processor()
    return f"{name} (family {known['cpu family']}, model {known['model']})" if "cpu family" in known else name
