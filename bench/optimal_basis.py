"""How many radial functions does it take? Plain GTOs against combinations that `fit` finds (``n_primitives``).

    python bench/optimal_basis.py > table.md
    python bench/optimal_basis.py --quick

On silicon and QM7 from the folder that CASTILE_DATA names, or else on what castile.datasets and ASE bring.
Combinations are learned on training frames; everything is measured on others:

- kernel error: normalized SOAP kernels of environments, against those of all the primitives (root mean square,
  largest);
- lost: the largest share of the coefficients' variance, over species and degrees, that the combinations leave out. The
  kernel drops products with such a part, so its error should be of that order;
- energy error: kernel ridge regression, sums over atoms, the regularization chosen by leave-one-out on training frames.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.collections import g2

import castile
from castile import datasets, kernels
from castile.io import read_frames

SIZES = {"gto": (4, 6, 8, 12), "optimal": (2, 3, 4, 5, 6, 8)}
N_PRIMITIVES = 12
ALPHAS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
KCAL_PER_MOL = 0.0433641  # eV
ZETA = 2


@dataclass(frozen=True)
class Data:
    """Frames with energies in eV, shuffled."""

    name: str
    frames: list[Atoms]
    energies: np.ndarray
    n_train: int
    parameters: dict[str, float]


def silicon(sizes: tuple[int, int]) -> Data:
    """Return frames of the mlearn set, or those of the package that are silicon."""
    path = data_path("mlearn/Si_train.xyz.gz")
    frames = read_frames(path) if path else [atoms for atoms in datasets.load() if set(atoms.symbols) == {"Si"}]
    name = "silicon (mlearn)" if path else "silicon (castile.datasets)"
    energies = [atoms.get_potential_energy() for atoms in frames]
    return shuffled(name, frames, energies, sizes, {"cutoff": 5.0, "l_max": 6, "sigma": 0.5})


def molecules(sizes: tuple[int, int]) -> Data:
    """Return molecules of QM7, or those of the G2 set, without energies."""
    path = data_path("qm7/qm7.xyz.gz")
    parameters = {"cutoff": 4.0, "l_max": 6, "sigma": 0.4}
    if not path:
        frames = [atoms for atoms in map(g2.__getitem__, g2.names) if set(atoms.symbols) <= set("HCNO")]
        return shuffled("molecules (G2)", frames, [np.nan] * len(frames), sizes, parameters)
    frames = read_frames(path)
    energies = [KCAL_PER_MOL * atoms.info["atomization_energy_kcal"] for atoms in frames]
    return shuffled("molecules (QM7)", frames, energies, sizes, parameters)


def data_path(name: str) -> Path | None:
    """Return the path of a shared data set, if there is one."""
    folder = os.environ.get("CASTILE_DATA")
    path = Path(folder) / name if folder else None
    return path if path and path.exists() else None


def shuffled(name: str, frames: list, energies: list, sizes: tuple[int, int], parameters: dict) -> Data:
    """Take some of the frames, to train and to test, in an order that is the same every time."""
    order = np.random.default_rng(0).permutation(len(frames))[: sum(sizes)]
    n_train = min(sizes[0], 2 * len(order) // 3)
    return Data(name, [frames[k] for k in order], np.array([energies[k] for k in order]), n_train, parameters)


def descriptors(data: Data) -> Iterator[tuple[str, castile.SOAP]]:
    """Yield the descriptors that are compared, fitted; the first is the reference."""
    train = data.frames[: data.n_train]
    species = castile.SOAP().fit(data.frames).species_

    def soap(n_max: int, n_primitives: int | None = None) -> castile.SOAP:
        return castile.SOAP(n_max=n_max, n_primitives=n_primitives, species=species, **data.parameters).fit(train)

    for n_max in sorted(SIZES["gto"], reverse=True):
        yield f"{n_max} GTOs", soap(n_max)
    for n_max in SIZES["optimal"]:
        yield f"{n_max} of {N_PRIMITIVES}, optimal", soap(n_max, N_PRIMITIVES)


def environments(rows: np.ndarray, n_max: int = 1500) -> np.ndarray:
    """Return some of the rows, the same for every descriptor."""
    return rows[np.random.default_rng(1).permutation(len(rows))[:n_max]]


def energy_error(soap: castile.SOAP, data: Data, rows: np.ndarray) -> float:
    """Return the mean absolute error of held-out energies, meV/atom."""
    frame = soap.samples(data.frames)["frame"]
    n_atoms = np.array([len(atoms) for atoms in data.frames])
    composition = np.array([[list(atoms.symbols).count(s) for s in soap.species] for atoms in data.frames])
    train = slice(0, data.n_train)
    baseline = composition @ np.linalg.lstsq(composition[train], data.energies[train], rcond=None)[0]
    # Kernels of sums over atoms; their mean is taken and the numbers of atoms put back.
    K = kernels.average_kernel(rows, frame, zeta=ZETA) * n_atoms[:, None] * n_atoms
    fits = [castile.KernelRidge(alpha=a, kernel="precomputed") for a in ALPHAS]
    targets = data.energies - baseline
    for model in fits:
        model.fit(K[train, train], targets[train])
    best = min(fits, key=lambda model: np.mean((model.loo_residuals_ / n_atoms[train]) ** 2))
    test = slice(data.n_train, None)
    errors = (best.predict(K[test, train]) - targets[test]) / n_atoms[test]
    return float(1e3 * np.mean(np.abs(errors)))


def seconds(task: Callable[[], object], repeats: int) -> float:
    """Return the median time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def report(data: Data, repeats: int) -> None:
    """Print the table of one data set."""
    test = data.frames[data.n_train :]
    n_atoms = sum(map(len, test))
    settings = ", ".join(f"{name} {value}" for name, value in data.parameters.items())
    print(f"\n{data.name}, {settings}: {data.n_train} frames to learn from, {len(test)} to test, {n_atoms} atoms\n")
    print("| radial functions | columns | lost | kernel error, RMS | largest | energy error, meV/atom | µs/atom |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    reference = None
    for name, soap in descriptors(data):
        own = environments(soap.transform(test))
        K = kernels.soap_kernel(own, own, zeta=1)
        reference = K if reference is None else reference
        difference = np.abs(K - reference)
        lost = 1.0 - np.min(soap.variance_kept_["contraction"]) if soap.variance_kept_ else 0.0
        known = np.isfinite(data.energies).all()
        error = f"{energy_error(soap, data, soap.transform(data.frames)):.2f}" if known else ""
        with castile.threads(1):
            cost = 1e6 * seconds(lambda soap=soap: soap.transform(test), repeats) / n_atoms
        size = "" if difference.max() == 0.0 else f"{np.sqrt(np.mean(difference**2)):.1e}"
        largest = "" if difference.max() == 0.0 else f"{difference.max():.1e}"
        lost_text = f"{lost:.1e}" if "optimal" in name else ""
        print(f"| {name} | {own.shape[1]} | {lost_text} | {size} | {largest} | {error} | {cost:.1f} |", flush=True)


def main() -> None:
    """Print machine and tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="few frames, seconds")
    quick = parser.parse_args().quick
    print(f"castile {castile.__version__}, {castile._core.instruction_set()}, numpy {np.__version__}")
    if not os.environ.get("CASTILE_DATA"):
        print("CASTILE_DATA is not set: smaller sets take the place of mlearn and QM7", file=sys.stderr)
    report(silicon((12, 6) if quick else (140, 70)), 1 if quick else 5)
    report(molecules((40, 20) if quick else (700, 300)), 1 if quick else 5)


if __name__ == "__main__":
    main()
