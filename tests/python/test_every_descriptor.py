"""All gradients of all descriptors, over all options; cases come from the registry, so that nothing is left out."""

import functools
import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from checks import assert_close, assert_gradients_agree
from directional import Batch, Derivatives, assert_derivatives_agree, assert_same_derivatives
from named_structures import CUTOFF, CUTOFF_WIDTH, STRUCTURES, frames_of_five_species, several_frames
from threadpoolctl import threadpool_limits

import castile
from castile import _core
from castile.descriptors import DESCRIPTORS, Gradients, Jacobian
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
# The full product takes all of VALUES and CENTERS, each on all frames in one batch. One test per choice of these:
SIZES = ["radial_basis", "n_max", "l_max"]
# These say how results are stored, not what they are: the others' results must be those of the first, bit for bit.
STORAGE = ["sparse"]
FRAMES = [*STRUCTURES, "several"]
CENTERS = ["all", "indices", "species"]
FACTORS = {
    "descriptor": [cls.__name__ for cls in DESCRIPTORS],
    "frames": FRAMES,
    "centers": CENTERS,
    **VALUES,
}


def varied(cls):
    return [name for name in VALUES if name in cls._get_param_names()]


def make_frames(name):
    return several_frames() if name == "several" else [STRUCTURES[name]()]


def make_centers(choice, frames):
    """Centers per frame: all; every other atom, backwards; the atoms of the species that is found first."""
    if choice == "all":
        return None
    if choice == "indices":
        return [np.arange(len(atoms))[::-2] for atoms in frames]
    return [[frames[0].get_chemical_symbols()[0]]] * len(frames)


def make_descriptor(case):
    classes = {cls.__name__: cls for cls in DESCRIPTORS}
    cls = classes[case["descriptor"]]
    options = {name: case[name] for name in varied(cls)}
    return cls(cutoff=CUTOFF, cutoff_width=CUTOFF_WIDTH, sigma=0.5, **options)


def check(case):
    frames = make_frames(case["frames"])
    assert_gradients_agree(make_descriptor(case).fit(frames), frames, make_centers(case["centers"], frames))


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


# ---------------------------------------------------------------- the full product


def choices(names):
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(VALUES[name] for name in names))]


def parts_of_the_product():
    """One test per descriptor and choice of sizes."""
    return [(cls, sizes) for cls in DESCRIPTORS for sizes in choices([name for name in SIZES if name in varied(cls)])]


def cases_by_tables(cls, sizes):
    """Lists of cases, the storage changing fastest; those of one list share the compiled descriptor, which is slow to
    make: it tabulates the radial functions."""
    rest = [name for name in varied(cls) if name not in (*SIZES, *STORAGE)]
    for options in choices(rest):
        shared = {"descriptor": cls.__name__, **sizes, **options}
        yield [{**shared, "centers": centers, **stored} for centers in CENTERS for stored in choices(STORAGE)]


@functools.cache
def batch():
    return Batch.of(frames_of_five_species())


def failures_of(cases):
    """Check one case fully for each kind of centers; other storages must give the same, bit for bit."""
    failures = []
    frames = batch().frames
    for kind, twins in itertools.groupby(cases, lambda case: case["centers"]):
        centers, expected = make_centers(kind, frames), None
        for case in twins:
            try:
                descriptor = make_descriptor(case).fit(frames)
                if expected is None:
                    expected = assert_derivatives_agree(descriptor, batch(), centers)
                else:
                    assert_same_derivatives(Derivatives.of(descriptor, batch(), centers), expected)
            except Exception as error:
                failures.append(f"{case}: {error!r}")
    return failures


def work_on_one_core():
    castile.set_num_threads(1)
    threadpool_limits(1, user_api="blas")


@pytest.fixture(scope="module")
def workers():
    """A process per core: the calls are so short that Python and the tables, not the core's threads, take the time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(castile.num_threads(), context, initializer=work_on_one_core) as pool:
        yield pool


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_the_parts_make_the_full_product(cls):
    """Of all values and centers; each case then takes all frames."""
    names = [*varied(cls), "centers"]
    lists = [cases for part, sizes in parts_of_the_product() if part is cls for cases in cases_by_tables(cls, sizes)]
    found = [tuple(case[name] for name in names) for case in itertools.chain(*lists)]
    assert len(found) == len(set(found))
    assert set(found) == set(itertools.product(*({**VALUES, "centers": CENTERS}[name] for name in names)))


def slightly_wrong(result):
    """Change one part of it by one part in a million."""
    factor = 1 + 1e-6
    if isinstance(result, Gradients):
        return replace(result, strain=factor * result.strain)
    if isinstance(result, Jacobian):
        result.groups[-1].values[:] *= factor
        return result
    return factor * result


@pytest.mark.parametrize("method", ["transform", "vjp", "jvp", "jacobian"])
def test_the_full_product_would_name_exactly_the_cases_that_are_wrong(method, monkeypatch):
    cls, sizes = DESCRIPTORS[0], {name: VALUES[name][len(VALUES[name]) // 2] for name in SIZES}
    right = getattr(cls, method)

    def wrong_for_one_value(self, *args, **kwargs):
        result = right(self, *args, **kwargs)
        return slightly_wrong(result) if self.average == "inner" else result

    monkeypatch.setattr(cls, method, wrong_for_one_value)
    lists = {cases[0]["average"]: cases for cases in cases_by_tables(cls, sizes)}
    failures = [failure.partition("}")[0] + "}" for cases in lists.values() for failure in failures_of(cases)]
    assert failures == [str(case) for case in lists["inner"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "sizes"),
    [pytest.param(cls, sizes, id=f"{cls.__name__}-{label(sizes)}") for cls, sizes in parts_of_the_product()],
)
def test_gradients_agree_for_the_full_product_of_options(cls, sizes, workers):
    failures = list(itertools.chain(*workers.map(failures_of, cases_by_tables(cls, sizes))))
    if failures:
        pytest.fail(f"{len(failures)} cases, the first of them:\n" + "\n".join(failures[:50]), pytrace=False)
