"""Features of a stream of frames, chunk by chunk."""

import gc
import weakref

import numpy as np
import pytest
import scipy.sparse as sp
from ase import Atoms
from ase.build import bulk
from checks import dense, same_bits
from named_structures import several_frames
from stream_cases import SPECIES, make, molecules

import castile
from castile.descriptors import DESCRIPTORS, _streaming
from castile.errors import InputError, InputTypeError, NotFittedError, UnknownSpeciesError
from castile.structures import as_structure_arrays


def joined(chunks):
    """Features and samples of all chunks."""
    chunks = list(chunks)
    features = [chunk.features for chunk in chunks]
    stack = sp.vstack(features, format="csr") if sp.issparse(features[0]) else np.concatenate(features)
    return stack, np.concatenate([chunk.samples for chunk in chunks])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("average", ["off", "inner", "outer"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_chunks_put_together_are_what_transform_returns(cls, average, sparse):
    frames = [*several_frames(), *molecules()]
    for dtype in ("float64", "float32"):
        descriptor = make(cls, species=SPECIES, average=average, sparse=sparse, dtype=dtype)
        X, rows = descriptor.transform(frames), descriptor.samples(frames)
        for chunk_size in (1, 2, 5, 1000, None):
            chunks = list(descriptor.iter_transform(iter(frames), chunk_size=chunk_size))
            assert {type(chunk.features) for chunk in chunks} == {type(X)}
            features, samples = joined(chunks)
            assert same_bits(dense(features), dense(X))
            assert same_bits(samples, rows)
            assert [k for chunk in chunks for k in chunk.frames] == list(range(len(frames)))
            if chunk_size is not None:
                assert [len(chunk.frames) for chunk in chunks[:-1]] == [chunk_size] * (len(chunks) - 1)


@pytest.mark.parametrize("chunk_size", [1, 3, None])
def test_centers_may_come_from_an_iterator_too(chunk_size):
    frames, soap = molecules(), make()
    masks = [atoms.numbers > 1 for atoms in frames]
    entries = [[0], None, ["C", "H"], masks[3], np.zeros(0, dtype=int), [-1], [1, 0]]
    for centers in ("H", None, entries, iter(entries), (entry for entry in entries)):
        again = entries if not isinstance(centers, (str, type(None))) else centers
        X, samples = joined(soap.iter_transform(iter(frames), centers, chunk_size=chunk_size))
        assert same_bits(X, soap.transform(frames, again))
        assert same_bits(samples, soap.samples(frames, again))


def test_every_form_of_frames_that_transform_takes():
    pandas = pytest.importorskip("pandas")
    frames, soap = molecules(3), make()
    X = soap.transform(frames)
    table = pandas.Series(frames, index=["a", "b", "c"])
    for given in (frames, tuple(frames), iter(frames), table, {0: frames[0], 1: frames[1], 2: frames[2]}.values()):
        assert same_bits(joined(soap.iter_transform(given, chunk_size=2))[0], X)
    one = frames[2]
    assert same_bits(joined(soap.iter_transform(one))[0], soap.transform(one))
    assert same_bits(joined(soap.iter_transform(one, [0, 1]))[0], soap.transform(one, [0, 1]))
    assert same_bits(joined(soap.iter_transform([one], ["H"]))[0], soap.transform([one], ["H"]))


def test_frames_are_taken_when_they_are_needed_and_not_kept():
    alive, taken = [], 0

    def stream():
        nonlocal taken
        for atoms in molecules(60):
            taken += 1
            frame = atoms.copy()
            alive.append(weakref.ref(frame))
            yield frame

    chunks = make().iter_transform(stream(), chunk_size=4)
    assert taken == 0
    for number, _ in enumerate(chunks, start=1):
        assert taken == min(4 * number, 60)
        gc.collect()
        assert sum(reference() is not None for reference in alive) <= 4


def test_chunks_of_no_given_size_are_bounded_by_atoms_and_by_bytes(monkeypatch):
    frames = molecules(40)
    monkeypatch.setattr(_streaming, "_CHUNK_ATOMS", 20)
    largest = max(map(len, frames))
    for average in ("off", "inner"):
        sizes = [sum(len(frames[k]) for k in c.frames) for c in make(average=average).iter_transform(frames)]
        assert all(20 <= size < 20 + largest for size in sizes[:-1])
        assert len(sizes) > 5
    monkeypatch.setattr(_streaming, "_CHUNK_ATOMS", 10**6)
    row = make().transform(molecules(1)).nbytes // 3
    monkeypatch.setattr(_streaming, "_CHUNK_BYTES", 10 * row)
    for average, rows_of in (("off", largest), ("inner", 1)):
        sizes = [len(c.features) for c in make(average=average).iter_transform(frames)]
        assert all(10 <= size < 10 + rows_of for size in sizes[:-1])
    monkeypatch.setattr(_streaming, "_CHUNK_ATOMS", 8)
    empty = list(make().iter_transform(Atoms() for _ in range(30)))
    assert [len(chunk.frames) for chunk in empty] == [8, 8, 8, 6]


def test_arguments_are_checked_before_the_first_chunk_is_asked_for():
    frames = molecules(2)
    for chunk_size in (0, -3):
        with pytest.raises(InputError, match="chunk_size must be 1 or more"):
            make().iter_transform(frames, chunk_size=chunk_size)
    for chunk_size in (1.5, True, "2"):
        with pytest.raises(InputTypeError, match="chunk_size must be an integer"):
            make().iter_transform(frames, chunk_size=chunk_size)
    with pytest.raises(NotFittedError, match="does not know its species"):
        make(species=None).iter_transform(frames)
    with pytest.raises(InputError, match="cutoff must be a positive length"):
        make(cutoff=-1.0).iter_transform(frames)
    for thing in ("trajectory.xyz", 3, None, {"a": frames[0]}):
        with pytest.raises(InputTypeError, match=r"frames must be ase\.Atoms or a sequence"):
            make().iter_transform(thing)
    with pytest.raises(InputTypeError, match="centers must be None, a symbol or an iterable"):
        make().iter_transform(frames, 3)
    with pytest.raises(InputError, match=r"centers must have one entry per frame \(2\), got 3"):
        make().iter_transform(frames, [None] * 3)


@pytest.mark.parametrize("chunk_size", [1, 2, 4, 100, None])
def test_errors_name_the_frame_by_its_number_in_the_stream(chunk_size):
    def broken(change):
        for k, atoms in enumerate(molecules(9)):
            yield change(atoms) if k == 5 else atoms

    def changed(**attributes):
        def change(atoms):
            for name, value in attributes.items():
                setattr(atoms, name, value)
            return atoms

        return change

    cases = [
        (lambda atoms: "frame.xyz", InputTypeError, r"frames\[5\] must be an ase\.Atoms"),
        (lambda atoms: None, InputTypeError, r"frames\[5\] must be an ase\.Atoms"),
        (changed(positions=np.full((2, 3), np.nan)), InputError, "position of atom 0 of frame 5 is not finite"),
        (changed(pbc=True), InputError, "frame 5 is periodic along axis 0 but has no cell vector"),
        (changed(cell=np.full((3, 3), np.inf)), InputError, "the cell of frame 5 is not finite"),
        (changed(cell=np.ones((3, 3)), pbc=True), InputError, "cell vectors of frame 5 span no volume"),
        (changed(numbers=[700, 1]), InputError, "atom 0 of frame 5 has atomic number 700"),
        (changed(symbols="XeH"), UnknownSpeciesError, "frame 5: SOAP knows the species .* also hold Xe"),
    ]
    for change, error, message in cases:
        seen = []
        chunks = make().iter_transform(broken(change), chunk_size=chunk_size)
        with pytest.raises(error, match=message):
            seen.extend(k for chunk in chunks for k in chunk.frames)
        assert len(seen) == (0 if chunk_size in (100, None) else 5 - 5 % chunk_size)
    entries = [[0]] * 5 + [[9]] + [[0]] * 3
    with pytest.raises(InputError, match=r"centers\[5\] holds index 9, but frame 5 has 2 atoms"):
        list(make().iter_transform(iter(molecules(9)), entries, chunk_size=chunk_size))


def test_parts_of_a_stream_know_where_they_begin():
    arrays = as_structure_arrays(molecules(5), 100)
    assert (arrays.first_frame, arrays.slice(2, 4).first_frame) == (100, 102)


@pytest.mark.parametrize("chunk_size", [1, 3, None])
def test_centers_of_another_length_than_the_frames_are_refused(chunk_size):
    for frames in (molecules(6), iter(molecules(6))):
        with pytest.raises(InputError, match="centers ends after 5 entries, but there are more frames"):
            list(make().iter_transform(frames, iter([None] * 5), chunk_size=chunk_size))
    with pytest.raises(InputError, match=r"more entries than there are frames \(6\)"):
        list(make().iter_transform(iter(molecules(6)), [None] * 7, chunk_size=chunk_size))
    with pytest.raises(InputError, match="frame 0 is the bare symbol 'H'; write centers='H' for one species"):
        list(make().iter_transform(iter(molecules(6)), ["H"] * 6, chunk_size=chunk_size))


def test_an_empty_or_exhausted_iterator_is_an_error():
    stream = iter(molecules(2))
    list(make().iter_transform(stream))
    for frames in ([], iter(()), stream):
        with pytest.raises(InputError, match=r"frames is empty.*gives its frames only once"):
            list(make().iter_transform(frames))


def test_an_error_of_the_generator_comes_through():
    def failing():
        yield bulk("Si")
        raise OSError(5, "the tape is torn")

    with pytest.raises(OSError, match="the tape is torn") as caught:
        list(make().iter_transform(failing()))
    assert not isinstance(caught.value, castile.CastileError)


@pytest.mark.parametrize("known", [True, False])
def test_a_progress_bar_is_drawn_also_when_the_number_of_frames_is_unknown(capfd, known):
    frames = molecules(6)
    list(make().iter_transform(frames if known else iter(frames), chunk_size=2, progress=True))
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "SOAP" in shown.err
    assert ("6/6" if known else "6/?") in shown.err


def test_chunks_are_bounded_by_points_and_by_groups_too(monkeypatch):
    frames = molecules(20)
    soap = make()
    points = [np.random.default_rng(k).normal(size=(50, 3)) for k in range(20)]
    monkeypatch.setattr(_streaming, "_CHUNK_BYTES", 120 * soap._core(soap.species).n_features * 8)
    sizes = [len(chunk.features) for chunk in soap.iter_transform(frames, centers=points)]
    assert sizes == [150] * 6 + [100]
    monkeypatch.setattr(_streaming, "_CHUNK_BYTES", 6 * soap._core(soap.species).n_features * 8)
    groups = [np.arange(len(atoms)) % 2 for atoms in frames]
    sizes = [len(chunk.features) for chunk in make(average="inner").iter_transform(frames, groups=groups)]
    assert max(sizes) <= 7
    sizes = [len(chunk.features) for chunk in make(average="inner_per_species").iter_transform(frames)]
    assert max(sizes) <= 8
    monkeypatch.setattr(_streaming, "_CHUNK_ATOMS", 100)
    sizes = [len(chunk.features) for chunk in make(average="inner").iter_transform(frames, centers=points)]
    assert sizes == [2] * 10


@pytest.mark.parametrize("streamed", [False, True])
def test_entries_that_are_no_arrays_are_refused_by_name(streamed):
    def call(descriptor, **entries):
        frames = molecules(2)
        if streamed:
            return list(descriptor.iter_transform(frames, **entries))
        return descriptor.transform(frames, **entries)

    with pytest.raises(InputTypeError, match=r"centers\[1\] must hold atom indices"):
        call(make(), centers=[[0], [[0, 1], [2]]])
    for wrong in ([0, [1], 2], [0, "a", None], None, [0.5, 1.0, 2.0]):
        with pytest.raises(InputTypeError, match=r"groups\[1\] must hold integer labels"):
            call(make(average="inner"), groups=[[0, 0, 0], wrong])
    if streamed:
        with pytest.raises(InputTypeError, match=r"groups\[1\] must hold integer labels"):
            list(make(average="inner").iter_transform(molecules(2), groups=[[0, 0, 0], "abcde"], chunk_size=1))
