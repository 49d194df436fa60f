"""Model files: what is written is read again bit for bit, or refused; nothing in between."""

import copy
import io
import json
import os
import pickle
import random
import resource
import stat
import subprocess
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
from damaged_files import mutated, rebuilt, write_new

from castile.errors import FileReadError, FileWriteError, InputError, InputTypeError
from castile.models.force_field import _model_file, _model_members
from castile.models.force_field._model_file import read_model, write_model
from castile.models.force_field._replacing import replacing

pytestmark = pytest.mark.usefixtures("no_sync")

METADATA = {
    "species": ["Si", "Ge"],
    "zeta": 4,
    "cutoff": 5.1,
    "tiny": 5e-324,
    "minus_zero": -0.0,
    "group": {"größe": None, "seed": 2**90, "on": True, "": []},
}


def arrays():
    rng = np.random.default_rng(7)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    special.view(np.uint64)[0] |= 0x1234  # a NaN with a payload
    return {
        "weights": rng.normal(size=20),
        "points/Si": rng.normal(size=(3, 5)),
        "points/Ge": rng.normal(size=(2, 5)).astype(np.float32),
        "offsets": np.array([0, 3, -(2**63)]),
        "species": np.array([[14, 32]], dtype=np.int32),
        "special": special,
        "scalar": np.array(0.1),
        "nothing": np.empty((0, 4)),
    }


def equal(one, other):
    """Whether two models are the same, to the last bit."""
    (metadata, mine), (metadata_too, others) = one, other
    same = repr(sorted_deep(metadata)) == repr(sorted_deep(metadata_too)) and mine.keys() == others.keys()
    return same and all(
        (mine[name].dtype, mine[name].shape, mine[name].tobytes())
        == (others[name].dtype, others[name].shape, others[name].tobytes())
        for name in mine
    )


def sorted_deep(value):
    return {key: sorted_deep(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "si.castile"
    write_model(path, METADATA, arrays())
    return path


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def npz(array):
    file = io.BytesIO()
    np.savez(file, x=array)
    return file.getvalue()


def edit_envelope(**values):
    def change(members):
        members["metadata.json"] = json.dumps({**json.loads(members["metadata.json"]), **values}).encode()

    return change


# ---------------------------------------------------------------- what is written


def test_a_model_is_read_bit_for_bit(model):
    metadata, read = read_model(model)
    assert equal((metadata, read), (METADATA, arrays()))
    assert metadata == METADATA
    assert all(array.flags.writeable and array.flags.c_contiguous for array in read.values())


def test_equal_models_are_equal_files(model, tmp_path):
    backwards = {name: np.asarray(array, order="F") for name, array in reversed(arrays().items())}
    write_model(tmp_path / "again", dict(reversed(METADATA.items())), backwards)
    assert (tmp_path / "again").read_bytes() == model.read_bytes()


def test_strides_and_byte_order_do_not_matter(tmp_path):
    array = np.arange(24.0).reshape(4, 6)
    write_model(tmp_path / "a", {}, {"x": array[::2, ::-1]})
    write_model(tmp_path / "b", {}, {"x": array[::2, ::-1].astype(">f8")})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert np.array_equal(read_model(tmp_path / "b")[1]["x"], array[::2, ::-1])


def test_nothing_is_changed_that_was_given(tmp_path):
    metadata, given = copy.deepcopy(METADATA), arrays()
    write_model(tmp_path / "a", metadata, given)
    assert equal((metadata, given), (METADATA, arrays()))


def test_tuples_and_numbers_of_numpy_become_what_json_has(tmp_path):
    write_model(tmp_path / "a", {"a": (1, np.int64(2)), "b": np.float64(0.1), "c": np.str_("x"), "d": np.True_}, {})
    assert read_model(tmp_path / "a") == ({"a": [1, 2], "b": 0.1, "c": "x", "d": True}, {})


def test_the_file_is_readable_without_castile(model, tmp_path):
    with np.load(model, allow_pickle=False) as file:
        for name, array in arrays().items():
            assert file[f"arrays/{name}"].tobytes() == array.tobytes()
            assert file[f"arrays/{name}"].shape == array.shape
        envelope = json.loads(file["metadata.json"])
    assert envelope["metadata"] == METADATA
    assert (envelope["format"], envelope["format_version"]) == ("castile model", 1)
    with zipfile.ZipFile(model) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "unpacked", check=True)


def test_files_beyond_the_old_limit_of_zip_files(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    write_model(tmp_path / "a", METADATA, arrays())
    assert equal(read_model(tmp_path / "a"), (METADATA, arrays()))


def test_arrays_that_are_longer_than_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(_model_members, "_CHUNK", 1000)
    given = {"x": np.random.default_rng(1).normal(size=(301, 3)), "y": np.arange(125, dtype=np.int64)}
    write_model(tmp_path / "a", {}, given)
    assert equal(read_model(tmp_path / "a"), ({}, given))


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ({"a": {"b": [1.0, float("nan")]}}, InputError, r"metadata\['metadata'\]\['a'\]\['b'\]\[1\] must be a finite"),
        ({"a": -float("inf")}, InputError, "finite"),
        ({"a": np.zeros(3)}, InputTypeError, "got ndarray; give arrays as arrays"),
        ({"a": b"x"}, InputTypeError, "got bytes"),
        ({1: 2}, InputTypeError, "keys of .* must be str, got 1"),
        ({"a": 10**5000}, InputError, "cannot be written as JSON"),
        ([1], InputTypeError, "metadata must be a dict, got list"),
    ],
)
def test_metadata_that_json_does_not_have_are_refused(tmp_path, metadata, error, message):
    with pytest.raises(error, match=message):
        write_model(tmp_path / "a", metadata, {})
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_hold_themselves_are_refused(tmp_path):
    metadata = {}
    metadata["self"] = metadata
    with pytest.raises(InputError, match="at most 64 deep"):
        write_model(tmp_path / "a", metadata, {})


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.array(["a"]), InputTypeError, "must be of type float64, float32, int64 or int32, got <U1; convert"),
        (np.array([None]), InputTypeError, "got object"),
        (np.array([True]), InputTypeError, "got bool"),
        (np.array([1j]), InputTypeError, "got complex128"),
        (np.zeros(1, dtype=[("a", "<f8")]), InputTypeError, "must be of type"),
        (np.zeros(1, dtype=np.float16), InputTypeError, "got float16"),
        (np.zeros((1,) * 9), InputError, "at most 8 dimensions, got 9"),
    ],
)
def test_other_arrays_than_of_numbers_are_refused(tmp_path, array, error, message):
    with pytest.raises(error, match=message):
        write_model(tmp_path / "a", {}, {"x": array})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "/x", "x/", "a//b", "../x", "a.npy", "é", "x\n", "a" * 201, 3])
def test_names_that_are_not_safe_to_unpack_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="names of arrays"):
        write_model(tmp_path / "a", {}, {name: np.zeros(1)})


# ---------------------------------------------------------------- while it is written


@contextmanager
def full_disk(n_bytes):
    """Let no file grow further than this."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("room", [0, 100, 20_000, 80_000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(model, room):
    before = model.read_bytes()
    with full_disk(room), pytest.raises(FileWriteError, match=r"cannot write .*si\.castile .*make room") as raised:
        write_model(model, METADATA, {"x": np.ones(10_000)})
    assert raised.value.errno
    assert [file.name for file in model.parent.iterdir()] == ["si.castile"]
    assert model.read_bytes() == before


@pytest.mark.parametrize("function", ["fsync", "replace", "open"])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(model, monkeypatch, function):
    before = model.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing)
        with pytest.raises(FileWriteError, match="No space left on device") as raised:
            write_model(model, {}, {})
    assert raised.value.errno == 28
    assert [file.name for file in model.parent.iterdir()] == ["si.castile"]
    assert model.read_bytes() == before


def failing(*args, **options):
    raise OSError(28, "No space left on device")


def test_an_interrupt_leaves_the_old_file_and_nothing_else(model, monkeypatch):
    before = model.read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_model_file, "write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_model(model, {}, {"x": np.zeros(3)})
    assert [file.name for file in model.parent.iterdir()] == ["si.castile"]
    assert model.read_bytes() == before


def test_file_and_folder_are_on_the_disk_before_the_call_returns(tmp_path, monkeypatch):
    events = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda file: events.append("folder" if is_folder(file) else "file"))
    monkeypatch.setattr(os, "replace", lambda *names: events.append("replace") or replace(*names))
    write_model(tmp_path / "a", {}, {})
    assert events == ["file", "replace", "folder"]


def is_folder(descriptor):
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def test_permissions_of_an_existing_file_are_kept_and_a_new_one_follows_the_umask(model):
    new = model.with_name("new")
    old_mask = os.umask(0o027)
    try:
        model.chmod(0o604)
        write_model(model, {}, {})
        write_model(new, {}, {})
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(model.stat().st_mode) == 0o604
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write to read-only files")
def test_a_read_only_file_is_not_replaced(model):
    model.chmod(0o444)
    with pytest.raises(FileWriteError, match="is read-only"):
        write_model(model, {}, {})


def test_a_link_stays_a_link_and_what_it_points_to_is_replaced(model, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link"
    link.symlink_to(model)
    write_model(link, {"new": 1}, {})
    assert link.is_symlink()
    assert read_model(model) == read_model(link) == ({"new": 1}, {})
    dangling = folder / "dangling"
    dangling.symlink_to(tmp_path / "made")
    write_model(dangling, {}, {})
    assert read_model(tmp_path / "made") == ({}, {})
    assert sorted(file.name for file in folder.iterdir()) == ["dangling", "link"]


def test_names_that_cannot_be_written_to_are_refused(tmp_path):
    with pytest.raises(InputError, match="not a regular file"):
        write_model(tmp_path, {}, {})
    with pytest.raises(InputError, match="does not exist; create it"):
        write_model(tmp_path / "no" / "a", {}, {})


def test_errors_of_castile_pass_through_a_file_that_is_being_written(tmp_path):
    with pytest.raises(FileWriteError, match=r"^mine$"), replacing(tmp_path / "a"):
        raise FileWriteError("mine")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what is refused


def test_ten_thousand_mutations_are_refused_or_read_equal(tmp_path):
    path = tmp_path / "small"
    model = ({"cutoff": 5.0, "species": ["Si"]}, {"w": np.arange(3.0), "n/1": np.array([1, 2], dtype=np.int32)})
    write_model(path, *model)
    good = path.read_bytes()
    rng = random.Random(20240607)
    refused = 0
    for number in range(10_000):
        bad = mutated(good, rng, number)
        write_new(path, bad)
        try:
            read = read_model(path)
        except FileReadError:
            refused += 1
            continue
        assert equal(read, model), (number, bad)
    assert 8_000 < refused < 10_000  # times and the like do not matter


def test_mutations_of_members_with_sums_that_fit_are_refused_or_read(tmp_path):
    path = tmp_path / "small"
    write_model(path, {"cutoff": 5.0, "on": True}, {"w": np.arange(3.0)})
    good = path.read_bytes()
    rng = random.Random(5)
    outcomes = set()
    for number in range(1000):
        write_new(path, good)
        name = ("metadata.json", "arrays/w.npy")[number % 2]
        rebuilt(path, lambda members, name=name, n=number: members.update({name: mutated(members[name], rng, n // 2)}))
        try:
            _, read = read_model(path)
            outcomes.add("read")
            assert all(array.dtype.str in {"<f8", "<f4", "<i8", "<i4"} for array in read.values())
        except FileReadError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_every_truncation_is_refused(model):
    good = model.read_bytes()
    for length in range(len(good)):
        write_new(model, good[:length])
        with pytest.raises(FileReadError):
            read_model(model)


def test_changes_that_the_zip_does_not_notice_are_found(model):
    good = model.read_bytes()

    def other_number(members):
        name = "arrays/weights.npy"
        members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])

    with zipfile.ZipFile(model) as archive:
        sums = archive.read("SHA256SUMS")
    rebuilt(model, lambda members: (other_number(members), members.update({"SHA256SUMS": sums})), sums=False)
    with pytest.raises(FileReadError, match=r"does not agree with its SHA256SUMS\); copy it again"):
        read_model(model)
    for change in (lambda members: members.pop("arrays/scalar.npy"), lambda members: None):
        model.write_bytes(good)
        rebuilt(
            model,
            lambda members, change=change: (change(members), members.update({"SHA256SUMS": sums[:-1]})),
            sums=False,
        )
        with pytest.raises(FileReadError, match="does not agree"):
            read_model(model)


def test_a_file_without_sums_is_refused(model):
    rebuilt(model, sums=False)
    with pytest.raises(FileReadError, match="SHA256SUMS is missing"):
        read_model(model)


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_loading_never_runs_code(model, tmp_path):
    trace = tmp_path / "trace"
    payload = Payload(trace)
    objects = npy(np.array([payload], dtype=object), allow_pickle=True)
    good = model.read_bytes()
    for name, data in {
        "arrays/weights.npy": objects,
        "arrays/more.npy": pickle.dumps(payload),
        "metadata.json": pickle.dumps(payload),
        "__init__.py": b"import os",
    }.items():
        model.write_bytes(good)
        rebuilt(model, lambda members, name=name, data=data: members.update({name: data}))
        with pytest.raises(FileReadError, match="damaged"):
            read_model(model)
    model.write_bytes(pickle.dumps(payload))
    with pytest.raises(FileReadError, match="perhaps a pickle, which would run code"):
        read_model(model)
    assert not trace.exists()
    pickle.loads(pickle.dumps(payload))
    assert trace.exists()  # the payload would have worked


@pytest.mark.parametrize(
    "array",
    [
        npy(np.array(["a"])),
        npy(np.zeros(3, dtype=[("a", "<f8")])),
        npy(np.zeros(3, dtype=">f8")),
        npy(np.zeros(3, dtype=np.complex128)),
        npy(np.zeros((2, 2), order="F")),
        npy(np.zeros(3), version=(2, 0)),
        npy(np.zeros(3))[:-1],
        npy(np.zeros(3)) + b"\0",
        npy(np.zeros(3)).replace(b"(3,)", b"(4,)"),
        npy(np.zeros(3)).replace(b"(3,), ", b"(-3,),"),
        npy(np.zeros(3)).replace(b"(3,),        ", b"(3,True,'x'),"),
        npy(np.zeros(3)).replace(b"{'descr'", b"[('desc'"),
        npy(np.zeros(0)).replace(b"(0,),                ", b"(0,99999999999999999),"),
        npy(np.zeros(3)).replace(b"(3,),                ", b"(9999999999,9999999),"),
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 3000,
        b"\x93NUMPY",
        b"",
    ],
)
def test_arrays_that_castile_does_not_write_are_refused(model, array):
    rebuilt(model, lambda members: members.update({"arrays/x.npy": array}))
    with pytest.raises(FileReadError, match="damaged or cut off"):
        read_model(model)


def test_arrays_as_numpy_writes_them_are_read(model):
    ours = npy(np.arange(3.0))
    rebuilt(model, lambda members: members.update({"arrays/x.npy": ours}))
    if ours == member(model, np.arange(3.0)):  # not so with every version of NumPy
        assert np.array_equal(read_model(model)[1]["x"], np.arange(3.0))


def member(model, array):
    other = model.with_name("other")
    write_model(other, {}, {"x": array})
    with zipfile.ZipFile(other) as archive:
        return archive.read("arrays/x.npy")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"format": "castile model", "format_version": 1, "metadata": {"a": NaN}}',
        b'{"format": "castile model", "format_version": 1, "metadata": {"a": 1e999}}',
        b'{"format": "castile model", "format_version": 1, "metadata": []}',
        b'{"format": "castile model", "format_version": 1}',
        b'{"format": "castile model", "format_version": true, "metadata": {}}',
        b'{"format": "castile model", "format_version": 0, "metadata": {}}',
        b'{"format": "castile model", "format_version": 1.0, "metadata": {}}',
        b'{"format": "castile model", "format_version": 1, "metadata": {"a": "\xff"}}',
    ],
)
def test_metadata_that_castile_does_not_write_are_refused(model, text):
    rebuilt(model, lambda members: members.update({"metadata.json": text}))
    with pytest.raises(FileReadError, match="damaged or cut off"):
        read_model(model)


def test_foreign_files_are_named(tmp_path):
    file = tmp_path / "file"
    for make, message in [
        (lambda: file.write_bytes(npz(np.zeros(3))), r"\.npz file without metadata\.json"),
        (lambda: file.write_text("Si 0 0 0\n"), "something else"),
        (lambda: file.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda: file.write_bytes(b"PK\x03\x04" + bytes(100)), "damaged or cut off"),
        (lambda: zip_of(file, {"metadata.json": '{"format": "chgnet"}'}), "a zip file with other metadata"),
    ]:
        make()
        with pytest.raises(FileReadError, match=message):
            read_model(file)
    with pytest.raises(FileReadError, match="is a directory"):
        read_model(tmp_path)
    with pytest.raises(FileReadError, match="does not exist; check the spelling"):
        read_model(tmp_path / "absent")
    with pytest.raises(FileReadError, match="File name too long"):
        read_model(tmp_path / ("a" * 300))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileReadError, match="not a regular file"):
        read_model(tmp_path / "fifo")


def zip_of(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_compressed_members_are_refused_before_they_are_unpacked(model):
    rebuilt(
        model,
        lambda members: members.update({"arrays/x.npy": npy(np.zeros(10**6))}),
        compression=zipfile.ZIP_DEFLATED,
    )
    assert model.stat().st_size < 10**5
    with pytest.raises(FileReadError, match="is compressed, which Castile never does; was it packed anew"):
        read_model(model)


def test_sizes_larger_than_the_file_are_refused(model):
    data = bytearray(model.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    while place >= 0:  # sizes of every member, in the directory at the end
        data[place + 20 : place + 28] = b"\xf0\xff\xff\x7f" * 2
        place = data.rfind(b"PK\x01\x02", 0, place)
    model.write_bytes(data)
    with pytest.raises(FileReadError, match="more than the file's"):
        read_model(model)


def test_arrays_that_do_not_fit_into_memory_are_refused(model, monkeypatch):
    from castile import _core, _memory

    monkeypatch.setattr(_memory, "_ALWAYS_FITS", 10)
    monkeypatch.setattr(_memory, "_core", type("Core", (), {"available_memory": staticmethod(lambda: 100)}))
    assert _core.available_memory() > 100
    with pytest.raises(FileReadError, match=r"its arrays would take .* only 100 B of memory"):
        read_model(model)


def test_members_that_are_there_twice_are_refused(model):
    with zipfile.ZipFile(model, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("arrays/weights.npy", npy(np.zeros(20)))
    with pytest.raises(FileReadError, match="there twice"):
        read_model(model)


# ---------------------------------------------------------------- versions


def test_newer_files_are_refused_whatever_else_they_hold(model):
    rebuilt(
        model,
        lambda members: (edit_envelope(format_version=2, castile_version="9.1")(members), members.update(new=b"?")),
        sums=False,
    )
    with pytest.raises(FileReadError, match=r"written by Castile 9\.1 in version 2 .* update Castile"):
        read_model(model)


def test_older_files_are_migrated_step_by_step(model, monkeypatch):
    def to_2(metadata, given):
        return {**metadata, "steps": [2]}, given

    def to_3(metadata, given):
        return {**metadata, "steps": [*metadata["steps"], 3]}, {"w": given["weights"]}

    monkeypatch.setattr(_model_file, "FORMAT_VERSION", 3)
    monkeypatch.setattr(_model_file, "_MIGRATIONS", {1: to_2, 2: to_3})
    metadata, read = read_model(model)
    assert metadata == {**METADATA, "steps": [2, 3]}
    assert np.array_equal(read["w"], arrays()["weights"])
    monkeypatch.setattr(_model_file, "_MIGRATIONS", {2: to_3})
    with pytest.raises(FileReadError, match="version 1 of the format, which is no longer read"):
        read_model(model)
    monkeypatch.setattr(_model_file, "_MIGRATIONS", {1: lambda m, a: m["absent"], 2: to_3})
    with pytest.raises(FileReadError, match="absent"):
        read_model(model)


def test_every_older_version_has_its_migration():
    assert set(_model_file._MIGRATIONS) == set(range(1, _model_file.FORMAT_VERSION))
