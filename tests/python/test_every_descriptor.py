"""All gradients of all descriptors, over all options; cases come from the registry, so that nothing is left out."""

import itertools

import numpy as np
import pytest
from checks import assert_close, assert_gradients_agree
from named_structures import CUTOFF, CUTOFF_WIDTH, STRUCTURES, several_frames

from castile import _core
from castile.descriptors import DESCRIPTORS
from castile.neighbors import neighbor_list

# Every parameter of a descriptor is either varied here or named below.
VALUES = {
    "radial_basis": _core.radial_basis_names(),
    "n_max": [1, 3, 4, 6, 9],
    "l_max": [0, 1, 2, 5, 7],
    "cutoff_function": ["cosine", "polynomial", None],
    "average": ["off", "inner", "outer"],
    "normalize": [False, True],
    "sparse": [False, True],
    "center_weight": [0.0, 0.5, 1.0],
    "accuracy": [1e-8, 1e-10],
}
FIXED = {
    "cutoff": "sets the scale; the structures are chosen for it",
    "cutoff_width": "sets the scale; the structures are chosen for it",
    "sigma": "sets the scale",
    "species": "learned by fit",
    "dtype": "central differences need float64; float32 is compared with it below",
}
FRAMES = [*STRUCTURES, "several"]
CENTERS = ["all", "indices", "species"]
FACTORS = {
    "descriptor": [cls.__name__ for cls in DESCRIPTORS],
    "frames": FRAMES,
    "centers": CENTERS,
    **VALUES,
}


def make_frames(name):
    return several_frames() if name == "several" else [STRUCTURES[name]()]


def make_centers(choice, frames):
    """Centers per frame: all; every other atom, backwards; the atoms of the species that is found first."""
    if choice == "all":
        return None
    if choice == "indices":
        return [np.arange(len(atoms))[::-2] for atoms in frames]
    return [[frames[0].get_chemical_symbols()[0]]] * len(frames)


def check(case):
    classes = {cls.__name__: cls for cls in DESCRIPTORS}
    cls = classes[case["descriptor"]]
    names = cls._get_param_names()
    options = {name: case[name] for name in VALUES if name in names}
    descriptor = cls(cutoff=CUTOFF, cutoff_width=CUTOFF_WIDTH, sigma=0.5, **options)
    frames = make_frames(case["frames"])
    assert_gradients_agree(descriptor.fit(frames), frames, make_centers(case["centers"], frames))


def pairs_of(case):
    """All pairs ((factor, value), (factor, value)) that a case covers."""
    return set(itertools.combinations(((name, case[name]) for name in FACTORS), 2))


def all_pairs():
    pairs = set()
    for (a, a_values), (b, b_values) in itertools.combinations(FACTORS.items(), 2):
        pairs |= {((a, x), (b, y)) for x in a_values for y in b_values}
    return pairs


def touching(new, case):
    """The pairs that a new (factor, value) makes with a case, in both orders."""
    return {pair for old in case.items() for pair in ((new, old), (old, new))}


def pairwise_cases():
    """Greedy and without chance: each case starts from a pair that is still missing and then takes, factor by
    factor, the value that adds most missing pairs."""
    order = sorted(all_pairs(), key=repr)
    missing = set(order)
    cases = []
    while missing:
        case = dict(next(pair for pair in order if pair in missing))
        for name, values in FACTORS.items():
            if name in case:
                continue

            # Among equals, turn through the values, so that all are used about as often.
            turned = values[len(cases) % len(values) :] + values[: len(cases) % len(values)]
            gains = [len(missing & touching((name, value), case)) for value in turned]
            case[name] = turned[gains.index(max(gains))]
        case = {name: case[name] for name in FACTORS}
        missing -= pairs_of(case)
        cases.append(case)
    return cases


PAIRWISE = pairwise_cases()


def label(case):
    return "-".join(str(value) for value in case.values())


def test_the_cases_cover_all_pairs_of_options():
    covered = set().union(*(pairs_of(case) for case in PAIRWISE))
    assert covered == all_pairs()


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_every_parameter_of_every_descriptor_is_varied_or_named(cls):
    assert set(cls._get_param_names()) <= set(VALUES) | set(FIXED)


@pytest.mark.parametrize("atoms", [make() for make in STRUCTURES.values()], ids=list(STRUCTURES))
def test_structures_keep_clear_of_the_cutoff(atoms):
    d = neighbor_list("d", atoms, CUTOFF + 0.1)
    assert len(d) > 0
    for edge in (CUTOFF, CUTOFF - CUTOFF_WIDTH):
        assert np.abs(d - edge).min() > 1e-3


@pytest.mark.parametrize("case", PAIRWISE, ids=label)
def test_gradients_agree_with_central_differences(case):
    check(case)


@pytest.mark.parametrize("cls", DESCRIPTORS)
@pytest.mark.parametrize(("n_max", "l_max"), [(2, 14), (16, 3), (5, 10)])
def test_gradients_agree_at_large_sizes(cls, n_max, l_max):
    frames = [STRUCTURES["wire"]()]
    sizes = {name: value for name, value in [("n_max", n_max), ("l_max", l_max)] if name in cls._get_param_names()}
    descriptor = cls(cutoff=CUTOFF, cutoff_width=CUTOFF_WIDTH, sigma=0.4, **sizes)
    assert_gradients_agree(descriptor.fit(frames), frames)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", VALUES["average"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_float32_agrees_with_float64(cls, average, normalize):
    """To 1e-5 of the largest entry, for values and all gradients."""
    frames = several_frames()
    options = {"cutoff": CUTOFF, "sigma": 0.5, "average": average, "normalize": normalize}
    double = cls(**options).fit(frames)
    single = cls(**options, dtype="float32").fit(frames)
    X = double.transform(frames)
    assert single.transform(frames).dtype == np.float32
    assert_close(single.transform(frames), X, 1e-5, what="values")
    sparse = cls(**options, dtype="float32", sparse=True).fit_transform(frames)
    assert sparse.dtype == np.float32
    assert np.array_equal(sparse.toarray(), single.transform(frames))

    rng = np.random.default_rng(0)
    n_atoms = sum(map(len, frames))
    velocities, rates = rng.normal(size=(n_atoms, 3)), rng.normal(size=(len(frames), 3, 3))
    t = single.jvp(frames, velocities, rates)
    assert t.dtype == np.float32
    assert_close(t, double.jvp(frames, velocities, rates), 1e-5, what="jvp")
    cotangent = rng.normal(size=X.shape)
    g, expected = single.vjp(frames, cotangent), double.vjp(frames, cotangent)
    assert g.positions.dtype == g.strain.dtype == np.float64
    assert_close(g.positions, expected.positions, 1e-5, what="vjp, positions")
    assert_close(g.strain, expected.strain, 1e-5, what="vjp, strain")
    J, expected = single.jacobian(frames), double.jacobian(frames)
    assert {group.values.dtype for group in J.groups} == {J.strain.dtype} == {np.dtype(np.float32)}
    assert_close(J.to_dense(), expected.to_dense(), 1e-5, what="Jacobian")
    assert_close(J.strain, expected.strain, 1e-5, what="Jacobian, strain")


@pytest.mark.slow
@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_gradients_agree_for_the_full_product_of_options(cls, frames):
    """All options against each other; the sizes take turns, since their product alone would take hours."""
    sizes = {"n_max": itertools.cycle([3, 1, 4, 5]), "l_max": itertools.cycle([2, 0, 3, 1, 4])}
    names = [name for name in VALUES if name not in sizes]
    failures = []
    for *values, centers in itertools.product(*(VALUES[name] for name in names), CENTERS):
        case = dict(zip(names, values, strict=True), **{name: next(turn) for name, turn in sizes.items()})
        case.update(descriptor=cls.__name__, frames=frames, centers=centers)
        try:
            check(case)
        except AssertionError as error:
            failures.append(f"{case}: {error}")
    assert not failures, "\n".join(failures)
