"""Features written straight to disk: what is in the files."""

import json
import os
import pickle
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp
from checks import same_bits
from stream_cases import content, make, molecules, run_script

import castile
from castile import storage
from castile.descriptors import DESCRIPTORS
from castile.errors import FileReadError
from castile.storage import _groups

pytestmark = pytest.mark.usefixtures("no_sync")


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("average", ["off", "inner"])
def test_rows_samples_and_metadata_are_those_of_the_descriptor(path, kind, average, sparse):
    frames = molecules(11)
    for cls, dtype in ((DESCRIPTORS[0], "float64"), (DESCRIPTORS[1], "float32")):
        descriptor = make(cls, average=average, sparse=sparse, dtype=dtype)
        X, rows = descriptor.transform(frames), descriptor.samples(frames)
        returned = descriptor.transform_to(path, iter(frames), chunk_size=4, overwrite=True)
        for store in (returned, storage.open_features(str(path)), pickle.loads(pickle.dumps(returned))):
            assert same_bits(store.rows(), X)
            assert same_bits(store.samples(), rows)
            assert (store.shape, len(store), store.dtype, store.sparse) == (
                X.shape,
                len(rows),
                dtype,
                sparse,
            )
            assert (store.format, store.n_frames, store.castile_version) == (kind, 11, castile.__version__)
            assert list(store.feature_names) == list(descriptor.get_feature_names_out())
            assert store.descriptor["name"] == cls.__name__
            assert same_bits(cls(**store.descriptor["parameters"]).transform(frames), X)
            assert str(path) in repr(store)


def test_any_rows_can_be_read_alone(path):
    frames = molecules()
    for sparse in (False, True):
        soap = make(sparse=sparse)
        store = soap.transform_to(path, frames, chunk_size=2, overwrite=True)
        X, rows = soap.transform(frames), soap.samples(frames)
        n = len(store)
        for start, stop in ((0, 1), (3, 11), (n - 2, n), (5, 5), (9, 4), (-3, None), (None, 4), (2, 10**9), (n, None)):
            assert same_bits(store.rows(start, stop), X[start:stop])
            assert same_bits(store.samples(start, stop), rows[start:stop])


def test_numpy_reads_the_npy_files_without_castile(tmp_path):
    frames = molecules()
    for sparse in (False, True):
        soap = make(sparse=sparse)
        soap.transform_to(tmp_path / "soap.v1.npy", iter(frames), chunk_size=3, overwrite=True)
        main = np.load(tmp_path / "soap.v1.npy", mmap_mode="r", allow_pickle=False)
        assert isinstance(main, np.memmap)
        if sparse:
            parts = (np.load(tmp_path / f"soap.v1.{name}.npy", mmap_mode="r") for name in ("indices", "indptr"))
            X = sp.csr_array((main, *parts))
            assert same_bits(X.toarray(), soap.transform(frames).toarray())
        else:
            assert same_bits(main, soap.transform(frames))
        assert same_bits(np.load(tmp_path / "soap.v1.samples.npy"), soap.samples(frames))
        metadata = json.loads((tmp_path / "soap.v1.castile.json").read_text())
        assert metadata["descriptor"]["parameters"]["cutoff"] == 3.0
        names = {f"soap.v1.{name}" for name in ("npy", "samples.npy", "castile.json")}
        names |= {f"soap.v1.{name}.npy" for name in ("indices", "indptr")} if sparse else set()
        assert set(os.listdir(tmp_path)) == names
    make().transform_to(tmp_path / "soap.v1.npy", frames, overwrite=True)
    assert not (tmp_path / "soap.v1.indices.npy").exists(), "a part of the file that was replaced is still there"


def test_h5py_and_zarr_read_their_files_without_castile(tmp_path):
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    frames = molecules()
    for sparse in (False, True):
        soap = make(sparse=sparse)
        X, rows = soap.transform(frames), soap.samples(frames)
        for ending in ("h5", "zarr"):
            soap.transform_to(tmp_path / f"x.{ending}", frames, overwrite=True)
            file = str(tmp_path / f"x.{ending}")
            group = h5py.File(file) if ending == "h5" else zarr.open_group(file, mode="r")
            if sparse:
                for name in ("data", "indices", "indptr"):
                    assert np.array_equal(group[f"features/{name}"][:], getattr(X, name))
            else:
                assert same_bits(group["features"][:], X)
            assert np.array_equal(group["samples/frame"][:], rows["frame"])
            assert np.array_equal(group["samples/atom"][:], rows["atom"])
            species = group["samples/species"][:]
            assert np.array_equal(species.astype("U2") if ending == "h5" else species, rows["species"])
            metadata = json.loads(group["castile"][()]) if ending == "h5" else group.attrs["castile"]
            assert metadata["feature_names"] == list(soap.get_feature_names_out())
            if ending == "h5":
                group.close()


@pytest.mark.parametrize("centers", ["H", None, "entries"])
def test_centers_are_those_that_were_asked_for(path, centers):
    frames, soap = molecules(), make()
    entries = [[0], None, ["C", "H"], np.zeros(0, dtype=int), [1], [-1], [1, 0]]
    centers = entries if centers == "entries" else centers
    store = soap.transform_to(path, iter(frames), iter(entries) if centers is entries else centers, chunk_size=2)
    assert same_bits(store.rows(), soap.transform(frames, centers))
    assert same_bits(store.samples(), soap.samples(frames, centers))


def test_no_row_at_all_is_a_result_too(path):
    for sparse in (False, True):
        store = make(sparse=sparse).transform_to(path, molecules(3), [[], [], []], overwrite=True)
        assert store.rows().shape == store.shape == (0, len(store.feature_names))
        assert len(store.samples()) == 0


def test_the_bytes_do_not_depend_on_chunks_or_threads(tmp_path):
    soap = make()
    for name, chunk_size, n_threads in (("a", 1, 1), ("b", 5, 2), ("c", None, 2)):
        (tmp_path / name).mkdir()
        with castile.threads(n_threads):
            soap.transform_to(tmp_path / name / "x.npy", molecules(), chunk_size=chunk_size)
    reference = content(tmp_path / "a")
    for name in ("b", "c"):
        own = content(tmp_path / name)
        assert own.keys() == reference.keys()
        assert all(own[file] == reference[file] for file in reference if file.endswith(".npy"))


# ---------------------------------------------------------------- reading


def test_what_is_no_finished_output_is_refused_with_the_remedy(path, kind):
    with pytest.raises(FileReadError, match="does not exist; check the spelling"):
        storage.open_features(path)
    path.with_name(f"{path.name}.partial").mkdir()
    with pytest.raises(FileReadError, match=r"is not finished: .*partial holds what is done; .*resume=True"):
        storage.open_features(path)
    other = path.with_name("other.npy")
    np.save(other, np.zeros(3))
    with pytest.raises(FileReadError, match=r"other\.castile\.json is missing"):
        storage.open_features(other)
    text = path.with_name("text.npy")
    text.write_text("not an array")
    with pytest.raises(FileReadError, match="no file that transform_to wrote"):
        storage.open_features(text)


def test_damaged_and_newer_files_are_refused(tmp_path):
    make().transform_to(tmp_path / "x.npy", molecules())
    file = tmp_path / "x.castile.json"
    metadata = json.loads(file.read_text())
    file.write_text(json.dumps({**metadata, "castile_format": 2, "castile_version": "7.0"}))
    with pytest.raises(FileReadError, match=r"written by Castile 7\.0; update Castile"):
        storage.open_features(tmp_path / "x.npy")
    for text in ("{}", "[]", "{", '{"castile_format": 1}'):
        file.write_text(text)
        with pytest.raises(FileReadError, match="cannot read"):
            storage.open_features(tmp_path / "x.npy")
    file.write_text(json.dumps(metadata))
    store = storage.open_features(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(FileReadError, match="cannot read features of"):
        store.rows()


def test_groups_that_others_wrote_are_refused(tmp_path):
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["features"] = np.zeros(3)
    zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    (tmp_path / "folder").mkdir()
    for name in ("x.h5", "x.zarr"):
        with pytest.raises(FileReadError, match="was not written by transform_to"):
            storage.open_features(tmp_path / name)
    with pytest.raises(FileReadError, match="cannot read"):
        storage.open_features(tmp_path / "folder")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "x.h5").read_bytes()[:100])
    with pytest.raises(FileReadError, match="cannot read"):
        storage.open_features(tmp_path / "cut.h5")


def test_large_arrays_are_copied_block_by_block(path, monkeypatch):
    monkeypatch.setattr(_groups, "_BLOCK_BYTES", 3000)
    frames = molecules(20)
    for sparse in (False, True):
        soap = make(sparse=sparse)
        store = soap.transform_to(path, frames, overwrite=True)
        assert same_bits(store.rows(), soap.transform(frames))
        assert same_bits(store.rows(7, 23), soap.transform(frames)[7:23])


def test_importing_castile_leaves_the_storage_packages_alone():
    script = textwrap.dedent("""
        import sys, tempfile, castile
        from ase.build import molecule
        castile.storage
        soap = castile.SOAP(species=["H", "O"], n_max=2, l_max=1)
        soap.transform_to(tempfile.mkdtemp() + "/x.npy", [molecule("H2O")])
        print([name for name in ("h5py", "zarr", "dask") if name in sys.modules])
    """)
    assert run_script(script).stdout.strip() == "[]"
