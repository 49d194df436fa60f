"""Which labels are found, where, and what is refused."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import crystal, full, lone, message_of, random_forces

from castile import data, datasets
from castile.data import Dataset
from castile.errors import FileReadError, InputError, InputTypeError

STRESS = np.array([0.01, -0.02, 0.03, 0.004, -0.005, 0.006])


def test_results_of_readers_are_found():
    forces = random_forces()
    dataset = data.read(crystal(energy=-10.5, forces=forces, stress=STRESS))
    assert dataset.energies.tolist() == [-10.5]
    np.testing.assert_array_equal(dataset.forces, forces)
    np.testing.assert_array_equal(dataset.stresses, [STRESS])
    assert dataset.offsets.tolist() == [0, 2]
    assert dataset.notes == ()


@pytest.mark.parametrize("energy_key", ["REF_energy", "dft_energy", "DFT_energy", "energy", "Energy", "E"])
@pytest.mark.parametrize("forces_key", ["REF_forces", "dft_forces", "dft_force", "DFT_forces", "force", "forces"])
def test_customary_keys_are_found(energy_key, forces_key):
    atoms, forces = crystal(), random_forces()
    atoms.info[energy_key] = -3.25
    atoms.arrays[forces_key] = forces
    dataset = data.read([atoms])
    assert dataset.energies.tolist() == [-3.25]
    np.testing.assert_array_equal(dataset.forces, forces)
    assert not dataset.has_stress.any()


def test_unlike_keys_are_left_alone():
    atoms = crystal(energy=-1.0)
    atoms.info.update(e=5.0, energy_per_atom=7.0, dipole_force=1.0, md_energy=3.0)
    assert data.read(atoms).energies.tolist() == [-1.0]


@settings(max_examples=25, deadline=None)
@given(
    values=st.tuples(st.floats(-1e4, 1e4), st.lists(st.floats(-1, 1), min_size=6, max_size=6)),
    missing=st.sets(st.sampled_from(["energy", "forces", "stress"]), max_size=2),
    prefix=st.sampled_from(["", "REF_", "dft_"]),
    seed=st.integers(0, 100),
)
def test_extended_xyz_goes_round(tmp_path_factory, values, missing, prefix, seed):
    energy, stress = values
    path = tmp_path_factory.mktemp("round") / "a.xyz"
    labels = {"energy": energy, "forces": random_forces(seed=seed), "stress": np.array(stress)}
    kept = {name: value for name, value in labels.items() if name not in missing}
    if prefix:
        atoms = crystal(seed)
        for name, value in kept.items():
            store = atoms.arrays if name == "forces" else atoms.info
            store[prefix + name] = full(value) if name == "stress" else value
    else:
        atoms = crystal(seed, **kept)
    ase.io.write(path, [atoms, atoms])
    dataset = data.read(path)
    assert len(dataset) == 2
    expected = {name: kept.get(name, np.nan * np.asarray(value)) for name, value in labels.items()}
    np.testing.assert_allclose(dataset.energies, [expected["energy"]] * 2, rtol=1e-12)
    np.testing.assert_allclose(dataset.forces, np.vstack([expected["forces"]] * 2), atol=1e-8)
    np.testing.assert_allclose(dataset.stresses, [expected["stress"]] * 2, atol=1e-12)


def test_what_is_missing_is_nan_in_each_kind():
    frames = [crystal(energy=-1.0), crystal(forces=random_forces()), crystal(stress=STRESS), crystal()]
    dataset = data.read(frames)
    assert dataset.has_energy.tolist() == [True, False, False, False]
    assert dataset.has_forces.tolist() == [False] * 2 + [True] * 2 + [False] * 4
    assert dataset.has_stress.tolist() == [False, False, True, False]
    assert np.isnan(dataset.energies[1:]).all()
    assert np.isnan(dataset.stresses[[0, 1, 3]]).all()


def test_named_keys_are_taken_and_others_ignored():
    atoms = crystal(energy=-1.0, forces=random_forces(seed=1))
    atoms.info["ccsd"] = -2.0
    atoms.arrays["ccsd_forces"] = random_forces(seed=2)
    dataset = data.read(atoms, energy_key="ccsd", forces_key="ccsd_forces")
    assert dataset.energies.tolist() == [-2.0]
    np.testing.assert_array_equal(dataset.forces, random_forces(seed=2))


def test_a_named_key_may_be_missing_in_some_frames():
    with_label, without = crystal(), crystal(energy=-5.0)
    with_label.info["mine"] = -1.0
    np.testing.assert_array_equal(data.read([with_label, without], energy_key="mine").energies, [-1.0, np.nan])


@pytest.mark.parametrize("argument", ["energy_key", "forces_key", "stress_key", "virial_key", "group_key"])
def test_a_named_key_in_no_frame_is_refused_with_what_is_there(argument):
    atoms = crystal(energy=-1.0)
    atoms.info["my_enrgy"] = 1.0
    message = message_of(data.read, atoms, **{argument: "my_energy"})
    assert f"{argument}='my_energy'" in message
    assert "'energy'" in message
    if argument != "forces_key":
        assert "did you mean 'my_enrgy'" in message
    with pytest.raises(InputTypeError, match=f"{argument} must be a string"):
        data.read(atoms, **{argument: 3})


def test_false_leaves_a_kind_out():
    atoms = crystal(energy=-1.0, forces=random_forces(), stress=STRESS)
    atoms.info["virial"] = -full(STRESS) * atoms.get_volume()
    dataset = data.read(atoms, forces_key=False, stress_key=False, virial_key=False)
    assert dataset.has_energy.all()
    assert not dataset.has_forces.any()
    assert not dataset.has_stress.any()
    assert data.read(atoms, stress_key=False).has_stress.all()  # there is still the virial


def test_energies_that_disagree_are_refused_with_both_names():
    atoms = crystal(energy=-1.0)
    atoms.info["REF_energy"] = -1.1
    message = message_of(data.read, [crystal(energy=-1.0), atoms])
    for part in ("frame 1", "calculator's energy", "-1 eV", "info['REF_energy']", "-1.1", "energy_key='REF_energy'"):
        assert part in message
    assert data.read(atoms, energy_key="REF_energy").energies.tolist() == [-1.1]
    assert data.read(atoms, energy_key="energy").energies.tolist() == [-1.0]


def test_energies_that_agree_to_rounding_are_one():
    atoms = crystal(energy=-1234.56789012)
    atoms.info["REF_energy"] = -1234.567890
    assert data.read(atoms).energies.tolist() == [-1234.56789012]


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(1 / 27.211386, "Hartree"), (-1, "other sign"), (1 / 0.0433641, "kcal/mol"), (0.5, "disagree;")],
)
def test_the_reason_of_a_disagreement_is_guessed(factor, reason):
    atoms = crystal(energy=-100.0)
    atoms.info["dft_energy"] = -100.0 * factor
    assert reason in message_of(data.read, atoms)


def test_forces_that_disagree_are_refused_with_the_atom():
    forces = random_forces()
    atoms = crystal(forces=forces)
    other = forces.copy()
    other[1, 2] += 0.1
    atoms.arrays["REF_forces"] = other
    message = message_of(data.read, atoms)
    for part in ("frame 0", "calculator's forces", "arrays['REF_forces']", "atom 1", "along z", "forces_key="):
        assert part in message
    np.testing.assert_array_equal(data.read(atoms, forces_key="REF_forces").forces, other)
    atoms.arrays["REF_forces"] = -forces
    assert "other sign" in message_of(data.read, atoms)


def test_labels_of_one_name_in_two_places_cannot_be_told_apart():
    atoms = crystal(energy=-1.0)
    atoms.info["energy"] = -2.0
    assert "remove one" in message_of(data.read, atoms, energy_key="energy")


def test_free_energy_is_taken_if_every_frame_has_it():
    dataset = data.read([crystal(energy=-1.0, free_energy=-1.2), crystal(free_energy=-3.0)])
    assert dataset.energies.tolist() == [-1.2, -3.0]
    (note,) = dataset.notes
    assert "free_energy" in note
    assert "100 meV/atom" in note


def test_energies_of_two_kinds_never_mix():
    frames = [crystal(energy=-1.0, free_energy=-1.2), lone(energy=-3.0)]
    dataset = data.read(frames)
    assert dataset.energies.tolist() == [-1.0, -3.0]
    assert "1 of 2 frames" in dataset.notes[0]
    np.testing.assert_array_equal(data.read(frames, energy_key="free_energy").energies, [-1.2, np.nan])
    message = message_of(data.read, [crystal(free_energy=-1.2), crystal(energy=-3.0)])
    assert "frame 0" in message
    assert "frame 1" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_labels_that_are_not_finite_are_refused_or_missing(value):
    forces = random_forces()
    forces[1, 0] = value
    frames = [crystal(energy=value, forces=random_forces()), crystal(energy=-1.0, forces=forces)]
    assert "frame 0: the calculator's energy is" in message_of(data.read, frames)
    message = message_of(data.read, frames, energy_key=False)
    assert message.startswith("frame 1: the calculator's forces is")
    assert "at [1, 0]" in message
    dataset = data.read(frames, allow_nan=True)
    np.testing.assert_array_equal(dataset.energies, [np.nan, -1.0])
    assert dataset.has_forces.tolist() == [True, True, True, False]
    assert np.isnan(dataset.forces[3]).all()


def test_a_label_that_is_missing_leaves_the_place_to_another():
    atoms = crystal(energy=np.nan, forces=np.full((2, 3), np.nan))
    atoms.info["REF_energy"] = -1.0
    atoms.arrays["REF_forces"] = random_forces()
    dataset = data.read(atoms, allow_nan=True)
    assert dataset.energies.tolist() == [-1.0]
    np.testing.assert_array_equal(dataset.forces, random_forces())


@pytest.mark.parametrize("value", ["abc", [1.0, 2.0], [[1.0]] * 3, 1j, 10**400, {"a": 1.0}])
def test_labels_of_a_wrong_form_are_refused(value):
    atoms = crystal()
    atoms.info["REF_energy"] = value
    assert message_of(data.read, atoms).startswith("frame 0: info['REF_energy'] must")


def test_forces_of_a_wrong_shape_are_refused():
    atoms = crystal()
    atoms.arrays["force"] = np.zeros(2)
    assert "shape (2, 3), got shape (2,)" in message_of(data.read, atoms)


def test_frames_without_labels_are_refused_with_what_they_hold():
    atoms = crystal()
    atoms.info["etot"] = -1.0
    atoms.arrays["gradient"] = np.zeros((2, 3))
    message = message_of(data.read, [atoms, crystal()])
    for part in ("2 frames", "etot", "gradient", "energy_key", "allow_unlabeled"):
        assert part in message
    assert len(data.read([atoms], allow_unlabeled=True)) == 1
    with pytest.raises(InputError, match="no frames"):
        data.read([])
    with pytest.raises(InputError, match="frame 1 has no atoms"):
        data.read([crystal(energy=1.0), Atoms()])


def test_results_of_other_positions_are_refused():
    calculator = EMT()
    frames = [molecule("H2O"), molecule("H2O")]
    frames[1].positions[0, 2] += 0.1
    for atoms in frames:
        atoms.calc = calculator
        atoms.get_potential_energy()
    message = message_of(data.read, frames)
    assert message.startswith("frame 0: the energy, forces, free_energy of its calculator belong to other positions")
    assert data.read(frames[1:]).has_energy.all()


def test_constraints_do_not_change_forces():
    atoms = crystal(forces=random_forces())
    atoms.set_constraint(FixAtoms([0]))
    np.testing.assert_array_equal(data.read(atoms).forces, random_forces())


def test_frames_are_not_changed():
    frames = datasets.load()
    before = [(atoms.positions.copy(), dict(atoms.info), dict(atoms.calc.results)) for atoms in frames]
    dataset = data.read(frames)
    assert all(kept is given for kept, given in zip(dataset.frames, frames, strict=True))
    for atoms, (positions, info, results) in zip(frames, before, strict=True):
        np.testing.assert_array_equal(atoms.positions, positions)
        assert atoms.info == info
        assert atoms.calc.results.keys() == results.keys()


@pytest.mark.parametrize("suffix", [".xyz", ".xyz.gz", ".traj"])
def test_paths_are_read(tmp_path, suffix):
    frames = [crystal(seed, energy=-1.0 - seed, forces=random_forces(seed=seed)) for seed in range(5)]
    path = tmp_path / f"a{suffix}"
    ase.io.write(path, frames)
    assert data.read(path).energies.tolist() == [-1.0, -2.0, -3.0, -4.0, -5.0]
    assert data.read(str(path), index="1::2").energies.tolist() == [-2.0, -4.0]
    assert data.read([path, str(path)], index="-1").energies.tolist() == [-5.0, -5.0]


def test_messages_name_the_file_and_its_frame(tmp_path):
    good, bad = [crystal(energy=-1.0)] * 2, [crystal(energy=-1.0), crystal(energy=np.nan)]
    ase.io.write(tmp_path / "good.xyz", good)
    ase.io.write(tmp_path / "bad.xyz", bad)
    message = message_of(data.read, [tmp_path / "good.xyz", tmp_path / "bad.xyz"])
    assert message.startswith(f"frame 1 of {tmp_path / 'bad.xyz'}: the calculator's energy is nan")


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "cut.xyz"
    ase.io.write(path, [crystal(energy=-1.0)] * 3)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(FileReadError, match=r"cut\.xyz"):
        data.read(path)
    with pytest.raises(FileReadError, match="does not exist"):
        data.read(tmp_path / "none.xyz")
    with pytest.raises(InputTypeError):
        data.read(3)


@pytest.mark.parametrize("argument", [{"index": "::2"}, {"format": "extxyz"}])
def test_arguments_for_files_are_refused_for_frames(argument):
    with pytest.raises(InputError, match="index and format are for files"):
        data.read([crystal(energy=-1.0)] * 4, **argument)


def test_a_dataset_is_returned_as_it_is():
    dataset = data.read(datasets.load())
    assert data.read(dataset) is dataset
    assert len(data.read([dataset, dataset.subset([0])])) == 141
    halved = data.read(data.read(dataset, weights={"Si diamond": 0.5}), weights={"Si diamond": 0.5})
    assert set(halved.energy_weights[halved.groups == "Si diamond"]) == {0.25}
    with pytest.raises(InputError, match="has its labels already"):
        data.read(dataset, energy_key="energy")
    with pytest.raises(InputError, match="has its labels already"):
        data.read(dataset, file_weights=False)


@pytest.mark.parametrize(
    ("info", "key", "group"),
    [
        ({"config_type": "a", "group": "b"}, None, "a"),
        ({"group": "b"}, None, "b"),
        ({"group": 7}, None, "7"),
        ({"group": "b", "phase": "c"}, "phase", "c"),
        ({"group": "b"}, False, ""),
        ({}, None, ""),
    ],
)
def test_groups_come_from_info(info, key, group):
    atoms = crystal(energy=-1.0)
    atoms.info.update(info)
    assert data.read(atoms, group_key=key).groups.tolist() == [group]


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (lone(), True),
        (lone(cell=[20, 20, 20], pbc=True), True),
        (lone(cell=[10, 10, 10], pbc=True), True),
        (lone(cell=[9, 20, 20], pbc=True), False),
        (lone(cell=[[20, 0, 0], [20, 5, 0], [0, 0, 20]], pbc=True), False),  # a short diagonal
        (lone(cell=[3, 20, 20], pbc=[False, True, True]), True),
        (lone(cell=[3, 3, 3], pbc=True), False),
        (lone(cell=[8, 8, 8], pbc=True, config_type="IsolatedAtom"), True),
        (lone(cell=[8, 8, 8], pbc=True, config_type="isolated_atom"), True),
        (lone(cell=[8, 8, 8], pbc=True, group="Isolated atoms"), True),
        (crystal(energy=-1.0), False),
    ],
)
def test_isolated_atoms_are_recognized(atoms, expected):
    assert data.read(atoms).isolated.tolist() == [expected]


def test_two_atoms_are_no_isolated_atom_whatever_they_are_called():
    atoms = crystal(energy=-1.0)
    atoms.info["config_type"] = "IsolatedAtom"
    dataset = data.read(atoms)
    assert not dataset.isolated.any()
    assert "has 2 atoms" in dataset.notes[0]


def test_energies_of_isolated_atoms_are_kept_by_species():
    dataset = data.read([lone("Si", energy=-0.8), lone("H", energy=-13.6), lone("H", energy=-13.6), crystal(energy=-9)])
    assert dataset.isolated_atom_energies() == {"H": -13.6, "Si": -0.8}
    with pytest.raises(InputError, match="frames 0 and 1 are both isolated H atoms"):
        data.read([lone("H", energy=-13.6), lone("H", energy=-12.0)]).isolated_atom_energies()


def test_a_progress_bar_is_shown_if_asked_for(capfd):
    assert isinstance(data.read(datasets.load(), progress=True), Dataset)
    assert "labels" in capfd.readouterr().err
    data.read(datasets.load())
    assert capfd.readouterr().err == ""
