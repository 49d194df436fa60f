"""Small fits, and their posterior from the full covariance matrix of all targets."""

from typing import NamedTuple

import numpy as np

NOISE = {"energy": 0.02, "force": 0.3, "stress": 0.05}


class Fit(NamedTuple):
    points: np.ndarray
    rows: dict  # kind -> (n, n_columns), not whitened
    targets: dict


def gaussian_kernel(x, y, length=0.5):
    return np.exp(-0.5 * ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1) / length**2)


def sums_of_kernels(n_points=30, length=0.5):
    """Sums of kernel values, as energies are, single ones and differences."""
    rng = np.random.default_rng(0)
    points = rng.random((n_points, 2))

    def kernels(n, signs):
        values = gaussian_kernel(rng.random((n * len(signs), 2)), points, length).reshape(n, len(signs), n_points)
        return np.einsum("s,nsp->np", np.array(signs, dtype=float), values)

    rows = {
        "energy": kernels(40, [1, 1, 1]),
        "force": kernels(90, [1, -1]),
        "stress": kernels(20, [1]),
    }
    c = rng.standard_normal(n_points) * 0.3
    targets = {kind: A @ c + NOISE[kind] * rng.standard_normal(len(A)) for kind, A in rows.items()}
    return Fit(points, rows, targets)


def whitened_rows(n_columns=40, n=(50, 200, 30), seed=1):
    rng = np.random.default_rng(seed)
    rows = {kind: rng.standard_normal((count, n_columns)) for kind, count in zip(NOISE, n, strict=True)}
    v = rng.standard_normal(n_columns)
    targets = {kind: A @ v + NOISE[kind] * rng.standard_normal(len(A)) for kind, A in rows.items()}
    return rows, targets


def stacked(rows, targets, noise):
    """Return all rows and targets behind each other, and the standard deviation of each."""
    sigmas = np.concatenate([np.full(len(rows[kind]), noise[kind]) for kind in rows])
    return np.concatenate(list(rows.values())), np.concatenate(list(targets.values())), sigmas


def filled(state, rows, targets, size=None):
    for kind, A in rows.items():
        step = size or len(A)
        for first in range(0, len(A), step):
            state.add(kind, A[first : first + step], targets[kind][first : first + step])
    return state
