"""Assertions that several test modules share."""

import itertools

import numpy as np
import scipy.sparse as sp

# Positions move by multiples of this, Å (strain: dimensionless). Small, since the second derivative of a radial
# table jumps a little at each knot, which no order of extrapolation removes.
STEP = 2e-5
STENCIL = (1.0, -1.0, 2.0, -2.0)


def dense(X):
    return X.toarray() if sp.issparse(X) else np.asarray(X)


def max_abs(values):
    values = np.asarray(values)
    return float(np.max(np.abs(values))) if values.size else 0.0


def max_abs_of_rows(values):
    values = np.asarray(values)
    return np.abs(values).max(axis=1) if values.size else np.zeros(len(values))


def assert_close(actual, expected, relative, floor=0.0, what=""):
    """max|actual - expected| <= relative * max(max|expected|, floor)."""
    actual, expected = dense(actual), dense(expected)
    assert actual.shape == expected.shape, f"{what}: shapes {actual.shape} and {expected.shape}"
    assert np.isfinite(actual).all(), f"{what}: not finite"
    scale = max(max_abs(expected), floor)
    error = max_abs(actual - expected)
    assert error <= relative * scale, f"{what}: error {error:.2e} > {relative:.0e} * {scale:.2e}"


def assert_rows_close(actual, expected, relative, *, floors, names, what):
    """As assert_close, but row by row, so that none hides behind another; ``floors`` and ``names`` are per row."""
    assert actual.shape == expected.shape, f"{what}: shapes {actual.shape} and {expected.shape}"
    errors = max_abs_of_rows(actual - expected)
    assert np.isfinite(errors).all(), f"{what}: not finite"
    scales = np.maximum(max_abs_of_rows(expected), floors)
    excess = errors - relative * scales
    if (excess > 0.0).any():
        row = np.argmax(excess)
        raise AssertionError(f"{what}, {names[row]}: error {errors[row]:.2e} > {relative:.0e} * {scales[row]:.2e}")


def same_bits(a, b):
    """Equal shape, dtype and bytes (so that -0.0 differs from 0.0 and nan equals itself)."""
    if sp.issparse(a):
        return all(same_bits(getattr(a, part), getattr(b, part)) for part in ("data", "indices", "indptr"))
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def symmetric_strains():
    """Six unit strains: xx, yy, zz; and yz, xz, xy, which move both entries by one half."""
    strains = []
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        strains.append(strain)
    return strains


def strained(atoms, strain):
    """r -> (1 + e) r, cell -> cell (1 + e)^T."""
    moved = atoms.copy()
    deformation = np.eye(3) + strain
    moved.cell[:] = atoms.cell.array @ deformation.T
    moved.positions = atoms.positions @ deformation.T
    return moved


def displaced(atoms, atom, axis, distance):
    moved = atoms.copy()
    moved.positions[atom, axis] += distance
    return moved


def slopes(rows):
    """Extrapolated central differences; axis 1 are the steps of the stencil, shape (n_directions, 4, ...)."""
    near = (rows[:, 0] - rows[:, 1]) / (2 * STEP)
    far = (rows[:, 2] - rows[:, 3]) / (4 * STEP)
    return (4 * near - far) / 3


def numerical_gradients(descriptor, atoms, centers=None):
    """Extrapolated central differences of one frame's rows.

    Returns
    -------
    positions : ndarray of shape (n_rows, n_atoms, 3, n_features)
    strain : ndarray of shape (n_rows, 3, 3, n_features)
    """
    images = [
        displaced(atoms, atom, axis, step * STEP)
        for atom, axis in itertools.product(range(len(atoms)), range(3))
        for step in STENCIL
    ]
    images += [strained(atoms, step * STEP * e) for e in symmetric_strains() for step in STENCIL]
    chosen = None if centers is None else [centers] * len(images)
    rows = dense(descriptor.transform(images, centers=chosen))
    slope = slopes(rows.reshape(len(images) // 4, 4, -1, rows.shape[1]))
    n_rows, n_features = slope.shape[1:]
    positions = slope[:-6].reshape(len(atoms), 3, n_rows, n_features).transpose(2, 0, 1, 3)
    strain = np.empty((n_rows, 3, 3, n_features))
    for along, e in zip(slope[-6:], symmetric_strains(), strict=True):
        # Along a strain that moves xy and yx by one half each the derivative is the entry xy itself.
        strain[:, e != 0] = along[:, None, :]
    return positions, strain


def assert_gradients_agree(descriptor, frames, centers=None, seed=0):
    """Jacobian = central differences, vjp = cotangent @ Jacobian, jvp = Jacobian @ tangent."""
    X = dense(descriptor.transform(frames, centers=centers))
    J = descriptor.jacobian(frames, centers=centers)
    D = J.to_dense()
    offsets = J.atom_offsets
    floor = 1e-3 * max_abs(X)  # per Å: for rows that do not change, such as normalized ones of one feature
    frame_of_row = descriptor.samples(frames, centers=centers)["frame"]
    for frame, atoms in enumerate(frames):
        rows = frame_of_row == frame
        own = slice(offsets[frame], offsets[frame + 1])
        if not rows.any() or not len(atoms):
            continue
        entry = None if centers is None else centers[frame]
        positions, strain = numerical_gradients(descriptor, atoms, entry)
        assert_close(D[rows][:, own], positions, 1e-7, floor, f"Jacobian of frame {frame}")
        assert_close(J.strain[rows], strain, 1e-7, floor, f"strain of frame {frame}")
        rest = np.delete(D[rows], np.r_[own], axis=1)
        assert not rest.any(), "a row depends on atoms of another frame"

    rng = np.random.default_rng(seed)
    cotangent = rng.normal(size=X.shape)
    velocities = rng.normal(size=(offsets[-1], 3))
    rates = rng.normal(size=(len(frames), 3, 3))
    g = descriptor.vjp(frames, cotangent, centers=centers)
    assert_close(g.positions, np.einsum("rf,rakf->ak", cotangent, D), 1e-11, floor, "vjp, positions")
    per_row = np.einsum("rf,rabf->rab", cotangent, J.strain)
    expected = np.zeros((len(frames), 3, 3))
    np.add.at(expected, frame_of_row, per_row)
    assert_close(g.strain, expected, 1e-11, floor, "vjp, strain")
    assert_close(g.strain, g.strain.transpose(0, 2, 1), 1e-13, floor, "symmetry of vjp's strain")
    t = dense(descriptor.jvp(frames, positions=velocities, strain=rates, centers=centers))
    expected = np.einsum("rakf,ak->rf", D, velocities)
    expected += np.einsum("rabf,rab->rf", J.strain, rates[frame_of_row])
    assert_close(t, expected, 1e-11, floor, "jvp")
    assert abs(np.vdot(cotangent, t) - np.vdot(g.positions, velocities) - np.vdot(g.strain, rates)) <= (
        1e-11 * (np.abs(cotangent * t).sum() + floor)
    )
