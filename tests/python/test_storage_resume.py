"""Runs that end too early, in every way, and are resumed: the files are those of a run without a break."""

import json
import shutil

import numpy as np
import pytest
from stream_cases import N_FRAMES, BreakError, assert_complete, break_off, content, make, molecules, stream

import castile
from castile.descriptors import DESCRIPTORS
from castile.errors import InputError
from castile.storage import _header
from castile.storage._staging import staging_folder

pytestmark = pytest.mark.usefixtures("no_sync")


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_a_resumed_run_writes_what_a_run_without_a_break_does(path, kind, cls, sparse):
    descriptor = make(cls, sparse=sparse)
    whole = path.with_name(f"whole{path.suffix}")
    descriptor.transform_to(whole, stream(), chunk_size=3)
    for stop, chunk_size in ((3, 3), (5, 1), (10, 4), (7, None)):
        break_off(path, stop, descriptor)
        descriptor.transform_to(path, stream(), chunk_size=chunk_size, resume=True)
        assert_complete(path, descriptor)
        if kind == "npy":
            for file in path.parent.glob("features*.npy"):
                assert file.read_bytes() == whole.with_name(file.name.replace("features", "whole")).read_bytes()
                file.unlink()
            path.with_name("features.castile.json").unlink()
        else:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_run_may_be_broken_off_many_times(path):
    soap = make(average="outer", dtype="float32")
    break_off(path, 4, soap, chunk_size=2)
    for stop in (5, 6, 6, 9):
        break_off(path, stop, soap, chunk_size=1, resume=True)
    soap.transform_to(path, stream(), resume=True)
    assert_complete(path, soap)


def test_only_frames_that_are_not_written_yet_are_computed(path, monkeypatch):
    soap = make()
    break_off(path, 10)
    computed = []
    original = castile.SOAP._features

    def counted(self, given, progress=False):
        computed.append(given.structures.first_frame)
        return original(self, given, progress)

    monkeypatch.setattr(castile.SOAP, "_features", counted)
    soap.transform_to(path, stream(), chunk_size=1, resume=True)
    assert computed == [0, 9, 10]  # the first chunk, to compare it


def test_with_nothing_to_resume_a_run_begins(path):
    make().transform_to(path, stream(), resume=True)
    assert_complete(path, make())


def test_centers_are_resumed_too(path):
    centers = [[0], None, ["H"], [], *([1, 0] for _ in range(7))]
    soap = make()
    with pytest.raises(BreakError):
        soap.transform_to(path, stream(stop=8), iter(centers), chunk_size=3)
    with pytest.raises(InputError, match=r"frames 3 to 5, or their centers, differ from those that were written"):
        soap.transform_to(path, stream(), iter([*centers[:4], [0], *centers[5:]]), resume=True)
    soap.transform_to(path, stream(), iter(centers), resume=True)
    assert_complete(path, soap, centers)


# ---------------------------------------------------------------- what must agree


def test_an_unfinished_run_is_neither_continued_nor_discarded_unless_asked(tmp_path):
    path = tmp_path / "x.npy"
    break_off(path, 7)
    before = content(tmp_path)
    message = r"partial holds the features of 6 frames, .* with resume=True, or discard it with overwrite=True"
    with pytest.raises(InputError, match=message):
        make().transform_to(path, stream())
    assert content(tmp_path) == before
    make(n_max=2).transform_to(path, stream(), overwrite=True)
    assert_complete(path, make(n_max=2))


CHANGES = [
    ({"cutoff": 3.5}, r"cutoff was 3\.0, now 3\.5"),
    ({"n_max": 4, "normalize": True}, r"n_max was 3, now 4; normalize was False, now True"),
    ({"species": ["H", "C", "N", "O", "S"]}, r"species was \['H', 'C', 'N', 'O'\], now \['H', 'C', 'N', 'O', 'S'\]"),
    ({"dtype": "float32"}, "dtype was 'float64', now 'float32'"),
    ({"sparse": True}, "sparse was False, now True"),
    ({"average": "inner"}, "average was 'off', now 'inner'"),
]


@pytest.mark.parametrize(("options", "message"), CHANGES)
def test_other_parameters_are_refused_by_name(tmp_path, options, message):
    path = tmp_path / "x.npy"
    break_off(path, 7)
    before = content(tmp_path)
    with pytest.raises(InputError, match=rf"x\.npy\.partial was begun differently: {message}; give the same"):
        make(**options).transform_to(path, stream(), resume=True)
    assert content(tmp_path) == before
    make().transform_to(path, stream(), resume=True)
    with pytest.raises(InputError, match=rf"x\.npy was begun differently: {message}"):
        make(**options).transform_to(path, stream(), resume=True)


def test_other_descriptors_formats_versions_and_instruction_sets_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x"
    break_off(path, 7, format="npy")
    with pytest.raises(InputError, match="descriptor was 'SOAP', now 'SphericalExpansion'"):
        make(castile.SphericalExpansion).transform_to(path, stream(), resume=True, format="npy")
    pytest.importorskip("h5py")
    with pytest.raises(InputError, match="format was 'npy', now 'hdf5'"):
        make().transform_to(path, stream(), resume=True, format="hdf5")

    class OtherCore:
        __version__ = "7.0.0"

        @staticmethod
        def instruction_set():
            return "abacus"

    monkeypatch.setattr(_header, "_core", OtherCore)
    now = castile._core.instruction_set()
    message = rf"castile_version was '{castile.__version__}', now '7\.0\.0'; instruction_set was '{now}', now 'abacus'"
    with pytest.raises(InputError, match=message + "; finish it with that version"):
        make().transform_to(path, stream(), resume=True, format="npy")
    monkeypatch.setattr(OtherCore, "__version__", castile.__version__)
    with pytest.raises(InputError, match="set CASTILE_SIMD in the environment to the former"):
        make().transform_to(path, stream(), resume=True, format="npy")


def test_learned_species_must_agree(tmp_path):
    soap = make(species=None).fit(molecules())
    break_off(tmp_path / "x.npy", 7, soap)
    with pytest.raises(InputError, match=r"species was \['H', 'C', 'N', 'O'\], now \['H', 'O'\]"):
        make(species=None).fit(molecules(1)).transform_to(tmp_path / "x.npy", stream(), resume=True)
    make().transform_to(tmp_path / "x.npy", stream(), resume=True)  # given or learned: the same columns


def test_other_values_with_equal_parameters_are_noticed(tmp_path, monkeypatch):
    """As of a function of the user's that was edited in between."""
    break_off(tmp_path / "x.npy", 7)
    original = castile.SOAP._features

    def edited(self, given, progress=False):
        return original(self, given, progress) * (1 + 1e-15)

    monkeypatch.setattr(castile.SOAP, "_features", edited)
    with pytest.raises(InputError, match=r"frames 0 to 2 have other features now .* though all parameters agree"):
        make().transform_to(tmp_path / "x.npy", stream(), resume=True)


@pytest.mark.parametrize("at", [0, 4, 8])
def test_other_frames_are_refused_with_their_numbers(tmp_path, at):
    path = tmp_path / "x.npy"
    break_off(path, 10)
    before = content(tmp_path)

    def moved(atoms):
        atoms.positions[0, 2] += 1e-9

    def other_cell(atoms):
        atoms.cell[2, 2] = 1e-9

    def other_species(atoms):
        atoms.numbers[0] = 1 if atoms.numbers[0] != 1 else 6

    def one_less(atoms):
        del atoms[0]

    first = at - at % 3
    for change in (moved, other_cell, other_species, one_less):
        frames = molecules(N_FRAMES)
        change(frames[at])
        with pytest.raises(InputError, match=rf"frames {first} to {first + 2}, or their centers, differ from those"):
            make().transform_to(path, iter(frames), resume=True)
        assert content(tmp_path) == before
    make().transform_to(path, stream(), resume=True)
    assert_complete(path, make())


def test_fewer_frames_than_are_written_are_refused(tmp_path):
    path = tmp_path / "x.npy"
    break_off(path, 10)
    for n in (0, 3, 8):
        with pytest.raises(InputError, match=rf"frames ended after {n}, but 9 are written .* from the first one on"):
            make().transform_to(path, stream(n), resume=True)
    exhausted = stream(2)
    list(exhausted)
    with pytest.raises(InputError, match=r"frames ended after 0, .* gives its frames only once"):
        make().transform_to(path, exhausted, resume=True)
    make().transform_to(path, stream(9), resume=True)
    assert_complete(path, make(), n_frames=9)


def test_a_finished_run_is_compared_and_returned(path):
    soap = make()
    soap.transform_to(path, stream(), chunk_size=3)
    before = content(path.parent)
    store = soap.transform_to(path, stream(), chunk_size=5, resume=True)
    assert store.n_frames == N_FRAMES
    for frames in (molecules(10), molecules(12), molecules(N_FRAMES)[::-1]):
        with pytest.raises(InputError, match="is finished, but holds the features of other frames or centers"):
            soap.transform_to(path, frames, resume=True)
    with pytest.raises(InputError, match="other frames or centers"):
        soap.transform_to(path, stream(), "H", resume=True)
    assert content(path.parent) == before


def test_the_journal_names_what_the_run_computes(tmp_path):
    """It is text: one can look at it."""
    break_off(tmp_path / "x.npy", 7)
    lines = (staging_folder(tmp_path / "x.npy") / "journal.jsonl").read_text().splitlines()
    header, *commits = [json.loads(line.partition("\t")[0]) for line in lines]
    assert header["descriptor"]["parameters"]["n_max"] == 3
    assert [commit["frames"] for commit in commits] == [3, 6]
    assert commits[1]["rows"]["samples"] == sum(map(len, molecules(6)))


def test_numpy_numbers_as_parameters_agree_with_pythons(tmp_path):
    break_off(tmp_path / "x.npy", 7, make(cutoff=np.float64(3.0), n_max=np.int64(3), normalize=np.bool_(True)))
    make(normalize=True).transform_to(tmp_path / "x.npy", stream(), resume=True)


def test_what_fit_learned_must_agree_also_for_a_finished_run(path):
    soap = make(compression={"species": 1}).fit(molecules(3))
    soap.transform_to(path, stream())
    soap.transform_to(path, stream(), resume=True)
    soap.fit(molecules())
    with pytest.raises(InputError, match=r"what fit learned was .* now .*give the descriptor that was fitted then"):
        soap.transform_to(path, stream(), resume=True)


def test_a_finished_run_with_other_values_is_noticed(path, monkeypatch):
    soap = make(sparse=path.suffix == ".h5")
    soap.transform_to(path, stream())
    wrong = make(**{**soap.get_params(), "sigma": 0.6})._core(soap.species)
    right = castile.SOAP._core
    monkeypatch.setattr(castile.SOAP, "_core", lambda self, species, learned=None: wrong)
    with pytest.raises(InputError, match=r"have other features now than in .*, though all parameters agree"):
        soap.transform_to(path, stream(), resume=True)
    monkeypatch.setattr(castile.SOAP, "_core", right)
    soap.transform_to(path, stream(), resume=True)


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_of_groups_are_stored_and_resumed(path, sparse):
    soap = make(average="inner", sparse=sparse)
    frames = molecules(N_FRAMES)
    groups = [np.arange(len(atoms)) % 2 for atoms in frames]
    break_off(path, 4, soap, groups=groups[:4])
    store = soap.transform_to(path, stream(), groups=iter(groups), resume=True)
    assert store.samples().dtype.names == ("frame", "atom", "species", "group")
    assert np.array_equal(store.samples(), soap.samples(frames, groups=groups))
    X, expected = store.rows(), soap.transform(frames, groups=groups)
    assert np.array_equal(X.toarray() if sparse else X, expected.toarray() if sparse else expected)
    with pytest.raises(InputError, match="groups was True, now False"):
        soap.transform_to(path, stream(), resume=True)


def test_points_may_be_cut_otherwise_when_a_finished_run_is_compared(path):
    frames = molecules(3)
    centers = [[0, 1], np.zeros((2, 3)) + 0.3, np.zeros((1, 3))]
    soap = make()
    store = soap.transform_to(path, frames, centers=centers, chunk_size=1)
    again = soap.transform_to(path, frames, centers=centers, resume=True)
    assert np.array_equal(store.rows(), again.rows())
    moved = [[0, 1], np.zeros((2, 3)) + 0.31, np.zeros((1, 3))]
    with pytest.raises(InputError, match="other frames or centers"):
        soap.transform_to(path, frames, centers=moved, resume=True)
