"""What a force field costs: share of the peak in making rows, time of energies and forces, memory of a fit.

    python bench/force_field_cost.py                                  # minutes; builds what limits.py does
    python bench/force_field_cost.py --kernels .../castile_kernels    # which is built already

Silicon of 64 atoms, rattled; features and sparse points as they are, weights at random where only the time counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

import castile
from castile import _core, data
from castile.models.force_field import ForceField, SoapTerm
from castile.structures import as_structure_arrays, species_table
from limits import add_kernels_option, measure_kernels
from timing import machine, medians, take_turns

N_FRAMES = 15
POINTS = 1000
REPEATS = 7
CUTOFF = 5.0


def silicon(n_frames: int, seed: int = 0) -> list[Atoms]:
    """Return rattled cells of 64 atoms."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        atoms = bulk("Si", cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(scale=0.2, size=atoms.positions.shape)
        frames.append(atoms)
    return frames


class Workload:
    """Features, sparse points and the structures for the core."""

    def __init__(self, n_max: int, l_max: int) -> None:
        frames = silicon(N_FRAMES)
        soap = castile.SOAP(CUTOFF, n_max=n_max, l_max=l_max, sigma=0.5, species=["Si"])
        rows = soap.transform(frames)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        chosen = np.random.default_rng(1).choice(len(rows), POINTS, replace=len(rows) < POINTS)
        self.points = [np.ascontiguousarray(rows[chosen])]
        self.core = soap._core(("Si",))
        arrays = as_structure_arrays(frames)
        self.structures = arrays.to_core(species_table(("Si",), arrays.numbers, "bench"))
        self.n_atoms, self.n_frames = arrays.n_atoms, arrays.n_frames
        self.n_pairs = len(castile.NeighborList(frames, CUTOFF).i)
        self.n_features = rows.shape[1]

    def make_rows(self) -> Any:
        """Return a call that writes all rows of energies, forces and stresses."""
        columns = _core.DescriptorColumns(self.core, 4.0, True, self.points)
        n, n_atoms = self.n_frames, self.n_atoms
        rows = np.zeros((7 * n + 3 * n_atoms, POINTS))
        places = (np.arange(n), n + 3 * np.arange(n_atoms), n + 3 * n_atoms + 6 * np.arange(n))
        return lambda: columns.write(self.structures, rows, 0, *places, np.ones(len(rows)))

    def potential(self, zeta: float) -> Any:
        """Return a potential with weights at random."""
        weights = np.random.default_rng(2).normal(size=POINTS)
        return _core.Potential([_core.DescriptorTerm(self.core, zeta, True, self.points, [weights])])


def assembly_share(work: Workload, peak: float) -> tuple[float, float]:
    """Return µs per atom, and the share of the peak that the products of derivatives with sparse points make."""
    seconds = medians(take_turns({"rows": work.make_rows()}, REPEATS))["rows"]
    operations = 2.0 * 3 * work.n_pairs * work.n_features * POINTS
    return 1e6 * seconds / work.n_atoms, operations / seconds / 1e9 / peak


def evaluation_times(work: Workload, zeta: float) -> tuple[float, float]:
    """Return µs per atom of energies alone, and of energies, forces and stress."""
    potential = work.potential(zeta)
    calls = {
        "energies": lambda: potential.evaluate_frames(work.structures, False, False),
        "all": lambda: potential.evaluate_frames(work.structures, True, True),
    }
    times = medians(take_turns(calls, REPEATS))
    return 1e6 * times["energies"] / work.n_atoms, 1e6 * times["all"] / work.n_atoms


def labeled(n_frames: int) -> data.Dataset:
    """Return frames with Lennard-Jones labels, ten different ones over and over."""
    few = silicon(10, seed=5)
    for atoms in few:
        atoms.calc = LennardJones(sigma=2.1, epsilon=1.0, rc=5.0, smooth=True)
        atoms.get_stress()
    return data.read([few[k % len(few)] for k in range(n_frames)])


def memory_of_fit(n_frames: int, max_memory: int) -> None:
    """Print peak memory before and after rows are summed and solved, in bytes; run in a process of its own."""
    dataset = labeled(n_frames)
    model = ForceField(
        [SoapTerm(n_sparse=500)], prior=1.0, noise={"energy": 0.001}, calibration=0.0, max_memory=max_memory
    )
    model.prepare(labeled(10))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.accumulate(dataset).solve()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([1024 * before, 1024 * after]))


def memories(max_memory: int) -> list[str]:
    lines = []
    for times in (1, 4, 16):
        command = [sys.executable, __file__, "--memory", str(40 * times), str(max_memory)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        before, after = json.loads(done.stdout.splitlines()[-1])
        lines.append(f"| {40 * times} | {(after - before) / 2**20:.0f} | {max_memory / 2**20:.0f} |")
    return lines


def committee_cost(zeta: float) -> float:
    """Return the time of a prediction with a committee of 16 over that without."""
    dataset = labeled(10)
    model = ForceField([SoapTerm(n_sparse=POINTS, zeta=zeta)], calibration=0.0).fit(dataset)
    frames = silicon(N_FRAMES, seed=9)
    calls = {"plain": lambda: model.predict(frames), "committee": lambda: model.predict(frames, committee=16)}
    times = medians(take_turns(calls, REPEATS))
    return times["committee"] / times["plain"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", nargs=2, type=int, default=None, help=argparse.SUPPRESS)
    add_kernels_option(parser)
    arguments = parser.parse_args()
    if arguments.memory is not None:
        memory_of_fit(*arguments.memory)
        return
    print(machine() + " One thread.\n")
    peak = measure_kernels(arguments.kernels, quick=True)["peak_f64"] / 1e9
    with castile.threads(1):
        print(
            f"| n_max, l_max | features | rows, {POINTS} points, µs/atom | share of the peak | kernel | E | E + F + S |"
            " ratio |"
        )
        print("|---|---:|---:|---:|---|---:|---:|---:|")
        for n_max, l_max in ((8, 6), (8, 8)):
            work = Workload(n_max, l_max)
            micros, share = assembly_share(work, peak)
            for zeta in (1.0, 2.0, 3.0, 4.0):
                alone, both = evaluation_times(work, zeta)
                print(
                    f"| {n_max}, {l_max} | {work.n_features} | {micros:.0f} | {share:.0%} | zeta {zeta:g} |"
                    f" {alone:.1f} | {both:.1f} | {both / alone:.2f} |"
                )
        print(f"\nµs per atom of cells of 64 with {work.n_pairs / work.n_atoms:.0f} neighbors.")
        costs = " and ".join(f"{committee_cost(zeta):.2f} (zeta {zeta:g})" for zeta in (4.0, 2.0))
        print(f"A prediction with a committee of 16 takes {costs} times one without.\n")
    print("| frames | memory of accumulate and solve, MiB | max_memory, MiB |\n|---:|---:|---:|")
    print("\n".join(memories(128 << 20)))


if __name__ == "__main__":
    main()
