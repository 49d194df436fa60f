"""Castile and GAP on the same silicon: time and memory of a fit, errors, and time of energies and forces.

    pip install . quippy-ase==0.10.3
    CASTILE_DATA=... python bench/gap.py                 # a quarter of an hour, nearly all of it gap_fit

Both fit the energies and forces of the 214 structures of mlearn's silicon with 1 000 sparse points, n_max 8, l_max 8,
zeta 4 and a cutoff of 5 Å, each in a process of its own on the threads it takes by default; both are tested on the same
25 structures.
``--gap FILE`` reads a potential of an earlier run instead of fitting it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

N_SPARSE = 1000
N_MAX = L_MAX = 8
CUTOFF, WIDTH, ZETA = 5.0, 1.0, 4
STEPS = 20


def data_files() -> tuple[Path, Path]:
    if "CASTILE_DATA" not in os.environ:
        sys.exit("set CASTILE_DATA to the folder of the data sets")
    folder = Path(os.environ["CASTILE_DATA"]) / "mlearn"
    return folder / "Si_train.xyz.gz", folder / "Si_test.xyz"


def fit_castile(path: Path) -> None:
    """Fit and save; run in a process of its own."""
    import castile
    from castile import data

    soap = castile.SOAP(
        CUTOFF,
        n_max=N_MAX,
        l_max=L_MAX,
        sigma=0.5,
        cutoff_width=WIDTH,
        density_weighting={"function": "pow", "r0": 3.0, "c": 1.0, "d": 1.0, "m": 6},
    )
    train = data.read(data_files()[0], stress_key=False)
    model = castile.ForceField([castile.SoapTerm(soap, ZETA, N_SPARSE)], calibration=0.0).fit(train)
    model.save(path)


def fit_gap(path: Path) -> None:
    """Run gap_fit with the options of the published comparison."""
    train = path.with_suffix(".train.xyz")
    frames = read(data_files()[0], ":")
    write(train, frames)
    soap = (
        f"soap l_max={L_MAX} n_max={N_MAX} atom_sigma=0.5 zeta={ZETA} cutoff={CUTOFF} cutoff_transition_width={WIDTH} "
        f"central_weight=1.0 n_sparse={N_SPARSE} delta=1.0 covariance_type=dot_product sparse_method=cur_points "
        "add_species=T f0=0.0"
    )
    command = [
        "gap_fit",
        f"at_file={train}",
        f"gap={{{soap}}}",
        "e0_method=average",
        "default_sigma={0.01 0.05 0.0 0.0}",
        "energy_parameter_name=energy",
        "force_parameter_name=forces",
        "stress_parameter_name=none",
        "virial_parameter_name=none",
        "do_copy_at_file=F",
        "sparse_separate_file=F",
        f"gp_file={path}",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_alone(task: str, path: Path) -> tuple[float, float]:
    """Run this script's fit in a process; return its seconds and its peak memory in MiB."""
    code = (
        "import json, resource, sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import gap, pathlib\n"
        "begin = time.perf_counter()\n"
        f"gap.{task}(pathlib.Path({str(path)!r}))\n"
        "peak = max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))\n"
        "print(json.dumps([time.perf_counter() - begin, peak / 1024]))\n"
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def errors(calculator: Any) -> tuple[float, float]:
    """Return mean absolute errors on the test set, meV/atom and eV/Å."""
    energies, forces = [], []
    for atoms in read(data_files()[1], ":"):
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        bare.calc = calculator
        energies.append((bare.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
        forces.append((bare.get_forces() - atoms.get_forces()).ravel())
    return 1e3 * float(np.abs(energies).mean()), float(np.abs(np.concatenate(forces)).mean())


def micros_per_atom(calculator: Any, properties: tuple[str, ...]) -> float:
    """Return the median time of a step of moving atoms, in µs per atom."""
    atoms = bulk("Si", cubic=True) * (4, 4, 4)
    rng = np.random.default_rng(0)
    atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    times = []
    for _ in range(STEPS + 1):
        atoms.positions += rng.normal(scale=0.005, size=atoms.positions.shape)
        begin = time.perf_counter()
        calculator.calculate(atoms, list(properties), ["positions"])
        times.append(time.perf_counter() - begin)
    return 1e6 * float(np.median(times[1:])) / len(atoms)


def main() -> None:
    from importlib.metadata import version

    from quippy.potential import Potential

    import castile
    from timing import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gap", type=Path, default=None, help="potential of an earlier run")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the potentials")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp())
    ours = folder / "si.castile"
    print(f"{machine()}; quippy-ase {version('quippy-ase')}; {os.cpu_count()} CPUs.\n")
    rows = [("", "fit, s", "peak, MiB", "E, meV/atom", "F, eV/Å", "E + F, µs/atom", "E alone")]
    seconds, peak = run_alone("fit_castile", ours)
    calculator = castile.load(ours).calculator()
    evaluate = micros_per_atom(calculator, ("energy", "forces"))
    alone = micros_per_atom(calculator, ("energy",))
    energy, force = errors(castile.load(ours).calculator())
    rows.append(
        (
            "Castile",
            *(f"{v:.{d}f}" for v, d in ((seconds, 1), (peak, 0), (energy, 2), (force, 4), (evaluate, 1), (alone, 1))),
        )
    )
    theirs = arguments.gap or folder / "gap.xml"
    gap_seconds, gap_peak = run_alone("fit_gap", theirs) if arguments.gap is None else (np.nan, np.nan)
    potential = Potential(param_filename=str(theirs))
    gap_evaluate = micros_per_atom(potential, ("energy", "forces"))
    gap_alone = micros_per_atom(potential, ("energy",))
    gap_energy, gap_force = errors(potential)
    rows.append(
        (
            "GAP",
            *(
                f"{v:.{d}f}"
                for v, d in (
                    (gap_seconds, 1),
                    (gap_peak, 0),
                    (gap_energy, 2),
                    (gap_force, 4),
                    (gap_evaluate, 1),
                    (gap_alone, 1),
                )
            ),
        )
    )
    rows.append(
        (
            "ratio",
            f"{gap_seconds / seconds:.1f}",
            f"{gap_peak / peak:.1f}",
            "",
            "",
            f"{gap_evaluate / evaluate:.0f}",
            f"{gap_alone / alone:.0f}",
        )
    )
    for number, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if number == 0:
            print("|" + "---|" * len(row))


if __name__ == "__main__":
    main()
