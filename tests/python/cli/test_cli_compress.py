import ase.io
import numpy as np
import pytest
from ase.build import bulk

import castile
from castile import data
from castile.models.force_field import compression


@pytest.fixture
def few(monkeypatch):
    """One smaller descriptor."""
    monkeypatch.setattr(compression, "_sizes", lambda soap: [(soap.n_max // 2, soap.l_max - 2)])


def test_compress_writes_the_force_field_that_the_library_chooses(tmp_path, folder, few, run_json):
    out = tmp_path / "small.castile"
    arguments = ["compress", folder / "si.castile", folder / "train.xyz", "-o", out, "--tolerance", 100]
    found = run_json(*arguments, "--test", folder / "test.xyz", "--plots", tmp_path / "pictures")
    assert found["candidates"][0]["name"] == "as it is"
    chosen = next(one for one in found["candidates"] if one["chosen"])
    fastest = min(one["microseconds_per_atom"] for one in found["candidates"])
    assert chosen["microseconds_per_atom"] <= 1.08 * fastest
    written = castile.load(out)
    assert sum(term.n_features for term in written.foundation_.terms) == chosen["features"]
    assert written.training_["frames"] == 28
    rows = written.evaluate(data.read(folder / "test.xyz")).rows
    assert [row["rmse"] for row in found["test"]["compressed"]] == pytest.approx([row["rmse"] for row in rows])
    assert (tmp_path / "pictures" / "compression.png").read_bytes().startswith(b"\x89PNG")


def test_compress_prints_a_table_and_marks_what_is_chosen(tmp_path, folder, few, run, words):
    out = tmp_path / "small.castile"
    arguments = ["compress", folder / "si.castile", folder / "train.xyz", "-o", out, "--test", folder / "test.xyz"]
    status, text = run(*arguments, "--tolerance", 100)
    assert status == 0, text
    for word in ("µs/atom", "as it is", "4 optimal functions", "* chosen: ", "times as fast", "compressed, 7 frames"):
        assert word in words(text)
    status, text = run(*arguments[:-2], "--tolerance", 0, "--overwrite")
    assert status == 0, text
    assert castile.load(out).foundation_.terms[0].n_features > 0


def test_what_cannot_be_compressed_is_one_line(tmp_path, folder, run):
    ase.io.write(tmp_path / "al.extxyz", bulk("Al"))
    model = folder / "si.castile"
    for arguments, message in (
        ([model, folder / "no.xyz", "-o", tmp_path / "m.castile"], "no.xyz does not exist"),
        ([model, tmp_path / "al.extxyz", "-o", tmp_path / "m.castile"], "none of the 1 frames has an energy"),
        ([model, folder / "train.xyz", "-o", model], "--overwrite"),
        ([model, folder / "train.xyz", "-o", model, "--overwrite"], "--output is the model itself"),
    ):
        status, text = run("compress", *arguments)
        assert status == 1
        assert text.splitlines()[-1].startswith("error: ")
        assert message in text
    assert np.isfinite(castile.load(model).weights_).all()
