"""Reference energies of species: isolated atoms, least squares, and what neither of them tells."""

import json

import numpy as np
import pytest

from castile.errors import InputError, InputTypeError, UnknownSpeciesError
from castile.models.force_field._baseline import Baseline
from castile.models.force_field._composition_fit import fit_composition
from castile.models.force_field._model_file import read_model, write_model

NAN = float("nan")


def fit(compositions, energies, isolated=None, species=("Ga", "As"), given=None):
    mask = np.zeros(len(energies), dtype=bool)
    mask[list(isolated or [])] = True
    return Baseline.fit(compositions, energies, mask, species, given)


# ---------------------------------------------------------------- where energies come from


def test_isolated_atoms_are_kept_to_the_last_bit():
    atom = -157.123456789012345
    base = fit([[1], [8], [2]], [atom, -1300.0, -330.0], isolated=[0], species=["Si"])
    assert base.energies[0] == atom
    assert base.origin == ("isolated atom",)
    assert (base.rank, base.n_fitted, base.groups) == (0, 0, ())


def test_one_element_has_the_mean_energy_per_atom_where_each_frame_counts_alike():
    base = fit([[1], [8], [2]], [-1.0, -16.0, -6.0], species=["Si"])
    assert base.energies[0] == pytest.approx((-1.0 - 2.0 - 3.0) / 3, rel=1e-15)
    assert base.origin == ("mean",)
    assert (base.rank, base.n_fitted) == (1, 1)
    assert base.residual == pytest.approx(np.sqrt(2 / 3))


def test_energies_that_are_linear_in_composition_are_found_exactly():
    counts = np.random.default_rng(3).integers(1, 9, (30, 3))
    true = np.array([-1030.5, -14.25, -430.125])
    base = fit(counts, counts @ true, species=["C", "H", "O"])
    np.testing.assert_allclose(base.energies, true, rtol=1e-13)
    assert base.origin == ("least squares",) * 3
    assert base.rank == base.n_fitted == 3
    assert base.groups == ()
    assert base.residual < 1e-10
    assert base.determined.all()


def test_residuals_are_per_atom_as_the_normal_equations_say():
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 60, (40, 2)).astype(float)
    energies = counts @ [-3.0, -5.0] + rng.normal(size=40)
    rows = counts / counts.sum(axis=1)[:, None]
    expected = np.linalg.solve(rows.T @ rows, rows.T @ (energies / counts.sum(axis=1)))
    np.testing.assert_allclose(fit(counts, energies).energies, expected, rtol=1e-12)


def test_frames_may_be_repeated_as_supercells():
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 6, (12, 2))
    energies = counts @ [-3.0, -5.0] + rng.normal(size=12)
    scale = rng.integers(1, 9, 12)
    one, other = fit(counts, energies), fit(counts * scale[:, None], energies * scale)
    np.testing.assert_allclose(one.energies, other.energies, rtol=1e-13)


def test_what_isolated_atoms_leave_goes_to_the_others():
    # -10 per pair, of which Ga has -3.
    base = fit([[1, 0], [4, 4], [8, 8]], [-3.0, -40.0, -80.0], isolated=[0])
    np.testing.assert_allclose(base.energies, [-3.0, -7.0], rtol=1e-14)
    assert base.energies[0] == -3.0
    assert base.origin == ("isolated atom", "least squares")
    assert (base.rank, base.n_fitted, base.groups) == (1, 1, ())


def test_given_energies_come_before_those_of_isolated_atoms():
    base = fit([[1, 0], [4, 4]], [-3.0, -40.0], isolated=[0], given={"Ga": -2.0})
    np.testing.assert_allclose(base.energies, [-2.0, -8.0], rtol=1e-14)
    assert base.origin == ("given", "least squares")


def test_isolated_atoms_without_energy_do_not_count():
    base = fit([[1], [2]], [NAN, -8.0], isolated=[0], species=["Si"])
    assert base.energies.tolist() == [-4.0]
    assert base.origin == ("mean",)


def test_isolated_atoms_that_disagree_are_named():
    counts, energies = [[0, 1], [1, 0], [0, 1], [3, 3]], [-5.0, -3.0, -5.5, -30.0]
    with pytest.raises(InputError, match=r"of As disagree by 0\.5.*\(frame 0: -5\.0+ eV, frame 2: -5\.50+ eV\)"):
        fit(counts, energies, isolated=[0, 1, 2])
    base = fit(counts, energies, isolated=[0, 1, 2], given={"As": -5.25})
    assert base.energies.tolist() == [-3.0, -5.25]
    with pytest.raises(InputError, match=r"frame 4: .* and 2 more"):
        fit([[1]] * 7, range(7), isolated=range(7), species=["Si"])


def test_isolated_atoms_that_nearly_agree_give_one_of_their_energies():
    base = fit([[1], [1], [1]], [-3.0001, -3.0, -3.0002], isolated=[0, 1, 2], species=["Si"])
    assert base.energies[0] == -3.0001


# ---------------------------------------------------------------- what is not determined


@pytest.mark.parametrize("formula", [(1, 1), (2, 3), (1, 7)])
def test_a_compound_of_fixed_stoichiometry_gets_the_mean_energy_and_says_so(formula):
    counts = np.outer([1, 2, 8], formula)
    base = fit(counts, -4.0 * counts.sum(axis=1))
    np.testing.assert_allclose(base.energies, [-4.0, -4.0], rtol=1e-14)
    assert (base.rank, base.n_fitted, base.groups) == (1, 2, (("Ga", "As"),))
    assert "determine 1 of 2 fitted energies" in base.report()
    assert "those of Ga, As are not determined separately" in base.report()
    assert base.residual < 1e-12


def test_only_what_belongs_together_is_reported_together():
    # GaAs, NaCl and Si: three of five, in two pairs.
    counts = [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [4, 4, 3, 3, 1], [0, 0, 0, 0, 2]]
    base = fit(counts, np.array(counts) @ [-1.0, -2.0, -3.0, -4.0, -5.0], species=["Ga", "As", "Na", "Cl", "Si"])
    assert base.rank == 3
    assert base.groups == (("Ga", "As"), ("Na", "Cl"))
    assert base.energies[4] == pytest.approx(-5.0)
    np.testing.assert_allclose(base.of(counts), np.array(counts) @ [-1.0, -2.0, -3.0, -4.0, -5.0])


def test_the_solution_is_the_nearest_to_the_mean():
    rng = np.random.default_rng(8)
    counts = rng.integers(1, 5, (3, 5)).astype(float)  # fewer frames than species
    energies = counts.sum(axis=1) * rng.normal(-5.0, 1.0, 3)
    sizes = counts.sum(axis=1)
    mean = np.mean(energies / sizes)
    fitted = fit_composition(counts, energies, sizes)
    expected = mean + np.linalg.pinv(counts) @ (energies - sizes * mean)  # exact, so that weights do not matter
    np.testing.assert_allclose(fitted.energies, expected, rtol=1e-10)
    assert fitted.rank == 3
    assert fitted.groups == [[0, 1, 2, 3, 4]]


def test_species_without_energies_have_the_mean_and_are_undetermined():
    base = fit([[2, 0], [3, 5], [4, 0]], [-6.0, NAN, -20.0])
    np.testing.assert_allclose(base.energies, [-4.0, -4.0])
    assert base.origin == ("least squares", "undetermined")
    assert base.determined.tolist() == [True, False]
    assert "As: in no frame with an energy" in base.report()


@pytest.mark.parametrize("counts", [[[2, 2]], np.empty((0, 2))])
def test_without_energies_everything_is_zero_and_undetermined(counts):
    base = fit(counts, [NAN] * len(counts))
    assert base.energies.tolist() == [0.0, 0.0]
    assert base.origin == ("undetermined", "undetermined")
    assert base.residual is None
    assert base.rank == 0


def test_isolated_atoms_alone_are_enough():
    base = fit([[1, 0], [5, 5]], [-3.0, NAN], isolated=[0])
    assert base.energies.tolist() == [-3.0, -3.0]
    assert base.origin == ("isolated atom", "undetermined")


# ---------------------------------------------------------------- use


def test_energies_of_all_species_may_be_given():
    base = Baseline.from_energies({"As": -5.0, "Ga": -3})
    assert base.species == ("Ga", "As")
    assert base.energies.tolist() == [-3.0, -5.0]
    assert base.origin == ("given", "given")
    assert Baseline.from_energies({"As": -5.0, "Ga": -3}, ["As", "Ga"]).energies.tolist() == [-5.0, -3.0]


@pytest.mark.parametrize(
    ("energies", "species", "error", "message"),
    [
        ({"Ga": -3.0}, ["Ga", "As"], InputError, "As are missing"),
        ({"Ga": -3.0, "Si": -3.0}, ["Ga"], UnknownSpeciesError, "given for Si, which is not one of the species Ga"),
        ({"silicon": -3.0}, None, UnknownSpeciesError, "'silicon' is not a chemical symbol"),
        ({"Ga": NAN}, None, InputError, "the energy of Ga must be a finite number in eV"),
        ({"Ga": "x"}, None, InputTypeError, "the energy of Ga must be a number in eV"),
    ],
)
def test_given_energies_are_checked(energies, species, error, message):
    with pytest.raises(error, match=message):
        Baseline.from_energies(energies, species)


def test_subtract_and_add_are_inverse_and_leave_missing_energies():
    base = Baseline.from_energies({"Ga": -3.0, "As": -5.0})
    counts, energies = np.array([[1, 1], [2, 0], [0, 3]]), np.array([-10.0, NAN, -15.5])
    left = base.subtract(counts, energies)
    np.testing.assert_array_equal(left, [-2.0, NAN, -0.5])
    np.testing.assert_array_equal(base.add(counts, left), energies)
    assert base.of([4, 1]) == -17.0


def test_bits_do_not_depend_on_the_batch():
    rng = np.random.default_rng(2)
    names = ["H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne"]
    base = Baseline.from_energies(dict(zip(names, rng.normal(size=10), strict=True)))
    counts = rng.integers(0, 99, (101, 10))
    together = base.of(counts)
    assert all(base.of(row) == value for row, value in zip(counts, together, strict=True))
    assert np.array_equal(base.of(np.asfortranarray(counts)), together)


def test_a_baseline_goes_through_a_model_file(tmp_path):
    base = fit([[1, 1], [2, 2], [0, 1]], [-0.1, -0.7, NAN])
    write_model(tmp_path / "a", {"baseline": base.to_metadata()}, {})
    again = Baseline.from_metadata(read_model(tmp_path / "a")[0]["baseline"])
    assert again.to_metadata() == base.to_metadata()
    assert again.energies.tobytes() == base.energies.tobytes()
    assert (again.report(), again.groups, again.species) == (base.report(), base.groups, base.species)
    assert json.dumps(base.to_metadata())


@pytest.mark.parametrize(
    "change",
    [{"energies": [1.0]}, {"energies": [1.0, NAN]}, {"origin": ["given", "guess"]}, {"groups": 3}, {"rank": -1}, None],
)
def test_metadata_of_something_else_are_refused(change):
    metadata = Baseline.from_energies({"Ga": -3.0, "As": -5.0}).to_metadata()
    with pytest.raises(InputError):
        Baseline.from_metadata({**metadata, **change} if change is not None else {})


def test_energies_cannot_be_changed_from_outside():
    given = np.array([-3.0, -5.0])
    base = fit([[1, 0], [0, 1]], given, isolated=[0, 1])
    with pytest.raises(ValueError, match="read-only"):
        base.energies[0] = 0.0
    assert given.flags.writeable


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1, 2, 3]], [0.0], [False], ["Ga", "As"]), InputError, r"shape \(n_frames, 2\), got \(1, 3\)"),
        (([[1, 2]], [0.0, 1.0], [False], ["Ga", "As"]), InputError, r"energies must have shape \(1,\)"),
        (([[1, 2]], [0.0], [False, True], ["Ga", "As"]), InputError, r"isolated must have shape \(1,\)"),
        (([[1, 2]], [0.0], [0], ["Ga", "As"]), InputTypeError, "must be an array of bool"),
        (([[1, 2]], [0.0], [True], ["Ga", "As"]), InputError, "frame 0 is marked as an isolated atom, but"),
        (([[1, 2], [0, 0]], [0.0, 1.0], [False] * 2, ["Ga", "As"]), InputError, "frame 1 has no atoms"),
        (([[1, -2]], [0.0], [False], ["Ga", "As"]), InputError, "frame 0 has numbers of atoms that are no counts"),
        (([[1, 0.5]], [0.0], [False], ["Ga", "As"]), InputError, "no counts"),
        (([[1, 2]], [np.inf], [False], ["Ga", "As"]), InputError, "frame 0 has an infinite energy"),
        (([[1, 2]], ["x"], [False], ["Ga", "As"]), InputTypeError, "energies must hold real numbers"),
        (([[1, 2]], [0.0], [False], ["Ga", "Ga"]), InputError, "different names"),
        ((np.empty((1, 0)), [0.0], [False], []), InputError, "one or more"),
    ],
)
def test_arrays_that_cannot_be_meant_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Baseline.fit(*arguments)
    with pytest.raises(InputError, match=r"must have 1 columns, one for each of Ga; got shape \(2,\)"):
        Baseline.from_energies({"Ga": 1.0}).of([1, 2])
