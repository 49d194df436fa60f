import os
import re
import shutil
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

import castile
from castile._text import plain
from castile.cli.run._common import relax_atoms
from castile.cli.run._elastic_constants import ElasticConstants, elastic_constants
from castile.cli.run._propagation import propagated
from castile.cli.run._watch import Watch, known_errors
from castile.cli.run.eos import equation_of_state
from castile.cli.run.phonons import harmonic_properties
from castile.errors import InputError

GPA = 160.21766208
COMMANDS = ("md", "relax", "eos", "phonons", "elastic")


@pytest.fixture
def model(folder):
    return folder / "si.castile"


# ---------------------------------------------------------------------- all commands


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run, words, command):
    for flag in ("--help", "-h"):
        status, text = run("run", command, flag)
        assert status == 0
    assert f"castile run {command} si.castile" in words(text)
    assert "--json" in text


def test_no_command_means_help(run):
    text = run("run")[1]
    for command in COMMANDS:
        assert command in text


MISTAKES = {
    "no model": (["no.castile", "si.xyz"], "no.castile"),
    "not a model": (["other.castile", "si.xyz"], "other.castile"),
    "no structure": (["si.castile", "no.xyz"], "no.xyz does not exist"),
    "several structures": (["si.castile", "rattled.xyz", "--index", ":"], "selects 2 structures"),
    "species": (["si.castile", "al.xyz"], "hold Al; it was not trained on them: fit anew"),
    "format": (["si.castile", "si.xyz", "--format", "xzy"], "no format 'xzy'"),
}
OWN_MISTAKES = {
    "md": {
        "ensemble": (["--ensemble", "nvx"], "--ensemble must be one of nve, nvt, npt"),
        "velocities": (["--velocities", "zero"], "--velocities must be draw or keep"),
        "keep": (["--velocities", "keep"], "the structure has none"),
        "timestep": (["--timestep", "0"], "--timestep must be above 0"),
        "friction": (["--friction", "-1"], "--friction must be above 0"),
        "cold": (["-T", "0"], "--temperature must be above 0 for nvt"),
        "supercell": (["--supercell", "2x2"], "--supercell must be one or three positive integers"),
        "zero": (["--supercell", "0"], "--supercell must be one or three positive integers"),
        "suffix": (["-o", "run.traj"], "--output must end in .xyz or .extxyz"),
        "folder": (["-o", "nowhere/run.xyz"], "nowhere does not exist"),
        "existing": (["-o", "si.xyz"], "si.xyz exists"),
        "pictures": (["--plots", "si.xyz"], "cannot make the directory"),
    },
    "relax": {
        "fmax": (["--fmax", "0"], "--fmax must be above 0"),
        "pressure": (["--pressure", "1"], "add --cell"),
        "optimizer": (["--optimizer", "newton"], "--optimizer must be one of bfgs, lbfgs, fire"),
        "suffix": (["--trajectory", "run.cif"], "must end in .xyz"),
    },
    "eos": {
        "equation": (["--equation", "linear"], "--equation must be one of birchmurnaghan"),
        "suffix": (["-o", "run.cif"], "must end in .xyz"),
    },
    "phonons": {
        "path": (["--path", "GYQ"], "--path must be made of the points"),
        "displacement": (["--displacement", "0"], "--displacement must be above 0"),
        "mesh": (["--mesh", "many"], "--mesh must be one or three positive integers"),
        "supercell": (["--supercell", "2x"], "--supercell must be"),
    },
    "elastic": {
        "strain": (["--strain", "0"], "--strain must be above 0"),
        "fmax": (["--fmax", "0"], "--fmax must be above 0"),
    },
}
NOT_FOR_MOLECULES = [(command, "molecule.xyz") for command in ("eos", "phonons", "elastic")]


@pytest.fixture
def refused(run, tmp_path, monkeypatch, folder):
    """Run a command in a folder that holds the files; it must fail with one line, and write nothing."""
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)

    def check(arguments, message):
        before = sorted(os.listdir(tmp_path))
        status, text = run("run", *arguments)
        assert status == 1
        assert text.splitlines()[-1].startswith("error: ")
        assert message in text
        assert sorted(os.listdir(tmp_path)) == before

    return check


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_is_one_line_and_status_one(refused, command, mistake):
    arguments, message = MISTAKES[mistake]
    refused([command, *arguments], message)


@pytest.mark.parametrize(
    ("command", "mistake"), [(command, mistake) for command, own in OWN_MISTAKES.items() for mistake in own]
)
def test_a_mistake_in_an_option_is_one_line(refused, command, mistake):
    options, message = OWN_MISTAKES[command][mistake]
    refused([command, "si.castile", "si.xyz", *options], message)


@pytest.mark.parametrize(
    "arguments",
    [
        *([command, "si.castile", name] for command, name in NOT_FOR_MOLECULES),
        ["md", "si.castile", "molecule.xyz", "-e", "npt"],
        ["relax", "si.castile", "molecule.xyz", "--cell"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_a_crystal_says_so(refused, arguments):
    refused(arguments, "a crystal, periodic along three axes")


# ---------------------------------------------------------------------- md


def test_nve_conserves_the_energy_and_writes_a_trajectory(tmp_path, folder, model, run_json):
    out = tmp_path / "nve.xyz"
    options = ["--supercell", 2, "-e", "nve", "-T", 300, "-n", 45, "--every", 10, "-o", out, "--seed", 4]
    options += ["--uncertainty-every", 20, "--timestep", 0.5, "--plots", tmp_path / "pictures", "--threads", 1]
    found = run_json("run", "md", model, folder / "si.xyz", *options)
    assert found["atoms"] == 16
    frames = ase.io.read(out, ":")
    assert len(frames) == 6  # at 0, 10, 20, 30, 40, 45
    np.testing.assert_allclose(found["records"]["time"], 5e-4 * np.array([0, 10, 20, 30, 40, 45]), atol=1e-12)
    energies = [atoms.get_potential_energy() for atoms in frames]
    np.testing.assert_allclose(energies, found["records"]["potential"], atol=1e-6)
    total = [atoms.get_potential_energy() + atoms.get_kinetic_energy() for atoms in frames]
    assert np.ptp(total) < 1e-3 * 16 * 0.1
    assert abs(found["drift"]) < 1e-2
    assert found["records"]["temperature"][0] == pytest.approx(600.0, rel=0.2)
    assert len(found["energy_std"]) == 4  # at 0, 20, 40 and the end
    assert (tmp_path / "pictures" / "energy.png").read_bytes().startswith(b"\x89PNG")
    other = castile.load(model).predict(frames[-1])
    np.testing.assert_allclose(frames[-1].get_forces(), other.forces, atol=1e-6)
    np.testing.assert_allclose(frames[-1].get_stress(), other.stress[0], atol=1e-6)


def test_a_run_goes_on_with_the_velocities_of_a_trajectory(tmp_path, folder, model, run_json):
    common = ["-e", "nve", "--every", 5, "--uncertainty-every", 0]
    whole = run_json("run", "md", model, folder / "rattled.xyz", "-n", 20, "-o", tmp_path / "a.xyz", *common)
    run_json("run", "md", model, folder / "rattled.xyz", "-n", 10, "-o", tmp_path / "b.xyz", *common)
    rest = run_json("run", "md", model, tmp_path / "b.xyz", "-n", 10, "--velocities", "keep", *common)
    assert rest["records"]["total"][-1] == pytest.approx(whole["records"]["total"][-1], abs=1e-4)
    assert whole["energy_std"] == []


@pytest.mark.parametrize("options", [["nvt", "--friction", 0.05], ["npt", "--pressure", 1.0], ["npt", "--shape"]])
def test_thermostats_and_barostats_run_and_are_repeatable(folder, model, run_json, options):
    arguments = ["run", "md", model, folder / "rattled.xyz", "-n", 10, "-e", *options]
    first, second = run_json(*arguments), run_json(*arguments)
    assert first["records"] == second["records"]
    volumes = first["records"]["volume"]
    assert (np.ptp(volumes) > 0.0) == (options[0] == "npt")


def test_langevin_dynamics_hold_the_center_of_mass_and_the_temperature(tmp_path, folder, run):
    """By a constraint, as ASE asks for, and not by the argument that it gives up, with a warning."""
    out = tmp_path / "nvt.xyz"
    options = ["-n", 600, "--friction", 0.1, "--every", 2, "-o", out, "--uncertainty-every", 0]
    status, text = run("run", "md", folder / "si.castile", folder / "si.xyz", "--supercell", 2, "-T", 100, *options)
    assert status == 0, text
    assert "warning" not in text
    frames = ase.io.read(out, ":")
    np.testing.assert_allclose(frames[-1].get_center_of_mass(), frames[0].get_center_of_mass(), atol=1e-6)
    assert not np.allclose(frames[-1].positions, frames[0].positions, atol=1e-3)
    degrees = 3 * (len(frames[0]) - 1)
    kinetic = np.mean([atoms.get_kinetic_energy() for atoms in frames[100:]])
    assert 2.0 * kinetic / (degrees * 8.617333e-5) == pytest.approx(100.0, rel=0.15)


def test_md_prints_a_table(folder, model, run, words):
    status, text = run("run", "md", model, folder / "rattled.xyz", "-n", 20, "-e", "nve")
    assert status == 0, text
    for word in ("NVE of 8 atoms", "T (K)", "P (GPa)", "energy drift", "uncertainty", "µs per atom and step"):
        assert word in words(text)
    status, text = run("run", "md", model, folder / "molecule.xyz", "-n", 5)
    assert status == 0, text
    assert "P (GPa)" not in text


def test_a_simulation_that_goes_wrong_is_stopped_and_leaves_what_it_has(tmp_path, folder, model, run):
    options = ["-n", 200, "--every", 5, "--timestep", 500, "-e", "nve", "-T", 5000, "-o", tmp_path / "out.xyz"]
    status, text = run("run", "md", model, folder / "rattled.xyz", *options)
    assert status == 1
    assert text.splitlines()[-1].startswith("error: ")
    assert len(ase.io.read(tmp_path / "out.xyz", ":")) >= 1


def test_an_interrupted_run_leaves_its_frames(tmp_path, folder, model, run, monkeypatch):
    looks = iter(range(3))

    def interrupt(*_):
        if next(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("castile.cli.run._watch.Watch.distances", interrupt)
    status, text = run("run", "md", model, folder / "rattled.xyz", "-n", 50, "-o", tmp_path / "out.xyz")
    assert status == 130
    assert "interrupted" in text
    assert len(ase.io.read(tmp_path / "out.xyz", ":")) == 2


# ---------------------------------------------------------------------- the watch


def test_the_watch_warns_once_of_atoms_that_are_too_close(model, capsys):
    watch = Watch(castile.load(model))
    atoms = bulk("Si", cubic=True)
    watch.distances(atoms, "now")
    assert watch.warnings == []
    atoms.positions[1] = atoms.positions[0] + [1.2, 0.0, 0.0]
    watch.distances(atoms, "at step 5")
    watch.distances(atoms, "at step 6")
    assert len(watch.warnings) == 1
    assert re.search(r"atoms 0 and 1 \(Si-Si\) are 1.20 Å apart at step 5, closer than", watch.warnings[0])
    assert watch.closest == pytest.approx(1.2)
    assert "warning: atoms 0 and 1" in capsys.readouterr().err.replace("\n", " ")


def test_the_watch_warns_when_the_energy_gets_unsure(model):
    watch = Watch(castile.load(model))
    atoms = bulk("Si", cubic=True, a=5.47)
    watch.energy(atoms, "at the start")
    expected = np.sqrt(castile.load(model).covariance(atoms)[0, 0]) / 8
    assert watch.deviations == {"energy": [pytest.approx(expected)], "force": []}
    assert watch.warnings == []
    atoms.rattle(0.6, seed=0)
    watch.energy(atoms, "at step 9")
    watch.energy(atoms, "at step 10")
    assert len(watch.warnings) == 2
    assert "is unlike the training data at step 9: its extrapolation grade is" in watch.warnings[1]
    assert watch.results()["extrapolation_grade"] == watch.grades
    assert watch.grades[0] < 3.0 < watch.grades[1] == watch.grades[2]
    known = castile.load(model).training_["errors"]["training"][0]["rmse"]
    assert f"of the energy at step 9: a standard deviation of {1e3 * watch.deviations['energy'][1]:.1f}"[:-2] in (
        watch.warnings[0]
    )
    assert f"while the error of training frames is {plain(1e3 * known)} meV/atom" in watch.warnings[0]


def test_a_structure_that_is_unknown_from_the_start_is_warned_of(model):
    """There is nothing to grow: what counts are the errors of the training, also where symmetry makes forces sure."""
    watch = Watch(castile.load(model))
    watch.energy_and_forces(bulk("Si", "bcc", a=3.2), "at the start")
    unlike = "the neighborhood of atom 0 (Si) is"
    assert [text[:33] for text in watch.warnings] == ["the model is unsure of the energy", unlike[:33]]
    assert watch.deviations["force"][0] == pytest.approx(0.0, abs=1e-9)


@pytest.fixture(scope="module")
def calibrated(silicon):
    return castile.ForceField(n_sparse=20, zeta=2.0).fit(silicon)


def test_one_atom_that_is_unknown_shows_in_its_force(calibrated):
    """In a large cell the energy per atom averages over what is known."""
    watch = Watch(calibrated)
    atoms = bulk("Si", cubic=True, a=5.47) * 3
    atoms.positions[0] += [0.0, 0.7, 0.7]
    watch.energy_and_forces(atoms, "at step 3")
    assert watch.warnings[0].startswith("the model is unsure of forces at step 3:")
    assert "is unlike the training data at step 3" in watch.warnings[1]
    stds = calibrated.uncertainty(atoms).forces_std
    assert watch.deviations["force"][0] == pytest.approx(np.sqrt((stds**2).mean(axis=1)).max())


def test_errors_of_held_out_frames_are_preferred(calibrated):
    rows = {row["quantity"]: row for row in calibrated.training_["errors"]["held out"]}
    found = known_errors(calibrated)
    assert {kind: one.of for kind, one in found.items()} == {"energy": "held-out frames", "force": "held-out frames"}
    assert found["force"].rmse == rows["force"]["rmse"]


def test_noise_stands_for_errors_that_no_fit_has_seen(silicon):
    ff = castile.ForceField(n_sparse=20, zeta=2.0).partial_fit(silicon[:12])
    assert known_errors(ff)["force"] == (ff.noise_["force"], "labels, as assumed")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_uncertainty(folder, run, run_json, words, command):
    options = {"md": ["-n", 5], "eos": ["--points", 5], "phonons": ["--supercell", 2, "--mesh", 2]}.get(command, [])
    arguments = ["run", command, folder / "si.castile", folder / "si.xyz", *options]
    found = run_json(*arguments)
    assert found["energy_std"][0] > 0.0
    assert len(found["force_std"]) > 0
    assert found["known_errors"]["force"]["of"] == "training frames"
    text = words(run(*arguments)[1])
    assert "at most (standard deviations)" in text
    assert "(training frames)" in text


def test_md_looks_at_forces_at_the_start_at_the_end_and_in_between(folder, model, run_json):
    found = run_json("run", "md", model, folder / "si.xyz", "-n", 13, "--every", 1, "--uncertainty-every", 1)
    assert len(found["energy_std"]) == 14
    assert len(found["force_std"]) == 3  # at 0, 10 and 13


def test_propagated_deviations_are_those_of_a_linear_function():
    a, root = np.array([1.0, -2.0, 0.5]), np.array([[1.0, 0.2, 0.0], [0.0, 0.5, 0.1], [0.0, 0.0, 2.0]])
    covariance = root @ root.T
    found = propagated(lambda x: {"sum": float(a @ x)}, np.ones(3), covariance)
    assert found["sum"] == pytest.approx(np.sqrt(a @ covariance @ a))


def test_deviations_of_what_cannot_be_had_everywhere_are_none():
    def root(x):
        if x[0] < 0.0:
            raise InputError("no root")
        return {"root": float(np.sqrt(x[0]))}

    assert propagated(root, np.array([1.0]), np.array([[4.0]])) is None
    assert propagated(root, np.array([1.0]), np.array([[0.01]]))["root"] == pytest.approx(0.05, rel=0.01)


# ---------------------------------------------------------------------- relax


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "fire"])
def test_relax_finds_the_crystal(tmp_path, folder, model, run_json, optimizer):
    out, trajectory = tmp_path / "relaxed.xyz", tmp_path / "steps.extxyz"
    options = ["--optimizer", optimizer, "--fmax", 0.01, "-o", out, "--trajectory", trajectory]
    found = run_json("run", "relax", model, folder / "rattled.xyz", *options)
    assert found["converged"]
    assert found["largest_force"] < 0.01
    assert found["energy"]["after"] < found["energy"]["before"]
    relaxed = ase.io.read(out)
    assert relaxed.get_potential_energy() == pytest.approx(found["energy"]["after"])
    assert len(ase.io.read(trajectory, ":")) == found["steps"] + 1
    assert found["cell"]["after"] == found["cell"]["before"]


def test_relax_of_the_cell_reaches_the_pressure(tmp_path, folder, model, run_json):
    options = ["--cell", "--pressure", 2.0, "--fmax", 0.001]
    found = run_json("run", "relax", model, folder / "si.xyz", *options)
    np.testing.assert_allclose(found["stress"]["after"], [-2.0] * 3 + [0.0] * 3, atol=0.01)
    assert found["cell"]["after"]["volume"] < found["cell"]["before"]["volume"]


def test_relax_prints_what_changed(folder, model, run, words):
    status, text = run("run", "relax", model, folder / "rattled.xyz", "--cell", "--supercell", "1x1x2", "--fmax", 0.02)
    assert status == 0, text
    for word in ("Relaxed", "eV/atom", "cell lengths", "stress", "GPa", "uncertainty"):
        assert word in words(text)
    assert run("run", "relax", model, folder / "molecule.xyz", "--fmax", 0.02)[0] == 0


def test_what_is_not_relaxed_has_status_one_and_is_written_all_the_same(tmp_path, folder, model, run):
    out = tmp_path / "out.xyz"
    status, text = run("run", "relax", model, folder / "rattled.xyz", "--steps", 1, "-o", out)
    assert status == 1
    assert "not relaxed after 1 steps" in text
    assert out.exists()


# ---------------------------------------------------------------------- eos


def test_equation_of_state_is_that_of_the_relaxed_cell(tmp_path, folder, model, run_json):
    out = tmp_path / "volumes.xyz"
    options = ["--range", 5, "--points", 9, "-o", out, "--plots", tmp_path / "pictures", "--fmax", 0.01]
    found = run_json("run", "eos", model, folder / "si.xyz", *options)
    relaxed = run_json("run", "relax", model, folder / "si.xyz", "--cell", "--fmax", 0.0005)
    assert found["volume"] == pytest.approx(relaxed["cell"]["after"]["volume"], rel=2e-3)
    assert found["energy"] == pytest.approx(relaxed["energy"]["after"], abs=1e-3)
    assert len(ase.io.read(out, ":")) == 9
    pressures, volumes = np.array(found["pressures"]), np.array(found["volumes"])
    modulus = np.interp(found["volume"], volumes, -volumes * np.gradient(pressures, volumes))
    assert found["bulk_modulus"] == pytest.approx(modulus, rel=0.1)
    energies = castile.load(model).covariance(ase.io.read(out, ":"))
    assert np.sqrt(np.diag(energies)).min() < found["std"]["energy"] * 1.5
    assert 0.0 < found["std"]["bulk_modulus"] < found["bulk_modulus"]
    assert (tmp_path / "pictures" / "eos.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("equation", ["birchmurnaghan", "vinet", "murnaghan"])
def test_every_equation_of_state_finds_copper(equation):
    frames = []
    for a in np.linspace(3.55, 3.65, 7):
        frames.append(bulk("Cu", a=a))
        frames[-1].calc = EMT()
    found = equation_of_state(
        np.array([atoms.get_volume() for atoms in frames]),
        np.array([atoms.get_potential_energy() for atoms in frames]),
        equation,
    )
    # Published for EMT: a 3.59 Å, B 134 GPa (Jacobsen, Stoltze and Nørskov, 1996).
    assert (4 * found["volume"]) ** (1 / 3) == pytest.approx(3.59, abs=0.01)
    assert found["bulk_modulus"] == pytest.approx(134, abs=5)
    np.testing.assert_allclose(np.interp(found["volumes"], *found["curve"]), found["energies"], atol=1e-3)


def test_eos_prints_a_table_and_says_when_there_is_no_minimum(tmp_path, folder, model, run, words):
    options = ["--no-relax", "--points", 5, "--equation", "vinet", "--threads", 1]
    status, text = run("run", "eos", model, folder / "si.xyz", *options)
    assert status == 0, text
    for word in ("volume (Å³/atom)", "bulk modulus", "its derivative", "vinet"):
        assert word in words(text)
    ase.io.write(tmp_path / "squeezed.xyz", bulk("Si", a=5.1))
    status, text = run("run", "eos", model, tmp_path / "squeezed.xyz", "--range", 2, "--points", 5)
    assert status == 1
    assert "no minimum between" in words(text) or "no equation of state fits" in words(text)


# ---------------------------------------------------------------------- phonons


def test_phonons_of_silicon(tmp_path, folder, model, run_json):
    options = ["--supercell", 2, "--path", "GX,L", "--points", 20, "--mesh", "3x3x3", "-T", 100]
    options += ["--displacement", 0.02, "--plots", tmp_path / "pictures", "--threads", 1]
    before = os.listdir(".")
    found = run_json("run", "phonons", model, folder / "si.xyz", *options)
    assert os.listdir(".") == before
    assert np.array(found["frequencies"]).shape == (len(found["distances"]), 6)
    assert list(found["points"]) == ["G", "X", "L"]
    np.testing.assert_allclose(found["points"]["G"][:3], 0.0, atol=0.05)  # acoustic
    assert 10.0 < found["points"]["G"][-1] < 20.0
    frequencies, density = found["dos"]
    assert np.trapezoid(density, frequencies) == pytest.approx(6.0, rel=0.01)
    assert found["harmonic"]["temperature"] == 100.0
    assert (tmp_path / "pictures" / "phonons.png").read_bytes().startswith(b"\x89PNG")


def test_phonons_print_a_table_and_warn_of_forces(tmp_path, folder, model, run, words):
    status, text = run("run", "phonons", model, folder / "si.xyz", "--supercell", 1, "--mesh", 0)
    assert status == 0, text
    for word in ("Phonons in THz", "Γ", "supercell", "1x1x1"):
        assert word in text
    assert "zero-point" not in text
    status, text = run("run", "phonons", model, folder / "rattled.xyz", "--supercell", 1, "--mesh", 2)
    assert status == 0
    assert "warning: the structure is not at rest" in words(text)


def test_harmonic_properties_of_one_frequency():
    kelvin, thz = 500.0, 10.0
    quantum, kt = thz * 4.135667696e-3, 8.617333262e-5 * kelvin
    found = harmonic_properties(np.full((4, 3), thz), 1, kelvin)
    assert found["zero_point_energy"] == pytest.approx(1.5 * quantum, rel=1e-6)
    x = quantum / kt
    assert found["free_energy"] == pytest.approx(1.5 * quantum + 3 * kt * np.log(1 - np.exp(-x)), abs=1e-6)
    assert found["heat_capacity"] == pytest.approx(3 * x**2 * np.exp(x) / (np.exp(x) - 1) ** 2, rel=1e-5)
    assert harmonic_properties(np.full((4, 3), thz), 1, 1e5)["heat_capacity"] == pytest.approx(3.0, rel=1e-4)
    assert harmonic_properties(np.full((4, 3), thz), 1, 0.0)["heat_capacity"] == 0.0


# ---------------------------------------------------------------------- elastic constants


def test_elastic_constants_are_second_derivatives_of_the_energy():
    atoms = bulk("Cu", "hcp", a=2.55, c=4.2)
    atoms.rattle(0.05, seed=0)  # no symmetry left
    atoms.calc = EMT()
    from ase.filters import FrechetCellFilter

    assert relax_atoms(FrechetCellFilter(atoms), fmax=1e-5, steps=500)[0]
    found = elastic_constants(atoms, 1e-4).stiffness
    pairs, h = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)), 1e-3

    def energy(*strains):
        strain = np.zeros((3, 3))
        for (a, b), value in strains:
            strain[a, b] += 0.5 * value
            strain[b, a] += 0.5 * value
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        moved.calc = EMT()
        return moved.get_potential_energy()

    for i, j in ((0, 0), (3, 3), (0, 2), (1, 4)):
        a, b = pairs[i], pairs[j]
        second = sum(s * t * energy((a, s * h), (b, t * h)) for s in (1, -1) for t in (1, -1)) / (4 * h * h)
        assert GPA * found[i, j] == pytest.approx(GPA * second / atoms.get_volume(), abs=0.3)


def isotropic(bulk_modulus, shear):
    stiffness = np.diag([2.0 * shear] * 3 + [shear] * 3)
    stiffness[:3, :3] += bulk_modulus - 2.0 * shear / 3.0
    return ElasticConstants(stiffness, 0.0)


def test_moduli_of_an_isotropic_solid_are_its_own():
    found = isotropic(100.0, 40.0).moduli()
    for name, value in found.items():
        if name.startswith("bulk"):
            assert value == pytest.approx(100.0)
        if name.startswith("shear"):
            assert value == pytest.approx(40.0)
    assert found["young"] == pytest.approx(9 * 100 * 40 / 340)
    assert found["poisson"] == pytest.approx((300 - 80) / (2 * 340))


def test_moduli_of_copper_are_those_of_the_literature():
    # C11, C12, C44 of copper at room temperature, and Hill's averages: Hirth and Lothe, Theory of Dislocations, app. 1.
    c = np.diag([168.4 - 121.4] * 3 + [75.4] * 3)
    c[:3, :3] += 121.4
    found = ElasticConstants(c, 0.0).moduli()
    assert found["bulk_voigt"] == pytest.approx(found["bulk_reuss"]) == pytest.approx(137.1, abs=0.1)
    assert found["shear_voigt"] == pytest.approx((47.0 + 3 * 75.4) / 5)
    assert found["shear_reuss"] == pytest.approx(5 * 47.0 * 75.4 / (4 * 75.4 + 3 * 47.0))


def test_an_unstable_matrix_is_said_to_be_so(folder, model, run, monkeypatch, words):
    assert not isotropic(100.0, -5.0).stable
    assert isotropic(100.0, 5.0).stable
    assert np.isnan(isotropic(100.0, 0.0).moduli()["shear_reuss"])

    def unstable(atoms, *_):
        return replace(isotropic(0.6, -0.05), strained=[atoms] * 12)

    monkeypatch.setattr("castile.cli.run.elastic.elastic_constants", unstable)
    status, text = run("run", "elastic", model, folder / "si.xyz", "--no-cell", "--no-relax")
    assert status == 0
    assert "not positive definite" in words(text)


def test_elastic_constants_of_silicon(tmp_path, folder, model, run_json):
    out = tmp_path / "relaxed.xyz"
    found = run_json("run", "elastic", model, folder / "si.xyz", "-o", out, "--strain", 0.004, "--steps", 200)
    c = np.array(found["stiffness"])
    assert found["positive_definite"]
    np.testing.assert_allclose(c[[1, 2], [1, 2]], c[0, 0], rtol=1e-3)  # cubic
    np.testing.assert_allclose(c[[4, 5], [4, 5]], c[3, 3], rtol=1e-3)
    np.testing.assert_allclose(c[:3, 3:], 0.0, atol=0.5)
    assert found["moduli"]["bulk_voigt"] == pytest.approx((c[0, 0] + 2 * c[0, 1]) / 3)
    np.testing.assert_allclose(found["stress"], 0.0, atol=0.1)
    # That of a mean of constants, from their covariance, is at most the mean of theirs.
    std = np.array(found["std"]["stiffness"])
    assert 0.0 < found["std"]["moduli"]["bulk_voigt"] <= std[:3, :3].mean() * (1.0 + 1e-6)
    assert ase.io.read(out).get_potential_energy() < 0.0
    clamped = run_json("run", "elastic", model, folder / "si.xyz", "--no-relax", "--fmax", 0.001, "--threads", 1)
    assert clamped["stiffness"][3][3] > c[3, 3] + 5.0  # silicon's atoms give way under shear


def test_elastic_prints_the_matrix_and_the_moduli(folder, model, run, words):
    status, text = run("run", "elastic", model, folder / "si.xyz")
    assert status == 0
    for word in ("Voigt", "Reuss", "Hill", "bulk", "shear", "Young's modulus", "xy"):
        assert word in words(text)


def test_elastic_warns_of_stress(tmp_path, folder, model, run, words):
    ase.io.write(tmp_path / "squeezed.xyz", bulk("Si", a=5.35))
    status, text = run("run", "elastic", model, tmp_path / "squeezed.xyz", "--no-cell")
    assert status == 0
    assert "warning: the structure is under stress" in words(text)


def test_forces_that_are_infinite_stop_a_relaxation():
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = bulk("Si")
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.full((2, 3), np.inf))
    with pytest.raises((InputError, ValueError)):
        relax_atoms(atoms, fmax=0.1, steps=3)
