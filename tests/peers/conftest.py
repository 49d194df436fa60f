"""The structures as a fixture, the references of tests/python, and a guard against a run that compares nothing."""

import sys
from pathlib import Path

import pytest
from peer_structures import STRUCTURES

sys.path.append(str(Path(__file__).parents[1] / "python"))

passed = []


@pytest.fixture(params=list(STRUCTURES))
def structure(request):
    return STRUCTURES[request.param]()


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        passed.append(report.nodeid)


def pytest_sessionfinish(session):
    """Fail ``pytest -m peers`` if all it did was to skip."""
    asked_for = session.config.getoption("markexpr").strip() == "peers"
    if asked_for and not passed and not session.config.getoption("collectonly"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("markexpr").strip() == "peers" and not passed:
        terminalreporter.write_line(
            "no comparison with another library ran; pip install -r tests/peers/requirements.txt",
            red=True,
        )
