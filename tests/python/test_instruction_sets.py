"""Every instruction set that this processor has gives the same numbers; see instruction_set_cases.py."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checks import assert_close, same_bits

import castile
from castile import _core
from castile.descriptors import DESCRIPTORS

FOLDER = Path(__file__).parent
NOT_HERE = "this processor has only"
# Relative to the largest value, or to the terms of a product. Fused multiply-add is what differs between the lowest
# instruction set and the others: 2e-14 and 5e-6.
BOUNDS = {np.dtype("float64"): 1e-13, np.dtype("float32"): 1e-5}


def run(instruction_set, *arguments):
    environment = {
        **os.environ,
        "CASTILE_SIMD": instruction_set,
        "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path]),
    }
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of each instruction set that is here, lowest first: values with their scales by name, names with other bits."""
    found = {}
    for name in _core.instruction_sets_built():
        path = tmp_path_factory.mktemp("results") / f"{name}.pickle"
        done = run(name, FOLDER / "instruction_set_cases.py", name, path)
        if NOT_HERE in done.stderr:
            continue
        assert done.returncode == 0, done.stderr
        found[name] = pickle.loads(path.read_bytes()), json.loads(done.stdout)
    return found


def test_the_lowest_and_the_highest_are_among_them(results):
    assert next(iter(results)) == "baseline"
    assert castile.instruction_set() == _core.instruction_set()
    if "CASTILE_SIMD" not in os.environ:
        assert list(results)[-1] == _core.instruction_set()


def test_results_are_of_all_kinds(results):
    for values, _ in results.values():
        for what in [cls.__name__ for cls in DESCRIPTORS] + ["float32", "soap_kernel", "species_kernel", "fcc"]:
            assert any(what in name for name in values)
        for part in ("X", "jacobian 0", "jacobian strain", "vjp", "vjp strain", "jvp", "S", "D", "d"):
            assert any(name.endswith(f", {part}") and array.any() for name, (array, _) in values.items())


def test_an_instruction_set_gives_the_same_bits_again_and_on_any_number_of_threads(results):
    for name, (_, changed) in results.items():
        assert changed == [], name


def test_instruction_sets_agree_to_rounding(results):
    expected, _ = results[list(results)[-1]]
    for instruction_set, (values, _) in results.items():
        assert values.keys() == expected.keys()
        for name, (array, scale) in expected.items():
            what = f"{instruction_set}, {name}"
            if scale is None:
                assert same_bits(values[name][0], array), what
            else:
                single = name.startswith("float32")
                bound = BOUNDS[np.dtype("float32" if single else "float64")]
                assert_close(values[name][0], array, bound, scale, what)


USES = {
    "descriptor": "castile.SOAP(species=['Al']).transform(atoms)",
    "neighbors": "castile.neighbor_list('d', atoms, 3.0)",
    "name": "castile.instruction_set()",
    "kernel": "castile.kernels.soap_kernel([[1.0, 2.0]])",
}


WRONG = ["pentium", "x86-64-v5", "BASELINE", " "]


def test_what_is_not_an_instruction_set_is_an_error_of_every_use_that_names_those_here(results):
    script = f"""
import json, os
import castile
import castile
from castile import _core
from ase.build import bulk
atoms = bulk("Al")
messages = []
for wish in {WRONG!r}:
    os.environ["CASTILE_SIMD"] = wish
    for use in {list(USES.values())!r}:
        try:
            eval(use)
        except castile.errors.InputError as error:
            messages.append(str(error))
os.environ["CASTILE_SIMD"] = ""  # no wish
chosen = castile.instruction_set()
os.environ["CASTILE_SIMD"] = "baseline"  # too late: it is read once
print(json.dumps([messages, castile.instruction_set()]))
assert chosen == castile.instruction_set()
"""
    done = run("pentium", "-c", script)
    assert done.returncode == 0, done.stderr
    messages, chosen = json.loads(done.stdout)
    here = ", ".join(results)
    assert messages == [
        f"the environment variable CASTILE_SIMD is '{wish}', but this build on this processor has only: {here}"
        for wish in WRONG
        for _ in USES
    ]
    assert chosen == list(results)[-1]


def test_the_command_line_names_them_without_a_traceback():
    done = run("pentium", "-m", "castile", "info")
    assert done.returncode != 0
    assert "CASTILE_SIMD is 'pentium'" in done.stderr
    assert "Traceback" not in done.stderr
