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
from options import EDGES, FIXED, VALUES, make_descriptor, varied
from pairwise import (
    CENTERS,
    CLASSES,
    FACTORS,
    all_pairs,
    cases_with_all_triples,
    label,
    make_centers,
    make_frames,
    pairs_of,
    pairwise_cases,
    without,
)
from threadpoolctl import threadpool_limits

import castile
from castile.descriptors import DESCRIPTORS, Gradients, Jacobian
from castile.neighbors import neighbor_list

# All values of all factors against each other are too many to try: what a neighbor adds to the coefficients, and what
# becomes of these, are stages that meet in the coefficients and their derivatives alone, so each has a product of its
# own, with the other factors at their first value. Keys: the factors that one test is made for each choice of.
PRODUCTS = {
    ("n_max", "l_max"): [
        "cutoff_function",
        "center_weight",
        "accuracy",
        "average",
        "normalize",
        "sparse",
        "centers",
    ],
    ("radial_basis", "sigma"): [
        "cutoff",
        "cutoff_function",
        "neighbor_radius",
        "density_weighting",
        "species_weights",
        "center_weight",
        "n_primitives",
    ],
    ("degrees", "neighbor_distance"): ["cutoff", "center_weight", "average", "normalize", "sparse", "centers"],
    ("degree", "most_species", "species_degrees"): ["center_weight", "average", "sparse", "centers"],
    ("compression",): ["n_primitives", "center_weight", "average", "normalize", "sparse", "centers"],
}
# These say how results are stored, not what they are: the others' results must be those of the first, bit for bit.
STORAGE = ["sparse"]
# Of the product of all factors at once; every triple of values is in it.
SAMPLE_PARTS, CASES_PER_PART = 12, 100
PAIRWISE = pairwise_cases(FACTORS)


def check(case):
    frames = make_frames(case["frames"])
    descriptor = make_descriptor(CLASSES[case["descriptor"]], case, frames)
    assert_gradients_agree(descriptor.fit(frames), frames, make_centers(case["centers"], frames))


def test_the_cases_cover_all_pairs_of_options():
    covered = set().union(*(pairs_of(case) for case in PAIRWISE))
    assert covered == all_pairs(FACTORS)


@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_every_parameter_of_every_descriptor_is_varied_or_named(cls):
    assert set(cls._get_param_names()) <= set(VALUES) | set(FIXED)


@pytest.mark.parametrize("atoms", [make() for make in STRUCTURES.values()], ids=list(STRUCTURES))
def test_structures_keep_clear_of_the_cutoff(atoms):
    d = neighbor_list("d", atoms, max(EDGES) + 0.1)
    assert (d < CUTOFF).any()
    for edge in EDGES:
        assert np.abs(d - edge).min() > 1e-3


@pytest.mark.parametrize("case", PAIRWISE, ids=label)
def test_gradients_agree_with_central_differences(case):
    check(case)


@pytest.mark.parametrize("cls", DESCRIPTORS)
@pytest.mark.parametrize(("n_max", "l_max"), [(2, 14), (16, 3), (5, 10)])
def test_gradients_agree_at_large_sizes(cls, n_max, l_max):
    frames = [STRUCTURES["wire"]()]
    # Three factors with a degree that has the highest n, and twice the highest l: without it there are many more.
    sizes = {"n_max": n_max, "l_max": l_max, "degree": max(n_max + 2, 2 * l_max + 3)}
    sizes = {name: value for name, value in sizes.items() if name in cls._get_param_names()}
    descriptor = cls(cutoff=CUTOFF, cutoff_width=CUTOFF_WIDTH, sigma=0.4, **sizes)
    assert_gradients_agree(descriptor.fit(frames), frames)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", VALUES["average"])
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_float32_agrees_with_float64(cls, average, normalize):
    """To 1e-5 of the largest entry, for values and all gradients; more of products of several coefficients."""
    frames = several_frames()
    bound = 5e-5 if cls is castile.Products else 1e-5
    options = {"cutoff": CUTOFF, "sigma": 0.5, "average": average, "normalize": normalize}
    double = cls(**options).fit(frames)
    single = cls(**options, dtype="float32").fit(frames)
    X = double.transform(frames)
    assert single.transform(frames).dtype == np.float32
    assert_close(single.transform(frames), X, bound, what="values")
    sparse = cls(**options, dtype="float32", sparse=True).fit_transform(frames)
    assert sparse.dtype == np.float32
    assert np.array_equal(sparse.toarray(), single.transform(frames))

    rng = np.random.default_rng(0)
    n_atoms = sum(map(len, frames))
    velocities, rates = rng.normal(size=(n_atoms, 3)), rng.normal(size=(len(frames), 3, 3))
    t = single.jvp(frames, velocities, rates)
    assert t.dtype == np.float32
    assert_close(t, double.jvp(frames, velocities, rates), bound, what="jvp")
    cotangent = rng.normal(size=X.shape)
    g, expected = single.vjp(frames, cotangent), double.vjp(frames, cotangent)
    assert g.positions.dtype == g.strain.dtype == np.float64
    assert_close(g.positions, expected.positions, bound, what="vjp, positions")
    assert_close(g.strain, expected.strain, bound, what="vjp, strain")
    J, expected = single.jacobian(frames), double.jacobian(frames)
    assert {group.values.dtype for group in J.groups} == {J.strain.dtype} == {np.dtype(np.float32)}
    assert_close(J.to_dense(), expected.to_dense(), bound, what="Jacobian")
    assert_close(J.strain, expected.strain, bound, what="Jacobian, strain")


# ---------------------------------------------------------------- the full product


def choices(names):
    values = {**VALUES, "centers": CENTERS}
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*(values[name] for name in names))]


def parts_of_the_product():
    """One test per descriptor and choice of the factors that name a product."""
    return [
        (cls, names, split)
        for cls in DESCRIPTORS
        for names in PRODUCTS
        for split in choices([name for name in names if name in varied(cls)])
    ]


def factors_of_product(cls, names):
    """The other factors of a product that a descriptor has."""
    return [name for name in PRODUCTS[names] if name in (*varied(cls), "centers")]


def cases_by_tables(cls, names, split):
    """Lists of cases, the storage changing fastest; those of one list share the compiled descriptor, which is slow to
    make: it tabulates the radial functions."""
    fast = ("centers", *STORAGE)
    rest = [name for name in factors_of_product(cls, names) if name not in fast]
    default = {name: values[0] for name, values in VALUES.items()}
    innermost = choices([name for name in fast if name in factors_of_product(cls, names)])
    for options in choices(rest):
        shared = {"descriptor": cls.__name__, **default, "centers": CENTERS[0], **split, **options}
        yield [{**shared, **stored} for stored in innermost]


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
                descriptor = make_descriptor(CLASSES[case["descriptor"]], case, frames).fit(frames)
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


def fail_with(failures):
    failures = list(failures)
    if failures:
        pytest.fail(f"{len(failures)} cases, the first of them:\n" + "\n".join(failures[:50]), pytrace=False)


@pytest.mark.parametrize("names", PRODUCTS)
@pytest.mark.parametrize("cls", DESCRIPTORS)
def test_the_parts_make_the_full_product(cls, names):
    """Of all values of its factors; each case then takes all frames."""
    factors = [*(name for name in names if name in varied(cls)), *factors_of_product(cls, names)]
    parts = [(names, split) for part, own, split in parts_of_the_product() if part is cls and own == names]
    lists = [cases for own, split in parts for cases in cases_by_tables(cls, own, split)]
    found = [tuple(case[name] for name in factors) for case in itertools.chain(*lists)]
    assert len(found) == len(set(found))
    assert set(found) == {tuple(choice.values()) for choice in choices(factors)}


def test_every_factor_is_part_of_a_product():
    assert {name for names, others in PRODUCTS.items() for name in (*names, *others)} == {*VALUES, "centers"}


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
    cls, names = DESCRIPTORS[0], ("n_max", "l_max")
    sizes = {name: VALUES[name][0] for name in names}
    right = getattr(cls, method)

    def wrong_for_one_value(self, *args, **kwargs):
        result = right(self, *args, **kwargs)
        return slightly_wrong(result) if self.average == "inner" else result

    monkeypatch.setattr(cls, method, wrong_for_one_value)
    lists = {cases[0]["average"]: cases for cases in cases_by_tables(cls, names, sizes)}
    failures = [failure.partition("}")[0] + "}" for cases in lists.values() for failure in failures_of(cases)]
    assert failures == [str(case) for case in lists["inner"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "names", "split"),
    [
        pytest.param(cls, names, split, id=f"{cls.__name__}-{label(split) or names[0]}")
        for cls, names, split in parts_of_the_product()
    ],
)
def test_gradients_agree_for_the_full_product_of_options(cls, names, split, workers):
    fail_with(itertools.chain(*workers.map(failures_of, cases_by_tables(cls, names, split))))


# ---------------------------------------------------------------- a sample of the product of all factors


@functools.cache
def sample():
    return cases_with_all_triples(without("frames"), SAMPLE_PARTS * CASES_PER_PART)


@pytest.mark.slow
def test_the_sample_holds_every_triple_of_options():
    factors = without("frames")
    found = set().union(*(itertools.combinations(case.items(), 3) for case in sample()))
    assert len(sample()) == len(set(map(label, sample())))
    for names in itertools.combinations(factors, 3):
        for values in itertools.product(*(factors[name] for name in names)):
            assert tuple(zip(names, values, strict=True)) in found


@pytest.mark.slow
@pytest.mark.parametrize("part", range(SAMPLE_PARTS))
def test_gradients_agree_for_a_sample_of_all_options_together(part, workers):
    fail_with(itertools.chain(*workers.map(failures_of, ([case] for case in sample()[part::SAMPLE_PARTS]))))
