"""One thread unless asked otherwise, tiny workloads if nothing is timed, and the machine's data."""

import os

import pytest

import castile


def pytest_addoption(parser):
    parser.addoption("--threads", type=int, default=1, help="number of castile's threads")


@pytest.fixture(scope="session")
def tiny(request):
    """Tell whether this is a run with --benchmark-disable, which only shows that nothing rots."""
    return request.config.getoption("benchmark_disable")


@pytest.fixture(autouse=True)
def threads(request):
    with castile.threads(request.config.getoption("threads")):
        yield


@pytest.fixture
def measure(benchmark):
    """Return ``benchmark``, which calls only once if a workload takes long."""

    def run(case, function, *args, **kwargs):
        if case.one_round:
            return benchmark.pedantic(function, args, kwargs, rounds=1, iterations=1)
        return benchmark(function, *args, **kwargs)

    return run


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["castile"] = {
        "version": castile.__version__,
        "instruction_set": castile._core.instruction_set(),
        "threads": config.getoption("threads"),
        "load": os.getloadavg(),
    }


def pytest_report_header(config):
    return (
        f"castile {castile.__version__}, {castile._core.instruction_set()}, "
        f"{config.getoption('threads')} thread(s), load {os.getloadavg()[0]:.1f}"
    )
