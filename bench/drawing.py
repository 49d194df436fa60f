"""The plot of bench/peers.py: how many times as long the others take."""

from collections.abc import Sequence
from itertools import groupby

from contests import GRADIENTS, NEIGHBORS, SPECTRUM, UNSORTED, Result

__all__ = ["draw"]

HEADINGS = {
    SPECTRUM: "power spectrum",
    GRADIENTS: "features and position gradients",
    NEIGHBORS: "neighbor lists (i, j, S, D, d)",
}
# Colors that also those who see few can tell apart (Okabe and Ito).
COLORS = {
    "featomic": "#0072B2",
    "dscribe": "#E69F00",
    "quippy": "#009E73",
    "vesin": "#CC79A7",
    "matscipy": "#56B4E9",
    "ase": "#999999",
}
NAMES = {"dscribe": "DScribe", "quippy": "quippy (QUIP)", "ase": "ASE", UNSORTED: "vesin, pairs left unsorted"}
HEADING, GAP, BAR = 1.25, 0.55, 1.0  # heights, in bars


def draw(results: Sequence[Result], path: str) -> None:
    """Draw a bar for every ratio, those of a task together, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    figure, axes = pyplot.subplots(figsize=(9.0, 1.2 + 0.2 * height(results)), layout="constrained")
    y = 0.0
    ticks: list[tuple[float, str]] = []
    for kind, title in HEADINGS.items():
        own = [result for result in results if result.kind == kind]
        if not own:
            continue
        y += HEADING
        axes.annotate(title, (1.0, y - 0.5), xytext=(4, 0), textcoords="offset points", va="center", weight="bold")
        for task, bars in groupby(own, key=lambda result: result.title):
            first = y + GAP
            y = first
            for result in sorted(bars, key=order):
                draw_bar(axes, y, result)
                y += BAR
            ticks.append(((first + y - BAR) / 2, task))
        y += GAP
    axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y, 0.0)
    decorate(axes, [result.ratio for result in results])
    peers = {result.peer for result in results}
    known = [peer for peer in [*COLORS, UNSORTED] if peer in peers]
    handles = [Patch(**style(peer), label=NAMES.get(peer, peer)) for peer in known]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, dpi=130)


def height(results: Sequence[Result]) -> float:
    """Return the height of the drawing in bars."""
    kinds = {result.kind for result in results}
    tasks = {(result.kind, result.title) for result in results}
    return len(results) * BAR + len(tasks) * GAP + len(kinds) * (HEADING + GAP)


def order(result: Result) -> tuple[bool, float]:
    """Sort bars by length, but what does less than the others comes last."""
    return result.peer == UNSORTED, result.ratio


def style(peer: str) -> dict[str, object]:
    """Return how a peer's bars look: hollow for what does less than the others."""
    if peer == UNSORTED:
        return {"facecolor": "white", "edgecolor": COLORS["vesin"], "hatch": "////", "linewidth": 0.8}
    return {"facecolor": COLORS[peer], "edgecolor": COLORS[peer], "linewidth": 0.8}


def draw_bar(axes, y: float, result: Result) -> None:
    """Draw one bar, from 1 on, and its number."""
    axes.barh(y, result.ratio - 1.0, left=1.0, height=0.82 * BAR, **style(result.peer))
    text = f"{result.ratio:.1f}" if result.ratio < 10 else f"{result.ratio:.0f}"
    axes.annotate(text, (max(result.ratio, 1.0), y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)


def decorate(axes, ratios: Sequence[float]) -> None:
    """Set up the logarithmic scale."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    end = 1.6 * max(ratios)
    axes.set_xlim(0.9 * min(1.0, *ratios), end)
    places = [factor * 10.0**power for power in range(-1, 4) for factor in (1, 2, 5) if factor * 10**power < end]
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(1.0, color="black", linewidth=1.0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("time of the others, in that of Castile with equal settings (one thread)")
