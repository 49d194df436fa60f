"""Sums over rows: in pieces, by several workers, within bounded memory, broken off and resumed; pickles and clones."""

import copy
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from checks import assert_close, same_bits
from sklearn.base import clone
from tiny_force_fields import alloy, copper, fitted, least_memory, small, small_soap, small_terms

import castile
from castile import ForceField, data
from castile.errors import FileReadError, InputError
from castile.models.force_field import PairTerm, SoapTerm, _checkpointing


def of_sums(ff):
    """Return what ``solve`` notes; ``fit`` adds errors of training and held-out frames."""
    return {name: value for name, value in ff.training_.items() if name != "errors"}


def assert_same_fit(one, two):
    """Equal to the last bit: weights, their posterior, and what is predicted."""
    assert same_bits(one.weights_, two.weights_)
    assert same_bits(one.solution_.factor, two.solution_.factor)
    assert (one.prior_, one.noise_) == (two.prior_, two.noise_)
    assert of_sums(one) == of_sums(two)
    frames = alloy(2, seed=3) if len(one.species_) > 1 else copper(2, seed=3)
    first, second = (ff.predict(frames, uncertainty=True, committee=2) for ff in (one, two))
    for name in ("energy", "forces", "stress", "energies", "committee", "energy_std", "forces_std", "stress_std"):
        assert same_bits(getattr(first, name), getattr(second, name)), name


# ---------------------------------------------------------------- in pieces


def test_a_fit_is_its_three_steps():
    assert_same_fit(small().prepare(alloy()).accumulate(alloy()).solve(), small().fit(alloy()))


def test_pieces_that_are_added_one_after_the_other_give_the_same_bits():
    frames = alloy()
    pieces = small().prepare(frames)
    for first, last in ((0, 1), (1, 5), (5, 8)):
        pieces.accumulate(frames[first:last])
    pieces.solve()
    whole = small().fit(frames)
    assert same_bits(pieces.weights_, whole.weights_)
    assert pieces.training_["frames"] == 8
    assert len(pieces.training_["fingerprints"]) == 3


def test_partial_fit_adds_frames():
    frames = alloy(10)
    ff = small().partial_fit(frames[:8])
    assert_same_fit(ff, small().fit(frames[:8]))
    ff.partial_fit(frames[8:])
    expected = small().prepare(frames[:8]).accumulate(frames).solve()
    # Solving in between shifts the blocks that rows are summed in.
    assert_close(ff.weights_, expected.weights_, 1e-8)
    assert ff.training_["frames"] == 10
    assert ff.training_["rows"] == expected.training_["rows"]


def test_a_fit_forgets_earlier_frames():
    ff = small().fit(copper())
    assert_same_fit(ff.fit(alloy()), small().fit(alloy()))


def test_solving_twice_changes_nothing():
    ff = small().fit(alloy())
    before = ff.weights_
    assert same_bits(ff.solve().weights_, before)


def test_a_fit_with_calibration_has_the_weights_of_all_frames():
    frames = alloy(40)
    calibrated, plain = small(calibration=0.2).fit(frames), small().fit(frames)
    assert calibrated.calibration_.n_frames == 8
    assert calibrated.training_["rows"] == plain.training_["rows"]
    # Rows come in another order: their sums are rounded otherwise, which weights of close points show most.
    assert_close(calibrated.weights_, plain.weights_, 1e-6)
    other = alloy(5, seed=1)
    assert_close(calibrated.predict(other).forces, plain.predict(other).forces, 1e-8)


# ---------------------------------------------------------------- merging


def _worker(pickled, frames):
    return pickle.dumps(pickle.loads(pickled).accumulate(frames))


def test_sums_of_workers_merge_to_those_of_one_fit():
    frames = alloy(12)
    prepared = small().prepare(frames)
    parts = [frames[:5], frames[5:6], frames[6:]]
    workers = [pickle.loads(_worker(pickle.dumps(prepared), part)) for part in parts]
    for worker in workers:
        prepared.merge(worker)
    prepared.solve()
    whole = small().fit(frames)
    assert_close(prepared.weights_, whole.weights_, 1e-8)
    assert prepared.training_["rows"] == whole.training_["rows"]
    assert prepared.training_["frames"] == 12
    assert len(prepared.training_["fingerprints"]) == 3


@pytest.mark.slow
def test_workers_are_processes():
    frames = alloy(12)
    prepared = small().prepare(frames)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        futures = [pool.submit(_worker, pickle.dumps(prepared), part) for part in (frames[:6], frames[6:])]
        for future in futures:
            prepared.merge(pickle.loads(future.result()))
    assert_close(prepared.solve().weights_, small().fit(frames).weights_, 1e-8)


def test_what_is_merged_stays_as_it_is():
    one, two = (small().prepare(alloy()).accumulate(part) for part in (alloy()[:3], alloy()[3:]))
    before = pickle.dumps(two.state_)
    one.merge(two)
    assert pickle.dumps(two.state_) == before
    with pytest.raises(InputError, match="itself"):
        one.merge(one)


@pytest.mark.parametrize(
    "other",
    [
        lambda: small(zeta=2.0, n_sparse=40),  # all points, which are the same
        lambda: small(n_sparse=40, repulsion=False),
        lambda: small(n_sparse=40, noise={"energy": 0.1}),
        lambda: small(n_sparse=40, baseline={"Cu": 1.0}),
        lambda: small(terms=[SoapTerm(small_soap(), 3.0, 40, prior_factor=2.0), PairTerm(4, 4.0)]),
        lambda: small(terms=[SoapTerm(small_soap(), 3.0, 40), PairTerm(4, 4.0, prior_factor=2.0)]),
        lambda: small(terms=[SoapTerm(small_soap(4.1), 3.0, 40), PairTerm(4, 4.0)]),
        lambda: small(terms=[SoapTerm(small_soap(), 3.0, 40), PairTerm(4, 4.1)]),
        lambda: small(n_sparse=10),
    ],
)
def test_sums_of_another_foundation_are_not_merged(other):
    frames = copper(5)
    mine = small(n_sparse=40).prepare(frames)
    theirs = other().prepare(frames).accumulate(frames)
    with pytest.raises(InputError, match="was prepared otherwise"):
        mine.merge(theirs)
    assert sum(mine.state_.n_rows.values()) == 0


def test_the_foundation_depends_on_random_points_through_the_seed():
    made = [
        small(terms=[SoapTerm(small_soap(), 3.0, 5, "random")], seed=seed).prepare(copper()).foundation_.digest()
        for seed in (0, 0, 1)
    ]
    assert made[0] == made[1] != made[2]


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("copies", [1, 4, 16])
def test_memory_for_rows_does_not_change_the_bits(copies):
    frames = alloy(4) * copies
    whole = small().fit(frames)
    least = least_memory(whole)
    for share in (1, 4, 16):
        limited = small(max_memory=max(16 * least // share, least)).fit(frames)
        assert same_bits(limited.weights_, whole.weights_)
        assert limited.training_ == whole.training_


def test_less_memory_takes_smaller_chunks(monkeypatch):
    frames = alloy(40)
    sizes = []
    right = ForceField._chunks

    def noted(self, dataset):
        for n, rows in right(self, dataset):
            sizes.append(n)
            yield n, rows

    monkeypatch.setattr(ForceField, "_chunks", noted)
    small().fit(frames)
    assert sizes == [40]
    sizes.clear()
    ff = small()
    ff.max_memory = least_memory(small().prepare(frames))
    ff.fit(frames)
    assert len(sizes) > 3
    assert sum(sizes) == 40


def test_repeated_data_give_the_weights_of_narrower_noise():
    once = small(noise={"energy": 0.001, "force": 0.025, "stress": 0.001}, prior=5.0).fit(alloy())
    four = small(noise={"energy": 0.002, "force": 0.05, "stress": 0.002}, prior=5.0)
    four.prepare(alloy()).accumulate(alloy() * 4).solve()
    assert_close(four.weights_, once.weights_, 1e-8)


_PEAK = textwrap.dedent(
    """
    import resource, sys
    sys.path[:0] = {paths!r}
    import numpy as np
    from ase.build import bulk
    import castile
    from castile import SOAP, ForceField, data
    from castile.models.force_field import PairTerm, SoapTerm

    castile.set_num_threads(1)
    copies, limit, calibration = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(64 * copies):
        atoms = bulk("Cu", cubic=True, a=3.6)
        atoms.rattle(0.1, rng=rng)
        frames.append(atoms)
    n = len(frames)
    dataset = data.Dataset.from_arrays(
        frames, energies=rng.normal(size=n), forces=rng.normal(size=(4 * n, 3)), stresses=rng.normal(size=(n, 6))
    )
    soap = SOAP(4.0, n_max=4, l_max=4, sigma=0.5)
    def make(memory):
        terms = [SoapTerm(soap, 4.0, 600, "random"), PairTerm(4, 4.0)]
        return ForceField(terms, calibration=calibration, max_memory=memory)
    make(1 << 30).fit(dataset.subset(slice(0, 10)))  # whatever is loaded once
    def peak():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = peak()
    ff = make(limit).fit(dataset)
    print(ff.training_["columns"], peak() - before)
    """
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("copies", "megabytes", "calibration"), [(1, 45, 0.0), (4, 45, 0.0), (4, 45, 0.2), (16, 45, 0.2), (16, 90, 0.2)]
)
def test_peak_memory_stays_within_the_limit(copies, megabytes, calibration):
    """That of what is taken in beside the sums so far, too."""
    limit = megabytes << 20
    script = _PEAK.format(paths=[path for path in sys.path if path])
    arguments = [
        sys.executable,
        *(["-S"] if sys.flags.no_site else []),
        "-c",
        script,
        str(copies),
        str(limit),
        str(calibration),
    ]
    found = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=600)
    columns, peak = map(int, found.stdout.split())
    assert columns > 250
    assert peak <= 1.1 * limit, f"{peak / 2**20:.0f} MiB"


# ---------------------------------------------------------------- checkpoints


class BrokenOffError(Exception):
    """What ends a fit."""


@pytest.fixture
def breaking(monkeypatch):
    """Let every frame be a chunk with a checkpoint after it, and break off before a given one."""
    monkeypatch.setattr(_checkpointing, "_SECONDS", -1.0)
    right = ForceField._plan
    monkeypatch.setattr(ForceField, "_plan", lambda self, of: replace(right(self, of), usual=20 * 8 * 40))

    def break_before(chunk):
        chunks = ForceField._chunks

        def broken(self, dataset):
            for number, item in enumerate(chunks(self, dataset)):
                if number == chunk:
                    raise BrokenOffError
                yield item

        context = monkeypatch.context()
        patch = context.__enter__()
        patch.setattr(ForceField, "_chunks", broken)
        return context

    return break_before


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_a_fit_that_is_broken_off_goes_on_to_the_same_file(tmp_path, breaking, chunk):
    frames, kept = alloy(), tmp_path / "sums"
    context = breaking(chunk)
    with pytest.raises(BrokenOffError):
        small().fit(frames, checkpoint=kept)
    context.__exit__(None, None, None)
    assert kept.exists()
    done = []
    resumed = small()
    right = resumed._chunks
    resumed._chunks = lambda dataset: (done.append(len(dataset)), right(dataset))[1]
    resumed.fit(frames, checkpoint=kept)
    del resumed._chunks
    assert done == [8 - chunk]  # the others are not looked at again
    assert not kept.exists()
    small().fit(frames).save(tmp_path / "whole")
    resumed.save(tmp_path / "resumed")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()


def test_with_calibration_too(tmp_path, breaking):
    frames, kept = alloy(32), tmp_path / "sums"
    context = breaking(5)
    with pytest.raises(BrokenOffError):
        small(calibration=0.2).fit(frames, checkpoint=kept)
    context.__exit__(None, None, None)
    resumed = small(calibration=0.2).fit(frames, checkpoint=kept)
    resumed.save(tmp_path / "resumed")
    small(calibration=0.2).fit(frames).save(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()


@pytest.fixture
def kept(tmp_path, breaking):
    """A checkpoint of three frames of eight."""
    context = breaking(3)
    with pytest.raises(BrokenOffError):
        small().fit(alloy(), checkpoint=tmp_path / "sums")
    context.__exit__(None, None, None)
    return tmp_path / "sums"


@pytest.mark.parametrize(
    ("ff", "frames"),
    [
        (small(), alloy(seed=1)),
        (small(), alloy(7)),
        (small(), alloy()[::-1]),
        (small(), data.read(alloy()).with_weights(energy=2.0)),
        (small(zeta=2.0), alloy()),
        (small(n_sparse=7), alloy()),
        (small(repulsion=False), alloy()),
        (small(baseline={"Cu": 1.0}), alloy()),
        (small(noise={"force": 0.2}), alloy()),
        (small(reference=LennardJones(sigma=2.3, epsilon=0.1, rc=5.0)), alloy()),
    ],
    ids=["positions", "fewer", "order", "weights", "zeta", "points", "repulsion", "baseline", "noise", "reference"],
)
def test_a_checkpoint_of_something_else_is_refused(kept, ff, frames):
    before = kept.read_bytes()
    with pytest.raises(InputError, match="is of other frames or of another force field; remove it"):
        ff.fit(frames, checkpoint=kept)
    assert kept.read_bytes() == before


def test_a_checkpoint_of_another_reference_is_refused_even_if_all_else_is_given(tmp_path, breaking):
    options = {"baseline": {"Cu": 0.0, "Au": 0.0}, "terms": [PairTerm(4, 4.0)], "repulsion": False}
    context = breaking(3)
    with pytest.raises(BrokenOffError):
        small(**options).fit(alloy(), checkpoint=tmp_path / "sums")
    context.__exit__(None, None, None)
    reference = LennardJones(sigma=2.3, epsilon=0.1, rc=5.0)
    with pytest.raises(InputError, match="of another force field"):
        small(reference=reference, **options).fit(alloy(), checkpoint=tmp_path / "sums")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:600] + b"x" + b[601:]])
def test_a_damaged_checkpoint_is_refused(kept, damage):
    kept.write_bytes(damage(kept.read_bytes()))
    with pytest.raises(FileReadError, match="start the fit again without it"):
        small().fit(alloy(), checkpoint=kept)


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path):
    with pytest.raises(InputError, match="its folder does not exist; create it"):
        small().fit(alloy(), checkpoint=tmp_path / "nowhere" / "sums")


# ---------------------------------------------------------------- scikit-learn's customs


def test_parameters_can_be_asked_for_and_set():
    ff = ForceField()
    parameters = ff.get_params()
    assert {"terms", "descriptor", "zeta", "n_sparse", "noise", "prior", "seed", "max_memory"} <= set(parameters)
    assert ff.set_params(prior=2.0, n_sparse=5) is ff
    assert (ff.prior, ff.n_sparse) == (2.0, 5)
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        ff.set_params(nothing=1)
    assert ForceField(**parameters).get_params() == parameters
    soap = small_soap()
    assert ForceField(descriptor=soap).set_params(descriptor__cutoff=3.5).descriptor.cutoff == 3.5


def test_a_clone_is_not_fitted_and_fits_alike():
    ff = fitted(alloy)
    twin = clone(ff)
    assert not hasattr(twin, "potential_")
    assert not hasattr(twin, "state_")
    assert twin.get_params().keys() == ff.get_params().keys()
    assert_same_fit(twin.fit(alloy()), ff)


def test_parameters_are_not_changed_by_a_fit():
    soap, terms = small_soap(), small_terms()
    noise, baseline = {"energy": 0.01}, {"Cu": 0.5}
    ff = ForceField(terms=terms, noise=noise, baseline=baseline, calibration=0.0)
    before = ff.get_params()
    ff.fit(alloy())
    assert ff.get_params() == before
    assert noise == {"energy": 0.01}
    assert baseline == {"Cu": 0.5}
    other = ForceField(descriptor=soap, n_sparse=5, calibration=0.0).fit(alloy())
    assert other.descriptor is soap
    assert not hasattr(soap, "species_")


def test_frames_are_not_changed_by_a_fit_or_a_prediction():
    frames = alloy()
    before = [(a.positions.copy(), a.cell.array.copy(), a.get_potential_energy(), a.calc) for a in frames]
    ff = small().fit(frames)
    ff.predict(frames, uncertainty=True)
    for atoms, (positions, cell, energy, calc) in zip(frames, before, strict=True):
        assert same_bits(atoms.positions, positions)
        assert same_bits(atoms.cell.array, cell)
        assert atoms.get_potential_energy() == energy
        assert atoms.calc is calc


@pytest.mark.parametrize("copied", [lambda ff: pickle.loads(pickle.dumps(ff)), copy.deepcopy, copy.copy])
def test_pickles_and_copies_predict_the_same_bits_and_take_in_more(copied):
    ff = fitted(alloy)
    twin = copied(ff)
    assert_same_fit(twin, ff)
    twin = copy.deepcopy(twin)
    twin.partial_fit(alloy(2, seed=8))
    other = small().fit(alloy())
    other.partial_fit(alloy(2, seed=8))
    assert same_bits(twin.weights_, other.weights_)


def test_pickles_of_what_is_prepared_or_summed_or_neither():
    frames = alloy()
    new = pickle.loads(pickle.dumps(small()))
    prepared = pickle.loads(pickle.dumps(new.prepare(frames)))
    summed = pickle.loads(pickle.dumps(prepared.accumulate(frames)))
    assert not hasattr(summed, "potential_")
    assert_same_fit(summed.solve(), fitted(alloy))


def test_a_pickle_holds_nothing_compiled():
    assert b"castile._core" not in pickle.dumps(fitted(alloy))


def test_a_calibrated_force_field_keeps_its_factors_in_a_pickle():
    ff = small(calibration=0.2).fit(alloy(20))
    twin = pickle.loads(pickle.dumps(ff))
    assert twin.calibration_ == ff.calibration_
    assert same_bits(twin.uncertainty(alloy(2)).forces_std, ff.uncertainty(alloy(2)).forces_std)


def test_repr_says_how_it_is_made():
    assert repr(ForceField()) == "ForceField()"
    text = repr(ForceField(n_sparse=5, prior=2.0))
    assert text == "ForceField(n_sparse=5, prior=2.0)"
    assert "SoapTerm" in repr(fitted(alloy))
    assert "zeta=3.0" in repr(fitted(alloy))


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("n", [1, 2])
def test_threads_do_not_change_the_bits(n):
    with castile.threads(n):
        ff = small(calibration=0.2).fit(alloy(20))
        found = ff.predict(alloy(6, seed=2), uncertainty=True, committee=3)
    with castile.threads(3):
        other = small(calibration=0.2).fit(alloy(20))
        expected = other.predict(alloy(6, seed=2), uncertainty=True, committee=3)
    assert same_bits(ff.weights_, other.weights_)
    for name in ("energy", "forces", "stress", "committee", "energy_std", "forces_std", "stress_std"):
        assert same_bits(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_do_not_change_the_bits(size):
    ff = fitted(alloy)
    frames = alloy(9, seed=2)
    frames[4] = frames[4] * (2, 1, 1)
    whole = ff.predict(frames, uncertainty=True, committee=3)
    parts = [
        ff.predict(frames[first : first + size], uncertainty=True, committee=3) for first in range(0, len(frames), size)
    ]
    for name in ("energy", "forces", "stress", "energies", "energy_std", "forces_std", "stress_std"):
        assert same_bits(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)), name
    assert same_bits(np.concatenate([part.committee for part in parts], axis=1), whole.committee)


def test_memory_does_not_change_the_bits_of_uncertainties():
    ff = small().fit(alloy())
    frames = alloy(9, seed=2)
    whole = ff.uncertainty(frames)
    ff.max_memory = least_memory(ff)
    parts = ff.uncertainty(frames)
    for name in ("energy_std", "forces_std", "stress_std"):
        assert same_bits(getattr(parts, name), getattr(whole, name))


def test_one_structure_is_a_sequence_of_one():
    ff, atoms = fitted(alloy), alloy(1, seed=2)[0]
    assert same_bits(ff.predict(atoms).forces, ff.predict([atoms]).forces)
    assert same_bits(ff.covariance(atoms), ff.covariance([atoms]))
