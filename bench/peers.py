"""Time Castile against featomic, DScribe, vesin, matscipy and ASE, on one thread.

Needs the environment of ``tests/peers/requirements.txt`` and Castile in it::

    python bench/peers.py > table.md
    python bench/peers.py --quick            # two minutes
    python bench/peers.py --plot peers.png

Each library runs with its own settings, and Castile once more for each with equal ones: for featomic its GTOs, for
DScribe ``radial_basis="gto_l"``, no cutoff function, and the neighbors past ``r_cut`` that DScribe counts. Before a
contest, values are compared. Then the contestants take turns, in an order that rotates, so that a machine that gets
slower does so for all. What a contestant does not need anew for other structures is made beforehand (calculators,
radial tables); converting ``Atoms`` and finding the neighbors is part of every time. Each result is freed before the
next turn.
"""

# ruff: noqa: E402 -- some of the libraries read their number of threads when they are imported

import argparse
import gc
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

for variable in ("RAYON", "OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{variable}_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "peers"))

import featomic
import numpy as np
import vesin
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbor_list
from dscribe.descriptors import SOAP as DScribeSOAP  # noqa: N811
from matscipy.neighbours import neighbour_list as matscipy_neighbor_list
from pairs import assert_same_pairs

import castile
from cases import CASES, Case, parameters_for, silicon
from castile.layouts import featomic_parameters, from_dscribe, from_featomic, jacobian_from_featomic
from timing import machine

PACKAGES = ("featomic", "dscribe", "vesin", "matscipy", "ase", "numpy")
# DScribe's Gaussians reach so many σ past r_cut, where they have fallen to a thousandth.
REACH = np.sqrt(2 * np.log(1000))

Call = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """The same task for several libraries.

    Attributes
    ----------
    task : str
    ours : dict of str to callable
        Castile, by the peer whose settings it has; a single entry "" serves all peers.
    peers : dict of str to callable
    notes : dict of str to str
    """

    task: str
    ours: dict[str, Call]
    peers: dict[str, Call]
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The medians of one peer's times and of Castile's with equal settings, in seconds."""

    task: str
    peer: str
    theirs: float
    ours: float
    best_ratio: float
    turns: int
    note: str

    @property
    def ratio(self) -> float:
        """How many times as long the peer takes."""
        return self.theirs / self.ours


def main() -> None:
    """Print machine, versions and table."""
    arguments = parse_arguments()
    print(machine())
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES) + ". One thread for all.\n", flush=True)
    print("| task | against | Castile ms | peer ms | ratio of medians | of bests | turns | |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    results: list[Result] = []
    with castile.threads(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for contest in contests(arguments.quick):
            for result in race(contest, arguments.repeats, arguments.seconds):
                results.append(result)
                print(
                    f"| {result.task} | {result.peer} | {milliseconds(result.ours)} | {milliseconds(result.theirs)} | "
                    f"{result.ratio:.1f} | {result.best_ratio:.1f} | {result.turns} | {result.note} |",
                    flush=True,
                )
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.2f}.")
    if arguments.plot:
        draw(results, arguments.plot)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer tasks and turns, two minutes")
    parser.add_argument("--repeats", type=int, default=31, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=None, help="stop a contest after this, with 5 turns or more")
    parser.add_argument("--plot", default=None, help="draw the ratios into this file")
    arguments = parser.parse_args()
    if arguments.seconds is None:
        arguments.seconds = 6.0 if arguments.quick else 40.0
    return arguments


def contests(quick: bool) -> Iterator[Contest]:
    """Yield the contests, each after its values were compared."""
    yield feature_contest("silicon_1000", "silicon, 1 000 atoms")
    yield feature_contest("molecules_1000", "1 000 molecules of H, C, N, O")
    yield jacobian_contest("silicon_1000", "silicon, 1 000 atoms")
    for n_cells in (2, 4, 8):
        yield neighbor_contest(n_cells, with_ase=n_cells < 8)
    yield molecule_neighbor_contest()
    if quick:
        return
    yield feature_contest("perovskite_500", "five species, 500 atoms")
    yield feature_contest("water_648", "water, 648 atoms")
    yield feature_contest("frames_1000x8", "1 000 cells of 8 Si")
    yield feature_contest("frames_100x64", "100 cells of 64 Si")
    yield jacobian_contest("perovskite_500", "five species, 500 atoms")
    yield cluster_contest()
    yield neighbor_contest(20, with_ase=False)


# ---------------------------------------------------------------- tasks


def feature_contest(name: str, title: str) -> Contest:
    """Compare power spectra with featomic and DScribe."""
    case = CASES[name]
    frames = case.make(False)
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    calculator = featomic.SoapPowerSpectrum(**featomic_parameters(soap))
    require_equal_features(soap, frames)
    theirs, like_dscribe = dscribe_soap(case, periodic=bool(frames[0].pbc.all()))
    require_equal_dscribe(theirs, like_dscribe, frames)
    return Contest(
        f"power spectrum, {title}",
        {"featomic": lambda: soap.transform(frames), "dscribe": lambda: like_dscribe.transform(frames)},
        {"featomic": lambda: calculator.compute(frames), "dscribe": lambda: theirs.create(frames, n_jobs=1)},
        {
            "featomic": f"{neighbors(frames, soap.cutoff)} neighbors",
            "dscribe": f"{neighbors(frames, like_dscribe.neighbor_radius)} neighbors",
        },
    )


def dscribe_soap(case: Case, periodic: bool) -> tuple[Any, castile.SOAP]:
    """Return DScribe's descriptor and ours with its settings."""
    p = case.parameters
    sizes = {"n_max": p["n_max"], "l_max": p["l_max"], "sigma": p["sigma"], "species": list(case.species)}
    theirs = DScribeSOAP(r_cut=p["cutoff"], periodic=periodic, **sizes)
    ours = castile.SOAP(
        cutoff=p["cutoff"],
        neighbor_radius=p["cutoff"] + p["sigma"] * REACH,
        radial_basis="gto_l",
        cutoff_function=None,
        **sizes,
    )
    return theirs, ours


def jacobian_contest(name: str, title: str) -> Contest:
    """Compare features with explicit position gradients."""
    case = CASES[name]
    frames = case.make(False)
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    calculator = featomic.SoapPowerSpectrum(**featomic_parameters(soap))
    require_equal_gradients(soap, case.make(True))
    return Contest(
        f"features and position gradients, {title}",
        {"": lambda: (soap.transform(frames), soap.jacobian(frames, strain=False))},
        {"featomic": lambda: calculator.compute(frames, gradients=["positions"])},
    )


def cluster_contest() -> Contest:
    """Compare with DScribe's analytical derivatives, which it has for free structures only."""
    free = silicon(3)
    free[0].pbc = False
    theirs, ours = dscribe_soap(CASES["silicon_1000"], periodic=False)
    require_equal_dscribe(theirs, ours, free)
    return Contest(
        "features and position gradients, cluster of 216 Si",
        {"": lambda: (ours.transform(free), ours.jacobian(free, strain=False))},
        {"dscribe": lambda: theirs.derivatives(free[0], method="analytical", attach=True)},
        {"dscribe": "dense array"},
    )


def neighbor_contest(n_cells: int, with_ase: bool) -> Contest:
    """Compare full neighbor lists with all five arrays."""
    (atoms,) = silicon(n_cells)
    cutoff = 5.0
    lists = {"vesin": vesin.ase_neighbor_list, "matscipy": matscipy_neighbor_list}
    if with_ase:
        lists["ase"] = ase_neighbor_list
    ours = castile.neighbor_list("ijSDd", atoms, cutoff)
    for function in lists.values():
        assert_same_pairs(function("ijSDd", atoms, cutoff), ours)
    peers: dict[str, Call] = {
        name: lambda function=function: function("ijSDd", atoms, cutoff)  # type: ignore[misc]
        for name, function in lists.items()
    }
    # The class leaves out the sorting by center that its function for ASE does.
    calculator = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    peers["vesin, unsorted"] = lambda: calculator.compute(atoms.positions, atoms.cell.array, True, "ijSDd")
    return Contest(
        f"neighbor list ijSDd, {len(atoms)} Si",
        {"": lambda: castile.neighbor_list("ijSDd", atoms, cutoff)},
        peers,
    )


def molecule_neighbor_contest() -> Contest:
    """Compare lists of many small structures: one call of ours, a loop for the others."""
    frames = CASES["molecules_1000"].make(False)
    calculator = vesin.NeighborList(cutoff=5.0, full_list=True, n_threads=1)
    for atoms in frames[:20]:
        assert_same_pairs(vesin.ase_neighbor_list("ijSDd", atoms, 5.0), castile.neighbor_list("ijSDd", atoms, 5.0))

    def unsorted() -> list[Any]:
        return [calculator.compute(atoms.positions, atoms.cell.array, False, "ijSDd") for atoms in frames]

    return Contest(
        "neighbor lists ijSDd, 1 000 molecules",
        {"": lambda: castile.NeighborList(frames, 5.0)},
        {
            "vesin": lambda: [vesin.ase_neighbor_list("ijSDd", atoms, 5.0) for atoms in frames],
            "vesin, unsorted": unsorted,
        },
    )


def neighbors(frames: list[Atoms], cutoff: float) -> int:
    """Return the mean number of neighbors."""
    return round(len(castile.NeighborList(frames, cutoff)) / sum(map(len, frames)))


# ---------------------------------------------------------------- equal values


def require_equal_features(soap: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless featomic's power spectrum is ours, at the settings timed and at tight ones."""
    for accuracy, spline_accuracy, bound in ((1e-8, 1e-8, 1e-6), (1e-10, 1e-12, 1e-9)):
        ours = soap.__class__(**{**soap.get_params(), "accuracy": accuracy})
        parameters = featomic_parameters(ours, spline_accuracy)
        tensor = featomic.SoapPowerSpectrum(**parameters).compute(frames)
        theirs = from_featomic(tensor, ours, ours.samples(frames))
        require_close(ours.transform(frames), theirs, bound)


def require_equal_dscribe(theirs: Any, ours: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless DScribe's rows are ours; atoms outside of the cell, where it misses neighbors, are moved into it."""
    for atoms in frames[:20]:
        inside = atoms.copy()
        inside.wrap(eps=0.0)
        require_close(ours.transform(inside), from_dscribe(theirs.create(inside), ours), 1e-6)


def require_equal_gradients(soap: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless featomic's gradients are ours, at tight settings."""
    ours = soap.__class__(**{**soap.get_params(), "accuracy": 1e-10})
    parameters = featomic_parameters(ours, 1e-12)
    tensor = featomic.SoapPowerSpectrum(**parameters).compute(frames, gradients=["positions"])
    jacobian = ours.jacobian(frames, strain=False)
    theirs = jacobian_from_featomic(tensor, ours, ours.samples(frames), jacobian.atom_offsets)
    require_close(jacobian.to_dense(), theirs, 1e-7)


def require_close(ours: np.ndarray, theirs: np.ndarray, bound: float) -> None:
    """Raise if the largest difference is above ``bound`` times the largest value."""
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    if not difference < bound:
        raise RuntimeError(f"values differ by {difference:.1e} of the largest, bound {bound}")


# ---------------------------------------------------------------- clocks and results


def race(contest: Contest, repeats: int, seconds: float) -> list[Result]:
    """Let all take turns, after one that is not counted; short calls are repeated within a turn."""
    calls = {("ours", name): call for name, call in contest.ours.items()}
    calls |= {("peer", name): call for name, call in contest.peers.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    keys = list(calls)
    repetitions = {key: calls_per_turn(call) for key, call in calls.items()}
    end = time.perf_counter() + seconds
    gc.disable()
    for turn in range(repeats):
        if turn >= 5 and time.perf_counter() > end:
            break
        first = turn % len(keys)
        for key in keys[first:] + keys[:first]:
            call = calls[key]
            start = time.perf_counter()
            for _ in range(repetitions[key]):
                result: Any = call()
            times[key].append((time.perf_counter() - start) / repetitions[key])
            del result
    gc.enable()
    results = []
    for peer in contest.peers:
        theirs = times["peer", peer]
        ours = times["ours", peer if peer in contest.ours else ""]
        results.append(
            Result(
                contest.task,
                peer,
                statistics.median(theirs),
                statistics.median(ours),
                min(theirs) / min(ours),
                len(theirs),
                contest.notes.get(peer, ""),
            )
        )
    return results


def calls_per_turn(call: Call) -> int:
    """Return how many calls take some milliseconds, so that a turn does not begin and end with cold caches."""
    call()
    start = time.perf_counter()
    call()
    return max(1, min(100, round(0.005 / (time.perf_counter() - start))))


def milliseconds(seconds: float) -> str:
    """Format with three digits, without an exponent."""
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def draw(results: list[Result], path: str) -> None:
    """Draw a bar for every ratio."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = [f"{result.task}: {result.peer}" for result in results]
    colors = {"featomic": "tab:blue", "dscribe": "tab:orange", "matscipy": "tab:green", "ase": "tab:red"}
    figure, axes = pyplot.subplots(figsize=(9.0, 0.5 + 0.27 * len(results)), layout="constrained")
    bars = axes.barh(
        labels, [result.ratio for result in results], color=[colors.get(r.peer, "tab:purple") for r in results]
    )
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("times as long as Castile with equal settings (one thread)")
    axes.tick_params(axis="y", labelsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
