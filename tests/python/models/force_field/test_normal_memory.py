"""Peaks of memory, in matrices of the whitened columns."""

import tracemalloc

import numpy as np
import pytest

from castile.models.force_field._normal import NormalEquations
from castile.models.force_field._triangular import TriangularState
from castile.models.force_field._whitening import Whitening, kernel_block

P = 1000
MATRIX = 8 * P * P
NOISE = {"energy": 0.1, "force": 1.0}


def peak(call):
    """Return the largest memory that a call had beyond what was there before, in matrices, and its result."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1] / MATRIX, result
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).standard_normal((1100, P))


def state_of(rows):
    state = NormalEquations(P)
    state.add("energy", rows[:5], np.ones(5))
    state.add("force", rows, np.ones(len(rows)))
    return state


def test_whitening_in_place_takes_a_panel(rows):
    rows = rows.copy()
    whitening = Whitening([kernel_block(np.eye(P), 1.0)])
    assert peak(lambda: whitening.whiten(rows, out=rows))[0] < 0.25


def test_a_kernel_is_factorized_in_one_matrix():
    K = np.eye(P)
    assert peak(lambda: kernel_block(K, 1.0))[0] < 1.25


def test_rows_are_added_without_another_matrix(rows):
    state = state_of(rows)
    assert peak(lambda: state.add("force", rows, np.ones(len(rows))))[0] < 0.05


def test_merging_takes_no_other_matrix(rows):
    state, other = state_of(rows), state_of(rows)
    assert peak(lambda: state.merge(other))[0] < 0.05


def test_solving_takes_one_matrix(rows):
    state = state_of(rows)
    assert peak(lambda: state.solve(NOISE))[0] < 1.35
    assert peak(lambda: state.log_evidence_gradient(NOISE))[0] < 1.35


def test_uncertainties_take_a_panel(rows):
    solution = state_of(rows).solve(NOISE)
    assert peak(lambda: solution.standard_deviations(rows))[0] < 0.25
    assert peak(lambda: solution.sample(10))[0] < 0.05


def test_checkpoints_take_one_matrix(rows, tmp_path):
    state = state_of(rows)
    assert peak(lambda: state.save(tmp_path / "fit"))[0] < 1.05  # packed triangles of two kinds
    used, again = peak(lambda: NormalEquations.load(tmp_path / "fit"))
    assert used - 2 < 2 * 0.512 + 1.0  # beyond the state: rows that wait, and what was read
    assert again.n_rows == state.n_rows


def test_a_triangle_is_kept_and_solved_in_one_matrix_each(rows):
    state = TriangularState(P, NOISE)
    state.add("energy", rows[:5], np.ones(5))
    assert peak(lambda: state.add("force", rows, np.ones(len(rows))))[0] < 0.8
    assert peak(state.solve)[0] < 1.0 + 0.8
