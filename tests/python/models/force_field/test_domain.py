"""Grades of extrapolation: what the training data do not cover is told from what they do."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from checks import same_bits
from scipy.spatial.transform import Rotation
from tiny_force_fields import alloy, copper, fitted, labeled, shaken, small, small_products

import castile
from castile import ForceField
from castile.errors import InputError, NotFittedError, UnknownSpeciesError
from castile.models.force_field import PairTerm, ProductTerm, _domain


@pytest.fixture(scope="module")
def ff():
    return ForceField([ProductTerm(small_products())], calibration=0.0).fit(alloy(24))


def test_training_data_are_inside(ff):
    grades = ff.extrapolation_grade(alloy(24))
    assert grades.shape == (96,)
    for symbol in ("Cu", "Au"):  # one is the largest of each species
        own = np.concatenate([atoms.symbols == symbol for atoms in alloy(24)])
        assert grades[own].max() == pytest.approx(1.0, rel=1e-9)
    assert grades.min() > 0.0


def test_what_is_squeezed_stretched_or_shaken_is_outside(ff):
    near = ff.extrapolation_grade(alloy(8, seed=3)).max()
    far = {
        "squeezed": bulk("Cu", cubic=True, a=2.7),
        "shaken": shaken(bulk("Cu", cubic=True, a=3.6), np.random.default_rng(0), 0.7),
        "two together": Atoms("CuAu", [[0, 0, 0], [0.9, 0, 0]]),
    }
    for name, atoms in far.items():
        assert ff.extrapolation_grade(atoms).max() > 1.5 * near, name


def test_a_neighbor_that_no_frame_has_is_outside():
    """Copper and gold that never meet have no pairs of both."""
    pure = [atoms for atoms in alloy(24) if len(set(atoms.symbols)) == 1]
    gold = [bulk("Au", cubic=True, a=3.9 + 0.05 * k) for k in range(4)]
    frames = [*pure, *(labeled(shaken(atoms, np.random.default_rng(0))) for atoms in gold)]
    ff = ForceField([ProductTerm(small_products())], calibration=0.0).fit(frames)
    assert ff.extrapolation_grade(alloy(4)[1]).min() > 5.0


def test_unknown_species_are_named(ff):
    with pytest.raises(UnknownSpeciesError, match="Ag"):
        ff.extrapolation_grade(bulk("Ag"))


def test_the_grade_is_the_largest_coefficient_of_a_combination(ff):
    """Of active rows A: b = g A, over what is largest in the training data."""
    domain = ff.foundation_.domain
    rows = ff.foundation_.terms[0].descriptor.transform(copper(3))[:, domain.columns]
    A = np.linalg.inv(domain.inverses[ff.species_.index("Cu")])
    expected = np.abs(np.linalg.solve(A.T, rows.T)).max(axis=0)
    np.testing.assert_allclose(ff.extrapolation_grade(copper(3)), expected, rtol=1e-6)


def test_grades_do_not_depend_on_the_view(ff):
    atoms = alloy(3, seed=5)[2]
    turned = atoms.copy()
    turned.rotate(30, "x", rotate_cell=True)
    turned.set_cell(turned.cell.array @ Rotation.from_euler("xyz", [0.3, -0.7, 1.1]).as_matrix(), scale_atoms=True)
    turned.positions += 0.7
    turned.wrap()
    np.testing.assert_allclose(ff.extrapolation_grade(turned), ff.extrapolation_grade(atoms), rtol=1e-7)
    twice = ff.extrapolation_grade(atoms * (2, 1, 1))
    np.testing.assert_allclose(twice, np.tile(ff.extrapolation_grade(atoms), 2), rtol=1e-7)


def test_files_keep_it(ff, tmp_path):
    ff.save(tmp_path / "a")
    loaded = castile.load(tmp_path / "a")
    assert same_bits(loaded.extrapolation_grade(alloy(3)), ff.extrapolation_grade(alloy(3)))


def test_many_neighborhoods_are_drawn_from(monkeypatch):
    monkeypatch.setattr(_domain, "_CANDIDATES", 30)
    monkeypatch.setattr(_domain, "_ATOMS_AT_ONCE", 10)
    options = {"calibration": 0.0, "seed": 3}
    one, two = (ForceField([ProductTerm(small_products())], **options).fit(alloy(24)) for _ in range(2))
    grades = one.extrapolation_grade(alloy(24))
    assert same_bits(grades, two.extrapolation_grade(alloy(24)))
    assert grades.max() == pytest.approx(1.0, rel=1e-9)


def test_without_products_there_are_no_grades():
    with pytest.raises(InputError, match="need a term of products; fit with terms='balanced'"):
        fitted(copper).extrapolation_grade(copper(1))
    assert small(terms=[PairTerm(4, 4.0)]).fit(copper()).foundation_.domain is None
    with pytest.raises(NotFittedError):
        ForceField().extrapolation_grade(copper(1))


def test_atoms_without_neighbors_have_no_grade():
    """All products of those in the training data are zero."""
    lone = Atoms("Ar2", [[0, 0, 0], [30.0, 0, 0]])
    ff = ForceField([ProductTerm(small_products(4.0))], baseline={"Ar": 0.0}, calibration=0.0)
    ff.prepare([labeled(lone, LennardJones(sigma=3.4, epsilon=0.1, rc=12.0))])
    assert all(np.isfinite(inverse).all() for inverse in ff.foundation_.domain.inverses)


def test_no_frames_and_no_atoms(ff):
    assert ff.extrapolation_grade([]).shape == (0,)
    assert ff.extrapolation_grade([Atoms(), alloy(1)[0]]).shape == (4,)
