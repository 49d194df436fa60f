"""Whitened columns."""

import json

import numpy as np
import pytest
from small_fits import gaussian_kernel

import castile
from castile.errors import InputError, InputTypeError, MemoryLimitError
from castile.models.force_field._whitening import (
    DiagonalBlock,
    EigenBlock,
    TriangularBlock,
    Whitening,
    kernel_block,
)


def spread_points(n, seed=0):
    return np.random.default_rng(seed).random((n, 6))


def kernel(n, seed=0):
    x = spread_points(n, seed)
    return gaussian_kernel(x, x)


def singular_kernel(n, rank):
    x = np.random.default_rng(1).standard_normal((n, rank))
    return x @ x.T


def rounded_kernel(n, rank):
    """A kernel of low rank, with errors that leave it indefinite."""
    return singular_kernel(n, rank) - 1e-7 * np.eye(n)


def several_blocks():
    stds = np.linspace(0.1, 3.0, 17)
    return Whitening([kernel_block(kernel(150), 2.0), DiagonalBlock(stds), kernel_block(kernel(33, 1), 0.5)])


def dense_whitening(whitening):
    return whitening.coefficients(np.eye(whitening.n_whitened))


@pytest.mark.parametrize("n", [1, 2, 47, 127, 128, 129, 300])
def test_a_kernel_becomes_the_prior_covariance(n):
    K = kernel(n)
    block = kernel_block(K, 1.5)
    assert isinstance(block, TriangularBlock)
    W = dense_whitening(Whitening([block]))
    jittered = K + 1e-10 * np.eye(n)
    np.testing.assert_allclose(K @ W @ W.T @ jittered, 2.25 * K, atol=1e-9)
    np.testing.assert_allclose(block.upper.T @ block.upper, jittered, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 47, 48, 49, 200])
def test_rows_are_multiplied_by_the_matrix_of_coefficients(n):
    whitening = several_blocks()
    rows = np.random.default_rng(2).standard_normal((n, whitening.n_columns))
    before = rows.copy()
    whitened = whitening.whiten(rows)
    expected = rows @ dense_whitening(whitening)
    np.testing.assert_allclose(whitened, expected, atol=1e-9 * np.abs(expected).max(initial=1.0))
    np.testing.assert_array_equal(rows, before)
    c = whitening.coefficients(np.arange(200.0))
    np.testing.assert_allclose(
        rows @ c, whitened @ np.arange(200.0), atol=1e-8 * np.abs(expected).max(initial=1.0) * 200
    )


def test_a_triangular_system_is_solved_backward_stably_even_if_nearly_singular():
    K = gaussian_kernel(*2 * [spread_points(300)[:, :2]])  # smooth, in two dimensions: of condition 1e12 with jitter
    block = kernel_block(K, 1.0)
    assert isinstance(block, TriangularBlock)
    rows = K[:50] @ np.linalg.qr(np.random.default_rng(0).standard_normal((300, 300)))[0]
    whitened = Whitening([block]).whiten(rows)
    error = np.abs(whitened @ block.upper - rows)
    assert (error <= 1e-13 * (np.abs(whitened) @ np.abs(block.upper) + np.abs(rows))).all()


def test_out_may_be_the_rows():
    whitening = several_blocks()
    rows = np.random.default_rng(2).standard_normal((70, 200))
    expected = whitening.whiten(rows)
    assert whitening.whiten(rows, out=rows) is rows
    np.testing.assert_array_equal(rows, expected)
    wide = np.empty((70, 400))
    whitening.whiten(expected, out=wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], whitening.whiten(expected))


def test_out_may_be_the_beginning_of_rows_that_lose_columns():
    whitening = Whitening([DiagonalBlock(np.ones(4)), kernel_block(rounded_kernel(40, 5), 1.0), DiagonalBlock([2.0])])
    rows = np.random.default_rng(2).standard_normal((70, 45))
    expected = whitening.whiten(rows)
    out = rows.reshape(-1)[: 70 * 10].reshape(70, 10)
    whitening.whiten(rows, out=out)
    np.testing.assert_array_equal(out, expected)


def test_bits_of_a_row_depend_on_it_alone():
    whitening = several_blocks()
    rows = np.random.default_rng(2).standard_normal((130, 200))
    whole = whitening.whiten(rows)
    for size in (1, 7, 64):
        parts = [whitening.whiten(rows[first : first + size]) for first in range(0, 130, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    for n in (1, 4):
        with castile.threads(n):
            np.testing.assert_array_equal(whitening.whiten(rows), whole)


@pytest.mark.parametrize("rank", [1, 5, 30])
def test_a_singular_kernel_keeps_the_columns_of_its_rank(rank):
    K = singular_kernel(80, rank)
    with_jitter = kernel_block(K, 3.0)
    assert (with_jitter.n_whitened, rank <= with_jitter.rank <= rank + 5) == (80, True)
    K = rounded_kernel(80, rank)
    block = kernel_block(K, 3.0)
    assert isinstance(block, EigenBlock)
    assert (block.n_columns, block.n_whitened) == (80, rank)
    whitening = Whitening([block, DiagonalBlock([1.0, 2.0])])
    assert whitening.ranks == (rank, 2)
    whitened = whitening.whiten(np.concatenate([K, np.zeros((80, 2))], axis=1))
    np.testing.assert_allclose(whitened @ whitened.T, 9.0 * K, atol=1e-6)


def test_duplicate_points_change_nothing():
    x = spread_points(40)
    twice = np.concatenate([x, x, x[:5]])
    new = spread_points(20, 9)
    covariances = []
    for points in (x, twice):
        block = kernel_block(gaussian_kernel(points, points), 1.0)
        assert block.rank == 40
        whitened = Whitening([block]).whiten(gaussian_kernel(new, points))
        covariances.append(whitened @ whitened.T)
    np.testing.assert_allclose(covariances[1], covariances[0], atol=1e-7)


def test_arrays_and_json_make_an_equal_one():
    whitening = Whitening(
        [kernel_block(kernel(30), 2.0), DiagonalBlock([1.0, 3.0]), kernel_block(rounded_kernel(20, 4), 1.0)]
    )
    metadata, arrays = whitening.to_arrays()
    again = Whitening.from_arrays(json.loads(json.dumps(metadata)), arrays)
    rows = np.random.default_rng(3).standard_normal((50, 52))
    np.testing.assert_array_equal(again.whiten(rows), whitening.whiten(rows))
    np.testing.assert_array_equal(again.coefficients(np.ones(36)), whitening.coefficients(np.ones(36)))
    assert arrays["block_0"].shape == (465,)


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": [{"kind": "dense"}]},
        {"blocks": [{}]},
        {"blocks": 3},
        {"blocks": []},
        {},
        {"blocks": [{"kind": "triangular", "n_columns": 3, "std": 1.0}]},
        {"blocks": [{"kind": "triangular", "n_columns": 2, "std": -1.0}]},
        {"blocks": [{"kind": "triangular", "n_columns": "2", "std": 1.0}]},
        {"blocks": [{"kind": "eigenvectors"}]},
        {"blocks": [{"kind": "diagonal"}, {"kind": "diagonal"}]},
    ],
)
def test_metadata_that_does_not_fit_is_refused(change):
    with pytest.raises((InputError, InputTypeError)):
        Whitening.from_arrays(change, {"block_0": np.ones(3)})
    entry = {"kind": "triangular", "n_columns": 2, "std": 1.0}
    with pytest.raises(InputError, match="diagonal of a triangular block"):
        Whitening.from_arrays({"blocks": [entry]}, {"block_0": np.array([1.0, 2.0, 0.0])})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: w.whiten(np.ones((3, 4))), r"rows must have shape \(n_rows, 200\), got \(3, 4\)"),
        (lambda w: w.whiten(np.ones(200)), r"rows must have shape \(n_rows, 200\), got \(200,\)"),
        (lambda w: w.whiten(np.full((1, 200), np.nan)), r"rows must be finite, but rows\[0, 0\] is nan"),
        (lambda w: w.whiten(np.ones((3, 200)), out=np.ones((2, 200))), "out must be a float64 array"),
        (lambda w: w.whiten(np.ones((3, 200)), out=np.ones((3, 200), np.float32)), "out must be a float64 array"),
        (lambda w: w.coefficients(np.ones(4)), "v must have shape"),
        (lambda w: w.coefficients(np.full(200, np.inf)), "v must be finite"),
        (lambda w: Whitening([]), "blocks must hold at least one block"),
        (lambda w: DiagonalBlock([1.0, 0.0]), "stds must hold one prior standard deviation above 0"),
        (lambda w: DiagonalBlock([[1.0]]), "stds must hold"),
        (lambda w: DiagonalBlock([np.nan]), "stds must be finite"),
        (lambda w: kernel_block(np.ones((2, 3)), 1.0), "K must be a square matrix"),
        (lambda w: kernel_block(np.full((2, 2), np.nan), 1.0), "K must be finite"),
        (lambda w: kernel_block(np.eye(2), 0.0), "std must be a number above 0"),
        (lambda w: kernel_block(np.zeros((2, 2)), 1.0), "K must be positive semidefinite and not zero"),
        (lambda w: kernel_block(-np.eye(2), 1.0), "K must be positive semidefinite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(several_blocks())


def test_text_is_no_row():
    with pytest.raises(InputTypeError, match="rows must hold real numbers"):
        several_blocks().whiten([["a"]])


def test_too_many_points_are_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr("castile._memory._ALWAYS_FITS", 0)
    monkeypatch.setattr("castile._memory._core.available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match="whitening of 3 sparse points would take"):
        kernel_block(np.eye(3), 1.0)
