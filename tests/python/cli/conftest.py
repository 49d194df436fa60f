import json
import re

import ase.io
import pytest
from ase import Atoms
from ase.build import bulk
from typer.testing import CliRunner

from castile import ForceField, data, datasets
from castile.cli import app


@pytest.fixture
def run():
    """Run a command in this process; return its status and all that it printed, warnings and errors included."""

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result.exit_code, result.output

    return invoke


@pytest.fixture
def run_json():
    """Run a command with --json; return what it printed on the standard output."""

    def invoke(*arguments):
        result = CliRunner().invoke(app, [*(str(argument) for argument in arguments), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return invoke


@pytest.fixture(scope="session")
def silicon():
    """Labeled crystals of silicon, with a group each."""
    frames = [atoms for atoms in datasets.load() if atoms.info["group"] == "Si diamond"]
    for number, atoms in enumerate(frames):
        atoms.info["group"] = ("even", "odd")[number % 2]
    return frames


@pytest.fixture(scope="session")
def folder(tmp_path_factory, silicon):
    """A folder with training and test data, a model, and structures; nothing is to be written there."""
    folder = tmp_path_factory.mktemp("force_field")
    ase.io.write(folder / "train.xyz", silicon[:28])
    ase.io.write(folder / "test.xyz", silicon[28:])
    ForceField(n_sparse=40, zeta=2.0, calibration=0.0).fit(data.read(silicon[:28])).save(folder / "si.castile")
    ase.io.write(folder / "si.xyz", bulk("Si", a=5.47))
    rattled = bulk("Si", cubic=True, a=5.5)
    rattled.rattle(0.08, seed=1)
    ase.io.write(folder / "rattled.xyz", [bulk("Si"), rattled])
    ase.io.write(folder / "al.xyz", bulk("Al"))
    ase.io.write(folder / "molecule.xyz", Atoms("Si2", [[0.0, 0.0, 0.0], [0.0, 0.0, 2.4]]))
    (folder / "other.castile").write_text("no model")
    return folder


@pytest.fixture
def words():
    """Join what is wrapped over lines."""
    return lambda text: re.sub(r"\s+", " ", text)
