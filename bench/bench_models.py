"""Choice of sparse points, and the linear algebra of force fields, of which one fit has 2 500 columns."""

import numpy as np
import pytest

import castile
from cases import CASES, parameters_for
from castile.models.force_field._normal import NormalEquations
from castile.models.force_field._triangular import TriangularState
from castile.models.force_field._whitening import Whitening, kernel_block

NOISE = {"force": 0.05}


@pytest.fixture(scope="module")
def n_columns(tiny):
    return 60 if tiny else 2500


@pytest.fixture(scope="module")
def rows(n_columns):
    return np.random.default_rng(0).standard_normal((max(n_columns // 2, 64), n_columns))


@pytest.fixture(scope="module")
def state(rows, n_columns):
    state = NormalEquations(n_columns)
    state.add("force", rows, np.ones(len(rows)))
    return state


@pytest.mark.parametrize("method", ["fps", "cholesky", "random"])
def test_select(benchmark, tiny, n_columns, method):
    case = CASES["silicon_1000"]
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    X = soap.transform(case.make(tiny))
    rng = np.random.default_rng(0)
    X = np.abs(np.tile(X, (13, 1)) * (1 + 0.3 * rng.standard_normal((13 * len(X), X.shape[1]))))
    arguments = (X, min(n_columns, len(X)), method)
    chosen = benchmark.pedantic(castile.select, arguments, {"zeta": 4}, rounds=1, iterations=1)
    assert 0 < len(chosen) <= n_columns


def test_whiten(benchmark, rows, n_columns):
    points = np.random.default_rng(1).random((n_columns, 3))
    whitening = Whitening([kernel_block(castile.kernels.soap_kernel(points, zeta=4), 1.0)])
    out = np.empty((len(rows), whitening.n_whitened))
    benchmark(whitening.whiten, rows, out)


def test_add(benchmark, rows, n_columns):
    benchmark(NormalEquations(n_columns).add, "force", rows, np.ones(len(rows)))


def test_solve(benchmark, state):
    assert benchmark(state.solve, NOISE).condition > 1.0


def test_gradient_of_the_evidence(benchmark, state):
    benchmark(state.log_evidence_gradient, NOISE)


def test_triangular_add(benchmark, rows, n_columns):
    state = TriangularState(n_columns, NOISE)
    benchmark.pedantic(state.add, ("force", rows, np.ones(len(rows))), rounds=1, iterations=1)


@pytest.mark.parametrize("n_rows", [1, 200])
def test_standard_deviations(benchmark, state, rows, n_rows):
    solution = state.solve(NOISE)
    benchmark(solution.standard_deviations, rows[:n_rows])
