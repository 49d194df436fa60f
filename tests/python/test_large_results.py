"""Results too large for the caches, and the memory that they are in."""

import copy
import gc
import mmap
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import joblib
import numpy as np
import pytest
from ase.build import bulk, molecule
from checks import same_bits

import castile
from castile import _pages
from castile.errors import InputError, InputTypeError, MemoryLimitError, UnknownSpeciesError

pytestmark = pytest.mark.skipif(not _pages._HAS_PAGES, reason="this system has no huge pages that can be freed lazily")


@pytest.fixture
def kept(monkeypatch):
    """Pages of their own for a test, for results of half a megabyte and more."""
    pages = _pages._KeptPages()
    monkeypatch.setattr(_pages, "_kept", pages)
    monkeypatch.setattr(_pages, "_SMALLEST", 1 << 19)
    return pages


def crystal(n_cells=2, seed=0):
    atoms = bulk("Si", cubic=True) * n_cells
    atoms.rattle(0.1, seed=seed)
    return atoms


def frames_with_missing_species():
    return [molecule(name) for name in ("CH3OH", "H2O", "CH4", "NH3", "CH3CN", "H2", "CO2")]


def make(**options):
    return castile.SOAP(**{"cutoff": 4.0, "n_max": 4, "l_max": 3, "species": ["H", "C", "N", "O"], **options})


# ---------------------------------------------------------------- memory


def test_fresh_pages_hold_zeros_and_start_at_a_line(kept):
    array, zeroed = _pages.new_array((300, 1000), np.float64)
    assert zeroed
    assert not array.any()
    assert array.ctypes.data % 64 == 0
    assert array.flags.writeable
    assert array.flags.c_contiguous


def test_pages_are_used_again_once_all_views_are_gone(kept):
    array, _ = _pages.new_array((300, 1000), np.float64)
    place = array.ctypes.data
    view = array[10:20]
    del array
    gc.collect()
    assert not kept._pages
    view[:] = 7.0
    del view
    gc.collect()
    assert len(kept._pages) == 1
    again, zeroed = _pages.new_array((290, 1000), np.float64)
    assert again.ctypes.data == place
    assert not zeroed
    assert not kept._pages


def test_much_larger_pages_are_not_taken_for_small_results(kept):
    _pages.new_array((8, 1 << 20), np.uint8)
    assert len(kept._pages) == 1
    _, zeroed = _pages.new_array((1, 1 << 19), np.uint8)
    assert zeroed


def test_what_is_kept_is_bounded(kept, monkeypatch):
    monkeypatch.setattr(_pages, "_LARGEST_KEPT", 7 << 20)
    arrays = [_pages.new_array((1 << 20,), np.uint8)[0] for _ in range(5)]
    arrays.append(_pages.new_array((9 << 20,), np.uint8)[0])
    del arrays
    gc.collect()
    assert 0 < sum(map(len, kept._pages)) <= 7 << 20


def test_small_and_odd_shapes(kept):
    for shape in ((0, 5), (3, 0), (1,), (70_001, 1)):
        array, _ = _pages.new_array(shape, np.float32)
        assert array.shape == shape
        assert array.dtype == np.float32


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"dtype": "float32"}, {"average": "inner"}])
def test_used_pages_leave_no_trace_in_features(kept, monkeypatch, options):
    monkeypatch.setattr(_pages, "_SMALLEST_ALIGNED", 1)
    monkeypatch.setattr(_pages, "_SMALLEST", 1)
    frames = frames_with_missing_species()
    soap = make(**options)
    first = soap.transform(frames).copy()
    for _ in range(2):
        dirty, _ = _pages.new_array(first.shape, first.dtype)
        dirty.fill(np.nan)
        del dirty
        gc.collect()
        assert same_bits(soap.transform(frames), first)


# ---------------------------------------------------------------- rows past the caches


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"dtype": "float32", "n_max": 10}, {"n_max": 7}])
def test_rows_of_large_results_are_those_of_small_ones(options):
    options = {"n_max": 8, "l_max": 6, **options}
    soap = make(**options)
    frames = frames_with_missing_species() * 40
    X = soap.transform(frames)
    assert X.nbytes > 20 << 20
    offsets = np.cumsum([0, *map(len, frames)])
    for k in (0, 1, 5, 6, 133, len(frames) - 1):
        assert same_bits(soap.transform(frames[k]), X[offsets[k] : offsets[k + 1]])
    assert same_bits(X[offsets[7] : offsets[14]], X[: offsets[7]])


# ---------------------------------------------------------------- Jacobians in the memory of others


def values_of(jacobian):
    groups = [*jacobian.groups, *jacobian.center_groups, *(jacobian.strain_groups or ())]
    return [group.values for group in groups]


@pytest.mark.parametrize("options", [{}, {"dtype": "float32"}, {"normalize": True}, {"sparse": True}])
@pytest.mark.parametrize("strain", [False, True])
def test_a_jacobian_in_used_memory_is_the_same(options, strain):
    soap = make(species=["Si"], n_max=8, l_max=4, **options)
    first, second = crystal(seed=1), crystal(seed=2)
    expected = soap.jacobian(second, strain=strain)
    used = soap.jacobian(first, strain=strain)
    places = {values.ctypes.data for values in values_of(used)}
    found = soap.jacobian(second, strain=strain, out=used)
    assert same_bits(found.to_dense(), expected.to_dense())
    assert not strain or same_bits(found.strain, expected.strain)
    assert {values.ctypes.data for values in values_of(found)} == places


def test_memory_that_is_too_small_is_left_and_larger_memory_is_kept_whole():
    soap = make(species=["Si"], n_max=6, l_max=4)
    small, large = crystal(1), crystal(2)
    used = soap.jacobian(small)
    values = values_of(used)
    found = soap.jacobian(large, out=used)
    assert same_bits(found.to_dense(), soap.jacobian(large).to_dense())
    assert not any(np.shares_memory(a, b) for a in values_of(found) for b in values)
    # From large to small and back in the same memory.
    places = {values.ctypes.data for values in values_of(found)}
    back = soap.jacobian(large, out=soap.jacobian(small, out=found))
    assert {values.ctypes.data for values in values_of(back)} == places
    assert same_bits(back.to_dense(), soap.jacobian(large).to_dense())


def ionic(seed=0):
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 2, 1)
    atoms.symbols[::5] = "K"
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("n_max", "dtype"), [(4, "float64"), (5, "float64"), (8, "float64"), (12, "float64"), (8, "float32")]
)
def test_where_a_jacobian_goes_does_not_change_its_bits(n_max, dtype, sparse):
    soap = make(species=["Na", "Cl", "K"], n_max=n_max, l_max=3, dtype=dtype, sparse=sparse)
    atoms = ionic()
    with_strain = soap.jacobian(atoms)
    without = soap.jacobian(atoms, strain=False)
    assert all(same_bits(a.values, b.values) for a, b in zip(without.groups, with_strain.groups, strict=True))
    # Small results lie where the C library puts them, on no line of the caches.
    few = [soap.jacobian(atoms, centers=[k], strain=False).to_dense()[0] for k in (0, 3, 5)]
    dense = without.to_dense()
    assert all(same_bits(own, dense[k]) for own, k in zip(few, (0, 3, 5), strict=True))
    gradient = soap.vjp(atoms, np.ones_like(soap.transform(atoms).toarray() if sparse else soap.transform(atoms)))
    assert np.allclose(dense.sum((0, 3)), gradient.positions, atol=1e-3 if dtype == "float32" else 1e-9)


def test_groups_that_share_memory_are_not_written_twice():
    soap = make(species=["Si"], n_max=6, l_max=4)
    atoms = crystal()
    J = soap.jacobian(atoms, strain=False)
    (group,) = J.groups
    halves = [
        castile.descriptors.jacobian.JacobianGroup(group.species, group.columns, *(part[own] for part in parts))
        for own in (slice(0, 500), slice(500, None))
        for parts in [(group.values, group.row, group.frame, group.atom)]
    ]
    expected = J.to_dense().copy()
    found = soap.jacobian(atoms, strain=False, out=replace(J, groups=halves))
    assert same_bits(found.to_dense(), expected)
    arena = np.zeros(found.groups[0].values.nbytes + 64, dtype=np.uint8)
    foreign = arena[: found.groups[0].values.nbytes].view(float).reshape(found.groups[0].values.shape)
    soap.jacobian(atoms, out=replace(J, groups=[replace(group, values=foreign)]))
    assert not arena.any()


def test_memory_that_cannot_be_used_again_counts_in_full(monkeypatch):
    soap = make(species=["Si"], n_max=8, l_max=6)
    atoms = crystal()
    J = pickle.loads(pickle.dumps(soap.jacobian(atoms)))
    monkeypatch.setattr(castile._memory, "_ALWAYS_FITS", 0)
    monkeypatch.setattr(castile._memory._core, "available_memory", lambda: J.nbytes / 2)
    with pytest.raises(MemoryLimitError, match="the Jacobian would take"):
        soap.jacobian(atoms, out=J)


@pytest.mark.parametrize("advice", ["MADV_HUGEPAGE", "MADV_FREE"])
def test_systems_that_refuse_advice_still_give_memory(kept, monkeypatch, advice):
    class Refusing(mmap.mmap):
        def madvise(self, option, *rest):
            if option == getattr(mmap, advice):
                raise OSError(22, "Invalid argument")
            return super().madvise(option, *rest)

    monkeypatch.setattr(_pages.mmap, "mmap", Refusing)
    array, _ = _pages.new_array((300, 1000), np.float64)
    assert not array.any()
    del array
    gc.collect()
    assert len(kept._pages) == (advice == "MADV_HUGEPAGE")


def test_a_limit_that_kept_pages_use_up_lets_them_go(kept, monkeypatch):
    _pages.new_array((1 << 20,), np.uint8)
    assert len(kept._pages) == 1
    make_pages, calls = mmap.mmap, []

    def limited(*arguments, **options):
        calls.append(len(kept._pages))
        if len(calls) != 2:
            raise OSError(12, "Cannot allocate memory")
        return make_pages(*arguments, **options)

    monkeypatch.setattr(_pages.mmap, "mmap", limited)
    _, fresh = _pages.new_array((1 << 23,), np.uint8)
    assert fresh
    assert calls == [1, 0]
    with pytest.raises(MemoryError, match=r"no .* bytes for a result"):
        _pages.new_array((1 << 26,), np.uint8)


def test_points_and_other_types_go_with_out():
    soap = make(species=["Si"])
    atoms = crystal()
    centers = [[0.1, 0.2, 0.3], [2.0, 2.0, 2.0]]
    expected = soap.jacobian(atoms, centers)
    found = soap.jacobian(atoms, centers, out=soap.jacobian(crystal(seed=3), centers))
    assert all(same_bits(a, b) for a, b in zip(values_of(found), values_of(expected), strict=True))
    single = make(species=["Si"], dtype="float32").jacobian(atoms)
    assert same_bits(soap.jacobian(atoms, out=single).to_dense(), soap.jacobian(atoms).to_dense())


EMPTY = r"this Jacobian is empty: its memory was given away by jacobian\(\.\.\., out=\); use the Jacobian that was"


@pytest.mark.parametrize("n_cells", [1, 2])
@pytest.mark.parametrize("foreign", [False, True])
def test_a_jacobian_is_empty_once_its_memory_was_given_away(n_cells, foreign):
    soap = make(species=["Si"])
    atoms = crystal(n_cells)
    J = soap.jacobian(atoms)
    J = pickle.loads(pickle.dumps(J)) if foreign else J
    twin, group, strain = copy.copy(J), J.groups[0], J.strain_groups[0]
    assert same_bits(soap.jacobian(atoms, out=J).to_dense(), soap.jacobian(atoms).to_dense())
    names = [*(part.name for part in fields(J)), "strain", "nbytes"]
    uses = [lambda name=name: getattr(J, name) for name in names]
    uses += [J.to_dense, J.to_sparse, J.memory, J.give_memory]
    uses += [lambda: pickle.dumps(J), lambda: copy.copy(J), lambda: copy.deepcopy(J), lambda: replace(J, n_rows=1)]
    uses += [lambda: soap.jacobian(atoms, out=J), lambda: joblib.hash(J)]
    for use in uses:
        with pytest.raises(InputError, match=EMPTY):
            use()
    assert str(J) == repr(J) == "<Jacobian: empty, its memory was given away by jacobian(..., out=)>"
    # Neither groups that were taken from it before nor copies that share them go on looking valid.
    for use in (lambda: group.values, lambda: strain.row, twin.to_dense, lambda: soap.jacobian(atoms, out=twin)):
        with pytest.raises(InputError, match="Group is empty"):
            use()
    assert "empty" in repr(group)
    assert "empty" in repr(strain)
    with pytest.raises(AttributeError, match="'Jacobian' object has no attribute 'nothing'"):
        J.nothing  # noqa: B018


def test_arrays_taken_from_a_jacobian_share_the_memory_of_the_next():
    soap = make(species=["Si"], n_max=6, l_max=4)
    J = soap.jacobian(crystal(seed=1))
    values = J.groups[0].values
    again = soap.jacobian(crystal(seed=2), out=J)
    assert np.shares_memory(values, again.groups[0].values)


def test_a_jacobian_that_was_refused_is_left_as_it_was(monkeypatch):
    soap = make(species=["Si"])
    J = soap.jacobian(crystal())
    expected = J.to_dense()
    with pytest.raises(UnknownSpeciesError):
        soap.jacobian(molecule("H2O"), out=J)
    monkeypatch.setattr(castile._memory, "_ALWAYS_FITS", 0)
    monkeypatch.setattr(castile._memory._core, "available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError):
        soap.jacobian(crystal(3), out=J)
    monkeypatch.undo()
    assert same_bits(J.to_dense(), expected)


def test_of_several_threads_one_gets_the_memory():
    soap = make(species=["Si"])
    atoms = [crystal(seed=seed) for seed in range(4)]
    expected = [soap.jacobian(one).to_dense() for one in atoms]
    start = threading.Barrier(len(atoms))

    def work(k, J):
        start.wait(timeout=60)
        try:
            return k, soap.jacobian(atoms[k], out=J)
        except InputError as error:
            return k, error

    with ThreadPoolExecutor(len(atoms)) as pool:
        for _ in range(30):
            J = soap.jacobian(atoms[0])
            results = list(pool.map(work, range(len(atoms)), [J] * len(atoms)))
            (won,) = [(k, result) for k, result in results if isinstance(result, castile.Jacobian)]
            assert same_bits(won[1].to_dense(), expected[won[0]])
            assert all("is empty" in str(result) for k, result in results if k != won[0])


@pytest.mark.parametrize("name", ["groups", "strain_groups"])
def test_a_read_only_jacobian_is_refused_for_out(name):
    soap = make(species=["Si"])
    J = soap.jacobian(crystal())
    getattr(J, name)[0].values.flags.writeable = False
    expected = J.to_dense()
    with pytest.raises(InputError, match=r"out must be a Jacobian .* holds read-only arrays; leave it away"):
        soap.jacobian(crystal(seed=4), out=J)
    assert same_bits(J.to_dense(), expected)


@pytest.mark.parametrize("wrong", [np.zeros(3), [], "J"])
def test_something_else_for_out_is_refused(wrong):
    with pytest.raises(InputTypeError, match="out must be a Jacobian, got "):
        make().jacobian(molecule("H2O"), out=wrong)
