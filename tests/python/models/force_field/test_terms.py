"""Terms: what they take, and what the training data make of them."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from checks import assert_close
from sklearn.base import clone
from tiny_force_fields import (
    alloy,
    clusters,
    copper,
    labeled,
    organic,
    shaken,
    small,
    small_products,
    small_soap,
    small_terms,
)

import castile
from castile import SOAP, ForceField
from castile.errors import InputError, InputTypeError
from castile.models.force_field import PairTerm, ProductTerm, SoapTerm
from castile.models.force_field._lengths import lengths_of
from castile.models.force_field.terms import default_soap, descriptor_for


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SoapTerm(5.0), InputTypeError, r"descriptor must be a castile\.SOAP, got float"),
        (lambda: SoapTerm(castile.RadialSpectrum()), InputTypeError, "got RadialSpectrum"),
        (lambda: SoapTerm(small_soap(), cutoff=4.0), InputError, "give either descriptor or cutoff"),
        (lambda: SoapTerm(SOAP(average="outer")), InputError, "descriptor must have average='off'"),
        (lambda: SoapTerm(SOAP(sparse=True)), InputError, "descriptor must have sparse=False"),
        (lambda: SoapTerm(zeta=-1.0), InputError, "zeta must be a finite number above 0"),
        (lambda: SoapTerm(zeta=True), InputTypeError, "zeta must be a number"),
        (lambda: SoapTerm(n_sparse=0), InputError, "n_sparse must be 1 or more"),
        (lambda: SoapTerm(selection="best"), InputError, "selection must be one of 'cholesky', 'cur', 'fps', 'random'"),
        (lambda: SoapTerm(cutoff=0.0), InputError, "cutoff must be a positive length in Å"),
        (lambda: SoapTerm(cutoff="5"), InputTypeError, "cutoff must be a number in Å"),
        (lambda: SoapTerm(prior_factor=0.0), InputError, "prior_factor must be above 0"),
        (lambda: ProductTerm(5.0), InputTypeError, r"descriptor must be a castile\.Products, got float"),
        (lambda: ProductTerm(small_products(), cutoff=4.0), InputError, "give either descriptor or cutoff"),
        (lambda: ProductTerm(small_products(average="inner")), InputError, "descriptor must have average='off'"),
        (lambda: ProductTerm(n_functions=0), InputError, "n_functions must be 1 or more"),
        (lambda: ProductTerm(n_functions=2.5), InputTypeError, "n_functions must be an integer"),
        (lambda: ProductTerm(prior_factor=-1), InputError, "prior_factor must be above 0"),
        (lambda: PairTerm(0), InputError, "n_max must be 1 or more"),
        (lambda: PairTerm(2.0), InputTypeError, "n_max must be an integer"),
        (lambda: PairTerm(cutoff=-1.0), InputError, "cutoff must be a positive length in Å"),
        (lambda: PairTerm(prior_factor="1"), InputTypeError, "prior_factor must be a number"),
    ],
)
def test_terms_that_cannot_be_meant(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_terms_do_not_change():
    for term in (SoapTerm(), PairTerm()):
        with pytest.raises(FrozenInstanceError):
            term.cutoff = 3.0
    assert SoapTerm(zeta=2.0) == SoapTerm(zeta=2.0) != SoapTerm()
    assert repr(PairTerm(4, 5.0)) == "PairTerm(n_max=4, cutoff=5.0, prior_factor=1.0)"


def test_default_terms_are_soap_and_products_of_one_cutoff():
    ff = ForceField(n_sparse=5, calibration=0.0).fit(copper())
    soap, products = ff.foundation_.terms
    assert type(soap.descriptor) is SOAP
    assert soap.descriptor.cutoff == products.descriptor.cutoff >= 5.0
    assert soap.zeta == 2.0
    assert products.n_columns == 479
    assert len(soap.points[0]) == 5
    given = ForceField(descriptor=small_soap(4.2), zeta=2.0, n_sparse=5, calibration=0.0).fit(copper())
    assert [term.descriptor.cutoff for term in given.foundation_.terms] == [4.2, 4.2]
    assert given.foundation_.terms[0].zeta == 2.0


def test_lengths_follow_the_data():
    """A crystal twice as large has a cutoff, widths and radii twice as large."""
    one, two = (lengths_of([bulk("Cu", cubic=True, a=a)]) for a in (3.0, 6.0))
    assert one.neighbor == pytest.approx(3.0 / np.sqrt(2.0))
    assert one.spacing == pytest.approx((3.0**3 / 4) ** (1 / 3))
    assert two.neighbor == pytest.approx(2.0 * one.neighbor)
    small_, large = (descriptor_for(SoapTerm(), ("Cu",), lengths, []) for lengths in (one, two))
    assert small_.cutoff == 5.0  # the least
    assert large.cutoff == pytest.approx(2.2 * two.neighbor)
    assert large.sigma == pytest.approx(2.0 * small_.sigma)


def test_molecules_have_lengths_too():
    lengths = lengths_of([molecule("CH4")])
    assert 1.0 < lengths.neighbor < 1.2
    assert descriptor_for(SoapTerm(), ("H", "C"), lengths, []).cutoff == 5.0
    assert default_soap(("H", "C"), lengths, 3.0).cutoff_width <= 1.5


def test_numbers_of_points_by_default():
    assert SoapTerm().points_of_each(1) == 1500
    assert SoapTerm().points_of_each(2) == SoapTerm().points_of_each(3) == 2000
    assert SoapTerm().points_of_each(10) == 600
    assert SoapTerm(n_sparse=7).points_of_each(10) == 7


def test_descriptors_get_the_species_of_the_frames():
    for species in (None, ["Cu"], ["Cu", "Au"], ["Au", "Ag", "Cu"]):
        soap = small_soap(species=species)
        ff = small(terms=[SoapTerm(soap, 2.0, 6)]).fit(copper())
        assert tuple(ff.foundation_.terms[0].descriptor.species) == ("Cu",)
        assert soap.species == species  # as it was given
        expected = small(terms=[SoapTerm(small_soap(), 2.0, 6)]).fit(copper())
        np.testing.assert_array_equal(ff.weights_, expected.weights_)


def test_weights_of_species_are_kept_for_those_that_are_there():
    soap = small_soap(species=["Cu", "Ag", "Au"], species_weights={"Cu": 1.0, "Ag": 2.0, "Au": 0.5})
    ff = small(terms=[SoapTerm(soap, 2.0, 6)]).fit(alloy())
    assert ff.foundation_.terms[0].descriptor.species_weights == {"Cu": 1.0, "Au": 0.5}


def test_a_fitted_descriptor_is_taken_with_its_species():
    soap = small_soap().fit(alloy())
    ff = small(terms=[SoapTerm(soap, 2.0, 6)]).fit(alloy())
    assert ff.species_ == ("Cu", "Au")
    with pytest.raises(InputError, match="descriptor does not know Au, which the frames hold; add them to its species"):
        small(terms=[SoapTerm(small_soap().fit(copper()), 2.0, 6)]).fit(alloy())


def test_the_order_of_species_does_not_matter():
    one, two = (small(species=species).fit(alloy()) for species in (["Cu", "Au"], ["Au", "Cu"]))
    assert one.species_ == two.species_ == ("Cu", "Au")
    np.testing.assert_array_equal(one.weights_, two.weights_)


def test_sparse_points_are_environments_of_norm_one():
    ff = small(n_sparse=6).fit(alloy())
    term = ff.foundation_.terms[0]
    for symbol, points in zip(ff.species_, term.points, strict=True):
        rows = term.descriptor.transform(alloy(), centers=symbol)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        assert points.shape == (6, rows.shape[1])
        distances = np.linalg.norm(points[:, None] - rows[None], axis=-1).min(axis=1)
        assert distances.max() < 1e-12


@pytest.mark.parametrize("selection", ["cholesky", "cur", "fps", "random"])
def test_copies_of_frames_bring_no_copies_of_points(selection):
    ff = small(terms=[SoapTerm(small_soap(), 3.0, 100, selection)]).fit(copper(3) * 3)
    points = ff.foundation_.terms[0].points[0]
    assert len(points) <= 12
    assert len(np.unique(points, axis=0)) == len(points)


def test_pair_functions_are_scaled_to_the_data():
    ff = small(terms=[PairTerm(4, 4.0)]).fit(copper())
    term = ff.foundation_.terms[0]
    rows = term.descriptor.transform(copper())
    np.testing.assert_allclose(term.scales, np.sqrt(np.mean(rows**2, axis=0)), rtol=1e-12)


def test_a_pair_term_learns_a_pair_potential():
    """Lennard-Jones clusters need no more than that."""
    ff = ForceField([PairTerm(10, 7.5)], calibration=0.0).fit(clusters(12))
    assert ff.evaluate(clusters(4, seed=5))["force"]["r2"] > 0.9


def test_soap_learns_more_than_pairs():
    train, test = alloy(24), alloy(8, seed=5)
    pairs = small(terms=[PairTerm(8, 4.5)]).fit(train).evaluate(test)
    both = small(terms=[PairTerm(8, 4.5), SoapTerm(small_soap(4.5), 3.0, 40)]).fit(train).evaluate(test)
    assert both["force"]["rmse"] < pairs["force"]["rmse"]


def test_prior_factors_scale_the_prior():
    """Twice the factor of all terms is twice the prior."""
    frames = alloy(4)
    one = small(terms=[SoapTerm(small_soap(), 2.0, 6), PairTerm(4, 4.0)], prior=2.0).fit(frames)
    terms = [SoapTerm(small_soap(), 2.0, 6, prior_factor=2.0), PairTerm(4, 4.0, prior_factor=2.0)]
    two = small(terms=terms, prior=1.0).fit(frames)
    assert_close(two.weights_, one.weights_, 1e-8)


def test_terms_specify_what_was_fitted():
    terms = [SoapTerm(small_soap(species=["Cu", "Au"]), 2.0, 6, prior_factor=0.5), PairTerm(4, 4.0, prior_factor=3.0)]
    ff = small(terms=terms).fit(alloy())
    made = [term.specification() for term in ff.foundation_.terms]
    assert made[1] == terms[1]
    assert (made[0].zeta, made[0].n_sparse, made[0].prior_factor) == (2.0, 6, 0.5)
    again = clone(ff).set_params(terms=made).fit(alloy())
    np.testing.assert_array_equal(again.weights_, ff.weights_)


def test_lone_atoms_of_a_descriptor_without_centers():
    """Whose features are zero, so that they have no environment."""
    soap = SoapTerm(small_soap(2.0, center_weight=0.0, cutoff_width=0.5), 2.0, 6)
    with pytest.raises(InputError, match="all environments of Cu are empty; raise the cutoff, or use a desc"):
        small(terms=[soap]).fit(copper())


def test_many_species():
    ff = small(n_sparse=4).fit(organic())
    assert ff.species_ == ("H", "C", "O")
    assert len(ff.foundation_.terms[0].points) == 3


def in_vacuum():
    ethanol = molecule("CH3CH2OH", cell=[18.0, 18.0, 18.0], pbc=True)
    ethanol.center()
    slab = fcc111("Cu", (2, 2, 3), a=3.6, vacuum=15.0)
    open_slab = slab.copy()
    slab.pbc = True
    return {"molecule": ethanol, "slab": slab, "open slab": open_slab}


@pytest.mark.parametrize("name", ["molecule", "slab", "open slab"])
def test_vacuum_is_no_volume(name):
    """Neither that of a box around a molecule, nor that between slabs."""
    atoms = in_vacuum()[name]
    lengths = lengths_of([atoms])
    assert lengths.spacing <= lengths.neighbor / 0.8 + 1e-12
    species = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    for term in (SoapTerm(), PairTerm()):
        assert 5.0 <= descriptor_for(term, species, lengths, []).cutoff <= 7.0
    frames = [labeled(shaken(atoms, np.random.default_rng(k), 0.05, strain=0.0)) for k in range(4)]
    ff = ForceField(n_sparse=5).prepare(frames)
    assert all(term.descriptor.cutoff <= 7.0 for term in ff.foundation_.terms)


@pytest.mark.parametrize(
    "lattice", [("diamond", 5.43, "Si"), ("fcc", 3.6, "Cu"), ("bcc", 3.16, "W"), ("sc", 3.35, "Po")]
)
def test_solids_have_the_volume_of_their_cell(lattice):
    structure, a, symbol = lattice
    lengths = lengths_of([bulk(symbol, structure, a=a)])
    atoms = bulk(symbol, structure, a=a)
    assert lengths.spacing == pytest.approx((atoms.cell.volume / len(atoms)) ** (1 / 3))


def test_the_selection_of_points_is_kept():
    ff = small(terms=small_terms(selection="fps")).fit(copper())
    assert ff.foundation_.terms[0].selection == "fps"
    assert ff.foundation_.terms[0].specification().selection == "fps"
