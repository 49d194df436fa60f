"""Processes that are killed at any step while they write features, torn journals, and other damage."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from checks import same_bits
from stream_cases import N_FRAMES, BreakError, assert_complete, break_off, make, molecules, stream

from castile import storage
from castile.errors import FileReadError
from castile.storage import _arrays, _journal
from castile.storage._staging import staging_folder

pytestmark = pytest.mark.usefixtures("no_sync")


def test_a_journal_that_is_torn_anywhere_is_read_up_to_the_last_whole_line(tmp_path):
    path = tmp_path / "x.npy"
    soap = make()
    break_off(path, 10)
    saved = tmp_path / "saved"
    staging_folder(path).rename(saved)
    journal = (saved / "journal.jsonl").read_bytes()
    lengths = sorted({*range(0, len(journal), 41), *(k + d for k in lines_of(journal) for d in (-1, 0, 1))})
    for length in lengths:
        for garbage in (b"", b"\0" * 17, b"{\t"):
            folder = staging_folder(path)
            shutil.copytree(saved, folder)
            (folder / "journal.jsonl").write_bytes(journal[:length] + garbage)
            soap.transform_to(path, stream(), resume=True)
            assert_complete(path, soap)
            for file in tmp_path.glob("x*"):
                file.unlink()


def test_a_torn_line_does_not_spoil_those_that_follow(tmp_path):
    path = tmp_path / "x.npy"
    break_off(path, 4)
    journal = staging_folder(path) / "journal.jsonl"
    for stop in (8, 10):
        journal.write_bytes(journal.read_bytes() + b'{"frames": ')
        break_off(path, stop, chunk_size=1, resume=True)
    assert len(journal.read_bytes().splitlines()) == 9  # the header, 3 frames, and 7 times one
    make().transform_to(path, stream(), resume=True)
    assert_complete(path, make())


def lines_of(journal):
    """Where lines end."""
    return [k + 1 for k, byte in enumerate(journal) if byte == ord("\n")]


def test_damage_that_no_crash_explains_is_an_error(tmp_path):
    path = tmp_path / "x.npy"
    break_off(path, 10)
    folder = staging_folder(path)
    journal, features = folder / "journal.jsonl", folder / "features.npy"
    good, rows = journal.read_bytes(), features.read_bytes()
    journal.write_bytes(good.replace(b'"frames": 3', b'"frames": 2'))
    with pytest.raises(FileReadError, match=r"line 2 of .*journal\.jsonl is damaged; start again with overwrite=True"):
        make().transform_to(path, stream(), resume=True)
    journal.write_bytes(good)
    features.write_bytes(rows[:-1])
    with pytest.raises(FileReadError, match=r"features\.npy is shorter than .* start again with overwrite=True"):
        make().transform_to(path, stream(), resume=True)
    features.unlink()
    with pytest.raises(FileReadError, match=r"features\.npy is missing; .* start again with overwrite=True"):
        make().transform_to(path, stream(), resume=True)
    journal.write_bytes(b"not a journal\nat all\n")
    make().transform_to(path, stream(), overwrite=True)
    assert_complete(path, make())


@pytest.mark.parametrize("n_frames", [9, N_FRAMES])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_behind_the_last_commit_are_dropped(tmp_path, sparse, n_frames):
    """Also if there are no more frames whose rows would take their place."""
    path, soap = tmp_path / "x.npy", make(sparse=sparse)
    break_off(path, 10, soap)
    for file in staging_folder(path).glob("*.npy"):
        with file.open("ab") as array:
            array.write(b"half a ro")
    soap.transform_to(path, stream(n_frames), resume=True)
    assert_complete(path, soap, n_frames=n_frames)
    for file in tmp_path.glob("*.npy"):
        rows = np.load(file)
        assert file.stat().st_size == 256 + rows.nbytes


def test_a_commit_is_written_after_everything_that_it_speaks_of_is_on_disk(tmp_path, monkeypatch):
    """Power may fail at any time: what was written and not synchronized is lost then, in any order."""
    unsafe, commits = set(), 0

    def name_of(descriptor):
        return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))

    def write(file, data):
        nonlocal commits
        name = os.path.basename(file.name)
        if name == "journal.jsonl":
            assert not unsafe
            commits += 1
        unsafe.add(name)
        return written(file, data)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("names of open files are found in /proc")
    written = _arrays.write_all
    monkeypatch.setattr(os, "fsync", lambda descriptor: unsafe.discard(name_of(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: unsafe and pytest.fail(f"{unsafe} are renamed too early"))
    for module in (_arrays, _journal):
        monkeypatch.setattr(module, "write_all", write)
    with pytest.raises(FileReadError):  # as nothing was renamed
        make(sparse=True).transform_to(tmp_path / "x.npy", stream(), chunk_size=3)
    assert commits == 5


CALLS = [
    (os, "fsync"),
    (os, "replace"),
    (os, "rename"),
    (os, "link"),
    (os, "unlink"),
    (os, "mkdir"),
    (os, "rmdir"),
    (_arrays, "write_all"),
    (_journal, "write_all"),
]


def run_until_killed(path, descriptor, number, half, **options):
    """In a forked child: end the process at the ``number``-th call that changes the disk; return whether it came."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the parent has threads, which the child does not need
        child = os.fork()
    if child == 0:
        counter = itertools.count()

        def deadly(original):
            def call(*arguments, **keywords):
                if next(counter) == number:
                    if original.__name__ == "write_all" and half:
                        file, data = arguments
                        original(file, memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
                    os._exit(9)
                return original(*arguments, **keywords)

            return call

        code = 1
        try:
            for module, name in CALLS:
                setattr(module, name, deadly(getattr(module, name)))
            descriptor.transform_to(path, stream(5), chunk_size=2, **options)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


CASES = [
    ("npy", False, False),
    ("npy", True, False),
    ("npy", False, True),
    ("hdf5", False, False),
    ("hdf5", True, True),
]


@pytest.mark.parametrize(
    ("format", "sparse", "old", "every"),
    [
        ("npy", True, True, 5),
        ("hdf5", False, False, 5),
        *(pytest.param(*case, 1, marks=pytest.mark.slow) for case in CASES),
    ],
)
def test_a_process_killed_at_any_step_leaves_what_can_be_resumed(tmp_path, format, sparse, old, every):
    """Calls that change the disk, ``every`` so many, are in turn the last one; writes are also cut in half.

    Zarr's own threads do not survive the fork that makes this quick; its files are only written from complete arrays.
    """
    if format == "hdf5":
        pytest.importorskip("h5py")
    soap = make(sparse=sparse)
    expected, previous = soap.transform(molecules(5)), soap.transform(molecules(2))
    for number in itertools.count(step=every):
        killed = False
        for half in (False, True):
            folder = tmp_path / f"{number}{half}"
            folder.mkdir()
            path = folder / "x.npy"
            if old:
                soap.transform_to(path, molecules(2), format=format)
            first = {"format": format, "overwrite": old}
            killed |= run_until_killed(path, soap, number, half, **first)
            if path.exists():  # whole: the old one, or the new one
                rows = storage.open_features(path).rows()
                assert same_bits(rows, expected) or (old and same_bits(rows, previous))
            run_until_killed(path, soap, number // 2, half, **first, resume=True)
            store = soap.transform_to(path, stream(5), **first, resume=True)
            assert same_bits(store.rows(), expected)
            assert same_bits(store.samples(), soap.samples(molecules(5)))
            assert not staging_folder(path).exists()
            beside = {"samples.npy", "castile.json", *(("indices.npy", "indptr.npy") if sparse else ())}
            names = {"x.npy", *(f"x.{name}" for name in beside if format == "npy")}
            assert set(os.listdir(folder)) == names
            shutil.rmtree(folder)
        if not killed:
            break
    assert number > 20


@pytest.mark.parametrize("number", [0, 1])
def test_a_zarr_store_that_replaces_another_survives_a_break_between_its_renames(tmp_path, monkeypatch, number):
    pytest.importorskip("zarr")
    path, soap, counter, rename = tmp_path / "x.zarr", make(), itertools.count(), os.rename
    soap.transform_to(path, stream(2))

    def broken(*paths):
        if next(counter) == number:
            raise BreakError
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", broken)
        with pytest.raises(BreakError):
            soap.transform_to(path, stream(), overwrite=True)
    assert path.exists() == (number == 0)
    soap.transform_to(path, stream(), overwrite=True, resume=True)
    assert_complete(path, soap)


SCRIPT = """
import sys, time
import castile
from stream_cases import make, molecules

def slow():
    for atoms in molecules(200):
        time.sleep(0.003)
        yield atoms

print("started", flush=True)
make().transform_to({path!r}, slow(), chunk_size=2, resume=True)
print("done", flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_that_can_be_resumed(path, sent):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    command = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"]
    command[-1] += SCRIPT.format(path=str(path))
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    journal = staging_folder(path) / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 4) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(sent)
    out, err = child.communicate(timeout=60)
    assert child.returncode != 0, out
    assert out == "started\n"
    assert ("KeyboardInterrupt" in err) == (sent == signal.SIGINT)
    with pytest.raises(FileReadError, match="is not finished"):
        storage.open_features(path)
    store = make().transform_to(path, molecules(200), resume=True)
    assert same_bits(store.rows(), make().transform(molecules(200)))
