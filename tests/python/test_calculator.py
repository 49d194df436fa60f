"""The ASE calculator: values, derivatives, symmetries, and the contract of ASE. See also test_calculator_runs.py."""

import copy
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read, write
from checks import STENCIL, STEP, displaced, same_bits, slopes, strained, symmetric_strains
from hand_made_models import random_model
from named_structures import STRUCTURES
from scipy.spatial.transform import Rotation

import castile
from castile.calculator import Calculator
from castile.errors import InputError, InputTypeError, UnknownSpeciesError


def crystal():
    """Rock salt, shaken."""
    atoms = bulk("NaCl", "rocksalt", a=5.0, cubic=True)
    atoms.rattle(0.1, seed=5)
    return atoms


def alloy():
    """Three metals at random places of a lattice, strained."""
    atoms = bulk("Cu", cubic=True, a=3.7) * (2, 1, 1)
    atoms.symbols = ["Cu", "Au", "Ni", "Cu", "Au", "Cu", "Ni", "Cu"]
    atoms.rattle(0.1, seed=6)
    return strained(atoms, np.array([[0.03, 0.02, 0.0], [0.02, -0.02, 0.01], [0.0, 0.01, 0.01]]))


def left_handed():
    """The skewed cell with two of its vectors swapped."""
    atoms = STRUCTURES["triclinic"]()
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


CASES = {**STRUCTURES, "crystal": crystal, "alloy": alloy, "left_handed": left_handed}


@pytest.fixture(params=list(CASES))
def atoms(request):
    return CASES[request.param]()


def with_calculator(atoms, model, **options):
    result = atoms.copy()
    result.calc = Calculator(model, **options)
    return result


def has_volume(atoms):
    return abs(np.linalg.det(atoms.cell.array)) > 0.0


class CountedPotential:
    """Passes everything on and counts evaluations."""

    def __init__(self, potential):
        self.potential, self.cutoff, self.gradients = potential, potential.cutoff, []

    def evaluate(self, *arguments, **options):
        self.gradients.append(options["forces"])
        return self.potential.evaluate(*arguments, **options)


@pytest.fixture
def counted():
    """A crystal and the evaluations for it: False for each of energies alone, True for each of all."""
    atoms = with_calculator(crystal(), random_model(crystal()))
    atoms.calc._potential = CountedPotential(atoms.calc._potential)
    return atoms, atoms.calc._potential.gradients


# Values.


@pytest.mark.parametrize("zeta", [1.0, 2.0, 4.0, 2.5])
@pytest.mark.parametrize("skin", [0.0, 0.5, 3.0])
def test_results_are_those_of_the_potential(atoms, skin, zeta):
    model = random_model(atoms, zeta)
    energies, forces, strain, strains = model.potential_.evaluate_frames(model.structures([atoms]), strains=True)
    numbers = sorted(set(atoms.numbers.tolist()))
    energies += model.baseline_energies_[[numbers.index(number) for number in atoms.numbers]]
    atoms = with_calculator(atoms, model, skin=skin)
    assert abs(atoms.get_potential_energy() - energies.sum()) < 1e-12 * np.abs(energies).sum()
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_potential_energies(), energies, rtol=0, atol=1e-12 * np.abs(energies).max())
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-12 * np.abs(forces).max())
    if has_volume(atoms):
        scale = np.abs(strains).max()
        stress = atoms.get_stress(voigt=False) * atoms.get_volume()
        np.testing.assert_allclose(stress, strain[0], rtol=0, atol=1e-11 * scale)
        stresses = atoms.get_stresses(voigt=False) * atoms.get_volume()
        np.testing.assert_allclose(stresses, strains, rtol=0, atol=1e-11 * scale)


def test_energies_and_stresses_of_atoms_sum_to_those_of_the_structure(atoms):
    atoms = with_calculator(atoms, random_model(atoms))
    assert abs(atoms.get_potential_energies().sum() - atoms.get_potential_energy()) < 1e-11
    if has_volume(atoms):
        np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), atoms.get_stress(), rtol=0, atol=1e-12)


def test_forces_are_slopes_of_the_energy(atoms):
    atoms = with_calculator(atoms, random_model(atoms))
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.1
    positions = atoms.positions.copy()
    energies = []
    for atom, axis in np.ndindex(forces.shape):
        for step in STENCIL:
            atoms.positions = displaced(Atoms(positions=positions), atom, axis, step * STEP).positions
            energies.append(atoms.get_potential_energy())
    expected = -slopes(np.reshape(energies, (-1, 4))).reshape(forces.shape)
    np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in CASES if has_volume(CASES[name]())])
def test_stress_is_the_slope_of_the_energy_by_the_volume(name):
    atoms = CASES[name]()
    model = random_model(atoms)
    calculator = Calculator(model)
    energies = []
    for e in symmetric_strains():
        for step in STENCIL:
            image = strained(atoms, step * STEP * e)
            image.calc = calculator
            energies.append(image.get_potential_energy())
    expected = slopes(np.reshape(energies, (-1, 4))) / atoms.get_volume()
    stress = with_calculator(atoms, model).get_stress()
    np.testing.assert_allclose(stress, expected, rtol=0, atol=1e-8)
    assert np.abs(stress).max() > 1e-3


# Symmetries.


def test_rotated_and_shifted_atoms_have_rotated_forces(atoms):
    model = random_model(atoms)
    Q = Rotation.from_euler("xyz", [0.3, -1.1, 2.0]).as_matrix() @ np.diag([1.0, 1.0, -1.0])
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ Q.T)
    moved.positions = atoms.positions @ Q.T + [0.7, -2.0, 11.0]
    before, after = with_calculator(atoms, model), with_calculator(moved, model)
    assert abs(after.get_potential_energy() - before.get_potential_energy()) < 1e-10
    np.testing.assert_allclose(after.get_forces(), before.get_forces() @ Q.T, rtol=0, atol=1e-10)
    if has_volume(atoms):
        expected = Q @ before.get_stress(voigt=False) @ Q.T
        np.testing.assert_allclose(after.get_stress(voigt=False), expected, rtol=0, atol=1e-10)


def test_permuted_atoms_have_permuted_forces(atoms):
    model = random_model(atoms)
    order = np.random.default_rng(0).permutation(len(atoms))
    before, after = with_calculator(atoms, model), with_calculator(atoms[order], model)
    np.testing.assert_allclose(after.get_forces(), before.get_forces()[order], rtol=0, atol=1e-11)
    np.testing.assert_allclose(after.get_potential_energies(), before.get_potential_energies()[order], atol=1e-11)


def test_wherever_periodic_atoms_are_written_forces_are_the_same(atoms):
    model = random_model(atoms)
    elsewhere = atoms.copy()
    cells = np.random.default_rng(0).integers(-50, 50, (len(atoms), 3)) * atoms.pbc
    elsewhere.positions += cells @ atoms.cell.array
    before, after = with_calculator(atoms, model), with_calculator(elsewhere, model)
    np.testing.assert_allclose(after.get_forces(), before.get_forces(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["tiny_cell", "triclinic", "slab", "left_handed"])
def test_supercells_have_the_same_forces_and_stress(name):
    atoms = CASES[name]()
    model = random_model(atoms)
    transformation = np.array([[2, 1, 0], [0, 2, 0], [0, 0, 1]])
    large = make_supercell(atoms, transformation, order="atom-major")
    before, after = with_calculator(atoms, model), with_calculator(large, model)
    assert abs(after.get_potential_energy() - 4 * before.get_potential_energy()) < 1e-9
    np.testing.assert_allclose(after.get_forces(), np.repeat(before.get_forces(), 4, axis=0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(after.get_stress(), before.get_stress(), rtol=0, atol=1e-10)


def test_results_have_the_same_bits_for_any_number_of_threads():
    atoms = alloy() * (3, 3, 3)
    model = random_model(alloy())
    results = []
    for n in (1, 2, 3):
        with castile.threads(n):
            moving = with_calculator(atoms, model)
            moving.get_forces()
            moving.rattle(0.05, seed=1)  # with the list of before
            moving.get_stresses()
            results.append(moving.calc.results)
    for other in results[1:]:
        assert all(same_bits(results[0][name], other[name]) for name in Calculator.implemented_properties)


# Unusual and bad input.


def test_no_atoms_have_no_energy(molecule):
    atoms = with_calculator(Atoms(), random_model(molecule))
    assert atoms.get_potential_energy() == 0.0
    assert atoms.get_forces().shape == (0, 3)
    assert atoms.get_potential_energies().shape == (0,)


def test_a_lone_atom_has_no_force(molecule):
    atoms = with_calculator(Atoms("C", positions=[[1e6, 0.0, -1e6]]), random_model(molecule))
    np.testing.assert_array_equal(atoms.get_forces(), np.zeros((1, 3)))


@pytest.mark.parametrize("cell", [None, [5.0, 5.0, 0.0], [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [4.0, 4.0, 0.0]]])
def test_without_a_volume_there_is_no_stress(molecule, cell):
    atoms = with_calculator(molecule, random_model(molecule))
    atoms.set_cell(cell)
    for ask in (atoms.get_stress, atoms.get_stresses):
        with pytest.raises(PropertyNotImplementedError):
            ask()
    with pytest.raises(PropertyNotImplementedError):
        atoms.calc.get_property("stress_std")
    assert atoms.get_forces().shape == (len(atoms), 3)


def test_unknown_species_are_named(molecule):
    atoms = with_calculator(molecule, random_model(molecule))
    atoms.get_forces()
    atoms.symbols[0] = "U"
    for _ in range(2):  # the second time there are "last atoms", but no results
        with pytest.raises(UnknownSpeciesError, match=r"species H, C, O, .* hold U; it was not trained on"):
            atoms.get_forces()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_positions_and_cells_that_are_not_finite_are_refused(bad):
    good = crystal()
    atoms = with_calculator(good, random_model(good))
    before = atoms.get_forces()
    atoms.positions[1, 2] = bad
    for _ in range(2):
        with pytest.raises(InputError, match="position of atom 1"):
            atoms.get_forces()
    atoms.positions = good.positions
    np.testing.assert_allclose(atoms.get_forces(), before, rtol=0, atol=1e-12)
    atoms.cell[0, 0] = bad
    with pytest.raises(InputError, match="cell"):
        atoms.get_potential_energy()


def test_periodic_axes_need_a_cell_vector(molecule):
    atoms = with_calculator(molecule, random_model(molecule))
    atoms.pbc = True
    with pytest.raises(InputError, match="has no cell vector"):
        atoms.get_forces()


def test_bad_parameters_are_refused(molecule):
    model = random_model(molecule)
    with pytest.raises(InputError, match="skin must be a length"):
        Calculator(model, skin=-0.1)
    with pytest.raises(InputTypeError, match="skin must be a number"):
        Calculator(model, skin="wide")
    with pytest.raises(InputTypeError, match=r"no parameter 'skn'; did you mean skin"):
        Calculator(model).set(skn=1.0)
    with pytest.raises(InputError, match="atoms is None"):
        Calculator(model).calculate()
    with pytest.raises(InputError, match="there are none yet"):
        Calculator(model).uncertainty  # noqa: B018


# The contract of ASE.


def test_nothing_is_computed_twice(counted):
    atoms, gradients = counted
    atoms.get_forces()
    atoms.get_potential_energy()
    atoms.get_stress()
    atoms.get_stresses()
    atoms.get_potential_energies()
    assert gradients == [True]
    atoms.positions[0, 0] += 0.01
    atoms.get_potential_energy()
    atoms.get_potential_energies()
    assert gradients == [True, False]
    atoms.get_stress()
    atoms.get_forces()
    assert gradients == [True, False, True]


def test_charges_and_moments_do_not_matter(counted):
    atoms, gradients = counted
    atoms.get_forces()
    atoms.set_initial_charges(np.ones(len(atoms)))
    atoms.set_initial_magnetic_moments(np.ones(len(atoms)))
    atoms.get_forces()
    assert gradients == [True]


def test_energies_have_the_same_bits_with_and_without_forces(atoms):
    model = random_model(atoms)
    alone, together = with_calculator(atoms, model), with_calculator(atoms, model)
    together.get_forces()
    assert same_bits(alone.get_potential_energies(), together.get_potential_energies())


def test_results_of_other_atoms_do_not_stay():
    atoms = crystal()
    calculator = Calculator(random_model(atoms))
    calculator.calculate(atoms)
    assert set(calculator.results) == set(Calculator.implemented_properties)
    calculator.calculate(atoms[:4], ["energy"])
    assert set(calculator.results) == {"energy", "free_energy", "energies"}
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property("magmom", atoms)
    calculator.reset()
    assert calculator.results == {}
    assert calculator.get_property("forces", atoms, allow_calculation=False) is None


def test_results_belong_to_who_asked(counted):
    atoms, _ = counted
    forces = atoms.get_forces()
    forces[:] = 0.0
    assert np.abs(atoms.get_forces()).max() > 0.0


def test_the_list_is_kept_while_it_serves():
    atoms = with_calculator(crystal(), random_model(crystal()))
    atoms.get_forces()
    first = atoms.calc._neighbors
    atoms.rattle(0.02, seed=1)
    atoms.set_cell(1.01 * atoms.cell.array, scale_atoms=True)
    atoms.get_forces()
    assert atoms.calc._neighbors is first
    atoms.rattle(0.3, seed=2)
    atoms.get_forces()
    assert atoms.calc._neighbors is not first
    atoms.calc.set(skin=0.0)
    seen = []
    for _ in range(2):
        atoms.positions[0, 0] += 1e-3
        atoms.get_forces()
        seen.append(atoms.calc._neighbors)
    assert seen[0] is not seen[1]


@pytest.mark.parametrize("skin", [0.0, 0.5])
def test_any_changes_between_calls_leave_the_results_right(skin):
    """One calculator for structures of all kinds in turn, in the order in which atoms never were."""
    rng = np.random.default_rng(3)
    model = random_model(STRUCTURES["five_species"]())
    calculator = Calculator(model, skin=skin)
    frames = [STRUCTURES["five_species"](), STRUCTURES["molecule"](), Atoms("CH", positions=[[0, 0, 0], [0, 0, 1.1]])]
    for _ in range(30):
        atoms = frames[rng.integers(len(frames))]
        atoms.positions += rng.choice([0.01, 0.2]) * rng.normal(size=atoms.positions.shape)
        if atoms.cell.rank == 3:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * rng.normal(size=(3, 3))), scale_atoms=True)
            atoms.pbc = rng.random(3) < 0.8
        atoms.calc = calculator
        expected = model.potential_.evaluate_frames(model.structures([atoms]))[1]
        scale = max(np.abs(expected).max(), 1.0)
        np.testing.assert_allclose(atoms.get_forces(), expected, rtol=0, atol=1e-11 * scale)


def test_copies_and_pickles_give_the_same_results():
    atoms = with_calculator(crystal(), random_model(crystal()), skin=0.7)
    before = atoms.get_forces()
    for other in (copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc)), copy.copy(atoms.calc)):
        assert same_bits(other.results["forces"], before)
        assert other.todict() == {"skin": 0.7}
        moved = atoms.copy()
        moved.rattle(0.01, seed=1)
        moved.calc = other
        expected = with_calculator(moved, atoms.calc.model).get_forces()
        np.testing.assert_allclose(moved.get_forces(), expected, rtol=0, atol=1e-12)
    twin = copy.deepcopy(atoms)
    assert twin.calc is not atoms.calc
    assert same_bits(twin.get_forces(), before)


def test_fitting_the_model_again_changes_no_energy():
    atoms = with_calculator(crystal(), random_model(crystal()))
    other = random_model(crystal(), seed=1)
    before = atoms.get_potential_energy()
    vars(atoms.calc.model).update(vars(other))
    other.baseline_energies_ += 1.0
    atoms.calc.reset()
    assert atoms.get_potential_energy() == before
    assert abs(with_calculator(atoms, other).get_potential_energy() - before) > 1.0


def test_parameters_are_told_as_ase_expects(molecule):
    model = random_model(molecule)
    assert Calculator(model).todict() == {}
    assert Calculator(model).name == "castile"
    assert Calculator(model).parameters == {"skin": 0.5}


def test_results_survive_files(tmp_path):
    atoms = with_calculator(crystal(), random_model(crystal()))
    atoms.get_stress()
    for name in ("frame.traj", "frame.extxyz"):
        write(tmp_path / name, atoms)
        again = read(tmp_path / name)
        assert again.calc is not atoms.calc
        np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), rtol=0, atol=1e-7)
        np.testing.assert_allclose(again.get_stress(), atoms.get_stress(), rtol=0, atol=1e-7)


# Uncertainties.


def test_uncertainties_are_computed_once_when_asked_and_stay_out_of_results():
    atoms = with_calculator(crystal(), random_model(crystal()))
    calculator = atoms.calc
    atoms.get_forces()
    assert calculator.model.n_uncertainties == 0
    assert calculator.get_property("energy_std", atoms, allow_calculation=False) is None
    assert calculator.get_property("energy_std", atoms) == 4.0
    np.testing.assert_array_equal(calculator.get_property("forces_std", atoms), np.abs(atoms.positions))
    np.testing.assert_array_equal(calculator.get_property("stress_std"), np.arange(6.0))
    np.testing.assert_array_equal(calculator.uncertainty.energy_std, [4.0])
    assert calculator.model.n_uncertainties == 1
    assert not {"energy_std", "forces_std", "stress_std"} & set(calculator.results)
    assert "forces" in calculator.results


def test_uncertainties_are_those_of_the_last_atoms():
    atoms = with_calculator(crystal(), random_model(crystal()))
    calculator = atoms.calc
    before = calculator.get_property("forces_std", atoms)
    atoms.positions[0, 0] += 0.2
    assert calculator.get_property("forces_std", atoms, allow_calculation=False) is None
    np.testing.assert_array_equal(calculator.get_property("forces_std", atoms), np.abs(atoms.positions))
    assert calculator.results == {}
    atoms.positions[0, 0] += 0.2
    atoms.get_potential_energy()
    np.testing.assert_array_equal(calculator.uncertainty.forces_std, np.abs(atoms.positions))
    assert not np.array_equal(calculator.uncertainty.forces_std, before)
