"""Forces and stresses are the derivatives of the energy that is predicted, whatever the terms and the structure."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from checks import STENCIL, displaced, strained, symmetric_strains
from tiny_force_fields import (
    alloy,
    clusters,
    copper,
    fitted,
    organic,
    shaken,
    slab,
    small,
    small_products,
    small_soap,
    tiny_cell,
)

from castile import ForceField
from castile.models.force_field import PairTerm, ProductTerm, SoapTerm
from castile.models.force_field import force_field as module

FORCE, STRESS = 1e-7, 1e-8  # eV/Å and eV/Å³

# Å (strain: dimensionless). Weights of some 10⁴ eV nearly cancel, so that energies are rounded to 1e-11 eV or so, which
# short steps blow up; long ones may cross the radius where a cutoff sets in. A wrong derivative is wrong by all.
STEPS = (2e-5, 1e-4, 4e-4)

STRUCTURES = {
    "crystal": (copper, lambda: shaken(bulk("Cu", cubic=True, a=3.6), np.random.default_rng(9))),
    "alloy": (alloy, lambda: alloy(3, seed=9)[2]),
    "slab": (alloy, slab),
    "tiny cell": (alloy, tiny_cell),
    "cluster": (clusters, lambda: clusters(1, seed=9)[0]),
    "molecule": (organic, lambda: organic(1, seed=9)[0]),
}


def differences(ff, atoms, h):
    """Return forces and stress (None without volume) from central differences of the energy."""
    moves = itertools.product(range(len(atoms)), range(3))
    images = [displaced(atoms, atom, axis, step * h) for atom, axis in moves for step in STENCIL]
    if atoms.cell.rank == 3:
        images += [strained(atoms, step * h * e) for e in symmetric_strains() for step in STENCIL]
    energies = ff.predict(images).energy.reshape(-1, 4)
    slope = (8.0 * (energies[:, 0] - energies[:, 1]) - (energies[:, 2] - energies[:, 3])) / (12.0 * h)
    n = 3 * len(atoms)
    return -slope[:n].reshape(-1, 3), slope[n:] / atoms.cell.volume if atoms.cell.rank == 3 else None


def assert_derivatives(ff, atoms):
    found = ff.predict(atoms)
    numerical = [differences(ff, atoms, h) for h in STEPS]
    assert np.abs(found.forces).max() > 1e-3, "there is nothing to see"
    assert np.min([np.abs(found.forces - forces) for forces, _ in numerical], axis=0).max() < FORCE
    if atoms.cell.rank == 3:
        assert np.min([np.abs(found.stress[0] - stress) for _, stress in numerical], axis=0).max() < STRESS
    else:
        assert np.isnan(found.stress).all()


@pytest.mark.parametrize("zeta", [1, 2, 3, 4, 2.5])
@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_and_stress_are_derivatives_of_the_energy(name, zeta):
    make, structure = STRUCTURES[name]
    assert_derivatives(fitted(make, zeta), structure())


@pytest.mark.parametrize("name", ["alloy", "slab", "molecule"])
def test_several_cutoffs_and_powers_together(name):
    make, structure = STRUCTURES[name]
    soaps = [SoapTerm(small_soap(cutoff), zeta, 6) for cutoff, zeta in ((2.9, 2.0), (4.0, 1.0), (5.1, 3.5))]
    others = [PairTerm(5, 4.6), PairTerm(3, 3.2), ProductTerm(small_products(3.7))]
    ff = ForceField([*soaps, *others], calibration=0.0).fit(make())
    assert len(ff.foundation_.terms) == 6
    assert_derivatives(ff, structure())


ALONE = {
    "pairs": PairTerm(6, 4.5),
    "SOAP": SoapTerm(small_soap(), 2.0, 8),
    "products": ProductTerm(small_products()),
    "products of mixtures": ProductTerm(small_products(compression={"species": [[1.0, 0.3]]})),
}


@pytest.mark.parametrize("terms", [[term] for term in ALONE.values()], ids=list(ALONE))
def test_one_term_alone(terms):
    ff = ForceField(terms, calibration=0.0).fit(alloy())
    for structure in (slab(), tiny_cell()):
        assert_derivatives(ff, structure)


def test_default_terms():
    ff = ForceField(n_sparse=10).fit(alloy())
    assert_derivatives(ff, alloy(1, seed=4)[0])


def squeezed(make, distance):
    """Return a frame of a set with two atoms at a distance."""
    atoms = make(4)[3].copy()
    apart = atoms.get_distance(0, 1, mic=True, vector=True)
    atoms.positions[1] = atoms.positions[0] + distance * apart / np.linalg.norm(apart)
    return atoms


@pytest.mark.parametrize("share", [0.66, 0.8, 0.9])  # of the radii: in between, where one passes into the other
@pytest.mark.parametrize("make", [alloy, clusters])
def test_where_the_repulsion_acts(make, share):
    ff = fitted(make)
    without = fitted(make, repulsion=False)
    inner, outer = ff.foundation_.repulsion.inner, ff.foundation_.repulsion.outer
    atoms = squeezed(make, 1.0)
    pair = [ff.species_.index(symbol) for symbol in atoms.symbols[[0, 1]]]
    atoms = squeezed(make, share * outer[tuple(pair)])
    distance = atoms.get_distance(0, 1, mic=True)
    assert inner[tuple(pair)] < distance < outer[tuple(pair)]
    assert np.abs(ff.predict(atoms).energy - without.predict(atoms).energy) > 1e-4
    assert_derivatives(ff, atoms)


def test_inside_of_the_repulsion():
    ff = fitted(copper)
    distance = 0.9 * float(ff.foundation_.repulsion.inner[0, 0])
    dimer = Atoms("Cu2", [[0, 0, 0], [0.36 * distance, 0.48 * distance, 0.8 * distance]])
    found = ff.predict(dimer)
    forces, _ = differences(ff, dimer, 1e-5)
    assert np.abs(found.forces - forces).max() < 1e-9 * np.abs(forces).max()
    assert found.forces[1] @ dimer.positions[1] > 0.0


def test_forces_sum_to_zero():
    for name, (make, structure) in STRUCTURES.items():
        assert np.abs(fitted(make).predict(structure()).forces.sum(axis=0)).max() < 1e-12, name


def test_energies_of_atoms_sum_to_the_energy():
    frames = [structure() for make, structure in STRUCTURES.values() if make is alloy]
    found = fitted(alloy).predict(frames)
    sums = np.add.reduceat(found.energies, found.offsets[:-1])
    np.testing.assert_allclose(sums, found.energy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", ["forces", "stress"])
@pytest.mark.parametrize("error", [1e-6, 1e-3])
def test_a_wrong_derivative_would_be_seen(monkeypatch, part, error):
    right = module.evaluate

    def wrong(*arguments):
        found = right(*arguments)
        values = getattr(found, part).copy()
        values[0, 1] += error * (1.0 if part == "forces" else 0.1)
        return found._replace(**{part: values})

    monkeypatch.setattr(module, "evaluate", wrong)
    with pytest.raises(AssertionError):
        assert_derivatives(fitted(alloy), alloy(3, seed=9)[2])


def test_derivatives_of_another_model_would_be_seen(monkeypatch):
    """As if one weight took part in energies alone."""
    ff, atoms = small().fit(copper()), copper(1, seed=9)[0]
    weights = ff.weights_.copy()
    weights[-1] *= 1.0 + 1e-3
    energies = ff.foundation_.potential(weights)
    right = module.evaluate

    def wrong(potential, *arguments):
        return right(potential, *arguments)._replace(energy=right(energies, *arguments).energy)

    assert_derivatives(ff, atoms)
    monkeypatch.setattr(module, "evaluate", wrong)
    with pytest.raises(AssertionError):
        assert_derivatives(ff, atoms)
