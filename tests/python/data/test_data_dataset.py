"""The data set, what one takes from it, and its table."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeled import crystal, lone, random_forces

from castile import data, datasets
from castile.errors import InputError, InputTypeError

ARRAYS = ("energies", "stresses", "groups", "isolated", "energy_weights", "force_weights", "stress_weights")


@pytest.fixture(scope="module")
def dataset():
    frames = datasets.load()[:20]
    frames[3].info["config_weight"] = 4.0
    return data.read([*frames, lone("Si", energy=-0.8, group="isolated_atom")])


def forces_of(dataset, frame):
    return dataset.forces[dataset.offsets[frame] : dataset.offsets[frame + 1]]


@given(st.data())
def test_a_subset_holds_what_belongs_to_its_frames(dataset, draws):
    indices = draws.draw(st.lists(st.integers(-21, 20), max_size=30))
    part = dataset.subset(indices)
    assert len(part) == len(indices)
    assert part.offsets[-1] == len(part.forces) == len(part.numbers) == len(part.force_sigmas)
    for place, index in enumerate(indices):
        frame = index % 21
        assert part.frames[place] is dataset.frames[frame]
        np.testing.assert_array_equal(forces_of(part, place), forces_of(dataset, frame))
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(part, name)[place], getattr(dataset, name)[frame])


def test_masks_and_slices_choose_frames(dataset):
    mask = dataset.groups == "Si diamond"
    expected = dataset.subset(np.flatnonzero(mask))
    assert dataset.subset(mask).frames == expected.frames
    assert dataset.subset(slice(2, 5)).frames == dataset.frames[2:5]
    assert len(dataset.subset([])) == 0
    assert len(dataset.subset(3)) == 1


@pytest.mark.parametrize(
    ("indices", "error"),
    [([21], InputError), ([-22], InputError), ([1.5], InputTypeError), (["a"], InputTypeError), ([True], InputError)],
)
def test_indices_that_do_not_exist_are_refused(dataset, indices, error):
    with pytest.raises(error, match="indices"):
        dataset.subset(indices)


def test_parts_put_together_are_the_whole(dataset):
    whole = data.concatenate([dataset.subset(slice(0, 7)), dataset.subset([]), dataset.subset(slice(7, None))])
    assert whole.frames == dataset.frames
    for name in (*ARRAYS, "forces", "offsets", "numbers", "force_sigmas"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(dataset, name))
    with pytest.raises(InputError, match="at least one"):
        data.concatenate([])
    with pytest.raises(InputTypeError, match="Dataset objects, got Atoms"):
        data.concatenate([dataset.frames[0]])


def test_arrays_cannot_be_changed(dataset):
    for name in (*ARRAYS, "forces", "offsets"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, name)[0] = 0
    with pytest.raises(AttributeError):
        dataset.energies = None


def test_pickles_hold_everything(dataset):
    again = pickle.loads(pickle.dumps(dataset))
    assert again.frames == dataset.frames
    np.testing.assert_array_equal(again.forces, dataset.forces)
    assert again.notes == dataset.notes
    assert not again.forces.flags.writeable


def test_labels_may_be_arrays():
    made = data.Dataset.from_arrays([crystal(), crystal()], energies=[-1, np.nan], groups=["a", "b"])
    assert made.has_energy.tolist() == [True, False]
    assert not made.has_forces.any()
    assert made.groups.tolist() == ["a", "b"]
    given = np.zeros(2)
    assert data.Dataset.from_arrays([crystal()] * 2, energies=given).energies is not given
    given[0] = 1.0  # still the caller's own


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        ({"energies": [1.0, 2.0]}, InputError, r"energies must have the shape \(1,\), got \(2,\)"),
        ({"forces": np.zeros((1, 3))}, InputError, "forces must have the shape"),
        ({"energies": [np.inf]}, InputError, "finite"),
        ({"energies": ["a"]}, InputTypeError, "energies must hold real numbers"),
        ({"energy": [1.0]}, InputTypeError, "no array 'energy'"),
        ({"isolated": [1.0]}, InputTypeError, "truth values"),
        ({"energy_weights": [-1.0]}, InputError, "zero or more"),
        ({"energy_weights": [np.nan]}, InputError, "zero or more"),
        ({"energy_sigmas": [0.0]}, InputError, "positive"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels, error, text):
    with pytest.raises(error, match=text):
        data.Dataset.from_arrays(crystal(), **labels)


def test_the_table_counts_labels_by_group():
    frames = [
        crystal(energy=-8.0, forces=random_forces()),
        crystal(energy=-6.0, stress=[0.1, 0.0, -0.2, 0.0, 0.0, 0.0]),
        lone("H", energy=-13.6),
    ]
    frames[0].info["group"] = frames[1].info["group"] = "bulk"
    frames[2].info["group"] = "isolated_atom"
    bulk, lone_atom, everything = data.read(frames).table().rows
    assert bulk["group"] == "bulk"
    assert (bulk["frames"], bulk["atoms"], bulk["isolated"]) == (2, 4, 0)
    assert bulk["species"] == ("Al", "P")
    assert (bulk["energies"], bulk["lowest_energy"], bulk["highest_energy"]) == (2, -4.0, -3.0)
    assert bulk["force_components"] == 6
    assert bulk["largest_force"] == np.linalg.norm(random_forces(), axis=1).max()
    assert (bulk["stresses"], bulk["largest_stress"]) == (1, 0.2)
    assert (lone_atom["isolated"], lone_atom["lowest_energy"]) == (1, -13.6)
    assert np.isnan(lone_atom["largest_force"])
    assert everything["group"] == "all"
    assert (everything["frames"], everything["isolated"]) == (3, 1)
    assert everything["lowest_energy"] == -4.0  # not that of the lone atom


def test_the_table_is_readable(dataset):
    lines = str(dataset.table()).splitlines()
    assert lines[0].split()[:3] == ["group", "frames", "isolated"]
    assert lines[1].startswith("Si diamond")
    assert lines[-1].startswith("note: weights of 1 frame come from the file")
    assert len({len(line) for line in lines[1:-2]}) == 1
    assert max(map(len, lines[:-1])) < 160
    assert len(str(data.read(crystal(energy=1.0)).table()).splitlines()) == 2  # one group is all there is
    assert len(data.Dataset.from_arrays([]).table().rows) == 1


def test_an_empty_dataset_has_no_atoms(dataset):
    empty = dataset.subset([])
    assert len(empty) == 0
    assert "0 frames" in repr(empty)
    assert empty.species == ()
    assert len(empty.noise(energy=1, force=1, stress=1).force) == 0


def test_the_example_of_the_documentation_runs(capsys):
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(block, {})
    assert "Si diamond" in capsys.readouterr().out
