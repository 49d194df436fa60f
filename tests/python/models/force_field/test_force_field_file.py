"""A force field from a file is the one that was saved, or none."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from checks import same_bits
from damaged_files import mutated, rebuilt, write_new
from make_force_field_file import NAMES, STORED, structures
from tiny_force_fields import alloy, clusters, copper, fitted, organic, small, small_products, small_soap

import castile
from castile import ForceField
from castile.errors import CastileError, FileReadError, FileWriteError, InputError, InputTypeError, NotFittedError
from castile.models.force_field import PairTerm, ProductTerm, SoapTerm
from castile.models.force_field import _model_file as model_file
from castile.models.force_field._model_file import read_model, write_model

pytestmark = pytest.mark.usefixtures("no_sync")


def everything(ff, frames):
    """Return all that a force field says about frames, by name."""
    found = ff.predict(frames, uncertainty=True, committee=2)
    return {**{name: getattr(found, name) for name in NAMES}, "covariance": ff.covariance(frames)}


def assert_equal(one, two):
    for name, value in one.items():
        assert same_bits(value, two[name]), name


@pytest.fixture(scope="module")
def calibrated():
    return small(calibration=0.2).fit(alloy(20))


@pytest.fixture
def saved(tmp_path, calibrated):
    path = tmp_path / "a.castile"
    calibrated.save(path)
    return path


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("zeta", [1, 2, 3, 2.5])
@pytest.mark.parametrize("make", [copper, alloy, clusters, organic])
def test_what_is_loaded_says_the_same_to_the_last_bit(tmp_path, make, zeta):
    ff = fitted(make, zeta)
    ff.save(tmp_path / "a")
    frames = make(3, seed=4)
    for loaded in (castile.load(tmp_path / "a"), ForceField.load(str(tmp_path / "a"))):
        assert_equal(everything(loaded, frames), everything(ff, frames))


def test_several_terms_and_no_repulsion(tmp_path):
    terms = [
        SoapTerm(small_soap(3.0), 2.0, 5),
        PairTerm(4, 4.2, prior_factor=2.0),
        SoapTerm(small_soap(4.5), 4.0, 6),
        ProductTerm(small_products(4.2), prior_factor=0.5),
    ]
    ff = ForceField(terms, repulsion=False, calibration=0.0).fit(alloy())
    ff.save(tmp_path / "a")
    loaded = castile.load(tmp_path / "a")
    assert_equal(everything(loaded, alloy(3)), everything(ff, alloy(3)))
    assert loaded.foundation_.repulsion is None
    assert [type(term) for term in loaded.terms] == [SoapTerm, PairTerm, SoapTerm, ProductTerm]
    assert loaded.terms[3].prior_factor == 0.5
    assert loaded.terms[3].descriptor.degrees == [3, 4, 4, 4]


def test_whatever_was_fitted_is_there(saved, calibrated):
    loaded = castile.load(saved)
    for name in ("species_", "noise_", "prior_", "calibration_", "training_"):
        assert getattr(loaded, name) == getattr(calibrated, name), name
    for name in ("weights_", "baseline_energies_"):
        assert same_bits(getattr(loaded, name), getattr(calibrated, name)), name
    assert loaded.foundation_.baseline.origin == calibrated.foundation_.baseline.origin
    assert loaded.foundation_.lengths == calibrated.foundation_.lengths
    assert loaded.foundation_.digest() == calibrated.foundation_.digest()
    for name in ("noise", "prior", "species", "baseline", "repulsion", "calibration", "max_memory", "seed"):
        assert getattr(loaded, name) == getattr(calibrated, name), name
    assert repr(loaded).startswith("ForceField(")


def test_a_loaded_one_saves_the_same_file_and_fits_anew(saved, tmp_path, calibrated):
    loaded = castile.load(saved)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
    assert_equal(everything(loaded.fit(alloy(20)), alloy(3)), everything(calibrated, alloy(3)))


def test_a_loaded_one_takes_in_no_more_frames(saved):
    loaded = castile.load(saved)
    before = everything(loaded, alloy(2))
    with pytest.raises(InputError, match="is from a file, which holds no sums over rows"):
        loaded.partial_fit(alloy(2))
    with pytest.raises(NotFittedError, match="no sums over rows; call prepare"):
        loaded.accumulate(alloy(2))
    assert_equal(everything(loaded, alloy(2)), before)


def test_equal_fits_are_equal_files_and_others_are_not(tmp_path, calibrated):
    def of(name, ff):
        ff.save(tmp_path / name)
        return (tmp_path / name).read_bytes()

    def random_points(seed):
        return small(terms=[SoapTerm(small_soap(), 3.0, 5, "random")], calibration=0.2, seed=seed).fit(alloy(20))

    assert of("a", calibrated) == of("b", small(calibration=0.2).fit(alloy(20)))
    assert of("c", random_points(0)) == of("d", random_points(0))
    assert (tmp_path / "c").read_bytes() != of("e", random_points(1))


def test_parameters_of_numpy_types_are_saved(tmp_path):
    ff = small(
        noise={"energy": np.float64(0.002), "force": np.float32(0.0625)},
        prior=np.float64(2.0),
        baseline={"Cu": np.float64(0.25)},
        species=("Cu", "Au"),
        max_memory=np.int64(1 << 30),
        seed=np.int64(3),
        calibration=np.float64(0.0),
        repulsion=np.True_,
    ).fit(alloy())
    ff.save(tmp_path / "a")
    assert_equal(everything(castile.load(tmp_path / "a"), alloy(2)), everything(ff, alloy(2)))


def test_a_fit_by_rows_is_saved_too(tmp_path):
    ff = small(noise={"energy": 1e-9, "force": 1e-9, "stress": 1e-10}, prior=100.0).fit(alloy(6))
    ff.save(tmp_path / "a")
    assert_equal(everything(castile.load(tmp_path / "a"), alloy(2)), everything(ff, alloy(2)))


def test_a_kernel_of_less_than_full_rank_is_saved_too(tmp_path):
    """Of identical environments, whose whitened columns are fewer than the points if Cholesky's factorization fails."""
    frames = [atoms for atoms in copper(3) for _ in range(2)]
    ff = small(terms=[SoapTerm(small_soap(), 1.0, 12, "random"), PairTerm(4, 4.0)]).fit(frames)
    ff.save(tmp_path / "a")
    assert_equal(everything(castile.load(tmp_path / "a"), copper(2)), everything(ff, copper(2)))


def test_a_reference_calculator_must_be_given_again(tmp_path):
    from ase.calculators.emt import EMT

    frames = alloy(4)
    ff = small(reference=EMT()).fit(frames)
    ff.save(tmp_path / "a")
    with pytest.raises(FileReadError, match=r"give it: castile\.load\(path, reference=\.\.\.\)"):
        castile.load(tmp_path / "a")
    loaded = castile.load(tmp_path / "a", reference=EMT())
    assert_equal(everything(loaded, frames), everything(ff, frames))


@pytest.mark.parametrize("function", ["save", "load"])
@pytest.mark.parametrize("path", [5, None, b"name", ["a"]])
def test_names_of_files_are_paths(calibrated, function, path):
    with pytest.raises(InputTypeError, match="path must be the name of a file"):
        getattr(calibrated, function)(path)


def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError, match="call fit with labeled frames first"):
        small().save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(saved, calibrated, monkeypatch):
    before = saved.read_bytes()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file, "write_array", full)
    with pytest.raises(FileWriteError, match="No space left on device"):
        calibrated.save(saved)
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 1


# ---------------------------------------------------------------- older versions


@pytest.mark.parametrize("path", sorted(STORED.glob("*.castile")), ids=lambda path: path.stem)
def test_files_of_every_version_keep_loading(path):
    """To the digits that other machines, and other versions of NumPy and LAPACK, have in common."""
    assert path.stat().st_size < 60_000
    stored = json.loads(path.with_suffix(".json").read_text())
    frames = [Atoms(**values) for values in stored["structures"]]
    found = castile.load(path).predict(frames, uncertainty=True, committee=2, seed=1)
    for name, values in stored["predictions"].items():
        expected = np.array([[np.nan] * 6 if row is None else row for row in values])
        relative = 1e-9 if name in ("energy", "forces", "stress", "energies") else 1e-5
        np.testing.assert_allclose(getattr(found, name), expected, rtol=relative, atol=relative, err_msg=name)


def test_every_version_has_a_stored_file():
    versions = {path.name for path in STORED.glob("*.castile")}
    assert versions == {f"version_{v}.castile" for v in range(1, model_file.FORMAT_VERSION + 1)}


def test_the_structures_of_the_stored_file_are_not_empty():
    assert len(structures()) == 4
    assert Path(STORED / "version_1.json").stat().st_size < 60_000


# ---------------------------------------------------------------- damage


def outcome(path, frames):
    """Return what a file says about frames, or None if it is refused."""
    try:
        loaded = ForceField.load(path)
    except FileReadError:
        return None
    return everything(loaded, frames)


@pytest.fixture
def tiny(tmp_path):
    """A file as small as can be, what it says, and frames."""
    frames = copper(2)
    ff = small(terms=[SoapTerm(small_soap(n_max=2, l_max=1), 2.0, 3), PairTerm(2, 4.0)]).fit(frames)
    path = tmp_path / "tiny"
    ff.save(path)
    return path, everything(ff, frames[:1]), frames[:1]


def test_two_thousand_mutations_are_refused_or_change_nothing(tiny):
    path, expected, frames = tiny
    good = path.read_bytes()
    rng = random.Random(11)
    refused = 0
    for number in range(2000):
        write_new(path, mutated(good, rng, number))
        found = outcome(path, frames)
        if found is None:
            refused += 1
        else:
            assert_equal(found, expected)
    assert 1500 < refused < 2000


def test_two_thousand_mutations_with_sums_that_fit_are_refused_or_predict(tiny):
    """Whoever can make the sums fit can make another model, but nothing worse."""
    path, _, frames = tiny
    good = path.read_bytes()
    rng = random.Random(12)
    refused = 0
    for number in range(2000):
        write_new(path, good)

        def change(members, number=number):
            name = "metadata.json" if number % 2 else rng.choice(sorted(set(members) - {"metadata.json"}))
            members[name] = mutated(members[name], rng, number // 2)

        rebuilt(path, change)
        with np.errstate(all="ignore"):
            refused += outcome(path, frames) is None
    assert 500 < refused < 2000


def assert_refused(path, what):
    try:
        ForceField.load(path)
    except FileReadError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        raise AssertionError(f"nobody cares about {what}")


def places(value, path=()):
    """Return the paths to all that is inside of metadata."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


FREE = (("training",), ("parameters", "noise"), ("solution", "noise"))  # whatever they hold


def test_every_entry_that_is_missing_is_noticed(saved):
    metadata, arrays = read_model(saved)
    for place in list(places(metadata)):
        if any(place[: len(free)] == free and place != free for free in FREE) or not isinstance(place[-1], str):
            continue
        if "parameters" in place[2:-1]:
            continue  # of descriptors, whose missing ones are what older versions did not have
        if place in {("prior_shares",), ("domain",)}:
            continue  # the same
        changed = json.loads(json.dumps(metadata))
        del at(changed, place[:-1])[place[-1]]
        write_model(saved, changed, arrays)
        assert_refused(saved, place)


def test_files_of_earlier_versions_are_read(saved, calibrated):
    """Which had one prior for all terms, and no domain."""
    metadata, arrays = read_model(saved)
    for name in ("prior_shares", "domain"):
        del metadata[name]
    write_model(saved, metadata, {name: array for name, array in arrays.items() if not name.startswith("domain/")})
    loaded = castile.load(saved)
    assert_equal(everything(loaded, alloy(3)), everything(calibrated, alloy(3)))
    assert loaded.prior_shares_ == (1.0,) * len(loaded.terms)


def test_every_array_that_is_missing_is_noticed(saved):
    metadata, arrays = read_model(saved)
    assert len(arrays) >= 8
    for name in arrays:
        write_model(saved, metadata, {other: array for other, array in arrays.items() if other != name})
        assert_refused(saved, name)


SLOW = [pytest.param(value, marks=pytest.mark.slow) for value in (True, -1, 3, 1e308, 10**400, [], {"a": 1})]


@pytest.mark.parametrize("value", [None, "x", *SLOW], ids=lambda value: repr(value)[:9])
def test_entries_of_another_kind_are_refused_or_predict(saved, value):
    metadata, arrays = read_model(saved)
    frames = alloy(1)
    for place in list(places(metadata)):
        changed = json.loads(json.dumps(metadata))
        at(changed, place[:-1])[place[-1]] = value
        write_model(saved, changed, arrays)
        with np.errstate(all="ignore"):
            try:
                outcome(saved, frames)
            except Exception as error:
                raise AssertionError(f"{place} = {value!r}") from error


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[..., :-1],
        lambda a: np.concatenate([a, a], axis=-1),
        lambda a: a[None],
        lambda a: a.ravel()[0],
        lambda a: a[:0],
        lambda a: a * math.nan,
        lambda a: a * 0.0,
        lambda a: a * -1.0,
        lambda a: a + math.inf,
        lambda a: a * 1e300,
        lambda a: a.astype(np.float32),
        lambda a: np.zeros(a.shape, dtype=np.int64),
    ],
    ids="shorter longer deeper scalar empty nan zero negative infinite huge single integers".split(),  # noqa: SIM905
)
def test_arrays_of_another_shape_or_with_other_numbers_are_refused_or_predict(saved, change):
    metadata, arrays = read_model(saved)
    frames = alloy(1)
    for name in arrays:
        with np.errstate(all="ignore"):
            write_model(saved, metadata, {**arrays, name: change(arrays[name])})
            try:
                found = outcome(saved, frames)
            except Exception as error:
                raise AssertionError(name) from error
            assert found is None or arrays[name].shape == np.shape(change(arrays[name])), name


def test_nan_in_an_array_is_refused(saved):
    metadata, arrays = read_model(saved)
    for name, array in arrays.items():
        bad = array.copy()
        bad.flat[0] = np.nan
        write_model(saved, metadata, {**arrays, name: bad})
        assert_refused(saved, name)


def test_another_model_is_named(saved):
    metadata, arrays = read_model(saved)
    write_model(saved, {**metadata, "model": "Lookup"}, arrays)
    with pytest.raises(FileReadError, match="holds a Lookup, no force field"):
        castile.load(saved)
    write_model(saved, {}, {})
    with pytest.raises(FileReadError, match="holds a model without a name, no force field"):
        castile.load(saved)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(FileReadError, match="does not exist"):
        castile.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("3\n\nCu 0 0 0\n")
    with pytest.raises(FileReadError, match="is not a model file of Castile"):
        castile.load(tmp_path / "text")
    assert issubclass(FileReadError, CastileError)
