"""Whether long dynamics of silicon keep their energy and their atoms, with a force field as it comes.

    CASTILE_DATA=... python bench/dynamics.py                  # 100 ps each of a crystal at 1 000 K and of the liquid
    CASTILE_DATA=... python bench/dynamics.py --preset fast --picoseconds 10

A thermostat brings 64 atoms to their temperature (the liquid after 10 ps at 3 500 K), then they move with constant
energy. What is told: drift of the total energy (a line through all of it), its spread about that, the mean temperature,
the shortest distance, and the largest extrapolation grade at so many looks.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

import castile
from castile import data
from castile.models.force_field.terms import DEFAULT_PRESET, PRESETS
from timing import machine

STEP = 1.0  # fs
LOOK = 100  # steps
MELTED = 3500.0  # K


def brought_to(atoms: Atoms, temperature: float, picoseconds: float, seed: int) -> Atoms:
    """Run a thermostat."""
    rng = np.random.default_rng(seed)
    thermostat = Langevin(atoms, STEP * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=rng)
    thermostat.run(round(1e3 * picoseconds / STEP))
    return atoms


def crystal() -> Atoms:
    return bulk("Si", cubic=True, a=5.45) * 2


def liquid() -> Atoms:
    """Return the crystal with the density of the liquid, 2.5 g/cm³."""
    atoms = crystal()
    volume = len(atoms) * 28.085 / (2.5 * units.mol / 1e24)
    atoms.set_cell(atoms.cell.array * (volume / atoms.cell.volume) ** (1 / 3), scale_atoms=True)
    return atoms


def row(name: str, model: castile.ForceField, atoms: Atoms, temperature: float, picoseconds: float) -> str:
    atoms.calc = model.calculator()
    MaxwellBoltzmannDistribution(atoms, temperature_K=2.0 * temperature, rng=np.random.default_rng(1))
    if name == "liquid":
        brought_to(atoms, MELTED, 10.0, seed=2)
    brought_to(atoms, temperature, 5.0, seed=3)
    dynamics = VelocityVerlet(atoms, STEP * units.fs)
    energies, temperatures, shortest, grades = [], [], [], []

    def look() -> None:
        energies.append(atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())
        shortest.append(float(castile.neighbor_list("d", atoms, 3.5).min()))
        grades.append(float(model.extrapolation_grade(atoms).max()))

    dynamics.attach(look, interval=LOOK)
    begin = time.perf_counter()
    dynamics.run(round(1e3 * picoseconds / STEP))
    seconds = time.perf_counter() - begin
    times = np.arange(len(energies)) * LOOK * STEP * 1e-3
    slope, start = np.polyfit(times, energies, 1)
    spread = np.std(energies - (start + slope * times))
    return (
        f"| {name} | {len(atoms)} | {times[-1]:.0f} | {np.mean(temperatures):.0f} | {1e3 * slope * times[-1]:+.3f} | "
        f"{1e3 * spread:.3f} | {min(shortest):.2f} | {len(grades)} | {max(grades):.2f} | "
        f"{1e3 * seconds / dynamics.get_number_of_steps():.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default=DEFAULT_PRESET, choices=list(PRESETS))
    parser.add_argument("--picoseconds", type=float, default=100.0)
    arguments = parser.parse_args()
    if "CASTILE_DATA" not in os.environ:
        sys.exit("set CASTILE_DATA to the folder of the data sets")
    train = data.read(Path(os.environ["CASTILE_DATA"]) / "mlearn" / "Si_train.xyz.gz")
    model = castile.ForceField(arguments.preset).fit(train)
    print(f"{machine()}; {castile.num_threads()} threads; preset {arguments.preset}, steps of {STEP:g} fs.\n")
    print(
        "| silicon | atoms | ps | T, K | drift, meV/atom | spread, meV/atom | shortest, Å | looks | grade | ms/step |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, atoms, temperature in (("crystal", crystal(), 1000.0), ("liquid", liquid(), 2000.0)):
        print(row(name, model, atoms, temperature, arguments.picoseconds), flush=True)


if __name__ == "__main__":
    main()
