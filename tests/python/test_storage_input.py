"""Features on disk: nothing of the user's is lost, and what cannot work is refused clearly."""

import errno
import json
import os
import pathlib
import sys

import pytest
from ase.build import molecule
from checks import same_bits
from stream_cases import PACKAGES, content, make, molecules, run_script

import castile
from castile import storage
from castile.errors import (
    FileReadError,
    InputError,
    InputTypeError,
    MissingPackageError,
    NotFittedError,
    UnknownSpeciesError,
)
from castile.storage import _staging

pytestmark = pytest.mark.usefixtures("no_sync")


def test_what_exists_is_not_overwritten_unless_asked(path, kind):
    soap = make()
    soap.transform_to(path, molecules(2))
    before = content(path.parent)
    with pytest.raises(InputError, match=r"features.* exists; choose another name, or replace it with overwrite=True"):
        soap.transform_to(path, molecules(3))
    assert content(path.parent) == before
    store = soap.transform_to(path, molecules(3), overwrite=True)
    assert store.n_frames == 3


@pytest.mark.parametrize("name", ["samples.npy", "castile.json", "indices.npy", "indptr.npy"])
def test_files_beside_a_npy_file_are_not_overwritten_either(tmp_path, name):
    (tmp_path / f"x.{name}").write_text("precious")
    with pytest.raises(InputError, match=rf"x\.{name} exists"):
        make().transform_to(tmp_path / "x.npy", molecules())
    assert content(tmp_path) == {f"x.{name}": b"precious"}


def test_the_old_file_stays_until_the_new_one_is_complete(path):
    soap = make()
    soap.transform_to(path, molecules(2))
    before = content(path) if path.is_dir() else content(path.parent)

    def failing():
        yield from molecules(5)
        raise RuntimeError("power failure")

    with pytest.raises(RuntimeError, match="power failure"):
        soap.transform_to(path, failing(), chunk_size=2, overwrite=True)
    after = content(path) if path.is_dir() else {k: v for k, v in content(path.parent).items() if ".partial" not in k}
    assert after == before
    store = soap.transform_to(path, molecules(7), chunk_size=2, overwrite=True, resume=True)
    assert same_bits(store.rows(), soap.transform(molecules(7)))


def test_folders_of_somebody_else_are_never_removed(tmp_path):
    mine = tmp_path / "mine.zarr"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    pytest.importorskip("zarr")
    with pytest.raises(InputError, match="not a zarr store that transform_to wrote and will not be removed"):
        make().transform_to(mine, molecules(), overwrite=True)
    mine.rename(tmp_path / "mine.npy")
    with pytest.raises(InputError, match="exists and is not a regular file"):
        make().transform_to(tmp_path / "mine.npy", molecules(), overwrite=True)
    partial = tmp_path / "x.npy.partial"
    partial.mkdir()
    (partial / "thesis.tex").write_text("precious")
    make().transform_to(tmp_path / "x.npy", molecules())
    assert content(partial) == {"thesis.tex": b"precious"}
    (tmp_path / "y.npy.partial").write_text("precious")
    with pytest.raises(InputError, match=r"y\.npy\.partial, the folder for unfinished output, is a file"):
        make().transform_to(tmp_path / "y.npy", molecules())


def test_two_runs_do_not_write_the_same_file(path):
    def second_run():
        yield from molecules(3)
        with pytest.raises(InputError, match="another run is writing to"):
            make().transform_to(path, molecules(), resume=True)
        yield from molecules(3)

    store = make().transform_to(path, second_run(), chunk_size=1)
    assert store.n_frames == 6


def test_symbolic_links_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "x.npy").symlink_to(tmp_path / "disk" / "y.npy")
    make().transform_to(tmp_path / "x.npy", molecules())
    assert (tmp_path / "x.npy").is_symlink()
    assert storage.open_features(tmp_path / "x.npy").n_frames == 7


# ---------------------------------------------------------------- bad input


def test_what_cannot_work_is_refused_before_anything_is_taken_or_written(tmp_path):
    frames = iter(molecules())
    cases = [
        ({"path": "x.dat"}, InputError, r"path must end in one of \.npy, \.h5, \.hdf5, \.zarr, got .*give format="),
        ({"path": "x"}, InputError, "path must end in"),
        (
            {"path": "x.npy", "format": "parquet"},
            InputError,
            "format must be one of 'npy', 'hdf5', 'zarr', got 'parquet'",
        ),
        ({"path": "missing/x.npy"}, InputError, "the directory .*missing does not exist; create it"),
        ({"path": "x.npy", "chunk_size": 0}, InputError, "chunk_size must be 1 or more"),
        ({"path": "x.npy", "resume": "yes"}, InputTypeError, "resume must be True or False"),
        ({"path": "x.npy", "overwrite": 1}, InputTypeError, "overwrite must be True or False"),
        ({"path": "x.npy", "centers": 4}, InputTypeError, "centers must be None"),
    ]
    for arguments, error, message in cases:
        name = tmp_path / arguments.pop("path")
        with pytest.raises(error, match=message):
            make().transform_to(name, frames, **arguments)
    with pytest.raises(NotFittedError):
        make(species=None).transform_to(tmp_path / "x.npy", frames)
    with pytest.raises(InputTypeError, match=r"frames must be ase\.Atoms"):
        make().transform_to(tmp_path / "x.npy", "trajectory.xyz")
    assert os.listdir(tmp_path) == []
    assert len(list(frames)) == 7


def test_a_format_may_be_given_for_any_name(tmp_path):
    store = make().transform_to(tmp_path / "x.dat", molecules(), format="npy")
    assert store.format == "npy"
    assert set(os.listdir(tmp_path)) == {"x.dat", "x.dat.samples.npy", "x.dat.castile.json"}


def test_a_folder_without_permission_is_refused(tmp_path):
    folder = tmp_path
    tmp_path.chmod(0o500)
    if os.geteuid() == 0:  # to whom little is forbidden
        folder = pathlib.Path("/proc/self")
        if not folder.exists():
            pytest.skip("nothing is forbidden to root")
    with pytest.raises(InputError, match="no permission to write into the directory"):
        make().transform_to(folder / "x.npy", molecules())


@pytest.mark.parametrize("format", ["hdf5", "zarr"])
def test_a_missing_package_is_named_with_the_extra(tmp_path, monkeypatch, format):
    monkeypatch.setitem(sys.modules, PACKAGES[format], None)
    for error in (MissingPackageError, ImportError):
        with pytest.raises(error, match=rf'needs the package {PACKAGES[format]}; .* pip install "castile\[storage\]"'):
            make().transform_to(tmp_path / "x", molecules(), format=format)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("n_good", [0, 1, 5])
def test_a_bad_frame_in_the_middle_leaves_what_is_done(tmp_path, n_good):
    def stream():
        yield from molecules(n_good)
        yield "not a frame"

    with pytest.raises(InputTypeError, match=rf"frames\[{n_good}\] must be an ase\.Atoms"):
        make().transform_to(tmp_path / "x.npy", stream(), chunk_size=2)
    assert not (tmp_path / "x.npy").exists()
    assert (tmp_path / "x.npy.partial").exists() == (n_good >= 2)
    store = make().transform_to(tmp_path / "x.npy", molecules(), resume=True)
    assert same_bits(store.rows(), make().transform(molecules()))


def test_errors_in_frames_leave_nothing_behind_if_nothing_was_done(tmp_path):
    exhausted = iter(molecules())
    list(exhausted)
    for frames in ([], exhausted, iter(())):
        with pytest.raises(InputError, match="frames is empty"):
            make().transform_to(tmp_path / "x.npy", frames)
    with pytest.raises(UnknownSpeciesError, match="frame 1: SOAP knows"):
        make().transform_to(tmp_path / "x.npy", [molecule("H2O"), molecule("SiH4")])
    with pytest.raises(InputError, match="centers ends after 3 entries"):
        make().transform_to(tmp_path / "x.npy", iter(molecules()), iter([None] * 3))
    assert os.listdir(tmp_path) == []


def test_an_error_of_the_users_generator_is_not_taken_for_a_full_disk(tmp_path):
    def failing():
        yield from molecules(4)
        raise OSError(5, "the tape is torn")

    with pytest.raises(OSError, match="the tape is torn") as caught:
        make().transform_to(tmp_path / "x.npy", failing(), chunk_size=2)
    assert not isinstance(caught.value, castile.CastileError)


FULL_DISK = """
import resource
import castile
from stream_cases import make, molecules
soap = make(sparse={sparse})
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    soap.transform_to({path!r}, iter(molecules(40)), chunk_size=5)
except castile.FileWriteError as error:
    print(error.errno, error)
if {again}:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    soap.transform_to({path!r}, iter(molecules(40)), chunk_size=5, resume=True)
"""


@pytest.mark.parametrize(
    ("limit", "sparse", "again"),
    [(2000, False, True), (50_000, True, False), ("final", False, False), ("final", True, True)],
)
def test_a_full_disk_is_a_clear_error_and_resumable(path, kind, limit, sparse, again):
    """The system refuses to let files grow, as a full disk would: while rows are written, or the final file is."""
    soap, frames = make(sparse=sparse), molecules(40)
    if limit == "final":
        if kind != "hdf5":
            pytest.skip("the final files are no larger than those that grow")
        largest = max(len(data) for data in soap_files(soap, path, frames))
        limit = largest + 100
    run = run_script(FULL_DISK.format(sparse=sparse, path=str(path), limit=limit, again=again))
    assert run.stderr == ""
    assert "cannot write" in run.stdout
    if limit == 2000:
        assert "File too large" in run.stdout
        assert "make room or write elsewhere" in run.stdout
        assert run.stdout.startswith(f"{errno.EFBIG} ")
    else:
        assert "frames are safe in" in run.stdout
    assert path.exists() == again
    assert _staging.staging_folder(path).exists() == (limit != 2000 and not again)
    store = soap.transform_to(path, iter(frames), chunk_size=3, resume=True)
    assert same_bits(store.rows(), soap.transform(frames))
    assert not _staging.staging_folder(path).exists()


def soap_files(soap, path, frames):
    """The bytes of the growing arrays."""
    beside = path.with_name("reference.npy")
    soap.transform_to(beside, frames)
    for file in path.parent.glob("reference.*"):
        yield file.read_bytes()
        file.unlink()


@pytest.mark.parametrize("change", [{"dtype": "|O"}, {"filters": [{"id": "pickle"}]}, {"compressor": {"id": "pickle"}}])
def test_a_zarr_store_that_could_run_code_is_not_opened(tmp_path, change):
    pytest.importorskip("zarr")
    store = make().transform_to(tmp_path / "x.zarr", molecules(2))
    array = tmp_path / "x.zarr" / "features" / ".zarray"
    array.write_text(json.dumps({**json.loads(array.read_text()), **change}))
    with pytest.raises(FileReadError, match="stored in a way that Castile does not write"):
        store.rows()
