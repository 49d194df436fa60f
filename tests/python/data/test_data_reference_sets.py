"""Published sets, in the directory that CASTILE_DATA names: every label is read as their descriptions say."""

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from castile import data

pytestmark = pytest.mark.skipif("CASTILE_DATA" not in os.environ, reason="CASTILE_DATA names no directory of data")

SETS = {
    # frames, atoms, energies, force components, stresses: as their descriptions say
    "mlearn/Si_train.xyz.gz": (214, 13233, 214, 3 * 13233, 214),
    "mlearn/Si_test.xyz": (25, 1525, 25, 3 * 1525, 25),
    "mlearn/Li_train.xyz.gz": (241, 11576, 241, 3 * 11576, 231),
    "mlearn/Li_test.xyz": (29, 1320, 29, 3 * 1320, 27),
    "ta_snap2014/Ta.xyz": (363, 4224, 363, 3 * 4224, 363),
    "acac/isolated_atoms.xyz": (3, 3, 3, 0, 0),
    "acac/train_300K.xyz": (500, 7500, 500, 22500, 0),
    "acac/train_600K.xyz": (500, 7500, 500, 22500, 0),
    "acac/test_MD_300K.xyz.gz": (650, 9750, 650, 29250, 0),
    "acac/test_MD_600K.xyz.gz": (650, 9750, 650, 29250, 0),
    "acac/test_dihedral.xyz": (45, 675, 45, 0, 0),
    "acac/test_H_transfer.xyz": (15, 225, 15, 0, 0),
}


def path_of(name):
    return Path(os.environ["CASTILE_DATA"]) / name


def plain_text(path):
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return file.read().splitlines()


def parse(lines):
    """Read extended XYZ by hand: energy, stress matrix or None, and forces of each frame."""
    place = 0
    while place < len(lines):
        n_atoms, header = int(lines[place]), lines[place + 1]
        energy = float(re.search(r"\benergy=(\S+)", header)[1])
        stress = re.search(r'\bstress="([^"]+)"', header)
        rows = [line.split()[1:] for line in lines[place + 2 : place + 2 + n_atoms]]
        numbers = np.array(rows, dtype=float)
        matrix = np.array(stress[1].split(), dtype=float).reshape(3, 3) if stress else None
        yield energy, matrix, numbers[:, 3:6] if "forces" in header else None
        place += 2 + n_atoms


@pytest.mark.parametrize("name", SETS)
def test_counts_are_those_of_the_description(name):
    dataset = data.read(path_of(name))
    row = dataset.table().rows[-1]
    counts = (row["frames"], row["atoms"], row["energies"], row["force_components"], row["stresses"])
    assert counts == SETS[name]
    assert dataset.isolated.all() == dataset.isolated.any() == (name == "acac/isolated_atoms.xyz")
    assert dataset.notes == ()


@pytest.mark.parametrize("name", SETS)
def test_values_are_those_of_the_file(name):
    dataset = data.read(path_of(name))
    frames = list(parse(plain_text(path_of(name))))
    assert len(frames) == len(dataset)
    for number, (energy, stress, forces) in enumerate(frames):
        assert dataset.energies[number] == energy
        ours = dataset.forces[dataset.offsets[number] : dataset.offsets[number + 1]]
        np.testing.assert_array_equal(ours, np.full_like(ours, np.nan) if forces is None else forces)
        voigt = [np.nan] * 6 if stress is None else _voigt(stress)
        np.testing.assert_allclose(dataset.stresses[number], voigt, rtol=1e-12)


def _voigt(matrix):
    return [matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[1, 2], matrix[0, 2], matrix[0, 1]]


@pytest.mark.parametrize("group", ["Volume_A15", "Volume_BCC", "Volume_FCC"])
def test_stress_of_tantalum_is_the_derivative_of_energy_by_volume(group):
    dataset = data.read(path_of("ta_snap2014/Ta.xyz"))
    part = dataset.subset(dataset.groups == group)
    volumes = np.array([atoms.get_volume() for atoms in part.frames])
    order = np.argsort(volumes)
    slopes = CubicSpline(volumes[order], part.energies[order]).derivative()(volumes[order])
    mean = part.stresses[order, :3].mean(axis=1)
    inner = slice(3, -3)
    np.testing.assert_allclose(mean[inner], slopes[inner], rtol=0.02, atol=5e-3)
    assert mean[0] < 0.0  # the most compressed one


def test_stress_of_silicon_is_the_derivative_of_energy_by_strain_in_every_component():
    dataset = data.read(path_of("mlearn/Si_train.xyz.gz"))
    part = dataset.subset(dataset.groups == "Elastic")
    modes = [re.findall(r"mode \d", atoms.info["description"]) for atoms in part.frames]
    predicted, true = [], []
    for first in range(len(part) - 1):
        if not modes[first] or modes[first] != modes[first + 1]:
            continue
        cells = [part.frames[place].cell.array for place in (first, first + 1)]
        middle = 0.5 * (cells[0] + cells[1])
        gradient = np.linalg.solve(middle, cells[1] - cells[0])
        strain = 0.5 * (gradient + gradient.T)
        stress = [np.linalg.det(cell) * s for cell, s in zip(cells, part.stresses[first : first + 2], strict=True)]
        mean = 0.5 * (stress[0] + stress[1])
        predicted.append(mean @ np.array(_voigt(strain)) + mean[3:] @ np.array(_voigt(strain))[3:])
        true.append(part.energies[first + 1] - part.energies[first])
    predicted, true = np.array(predicted), np.array(true)
    assert len(true) > 40
    np.testing.assert_allclose(predicted, true, atol=0.05)  # of up to 8 eV


def test_weights_of_tantalum_may_be_given_by_frame():
    dataset = data.read(path_of("ta_snap2014/Ta.xyz"))
    assert (dataset.energy_weights == 1.0).all()
    weighted = dataset.with_weights(energy=[atoms.info["eweight"] for atoms in dataset.frames])
    assert weighted.energy_weights[0] == 100.0


def test_acetylacetone_has_its_isolated_atoms():
    dataset = data.read([path_of("acac/isolated_atoms.xyz"), path_of("acac/train_300K.xyz")])
    assert dataset.isolated.sum() == 3
    energies = dataset.isolated_atom_energies()
    assert list(energies) == ["H", "C", "O"]
    molecule = 8 * energies["H"] + 5 * energies["C"] + 2 * energies["O"]
    binding = dataset.energies[~dataset.isolated] - molecule
    assert (binding < -50.0).all()  # 14 bonds or so of some 4 eV and more
    for train, test in data.folds(dataset, 5):
        assert {0, 1, 2} <= set(train.tolist())
        assert len(test) == 100


def test_sets_without_customary_labels_say_what_they_hold():
    with pytest.raises(ValueError, match="atomization_energy_kcal"):
        data.read(path_of("qm7/qm7.xyz.gz"), index=":10")
    read = data.read(path_of("nomad2018/train.xyz.gz"), index=":10", energy_key="formation_energy_ev_natom")
    assert read.has_energy.all()
