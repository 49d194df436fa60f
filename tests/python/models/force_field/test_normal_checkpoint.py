"""Checkpoints of normal equations: complete or not there, and refused if they are not what was written."""

import errno
import json
import zipfile

import numpy as np
import pytest
from small_fits import NOISE, filled, whitened_rows

import castile
from castile.errors import FileReadError, FileWriteError, InputError, InputTypeError
from castile.models.force_field._normal import NormalEquations


@pytest.fixture
def data():
    return whitened_rows(n_columns=12, n=(20, 700, 10))


@pytest.fixture
def state(data):
    state = filled(NormalEquations(12), *data)
    state.notes = {"frames": 7, "fingerprint": "abc"}
    return state


def test_a_fit_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path, data):
    rows, targets = data
    part = NormalEquations(12)
    part.add("energy", rows["energy"], targets["energy"])
    part.add("force", rows["force"][:555], targets["force"][:555])
    part.save(tmp_path / "fit.npz")
    again = NormalEquations.load(tmp_path / "fit.npz")
    for state in (part, again):
        state.add("force", rows["force"][555:], targets["force"][555:])
    np.testing.assert_array_equal(again.solve(NOISE).mean, part.solve(NOISE).mean)
    assert again.n_rows == part.n_rows == {"energy": 20, "force": 700, "stress": 0}


def test_notes_are_kept_and_an_earlier_checkpoint_is_replaced(tmp_path, state):
    path = tmp_path / "fit"
    NormalEquations(3).save(path)
    state.save(path)
    again = NormalEquations.load(str(path))
    assert again.notes == state.notes
    assert again.kinds == state.kinds
    content = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["fit"]
    with np.load(path) as arrays:  # without pickle
        assert json.loads(str(arrays["header"]))["castile_version"] == castile.__version__


def test_every_beginning_of_a_checkpoint_is_refused(tmp_path, state):
    path = tmp_path / "fit"
    state.save(path)
    content = path.read_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(FileReadError, match="damaged or cut off"):
            NormalEquations.load(path)


def test_changed_bytes_are_refused_or_change_nothing(tmp_path, state):
    path = tmp_path / "fit"
    state.save(path)
    content = path.read_bytes()
    expected = state.solve(NOISE).mean
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(400):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            changed[place] ^= rng.integers(1, 256)
        path.write_bytes(changed)
        try:
            again = NormalEquations.load(path)
        except FileReadError:
            n_refused += 1
        else:
            np.testing.assert_array_equal(again.solve(NOISE).mean, expected)
    assert n_refused > 300


def rewritten(path, change):
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def drop(name):
    return lambda arrays: arrays.pop(name)


def put(name, value):
    return lambda arrays: arrays.update({name: value})


def header(**entries):
    def change(arrays):
        arrays["header"] = json.dumps({**json.loads(str(arrays["header"])), **entries})

    return change


@pytest.mark.parametrize(
    "change",
    [
        drop("header"),
        drop("force/gram"),
        put("force/gram", np.zeros(5)),
        put("force/gram", np.full(78, np.nan)),
        put("force/moment", np.zeros(11)),
        put("force/waiting", np.zeros((188, 3))),
        put("force/waiting_targets", np.zeros(600)),
        put("force/square", np.zeros(3)),
        put("force/n_rows", np.array("many")),
        put("header", "no JSON"),
        put("header", "[1, 2]"),
        header(format="other"),
        header(version="new"),
        header(n_columns=13),
        header(kinds=["energy"]),
        header(seen=["dipole"]),
        header(notes=3),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, state, change):
    path = tmp_path / "fit"
    state.save(path)
    rewritten(path, change)
    with pytest.raises(FileReadError, match="it is not a checkpoint that Castile wrote, or it is damaged"):
        NormalEquations.load(path)


def test_newer_missing_and_other_files_are_named(tmp_path, state):
    path = tmp_path / "fit"
    state.save(path)
    rewritten(path, header(version=99, castile_version="9.0"))
    with pytest.raises(FileReadError, match=r"was written by Castile 9\.0; update Castile"):
        NormalEquations.load(path)
    with pytest.raises(FileReadError, match="no such file"):
        NormalEquations.load(tmp_path / "nothing")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("text", "text")
    for name in ("array.npy", "other.zip", "."):
        with pytest.raises(FileReadError):
            NormalEquations.load(tmp_path / name)


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, state, monkeypatch):
    path = tmp_path / "fit"
    state.save(path)
    before = path.read_bytes()

    def full(*_args, **_arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(FileWriteError, match="No space left on device") as caught:
        state.save(path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_written_is_named(tmp_path, state):
    with pytest.raises(InputError, match="does not exist"):
        state.save(tmp_path / "nowhere" / "fit")
    state.notes["array"] = np.zeros(3)
    with pytest.raises(InputTypeError, match="notes must be what JSON can hold"):
        state.save(tmp_path / "fit")
    assert list(tmp_path.iterdir()) == []
