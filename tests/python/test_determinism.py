"""The same bits for any number of threads and any batching."""

import numpy as np
import pytest
from ase import Atoms
from checks import same_bits
from named_structures import STRUCTURES, several_frames

import castile
from castile.descriptors import DESCRIPTORS, _input

AVERAGES = ["off", "inner", "outer"]
SPECIES = ["H", "C", "N", "O", "Mg", "Si", "S", "Cu", "Zn", "Mo"]


def crystal(n=3):
    """A rattled crystal with enough atoms for several blocks of centers."""
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3) * 2.4
    positions = grid + rng.uniform(-0.4, 0.4, grid.shape)
    return Atoms(rng.choice(["O", "Si", "Mg"], len(grid)), positions=positions, cell=np.eye(3) * 2.4 * n, pbc=True)


def all_frames():
    return [*several_frames(), crystal(4), STRUCTURES["triclinic"](), STRUCTURES["five_species"]()]


def make(cls, **options):
    sizes = {"cutoff": 3.4, "n_max": 4, "l_max": 3, "sigma": 0.5, "species": SPECIES, "degrees": (2, 4, 4), "degree": 5}
    names = cls._get_param_names()
    return cls(**{name: value for name, value in {**sizes, **options}.items() if name in names})


def cotangent_of(descriptor, frames):
    n_features = len(descriptor.get_feature_names_out())
    n_rows = len(descriptor.samples(frames))
    return np.cos(np.arange(float(n_rows * n_features))).reshape(n_rows, n_features)


def tangents_of(frames):
    n_atoms = sum(map(len, frames))
    positions = np.sin(np.arange(3.0 * n_atoms)).reshape(n_atoms, 3)
    return positions, np.cos(np.arange(9.0 * len(frames))).reshape(len(frames), 3, 3)


def everything(cls, frames, **options):
    """All results of a descriptor by name."""
    descriptor = make(cls, **options)
    results = {"transform": descriptor.transform(frames)}
    sparse = make(cls, **options, sparse=True).transform(frames)
    results.update(data=sparse.data, indices=sparse.indices, indptr=sparse.indptr)
    g = descriptor.vjp(frames, cotangent_of(descriptor, frames))
    results.update(positions=g.positions, strain=g.strain)
    results["jvp"] = descriptor.jvp(frames, *tangents_of(frames))
    J = descriptor.jacobian(frames)
    results["jacobian strain"] = J.strain
    for k, group in enumerate(J.groups):
        for part in ("columns", "values", "row", "frame", "atom"):
            results[f"group {k} {part}"] = getattr(group, part)
    return results


def assert_same_bits(results, expected):
    assert results.keys() == expected.keys()
    different = [name for name in expected if not same_bits(results[name], expected[name])]
    assert not different


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_bits_are_the_same_for_1_2_and_4_threads(cls, average, normalize, dtype):
    frames = [*several_frames(), crystal()]
    options = {"average": average, "normalize": normalize, "dtype": dtype}
    with castile.threads(1):
        expected = everything(cls, frames, **options)
    for n_threads in (2, 4, 4):
        with castile.threads(n_threads):
            assert_same_bits(everything(cls, frames, **options), expected)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_bits_are_the_same_for_any_batching_of_frames(cls, average, normalize):
    frames = all_frames()
    descriptor = make(cls, average=average, normalize=normalize)
    sparse = make(cls, average=average, normalize=normalize, sparse=True)
    X, S = descriptor.transform(frames), sparse.transform(frames)
    cotangent = cotangent_of(descriptor, frames)
    g = descriptor.vjp(frames, cotangent)
    velocities, rates = tangents_of(frames)
    t = descriptor.jvp(frames, velocities, rates)
    J = descriptor.jacobian(frames)
    dense = J.to_dense()
    frame_of_row = descriptor.samples(frames)["frame"]
    for batch in ([0, 1], [2], [3, 4, 5], [6, 7]):
        part = [frames[k] for k in batch]
        rows = np.flatnonzero(np.isin(frame_of_row, batch))
        atoms = np.concatenate([np.arange(g.atom_offsets[k], g.atom_offsets[k + 1]) for k in batch])
        assert same_bits(descriptor.transform(part), X[rows])
        own = sparse.transform(part)
        assert same_bits(own.data, S[rows].data)
        assert np.array_equal(own.indices, S[rows].indices)
        own = descriptor.vjp(part, cotangent[rows])
        assert same_bits(own.positions, g.positions[atoms])
        assert same_bits(own.strain, g.strain[batch])
        assert same_bits(descriptor.jvp(part, velocities[atoms], rates[batch]), t[rows])
        own = descriptor.jacobian(part)
        assert same_bits(own.to_dense(), dense[np.ix_(rows, atoms)])
        assert same_bits(own.strain, J.strain[rows])


@pytest.mark.parametrize("limit", [1, 7, 30])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_chunks_of_centers_do_not_show(cls, average, limit, monkeypatch):
    frames = all_frames()
    expected = everything(cls, frames, average=average)
    monkeypatch.setattr(_input, "_CHUNK_CENTERS", limit)
    assert_same_bits(everything(cls, frames, average=average), expected)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_rows_do_not_depend_on_the_other_centers(cls):
    atoms = crystal()
    descriptor = make(cls)
    X = descriptor.transform(atoms)
    for centers in ([0], [26, 3, 11], np.arange(20)):
        assert same_bits(descriptor.transform(atoms, centers=centers), X[centers])


def test_equal_calls_give_equal_bits():
    frames = all_frames()
    assert_same_bits(everything(castile.SOAP, frames), everything(castile.SOAP, frames))
