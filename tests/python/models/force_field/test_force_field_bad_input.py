"""What cannot be fitted or predicted is refused with the name of the argument and a remedy; odd data are fitted."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from tiny_force_fields import (
    alloy,
    copper,
    fitted,
    labeled,
    least_memory,
    small,
    small_products,
    small_soap,
    small_terms,
)

import castile
from castile import ForceField, data
from castile.errors import (
    CastileError,
    InputError,
    InputTypeError,
    MemoryLimitError,
    NotFittedError,
    UnknownSpeciesError,
)
from castile.models.force_field import PairTerm, ProductTerm, SoapTerm


def lone(symbol):
    return labeled(Atoms(symbol), kinds=("energy",))


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"terms": 5}, InputTypeError, "or a list or tuple of SoapTerm, ProductTerm and PairTerm, got int"),
        ({"terms": PairTerm()}, InputTypeError, "or a list or tuple of SoapTerm, ProductTerm and PairTerm"),
        ({"terms": iter([PairTerm()])}, InputTypeError, "or a list or tuple of SoapTerm"),
        ({"terms": "soap"}, InputError, "terms must be one of 'fast', 'balanced', 'accurate', got 'soap'"),
        ({"terms": [small_soap()]}, InputTypeError, "terms must be SoapTerm, PairTerm or ProductTerm, got SOAP"),
        ({"terms": []}, InputError, "terms is empty; leave it out for the default ones"),
        ({"terms": small_terms(), "zeta": 2.0}, InputError, "give either terms or zeta"),
        ({"terms": small_terms(), "n_sparse": 2}, InputError, "give either terms or n_sparse"),
        ({"terms": small_terms(), "descriptor": small_soap()}, InputError, "give either terms or descriptor"),
        ({"descriptor": "SOAP"}, InputTypeError, r"descriptor must be a castile\.SOAP, got str"),
        ({"descriptor": castile.SOAP(average="inner")}, InputError, "descriptor must have average='off'"),
        ({"descriptor": castile.SOAP(dtype="float32")}, InputError, "descriptor must have dtype='float64'"),
        ({"descriptor": small_soap(species=["H"])}, InputError, "descriptor does not know Cu"),
        ({"zeta": "2"}, InputTypeError, "zeta must be a number above 0"),
        ({"zeta": 0}, InputError, "zeta must be a finite number above 0, got 0"),
        ({"zeta": 10**400}, InputError, "zeta must be a finite number above 0"),
        ({"n_sparse": 1.5}, InputTypeError, "n_sparse must be an integer"),
        ({"n_sparse": 0}, InputError, "n_sparse must be 1 or more, got 0"),
        ({"noise": 0.1}, InputTypeError, "noise must be a dict such as"),
        ({"noise": {"energies": 0.1}}, InputError, "noise must be one of 'energy', 'force', 'stress', got 'energies'"),
        ({"noise": {"energy": 0.0}}, InputError, "must be a standard deviation above 0, got 0.0"),
        ({"noise": {"energy": "small"}}, InputTypeError, "noise.* must be a number"),
        ({"noise": {"energy": np.nan}}, InputError, "noise.* must be a finite number"),
        ({"prior": 0.0}, InputError, r"prior must be above 0, in eV, got 0\.0"),
        ({"prior": "wide"}, InputTypeError, "prior must be a number in eV"),
        ({"prior": 10**400}, InputError, "prior must be a finite number in eV"),
        ({"prior": True}, InputTypeError, "prior must be a number in eV"),
        ({"species": 5}, InputTypeError, "species must be a list of symbols"),
        ({"species": "Cu"}, InputTypeError, "species must be a list of symbols"),
        ({"species": ["Kupfer"]}, InputError, "species holds 'Kupfer', which is not a chemical symbol"),
        ({"species": ["Cu", "Au"]}, InputError, "no structures that hold Au, apart from isolated atoms; add some, or"),
        ({"species": ["Au"]}, UnknownSpeciesError, "knows the species Au, but the frames also hold Cu"),
        ({"baseline": -3.5}, InputTypeError, "baseline must be a dict such as"),
        ({"baseline": {"Cu": "low"}}, InputTypeError, "the energy of Cu must be a number in eV"),
        ({"baseline": {"Au": 1.0}}, UnknownSpeciesError, "Au, which is not one of the species Cu; remove it"),
        ({"repulsion": 1}, InputTypeError, "repulsion must be True or False, got 1"),
        ({"reference": "EMT"}, InputTypeError, "reference must be an ASE calculator, such as EMT.., got str"),
        ({"reference": EMT}, InputTypeError, "reference must be an ASE calculator, such as EMT.., got EMT"),
        ({"calibration": 1.0}, InputError, r"calibration must be a share of the frames, 0 up to below 1, got 1\.0"),
        ({"calibration": -0.1}, InputError, "calibration must be a share of the frames"),
        ({"calibration": True}, InputTypeError, "calibration must be a number"),
        ({"max_memory": 1e9}, InputTypeError, "max_memory must be an integer"),
        ({"max_memory": 0}, InputError, "max_memory must be 1 or more"),
        ({"max_memory": 10_000}, MemoryLimitError, "raise max_memory, or lower n_sparse"),
        ({"seed": -1}, InputError, "seed must be 0 or more"),
        ({"seed": None}, InputTypeError, "seed must be an integer"),
    ],
)
def test_parameters_that_cannot_be_used(options, error, message):
    plain = {"terms", "descriptor", "zeta", "n_sparse"} & set(options)
    ff = ForceField(**options) if plain else small(**options)
    with pytest.raises(error, match=message) as caught:
        ff.fit(copper())
    assert isinstance(caught.value, CastileError)
    assert not hasattr(ff, "potential_")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("nsparse", "n_sparse"), ("Zeta", "zeta"), ("elements", "species"), ("memory", "max_memory"), ("sparse", None)],
)
def test_unknown_keywords_are_refused_with_what_was_meant(name, meant):
    with pytest.raises(InputTypeError, match=f"ForceField has no parameter '{name}'") as caught:
        ForceField(**{name: 1})
    if meant is not None:
        assert str(caught.value).endswith(f"did you mean {meant}?")


def test_too_little_memory_for_one_frame_is_named():
    frames = [labeled(atoms * (2, 2, 2)) for atoms in copper(2)]
    with pytest.raises(
        MemoryLimitError,
        match="leaves 64 rows at a time, but frame 0 alone has 103; raise max_memory, or take fewer sparse",
    ):
        small(max_memory=least_memory(small().prepare(frames))).fit(frames)


@pytest.mark.parametrize("checkpoint", [5, b"sums", ["sums"]])
def test_a_checkpoint_is_a_path(checkpoint):
    with pytest.raises(InputTypeError, match="checkpoint must be a path"):
        small().fit(copper(2), checkpoint=checkpoint)


# ---------------------------------------------------------------- data


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (lambda: [bulk("Cu")], InputError, "none of the 1 frames has an energy, forces or a stress"),
        (lambda: data.Dataset.from_arrays([bulk("Cu")]), InputError, "frames have neither energies nor forces nor"),
        (lambda: [], InputError, "source holds no frames"),
        (lambda: data.Dataset.from_arrays([]), InputError, "frames is empty; give structures with energies"),
        (lambda: [Atoms(), *copper(2)], InputError, "frame 0 has no atoms; leave it out"),
        (lambda: [lone("Cu")], InputError, "nothing but isolated atoms; add structures whose atoms are bound"),
        (lambda: [lone("Cu"), lone("Au")], InputError, "nothing but isolated atoms"),
        (lambda: [*copper(2), lone("Au")], InputError, "hold Au, apart from isolated atoms; add some, or leave Au out"),
        (lambda: data.read(copper(2)).with_weights(energy=0, force=0, stress=0), InputError, "there are no rows yet"),
        (lambda: 5, InputTypeError, "int"),
    ],
)
def test_data_that_cannot_be_fitted(frames, error, message):
    with pytest.raises(error, match=message):
        small().fit(frames())


@pytest.mark.parametrize("kind", ["energy", "forces", "stress"])
def test_labels_that_are_not_numbers(kind):
    frames = copper(3)
    values = np.array(frames[1].calc.results[kind], dtype=float)
    values.flat[0] = np.nan
    frames[1].calc.results[kind] = values if values.ndim else float(values)
    with pytest.raises(
        InputError, match=r"frame 1.* nan( at .*)?; leave the label or the frame out, or give allow_nan"
    ):
        small().fit(frames)
    ff = small().fit(data.read(frames, allow_nan=True))
    rows = {"energy": 3, "forces": 36, "stress": 18}
    missing = {"energy": 1, "forces": 3, "stress": 6}
    key = {"forces": "force"}.get(kind, kind)
    assert ff.training_["rows"][key] == rows[kind] - missing[kind]


def test_one_frame_is_enough():
    for ff in (small(), ForceField(n_sparse=4)):
        frame = copper(1)
        found = ff.fit(frame[0]).predict(frame)
        assert found.energy[0] == pytest.approx(frame[0].get_potential_energy(), abs=1e-3)
        assert ff.calibration_ is None


@pytest.mark.parametrize("selection", ["cholesky", "cur", "fps", "random"])
@pytest.mark.parametrize("n_sparse", [3, 1000])
def test_any_selection_of_more_points_than_there_are(selection, n_sparse):
    ff = small(terms=small_terms(n_sparse=n_sparse, selection=selection)).fit(copper(3))
    assert 1 <= len(ff.foundation_.terms[0].points[0]) <= min(n_sparse, 12)
    assert ff.evaluate(copper(3))["energy"]["mae"] < 0.01


@pytest.mark.parametrize("selection", ["cholesky", "cur", "fps", "random"])
@pytest.mark.parametrize("zeta", [1, 4])
def test_frames_that_are_all_equal(selection, zeta):
    """Their kernel is of rank one; the ideal crystal has one environment, but for rounding."""
    for atoms in (labeled(bulk("Cu", cubic=True, a=3.6)), copper(1)[0]):
        ff = small(terms=small_terms(zeta, 40, selection=selection)).fit([atoms] * 6)
        found = ff.predict([atoms] * 2, uncertainty=True)
        np.testing.assert_allclose(found.energy, atoms.get_potential_energy(), atol=1e-3)
        assert np.isfinite(found.forces_std).all()
        assert ff.training_["rank"] <= ff.training_["columns"]


@pytest.mark.parametrize("kind", ["energy", "forces", "stress"])
def test_one_kind_of_labels_is_enough(kind):
    ff = small().fit(copper(6, kinds=(kind,)))
    table = ff.evaluate(copper(6))
    assert table[{"forces": "force"}.get(kind, kind)]["r2"] > 0.9


def test_labels_that_are_all_zero():
    dataset = data.Dataset.from_arrays(copper(4), energies=np.zeros(4), forces=np.zeros((16, 3)))
    ff = small(noise=None).fit(dataset)
    assert np.abs(ff.predict(copper(2)).forces).max() == 0.0
    assert ff.foundation_.scale == 1.0


def test_frames_with_atoms_that_nearly_touch():
    frames = copper(4)
    close = Atoms("Cu2", [[0, 0, 0], [0.1, 0, 0]])
    dataset = data.read([*frames, labeled(Atoms("Cu2", [[0, 0, 0], [1.8, 0, 0]]))])
    ff = small().fit(dataset)
    assert ff.foundation_.repulsion.outer[0, 0] < 1.8
    assert np.isfinite(ff.predict(close).forces).all()
    assert ff.predict(close).energy[0] > 100.0


def test_isolated_atoms_that_disagree_are_named():
    frames = [*copper(2), lone("Cu"), lone("Cu")]
    frames[-1].calc.results["energy"] += 0.5
    with pytest.raises(InputError, match=r"isolated atoms of Cu disagree by 0\.5.* eV \(frame 2: .* frame 3"):
        small().fit(frames)


def test_a_data_set_is_not_needed_to_be_of_one_kind():
    """Molecules, a slab, crystals and isolated atoms, some with energies alone."""
    from tiny_force_fields import slab

    frames = [*alloy(4), labeled(slab()), labeled(alloy(1, seed=3)[0], kinds=("energy",)), lone("Cu"), lone("Au")]
    ff = small().fit(frames)
    assert ff.training_["rows"] == {"energy": 8, "force": 3 * (16 + 12), "stress": 24}
    assert ff.evaluate(frames)["energy"]["n"] == 6


# ---------------------------------------------------------------- the order of calls


@pytest.mark.parametrize(
    "call",
    [
        lambda ff: ff.predict(copper(1)),
        lambda ff: ff.uncertainty(copper(1)),
        lambda ff: ff.covariance(copper(1)),
        lambda ff: ff.evaluate(copper(1)),
        lambda ff: ff.save("never"),
        lambda ff: ff.calculator(),
    ],
)
def test_before_a_fit(call):
    for ff in (small(), small().prepare(copper(2)), small().prepare(copper(2)).accumulate(copper(2))):
        with pytest.raises(NotFittedError, match="this ForceField is not fitted; call fit with labeled frames first"):
            call(ff)


def test_steps_in_the_wrong_order():
    for call in (lambda ff: ff.accumulate(copper(1)), lambda ff: ff.solve(), lambda ff: ff.merge(small())):
        with pytest.raises(NotFittedError, match="call prepare"):
            call(small())
    with pytest.raises(InputError, match="there are no rows yet; call accumulate with labeled frames first"):
        small().prepare(copper(2)).solve()
    with pytest.raises(InputTypeError, match="other must be a ForceField, got dict"):
        small().prepare(copper(2)).merge({})
    with pytest.raises(NotFittedError, match="call prepare"):
        small().prepare(copper(2)).merge(small())


@pytest.mark.parametrize("uncertainty", [False, True])
def test_species_that_are_not_known(uncertainty):
    with pytest.raises(UnknownSpeciesError, match=r"the force field knows the species Cu, but .* hold Au; it was not"):
        fitted(copper).predict(alloy(2), uncertainty=uncertainty)
    with pytest.raises(UnknownSpeciesError, match="the frames also hold Au"):
        small().prepare(copper(3)).accumulate(alloy(2))
    with pytest.raises(UnknownSpeciesError, match="the frames also hold Au"):
        fitted(copper).evaluate(alloy(2))


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        ("copper.xyz", InputTypeError, "frames must be ase.Atoms or a sequence of them, got str"),
        (5, InputTypeError, "frames must be ase.Atoms"),
        ([bulk("Cu"), "Cu"], InputTypeError, "frames"),
        (Atoms("Cu", [[np.nan, 0, 0]]), InputError, "finite"),
        (Atoms("Cu", pbc=True), InputError, "cell"),
    ],
)
def test_frames_that_cannot_be_predicted(frames, error, message):
    with pytest.raises(error, match=message):
        fitted(copper).predict(frames)


def test_a_reference_that_fails_says_so_itself():
    class Failing(EMT):
        def calculate(self, *_arguments):
            raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        small(reference=Failing()).fit(copper(2))


def test_a_reference_without_stress_leaves_stresses_out():
    class Stressless(EMT):
        implemented_properties = ("energy", "forces")

        def get_stress(self, atoms=None):
            from ase.calculators.calculator import PropertyNotImplementedError

            raise PropertyNotImplementedError

    ff = small(reference=Stressless()).fit(copper(4))
    assert ff.training_["rows"] == {"energy": 4, "force": 48, "stress": 0}
    assert np.isnan(ff.predict(copper(1)).stress).all()


@pytest.mark.parametrize("sizes", [3, "12", [0, 2], [2, 1], [2, 2], [99], [], [1.5]])
def test_sizes_of_a_learning_curve(sizes):
    with pytest.raises((InputError, InputTypeError), match="sizes must"):
        small().learning_curve(copper(4), copper(2), sizes=sizes)


def test_a_seed_of_a_learning_curve():
    with pytest.raises(InputError, match="seed must be 0 or more"):
        small(seed=-1).learning_curve(copper(4), copper(2))


def test_labels_are_not_needed_for_predictions():
    bare = [Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True) for atoms in copper(2)]
    np.testing.assert_array_equal(fitted(copper).predict(bare).energy, fitted(copper).predict(copper(2)).energy)


def test_evaluation_needs_labels():
    with pytest.raises(InputError, match="none of the 1 frames has an energy"):
        fitted(copper).evaluate(bulk("Cu"))


def test_infinite_sigmas_and_single_frames_are_left_alone():
    dataset = data.read(copper(3))
    sigmas = np.array([1e-3, np.nan, 1e3])
    ff = small().fit(replace(dataset, energy_sigmas=sigmas))
    assert ff.training_["rows"]["energy"] == 3


def test_terms_of_one_kind_alone_are_enough():
    for term in (SoapTerm(small_soap(), 2.0, 4), PairTerm(3, 4.0), ProductTerm(small_products())):
        assert ForceField([term], calibration=0.0).fit(copper()).evaluate(copper())["force"]["r2"] > 0.3
