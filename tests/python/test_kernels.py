"""Environment kernels and their sums to structure kernels."""

import numpy as np
import pytest
import scipy.sparse
from bars import record_advances, shown
from hypothesis import given, settings
from hypothesis import strategies as st

import castile
from castile.errors import InputError, InputTypeError, MemoryLimitError
from castile.kernels import average_kernel, soap_kernel, species_kernel

SAMPLE = np.dtype([("frame", np.int64), ("atom", np.int64), ("species", "U2")])


def random_rows(n, k, seed=0):
    return np.random.default_rng(seed).random((n, k))


def reference_kernel(X, Y, zeta, normalize=True):
    """Plain sums in extended precision."""
    X, Y = (np.asarray(rows, dtype=np.longdouble) for rows in (X, Y))
    base = np.einsum("ik,jk->ij", X, Y)
    if normalize:
        norms = [np.sqrt(np.einsum("ik,ik->i", rows, rows)) for rows in (X, Y)]
        scale = norms[0][:, None] * norms[1]
        base = np.divide(base, scale, out=np.zeros_like(base), where=scale > 0)
    if zeta != int(zeta):
        base = np.maximum(base, 0)
    return base ** np.longdouble(zeta)


def reference_sums(K, groups_X, groups_Y):
    labels_X, labels_Y = (list(dict.fromkeys(np.asarray(g).tolist())) for g in (groups_X, groups_Y))
    return np.array(
        [[K[np.ix_(groups_X == a, groups_Y == b)].sum() for b in labels_Y] for a in labels_X],
        dtype=np.float64,
    )


@pytest.mark.parametrize("zeta", [1, 2, 3, 4, 8, 0.5, 1.5])
@pytest.mark.parametrize("normalize", [True, False])
def test_kernel_equals_the_reference(zeta, normalize):
    X = np.random.default_rng(1).normal(size=(67, 31))
    Y = np.random.default_rng(2).normal(size=(45, 31))
    expected = reference_kernel(X, Y, zeta, normalize).astype(float)
    K = soap_kernel(X, Y, zeta, normalize)
    np.testing.assert_allclose(K, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 60),
    m=st.integers(1, 60),
    k=st.integers(1, 300),
    seed=st.integers(0, 2**31),
)
def test_kernel_equals_the_reference_for_any_shape(n, m, k, seed):
    X, Y = random_rows(n, k, seed), random_rows(m, k, seed + 1)
    K = soap_kernel(X, Y, 3)
    np.testing.assert_allclose(K, reference_kernel(X, Y, 3).astype(float), rtol=1e-13)


def test_kernel_is_symmetric_with_unit_diagonal_and_positive_semidefinite():
    X = random_rows(150, 20)
    K = soap_kernel(X, zeta=3)
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_allclose(np.diag(K), 1.0, rtol=1e-14)
    assert np.linalg.eigvalsh(K).min() > -1e-12


def test_one_argument_has_the_bits_of_two():
    X = random_rows(500, 40)
    np.testing.assert_array_equal(soap_kernel(X), soap_kernel(X, X.copy()))


def test_kernel_follows_permutations_of_rows():
    X = random_rows(200, 33)
    order = np.random.default_rng(3).permutation(200)
    np.testing.assert_array_equal(soap_kernel(X[order]), soap_kernel(X)[np.ix_(order, order)])


@pytest.mark.parametrize("zeta", [1, 2, 5, 2.5])
def test_bits_do_not_depend_on_threads_or_batches(zeta):
    X, Y = random_rows(433, 301), random_rows(277, 301, 1)
    with castile.threads(1):
        whole = soap_kernel(X, Y, zeta)
    for n in (2, 4):
        with castile.threads(n):
            np.testing.assert_array_equal(soap_kernel(X, Y, zeta), whole)
    for size in (1, 7, 13, 100):
        parts = [soap_kernel(X[i : i + size], Y, zeta) for i in range(0, len(X), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_scaling_a_row_does_not_change_the_normalized_kernel():
    X = random_rows(20, 9)
    factors = np.array([1e-200, 1e200, 1e-3, 7.0] * 5)
    np.testing.assert_allclose(soap_kernel(X * factors[:, None]), soap_kernel(X), rtol=1e-13)


def test_rows_of_zeros_have_zero_kernels():
    X = random_rows(5, 4)
    X[2] = 0.0
    K = soap_kernel(X, zeta=0.5)
    assert not K[2].any()
    assert not K[:, 2].any()
    assert K[0, 1] > 0


def test_negative_products_count_as_zero_for_real_powers():
    X = np.array([[1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(soap_kernel(X, zeta=1.5), np.eye(2))
    np.testing.assert_array_equal(soap_kernel(X, zeta=3), [[1, -1], [-1, 1]])


def test_arguments_are_not_modified_and_other_dtypes_and_layouts_are_taken():
    X = random_rows(30, 8).astype(np.float32)
    before = X.copy()
    K = soap_kernel(X)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(K, soap_kernel(X.astype(float)))
    np.testing.assert_array_equal(K, soap_kernel(np.asfortranarray(X)))
    np.testing.assert_array_equal(K, soap_kernel(X.tolist()))


@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_sparse_rows_have_the_bits_of_dense_ones(form, monkeypatch):
    monkeypatch.setattr("castile.kernels._blocks._BLOCK_BYTES", 1)  # blocks of 64 rows
    X = random_rows(300, 50) * (random_rows(300, 50, 1) > 0.7)
    Y = random_rows(130, 50, 2)
    groups = np.arange(300) // 7
    np.testing.assert_array_equal(soap_kernel(form(X)), soap_kernel(X))
    np.testing.assert_array_equal(soap_kernel(form(X), Y), soap_kernel(X, Y))
    np.testing.assert_array_equal(soap_kernel(Y, form(X)), soap_kernel(Y, X))
    np.testing.assert_array_equal(average_kernel(form(X), groups), average_kernel(X, groups))
    np.testing.assert_array_equal(
        average_kernel(form(X), groups, form(Y), np.arange(130) // 100),
        average_kernel(X, groups, Y, np.arange(130) // 100),
    )


# Structure kernels.


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_structure_kernel_is_the_mean_over_pairs(reduction):
    rng = np.random.default_rng(4)
    X, Y = random_rows(210, 12), random_rows(90, 12, 1)
    groups_X, groups_Y = rng.integers(0, 11, 210), rng.integers(0, 4, 90)
    expected = reference_sums(reference_kernel(X, Y, 2), groups_X, groups_Y)
    if reduction == "mean":
        ones = np.ones((210, 90))
        expected /= reference_sums(ones, groups_X, groups_Y)
    K = average_kernel(X, groups_X, Y, groups_Y, reduction=reduction)
    np.testing.assert_allclose(K, expected, rtol=1e-13)


def test_structures_come_in_the_order_of_first_appearance():
    X = np.diag([1.0, 2.0, 3.0])
    K = average_kernel(X, ["z", "a", "z"], X, ["m", "c", "b"], reduction="sum")
    np.testing.assert_allclose(K, [[1, 0, 1], [0, 1, 0]], atol=1e-15)


def test_structure_kernel_is_symmetric_and_positive_semidefinite():
    X, groups = random_rows(400, 10), np.random.default_rng(5).integers(0, 40, 400)
    K = average_kernel(X, groups)
    np.testing.assert_array_equal(K, K.T)
    assert np.linalg.eigvalsh(K).min() > -1e-13
    np.testing.assert_allclose(average_kernel(X, groups, X.copy(), groups), K, rtol=1e-14)


def test_structure_kernel_bits_do_not_depend_on_threads_or_other_structures():
    X, groups = random_rows(700, 40), np.arange(700) // 9
    Y, groups_Y = random_rows(450, 40, 1), np.arange(450) // 200
    with castile.threads(1):
        whole = average_kernel(X, groups, Y, groups_Y)
        own = average_kernel(X, groups)
    for n in (2, 4):
        with castile.threads(n):
            np.testing.assert_array_equal(average_kernel(X, groups, Y, groups_Y), whole)
            np.testing.assert_array_equal(average_kernel(X, groups), own)
    some = np.isin(groups, [3, 17, 60])
    np.testing.assert_array_equal(average_kernel(X[some], groups[some], Y, groups_Y), whole[[3, 17, 60]])
    np.testing.assert_array_equal(average_kernel(X, groups, Y[groups_Y == 1], groups_Y[groups_Y == 1]), whole[:, [1]])


def test_interleaved_groups_equal_sorted_ones():
    X = random_rows(100, 6)
    groups = np.random.default_rng(6).integers(0, 5, 100)
    groups[:5] = np.arange(5)
    order = np.argsort(groups, kind="stable")
    np.testing.assert_array_equal(average_kernel(X, groups), average_kernel(X[order], groups[order]))


def test_unit_diagonal():
    X, groups = random_rows(60, 7), np.arange(60) // 10
    K = average_kernel(X, groups, reduction="sum")
    expected = K / np.sqrt(np.outer(np.diag(K), np.diag(K)))
    np.testing.assert_allclose(average_kernel(X, groups, unit_diagonal=True), expected, rtol=1e-13)
    other = average_kernel(X, groups, X[:30].copy(), groups[:30], unit_diagonal=True)
    np.testing.assert_allclose(other, expected[:, :3], rtol=1e-13)


def test_unit_diagonal_keeps_structures_without_a_kernel_at_zero():
    X = np.array([[0.0, 0.0], [1.0, 2.0]])
    K = average_kernel(X, [0, 1], unit_diagonal=True)
    np.testing.assert_array_equal(K, [[0.0, 0.0], [0.0, 1.0]])


def samples_of(groups, species):
    samples = np.zeros(len(groups), dtype=SAMPLE)
    samples["frame"], samples["species"] = groups, species
    return samples


def test_species_kernel_compares_like_centers_only():
    rng = np.random.default_rng(7)
    X, Y = random_rows(80, 9), random_rows(50, 9, 1)
    samples_X = samples_of(np.arange(80) // 8, rng.choice(["Na", "Cl", "K"], 80))
    samples_Y = samples_of(np.arange(50) // 10, rng.choice(["Na", "Br"], 50))
    like = samples_X["species"][:, None] == samples_Y["species"]
    expected = reference_sums(reference_kernel(X, Y, 4) * like, samples_X["frame"], samples_Y["frame"])
    expected /= 8 * 10
    K = species_kernel(X, samples_X, Y, samples_Y, zeta=4)
    np.testing.assert_allclose(K, expected, rtol=1e-13, atol=1e-16)
    by_label = species_kernel(
        X,
        samples_X["frame"],
        Y,
        samples_Y["frame"],
        species=samples_X["species"],
        species_Y=samples_Y["species"],
        zeta=4,
    )
    np.testing.assert_array_equal(by_label, K)


def test_species_kernel_of_one_species_is_the_average_kernel():
    X, groups = random_rows(40, 5), np.arange(40) // 4
    samples = samples_of(groups, ["Si"] * 40)
    np.testing.assert_array_equal(species_kernel(X, samples), average_kernel(X, groups))
    np.testing.assert_array_equal(average_kernel(X, samples), average_kernel(X, groups))


def test_species_kernel_is_positive_semidefinite_with_unit_diagonal():
    rng = np.random.default_rng(8)
    samples = samples_of(np.arange(90) // 6, rng.choice(["Ga", "As"], 90))
    K = species_kernel(random_rows(90, 6), samples, unit_diagonal=True)
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_array_equal(np.diag(K), 1.0)
    assert np.linalg.eigvalsh(K).min() > -1e-13


# Structures without rows.


def with_gaps():
    """Rows of 9 structures, of which 0, 4 and 8 have none, and the same without the gaps."""
    rng = np.random.default_rng(9)
    places = rng.permutation(np.repeat([1, 2, 3, 5, 6, 7], [4, 1, 7, 2, 3, 90]))
    return random_rows(len(places), 8, 3), places, rng.choice(["O", "H"], len(places))


PRESENT = np.array([1, 2, 3, 5, 6, 7])


@pytest.mark.parametrize("options", [{}, {"reduction": "sum"}, {"unit_diagonal": True}], ids=str)
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("progress", [False, True])
def test_structures_without_rows_keep_their_places_with_a_kernel_of_zero(options, form, progress, monkeypatch):
    monkeypatch.setattr("castile.kernels._blocks._BLOCK_PRODUCTS", 1)
    monkeypatch.setattr("castile.kernels._blocks._LEAST_ROWS", 5)
    X, places, species = with_gaps()
    order = np.argsort(places, kind="stable")  # labels then appear in the order of the structures
    dense, labels, of_rows = X[order], places[order], species[order]
    expected = np.zeros((9, 9))
    expected[np.ix_(PRESENT, PRESENT)] = average_kernel(dense, labels, **options)
    np.testing.assert_array_equal(average_kernel(form(X), places, n_groups=9, progress=progress, **options), expected)
    expected[np.ix_(PRESENT, PRESENT)] = species_kernel(dense, labels, species=of_rows, **options)
    by_species = species_kernel(form(X), samples_of(places, species), n_groups=9, progress=progress, **options)
    np.testing.assert_array_equal(by_species, expected)


def test_either_side_may_have_structures_without_rows():
    X, places, species = with_gaps()
    Y, groups_Y = random_rows(12, 8), np.repeat([2, 0], 6)
    whole = average_kernel(X, places, Y, groups_Y, n_groups=9, n_groups_Y=4)
    np.testing.assert_array_equal(whole[:, [2, 0]], average_kernel(X, places, Y, groups_Y, n_groups=9))
    assert not whole[:, [1, 3]].any()
    assert whole[PRESENT][:, [0, 2]].all()
    options = {"species": species, "species_Y": ["H"] * 12, "n_groups": 9, "n_groups_Y": 4}
    assert not species_kernel(X, places, Y, groups_Y, **options)[:, [1, 3]].any()


def test_structures_may_have_no_rows_at_all():
    none = np.zeros((0, 3))
    np.testing.assert_array_equal(average_kernel(none, [], n_groups=2), np.zeros((2, 2)))
    np.testing.assert_array_equal(average_kernel(none, [], ROWS, [0] * 4, n_groups=2), np.zeros((2, 1)))
    samples = samples_of([], [])
    np.testing.assert_array_equal(species_kernel(none, samples, n_groups=2, unit_diagonal=True), np.zeros((2, 2)))
    with pytest.raises(InputError, match="X must have at least one row"):
        average_kernel(none, [])


def test_numbers_of_structures_that_all_have_rows_change_nothing_but_their_order():
    X, groups = random_rows(30, 5), np.random.default_rng(1).permutation(np.arange(30) % 6)
    by_appearance = list(dict.fromkeys(groups.tolist()))
    by_place = average_kernel(X, groups, n_groups=6)
    expected = average_kernel(X, groups)  # which sums over the later structure first
    np.testing.assert_allclose(by_place[np.ix_(by_appearance, by_appearance)], expected, rtol=1e-14)


def test_samples_that_skip_a_frame_are_refused_unless_the_number_of_frames_is_given():
    samples = samples_of([0, 0, 2, 3], ["H"] * 4)
    message = r"hold no row of frame 1, but of frame 2: pass n_groups=len\(frames\).* or, .* {}\['frame'\] as labels"
    with pytest.raises(InputError, match="groups " + message.format("groups")):
        average_kernel(ROWS, samples)
    with pytest.raises(InputError, match="samples " + message.format("samples")):
        species_kernel(ROWS, samples)
    with pytest.raises(InputError, match=r"samples_Y hold no row of frame 1, .*pass n_groups_Y=len\(frames\)"):
        species_kernel(ROWS, samples_of([0] * 4, ["H"] * 4), ROWS, samples)
    assert average_kernel(ROWS, samples, n_groups=4).shape == (4, 4)
    assert average_kernel(ROWS, samples["frame"]).shape == (3, 3)
    assert average_kernel(ROWS, samples_of([1, 0, 2, 1], ["H"] * 4)).shape == (3, 3)
    named = np.array([("b",), ("a",), ("b",), ("c",)], dtype=[("frame", "U1")])
    assert average_kernel(ROWS, named).shape == (3, 3)


# Progress.

KERNELS = {
    "soap_kernel": lambda X, Y, **options: soap_kernel(X, zeta=2.5, **options),
    "soap_kernel, two sides": lambda X, Y, **options: soap_kernel(X, Y, zeta=3, **options),
    "average_kernel": lambda X, Y, **options: average_kernel(X, np.arange(len(X)) // 9, **options),
    "average_kernel, two sides": lambda X, Y, **options: average_kernel(
        X, np.arange(len(X)) // 9, Y, np.arange(len(Y)) // 90, unit_diagonal=True, **options
    ),
    "species_kernel": lambda X, Y, **options: species_kernel(
        X, np.arange(len(X)) // 9, species=np.arange(len(X)) % 2, **options
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_progress_bars_move_and_do_not_change_bits(name, monkeypatch, capsys):
    X, Y = np.random.default_rng(0).normal(size=(433, 30)), random_rows(277, 30, 1)
    with castile.threads(1):
        expected = KERNELS[name](X, Y)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("castile.kernels._blocks._BLOCK_PRODUCTS", 1)  # blocks of 64 rows
    weights = record_advances(monkeypatch)
    for n in (1, 2, 4):
        with castile.threads(n):
            assert KERNELS[name](X, Y, progress=True).tobytes() == expected.tobytes()
    assert len(weights) > 3 * 6
    n_pairs = 433 * 277 if "two" in name else 433 * 434 // 2
    text = shown(capsys.readouterr())
    assert "kernel" in text
    if "species" in name:
        n_pairs = 217 * 218 // 2  # of the one species
        assert "structurekernel,1" in text
    assert f"{n_pairs}/{n_pairs}" in text


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_kernels_that_do_not_fit_into_memory_are_refused(form, monkeypatch):
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match="the 4 x 4 kernel matrix would take 128 B"):
        soap_kernel(form(ROWS))
    with pytest.raises(MemoryLimitError, match="the 4 x 4 kernel matrix"):
        average_kernel(form(ROWS), np.arange(4))


# Errors.

ROWS = random_rows(4, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0],), r"X must have shape \(n_rows, n_features\), got \(2,\); a single row is"),
        ((np.zeros((0, 3)),), r"X must have at least one row and one column, got \(0, 3\)"),
        (([[1.0, np.nan]],), r"X must be finite .* X\[0, 1\] is NaN; remove"),
        (([[np.inf, 1.0]],), r"X\[0, 0\] is inf"),
        ((scipy.sparse.csr_array([[0, 0], [0, -np.inf]]),), r"X\[1, 1\] is -inf"),
        ((ROWS, ROWS * np.nan), r"Y must be finite"),
        ((ROWS, ROWS[:, :2]), r"same number of columns, got 3 and 2; compute both"),
        ((ROWS, None, 0), r"zeta must be a finite number above 0, got 0"),
        ((ROWS, None, -2.5), r"zeta must be a finite number above 0, got -2.5"),
        ((ROWS, None, np.nan), r"zeta must be a finite number above 0, got nan"),
    ],
)
def test_soap_kernel_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        soap_kernel(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([["a", "b"]],), "X must be an array of real numbers"),
        (([[1j, 2.0]],), "X must be an array of real numbers, got complex ones"),
        ((ROWS, None, "2"), "zeta must be a number above 0, got '2'"),
        ((ROWS, None, True), "zeta must be a number above 0, got True"),
    ],
)
def test_soap_kernel_refuses_types(arguments, message):
    with pytest.raises(InputTypeError, match=message):
        soap_kernel(*arguments)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((ROWS, [0, 1]), {}, r"groups must hold one label per row, shape \(4,\), got shape \(2,\)"),
        ((ROWS, [0, 1, np.nan, 2]), {}, r"groups must not hold NaN, but groups\[2\] is NaN"),
        ((ROWS, np.zeros(4, dtype=[("a", int)])), {}, r"groups .* must have a field frame"),
        ((ROWS, [0] * 4, ROWS), {}, "groups_Y must be given with Y"),
        ((ROWS, [0] * 4, None, [0] * 4), {}, "groups_Y was given without Y"),
        ((ROWS, [0] * 4, ROWS, [0] * 3), {}, "groups_Y must hold one label per row"),
        ((ROWS, [0] * 4, ROWS[:, :1], [0] * 4), {}, "same number of columns"),
        ((ROWS, [0] * 4), {"n_groups_Y": 2}, "n_groups_Y was given without Y"),
        ((ROWS, [0, 1, 2, 3]), {"n_groups": 3}, r"between 0 and 2 with n_groups=3, but groups\[3\] is 3; pass n_gr"),
        ((ROWS, [0, -1, 2, 3]), {"n_groups": 4}, r"groups\[1\] is -1; pass n_groups=len\(frames\), or leave it out"),
        ((ROWS, [0] * 4), {"n_groups": 0}, "n_groups must be 1 or more, the number of structures, got 0"),
        ((ROWS, [0] * 3), {"n_groups": 4}, r"groups must hold one label per row, shape \(4,\)"),
        ((ROWS, [0] * 4), {"reduction": "max"}, "reduction must be 'mean' or 'sum', got 'max'"),
        ((ROWS, [0] * 4), {"zeta": -1}, "zeta must be"),
    ],
)
def test_average_kernel_refuses(arguments, options, message):
    with pytest.raises(InputError, match=message):
        average_kernel(*arguments, **options)


def test_labels_of_mixed_types_are_refused():
    with pytest.raises(InputTypeError, match="groups must hold labels of one sortable type"):
        average_kernel(ROWS, np.array([0, "a", None, 1], dtype=object))


@pytest.mark.parametrize(
    ("groups", "n_groups", "message"),
    [
        ([0] * 4, 2.0, "n_groups must be an integer, the number of structures, got 2.0"),
        ([0] * 4, True, "n_groups must be an integer"),
        (["a"] * 4, 2, r"groups must be integers with n_groups, .* got .*'a'.*; leave n_groups out for other labels"),
        ([0.0, 1.0, 1.0, 1.0], 2, "groups must be integers with n_groups"),
        ([True] * 4, 2, "groups must be integers with n_groups"),
    ],
)
def test_numbers_of_structures_of_a_wrong_type_are_refused(groups, n_groups, message):
    with pytest.raises(InputTypeError, match=message):
        average_kernel(ROWS, groups, n_groups=n_groups)


def test_species_kernel_refuses_missing_species():
    with pytest.raises(InputError, match="species must be given, one per row, or samples must"):
        species_kernel(ROWS, [0, 0, 1, 1])
    samples = samples_of([0] * 4, ["H"] * 4)
    with pytest.raises(InputError, match="species_Y must be given"):
        species_kernel(ROWS, samples, ROWS, [0] * 4)
    with pytest.raises(InputError, match=r"species must hold one species per row, shape \(4,\)"):
        species_kernel(ROWS, [0] * 4, species=["H"])
