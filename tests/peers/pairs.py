"""Comparison of neighbor lists as sets."""

import numpy as np


def assert_same_pairs(actual, expected):
    """Compare (i, j, S, D, d) of two lists, each in any order."""
    actual, expected = in_order(actual), in_order(expected)
    np.testing.assert_array_equal(actual[0], expected[0])
    # Each library rounds the sum of a position and some cell vectors in its own way.
    scale = max(1.0, np.abs(expected[0]).max(initial=0))
    np.testing.assert_allclose(actual[1], expected[1], rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(actual[2], expected[2], rtol=0, atol=1e-13 * scale)


def in_order(pairs):
    i, j, S, D, d = (np.asarray(array) for array in pairs)
    keys = np.column_stack([i, j, S]).astype(np.int64)
    order = np.lexsort(keys.T[::-1])
    return keys[order], D[order], d[order]
