"""Simulations of ASE with the calculator: they run, keep what must be kept, and do not depend on the skin."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.nptberendsen import NPTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS
from ase.phonons import Phonons
from hand_made_models import copper_model

from castile.calculator import Calculator

SKINS = (0.5, 0.0)


@pytest.fixture(scope="module")
def model():
    return copper_model()


def crystal(model, skin, repeat=(2, 2, 2), rattle=0.03, temperature=300.0):
    atoms = bulk("Cu", cubic=True, a=3.63) * repeat
    atoms.rattle(rattle, seed=1)
    spread = np.sqrt(atoms.get_masses()[:, None] * units.kB * temperature)
    momenta = spread * np.random.default_rng(2).normal(size=(len(atoms), 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    atoms.calc = Calculator(model, skin=skin)
    return atoms


def nve(atoms):
    return VelocityVerlet(atoms, 2.0 * units.fs)


def nvt(atoms):
    rng = np.random.default_rng(3)
    return Langevin(atoms, 2.0 * units.fs, temperature_K=600, friction=0.05 / units.fs, fixcm=False, rng=rng)


def berendsen(atoms):
    return NPTBerendsen(
        atoms,
        2.0 * units.fs,
        temperature_K=300,
        pressure_au=2.0 * units.GPa,
        taut=20 * units.fs,
        taup=20 * units.fs,
        compressibility_au=0.007 / units.GPa,
    )


def martyna_tobias_klein(atoms):
    return IsotropicMTKNPT(
        atoms,
        2.0 * units.fs,
        temperature_K=300,
        pressure_au=2.0 * units.GPa,
        tdamp=100 * units.fs,
        pdamp=100 * units.fs,
    )


@pytest.mark.parametrize("make", [nve, nvt, berendsen, martyna_tobias_klein])
def test_trajectories_do_not_depend_on_the_skin(model, make):
    ends, lists = [], []
    for skin in SKINS:
        atoms = crystal(model, skin)
        seen = []
        dynamics = make(atoms)
        dynamics.attach(lambda atoms=atoms, seen=seen: seen.append(atoms.calc._neighbors))
        volume = atoms.get_volume()
        dynamics.run(60)
        lists.append(len({id(neighbors) for neighbors in seen}))
        ends.append((atoms.positions, atoms.cell.array))
        assert (atoms.get_volume() != volume) == (make in (berendsen, martyna_tobias_klein))
    for kept, new in zip(*ends, strict=True):
        np.testing.assert_allclose(kept, new, rtol=0, atol=1e-8)
    assert lists[0] < 30 < lists[1]


def test_energy_is_conserved(model):
    """Fluctuations of velocity Verlet fall with the square of the time step, and there is no drift beside them."""
    spreads = []
    for step in (4.0, 2.0):
        atoms = crystal(model, 0.3, temperature=600.0)
        energies = []
        dynamics = VelocityVerlet(atoms, step * units.fs)
        dynamics.attach(lambda atoms=atoms, energies=energies: energies.append(atoms.get_total_energy() / len(atoms)))
        dynamics.run(round(400.0 / step))
        spreads.append(np.std(energies))
        time = np.linspace(0.0, 0.4, len(energies))  # ps
        slope, _ = np.polyfit(time, energies, 1)
        assert abs(slope) * 0.4 < 3 * spreads[-1]
    assert spreads[1] < 2e-4
    assert 2.5 < spreads[0] / spreads[1] < 6.0


def test_relaxations_find_the_crystal(model):
    ends = []
    for skin in SKINS:
        atoms = crystal(model, skin, rattle=0.05)
        optimizer = BFGS(atoms, logfile=None)
        assert optimizer.run(fmax=1e-4, steps=60)
        ends.append(atoms.get_potential_energy())
    perfect = bulk("Cu", cubic=True, a=3.63) * (2, 2, 2)
    perfect.calc = Calculator(model)
    np.testing.assert_allclose(ends, perfect.get_potential_energy(), rtol=0, atol=1e-5)


def test_relaxed_cells_have_no_stress(model):
    cells = []
    for skin in SKINS:
        atoms = crystal(model, skin, repeat=(2, 1, 1))
        assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=120)
        assert np.abs(atoms.get_stress()).max() < 1e-5
        cells.append(atoms.cell.cellpar())
    np.testing.assert_allclose(cells[0], cells[1], rtol=1e-4)
    np.testing.assert_allclose(cells[0][3:], 90.0, atol=0.1)


@pytest.mark.parametrize("shared", [True, False])
def test_bands_find_the_barrier_of_a_hop(model, shared):
    """A vacancy; one calculator for all images, or one for each."""
    barriers = []
    for skin in SKINS:
        perfect = bulk("Cu", cubic=True, a=3.63) * (2, 2, 2)
        first = perfect[1:]
        last = first.copy()
        last.positions[0] = perfect.positions[0]
        calculator = Calculator(model, skin=skin)
        for end in (first, last):
            end.calc = calculator
            assert BFGS(end, logfile=None).run(fmax=0.01, steps=60)
        images = [first] + [first.copy() for _ in range(3)] + [last]
        for image in images:
            image.calc = calculator if shared else Calculator(model, skin=skin)
        band = NEB(images, method="improvedtangent", allow_shared_calculator=shared)
        band.interpolate(mic=True)
        BFGS(band, logfile=None).run(fmax=0.05, steps=15)
        barriers.append([image.get_potential_energy() for image in images])
    np.testing.assert_allclose(barriers[0], barriers[1], rtol=0, atol=1e-7)
    assert barriers[0][2] > max(barriers[0][0], barriers[0][4]) + 0.1


def test_phonons_of_a_crystal(model, tmp_path):
    """Three acoustic branches that start at zero, as the forces know no net force; alike with any skin."""
    frequencies = []
    for skin in SKINS:
        phonons = Phonons(
            bulk("Cu", a=3.63),
            Calculator(model, skin=skin),
            supercell=(4, 4, 4),
            delta=0.01,
            name=tmp_path / f"phonons_{skin}",
        )
        phonons.run()
        phonons.read(acoustic=True)
        path = [[0.0, 0.0, 0.0], [0.0, 0.25, 0.25], [0.0, 0.5, 0.5], [0.5, 0.5, 0.5]]
        frequencies.append(phonons.band_structure(path, verbose=False))
    np.testing.assert_allclose(frequencies[0], frequencies[1], rtol=0, atol=1e-6)
    assert np.abs(frequencies[0][0]).max() < 1e-3
    assert frequencies[0][2:].min() > 0.005  # eV
