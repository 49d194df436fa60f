import gzip
import os
import pickle
import stat
import sys

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from scipy import sparse

import castile
from castile.errors import FileReadError, InputError, MissingPackageError
from castile.io import (
    atomic_write,
    describe_descriptor,
    load_features,
    read_frames,
    restore_descriptor,
    save_features,
)


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    frames = [bulk("AlP", "zincblende", a=5.5) for _ in range(5)]
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.1, size=(2, 3))
    return frames


# ---------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "name", ["a.xyz", "a.extxyz", "a.xyz.gz", "a.xyz.bz2", "a.traj", "é – 结构.xyz", "with space.xyz", "a@b.xyz"]
)
def test_all_frames_are_read(tmp_path, frames, name):
    path = tmp_path / name
    ase.io.write(tmp_path / "plain.traj" if name.endswith("traj") else path, frames)
    if name.endswith("traj"):
        (tmp_path / "plain.traj").rename(path)
    found = read_frames(path)
    assert len(found) == 5
    for atoms, expected in zip(found, frames, strict=True):
        np.testing.assert_allclose(atoms.positions, expected.positions, atol=1e-7)
        assert atoms.pbc.all()


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.json", "a.pdb"])
def test_formats_of_one_structure_are_read(tmp_path, name):
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    ase.io.write(tmp_path / name, atoms)
    found = read_frames(str(tmp_path / name))
    assert len(found) == 1
    assert sorted(found[0].symbols) == ["Cl", "Na"]
    np.testing.assert_allclose(found[0].get_volume(), atoms.get_volume(), rtol=1e-4)


@pytest.mark.parametrize("index", [":", "0", "-1", "2", "1:", ":2", "::2", "::-1", "-2:", "1:4:2"])
@pytest.mark.parametrize("name", ["many.xyz", "many.traj"])
def test_index_is_that_of_a_python_list(tmp_path, frames, name, index):
    ase.io.write(tmp_path / name, frames)
    parts = [int(part) if part else None for part in index.split(":")]
    expected = frames[slice(*parts)] if len(parts) > 1 else [frames[parts[0]]]
    found = read_frames(tmp_path / name, index)
    np.testing.assert_allclose([atoms.positions for atoms in found], [atoms.positions for atoms in expected], atol=1e-7)


@pytest.mark.parametrize("index", ["0", "-1", ":1", "::2"])
def test_index_works_for_formats_of_one_structure(tmp_path, index):
    ase.io.write(tmp_path / "POSCAR", bulk("Si"))
    assert len(read_frames(tmp_path / "POSCAR", index)) == 1


def test_a_named_format_overrides_the_name_of_the_file(tmp_path, frames):
    ase.io.write(tmp_path / "data.txt", frames, format="extxyz")
    assert len(read_frames(tmp_path / "data.txt", format="extxyz")) == 5


def _write_half(path, frames):
    ase.io.write(path, frames)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])


def _write_half_gzip(path, frames):
    ase.io.write(path.with_suffix(""), frames, format="extxyz")
    content = gzip.compress(path.with_suffix("").read_bytes())
    path.write_bytes(content[: len(content) // 2])


UNREADABLE = {
    "missing.xyz": (lambda path, frames: None, "does not exist; check the spelling"),
    "no/such/file.xyz": (lambda path, frames: None, "nor does the directory"),
    "directory": (lambda path, frames: path.mkdir(), "is a directory"),
    "empty.xyz": (lambda path, frames: path.touch(), r"is empty \(0 bytes\)"),
    "half.xyz": (_write_half, "damaged or cut off"),
    "half.xyz.gz": (_write_half_gzip, "damaged or cut off"),
    "half.traj": (_write_half, "damaged or cut off"),
    "words.xyz": (lambda path, frames: path.write_text("Lorem ipsum\n"), "damaged or cut off"),
    "words.unknown": (lambda path, frames: path.write_text("Lorem ipsum\n"), "ASE does not know its format"),
    "program.py": (lambda path, frames: path.write_text("1\n"), "ASE does not know its format"),
    "binary.xyz": (lambda path, frames: path.write_bytes(bytes(range(256))), "damaged or cut off"),
    "wörter.cif": (lambda path, frames: path.write_text("data_x\n"), "cannot read|holds no structures"),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # some of ASE's readers leave the broken file open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_cannot_be_read_is_named_with_reason_and_remedy(tmp_path, frames, name):
    prepare, message = UNREADABLE[name]
    path = tmp_path / name
    prepare(path, frames)
    with pytest.raises(FileReadError, match=message) as caught:
        read_frames(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_an_unknown_format_name_is_refused(tmp_path, frames):
    ase.io.write(tmp_path / "a.xyz", frames)
    with pytest.raises(FileReadError, match=r"no format 'xzy'.*ase info --formats"):
        read_frames(tmp_path / "a.xyz", format="xzy")


@pytest.mark.parametrize("index", ["", "x", "1.5", "1:2:3:4", "::0"])
def test_an_index_that_is_no_slice_is_refused(tmp_path, index):
    with pytest.raises(InputError, match="index must be an integer or a slice"):
        read_frames(tmp_path / "a.xyz", index)


def test_an_index_that_selects_nothing_is_an_error(tmp_path, frames):
    ase.io.write(tmp_path / "a.xyz", frames)
    with pytest.raises(InputError, match="selects no structure"):
        read_frames(tmp_path / "a.xyz", "10:20")


@pytest.mark.parametrize("pack", [None, gzip.compress])
def test_an_xyz_file_that_ends_within_a_line_is_suspicious(tmp_path, frames, pack):
    path = tmp_path / "a.xyz"
    ase.io.write(path, frames)
    content = path.read_bytes()[:-3]
    path = path.with_suffix(".xyz.gz") if pack else path
    path.write_bytes(pack(content) if pack else content)
    with pytest.warns(UserWarning, match=rf"{path.name} does not end with a newline") as warned:
        assert len(read_frames(path)) == 5
    assert warned[0].filename == __file__


def test_a_compressed_file_is_unpacked_once(tmp_path, frames, monkeypatch):
    ase.io.write(tmp_path / "a.xyz", frames)
    path = tmp_path / "a.xyz.gz"
    path.write_bytes(gzip.compress((tmp_path / "a.xyz").read_bytes()))
    opened = []

    def counted(self, *arguments, **keywords):
        opened.append(arguments)
        original(self, *arguments, **keywords)

    original = gzip.GzipFile.__init__
    monkeypatch.setattr(gzip.GzipFile, "__init__", counted)
    monkeypatch.setattr(gzip.GzipFile, "rewind", None)
    assert len(read_frames(path)) == 5
    assert len(opened) == 1


# ---------------------------------------------------------------------- writing


def names(directory):
    return sorted(os.listdir(directory))


def test_a_file_appears_only_when_complete(tmp_path):
    with atomic_write(tmp_path / "a") as file:
        file.write(b"half")
        assert "a" not in names(tmp_path)
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_an_interruption_leaves_nothing_new_and_the_old_file_whole(tmp_path, error):
    (tmp_path / "old").write_text("old")
    for name in ("old", "new"):
        with pytest.raises(type(error)), atomic_write(tmp_path / name, overwrite=True) as file:  # noqa: PT012
            file.write(b"half")
            raise error
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_an_existing_file_is_replaced_only_if_allowed(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(InputError, match="--overwrite"), atomic_write(path):
        pass
    assert path.read_text() == "old"
    with atomic_write(path, overwrite=True) as file:
        file.write(b"new")
    assert path.read_text() == "new"


def test_a_file_that_another_process_made_meanwhile_is_kept(tmp_path):
    with pytest.raises(InputError, match="exists"), atomic_write(tmp_path / "a"):
        (tmp_path / "a").write_text("faster")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "faster"


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link", overwrite=True) as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").touch()
    with atomic_write(tmp_path / "a"):
        pass
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "ordinary")}
    assert len(modes) == 1


def test_places_that_cannot_be_written_to_are_refused(tmp_path):
    for path, message in ((os.devnull, "not a regular file"), (tmp_path, "regular"), (tmp_path / "b/a", "directory")):
        with pytest.raises(InputError, match=message), atomic_write(path, overwrite=True):
            pass


@pytest.mark.parametrize("package", ["netCDF4", "ase.io.netcdftrajectory"])
def test_a_package_that_ase_needs_for_a_format_is_named(tmp_path, monkeypatch, package):
    (tmp_path / "a.nc").write_bytes(b"CDF")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"ASE lacks a package to read .* as netcdftrajectory \(.*\): pip"):
        read_frames(tmp_path / "a.nc", format="netcdftrajectory")


# ---------------------------------------------------------------------- features


@pytest.mark.parametrize("is_sparse", [False, True])
def test_features_come_back_as_they_were_saved(tmp_path, frames, is_sparse):
    soap = castile.SOAP(4.0, 3, 2, sparse=is_sparse, dtype="float32")
    features, samples = soap.fit_transform(frames), soap.samples(frames)
    jacobian = soap.jacobian(frames)
    save_features(tmp_path / "a.npz", features, samples, soap, jacobian)
    found = load_features(tmp_path / "a.npz")
    if is_sparse:
        assert isinstance(found.features, sparse.csr_array)
        np.testing.assert_array_equal(sparse.load_npz(tmp_path / "a.npz").toarray(), features.toarray())
        features, found_features = features.toarray(), found.features.toarray()
    else:
        found_features = found.features
    assert found_features.dtype == np.float32
    np.testing.assert_array_equal(found_features, features)
    np.testing.assert_array_equal(found.samples, samples)
    np.testing.assert_array_equal(found.feature_names, soap.get_feature_names_out())
    np.testing.assert_array_equal(found.jacobian.to_dense(), jacobian.to_dense())
    np.testing.assert_array_equal(found.jacobian.strain, jacobian.strain)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_feature_file_prints_short(tmp_path, frames, is_sparse):
    soap = castile.SOAP(4.0, 3, 2, sparse=is_sparse).fit(frames)
    X, samples, jacobian = soap.transform(frames), soap.samples(frames), soap.jacobian(frames)
    form = "float64, sparse" if is_sparse else "float64"
    for given, words in ((None, "no Jacobian"), (jacobian, str(jacobian).splitlines()[0])):
        save_features(tmp_path / "a.npz", X, samples, soap, given, overwrite=True)
        found = load_features(tmp_path / "a.npz")
        expected = f"<FeatureFile: 10 rows x {X.shape[1]} features ({form}) of SOAP for Al P, {words}>"
        assert repr(found) == str(found) == expected
    soap.jacobian(frames, out=found.jacobian)
    assert "<Jacobian: empty" in repr(found)


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), float, np.float64, np.dtype("float64")])
def test_a_precision_given_as_a_type_is_described_by_its_name(tmp_path, frames, dtype):
    soap = castile.SOAP(4.0, 3, 2, dtype=dtype).fit(frames)
    name = np.dtype(dtype).name
    assert describe_descriptor(soap) == describe_descriptor(castile.SOAP(4.0, 3, 2, dtype=name).fit(frames))
    save_features(tmp_path / "a.npz", soap.transform(frames), soap.samples(frames), soap)
    again = restore_descriptor(load_features(tmp_path / "a.npz").descriptor)
    assert again.dtype == name
    np.testing.assert_array_equal(again.transform(frames), soap.transform(frames))
    store = soap.transform_to(tmp_path / "a.npy", frames)
    assert store.dtype == np.dtype(dtype)
    soap.set_params(dtype=name).transform_to(tmp_path / "a.npy", frames, resume=True)


def test_the_stored_parameters_make_an_equal_descriptor(tmp_path, frames):
    for species in (None, ["P", "Al"], [15, 13, 14]):
        soap = castile.SOAP(4.0, 3, 2, species=species, average="outer", cutoff_function="polynomial")
        features = soap.fit_transform(frames)
        save_features(tmp_path / "a.npz", features, soap.samples(frames), soap, overwrite=True)
        stored = load_features(tmp_path / "a.npz").descriptor
        again = getattr(castile, stored["name"])(**stored["parameters"])
        np.testing.assert_array_equal(again.transform(frames), features)


def test_files_of_another_kind_are_refused(tmp_path, frames):
    soap = castile.SOAP(4.0, 3, 2)
    save_features(tmp_path / "good.npz", soap.fit_transform(frames), soap.samples(frames), soap)
    content = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.npz").write_text("Lorem ipsum")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("half.npz", "text.npz", "other.npz", "missing.npz", "array.npy"):
        with pytest.raises(FileReadError, match=name) as caught:
            load_features(tmp_path / name)
        assert "pickle" not in str(caught.value)
    (tmp_path / "text.npz").write_bytes(pickle.dumps({"features": [1.0]}))
    np.savez(tmp_path / "half.npz", castile_format=1, frame=np.array([None]), atom=[0])
    for name in ("half.npz", "text.npz"):
        with pytest.raises(FileReadError, match=r"not an \.npz file that castile describe wrote, or it is damaged"):
            load_features(tmp_path / name)


def test_a_file_of_a_later_version_asks_for_an_update(tmp_path):
    np.savez(tmp_path / "a.npz", castile_format=99, castile_version="9.0.0")
    with pytest.raises(FileReadError, match=r"Castile 9\.0\.0; update"):
        load_features(tmp_path / "a.npz")


def test_molecules_and_frames_of_different_sizes_are_stored(tmp_path):
    frames = [molecule("H2O"), molecule("CH4")]
    soap = castile.SOAP(3.0, 2, 1)
    save_features(tmp_path / "a.npz", soap.fit_transform(frames), soap.samples(frames), soap)
    found = load_features(tmp_path / "a.npz")
    assert found.samples["species"].tolist() == ["O", "H", "H", "C", "H", "H", "H", "H"]
    assert found.jacobian is None


def test_groups_of_rows_are_stored(tmp_path):
    atoms = molecule("CH3OH")
    soap = castile.SOAP(cutoff=3.0, n_max=2, l_max=1, average="inner", species=["H", "C", "O"])
    groups = [0, 1, 1, 0, 2, 2]
    path = tmp_path / "groups.npz"
    samples = soap.samples(atoms, groups=groups)
    save_features(path, soap.transform(atoms, groups=groups), samples, soap)
    assert np.array_equal(load_features(path).samples, samples)
    assert load_features(path).samples["group"].tolist() == [0, 1, 2]
