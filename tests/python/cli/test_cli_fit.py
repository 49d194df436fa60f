import json
import re
import shutil

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene

import castile
from castile import data
from castile.cli._cost import neighbors_per_atom
from castile.cli._files import bytes_of
from castile.cli._report import judge
from castile.errors import InputError
from castile.models.force_field import ErrorTable
from castile.models.force_field._checkpointing import Checkpoint

QUICK = ("--n-sparse", 30, "--zeta", 2, "--calibration", 0)
PNG = b"\x89PNG"


def test_fit_writes_the_model_that_the_library_fits(tmp_path, folder, run, words, silicon):
    out = tmp_path / "si.castile"
    status, text = run("fit", folder / "train.xyz", "--test", folder / "test.xyz", "-o", out, *QUICK)
    assert status == 0, text
    expected = castile.ForceField(n_sparse=30, zeta=2.0, calibration=0.0).fit(data.read(folder / "train.xyz"))
    found = castile.load(out)
    np.testing.assert_array_equal(found.weights_, expected.weights_)
    for word in ("Training data", "Test data", "even", "odd", "species", "SOAP term", "sparse points", "Si 30", "noise",
                 "prior", "condition", "reference energies", "training, 28 frames", "test, 7 frames", "µs per atom",
                 "rank correlation"):  # fmt: skip
        assert word in words(text), word
    table = expected.evaluate(folder / "test.xyz")
    row = next(line for line in text.splitlines() if "test, 7 frames" in line)
    assert float(re.findall(r"[\d.]+", row.split("frames")[1])[3]) == round(1e3 * table["force"]["rmse"])
    assert text.index("Wrote") > text.index("Errors")


def test_every_option_of_the_model_is_passed_on(tmp_path, folder, run):
    out = tmp_path / "si.castile"
    options = ["--cutoff", 4.0, "--noise-energy", 0.002, "--noise-force", 0.2, "--noise-stress", 0.01, "--prior", 2.5]
    options += ["--no-repulsion", "--seed", 3, "--max-memory", "500MB", "--threads", 1, "--atom-energy", "Si=-5.2"]
    options += ["--index", "::3", "--format", "extxyz", "--weight", "even=0.5", "--group-key", "group"]
    status, text = run("fit", folder / "train.xyz", folder / "test.xyz", "-o", out, *QUICK, *options)
    assert status == 0, text
    model = castile.load(out)
    assert [term.descriptor.cutoff for term in model.foundation_.terms] == [4.0, 4.0]
    assert model.noise_ == {"energy": 0.002, "force": 0.2, "stress": 0.01}
    assert (model.prior_, model.seed, model.max_memory) == (2.5, 3, 500_000_000)
    assert model.foundation_.repulsion is None
    assert model.foundation_.baseline.energies.tolist() == [-5.2]
    assert model.training_["frames"] == 10 + 3
    files = [folder / "train.xyz", folder / "test.xyz"]
    weighted = data.read(files, index="::3", format="extxyz", weights={"even": 0.5})
    expected = castile.ForceField(**{**model.get_params(), "calibration": 0.0}).fit(weighted)
    np.testing.assert_array_equal(model.weights_, expected.weights_)


def test_presets_are_chosen_by_name(tmp_path, folder, run, words):
    out = tmp_path / "fast.castile"
    status, text = run("fit", folder / "train.xyz", "-o", out, "--preset", "fast", "--calibration", 0)
    assert status == 0, text
    assert "479 functions of up to 4 factors for each species" in words(text)
    assert [type(term) for term in castile.load(out).terms] == [castile.ProductTerm]
    status, text = run("fit", folder / "train.xyz", "-o", tmp_path / "x", "--preset", "quick")
    assert status != 0
    assert "one of 'fast', 'balanced', 'accurate', got 'quick'" in words(text)


def test_keys_of_labels_can_be_named_and_left_out(tmp_path, silicon, run):
    for number, atoms in enumerate(silicon[:12]):
        copy = atoms.copy()
        copy.info |= {"my_energy": atoms.get_potential_energy(), "kind": f"k{number % 2}"}
        copy.info["my_stress"] = atoms.get_stress(voigt=False)
        copy.arrays["my_forces"] = atoms.get_forces()
        ase.io.write(tmp_path / "keys.xyz", copy, append=True)
    keys = ["--energy-key", "my_energy", "--forces-key", "my_forces", "--stress-key", "none", "--virial-key", "none"]
    keys += ["--group-key", "kind"]
    status, text = run("fit", tmp_path / "keys.xyz", "-o", tmp_path / "m.castile", *QUICK, *keys)
    assert status == 0, text
    assert castile.load(tmp_path / "m.castile").training_["rows"]["stress"] == 0
    assert "k0" in text
    assert "k1" in text
    assert "give a file with --test" in " ".join(text.split())


def test_a_share_of_the_frames_can_be_the_test_and_pictures_are_drawn(tmp_path, folder, run):
    options = ["--test-fraction", 0.25, "--plots", tmp_path / "new" / "pictures", "--learning-curve"]
    status, text = run("fit", folder / "train.xyz", "-o", tmp_path / "m.castile", *QUICK, *options)
    assert status == 0, text
    assert "test, 7 frames" in text
    assert "Learning curve" in text
    for name in ("parity.png", "errors.png", "dimers.png", "learning_curve.png"):
        assert (tmp_path / "new" / "pictures" / name).read_bytes().startswith(PNG)


def test_pictures_that_cannot_be_drawn_do_not_cost_the_model(tmp_path, folder, run, monkeypatch, words):
    def fail(*_, **__):
        raise ImportError("no module named matplotlib")

    monkeypatch.setattr("castile.plots.parity_panels", fail)
    options = ["--plots", tmp_path / "pictures", *QUICK]
    status, text = run("fit", folder / "train.xyz", "-o", tmp_path / "m.castile", *options)
    assert status == 0
    assert "parity.png was not drawn, as matplotlib cannot be imported" in words(text)
    assert (tmp_path / "pictures" / "errors.png").exists()
    assert castile.load(tmp_path / "m.castile").species_ == ("Si",)


def test_a_fit_goes_on_from_a_checkpoint_which_is_then_removed(tmp_path, folder, run):
    checkpoint = tmp_path / "state"
    options = ["--checkpoint", checkpoint, *QUICK]
    status, text = run("fit", folder / "train.xyz", "-o", tmp_path / "m.castile", *options)
    assert status == 0, text
    assert not checkpoint.exists()


def test_a_cutoff_that_takes_very_long_is_said_so_before(tmp_path, folder, run, words, monkeypatch):
    def stop(*_, **__):
        raise InputError("as far as this test goes")

    monkeypatch.setattr(castile.ForceField, "fit", stop)
    options = ["-o", tmp_path / "m.castile", "--cutoff"]
    text = words(run("fit", folder / "train.xyz", *options, 40)[1])
    neighbors = int(re.search(r"about ([\d,]+) neighbors", text)[1].replace(",", ""))
    assert neighbors == pytest.approx(4 / 3 * np.pi * 40**3 / 20.5, rel=0.1)
    assert re.search(r"take about \d+ times as long as with the default; lower it, or leave it out", text)
    assert "neighbors" not in run("fit", folder / "train.xyz", *options, 6)[1]


def test_numbers_of_neighbors_are_about_right(silicon):
    from castile.neighbors import NeighborList

    for cutoff in (4.0, 7.0):
        counted = np.diff(NeighborList(silicon, cutoff).offsets).mean()
        assert neighbors_per_atom(data.read(silicon), cutoff) == pytest.approx(counted, rel=0.15)
    cluster = Atoms("Si3", [[0.0, 0.0, 0.0], [2.4, 0.0, 0.0], [0.0, 2.4, 0.0]])
    cluster.info["energy"] = -3.0
    assert neighbors_per_atom(data.read([cluster]), 40.0) == 2.0
    sheet = graphene(vacuum=8.0)
    sheet.pbc = [True, True, False]
    sheet.info["energy"] = -3.0
    counted = len(castile.neighbor_list("i", sheet, 12.0)) / 2
    assert neighbors_per_atom(data.read([sheet]), 12.0) == pytest.approx(counted, rel=0.1)


def test_what_a_fit_prints_has_no_powers_of_ten_but_for_the_condition(tmp_path, folder, run):
    options = ["--noise-force", 0.25, "--prior", 1234, "--calibration", 0.2]
    status, text = run("fit", folder / "train.xyz", "-o", tmp_path / "m.castile", *QUICK[:4], *options)
    assert status == 0, text
    assert "force 250 meV/Å" in text
    assert "1234 eV per atom" in text
    assert all("condition" in line for line in text.splitlines() if re.search(r"\de[+-]\d\d", line))


def test_an_interrupted_fit_says_what_is_kept_and_how_to_go_on(tmp_path, folder, run, monkeypatch):
    state, out = tmp_path / "state", tmp_path / "m.castile"
    arguments = ["fit", folder / "train.xyz", "-o", out, *QUICK]
    keep_all = Checkpoint.keep_all

    def broken_off(*options, written):
        def interrupt(*given):
            if written:
                keep_all(*given)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "keep_all", interrupt)
            status, text = run(*arguments, *options)
        assert status == 130
        assert not out.exists()
        return text.splitlines()[-1]

    assert broken_off(written=False).startswith("interrupted: nothing is kept; with --checkpoint FILE")
    assert broken_off("--checkpoint", state, written=False).startswith("interrupted before anything was kept in")
    last = broken_off("--checkpoint", state, written=True)
    assert last == f"interrupted: {state} keeps what was done up to the last half minute; the same command goes on"
    assert run(*arguments, "--checkpoint", state)[0] == 0
    assert not state.exists()
    assert out.exists()


def test_tuning_shows_its_trials(tmp_path, folder, run):
    options = ["--tune", 1, "--index", ":12", "--calibration", 0]
    status, text = run("fit", folder / "train.xyz", "-o", tmp_path / "m.castile", *options)
    assert status == 0, text
    assert "Tuning" in text


def test_labels_that_contradict_each_other_are_a_warning(tmp_path, silicon, run, words):
    frames = []
    for atoms in silicon[:16]:
        frames.append(atoms.copy())
        frames[-1].info["REF_energy"] = atoms.get_potential_energy()
        frames[-1].info["REF_stress"] = atoms.get_stress()
        frames[-1].arrays["REF_forces"] = -atoms.get_forces()
    ase.io.write(tmp_path / "flipped.xyz", frames)
    status, text = run("fit", tmp_path / "flipped.xyz", "-o", tmp_path / "m.castile", *QUICK)
    assert status == 0, text
    assert "warning: the fit does not explain the training labels" in words(text)
    assert "forces likely have the other sign" in words(text)


MISTAKES = {
    "missing file": (["no.xyz", "-o", "m.castile"], "no.xyz does not exist"),
    "missing test": (["train.xyz", "-t", "no.xyz", "-o", "m.castile"], "no.xyz does not exist"),
    "no folder": (["train.xyz", "-o", "nowhere/m.castile"], "nowhere does not exist"),
    "folder is a file": (["train.xyz", "-o", "m.castile", "--plots", "al.xyz"], "cannot make the directory"),
    "checkpoint": (["train.xyz", "-o", "m.castile", "--checkpoint", "nowhere/state"], "nowhere does not exist"),
    "no labels": (["al.xyz", "-o", "m.castile"], "none of the 1 frames has an energy"),
    "existing": (["train.xyz", "-o", "si.castile"], "--overwrite"),
    "memory": (["train.xyz", "-o", "m.castile", "--max-memory", "much"], "must be a size such as 2GiB"),
    "little memory": (["train.xyz", "-o", "m.castile", "--max-memory", "1kB"], "max_memory"),
    "zeta": (["train.xyz", "-o", "m.castile", "--zeta", "-1"], "zeta"),
    "cutoff": (["train.xyz", "-o", "m.castile", "--cutoff", "-1"], "cutoff must"),
    "prior": (["train.xyz", "-o", "m.castile", "--prior", "0"], "prior must be above 0"),
    "noise": (["train.xyz", "-o", "m.castile", "--noise-force", "0"], "above 0"),
    "weight": (["train.xyz", "-o", "m.castile", "--weight", "even"], "--weight takes NAME=NUMBER"),
    "atom": (["train.xyz", "-o", "m.castile", "--atom-energy", "Si=low"], "--atom-energy takes NAME=NUMBER"),
    "unknown atom": (["train.xyz", "-o", "m.castile", "--atom-energy", "Fe=1"], "Fe"),
    "two tests": (["train.xyz", "-o", "m.castile", "-t", "test.xyz", "--test-fraction", "0.1"], "give either --test"),
    "species": (["train.xyz", "-o", "m.castile", "-t", "foreign.xyz"], "hold Ar, which no training frame holds"),
    "curve": (["train.xyz", "-o", "m.castile", "--learning-curve"], "--learning-curve needs test frames"),
    "key": (["train.xyz", "-o", "m.castile", "--energy-key", "my_energy"], "my_energy"),
    "index": (["train.xyz", "-o", "m.castile", "--index", "7 to 9"], "index"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_one_and_nothing_is_written(tmp_path, monkeypatch, folder, run, mistake):
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "foreign.xyz").write_text(
        '1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 energy=1.0 pbc="T T T"\n'
        "Ar 0.0 0.0 0.0 0.0 0.0 0.0\n"
    )
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    arguments, message = MISTAKES[mistake]
    status, text = run("fit", *arguments)
    assert status == 1
    assert text.splitlines()[-1].startswith("error: ")
    assert message in text
    assert "Traceback" not in text
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_output_is_checked_before_anything_is_read(tmp_path, run):
    assert "nowhere does not exist" in run("fit", tmp_path / "no.xyz", "-o", tmp_path / "nowhere" / "m.castile")[1]


@pytest.mark.parametrize("option", ["--overwrite", "--force"])
def test_an_existing_model_is_replaced_if_that_is_allowed(tmp_path, folder, run, option):
    (tmp_path / "m.castile").write_text("old")
    assert run("fit", folder / "train.xyz", "-o", tmp_path / "m.castile", *QUICK, option)[0] == 0
    assert castile.load(tmp_path / "m.castile").species_ == ("Si",)


@pytest.mark.parametrize(
    ("text", "n"),
    [("2GiB", 2**31), ("500 MB", 500_000_000), ("1.5kib", 1536), ("1e9", 10**9), ("7", 7), ("3g", 3_000_000_000)],
)
def test_sizes_are_read_as_people_write_them(text, n):
    assert bytes_of(text) == n


@pytest.mark.parametrize("text", ["", "GiB", "-1 XB", "inf"])
def test_what_is_no_size_is_named(text):
    with pytest.raises(InputError, match="--max-memory must be a size"):
        bytes_of(text)


def errors(force, r2):
    row = {"group": "all", "quantity": "force", "n": 3, "mae": force, "rmse": force, "r2": r2}
    return ErrorTable([row])


def test_poor_forces_are_called_so():
    assert judge(errors(0.1, 0.999), errors(0.12, 0.999)) == []
    assert "rough" in judge(errors(0.1, 0.999), errors(0.12, 1 - 0.2**2))[0]
    assert "20 % of their spread" in judge(errors(0.1, 0.999), errors(0.12, 1 - 0.2**2))[0]
    poor, unseen = judge(errors(0.01, 0.999), errors(0.3, 0.5))
    assert "poor" in poor
    assert "training frames do not show" in unseen


# ---------------------------------------------------------------------- evaluate


def test_evaluate_prints_the_errors_that_the_library_finds(folder, run, run_json, words):
    expected = castile.load(folder / "si.castile").evaluate(folder / "test.xyz")
    found = run_json("evaluate", folder / "si.castile", folder / "test.xyz")
    assert found["errors"] == json.loads(json.dumps(expected.rows))
    assert (found["frames"], found["atoms"]) == (7, 56)
    assert found["calibration"]["components"] == 168
    status, text = run("evaluate", folder / "si.castile", folder / "test.xyz", "--threads", 1)
    assert status == 0
    for word in ("all, 7 frames", "even", "odd", "rank correlation", "µs per atom"):
        assert word in words(text)


def test_evaluate_takes_several_files_slices_and_keys_and_draws(tmp_path, folder, run_json):
    options = ["--index", "::4", "--format", "extxyz", "--stress-key", "none", "--virial-key", "none"]
    options += ["--group-key", "none", "--plots", tmp_path / "pictures"]
    files = (folder / "train.xyz", folder / "test.xyz")
    found = run_json("evaluate", folder / "si.castile", *files, *options)
    assert found["frames"] == 7 + 2
    assert {row["quantity"] for row in found["errors"]} == {"energy", "force"}
    assert {row["group"] for row in found["errors"]} == {"all"}
    assert [path.rpartition("/")[2] for path in found["pictures"]] == ["parity.png", "errors.png", "dimers.png"]
    assert (tmp_path / "pictures" / "parity.png").read_bytes().startswith(PNG)


EVALUATE_MISTAKES = {
    "no model": (["no.castile", "test.xyz"], "no.castile"),
    "not a model": (["other.castile", "test.xyz"], "other.castile"),
    "structures as model": (["test.xyz", "test.xyz"], "test.xyz"),
    "no file": (["si.castile", "no.xyz"], "no.xyz does not exist"),
    "no labels": (["si.castile", "si.xyz"], "none of the 1 frames has an energy"),
    "species": (["si.castile", "foreign.xyz"], "hold Ar; it was not trained on them: fit anew, with training data"),
}


@pytest.mark.parametrize("mistake", EVALUATE_MISTAKES)
def test_mistakes_of_evaluate_are_one_line(tmp_path, monkeypatch, folder, run, mistake):
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "foreign.xyz").write_text('1\nProperties=species:S:1:pos:R:3 energy=1.0 pbc="F F F"\nAr 0 0 0\n')
    monkeypatch.chdir(tmp_path)
    arguments, message = EVALUATE_MISTAKES[mistake]
    status, text = run("evaluate", *arguments)
    assert status == 1
    assert text.splitlines()[-1].startswith("error: ")
    assert message in text


def test_existing_pictures_are_kept_unless_they_may_be_replaced(tmp_path, folder, run):
    (tmp_path / "errors.png").write_text("precious")
    status, text = run("evaluate", folder / "si.castile", folder / "test.xyz", "--plots", tmp_path)
    assert status == 1
    assert "errors.png exists" in text
    assert run("evaluate", folder / "si.castile", folder / "test.xyz", "--plots", tmp_path, "--force")[0] == 0
    assert (tmp_path / "errors.png").read_bytes().startswith(PNG)
