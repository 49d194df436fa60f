"""The neighbor list against ASE, a brute-force reference and its own symmetries."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.neighborlist import neighbor_list as ase_neighbor_list
from bars import record_advances, shown
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import castile
from castile.neighbors import NeighborList, neighbor_list

SYMBOLS = ["H", "C", "O", "Si", "Au"]


def pair_key(i, j, S):
    """One row of integers per pair."""
    return np.column_stack([i, j, S]).astype(np.int64)


def sorted_pairs(i, j, S, D, d):
    key = pair_key(i, j, S)
    order = np.lexsort(key.T[::-1])
    return key[order], D[order], d[order]


def assert_same_pairs(actual, expected, scale=1.0):
    keys, D, d = sorted_pairs(*actual)
    expected_keys, expected_D, expected_d = sorted_pairs(*expected)
    np.testing.assert_array_equal(keys, expected_keys)
    np.testing.assert_allclose(D, expected_D, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(d, expected_d, rtol=0, atol=1e-12 * scale)


def assert_symmetric(i, j, S, D, d):
    """(j, i, -S) is there for every (i, j, S), with D exactly negated."""
    keys, D_there, d_there = sorted_pairs(i, j, S, D, d)
    back_keys, D_back, d_back = sorted_pairs(j, i, -S, -D, d)
    np.testing.assert_array_equal(keys, back_keys)
    np.testing.assert_array_equal(D_there, D_back)
    np.testing.assert_array_equal(d_there, d_back)


def brute_force(atoms, cutoff):
    """Pair after pair, all shifts whose plane distances alone do not rule them out."""
    cell, periodic = atoms.cell.array, np.flatnonzero(atoms.pbc)
    reciprocal = np.zeros((3, 3))
    if len(periodic):
        reciprocal[periodic] = np.linalg.pinv(cell[periodic]).T
    reach = cutoff * np.linalg.norm(reciprocal, axis=1) + 1e-6
    found = []
    for i, center in enumerate(atoms.positions):
        for j, neighbor in enumerate(atoms.positions):
            middle = -reciprocal @ (neighbor - center)
            ranges = [np.arange(np.ceil(m - r), m + r) for m, r in zip(middle, reach, strict=True)]
            S = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3).astype(int)
            D = neighbor - center + S @ cell
            d = np.linalg.norm(D, axis=1)
            near = (d < cutoff) & ~((i == j) & (S == 0).all(axis=1))
            found.extend((i, j, s, v, x) for s, v, x in zip(S[near], D[near], d[near], strict=True))
    i, j, S, D, d = zip(*found, strict=True)
    return np.array(i), np.array(j), np.array(S), np.array(D), np.array(d)


def rattled(atoms, amplitude=0.1, seed=0):
    atoms = atoms.copy()
    atoms.rattle(amplitude, seed=seed)
    return atoms


def random_structure(rng, *, lengths, skew, pbc, n_atoms, spread, drop_vectors, left_handed):
    cell = np.diag(lengths)
    cell[1, 0], cell[2, 0], cell[2, 1] = skew * np.array([lengths[0], lengths[0], lengths[1]])
    cell = cell @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if left_handed != (np.linalg.det(cell) < 0):
        cell[2] *= -1
    positions = (rng.uniform(-spread, 1 + spread, (n_atoms, 3))) @ cell
    if drop_vectors:
        cell[~np.array(pbc)] = 0.0
    return Atoms(rng.choice(SYMBOLS, n_atoms), positions, cell=cell, pbc=pbc)


def random_cutoff(rng, form, cutoff, atoms):
    if form == "number":
        return cutoff
    if form == "radii":
        return list(rng.uniform(0.0, cutoff / 2, len(atoms)))
    pairs = [(a, b) for k, a in enumerate(SYMBOLS) for b in SYMBOLS[k:] if rng.random() < 0.6]
    pairs = [pair[::-1] if rng.random() < 0.5 else pair for pair in pairs] or [("H", "H")]
    if form == "numbers":
        pairs = [(Atoms(a).numbers[0], Atoms(b).numbers[0]) for a, b in pairs]
    return {pair: rng.uniform(0.3, 1.0) * cutoff for pair in pairs}


@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    skew=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    pbc=st.tuples(*[st.booleans()] * 3),
    n_atoms=st.integers(1, 7),
    spread=st.sampled_from([0.0, 0.0, 1.3]),
    drop_vectors=st.booleans(),
    left_handed=st.booleans(),
    form=st.sampled_from(["number", "symbols", "numbers", "radii"]),
    self_interaction=st.booleans(),
)
def test_pairs_equal_those_of_ase(seed, form, lengths, self_interaction, **structure):
    rng = np.random.default_rng(seed)
    cutoff = 3.0
    atoms = random_structure(rng, lengths=cutoff * np.array(lengths), **structure)
    chosen = random_cutoff(rng, form, cutoff, atoms)
    expected = ase_neighbor_list("ijSDd", atoms, chosen, self_interaction=self_interaction)
    # ASE sums D in another order: a pair within rounding of the cutoff may fall on either side.
    wider = neighbor_list("d", atoms, cutoff + 1e-9)
    assume(not np.any(np.abs(wider - cutoff) < 1e-9))
    actual = neighbor_list("ijSDd", atoms, chosen, self_interaction=self_interaction)
    shifts = expected[2] @ atoms.cell.array
    scale = 1.0 + np.abs(atoms.positions).max() + np.abs(shifts).max(initial=0)
    assert_same_pairs(actual, expected, scale)
    assert_symmetric(*actual)
    assert np.all(np.diff(actual[0]) >= 0)


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("cutoff", [2.6, 5.0, 7.3])
@pytest.mark.parametrize("pbc", [True, (True, False, True), False])
def test_binned_search_equals_ase(n, cutoff, pbc):
    atoms = rattled(bulk("Si", cubic=True) * (n, n, n), seed=n)
    atoms.set_cell(atoms.cell.array @ [[1, 0.1, 0], [0, 0.9, 0.2], [0.3, 0, 1.1]], scale_atoms=True)
    atoms.pbc = pbc
    atoms.positions += np.random.default_rng(0).integers(-2, 3, (len(atoms), 3)) @ (
        atoms.cell.array * np.array(atoms.pbc)[:, None]
    )
    actual = neighbor_list("ijSDd", atoms, cutoff)
    assert_same_pairs(actual, ase_neighbor_list("ijSDd", atoms, cutoff), scale=100.0)
    assert_symmetric(*actual)


EXTREME_CELLS = {
    "one atom in a cell far smaller than the cutoff": (np.eye(3) * 2.0, True, 1, 15.0),
    "very skewed": ([[1, 0, 0], [100.3, 1, 0], [0, 0, 4]], True, 2, 3.0),
    "very skewed in the plane": (
        [[1, 0, 0], [100.3, 1, 0], [0, 0, 0]],
        (True, True, False),
        3,
        3.0,
    ),
    "skewed twice": ([[1.1, 0, 0], [37.7, 1.3, 0], [-14.2, 21.4, 1.7]], True, 2, 2.5),
    "left-handed": ([[0, 3.1, 0], [2.9, 0, 0.1], [0.2, 0, 3.3]], True, 3, 4.0),
    "long and thin": ([[1.0, 0, 0], [0, 1.2, 0], [0, 0, 400.0]], True, 20, 3.0),
    "wire along a diagonal": ([[0, 0, 0], [1, 2, 2], [0, 0, 0]], (False, True, False), 5, 6.0),
    "free vectors play no role": ([[2, 0, 0], [4, 0, 0], [1, 1, 1]], (True, False, False), 4, 5.0),
    "free vectors in the plane": ([[3, 1, 0], [1, 3, 1], [4, 4, 1]], (True, True, False), 4, 5.0),
    "no cell": (np.zeros((3, 3)), False, 9, 3.0),
}


@pytest.mark.parametrize("name", EXTREME_CELLS)
def test_extreme_cells_equal_brute_force(name):
    cell, pbc, n_atoms, cutoff = EXTREME_CELLS[name]
    cell = np.array(cell, dtype=float)
    rng = np.random.default_rng(5)
    positions = rng.uniform(-0.5, 1.5, (n_atoms, 3)) @ (cell + 0.3 * np.eye(3))
    atoms = Atoms(f"H{n_atoms}", positions, cell=cell, pbc=pbc)
    actual = neighbor_list("ijSDd", atoms, cutoff)
    scale = np.abs(positions).max() + np.abs(cell).max() * (1 + np.abs(actual[2]).max(initial=0))
    assert len(actual[0]) > 0
    assert_same_pairs(actual, brute_force(atoms, cutoff), scale)
    assert_symmetric(*actual)


def test_results_have_the_types_of_the_contract():
    i, j, S, D, d = neighbor_list("ijSDd", bulk("Si"), 3.0)
    assert [x.dtype for x in (i, j, S, D, d)] == [np.int64, np.int64, np.int32, float, float]
    assert S.shape == D.shape == (len(i), 3)
    assert isinstance(neighbor_list("d", bulk("Si"), 3.0), np.ndarray)
    d_first, i_second, d_again = neighbor_list("did", bulk("Si"), 3.0)
    np.testing.assert_array_equal(d_first, d)
    np.testing.assert_array_equal(i_second, i)
    np.testing.assert_array_equal(d_again, d)


def test_vectors_follow_from_positions_and_shifts_exactly():
    atoms = rattled(bulk("Si") * (2, 2, 2))
    i, j, S, D, d = neighbor_list("ijSDd", atoms, 5.0)
    cell = atoms.cell.array
    shifts = (S[:, :1] * cell[0] + S[:, 1:2] * cell[1]) + S[:, 2:] * cell[2]
    np.testing.assert_array_equal(D, (atoms.positions[j] - atoms.positions[i]) + shifts)
    np.testing.assert_array_equal(d, np.sqrt((D[:, 0] ** 2 + D[:, 1] ** 2) + D[:, 2] ** 2))


def test_the_cutoff_itself_is_outside():
    dimer = Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    assert len(neighbor_list("i", dimer, 2.0)) == 0
    assert len(neighbor_list("i", dimer, np.nextafter(2.0, 3.0))) == 2
    cubic = Atoms("H", cell=np.eye(3), pbc=True)
    assert len(neighbor_list("i", cubic, 1.0)) == 0
    assert len(neighbor_list("i", cubic, 2.0)) == 26  # 6 + 12 + 8, without the 6 at 2


def test_coincident_atoms_are_neighbors_at_distance_zero():
    i, j, d = neighbor_list("ijd", Atoms("H3", np.ones((3, 3))), 1.0)
    assert list(zip(i, j, strict=True)) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert not d.any()


def test_half_list_holds_each_pair_once():
    frames = [
        bulk("Si"),
        rattled(bulk("Cu") * (2, 1, 1)),
        molecule("CH4"),
        Atoms("H", cell=[2] * 3, pbc=True),
    ]
    full, half = NeighborList(frames, 5.0), NeighborList(frames, 5.0, half=True)
    assert len(full) == 2 * len(half)
    there = pair_key(half.i, half.j, half.S)
    back = pair_key(half.j, half.i, -half.S)
    both = np.unique(np.concatenate([there, back]), axis=0)
    np.testing.assert_array_equal(both, np.unique(pair_key(full.i, full.j, full.S), axis=0))
    assert np.all(half.i <= half.j)
    for S in half.S[half.i == half.j]:
        assert S[np.flatnonzero(S)[0]] > 0
    assert np.all(np.diff(half.offsets) == np.bincount(half.i, minlength=len(half.offsets) - 1))


@pytest.mark.parametrize("half", [False, True])
def test_self_interaction_adds_each_atom_once(half):
    atoms = bulk("Si")
    without = NeighborList(atoms, 4.0, half=half)
    with_self = NeighborList(atoms, 4.0, half=half, self_interaction=True)
    assert len(with_self) == len(without) + 2
    itself = with_self.d == 0.0
    np.testing.assert_array_equal(with_self.i[itself], [0, 1])
    np.testing.assert_array_equal(with_self.j[itself], [0, 1])
    assert not with_self.S[itself].any()


def test_atoms_without_a_cutoff_are_not_their_own_neighbors():
    atoms = molecule("H2O")
    for cutoff in ({("H", "O"): 2.0}, np.array([0.0, 0.6, 0.6])):
        actual = neighbor_list("ijSDd", atoms, cutoff, self_interaction=True)
        expected = ase_neighbor_list("ijSDd", atoms, cutoff, self_interaction=True)
        assert_same_pairs(actual, expected)
    assert len(neighbor_list("i", atoms, [0.0, 0.0, 0.0], self_interaction=True)) == 0


def batch_of_frames():
    return [
        molecule("CH3CH2OH"),
        rattled(bulk("Si", cubic=True) * (3, 3, 3)),
        Atoms(),
        bulk("Cu"),
        Atoms("He"),
        rattled(graphene(size=(3, 2, 1), vacuum=None)),
    ]


def attributes(pairs):
    return pairs.i, pairs.j, pairs.S, pairs.D, pairs.d


@pytest.mark.parametrize("half", [False, True])
def test_batch_equals_frames_one_by_one(half):
    frames = batch_of_frames()
    batch = NeighborList(frames, 4.5, half=half)
    np.testing.assert_array_equal(batch.frame_offsets, np.cumsum([0, *map(len, frames)]))
    for start, frame in zip(batch.frame_offsets, frames, strict=False):
        own = slice(batch.offsets[start], batch.offsets[start + len(frame)])
        single = NeighborList(frame, 4.5, half=half)
        np.testing.assert_array_equal(batch.i[own], single.i + start)
        np.testing.assert_array_equal(batch.j[own], single.j + start)
        for name in "SDd":
            np.testing.assert_array_equal(getattr(batch, name)[own], getattr(single, name))


def test_bits_are_the_same_on_any_number_of_threads():
    frames = batch_of_frames()
    results = []
    for n_threads in (1, 2, 4):
        with castile.threads(n_threads):
            results.append(NeighborList(frames, 5.0))
    for other in results[1:]:
        for a, b in zip(attributes(results[0]), attributes(other), strict=True):
            assert a.tobytes() == b.tobytes()
        np.testing.assert_array_equal(results[0].offsets, other.offsets)


RADII = [np.linspace(0.5, 2.5, len(atoms)) for atoms in batch_of_frames()]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("cutoff", [4.5, {("Si", "Si"): 5.0, ("C", "H"): 2.0}, RADII], ids=["number", "pairs", "radii"])
def test_progress_bars_move_and_do_not_change_bits(cutoff, half, monkeypatch, capsys):
    frames = batch_of_frames()
    with castile.threads(1):
        expected = NeighborList(frames, cutoff, half)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("castile.neighbors._CHUNK_ATOMS", 9)  # one frame, or two small ones
    weights = record_advances(monkeypatch)
    for n in (1, 2, 4):
        weights.clear()
        with castile.threads(n):
            pairs = NeighborList(frames, cutoff, half, progress=True)
        assert weights == [9, 216, 2, 12]
        for a, b in zip(attributes(pairs), attributes(expected), strict=True):
            assert a.tobytes() == b.tobytes()
            assert a.dtype == b.dtype
            assert a.shape == b.shape
        np.testing.assert_array_equal(pairs.offsets, expected.offsets)
        np.testing.assert_array_equal(pairs.frame_offsets, expected.frame_offsets)
    text = shown(capsys.readouterr())
    assert "neighbors" in text
    assert "239/239" in text


@pytest.mark.parametrize("frames", [Atoms(), [Atoms(), Atoms()], molecule("H2O")], ids=["none", "two of none", "one"])
def test_progress_bars_may_have_little_to_show(frames, monkeypatch):
    monkeypatch.setattr("castile.neighbors._CHUNK_ATOMS", 0)  # every frame by itself
    pairs, expected = NeighborList(frames, 2.0, progress=True), NeighborList(frames, 2.0)
    for a, b in zip(attributes(pairs), attributes(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(pairs.offsets, expected.offsets)


def test_offsets_delimit_the_centers():
    pairs = NeighborList(batch_of_frames(), 4.0)
    counts = np.bincount(pairs.i, minlength=pairs.frame_offsets[-1])
    np.testing.assert_array_equal(np.diff(pairs.offsets), counts)
    np.testing.assert_array_equal(pairs.i, np.repeat(np.arange(len(counts)), counts))
    assert repr(pairs) == f"<NeighborList of {len(pairs)} pairs, {len(counts)} atoms, 6 frames>"


def test_lattice_translations_of_atoms_move_only_the_shifts():
    atoms = rattled(bulk("Si") * (2, 2, 1))
    i, j, S, D, _ = neighbor_list("ijSDd", atoms, 5.0)
    steps = np.random.default_rng(1).integers(-40, 41, (len(atoms), 3))
    moved = atoms.copy()
    moved.positions += steps @ atoms.cell.array
    i2, j2, S2, D2, _ = neighbor_list("ijSDd", moved, 5.0)
    S2 = S2 + steps[j2] - steps[i2]
    keys, D, _ = sorted_pairs(i, j, S, D, D[:, 0])
    keys2, D2, _ = sorted_pairs(i2, j2, S2, D2, D2[:, 0])
    np.testing.assert_array_equal(keys, keys2)
    np.testing.assert_allclose(D, D2, rtol=0, atol=1e-10)


@pytest.mark.parametrize("distance", [1e6, 1e9])
def test_far_positions_keep_their_pairs(distance):
    atoms = molecule("CH4")
    expected = neighbor_list("ij", atoms, 2.0)
    atoms.positions += distance
    actual = neighbor_list("ijSDd", atoms, 2.0)
    assert sorted(zip(*actual[:2], strict=True)) == sorted(zip(*expected, strict=True))
    assert_symmetric(*actual)


def clusters_in_a_void():
    rng = np.random.default_rng(0)
    blob = rattled(bulk("Cu", cubic=True) * (6, 6, 6)).positions
    corners = rng.uniform(0, 1e6, (10, 3))
    positions = (blob[None] + corners[:, None]).reshape(-1, 3)
    return Atoms(f"Cu{len(positions)}", positions, cell=[1e6] * 3, pbc=True)


def test_clusters_in_a_void_are_found_without_a_bin_for_every_corner_of_it():
    atoms = clusters_in_a_void()
    pairs = neighbor_list("ijSDd", atoms, 4.0)  # (1e6 / 4)³ bins would not fit into any memory
    assert_symmetric(*pairs)
    blob = Atoms(atoms.symbols[:864], atoms.positions[:864])
    expected = neighbor_list("ijSDd", blob, 4.0)
    assert_same_pairs([x[pairs[0] < 864] for x in pairs], expected, scale=1e6)


def test_two_atoms_far_apart_need_no_grid_between_them():
    atoms = Atoms("H2", [[0, 0, 0], [1e6, 1e6, 1e6]])
    assert len(neighbor_list("i", atoms, 5.0)) == 0
    box = Atoms("H2", [[0, 0, 0], [0, 0, 1.0]], cell=[1e6] * 3, pbc=True)
    assert len(neighbor_list("i", box, 5.0)) == 2


def test_empty_results_have_their_shapes():
    for atoms in (Atoms(), Atoms("H"), Atoms("H2", [[0, 0, 0], [9, 0, 0]])):
        i, j, S, D, d = neighbor_list("ijSDd", atoms, 2.0)
        assert i.shape == j.shape == d.shape == (0,)
        assert S.shape == D.shape == (0, 3)
        assert NeighborList(atoms, 2.0).offsets.tolist() == [0] * (len(atoms) + 1)
    assert len(neighbor_list("i", Atoms(), [])) == 0
    assert len(neighbor_list("i", Atoms(cell=[1, 1, 1], pbc=True), 2.0)) == 0


def test_radii_are_given_flat_or_per_frame():
    frames = [molecule("H2O"), molecule("CO2")]
    flat = NeighborList(frames, [0.8, 0.5, 0.5, 0.8, 0.7, 0.7])
    for radii in ([[0.8, 0.5, 0.5], (0.8, 0.7, 0.7)], np.array([[0.8, 0.5, 0.5], [0.8, 0.7, 0.7]])):
        per_frame = NeighborList(frames, radii)
        for a, b in zip(attributes(flat), attributes(per_frame), strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(flat) == 8


def test_cutoff_may_be_any_real_number():
    expected = neighbor_list("d", bulk("Si"), 3.0)
    for cutoff in (3, np.float32(3.0), np.int64(3), np.array(3.0)):
        np.testing.assert_array_equal(neighbor_list("d", bulk("Si"), cutoff), expected)


def test_frames_may_be_a_generator():
    pairs = NeighborList((molecule(name) for name in ("H2O", "CO2")), 2.0)
    assert pairs.frame_offsets.tolist() == [0, 3, 6]


def test_arguments_are_not_modified():
    atoms, radii = rattled(bulk("Si") * (2, 1, 1)), [1.0, 2.0, 1.5, 1.0]
    before = atoms.copy()
    neighbor_list("ijSDd", atoms, radii)
    np.testing.assert_array_equal(atoms.positions, before.positions)
    assert radii == [1.0, 2.0, 1.5, 1.0]
