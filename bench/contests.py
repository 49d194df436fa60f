"""The same tasks for Castile and for other libraries, each made after the values of both were found equal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import featomic
import vesin
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbor_list
from matscipy.neighbours import neighbour_list as matscipy_neighbor_list
from pairs import assert_same_pairs

import castile
import parity
from cases import CASES, parameters_for, silicon
from castile.layouts import featomic_parameters
from timing import Call, medians, take_turns

__all__ = ["GRADIENTS", "NEIGHBORS", "SPECTRUM", "UNSORTED", "Contest", "Result", "contests", "race"]

# The kinds of tasks.
SPECTRUM = "power spectrum"
GRADIENTS = "features and position gradients"
NEIGHBORS = "neighbor list ijSDd"

UNSORTED = "vesin, unsorted"  # which does less than the others

TITLES = {
    "silicon_1000": "silicon, 1 000 atoms",
    "molecules_1000": "1 000 molecules of H, C, N, O",
    "perovskite_500": "five species, 500 atoms",
    "water_648": "water, 648 atoms",
    "frames_1000x8": "1 000 cells of 8 Si",
    "frames_1000x64": "100 of 1 000 cells of 64 Si",
}
# The others would take minutes for all of them.
FIRST_FRAMES = {"frames_1000x64": 100}
# QUIP's gradients of five species take several times the 3 GB that they are.
QUIPPY = {SPECTRUM: ("silicon_1000", "perovskite_500"), GRADIENTS: ("silicon_1000",)}


@dataclass
class Contest:
    """The same task for several libraries.

    Attributes
    ----------
    kind : str
        One of the constants above.
    workload : str
        A name out of ``CASES``, or of what else the task is done for.
    title : str
    ours : dict of str to callable
        Castile, by the peer whose settings it has; a single entry "" serves all peers.
    peers : dict of str to callable
    widths : dict of str to (int, int)
        Numbers that Castile and a peer give for each center, by peer.
    notes : dict of str to str
    n_pairs : int
        Of neighbor lists.
    """

    kind: str
    workload: str
    title: str
    ours: dict[str, Call] = field(default_factory=dict)
    peers: dict[str, Call] = field(default_factory=dict)
    widths: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    n_pairs: int = 0

    def add(
        self, peer: str, ours: Call | None, theirs: Call, widths: tuple[int, int] | None = None, note: str = ""
    ) -> None:
        """Add a peer; ``ours`` is None where the entry "" serves it."""
        if ours is not None:
            self.ours[peer] = ours
        if widths is not None:
            self.widths[peer] = widths
        self.peers[peer] = theirs
        self.notes[peer] = note


@dataclass(frozen=True)
class Result:
    """The medians of one peer's times and of Castile's with equal settings, in seconds."""

    kind: str
    workload: str
    title: str
    peer: str
    theirs: float
    ours: float
    best_ratio: float
    turns: int
    widths: tuple[int, int] | None
    note: str
    n_pairs: int

    @property
    def ratio(self) -> float:
        """How many times as long the peer takes."""
        return self.theirs / self.ours


def race(contest: Contest, repeats: int, seconds: float) -> list[Result]:
    """Let all take turns."""
    calls = {("ours", name): call for name, call in contest.ours.items()}
    calls |= {("peer", name): call for name, call in contest.peers.items()}
    times = take_turns(calls, repeats, seconds)
    median = medians(times)
    results = []
    for peer in contest.peers:
        theirs, ours = ("peer", peer), ("ours", peer if peer in contest.ours else "")
        results.append(
            Result(
                contest.kind,
                contest.workload,
                contest.title,
                peer,
                median[theirs],
                median[ours],
                min(times[theirs]) / min(times[ours]),
                len(times[theirs]),
                contest.widths.get(peer),
                contest.notes[peer],
                contest.n_pairs,
            )
        )
    return results


def contests(quick: bool) -> Iterator[Contest]:
    """Yield the contests, each after its values were compared."""
    more = not quick
    for name in ("silicon_1000", "molecules_1000"):
        yield spectrum_contest(name)
    for name in ("perovskite_500", "water_648", "frames_1000x8", "frames_1000x64") if more else ():
        yield spectrum_contest(name)
    yield gradients_contest("silicon_1000")
    if more:
        yield gradients_contest("perovskite_500")
        yield cluster_contest()
    for n_cells in (2, 4, 8, 20) if more else (2, 4, 8):
        yield neighbor_contest(n_cells, with_ase=n_cells < 8)
    yield molecule_neighbor_contest()


def spectrum_contest(name: str) -> Contest:
    """Compare power spectra with featomic, DScribe and, in some cases, QUIP."""
    case = CASES[name]
    frames = case.make(False)[: FIRST_FRAMES.get(name)]
    contest = Contest(SPECTRUM, name, TITLES[name])
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    calculator = featomic.SoapPowerSpectrum(**featomic_parameters(soap))
    parity.require_equal_featomic(soap, frames)
    contest.add(
        "featomic",
        lambda: soap.transform(frames),
        lambda: calculator.compute(frames),
        (width(soap), parity.featomic_width(calculator.compute(frames))),
        f"{neighbors(frames, soap.cutoff)} neighbors",
    )
    dscribe, like_dscribe = parity.dscribe_soap(case, periodic=bool(frames[0].pbc.all()))
    parity.require_equal_dscribe(dscribe, like_dscribe, frames)
    contest.add(
        "dscribe",
        lambda: like_dscribe.transform(frames),
        lambda: dscribe.create(frames, n_jobs=1),
        (width(like_dscribe), dscribe.get_number_of_features()),
        f"{neighbors(frames, like_dscribe.neighbor_radius)} neighbors",
    )
    if name in QUIPPY[SPECTRUM]:
        quippy, like_quippy = parity.quippy_soap(case)
        parity.require_equal_quippy(quippy, like_quippy, frames)
        contest.add(
            "quippy",
            lambda: like_quippy.transform(frames),
            lambda: [quippy.values(atoms) for atoms in frames],
            (width(like_quippy), quippy.width),
            f"{neighbors(frames, like_quippy.cutoff)} neighbors",
        )
    return contest


def gradients_contest(name: str) -> Contest:
    """Compare features with explicit position gradients."""
    case = CASES[name]
    frames = case.make(False)
    contest = Contest(GRADIENTS, name, TITLES[name])
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    calculator = featomic.SoapPowerSpectrum(**featomic_parameters(soap))
    parity.require_equal_featomic_gradients(soap, case.make(True))
    contest.add(
        "featomic",
        with_jacobian(soap, frames),
        lambda: calculator.compute(frames, gradients=["positions"]),
        (width(soap), parity.featomic_width(calculator.compute(frames))),
    )
    if name in QUIPPY[GRADIENTS]:
        quippy, like_quippy = parity.quippy_soap(case)
        parity.require_equal_quippy_gradients(case, case.make(True)[0])
        contest.add(
            "quippy",
            with_jacobian(like_quippy, frames),
            lambda: [quippy.gradients(atoms) for atoms in frames],
            (width(like_quippy), quippy.width),
        )
    return contest


def cluster_contest() -> Contest:
    """Compare with DScribe's analytical derivatives, which it has for free structures only."""
    free = silicon(3)
    free[0].pbc = False
    theirs, ours = parity.dscribe_soap(CASES["silicon_1000"], periodic=False)
    parity.require_equal_dscribe(theirs, ours, free)
    contest = Contest(GRADIENTS, "cluster", "cluster of 216 Si")
    contest.add(
        "dscribe",
        with_jacobian(ours, free),
        lambda: theirs.derivatives(free[0], method="analytical", attach=True),
        (width(ours), theirs.get_number_of_features()),
        "dense array",
    )
    return contest


def neighbor_contest(n_cells: int, with_ase: bool) -> Contest:
    """Compare full neighbor lists with all five arrays."""
    (atoms,) = silicon(n_cells)
    cutoff = 5.0
    lists: dict[str, Callable[..., Any]] = {"vesin": vesin.ase_neighbor_list, "matscipy": matscipy_neighbor_list}
    if with_ase:
        lists["ase"] = ase_neighbor_list
    pairs = castile.neighbor_list("ijSDd", atoms, cutoff)
    note = f"{len(pairs[0])} pairs"
    title = f"{len(atoms):,} Si".replace(",", " ")
    contest = Contest(NEIGHBORS, f"silicon_{len(atoms)}", title, n_pairs=len(pairs[0]))
    contest.ours[""] = lambda: castile.neighbor_list("ijSDd", atoms, cutoff)
    for name, function in lists.items():
        assert_same_pairs(function("ijSDd", atoms, cutoff), pairs)
        contest.add(name, None, lambda function=function: function("ijSDd", atoms, cutoff), None, note)
    # The class leaves out the sorting by center that its function for ASE does.
    calculator = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    contest.add(
        UNSORTED, None, lambda: calculator.compute(atoms.positions, atoms.cell.array, True, "ijSDd"), None, note
    )
    return contest


def molecule_neighbor_contest() -> Contest:
    """Compare lists of many small structures: one call of ours, a loop for the others."""
    frames = CASES["molecules_1000"].make(False)
    cutoff = 5.0
    calculator = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    for atoms in frames[:20]:
        assert_same_pairs(
            vesin.ase_neighbor_list("ijSDd", atoms, cutoff), castile.neighbor_list("ijSDd", atoms, cutoff)
        )

    def unsorted() -> list[Any]:
        return [calculator.compute(atoms.positions, atoms.cell.array, False, "ijSDd") for atoms in frames]

    n_pairs = len(castile.NeighborList(frames, cutoff))
    note = f"{n_pairs} pairs; one call of ours, loops of theirs"
    contest = Contest(NEIGHBORS, "molecules_1000", "1 000 molecules", n_pairs=n_pairs)
    contest.ours[""] = lambda: castile.NeighborList(frames, cutoff)
    contest.add(
        "vesin", None, lambda: [vesin.ase_neighbor_list("ijSDd", atoms, cutoff) for atoms in frames], None, note
    )
    contest.add(UNSORTED, None, unsorted, None, note)
    return contest


def with_jacobian(soap: castile.SOAP, frames: list[Atoms]) -> Call:
    """Return a call that makes features and their gradients, as the others do together."""
    return lambda: (soap.transform(frames), soap.jacobian(frames, strain=False))


def width(soap: castile.SOAP) -> int:
    """Return the number of features."""
    return len(soap.get_feature_names_out())


def neighbors(frames: list[Atoms], cutoff: float) -> int:
    """Return the mean number of neighbors."""
    return round(len(castile.NeighborList(frames, cutoff)) / sum(map(len, frames)))
