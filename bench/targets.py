"""What Castile wants to reach, and what a run of bench/peers.py measured of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import castile
import many_species
import resources
from contests import GRADIENTS, NEIGHBORS, SPECTRUM, Result
from limits import PAIR_BYTES, Calls

__all__ = ["Target", "all_targets", "print_targets"]

SHORT = {
    "silicon_1000": "silicon",
    "perovskite_500": "five species",
    "water_648": "water",
    "molecules_1000": "molecules",
    "silicon_4096": "4 096 Si",
    "silicon_64000": "64 000 Si",
}
# Growth with the number of species that counts as linear: p in cost ~ species^p.
LINEAR = 1.1


@dataclass
class Target:
    """A bound, and what was measured.

    Attributes
    ----------
    quantity : str
    bound : float
    at_least : bool
        Whether the bound is a lower one.
    measured : dict of str to float or None
        By case; all must keep the bound. None where a case cannot be measured here, or was not.
    percent : bool
        Whether to print percentages.
    note : str
    """

    quantity: str
    bound: float
    at_least: bool = False
    measured: dict[str, float | None] = field(default_factory=dict)
    percent: bool = False
    note: str = ""

    def met(self) -> bool | None:
        """Return whether all cases keep the bound, None if that is not known."""
        values = [value for value in self.measured.values() if value is not None]
        kept = [value >= self.bound if self.at_least else value <= self.bound for value in values]
        if not all(kept):
            return False
        return True if kept and len(kept) == len(self.measured) else None

    def row(self) -> str:
        """Return the line of a table."""

        def number(value: float | None) -> str:
            if value is None:
                return "n/a"
            return f"{100 * value:.0f} %" if self.percent else f"{value:.2f}" if value < 4 else f"{value:.1f}"

        cells = [f"{name} {number(value)}".strip() for name, value in self.measured.items()]
        verdict = {True: "yes", False: "no", None: "not known"}[self.met()]
        bound = f"{100 * self.bound:g} %" if self.percent else f"{self.bound:g}"
        sign = "≥" if self.at_least else "≤"
        note = f" ({self.note})" if self.note else ""
        return f"| {self.quantity} | {sign} {bound} | {', '.join(cells) or 'n/a'}{note} | {verdict} |"


def print_targets(targets: Iterable[Target]) -> None:
    """Print the table; what a target needs is measured when its turn comes."""
    print("\n| quantity | target | measured | met |")
    print("|---|---:|---|---|")
    for target in targets:
        print(target.row(), flush=True)


def all_targets(
    results: Sequence[Result], limits: dict[str, Any], calls: Sequence[Calls], quick: bool
) -> Iterable[Target]:
    """Yield all targets; a quick run lacks some cases and takes few turns."""
    yield from peer_targets(results)
    yield from call_targets(calls, limits)
    yield from neighbor_targets(results, limits)
    yield from kernel_targets(limits)
    with castile.threads(1):
        yield from species_targets(quick)
        repeats = 3 if quick else 31
        yield Target(
            "1 000 frames of 8 atoms, time outside of the C++ kernels",
            0.30,
            measured={"": resources.share_outside_kernels("frames_1000x8", repeats)},
            percent=True,
        )
    yield from process_targets(quick)


# ---------------------------------------------------------------- against other libraries


def fastest_peer(results: Sequence[Result], kind: str, workload: str) -> tuple[float | None, str]:
    """Return the lowest ratio of a task, and whose it is."""
    found = [result for result in results if (result.kind, result.workload) == (kind, workload)]
    if not found:
        return None, ""
    lowest = min(found, key=lambda result: result.ratio)
    return lowest.ratio, lowest.peer


def against_peers(quantity: str, bound: float, results: Sequence[Result], kind: str, *workloads: str) -> Target:
    """Return a target on the fastest of the others."""
    target = Target(quantity, bound, at_least=True)
    for workload in workloads:
        ratio, peer = fastest_peer(results, kind, workload)
        target.measured[f"{SHORT[workload]} ({peer})" if peer else SHORT[workload]] = ratio
    return target


def peer_targets(results: Sequence[Result]) -> Iterable[Target]:
    """Yield the targets on descriptors of other libraries."""
    what = "power spectrum: fastest peer's time / ours"
    yield against_peers(what, 15, results, SPECTRUM, "silicon_1000", "water_648")
    yield against_peers(what, 10, results, SPECTRUM, "perovskite_500")
    yield against_peers(f"{what}, conversion of Atoms included", 8, results, SPECTRUM, "molecules_1000")
    what = "features and explicit Jacobian: fastest peer's time / ours"
    yield against_peers(what, 15, results, GRADIENTS, "silicon_1000", "perovskite_500")


def neighbor_targets(results: Sequence[Result], limits: dict[str, Any]) -> Iterable[Target]:
    """Yield the targets on neighbor lists."""
    found = {r.workload: r for r in results if r.kind == NEIGHBORS and r.peer == "vesin"}

    def ratio(workload: str) -> float | None:
        return found[workload].ratio if workload in found else None

    for n_atoms, bound in ((64, 4), (512, 6), (4096, 8), (64000, 8)):
        quantity = f"neighbor list ijSDd of {n_atoms} Si: vesin's time / ours"
        yield Target(quantity, bound, at_least=True, measured={"": ratio(f"silicon_{n_atoms}")})
    quantity = "neighbor lists of 1 000 molecules in one call: vesin's loop / ours"
    yield Target(quantity, 8, at_least=True, measured={"": ratio("molecules_1000")})
    against = Target(f"neighbor list / memset of {PAIR_BYTES} bytes a pair", 6)
    for workload in ("silicon_4096", "silicon_64000"):
        if workload in found:
            memset = PAIR_BYTES * found[workload].n_pairs / limits["store_bandwidth"]
            against.measured[SHORT[workload]] = found[workload].ours / memset
        else:
            against.measured[SHORT[workload]] = None
    yield against


# ---------------------------------------------------------------- against the machine


def call_targets(calls: Sequence[Calls], limits: dict[str, Any]) -> Iterable[Target]:
    """Yield the targets on calls of the package, against each other and against memset."""

    def of_all(quantity: str, bound: float, value: Callable[[Calls], float | None], *names: str) -> Target:
        chosen = [one for one in calls if not names or one.workload in names]
        return Target(quantity, bound, measured={SHORT[one.workload]: value(one) for one in chosen})

    yield of_all("vjp of the power spectrum / values alone", 2.8, lambda one: one.vjp / one.values)
    bandwidth = limits["store_bandwidth"]

    def warm_against_memset(one: Calls) -> float | None:
        return None if one.warm_jacobian is None else one.warm_jacobian / (one.jacobian_bytes / bandwidth)

    def new_against_warm(one: Calls) -> float | None:
        return None if one.warm_jacobian is None else one.jacobian / one.warm_jacobian

    yield of_all("Jacobian, warm output / memset of it", 4, warm_against_memset)
    yield of_all("Jacobian, new output / warm output, both in recycled pages", 1.5, new_against_warm)


def kernel_targets(limits: dict[str, Any]) -> Iterable[Target]:
    """Yield the targets on kernels, of 8 radial functions up to degree 6."""
    stages = {s["dtype"]: s for s in limits["stages"] if (s["n_max"], s["l_max"]) == (8, 6)}
    double, single = stages["float64"], stages["float32"]
    for stage, name, bound in (
        ("accumulate", "kernel that accumulates", 0.85),
        ("expansion", "whole expansion", 0.35),
        ("reverse", "reverse pass", 0.55),
    ):
        quantity = f"{name}, (8, 6), float64: share of the peak of multiply-adds"
        yield Target(quantity, bound, at_least=True, measured={"": double[f"{stage}_share"]}, percent=True)
    yield Target(
        "power spectrum written to DRAM / memset of its output",
        3.5,
        measured={f"Q = {s['n_functions']}:": limits["store_bandwidth"] / s["bandwidth"] for s in limits["spectrum"]},
    )
    quantity = "float32 / float64, whole expansion, (8, 6)"
    yield Target(quantity, 0.6, measured={"": single["expansion_ns"] / double["expansion_ns"]})


# ---------------------------------------------------------------- species, threads, memory


def species_targets(quick: bool) -> Iterable[Target]:
    """Yield the targets on the growth of time and bytes from 3 to 12 species present, on the same sites."""
    present = (3, 12)
    n_cells, repeats = (2, 1) if quick else (5, 7)
    growth: dict[str, dict[str, float | None]] = {}
    for name in ("full, sparse", "mu1nu1, sparse", "crossover, sparse"):
        options = many_species.OPTIONS[name]
        cases = [many_species.share_of_species(n_cells, n, options) for n in present]
        values = many_species.measure(cases, repeats)
        growth[name] = {what: many_species.growth(value, present) for what, value in values.items()}
    for what in ("features, bytes", "features, µs", "vjp, µs", "Jacobian, kB"):
        full = growth["full, sparse"][what]
        yield Target(
            f"12 species against 3, {what}: p of cost ~ species^p",
            LINEAR,
            measured={name: growth[name][what] for name in growth if name != "full, sparse"},
            note=f"all products, sparse: {full:.2f}; their number is quadratic",
        )


def process_targets(quick: bool) -> Iterable[Target]:
    """Yield the targets that need processes of their own."""
    repeats = 3 if quick else 31
    yield Target(
        "two threads / two processes pinned to a CPU each, throughput",
        0.95,
        at_least=True,
        measured={
            f"{8 * a * b * c} centers": resources.threads_against_processes((a, b, c), repeats)
            for a, b, c in ((4, 4, 2), (8, 8, 4))
        },
    )
    memory = Target("peak memory of transform beyond its output / (10 % of that + 64 MB)", 1)
    for name in resources.MEMORY_CASES[: 1 if quick else None]:
        measured = resources.memory_beyond_output(name)
        if measured is None:
            memory.measured[name] = None
            continue
        output, beyond = measured
        memory.measured[f"{name} ({beyond / 1e6:.0f} MB beyond {output / 1e6:.0f})"] = beyond / (0.1 * output + 64e6)
    yield memory
