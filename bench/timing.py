"""What the scripts of this folder share: clocks, and the machine that they ran on."""

import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import castile

__all__ = ["best", "machine", "processor"]


def best(run: Callable[[], object], seconds: float = 1.0, least: int = 5) -> float:
    """Return the seconds of the fastest of many calls, after one that is not counted."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def machine() -> str:
    """Return a line on what a time depends on."""
    return (
        f"{date.today()}, {processor()}, {os.cpu_count()} CPUs, {platform.platform()}; castile {castile.__version__} "
        f"({castile._core.instruction_set()}, {castile._core.compiler()}), Python {platform.python_version()}; "
        f"load average {os.getloadavg()[0]:.2f}."
    )


def processor() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor()
