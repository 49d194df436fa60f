"""The ``centers`` argument: every form, the rows it gives, and what is refused."""

import numpy as np
import pytest
from ase import Atoms
from checks import assert_gradients_agree, same_bits
from named_structures import STRUCTURES, several_frames

from castile.descriptors import DESCRIPTORS
from castile.errors import InputError, InputTypeError

AVERAGES = ["off", "inner", "outer"]


def make(cls, frames, **options):
    sizes = {"cutoff": 3.4, "n_max": 3, "l_max": 2, "sigma": 0.5, **options}
    return cls(**{name: value for name, value in sizes.items() if name in cls._get_param_names()}).fit(frames)


@pytest.fixture(params=DESCRIPTORS, ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


def test_samples_name_frame_atom_and_species_of_each_row(cls, frames):
    samples = make(cls, frames).samples(frames)
    expected = [
        (frame, atom, symbol)
        for frame, atoms in enumerate(frames)
        for atom, symbol in enumerate(atoms.get_chemical_symbols())
    ]
    assert samples.dtype.names == ("frame", "atom", "species")
    assert samples.tolist() == expected


@pytest.mark.parametrize("average", ["inner", "outer"])
def test_averaged_rows_have_atom_minus_one_and_no_species(cls, average, frames):
    samples = make(cls, frames, average=average).samples(frames)
    assert samples.tolist() == [(frame, -1, "") for frame in range(len(frames))]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ([0, 5], [0, 5]),
        ([5, 0, 2], [5, 0, 2]),
        ((3,), [3]),
        ([-1, 0], [8, 0]),
        (np.array([1, 2], dtype=np.int32), [1, 2]),
        (np.array([1, 2], dtype=np.uint8), [1, 2]),
        (np.arange(9)[::3], [0, 3, 6]),
        ([], []),
        ([True, False, True] + 6 * [False], [0, 2]),
        (np.zeros(9, dtype=bool), []),
        ("C", [0, 1]),
        (["O", "C"], [0, 1, 2]),
        ("N", []),
    ],
    ids=str,
)
def test_every_form_of_centers_chooses_rows_of_the_full_result(cls, entry, expected, molecule):
    molecule = Atoms("CCOH6", positions=molecule.positions)
    descriptor = make(cls, molecule)
    X = descriptor.transform(molecule)
    assert np.array_equal(descriptor.transform(molecule, centers=entry), X[expected])
    assert descriptor.samples(molecule, centers=entry)["atom"].tolist() == expected
    assert np.array_equal(descriptor.transform([molecule], centers=[entry]), X[expected])


def test_each_frame_has_its_own_entry(cls, frames):
    descriptor = make(cls, frames)
    X, samples = descriptor.transform(frames), descriptor.samples(frames)
    centers = [["O"], None, [1], np.array([True]), ["S", "Mo"]]
    chosen = [
        row
        for row, (frame, atom, species) in enumerate(samples)
        if (frame, species) == (0, "O") or (frame, atom) == (2, 1) or frame in (3, 4)
    ]
    assert np.array_equal(descriptor.transform(frames, centers=centers), X[chosen])
    assert np.array_equal(descriptor.samples(frames, centers=centers), samples[chosen])
    one_species = descriptor.transform(frames, centers="C")
    assert np.array_equal(one_species, X[samples["species"] == "C"])


@pytest.mark.parametrize("average", ["inner", "outer"])
def test_averages_are_taken_over_the_chosen_centers(cls, average, molecule):
    local, averaged = make(cls, molecule), make(cls, molecule, average=average)
    row = averaged.transform(molecule, centers=[4])
    np.testing.assert_allclose(row, local.transform(molecule)[[4]], rtol=1e-13, atol=1e-14)
    assert not averaged.transform(molecule, centers=[]).any()
    if average == "outer":
        mean = local.transform(molecule)[[1, 7]].mean(axis=0)
        np.testing.assert_allclose(averaged.transform(molecule, centers=[7, 1])[0], mean, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
def test_all_gradients_agree_for_centers_in_any_order(cls, average, normalize):
    frames = several_frames()
    descriptor = make(cls, frames, average=average, normalize=normalize)
    assert_gradients_agree(descriptor, frames, [[5, 0, 8], None, [-1, 0], [], [2, 0]])


def test_no_centers_at_all_give_no_rows(cls, frames):
    descriptor = make(cls, frames)
    X = descriptor.transform(frames, centers="Au")
    assert X.shape == (0, descriptor.transform(frames).shape[1])
    g = descriptor.vjp(frames, X, centers="Au")
    assert not g.positions.any()
    assert not g.strain.any()
    assert descriptor.jacobian(frames, centers="Au").groups == []


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ([0, 9], InputError, r"centers\[0\] holds index 9, but frame 0 has 9 atoms"),
        ([-10], InputError, r"centers\[0\] holds index -10"),
        ([1, 1], InputError, r"centers\[0\] names an atom twice"),
        ([0, -9], InputError, r"centers\[0\] names an atom twice"),
        ([True, False], InputError, r"the mask in centers\[0\] must have 9 entries, one per atom, got 2"),
        ("Xy", InputError, r"centers\[0\] names 'Xy', which is not a chemical symbol"),
        (["C", "Qq"], InputError, r"centers\[0\] names 'Qq'"),
        ([0.5], InputTypeError, r"centers\[0\] must hold atom indices"),
        ([[0, 1], [2, 3]], InputTypeError, r"got integers of shape \(2, 2\); indices have one axis, and points are fl"),
        ([[0, 0, 0], [1, 2, 3]], InputTypeError, r"got integers of shape \(2, 3\)"),
        (np.zeros((0, 3), dtype=int), InputTypeError, r"got integers of shape \(0, 3\)"),
        ([[True, False, True]] * 2, InputTypeError, r"centers\[0\] must hold atom indices"),
        ([["C"], ["H"]], InputTypeError, r"centers\[0\] must hold atom indices"),
        ([[[0, 1]]], InputTypeError, r"centers\[0\] must hold atom indices"),
        (3, InputTypeError, r"centers\[0\] must hold atom indices"),
        ([None], InputTypeError, r"centers\[0\] must hold atom indices"),
    ],
    ids=str,
)
def test_centers_that_cannot_be_used_are_refused(cls, entry, error, message, molecule):
    descriptor = make(cls, molecule)
    with pytest.raises(error, match=message):
        descriptor.transform(molecule, centers=entry)
    with pytest.raises(error, match=message):
        descriptor.vjp([molecule], np.zeros((1, 1)), centers=[entry])


@pytest.mark.parametrize(
    ("entry", "atoms"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([0, 1], [0, 1]),
        ([7], [7]),
        ([-1, 0, 3], [8, 0, 3]),
        (np.array([2, 0, 1], dtype=np.uint8), [2, 0, 1]),
        ([True, False, True] + 6 * [False], [0, 2]),
        (["O", "C"], [0, 1, 2]),
        ([], []),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrap", [lambda entry: [entry], lambda entry: (entry,), lambda entry: np.array([entry])])
def test_one_frame_may_have_its_entry_in_a_list_as_several_have(cls, entry, atoms, wrap, molecule):
    molecule = Atoms("CCOH6", positions=molecule.positions)
    descriptor = make(cls, molecule)
    X = descriptor.transform(molecule)
    assert same_bits(descriptor.transform(molecule, centers=wrap(entry)), X[atoms])
    assert descriptor.samples(molecule, centers=wrap(entry))["atom"].tolist() == atoms
    assert same_bits(descriptor.transform([molecule], centers=wrap(entry)), X[atoms])
    assert descriptor.vjp(molecule, X[atoms], centers=wrap(entry)).centers is None
    (chunk,) = descriptor.iter_transform(molecule, centers=wrap(entry))
    assert same_bits(chunk.features, X[atoms])


@pytest.mark.parametrize("points", [[[0.0, 1.0, 2.0]], [[0, 1, 2.0]], [[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]], ids=str)
def test_floats_are_points_in_a_list_of_their_own_too(cls, points, molecule):
    descriptor = make(cls, molecule)
    X = descriptor.transform([molecule], centers=[points])
    assert same_bits(descriptor.transform(molecule, centers=points), X)
    assert same_bits(descriptor.transform(molecule, centers=[points]), X)
    assert same_bits(descriptor.transform(molecule, centers=np.array(points, dtype=np.float32)), X)
    assert descriptor.samples(molecule, centers=points)["atom"].tolist() == [-1] * len(points)
    (chunk,) = descriptor.iter_transform(molecule, centers=[points])
    assert same_bits(chunk.features, X)
    with pytest.raises(InputTypeError, match="points are floats"):
        descriptor.transform([molecule], centers=[np.array(points, dtype=int)])


def test_the_number_of_entries_must_be_that_of_the_frames(cls, frames):
    descriptor = make(cls, frames)
    with pytest.raises(InputError, match=r"centers must have one entry per frame \(5\), got 2"):
        descriptor.transform(frames, centers=[[0], [0]])
    with pytest.raises(InputTypeError, match="centers must be None, a symbol or a sequence"):
        descriptor.transform(frames, centers=3)


def test_a_bare_symbol_among_the_entries_of_several_frames_is_ambiguous(cls, frames):
    descriptor = make(cls, frames)
    message = r"bare symbol 'C'; write centers='C' .* or centers=\[\['C', 'H'\]\] \* len\(frames\)"
    for centers in (["C", "H"], ("C", "H"), np.array(["C", "H"])):
        for some in (frames[:2], frames):
            with pytest.raises(InputError, match=message):
                descriptor.transform(some, centers=centers)
    with pytest.raises(InputError, match="bare symbol 'O'"):
        descriptor.samples(frames[:2], centers=[[0], "O"])


def test_ragged_entries_are_refused_with_our_error(cls):
    atoms = STRUCTURES["triclinic"]()
    with pytest.raises(InputTypeError, match=r"centers\[0\] must hold atom indices"):
        make(cls, atoms).transform(atoms, centers=[[0], [1, 2]])
