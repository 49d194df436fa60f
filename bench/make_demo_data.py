"""Make the data set behind ``castile demo``: silicon, aluminum phosphide and their mixtures.

Needs the packages ``ase``, ``numpy``, ``gpaw`` and ``gpaw-data``; where gpaw has no wheel, also
a C++ compiler and the headers of libxc and BLAS (the wheel is built with ``CC=g++``). One core
takes about ten seconds a structure::

    OMP_NUM_THREADS=1 python bench/make_demo_data.py silicon_aluminium_phosphide.xyz
    OMP_NUM_THREADS=1 python bench/make_demo_data.py --check

The first command writes every finished structure to a scratch file at once and takes up from
there when it is started again. The second compares labels with finite differences.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from gpaw import GPAW, PW, FermiDirac

GROUPS = ("Si diamond", "AlP zinc-blende", "AlP rock-salt", "Si-AlP mixed")
SHARES = (0.25, 0.25, 0.09, 0.41)

# Cubic lattice constants (angstrom) at the energy minimum of the settings below.
SILICON, ZINC_BLENDE, ROCK_SALT = 5.49, 5.52, 5.10

MAX_VOLUME_CHANGE = 0.08
MAX_SHEAR = 0.04
RATTLE_RANGE = (0.02, 0.20)  # angstrom, standard deviation per component
MIN_DISTANCE = 1.8  # angstrom; a closer pair makes the rattle be drawn again


@dataclass(frozen=True)
class Settings:
    """What a label depends on, besides the structure. Energies in eV."""

    cutoff: float = 350.0
    kpoints: int = 2
    width: float = 0.1
    density: float = 1e-6
    energy: float = 1e-6


@dataclass(frozen=True)
class Labels:
    """Free energy (eV), forces (eV/angstrom), stress (eV/angstrom^3, Voigt), time (s)."""

    energy: float
    forces: list[list[float]]
    stress: list[float]
    seconds: float


def ideal_crystal(group: str, n_pairs: int = 0, rng: np.random.Generator | None = None) -> Atoms:
    """Eight-atom cubic cell; ``n_pairs`` Al and as many P on random sites if mixed."""
    if group == "Si diamond":
        return bulk("Si", "diamond", a=SILICON, cubic=True)
    if group == "AlP zinc-blende":
        return bulk("AlP", "zincblende", a=ZINC_BLENDE, cubic=True)
    if group == "AlP rock-salt":
        return bulk("AlP", "rocksalt", a=ROCK_SALT, cubic=True)
    if rng is None:
        raise ValueError(f"{group} is random: rng must be given")
    fraction = n_pairs / 4
    a = (1 - fraction) * SILICON + fraction * ZINC_BLENDE
    atoms = bulk("Si", "diamond", a=a, cubic=True)
    symbols = ["Al"] * n_pairs + ["P"] * n_pairs + ["Si"] * (8 - 2 * n_pairs)
    atoms.symbols = rng.permutation(symbols).tolist()
    return atoms


def strained(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Random shape at a random volume; the volume is uniform in its range."""
    shape = rng.uniform(-MAX_SHEAR, MAX_SHEAR, size=(3, 3))
    shape = (shape + shape.T) / 2
    shape -= np.eye(3) * np.trace(shape) / 3
    deformation = np.eye(3) + shape
    volume_ratio = 1 + rng.uniform(-MAX_VOLUME_CHANGE, MAX_VOLUME_CHANGE)
    deformation *= (volume_ratio / np.linalg.det(deformation)) ** (1 / 3)
    result = atoms.copy()
    result.set_cell(atoms.cell.array @ deformation.T, scale_atoms=True)
    return result


def rattled(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Gaussian displacements, drawn again while two atoms are too close."""
    width = rng.uniform(*RATTLE_RANGE)
    while True:
        result = atoms.copy()
        result.positions += rng.normal(scale=width, size=result.positions.shape)
        if shortest_distance(result) >= MIN_DISTANCE:
            return result


def shortest_distance(atoms: Atoms) -> float:
    """Smallest distance of two atoms, images included."""
    distances = atoms.get_all_distances(mic=True)
    return float(distances[np.triu_indices(len(atoms), k=1)].min())


def as_written(atoms: Atoms, group: str) -> Atoms:
    """Round to the digits of the file, so that labels belong to what is printed."""
    # Adding zero turns -0.0 into 0.0: one structure has one text and one fingerprint.
    return Atoms(
        atoms.get_chemical_symbols(),
        positions=np.round(atoms.positions, 6) + 0.0,
        cell=np.round(atoms.cell.array, 6) + 0.0,
        pbc=True,
        info={"group": group},
    )


def plan(n_structures: int, seed: int) -> Iterator[Atoms]:
    """Yield the unlabeled structures: the ideal crystals, then each group in turn."""
    ideal = GROUPS[:-1]
    for group in ideal:
        yield as_written(ideal_crystal(group), group)
    n_random = n_structures - len(ideal)
    counts = [round(share * n_random) for share in SHARES]
    counts[-1] += n_random - sum(counts)
    for g, (group, count) in enumerate(zip(GROUPS, counts, strict=True)):
        for i in range(count):
            rng = np.random.default_rng([seed, g, i])
            crystal = ideal_crystal(group, n_pairs=1 + i % 3, rng=rng)
            yield as_written(rattled(strained(crystal, rng), rng), group)


def calculator(settings: Settings) -> Any:
    """PBE in plane waves on a Gamma-centered mesh, no symmetry but time reversal."""
    return GPAW(
        mode=PW(settings.cutoff),
        xc="PBE",
        kpts={"size": (settings.kpoints,) * 3, "gamma": True},
        occupations=FermiDirac(settings.width),
        symmetry={"point_group": False},
        convergence={"density": settings.density, "energy": settings.energy},
        txt=None,
    )


def label(atoms: Atoms, settings: Settings) -> Labels:
    """Run one calculation; the energy is the free energy, whose derivatives the forces are."""
    start = time.perf_counter()
    work = atoms.copy()
    work.calc = calculator(settings)
    energy = work.get_potential_energy(force_consistent=True)
    forces = work.get_forces()
    stress = work.get_stress()
    seconds = time.perf_counter() - start
    return Labels(float(energy), forces.tolist(), stress.tolist(), round(seconds, 2))


def fingerprint(atoms: Atoms, settings: Settings) -> str:
    """Name a calculation by all that decides its result."""
    content = (
        asdict(settings),
        atoms.get_chemical_symbols(),
        atoms.cell.array.tolist(),
        atoms.positions.tolist(),
    )
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def read_scratch(scratch: Path) -> dict[str, Labels]:
    """Labels that an earlier run left behind; a line cut short by a crash is ignored."""
    done: dict[str, Labels] = {}
    if scratch.exists():
        for line in scratch.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            done[record["fingerprint"]] = Labels(**record["labels"])
    return done


def label_all(frames: list[Atoms], settings: Settings, scratch: Path) -> list[Labels]:
    """Label what the scratch file lacks, adding each result to it at once."""
    done = read_scratch(scratch)
    results = []
    for number, atoms in enumerate(frames, start=1):
        key = fingerprint(atoms, settings)
        if key not in done:
            done[key] = label(atoms, settings)
            record = {"fingerprint": key, "labels": asdict(done[key])}
            with scratch.open("a") as file:
                # The leading newline ends a line that a crash may have left open.
                file.write("\n" + json.dumps(record) + "\n")
            seconds = done[key].seconds
            print(f"{number}/{len(frames)} {atoms.info['group']}: {seconds:.1f} s", flush=True)
        results.append(done[key])
    return results


def stress_matrix(voigt: list[float]) -> np.ndarray:
    """Nine numbers from ASE's xx, yy, zz, yz, xz, xy."""
    xx, yy, zz, yz, xz, xy = voigt
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def digits(values: Any, decimals: int) -> str:
    """Print numbers with a fixed count of decimals, and zero without a sign."""
    rounded = np.round(np.ravel(values), decimals) + 0.0
    return " ".join(f"{x:.{decimals}f}" for x in rounded)


def frame_text(atoms: Atoms, labels: Labels) -> str:
    """One extended XYZ frame, with fewer digits than ASE's own writer spends."""
    lines = [
        str(len(atoms)),
        f'Lattice="{digits(atoms.cell.array, 6)}" Properties=species:S:1:pos:R:3:forces:R:3 '
        f'group="{atoms.info["group"]}" energy={labels.energy:.6f} '
        f'stress="{digits(stress_matrix(labels.stress), 8)}" pbc="T T T"',
    ]
    symbols = atoms.get_chemical_symbols()
    for symbol, r, f in zip(symbols, atoms.positions, labels.forces, strict=True):
        lines.append(f"{symbol} {digits(r, 6)} {digits(f, 5)}")
    return "\n".join(lines) + "\n"


def verify(path: Path, frames: list[Atoms], labels: list[Labels]) -> None:
    """Read the file with ASE and compare everything with what was meant."""
    stored = ase.io.read(path, ":")
    if len(stored) != len(frames):
        raise RuntimeError(f"{path} holds {len(stored)} structures, expected {len(frames)}")
    for atoms, frame, expected in zip(stored, frames, labels, strict=True):
        same = (
            atoms.info == frame.info
            and atoms.get_chemical_symbols() == frame.get_chemical_symbols()
            and bool(atoms.pbc.all())
            and np.array_equal(atoms.cell.array, frame.cell.array)
            and np.array_equal(atoms.positions, frame.positions)
            and abs(atoms.get_potential_energy() - expected.energy) < 1e-6
            and np.allclose(atoms.get_forces(), expected.forces, rtol=0, atol=1e-5)
            and np.allclose(atoms.get_stress(), expected.stress, rtol=0, atol=1e-8)
        )
        if not same:
            raise RuntimeError(f"{path} does not read back as it was written")


def summarize(frames: list[Atoms], labels: list[Labels]) -> None:
    """Print per group what the README of the data set states."""
    groups = np.array([atoms.info["group"] for atoms in frames])
    energy = np.array([x.energy / len(atoms) for atoms, x in zip(frames, labels, strict=True)])
    force = np.array([np.abs(x.forces).max() for x in labels])
    stress = np.array([x.stress for x in labels])
    print("group: count, energy per atom (min, max, std), max |force|, stress (min, max)")
    for name in (*GROUPS, "all"):
        rows = np.flatnonzero((groups == name) | (name == "all"))
        e, s = energy[rows], stress[rows]
        print(
            f"{name}: {len(rows)}, {e.min():.3f} {e.max():.3f} {e.std():.3f}, "
            f"{force[rows].max():.2f}, {s.min():.4f} {s.max():.4f}"
        )
    components = np.concatenate([np.ravel(x.forces) for x in labels])
    print(f"force component, root mean square: {np.sqrt(np.mean(components**2)):.3f}")
    print(f"sum of calculation times: {sum(x.seconds for x in labels) / 60:.1f} min")


def stress_by_differences(atoms: Atoms, settings: Settings, axis: tuple[int, int]) -> float:
    """Compute a stress component from energies at two small strains, cutoff fixed."""
    step = 0.005
    energies = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[axis] += sign * step / 2
        strain[axis[::-1]] += sign * step / 2
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        energies.append(label(moved, settings).energy)
    return (energies[0] - energies[1]) / (2 * step * float(atoms.get_volume()))


def check(atoms: Atoms, settings: Settings) -> None:
    """Print labels of one structure beside central differences of the energy."""
    labels = label(atoms, settings)
    step = 0.01
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 0] += sign * step
        energies.append(label(moved, settings).energy)
    numeric = -(energies[0] - energies[1]) / (2 * step)
    print(f"{atoms.symbols}, {atoms.info['group']}")
    print(f"force x of atom 0: {labels.forces[0][0]:.5f}, difference quotient {numeric:.5f}")
    for name, axis, voigt in (("xx", (0, 0), 0), ("yz", (1, 2), 3)):
        numeric = stress_by_differences(atoms, settings, axis)
        print(f"stress {name}: {labels.stress[voigt]:.6f}, difference quotient {numeric:.6f}")


def main() -> None:
    """Read the command line and make the file, or check one structure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=Path("silicon_aluminium_phosphide.xyz"))
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--n-structures", type=int, default=140)
    parser.add_argument("--kpoints", type=int, default=2, help="per axis, Gamma-centered")
    parser.add_argument("--scratch", type=Path, help="default: OUTPUT with .partial.jsonl")
    parser.add_argument("--check", action="store_true", help="finite differences, writes nothing")
    args = parser.parse_args()

    settings = Settings(kpoints=args.kpoints)
    frames = list(plan(args.n_structures, args.seed))
    if args.check:
        check(frames[-1], settings)
        return
    scratch = args.scratch or args.output.with_suffix(".partial.jsonl")
    labels = label_all(frames, settings, scratch)
    args.output.write_text("".join(map(frame_text, frames, labels)))
    verify(args.output, frames, labels)
    summarize(frames, labels)


if __name__ == "__main__":
    main()
