"""The benchmark that streams a million frames, with a few."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "stream_million.py"


@pytest.mark.parametrize("options", [["--format", "npy"], ["--format", "hdf5", "--local", "--sparse"]])
def test_a_run_that_is_broken_off_twice_gives_all_rows_in_little_memory(tmp_path, options):
    if "hdf5" in options:
        pytest.importorskip("h5py")
    command = [sys.executable, str(SCRIPT), "--frames", "900", "--chunk-size", "6", "--folder", str(tmp_path), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    breaks = re.findall(r"ended by (\w+): frames (\d+) to (\d+)", run.stdout)
    assert [name for name, *_ in breaks] == ["SIGINT", "SIGKILL"]
    (_, begin, first), (_, resumed, second) = breaks
    assert (begin, resumed) == ("0", first)
    assert 0 < int(first) < int(second) < 900
    assert re.search(r"finished: frames \d+ to 900", run.stdout)
    assert "equal to transform, bit for bit" in run.stdout
    assert list(tmp_path.iterdir()) == []
