"""What the neighbor list refuses, and what it says then."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from castile.errors import InputError, InputTypeError, MemoryLimitError
from castile.neighbors import NeighborList, neighbor_list

WATER = molecule("H2O")
BAD_INPUT = {
    "negative": (WATER, -1.0, "cutoff must be a positive, finite number, got -1.0; in Å"),
    "zero": (WATER, 0, "cutoff must be a positive, finite number, got 0.0"),
    "nan": (WATER, np.nan, "cutoff must be a positive, finite number, got nan"),
    "inf": (WATER, np.inf, "cutoff must be a positive, finite number, got inf"),
    "no pairs": (WATER, {}, "cutoff is an empty dict; give it pairs of species"),
    "no pair": (WATER, {"O": 2.0}, "keys of cutoff must be pairs of species"),
    "unknown": (WATER, {("O", "Q"): 2.0}, "holds an unknown species, 'Q'; use chemical symbols"),
    "number": (WATER, {(8, 500): 2.0}, "holds an unknown species, 500"),
    "negative pair": (WATER, {("O", "H"): -2.0}, r"cutoff\[\('O', 'H'\)\] must be a positive"),
    "two values": (WATER, {("O", "H"): 2.0, (1, 8): 2.1}, "two values for one pair of species"),
    "length": (WATER, [1.0, 1.0], r"one radius per atom, 3 in all, got shape \(2,\)"),
    "shape": (WATER, np.ones((1, 1, 3)), r"one radius per atom, 3 in all, got shape \(1, 1, 3\)"),
    "per frame": ([WATER, WATER], [[1.0] * 3, [1.0] * 2], r"\[3, 3\], got \[3, 2\]"),
    "negative radius": (
        WATER,
        [1.0, -0.5, 1.0],
        "must be finite and 0 or more, got -0.5 for atom 1",
    ),
    "nan radius": (WATER, [1.0, 0.5, np.nan], "must be finite and 0 or more, got nan for atom 2"),
    "no frames": ([], 2.0, "frames is empty; give at least one structure"),
    "far": (Atoms("H", [[1e15, 0, 0]], cell=[1] * 3, pbc=True), 2.0, "wrap the positions"),
    "digits": (Atoms("H", [[1e16, 0, 0]]), 2.0, "leave no digits for a cutoff of 2; move the"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_refused_with_a_remedy(name):
    frames, cutoff, message = BAD_INPUT[name]
    with pytest.raises(InputError, match=message):
        NeighborList(frames, cutoff)


def test_wrong_types_are_refused():
    with pytest.raises(InputTypeError, match="cutoff must be a number, a dict of species pairs or"):
        neighbor_list("i", WATER, "2.0")
    with pytest.raises(InputTypeError, match="cutoff must be a number, a dict of species pairs or"):
        neighbor_list("i", WATER, None)
    with pytest.raises(InputTypeError, match="cutoff must be a number, got True"):
        neighbor_list("i", WATER, True)
    with pytest.raises(InputTypeError, match="must be a number, got None"):
        neighbor_list("i", WATER, {("H", "O"): None})
    with pytest.raises(InputTypeError, match="cutoff as radii must hold numbers, one per atom"):
        neighbor_list("i", WATER, ["a", "b", "c"])
    with pytest.raises(InputTypeError, match=r"atoms must be one ase\.Atoms, got str"):
        neighbor_list("i", "water.xyz", 2.0)
    with pytest.raises(InputTypeError, match=r"atoms must be one ase\.Atoms, got list; castile"):
        neighbor_list("i", [WATER, WATER], 2.0)
    with pytest.raises(InputTypeError, match=r"frames must be ase\.Atoms or a sequence"):
        NeighborList("water.xyz", 2.0)
    with pytest.raises(InputTypeError, match="quantities must be a string of letters"):
        neighbor_list(["i"], WATER, 2.0)


@pytest.mark.parametrize("quantities", ["", "ijk", "I", "i j"])
def test_unknown_quantities_are_refused(quantities):
    with pytest.raises(InputError, match="quantities must be one or more letters out of 'ijSDd'"):
        neighbor_list(quantities, WATER, 2.0)


def test_lists_whose_rest_will_outgrow_memory_are_refused_on_the_way(monkeypatch):
    monkeypatch.setattr("castile.neighbors._CHUNK_ATOMS", 2)
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: 10_000)
    frames = [bulk("Si")] * 20
    with pytest.raises(MemoryLimitError, match=r"rest of the neighbor list of 40 atoms would take .*progress=False"):
        NeighborList(frames, 4.0, progress=True)
    assert len(NeighborList(frames, 4.0)) == 20 * len(NeighborList(frames[0], 4.0, progress=True))


@pytest.mark.parametrize("pbc", [True, (True, True, False)])
def test_lists_that_outgrow_memory_are_refused(pbc):
    atoms = bulk("Si")
    atoms.pbc = pbc
    message = r"would hold about .* GiB; available .* GiB; use a smaller cutoff"
    with pytest.raises(MemoryLimitError, match=message):
        neighbor_list("ijSDd", atoms, 1e5)
