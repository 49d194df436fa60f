"""Cost and bytes of a center against the number of species: those around it, and those that the descriptor knows.

    python bench/many_species.py > table.md
    python bench/many_species.py --quick

First table: one crystal of 500 atoms, whose sites 1 to 12 species share at random. Second: frames of three species
each, out of 3 to 60 that the descriptor knows. Growth is the exponent p of a power law from 3 species to the last
column. One thread; medians, the cases taking turns.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

import castile
from cases import alloy

PRESENT = (1, 3, 6, 12)
KNOWN = (3, 12, 30, 60)
SIZES = {"cutoff": 5.0, "n_max": 6, "l_max": 4, "sigma": 0.5}
SYMBOLS = [symbol for symbol in chemical_symbols[3:] if symbol not in ("He", "Ne", "Ar", "Kr", "Xe")][: max(KNOWN)]
MIXING = np.random.default_rng(0).normal(size=(4, 12)).tolist()
OPTIONS = {
    "full": {},
    "full, sparse": {"sparse": True},
    "mu1nu1, sparse": {"compression": "mu1nu1", "sparse": True},
    "crossover, sparse": {"compression": "crossover", "sparse": True},
    "4 mixtures": {"compression": {"species": MIXING}},
    "tensor_reduced 64": {"compression": {"tensor_reduced": 64}},
    "mu2": {"compression": "mu2"},
}


@dataclass(frozen=True)
class Case:
    """Frames, and the descriptor that takes them."""

    frames: list[Atoms]
    soap: castile.SOAP
    jacobian_centers: list[np.ndarray]

    @property
    def n_atoms(self) -> int:
        """Atoms of all frames."""
        return sum(map(len, self.frames))


def share_of_species(n_cells: int, n_species: int, options: dict) -> Case:
    """Return the case of a crystal with some of 12 species."""
    soap = castile.SOAP(**SIZES, species=SYMBOLS[:12], **options)
    return Case([alloy(n_cells, SYMBOLS[:n_species])], soap, [np.arange(16)])


def few_of_many(n_cells: int, n_known: int, options: dict) -> Case:
    """Return the case of frames of three species, each with its own, of some that are known."""
    frames = [alloy(max(n_cells // 2, 1), SYMBOLS[:3], seed) for seed in range(6)]
    for k, atoms in enumerate(frames):
        chosen = np.random.default_rng(k).choice(n_known, 3, replace=False)
        atoms.symbols[:] = [SYMBOLS[chosen[SYMBOLS.index(symbol)]] for symbol in atoms.symbols]
    soap = castile.SOAP(**SIZES, species=SYMBOLS[:n_known], **options)
    return Case(frames, soap, [np.arange(3)] * len(frames))


def tasks(case: Case) -> dict[str, Callable[[], object]]:
    """Return what is timed; of each, the result is the thing whose bytes count."""
    X = case.soap.transform(case.frames)
    cotangent = X if case.soap.sparse else np.ones_like(X)
    return {
        "transform": lambda: case.soap.transform(case.frames),
        "vjp": lambda: case.soap.vjp(case.frames, cotangent),
        "Jacobian": lambda: case.soap.jacobian(case.frames, case.jacobian_centers),
    }


def n_bytes(result: object) -> int:
    """Return the bytes of features or of a Jacobian."""
    if isinstance(result, (np.ndarray, castile.Jacobian)):
        return result.nbytes
    return result.data.nbytes + result.indices.nbytes + result.indptr.nbytes


def measure(cases: Sequence[Case], repeats: int) -> dict[str, np.ndarray]:
    """Return µs and bytes per center for each case, by what is measured."""
    names = ("transform", "vjp", "Jacobian")
    all_tasks = [tasks(case) for case in cases]
    times = np.zeros((repeats, len(cases), len(names)))
    for turn, (k, named), (t, name) in (
        (turn, case, task) for turn in range(repeats) for case in enumerate(all_tasks) for task in enumerate(names)
    ):
        start = time.perf_counter()
        named[name]()
        times[turn, k, t] = time.perf_counter() - start
    centers = np.array([[case.n_atoms, case.n_atoms, sum(map(len, case.jacobian_centers))] for case in cases])
    micros = 1e6 * np.median(times, axis=0) / centers
    sizes = {name: [n_bytes(named[name]()) for named in all_tasks] for name in ("transform", "Jacobian")}
    return {
        "features, bytes": np.array(sizes["transform"]) / centers[:, 0],
        "features, µs": micros[:, 0],
        "vjp, µs": micros[:, 1],
        "Jacobian, kB": 1e-3 * np.array(sizes["Jacobian"]) / centers[:, 2],
        "Jacobian, µs": micros[:, 2],
    }


def growth(values: np.ndarray, species: Sequence[int]) -> float:
    """Return p of value ~ species^p between 3 species and the most."""
    first = species.index(3)
    return float(np.log(values[-1] / values[first]) / np.log(species[-1] / species[first]))


def table(title: str, species: Sequence[int], make: Callable[[int, dict], Case], repeats: int) -> None:
    """Print one table."""
    print(f"\n{title}\n")
    print(f"| per center | | {' | '.join(map(str, species))} | growth |")
    print("|---|---|" + "---:|" * (len(species) + 1))
    for name, options in OPTIONS.items():
        if isinstance(options.get("compression"), dict) and species[-1] > 12 and "species" in options["compression"]:
            continue  # its matrix is one for 12 species
        for what, values in measure([make(n, options) for n in species], repeats).items():
            numbers = " | ".join(f"{value:.3g}" for value in values)
            print(f"| {name} | {what} | {numbers} | {growth(values, species):.2f} |", flush=True)


def main() -> None:
    """Print machine and tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="small crystals, once")
    quick = parser.parse_args().quick
    n_cells, repeats = (2, 1) if quick else (5, 7)
    print(f"castile {castile.__version__}, {castile._core.instruction_set()}, one thread; {SIZES}")
    with castile.threads(1):
        table("Species present, of 12", PRESENT, lambda n, options: share_of_species(n_cells, n, options), repeats)
        table("Species known, 3 present", KNOWN, lambda n, options: few_of_many(n_cells, n, options), repeats)


if __name__ == "__main__":
    main()
