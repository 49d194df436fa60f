"""Normal equations: posterior and evidence against formulas with the full covariance matrix."""

import pickle

import numpy as np
import pytest
import scipy.stats
from small_fits import NOISE, filled, gaussian_kernel, stacked, sums_of_kernels, whitened_rows

import castile
from castile.errors import InputError, InputTypeError, MemoryLimitError
from castile.models.force_field._normal import IllConditionedError, NormalEquations, Solution
from castile.models.force_field._triangular import TriangularState
from castile.models.force_field._whitening import DiagonalBlock, Whitening, kernel_block


def same_bits(a, b):
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.factor, b.factor)
    assert (a.log_evidence, a.condition, a.noise) == (b.log_evidence, b.condition, b.noise)


def test_mean_is_the_least_squares_solution():
    rows, targets = whitened_rows()
    A, y, sigmas = stacked(rows, targets, NOISE)
    solution = filled(NormalEquations(40), rows, targets).solve(NOISE)
    expected = np.linalg.lstsq(np.vstack([A / sigmas[:, None], np.eye(40)]), np.append(y / sigmas, np.zeros(40)))[0]
    np.testing.assert_allclose(solution.mean, expected, rtol=1e-11)
    H = (A / sigmas[:, None]).T @ (A / sigmas[:, None])
    np.testing.assert_allclose(solution.factor.T @ solution.factor, np.eye(40) + H, rtol=1e-11, atol=1e-8)
    assert 0.1 < solution.condition / np.linalg.cond(np.eye(40) + H, 1) < 1.01
    assert solution.noise == NOISE


@pytest.mark.parametrize("make", ["normal", "triangular"])
def test_predictions_are_those_of_the_sparse_gaussian_process(make):
    """Of the covariance Q = K_nM K_MM⁻¹ K_Mn plus noise, inverted as a whole, with a linear part beside it."""
    fit = sums_of_kernels(length=0.15)  # long ones would leave the plain formulas few digits
    std, stds = 1.7, np.array([0.5, 2.0])
    K = gaussian_kernel(fit.points, fit.points, 0.15)
    whitening = Whitening([kernel_block(K, std), DiagonalBlock(stds)])
    rng = np.random.default_rng(4)
    linear = {kind: rng.random((len(A), 2)) for kind, A in fit.rows.items()}
    targets = {kind: y + linear[kind] @ [0.3, -0.4] for kind, y in fit.targets.items()}
    whitened = {kind: whitening.whiten(np.hstack([A, linear[kind]])) for kind, A in fit.rows.items()}
    state = NormalEquations(32) if make == "normal" else TriangularState(32, NOISE)
    filled(state, whitened, targets)
    solution = state.solve(NOISE) if make == "normal" else state.solve()

    new = np.hstack([gaussian_kernel(rng.random((25, 2)), fit.points, 0.15), rng.random((25, 2))])
    A, y, sigmas = stacked({kind: np.hstack([fit.rows[kind], linear[kind]]) for kind in targets}, targets, NOISE)
    prior = np.zeros((32, 32))
    prior[:30, :30] = std**2 * np.linalg.inv(K + 1e-10 * np.eye(30))
    prior[[30, 31], [30, 31]] = stds**2
    total = A @ prior @ A.T + np.diag(sigmas**2)
    cross = new @ prior @ A.T
    mean = cross @ np.linalg.solve(total, y)
    covariance = new @ prior @ new.T - cross @ np.linalg.solve(total, cross.T)

    rows = whitening.whiten(new)
    np.testing.assert_allclose(rows @ solution.mean, mean, atol=1e-7)
    np.testing.assert_allclose(new @ whitening.coefficients(solution.mean), mean, atol=1e-6)
    np.testing.assert_allclose(solution.covariance(rows), covariance, atol=1e-7)
    np.testing.assert_allclose(solution.covariance(rows[:7], rows[5:]), covariance[:7, 5:], atol=1e-7)
    np.testing.assert_allclose(solution.standard_deviations(rows) ** 2, covariance.diagonal(), atol=1e-7)


@pytest.mark.parametrize("scale", [1.0, 0.1, 30.0])
@pytest.mark.parametrize("make", ["normal", "triangular"])
def test_evidence_is_the_density_of_the_targets(make, scale):
    rows, targets = whitened_rows(n_columns=20, n=(15, 60, 10))
    noise = {kind: scale * sigma for kind, sigma in NOISE.items()}
    A, y, sigmas = stacked(rows, targets, noise)
    expected = scipy.stats.multivariate_normal.logpdf(y, np.zeros(len(y)), A @ A.T + np.diag(sigmas**2))
    if make == "normal":
        state = filled(NormalEquations(20), rows, targets)
        assert state.log_evidence(noise) == pytest.approx(expected, rel=1e-9, abs=1e-6)
        assert state.log_evidence(noise) == state.solve(noise).log_evidence
    else:
        solution = filled(TriangularState(20, noise), rows, targets).solve()
        assert solution.log_evidence == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_gradient_of_the_evidence_is_its_difference():
    rows, targets = whitened_rows(n_columns=150)
    state = filled(NormalEquations(150), rows, targets)
    value, gradient = state.log_evidence_gradient(NOISE)
    assert value == state.log_evidence(NOISE)
    for kind in NOISE:
        at = [state.log_evidence({**NOISE, kind: NOISE[kind] * np.exp(h)}) for h in (1e-4, -1e-4)]
        assert gradient[kind] == pytest.approx((at[0] - at[1]) / 2e-4, rel=1e-5, abs=1e-4)


def test_the_gradient_leads_to_the_noise_of_the_data():
    rows, targets = whitened_rows(n_columns=30, n=(2000, 4000, 1500))
    state = filled(NormalEquations(30), rows, targets)
    noise = dict.fromkeys(NOISE, 1.0)
    for _ in range(15):
        _, gradient = state.log_evidence_gradient(noise)
        # d/dlog(sigma) = misfit - (n - γ), of which only the misfit scales with 1/sigma²
        noise = {kind: noise[kind] * np.sqrt(max(1 + gradient[kind] / len(rows[kind]), 0.01)) for kind in noise}
    for kind, sigma in NOISE.items():
        assert noise[kind] == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 1000])
def test_bits_do_not_depend_on_the_size_of_pieces_or_on_threads(size):
    rows, targets = whitened_rows(n_columns=33, n=(50, 1500, 513))
    expected = filled(NormalEquations(33), rows, targets).solve(NOISE)
    for threads in (1, 4):
        with castile.threads(threads):
            same_bits(filled(NormalEquations(33), rows, targets, size).solve(NOISE), expected)


def test_solving_in_between_changes_no_more_than_rounding():
    rows, targets = whitened_rows(n_columns=33, n=(50, 1500, 513))
    state = NormalEquations(33)
    for first in range(0, 1500, 200):
        for kind in rows:
            state.add(kind, rows[kind][first : first + 200], targets[kind][first : first + 200])
        state.solve(NOISE)
    expected = filled(NormalEquations(33), rows, targets).solve(NOISE)
    np.testing.assert_allclose(state.solve(NOISE).mean, expected.mean, rtol=1e-9)
    assert state.n_rows == {"energy": 50, "force": 1500, "stress": 513}


def test_solving_twice_gives_the_same_and_other_noise_another():
    rows, targets = whitened_rows()
    state = filled(NormalEquations(40), rows, targets)
    first = state.solve(NOISE)
    other = state.solve({**NOISE, "force": 3.0})
    assert not np.allclose(other.mean, first.mean, rtol=1e-12)
    same_bits(state.solve(NOISE), first)


def test_merging_is_associative_and_takes_in_all_rows():
    rows, targets = whitened_rows(n=(30, 2000, 40))
    parts = []
    for k in range(3):
        part = NormalEquations(40)
        for kind in rows if k < 2 else ["force"]:
            part.add(kind, rows[kind][k::3], targets[kind][k::3])
        parts.append(part)
    a, b, c = parts
    before = [pickle.dumps(part.solve(NOISE)) for part in parts]
    left, right = (a + b) + c, a + (b + c)
    np.testing.assert_allclose(left.solve(NOISE).mean, right.solve(NOISE).mean, rtol=1e-10)
    assert left.solve(NOISE).log_evidence == pytest.approx(right.solve(NOISE).log_evidence, rel=1e-11)
    assert left.n_rows == {"energy": 20, "force": 2000, "stress": 27}
    assert [pickle.dumps(part.solve(NOISE)) for part in parts] == before
    for kind in ("energy", "stress"):
        c.add(kind, rows[kind][2::3], targets[kind][2::3])
    whole = filled(NormalEquations(40), rows, targets).solve(NOISE)
    np.testing.assert_allclose((a + b + c).solve(NOISE).mean, whole.mean, rtol=1e-10)


def test_pickles_go_on_to_the_same_bits():
    rows, targets = whitened_rows(n=(50, 1500, 30))
    state = NormalEquations(40)
    state.notes["frames"] = 3
    state.add("force", rows["force"][:700], targets["force"][:700])
    again = pickle.loads(pickle.dumps(state))
    assert again.notes == {"frames": 3}
    again.add("force", rows["force"][700:], targets["force"][700:])
    expected = filled(NormalEquations(40), {"force": rows["force"]}, targets)
    same_bits(again.solve(NOISE), expected.solve(NOISE))
    same_bits(pickle.loads(pickle.dumps(expected.solve(NOISE))), expected.solve(NOISE))


def test_without_rows_the_posterior_is_the_prior():
    solution = NormalEquations(5).solve({})
    np.testing.assert_array_equal(solution.mean, np.zeros(5))
    np.testing.assert_array_equal(solution.factor, np.eye(5))
    assert solution.log_evidence == 0.0
    empty = NormalEquations(5)
    empty.add("energy", np.empty((0, 5)), [])
    assert empty.solve({"energy": 1.0}).noise == {}


def test_what_is_given_stays_as_it_is_and_may_be_of_any_kind():
    rows, targets = whitened_rows()
    state = NormalEquations(40, ["force"])
    A, y = rows["force"], targets["force"]
    copies = A.copy(), y.copy()
    state.add("force", A, y)
    np.testing.assert_array_equal(A, copies[0])
    np.testing.assert_array_equal(y, copies[1])
    other = NormalEquations(40, ["force"])
    other.add("force", np.asfortranarray(A), y.tolist())
    same_bits(other.solve(NOISE_OF_FORCE), state.solve(NOISE_OF_FORCE))


NOISE_OF_FORCE = {"force": 0.3}


def test_bits_of_an_uncertainty_depend_on_its_row_alone():
    rows, targets = whitened_rows(n_columns=200, n=(50, 300, 30))
    solution = filled(NormalEquations(200), rows, targets).solve(NOISE)
    new = np.random.default_rng(8).standard_normal((130, 200))
    whole = solution.standard_deviations(new)
    covariance = solution.covariance(new, new.copy())
    for size in (1, 7, 64):
        parts = [solution.standard_deviations(new[first : first + size]) for first in range(0, 130, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        parts = [solution.covariance(new[first : first + size], new) for first in range(0, 130, size)]
        np.testing.assert_array_equal(np.concatenate(parts), covariance)
    symmetric = solution.covariance(new)
    np.testing.assert_array_equal(symmetric, symmetric.T)
    np.testing.assert_allclose(symmetric, covariance, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(symmetric.diagonal(), whole**2, rtol=1e-12)
    assert solution.standard_deviations(new[:0]).shape == (0,)
    assert solution.covariance(new[:0]).shape == (0, 0)


def test_samples_have_the_posterior_mean_and_covariance():
    rows, targets = whitened_rows(n_columns=6, n=(4, 3, 2))
    solution = filled(NormalEquations(6), rows, targets).solve(NOISE)
    draws = solution.sample(40_000, seed=1)
    covariance = np.linalg.inv(solution.factor.T @ solution.factor)
    scale = np.sqrt(covariance.diagonal())
    np.testing.assert_allclose((draws.mean(axis=0) - solution.mean) / scale, 0.0, atol=0.025)
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.03)
    np.testing.assert_array_equal(solution.sample(7, seed=3), solution.sample(7, seed=3))
    assert not np.allclose(solution.sample(7, seed=3), solution.sample(7, seed=4))
    np.testing.assert_allclose(solution.sample(7, seed=3)[:2], solution.sample(2, seed=3), rtol=1e-9)


def test_a_solution_goes_through_arrays_and_json():
    rows, targets = whitened_rows()
    solution = filled(NormalEquations(40), rows, targets).solve(NOISE)
    metadata, arrays = solution.to_arrays()
    same_bits(Solution.from_arrays(metadata, arrays), solution)
    assert arrays["factor"].shape == (820,)
    for change in ({"mean": np.ones(3)}, {"factor": np.zeros(820)}, {"factor": np.full(820, np.nan)}):
        with pytest.raises(InputError):
            Solution.from_arrays(metadata, {**arrays, **change})
    for name in metadata:
        with pytest.raises(InputError, match="do not describe a solution"):
            Solution.from_arrays({key: value for key, value in metadata.items() if key != name}, arrays)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: s.add("dipole", np.ones((1, 4)), [0.0]),
            "kind must be one of 'energy', 'force', 'stress', got 'dip",
        ),
        (lambda s: s.add("force", np.ones((1, 3)), [0.0]), r"rows must have shape \(n_rows, 4\), got \(1, 3\)"),
        (lambda s: s.add("force", np.ones(4), [0.0]), r"rows must have shape \(n_rows, 4\), got \(4,\)"),
        (lambda s: s.add("force", np.ones((2, 4)), [0.0]), r"targets must have shape \(2,\), got \(1,\)"),
        (lambda s: s.add("force", np.ones((1, 4)), [[0.0]]), r"targets must have shape \(1,\), got \(1, 1\)"),
        (lambda s: s.add("force", np.full((1, 4), np.nan), [0.0]), r"rows must be finite, but rows\[0, 0\] is nan"),
        (lambda s: s.add("force", np.ones((1, 4)), [np.inf]), r"targets must be finite, but targets\[0\] is inf"),
        (lambda s: s.solve({"energy": 0.0}), r"noise\['energy'\] must be a standard deviation above 0 .*, got 0.0"),
        (lambda s: s.solve({"energy": -1.0}), r"noise\['energy'\] must be a standard deviation above 0"),
        (lambda s: s.solve({"energy": np.nan}), r"noise\['energy'\] must be a finite number"),
        (lambda s: s.solve({"energy": 1e-200}), r"noise\['energy'\] must be a standard deviation above 0 \(and within"),
        (lambda s: s.solve({"energy": 1.0, "dipole": 1.0}), "kind must be one of .*, got 'dipole'"),
        (lambda s: s.solve({"force": 1.0}), "noise must have a standard deviation for each .* but not for 'energy'"),
        (lambda s: s.merge(NormalEquations(5)), "states must be of the same columns and kinds"),
        (lambda s: s + NormalEquations(4, ["energy"]), "states must be of the same columns and kinds"),
        (lambda s: s.merge(s), "other must be another state"),
        (lambda s: NormalEquations(0), "n_columns must be 1 or more, got 0"),
        (lambda s: NormalEquations(3, []), "kinds must be different names, at least one"),
        (lambda s: NormalEquations(3, ["a", "a"]), "kinds must be different names"),
        (lambda s: s.solve({"energy": 1.0}).standard_deviations(np.ones((1, 3))), "rows must have shape"),
        (lambda s: s.solve({"energy": 1.0}).covariance(np.ones((1, 4)), np.ones((1, 3))), "other must have shape"),
        (lambda s: s.solve({"energy": 1.0}).sample(0), "n must be 1 or more"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(call, message):
    state = NormalEquations(4)
    state.add("energy", np.eye(4), np.ones(4))
    before = pickle.dumps(state.solve({"energy": 1.0}))
    with pytest.raises(InputError, match=message):
        call(state)
    assert pickle.dumps(state.solve({"energy": 1.0})) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.add("force", [["a"] * 4], [0.0]),
        lambda s: s.solve(0.1),
        lambda s: s.solve({"energy": "small"}),
        lambda s: s.merge(3),
    ],
)
def test_bad_types_are_named(call):
    state = NormalEquations(4)
    state.add("energy", np.eye(4), np.ones(4))
    with pytest.raises(InputTypeError):
        call(state)


def test_memory_is_asked_for(monkeypatch):
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match="the sums over force rows would take 128 B"):
        NormalEquations(4).add("force", np.eye(4), np.ones(4))
    with pytest.raises(MemoryLimitError, match="the solution would take"):
        NormalEquations(4).solve({})


def test_what_is_too_ill_conditioned_is_refused():
    state = NormalEquations(30)
    state.add("energy", np.random.default_rng(0).standard_normal((10, 30)), np.ones(10))
    with pytest.raises(IllConditionedError, match=r"condition number .*, at most 1e\+15\); raise the noise"):
        state.solve({"energy": 1e-8})
    state.solve({"energy": 1e-5})
