"""Products of density coefficients as a term of force fields, and the presets that have them."""

import numpy as np
import pytest
from checks import same_bits
from tiny_force_fields import NOISE, alloy, clusters, copper, small_products, small_soap

import castile
from castile import ForceField, Products
from castile.errors import InputError
from castile.models.force_field import PairTerm, ProductTerm, SoapTerm, terms
from castile.models.force_field._lengths import Lengths
from castile.models.force_field.terms import PRESETS, default_products, finest_degrees


def products(n=8, **options):
    frames = alloy(n)
    term = ProductTerm(small_products(**options))
    return ForceField([term], noise=NOISE, repulsion=False, calibration=0.0).fit(frames), frames


def test_the_energy_is_linear_in_the_features():
    ff, frames = products()
    (term,) = ff.foundation_.terms
    rows = term.descriptor.transform(frames)
    numbers = np.concatenate([atoms.numbers for atoms in frames])
    weights = ff.weights_.reshape(2, -1)  # copper, gold
    own = np.einsum("ij,ij->i", rows, weights[(numbers == 79).astype(int)])
    baseline = ff.baseline_energies_[(numbers == 79).astype(int)]
    np.testing.assert_allclose(ff.predict(frames).energies, own + baseline, rtol=0, atol=1e-9 * np.abs(own).max())


def test_the_prior_falls_with_the_square_of_the_total_degree():
    ff, _ = products()
    (term,) = ff.foundation_.terms
    names = term.descriptor.get_feature_names_out()
    (block,) = term.blocks()
    assert len(block.stds) == 2 * len(names)
    for name, std in zip(names, block.stds, strict=False):
        factors = [part for part in name.split("_") if part.startswith("n")]
        degree = sum(1 + sum(map(int, factor[1:].split("l"))) for factor in factors)
        assert std == pytest.approx((2.0 / degree) ** 2)


def test_a_center_has_the_same_bits_alone_and_among_others():
    """Eight centers share the lanes of one vector."""
    ff, _ = products()
    frames = alloy(5, seed=3)
    together = ff.predict(frames)
    for k, atoms in enumerate(frames):
        alone = ff.predict(atoms)
        own = slice(4 * k, 4 * k + 4)
        assert same_bits(alone.forces, together.forces[own].copy())
        assert same_bits(alone.energies, together.energies[own].copy())
    with castile.threads(2):
        assert same_bits(ff.predict(frames).forces, together.forces)


def test_members_of_a_committee_are_models_of_their_own():
    ff, frames = products()
    found = ff.predict(frames, committee=3, seed=5)
    members = ff._posterior().members(3, 5)
    for member, energy in zip(members, found.committee, strict=True):
        potential = ff.foundation_.potential(ff.weights_ + member)
        from castile.models.force_field._evaluation import evaluate
        from castile.structures import as_structure_arrays, trained_species_table

        arrays = as_structure_arrays(frames)
        one = evaluate(potential, arrays, trained_species_table(ff.species_, arrays.numbers), ff.baseline_energies_)
        np.testing.assert_allclose(one.energy, energy, rtol=0, atol=1e-9 * np.abs(energy).max())


def test_products_see_what_pairs_do_not():
    train, test = clusters(40), clusters(10, seed=3)
    errors = {}
    for name, term in {"pairs": PairTerm(8, 6.0), "products": ProductTerm(cutoff=6.0, n_functions=200)}.items():
        noisy = [three_body(atoms) for atoms in train], [three_body(atoms) for atoms in test]
        errors[name] = ForceField([term], calibration=0.0).fit(noisy[0]).evaluate(noisy[1])["force"]["mae"]
    assert errors["products"] < 0.5 * errors["pairs"]


def three_body(atoms):
    """Replace labels by those of the square of a sum over neighbors: pairs of pairs."""
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = atoms.copy()
    D = atoms.positions[None] - atoms.positions[:, None]
    d = np.linalg.norm(D, axis=-1) + 1e9 * np.eye(len(atoms))
    density, slope = np.exp(-d / 2.0), -0.5 * np.exp(-d / 2.0)
    sums = density.sum(axis=1)
    pulls = 2.0 * (sums[:, None] + sums[None]) * slope / d
    atoms.calc = SinglePointCalculator(atoms, energy=float(np.sum(sums**2)), forces=np.einsum("ij,ijk->ik", pulls, D))
    return atoms


def test_the_default_rule_of_degrees_has_as_many_functions_as_are_asked_for():
    for n_functions, expected in ((500, 479), (1200, 1129), (230, 222), (8, 8), (1, 8)):
        descriptor = default_products(("Si",), Lengths(2.35, 2.7), 5.0, n_functions)
        assert len(descriptor.get_feature_names_out()) == expected
        assert descriptor.neighbor_distance == 2.35
    sizes = [len(Products(5.0, rule, ["Si"]).get_feature_names_out()) for rule in terms._RULES]
    assert sizes == sorted(set(sizes))


def test_several_species_share_the_functions():
    for n in (2, 3, 5, 10):
        assert len(Products(5.0, finest_degrees(n, 250), list("HCNOFPSKVY")[:n]).get_feature_names_out()) <= 250
    assert finest_degrees(10, 10) == (8,)  # the coarsest that there is


def test_fewer_labels_than_functions_are_said_with_the_effective_rank():
    frames = copper(2)
    with pytest.warns(UserWarning, match=r"there are 38 labels for 479 coefficients, of which they determine \d+;"):
        ff = ForceField("fast", calibration=0.0).fit(frames)
    H = np.eye(479)
    for kind, sums in ff.state_._sums.items():
        gram = np.triu(sums.gram)
        H += (gram + np.triu(gram, 1).T) * (ff.prior_ / ff.noise_[kind]) ** 2
    expected = 479 - np.trace(np.linalg.inv(H))
    assert ff.training_["effective_rank"] == pytest.approx(expected, abs=0.1)
    assert 5.0 < expected <= 38.0
    assert ForceField([ProductTerm(small_products(degrees=(2,)))], calibration=0.0).fit(copper(8)).notes_ == []


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    ff = ForceField(name, calibration=0.0).prepare(copper(4))
    kinds = {"fast": [ProductTerm], "balanced": [SoapTerm, ProductTerm], "accurate": [SoapTerm, ProductTerm]}
    specifications = [term.specification() for term in ff.foundation_.terms]
    assert [type(term) for term in specifications] == kinds[name]
    assert ff.foundation_.terms[-1].n_columns == {"accurate": 2401}.get(name, 479)


def test_the_default_is_a_preset():
    one, two = (ForceField(name, n_sparse=5, calibration=0.0).fit(copper()) for name in (None, "balanced"))
    assert same_bits(one.weights_, two.weights_)


def test_presets_can_be_changed():
    options = {"zeta": 3.0, "n_sparse": 4, "cutoff": 4.5, "calibration": 0.0}
    soap, function = ForceField("balanced", **options).fit(copper()).foundation_.terms
    assert (soap.zeta, soap.n_columns, soap.descriptor.cutoff, function.descriptor.cutoff) == (3.0, 4, 4.5, 4.5)
    soap, function = ForceField(descriptor=small_soap({"Cu": 3.9}), n_sparse=4).fit(copper()).foundation_.terms
    assert (soap.descriptor.cutoff, function.descriptor.cutoff) == ({"Cu": 3.9}, 3.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": "fast", "zeta": 2.0}, "zeta cannot be given with terms='fast', which has no SOAP term"),
        ({"terms": "quick"}, "terms must be one of 'fast', 'balanced', 'accurate', got 'quick'"),
        ({"terms": [PairTerm()], "cutoff": 4.0}, "give either terms or cutoff, which change those of a preset"),
        ({"cutoff": -1.0}, "cutoff must be a positive length in Å"),
        ({"cutoff": 4.0, "descriptor": small_soap(), "terms": "fast"}, "descriptor cannot be given with terms='fast'"),
    ],
)
def test_presets_that_cannot_be_changed_so(options, message):
    with pytest.raises(InputError, match=message):
        ForceField(**options).fit(copper())
