"""What fails, or is broken off, leaves one model or none, and sums that are whole; copies of what is fitted."""

import copy
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from checks import same_bits
from threadpoolctl import threadpool_info, threadpool_limits
from tiny_force_fields import NOISE, alloy, copper, fitted, labeled, least_memory, slab, small

import castile
from castile import ForceField, data
from castile._blas_threads import one_thread
from castile.errors import InputError, MemoryLimitError, NotFittedError, UnknownSpeciesError
from castile.models.force_field import _checkpoint, _checkpointing


@pytest.fixture
def few_rows(monkeypatch):
    """Let chunks have 25 rows of the alloy, about a frame, however large max_memory is."""
    right = ForceField._plan
    monkeypatch.setattr(ForceField, "_plan", lambda self, of: replace(right(self, of), usual=25 * 8 * 32))


def interrupted(monkeypatch, chunk):
    """Press Ctrl-C before a chunk, once."""
    right, pressed = ForceField._chunks, []

    def chunks(self, dataset):
        for number, item in enumerate(right(self, dataset)):
            if number == chunk and not pressed:
                pressed.append(True)
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(ForceField, "_chunks", chunks)


# ---------------------------------------------------------------- broken off


@pytest.mark.parametrize("before", [0, 3])
def test_rows_that_are_broken_off_are_not_counted(few_rows, monkeypatch, before):
    frames = alloy()
    expected = small().prepare(frames).accumulate(frames[:before] or frames)
    ff = small().prepare(frames)
    if before:
        ff.accumulate(frames[:before])
        expected.accumulate(frames[before:])
    counts = ff.state_.n_rows
    interrupted(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        ff.accumulate(frames[before:])
    assert ff.state_.n_rows == counts
    assert ff.state_.notes.get("frames", 0) == before
    ff.accumulate(frames[before:])
    assert ff.state_.n_rows == expected.state_.n_rows
    assert same_bits(ff.solve().weights_, expected.solve().weights_)
    assert ff.training_ == expected.training_


def test_a_refit_without_enough_memory_leaves_the_old_model():
    """The sums do not fit, which shows before anything is changed."""
    ff = small().fit(copper())
    before = ff.predict(copper(2), uncertainty=True)
    ff.max_memory = 10_000
    with pytest.raises(MemoryLimitError, match="raise max_memory, or lower n_sparse"):
        ff.fit(alloy())
    ff.max_memory = 1 << 30
    assert ff.species_ == ("Cu",)
    after = ff.predict(copper(2), uncertainty=True)
    assert same_bits(after.forces, before.forces)
    assert same_bits(after.forces_std, before.forces_std)


@pytest.mark.parametrize("calibration", [0.0, 0.3])
def test_a_refit_whose_rows_do_not_fit_leaves_no_mixture(calibration):
    ff = small(calibration=calibration).fit(copper())
    frames = alloy(12)
    frames[4] = labeled(frames[4] * (3, 2, 2))
    ff.max_memory = least_memory(small().prepare(frames))
    with pytest.raises(MemoryLimitError, match="but frame 4 alone has 151"):
        ff.fit(frames)
    with pytest.raises(NotFittedError, match="is not fitted"):
        ff.predict(copper(1))
    with pytest.raises(NotFittedError, match="is not fitted"):
        ff.uncertainty(copper(1))


def test_frames_that_cannot_be_solved_leave_the_old_model():
    """Nearly without noise: further frames make the normal equations ill-conditioned."""
    ff = small(prior=100.0).fit(alloy(6))
    before = ff.predict(alloy(2), uncertainty=True)
    tiny = {kind: 1e-6 * sigma for kind, sigma in NOISE.items()}
    foundation, ff.foundation_ = ff.foundation_, replace(ff.foundation_, noise=tiny)
    with pytest.raises(InputError, match=r"call solve\(frames\) with all frames"):
        ff.solve()
    ff.foundation_ = foundation
    after = ff.predict(alloy(2), uncertainty=True)
    assert same_bits(after.forces, before.forces)
    assert same_bits(after.energy_std, before.energy_std)


def test_what_is_merged_into_nothing_stays_as_it_is():
    frames = alloy()
    prepared = small().prepare(frames)
    one, two = (copy.deepcopy(prepared).accumulate(part) for part in (frames[:3], frames[3:]))
    before = pickle.dumps(one.state_)
    prepared.merge(one).merge(two)
    assert pickle.dumps(one.state_) == before
    assert prepared.state_.n_rows == small().fit(frames).state_.n_rows


# ---------------------------------------------------------------- checkpoints


def test_a_checkpoint_stays_until_the_fit_is_done(tmp_path, monkeypatch):
    kept, right = tmp_path / "sums", ForceField._solve
    there = []

    def solve(self, *arguments, **options):
        there.append(kept.exists())
        return right(self, *arguments, **options)

    monkeypatch.setattr(ForceField, "_solve", solve)
    small(calibration=0.2).fit(alloy(20), checkpoint=kept)
    assert there[:2] == [True, True]  # further solutions look for wrong labels
    assert not kept.exists()


def test_a_full_disk_is_no_end_of_a_fit(tmp_path, monkeypatch, few_rows):
    monkeypatch.setattr(_checkpointing, "_SECONDS", -1.0)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_checkpoint, "_write_array", full)
    with pytest.warns(UserWarning, match="no checkpoint was written: .*No space left on device"):
        ff = small().fit(alloy(), checkpoint=tmp_path / "sums")
    assert same_bits(ff.weights_, fitted(alloy).weights_)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- large frames


def test_a_frame_of_more_rows_than_usual_is_fitted(few_rows):
    frames = alloy(4)
    frames[2] = labeled(frames[2] * (2, 2, 2))
    ff = small().fit(frames)
    assert ff.training_["rows"] == {"energy": 4, "force": 3 * (12 + 32), "stress": 24}
    assert ff.evaluate(frames)["force"]["r2"] > 0.5


@pytest.mark.parametrize("n_rows", [1, 17, 40, 99])
def test_deviations_of_a_large_frame_in_pieces(monkeypatch, n_rows):
    ff = small(calibration=0.2).fit(alloy(20))
    large = alloy(1, seed=2)[0] * (3, 2, 2)
    large.rattle(0.05, seed=0)
    frames = [alloy(1, seed=3)[0], large, slab(), Atoms("Cu"), Atoms(), large]
    whole = ff.uncertainty(frames)
    covariance = ff.covariance(large, quantity="force")
    right = ForceField._plan
    width = 8 * ff.foundation_.whitening.n_columns
    monkeypatch.setattr(ForceField, "_plan", lambda self, of: replace(right(self, of), usual=n_rows * width))
    parts = ff.uncertainty(frames)
    for name in ("energy_std", "forces_std", "stress_std"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(ff.covariance(large, quantity="force"), covariance, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("quantity", ["energy", "force", "stress"])
def test_covariances_of_all_quantities_have_the_variances_on_the_diagonal(quantity):
    ff, frames = small(calibration=0.2).fit(alloy(20)), [*alloy(3, seed=2), slab(), Atoms("Cu")]
    stds = ff.uncertainty(frames)
    expected = {"energy": stds.energy_std, "force": stds.forces_std, "stress": stds.stress_std[:4]}[quantity].ravel()
    found = ff.covariance(frames, quantity=quantity)
    np.testing.assert_allclose(np.diag(found), expected**2, rtol=1e-9, atol=1e-18)
    assert same_bits(found, found.T.copy())
    cross = ff.covariance(frames[:1], frames, quantity=quantity)
    np.testing.assert_allclose(cross, found[: len(cross)], rtol=1e-8, atol=1e-14)


def test_a_quantity_that_there_is_not():
    with pytest.raises(InputError, match="quantity must be one of 'energy', 'force', 'stress', got 'forces'"):
        fitted(copper).covariance(copper(1), quantity="forces")


# ---------------------------------------------------------------- nothing, and what does not fit


def test_predictions_of_nothing():
    ff = fitted(copper)
    found = ff.predict([], uncertainty=True)
    assert (found.energy.shape, found.forces.shape, found.stress.shape) == ((0,), (0, 3), (0, 6))
    assert (found.energy_std.shape, found.forces_std.shape, found.stress_std.shape) == ((0,), (0, 3), (0, 6))
    assert found.offsets.tolist() == [0]


def test_evaluation_of_nothing():
    table = fitted(copper).evaluate(data.Dataset.from_arrays([]))
    assert table.rows == []
    assert "energy" not in table
    assert len(str(table).splitlines()) == 1
    with pytest.raises(InputError, match="source holds no frames"):
        fitted(copper).evaluate([])


def test_further_frames_with_unknown_species():
    ff = small().fit(copper())
    before = ff.state_.n_rows
    with pytest.raises(UnknownSpeciesError, match="the force field knows the species Cu, but the frames also hold Au"):
        ff.partial_fit(alloy(2))
    assert ff.state_.n_rows == before
    ff.partial_fit(copper(2, seed=4))
    assert ff.training_["frames"] == 8


def test_species_of_an_array_are_saved(tmp_path):
    ff = small(species=np.array(["Cu", "Au"])).fit(alloy())
    ff.save(tmp_path / "a")
    loaded = castile.load(tmp_path / "a")
    assert loaded.species == ["Cu", "Au"]
    assert same_bits(loaded.predict(alloy(2)).forces, ff.predict(alloy(2)).forces)


@pytest.mark.parametrize("calibration", [0.0, 0.3])
@pytest.mark.parametrize(
    "flat", [Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]]), Atoms("Cu", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]])]
)
def test_a_stress_without_a_cell_is_named(flat, calibration):
    frames = [*copper(8), flat, *copper(3, seed=1)]
    n = sum(map(len, frames))
    dataset = data.Dataset.from_arrays(
        frames, energies=np.zeros(12), forces=np.zeros((n, 3)), stresses=np.zeros((12, 6))
    )
    with pytest.raises(InputError, match="frame 8 has a stress, but its cell no volume; take the stress away"):
        small(calibration=calibration).fit(dataset)
    stresses = np.zeros((12, 6))
    stresses[8] = np.nan
    small(calibration=calibration).fit(replace(dataset, stresses=stresses))


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_force_fields_and_their_calculators_can_be_copied(copied):
    ff, atoms = small(calibration=0.2).fit(alloy(20)), slab()
    twin = copied(ff)
    one, two = (of.predict(atoms, uncertainty=True, committee=2) for of in (ff, twin))
    for name in ("energy", "forces", "stress", "committee", "energy_std", "forces_std", "stress_std"):
        assert same_bits(getattr(one, name), getattr(two, name)), name
    results = []
    for calculator in (ff.calculator(), copied(ff.calculator()), twin.calculator()):
        again = atoms.copy()
        again.calc = calculator
        results.append((again.get_potential_energy(), again.get_forces(), again.get_stress()))
    for other in results[1:]:
        assert all(same_bits(np.asarray(a), np.asarray(b)) for a, b in zip(results[0], other, strict=True))


# ---------------------------------------------------------------- threads of BLAS


def blas_threads():
    return {entry["filepath"]: entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}


def openmp_threads():
    return {entry["filepath"]: entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "openmp"}


def test_two_threads_limit_blas_together():
    """Who comes first leaves first, and must not give back what the other still needs."""
    first_in, second_in, first_out, seen = threading.Event(), threading.Event(), threading.Event(), {}

    def first():
        with one_thread():
            first_in.set()
            second_in.wait(10)
            seen["first"] = blas_threads()
        first_out.set()

    def second():
        first_in.wait(10)
        with one_thread():
            second_in.set()
            first_out.wait(10)
            seen["second"] = blas_threads()

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert before
        threads = [threading.Thread(target=target) for target in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert blas_threads() == before
    assert set(seen["first"].values()) == set(seen["second"].values()) == {1}


def test_threads_of_openmp_are_left_alone():
    """They are of each thread: what the first had is nothing to the last."""
    first_in, second_in, first_out, seen = threading.Event(), threading.Event(), threading.Event(), {}

    def first():
        with threadpool_limits(1, user_api="openmp"):
            with one_thread():
                first_in.set()
                second_in.wait(10)
            first_out.set()

    def second():
        first_in.wait(10)
        before = openmp_threads()
        with one_thread():
            second_in.set()
            first_out.wait(10)
        seen["second"] = before, openmp_threads()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen["second"][0] == seen["second"][1]


def test_an_error_inside_gives_the_threads_back():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(ZeroDivisionError), one_thread(), one_thread():
            raise ZeroDivisionError
        assert blas_threads() == before


def test_fits_in_two_threads_have_the_same_bits():
    made = {}

    def fit(number):
        made[number] = small().fit(alloy())

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(same_bits(ff.weights_, fitted(alloy).weights_) for ff in made.values())
    assert len(made) == 2
