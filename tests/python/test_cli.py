import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from scipy import sparse
from typer.testing import CliRunner

import castile
from castile.cli import app
from castile.cli.describe import DESCRIPTOR_NAMES
from castile.descriptors import DESCRIPTORS
from castile.io import load_features


def run(*arguments):
    """Run a command in this process; return its status and all that it printed, as one line per message."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    frames = [bulk("AlP", "zincblende", a=5.5), molecule("PH3"), bulk("Si", cubic=True)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
    return frames


@pytest.fixture
def file(tmp_path, frames):
    path = tmp_path / "structures.xyz"
    ase.io.write(path, frames)
    frames[:] = ase.io.read(path, ":")  # with the digits of the file
    return path


# ---------------------------------------------------------------------- help, version, info

COMMANDS = [command.name for command in app.registered_commands]


def test_every_command_has_help_that_names_its_options():
    assert COMMANDS == ["demo", "fit", "evaluate", "compress", "describe", "info"]
    for command in COMMANDS:
        for flag in ("--help", "-h"):
            status, text = run(command, flag)
            assert status == 0
            assert f"castile {command}" in text or command in text
    assert "--gradients" in run("describe", "--help")[1]
    assert "--output" in run("demo", "--help")[1]


def test_help_lists_the_commands_and_no_arguments_mean_help():
    for arguments in (["--help"], []):
        _, text = run(*arguments)
        for command in COMMANDS:
            assert command in text


def test_version_is_that_of_the_library():
    assert run("--version") == (0, f"castile {castile.__version__}\n")


def test_info_prints_versions_threads_and_instruction_sets():
    status, text = run("info")
    assert status == 0
    for word in (castile.__version__, np.__version__, "OpenMP", "threads", "baseline", "memory available"):
        assert word in text
    assert re.search(rf"threads +{castile.num_threads()}\b", text)


def test_python_m_castile_is_the_command_and_does_not_import_matplotlib():
    code = "import sys, castile.cli; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    done = subprocess.run([sys.executable, "-m", "castile", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"castile {castile.__version__}\n"


def test_a_terminal_without_unicode_is_no_obstacle():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "castile", "--help"], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "eV/?" in done.stdout


# ---------------------------------------------------------------------- describe


def test_every_descriptor_has_a_name_on_the_command_line():
    assert list(DESCRIPTOR_NAMES.values()) == list(DESCRIPTORS)
    assert list(DESCRIPTOR_NAMES)[:3] == ["soap", "spherical-expansion", "radial-spectrum"]


@pytest.mark.parametrize("average", ["off", "inner", "outer"])
@pytest.mark.parametrize("name", DESCRIPTOR_NAMES)
def test_describe_writes_what_the_library_computes(tmp_path, file, frames, name, average):
    options = ["--cutoff", 4, "--n-max", 3, "--sigma", 0.5, "--average", average, "--normalize"]
    status, text = run("describe", file, "-o", tmp_path / "out.npz", "-d", name, *options)
    assert status == 0, text
    descriptor = DESCRIPTOR_NAMES[name](cutoff=4.0, n_max=3, sigma=0.5, average=average, normalize=True)
    expected = descriptor.fit_transform(frames)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["features"], expected)
        samples = descriptor.samples(frames)
        for column in ("frame", "atom", "species"):
            np.testing.assert_array_equal(data[column], samples[column])
        assert data["feature_names"].tolist() == descriptor.get_feature_names_out().tolist()
        assert str(data["castile_version"]) == castile.__version__
        stored = json.loads(str(data["descriptor"]))
    assert stored["name"] == DESCRIPTOR_NAMES[name].__name__
    assert stored["parameters"]["cutoff"] == 4.0
    assert stored["species"] == ["H", "Al", "Si", "P"]
    assert f"{len(expected)} rows x {expected.shape[1]} columns" in text


def test_describe_says_what_it_found_and_how_to_load_it(tmp_path, file):
    status, text = run("describe", file, "-o", tmp_path / "out.npz", "--n-max", 2)
    assert status == 0
    for pattern in (r"frames +3", r"atoms +14 \(2 to 8 per frame\)", r"Si \(8\)", r"all three axes: 2 frames"):
        assert re.search(pattern, text), pattern
    command = re.search(r"X = numpy(\.load\(.*\)\['features'\])", text.replace("\n", ""))
    assert eval(f"np{command[1]}").shape == (14, 7 * (4 * 3 + 6 * 4))


def test_describe_writes_gradients(tmp_path, file, frames):
    status, text = run("describe", file, "-o", tmp_path / "out.npz", "--n-max", 2, "--l-max", 1, "--gradients")
    assert status == 0, text
    expected = castile.SOAP(n_max=2, l_max=1).fit(frames).jacobian(frames)
    found = load_features(tmp_path / "out.npz").jacobian
    np.testing.assert_array_equal(found.to_dense(), expected.to_dense())
    np.testing.assert_array_equal(found.strain, expected.strain)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as data:
        assert data["jacobian_species"].tolist() == [group.species for group in expected.groups]
        np.testing.assert_array_equal(data["jacobian_0_values"], expected.groups[0].values)


def test_describe_writes_a_sparse_matrix_that_scipy_reads(tmp_path, file, frames):
    assert run("describe", file, "-o", tmp_path / "out.npz", "--n-max", 2, "--sparse")[0] == 0
    expected = castile.SOAP(n_max=2).fit_transform(frames)
    np.testing.assert_array_equal(sparse.load_npz(tmp_path / "out.npz").toarray(), expected)


def test_centers_species_frames_and_other_parameters_are_passed_on(tmp_path, file, frames):
    options = ["--centers", "15,Al", "--species", "15 H 13,Si C", "--index", ":2", "--dtype", "float32"]
    options += ["-s", "center_weight=0.5", "--set", "cutoff-function=polynomial", "--n-max", 2]
    status, text = run("describe", file, "-o", tmp_path / "out.npz", *options)
    assert status == 0, text
    soap = castile.SOAP(
        n_max=2,
        species=["H", "C", "Al", "Si", "P"],
        dtype="float32",
        center_weight=0.5,
        cutoff_function="polynomial",
    )
    centers = [["P", "Al"]] * 2
    found = load_features(tmp_path / "out.npz")
    np.testing.assert_array_equal(found.features, soap.transform(frames[:2], centers))
    np.testing.assert_array_equal(found.samples, soap.samples(frames[:2], centers))


@pytest.mark.parametrize("name", ["crystal.cif", "é 结构.xyz.gz", "run.traj", "a@b.xyz"])
def test_describe_reads_other_formats_and_names(tmp_path, name):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    ase.io.write(tmp_path / name, atoms)
    out = tmp_path / f"{name}.npz"
    status, text = run("describe", tmp_path / name, "-o", out)
    assert status == 0, text
    expected = castile.SOAP().fit_transform(ase.io.read(tmp_path / name, do_not_split_by_at_sign=True))
    np.testing.assert_array_equal(load_features(out).features, expected)


# ---------------------------------------------------------------------- what goes wrong

MISTAKES = {
    "missing file": (["no.xyz"], "no.xyz does not exist"),
    "directory": (["."], "is a directory"),
    "empty file": (["empty.xyz"], "is empty"),
    "half a file": (["half.xyz"], "damaged or cut off"),
    "format": (["good.xyz", "--format", "xzy"], "no format 'xzy'"),
    "index": (["good.xyz", "--index", "all"], "index must be an integer or a slice"),
    "no frames": (["good.xyz", "--index", "7:"], "selects no structure"),
    "descriptor": (["good.xyz", "-d", "spherical_expansio"], "did you mean spherical-expansion?"),
    "range": (["good.xyz", "--n-max", "0"], "n_max must be 1 or more, got 0"),
    "peer's name": (["good.xyz", "--set", "rcut=5"], "did you mean cutoff?"),
    "no assignment": (["good.xyz", "--set", "cutoff"], "NAME=VALUE"),
    "no parameter": (["good.xyz", "--set", "colour=red"], "no parameter 'colour'"),
    "species": (["good.xyz", "--species", "Si"], "also hold H, Al, P"),
    "symbol": (["good.xyz", "--centers", "Xy"], "'Xy', which is not a chemical symbol"),
    "average": (["good.xyz", "--average", "mean"], "average must be one of"),
    "no cell": (["flat.xyz"], "periodic along axis"),
    "absent centers": (["good.xyz", "--centers", "Si,Fe"], "names Fe, which no frame holds; choose from Al, H, P, Si"),
    "absent number": (["good.xyz", "--species", "200"], "species holds '200', which is not a chemical symbol"),
    "two cutoffs": (
        ["good.xyz", "-s", "cutoff=3", "--cutoff", "4"],
        "cutoff is given twice, as 4.0 and by --set cutoff=3; leave out one",
    ),
    "two sets": (["good.xyz", "-s", "n-max=3", "-s", "n_max=4"], "n_max is given twice, as 3 and by --set n_max=4"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_one(tmp_path, monkeypatch, file, mistake):
    monkeypatch.chdir(tmp_path)
    content = file.read_text()
    (tmp_path / "good.xyz").write_text(content)
    (tmp_path / "half.xyz").write_text(content[: len(content) // 2])
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "flat.xyz").write_text('1\npbc="T T T"\nSi 0.0 0.0 0.0\n')
    arguments, message = MISTAKES[mistake]
    status, text = run("describe", *arguments, "-o", "out.npz")
    assert status == 1
    assert message in text
    assert text.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in text
    assert not (tmp_path / "out.npz").exists()
    assert not list(tmp_path.glob(".castile*"))


@pytest.mark.parametrize("name", ["out.csv", "out", "out.npy", "out.npz.gz"])
def test_an_output_that_is_no_npz_is_refused_before_anything_is_read(tmp_path, name):
    status, text = run("describe", tmp_path / "missing.xyz", "-o", tmp_path / name)
    assert status == 1
    assert re.search(rf"--output must end in \.npz, .*{name}'; write out.*\.npz", text)
    assert not os.listdir(tmp_path)


def test_the_time_is_given_per_atom_for_many_atoms_only(tmp_path, file):
    _, text = run("describe", file, "-o", tmp_path / "few.npz", "--n-max", 2)
    assert re.search(r"^time +\d+\.\d\d s *$", text, re.MULTILINE)
    ase.io.write(tmp_path / "many.xyz", bulk("Si", cubic=True).repeat(5))
    _, text = run("describe", tmp_path / "many.xyz", "-o", tmp_path / "many.npz", "--n-max", 2, "--cutoff", 3)
    assert re.search(r"^time +\d+\.\d\d s, \d+ µs per atom", text, re.MULTILINE)


@pytest.mark.parametrize(("option", "what"), [("--cutoff", "a number"), ("--n-max", "an integer")])
def test_a_word_in_the_place_of_a_number_is_named(file, option, what):
    status, text = run("describe", file, "-o", "x.npz", option, "wide")
    assert status == 2
    assert re.search(rf"Invalid value for '?{option}'?.*must be {what}, got 'wide'", " ".join(text.split()))


def test_usage_errors_have_status_two(file):
    assert run("describe", file)[0] == 2
    assert run("describe", file, "-o", "x.npz", "--cutoff", "wide")[0] == 2
    assert run("fly")[0] == 2


def test_an_existing_file_is_kept_unless_overwriting_is_allowed(tmp_path, file):
    out = tmp_path / "out.npz"
    out.write_text("precious")
    status, text = run("describe", file, "-o", out)
    assert status == 1
    assert "--overwrite" in text
    assert out.read_text() == "precious"
    assert run("describe", file, "-o", out, "--overwrite", "--n-max", 2)[0] == 0
    assert load_features(out).features.shape[0] == 14


@pytest.mark.parametrize(
    ("error", "expected"), [(OSError(28, "No space left on device"), 1), (KeyboardInterrupt(), 130)]
)
def test_what_stops_the_writing_leaves_no_file(tmp_path, monkeypatch, file, error, expected):
    def savez(stream, **arrays):
        stream.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", savez)
    status, text = run("describe", file, "-o", tmp_path / "out.npz", "--n-max", 2)
    assert status == expected
    assert ("No space left" in text) or ("interrupted" in text)
    assert os.listdir(tmp_path) == [file.name]


def test_a_result_too_large_for_the_memory_is_refused_with_its_size(tmp_path, monkeypatch, file):
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    for options, available, what in ([], 10_000, "feature matrix"), (["--gradients"], 1_000_000, "the Jacobian"):
        monkeypatch.setattr("castile._memory._core.available_memory", lambda available=available: available)
        status, text = run("describe", file, "-o", tmp_path / "out.npz", *options)
        assert status == 1
        assert re.search(rf"{what}\s+would\s+take\s+[\d.]+\s+[KMG]iB,\s+but\s+only\s+[\d.]+ KiB\s+of\s+memory", text)


def test_warnings_are_one_line(tmp_path, file):
    file.write_bytes(file.read_bytes()[:-1])
    status, text = run("describe", file, "-o", tmp_path / "out.npz", "--n-max", 2)
    assert status == 0
    assert len(re.findall("^warning: .*does not end with a newline", text, re.MULTILINE)) == 1


# ---------------------------------------------------------------------- demo


def test_the_demo_fits_a_force_field_and_writes_pictures_and_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("castile.cli.demo._STEPS", 100)
    directory = tmp_path / "new" / "demo"
    status, text = run("demo", "--output", directory, "--seed", 1)
    assert status == 0, text
    printed = [line for line in text.splitlines() if "━" not in line and str(tmp_path) not in line]
    assert all(len(line) <= 80 for line in printed)
    for word in ("140 structures, 1120 atoms", "GPAW", "PBE", "are few"):
        assert word in text
    deviations = [float(value) for value in re.findall(r"^  .* (\de-\d\d) *$", text, re.MULTILINE)]
    assert len(deviations) == 4
    assert max(deviations[:2]) < 1e-8  # invariance
    assert max(deviations) < 1e-4  # central differences
    errors = re.search(r"test, 28 frames +([\d.]+) / ([\d.]+) +([\d.]+) / ([\d.]+) +([\d.]+) / ([\d.]+)", text)
    energy, _, force, _, stress, _ = map(float, errors.groups())
    assert energy < 15.0
    assert force < 200.0
    assert stress < 1.0
    assert abs(float(re.search(r"energy drift +(\S+) meV", text)[1])) < 1.0
    for name in ("parity.png", "errors.png", "dimers.png", "conservation.png", "map.png"):
        assert (directory / name).read_bytes().startswith(b"\x89PNG")
        assert str(directory / name) in text
    assert castile.load(directory / "demo.castile").species_ == ("Al", "Si", "P")


def test_the_demo_does_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr("castile.cli.demo._STEPS", 10)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, text = run("demo", "--output", tmp_path)
    assert status == 0, text
    assert "matplotlib cannot be imported" in " ".join(text.split())
    assert os.listdir(tmp_path) == ["demo.castile"]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    status, text = run("demo", "--output", tmp_path / "file")
    assert status == 1
    assert "cannot make the directory" in text


# ---------------------------------------------------------------------- the README

README = Path(__file__).parents[2] / "README.md"


def test_the_examples_in_the_readme_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # they write files
    for block in re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(block, {})
    assert float(re.search(r"leave-one-out error: (\d+) meV/atom", capsys.readouterr().out)[1]) < 50


@pytest.mark.parametrize("path", sorted(README.parent.glob("docs/examples/*.py")), ids=lambda path: path.stem)
def test_the_examples_of_the_documentation_run(path, capsys):
    names = runpy.run_path(str(path))
    printed = capsys.readouterr().out
    assert "energy" in printed
    assert names["forces"].shape[1] == 3
    assert names.get("deviation", 0.0) < 1e-6


def test_the_readme_lists_every_descriptor_and_its_links_exist():
    text = README.read_text(encoding="utf-8")
    for descriptor in DESCRIPTORS:
        assert f"| `{descriptor.__name__}` |" in text
    for target in re.findall(r"\]\(([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        assert (README.parent / name).exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (README.parent / name).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings]
