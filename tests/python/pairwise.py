"""Cases of options that together hold every pair of values, or every triple, and what they stand for."""

import itertools

import numpy as np
from named_structures import STRUCTURES, several_frames
from options import VALUES

from castile.descriptors import DESCRIPTORS

CLASSES = {cls.__name__: cls for cls in DESCRIPTORS}
FRAMES = [*STRUCTURES, "several"]
CENTERS = ["all", "indices", "species"]
FACTORS = {"descriptor": list(CLASSES), "frames": FRAMES, "centers": CENTERS, **VALUES}


def without(*names):
    """The factors but those that do not matter to a check."""
    return {name: values for name, values in FACTORS.items() if name not in names}


def pairs_of(case):
    """All pairs ((factor, value), (factor, value)) that a case covers."""
    return set(itertools.combinations(case.items(), 2))


def all_pairs(factors):
    pairs = set()
    for (a, a_values), (b, b_values) in itertools.combinations(factors.items(), 2):
        pairs |= {((a, x), (b, y)) for x in a_values for y in b_values}
    return pairs


def touching(new, case):
    """The pairs that a new (factor, value) makes with a case, in both orders."""
    return {pair for old in case.items() for pair in ((new, old), (old, new))}


def pairwise_cases(factors):
    """Greedy and without chance: each case starts from a pair that is still missing and then takes, factor by
    factor, the value that adds most missing pairs."""
    order = sorted(all_pairs(factors), key=repr)
    missing = set(order)
    cases = []
    while missing:
        case = dict(next(pair for pair in order if pair in missing))
        for name, values in factors.items():
            if name in case:
                continue

            # Among equals, turn through the values, so that all are used about as often.
            turned = values[len(cases) % len(values) :] + values[: len(cases) % len(values)]
            gains = [len(missing & touching((name, value), case)) for value in turned]
            case[name] = turned[gains.index(max(gains))]
        case = {name: case[name] for name in factors}
        missing -= pairs_of(case)
        cases.append(case)
    return cases


def cases_with_all_triples(factors, n_cases, n_candidates=50, seed=0):
    """Cases by chance that hold every triple of values: each begins with one that is missing and is, of some that do,
    the one that adds most; when none is missing, the rest is chance alone."""
    rng = np.random.default_rng(seed)
    sizes = np.array([len(values) for values in factors.values()])
    triples = np.array(list(itertools.combinations(range(len(sizes)), 3)))
    shapes = sizes[triples]
    starts = np.cumsum([0, *shapes.prod(axis=1)])
    missing = np.ones(starts[-1], dtype=bool)
    cases = []
    for _ in range(n_cases):
        candidates = rng.integers(sizes, size=(n_candidates, len(sizes)))
        if missing.any():
            place = rng.choice(np.flatnonzero(missing))
            triple = np.searchsorted(starts, place, side="right") - 1
            candidates[:, triples[triple]] = np.unravel_index(place - starts[triple], shapes[triple])
        i, j, k = np.moveaxis(candidates[:, triples], 2, 0)
        places = starts[:-1] + (i * shapes[:, 1] + j) * shapes[:, 2] + k
        best = missing[places].sum(axis=1).argmax()
        missing[places[best]] = False
        chosen = zip(factors.items(), candidates[best], strict=True)
        cases.append({name: values[index] for (name, values), index in chosen})
    return cases


def label(case):
    return "-".join(str(value) for value in case.values())


def make_frames(name):
    return several_frames() if name == "several" else [STRUCTURES[name]()]


def make_centers(choice, frames):
    """Centers per frame: all; every other atom, backwards; the atoms of the species that is found first."""
    if choice == "all":
        return None
    if choice == "indices":
        return [np.arange(len(atoms))[::-2] for atoms in frames]
    return [[frames[0].get_chemical_symbols()[0]]] * len(frames)
