"""QR of all rows, where normal equations are near the end of their digits or beyond."""

import decimal
import pickle

import numpy as np
import pytest
from small_fits import NOISE, filled, gaussian_kernel, sums_of_kernels, whitened_rows

import castile
from castile.errors import InputError, InputTypeError
from castile.models.force_field._normal import IllConditionedError, NormalEquations
from castile.models.force_field._triangular import TriangularState
from castile.models.force_field._whitening import Whitening, kernel_block


def exact(A, y, sigma):
    """Return the posterior mean by elimination of the normal equations with 60 digits."""
    with decimal.localcontext(prec=60):
        scaled = as_decimals(np.column_stack([A, y])) / decimal.Decimal(sigma)
        n = A.shape[1]
        matrix = scaled[:, :n].T @ scaled
        matrix[np.arange(n), np.arange(n)] += decimal.Decimal(1)
        for k in range(n):
            matrix[k + 1 :] -= np.outer(matrix[k + 1 :, k] / matrix[k, k], matrix[k])
        mean = matrix[:, n].copy()
        for k in reversed(range(n)):
            mean[k] = (mean[k] - matrix[k, k + 1 : n] @ mean[k + 1 :]) / matrix[k, k]
        return mean.astype(float)


def as_decimals(array):
    return np.vectorize(decimal.Decimal, otypes=[object])(array)


def test_it_equals_normal_equations_where_these_are_good():
    rows, targets = whitened_rows()
    expected = filled(NormalEquations(40), rows, targets).solve(NOISE)
    solution = filled(TriangularState(40, NOISE), rows, targets, size=33).solve()
    np.testing.assert_allclose(solution.mean, expected.mean, rtol=1e-10)
    np.testing.assert_allclose(solution.factor, expected.factor, rtol=1e-9, atol=1e-9)
    # Normal equations are scaled to a unit diagonal and back, which costs a digit.
    assert solution.log_evidence == pytest.approx(expected.log_evidence, rel=1e-10)
    assert 0.01 < solution.condition / expected.condition < 100
    assert solution.noise == expected.noise


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 3e-6])
def test_nearly_singular_kernels_with_duplicates_up_to_the_largest_condition(noise):
    """Predictions of both agree with 60 digits; the condition number goes from 1e7 to 1e14."""
    fit = sums_of_kernels(n_points=25)
    points = np.concatenate([fit.points, fit.points[:8], fit.points[:4] + 1e-9])
    whitening = Whitening([kernel_block(gaussian_kernel(points, points), 1.0)])
    rng = np.random.default_rng(3)
    x = rng.random((200, 2))
    rows, targets = {"energy": whitening.whiten(gaussian_kernel(x, points))}, {"energy": np.sin(4 * x).sum(axis=1)}
    targets["energy"] += noise * rng.standard_normal(200)
    sigmas = {"energy": noise}
    expected = exact(rows["energy"], targets["energy"], noise)
    new = whitening.whiten(gaussian_kernel(rng.random((100, 2)), points))
    normal = filled(NormalEquations(37), rows, targets).solve(sigmas)
    assert normal.condition < 1e14
    triangular = filled(TriangularState(37, sigmas), rows, targets).solve()
    np.testing.assert_allclose(new @ normal.mean, new @ expected, atol=1e-7)
    np.testing.assert_allclose(new @ triangular.mean, new @ expected, atol=1e-9)
    np.testing.assert_allclose(normal.standard_deviations(new), triangular.standard_deviations(new), rtol=1e-3)


def test_priors_that_are_narrower_are_those_of_normal_equations():
    """As rows of the prior, and on the diagonal; the data determine fewer coefficients then."""
    rows, targets = whitened_rows()
    precision = np.repeat([1.0, 100.0], 20)
    expected = filled(NormalEquations(40), rows, targets).solve(NOISE, precision)
    solution = filled(TriangularState(40, NOISE), rows, targets, size=33).solve(precision)
    np.testing.assert_allclose(solution.mean, expected.mean, rtol=1e-9)
    np.testing.assert_allclose(solution.factor, expected.factor, rtol=1e-9, atol=1e-9)
    assert solution.log_evidence == pytest.approx(expected.log_evidence, rel=1e-10)
    P = np.diag(precision)
    H = expected.factor.T @ expected.factor - P
    determined = np.trace(np.linalg.solve(P + H, H))
    assert expected.effective_rank(precision) == pytest.approx(determined, rel=1e-9)
    wide = filled(NormalEquations(40), rows, targets).solve(NOISE)
    assert determined < wide.effective_rank(np.ones(40))


def test_it_serves_where_normal_equations_are_refused():
    """A condition number of 1e18, whatever the scale of columns: noise of 1e-8, and directions of 1 to 1e-10."""
    rng = np.random.default_rng(5)
    directions, _ = np.linalg.qr(rng.standard_normal((45, 45)))
    A = (rng.standard_normal((60, 45)) * np.logspace(0, -10, 45)) @ directions
    rows, targets, noise = {"energy": A}, {"energy": A @ rng.standard_normal(45)}, {"energy": 1e-8}
    with pytest.raises(IllConditionedError):
        filled(NormalEquations(45), rows, targets).solve(noise)
    solution = filled(TriangularState(45, noise), rows, targets).solve()
    np.testing.assert_allclose(solution.mean, exact(A, targets["energy"], 1e-8), rtol=1e-6, atol=1e-6)
    assert 1e15 < solution.condition < 1e20


def test_columns_of_any_scale_are_no_trouble():
    """Noise of 1e-8 on targets of 1, and columns of 1 to 1e-10, which normal equations solve as well."""
    rng = np.random.default_rng(5)
    A = rng.standard_normal((60, 45)) * np.logspace(0, -10, 45)
    rows, targets, noise = {"energy": A}, {"energy": A @ rng.standard_normal(45)}, {"energy": 1e-8}
    expected = exact(A, targets["energy"], 1e-8)
    for state in (NormalEquations(45), TriangularState(45, noise)):
        filled(state, rows, targets)
        solution = state.solve(noise) if isinstance(state, NormalEquations) else state.solve()
        np.testing.assert_allclose(solution.mean, expected, rtol=1e-6, atol=1e-6)
        assert solution.condition < 1e6  # with a unit diagonal


def test_fewer_rows_than_columns_leave_the_prior_where_they_say_nothing():
    A = np.random.default_rng(5).standard_normal((10, 45))
    y = A.sum(axis=1)
    solution = filled(TriangularState(45, {"energy": 1e-8}), {"energy": A}, {"energy": y}).solve()
    np.testing.assert_allclose(solution.mean, np.linalg.pinv(A) @ y, rtol=1e-7)
    unseen = np.eye(45) - np.linalg.pinv(A) @ A
    np.testing.assert_allclose(solution.standard_deviations(unseen), np.linalg.norm(unseen, axis=1), rtol=1e-6)
    np.testing.assert_allclose(solution.standard_deviations(A), 1e-8, rtol=1e-6)


def test_merging_and_pickles():
    rows, targets = whitened_rows(n_columns=300, n=(50, 700, 30))
    parts = [TriangularState(300, NOISE) for _ in range(2)]
    for k, part in enumerate(parts):
        filled(part, {kind: A[k::2] for kind, A in rows.items()}, {kind: y[k::2] for kind, y in targets.items()})
    parts[1] = pickle.loads(pickle.dumps(parts[1]))
    parts[0].merge(parts[1])
    whole = filled(TriangularState(300, NOISE), rows, targets)
    assert parts[0].n_rows == whole.n_rows
    merged, whole = parts[0].solve(), whole.solve()
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-9, atol=1e-12)
    assert merged.log_evidence == pytest.approx(whole.log_evidence, rel=1e-12)


def test_the_same_bits_on_any_number_of_threads_and_in_every_call():
    rows, targets = whitened_rows(n_columns=100)
    state = filled(TriangularState(100, NOISE), rows, targets)
    first = state.solve()
    for n in (1, 4):
        with castile.threads(n):
            again = filled(TriangularState(100, NOISE), rows, targets).solve()
            np.testing.assert_array_equal(again.mean, first.mean)
            np.testing.assert_array_equal(state.solve().factor, first.factor)


def test_without_rows_the_posterior_is_the_prior():
    solution = TriangularState(3, {}).solve()
    np.testing.assert_array_equal(solution.factor, np.eye(3))
    np.testing.assert_array_equal(solution.mean, np.zeros(3))
    assert (solution.log_evidence, solution.noise) == (0.0, {})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.add("stress", np.ones((1, 4)), [0.0]), InputError, "noise has no standard deviation for 'stress'"),
        (lambda s: s.add("dipole", np.ones((1, 4)), [0.0]), InputError, "kind must be one of"),
        (lambda s: s.add("force", np.ones((1, 5)), [0.0]), InputError, "rows must have shape"),
        (lambda s: s.add("force", np.ones((2, 4)), [0.0]), InputError, "targets must have shape"),
        (lambda s: s.add("force", np.full((1, 4), np.inf), [0.0]), InputError, "rows must be finite"),
        (lambda s: s.merge(TriangularState(4, {"force": 2.0})), InputError, "the same columns, kinds and noise"),
        (lambda s: s.merge(s), InputError, "other must be another state"),
        (lambda s: s.merge(NormalEquations(4)), InputTypeError, "other must be a TriangularState"),
        (lambda s: TriangularState(4, {"force": 0.0}), InputError, "must be a standard deviation above 0"),
        (lambda s: TriangularState(4, {"dipole": 1.0}), InputError, "kind must be one of"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(TriangularState(4, {"force": 1.0}))
