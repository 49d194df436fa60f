"""Gradients along one direction of positions and one of strain, for many frames in one call: cheap enough for every
combination of options."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
from ase import Atoms
from checks import (
    STENCIL,
    STEP,
    assert_close,
    assert_rows_close,
    dense,
    max_abs,
    max_abs_of_rows,
    same_bits,
    slopes,
    strained,
)

from castile.descriptors import Gradients, Jacobian


@dataclass(frozen=True)
class Batch:
    """Frames by name, and how they move.

    Attributes
    ----------
    velocities : ndarray of shape (n_atoms, 3)
    rates : ndarray of shape (n_frames, 3, 3)
        Of strain; not symmetric, since the antisymmetric part must not count.
    images : list of Atoms
        All frames displaced, for each step of the stencil; then all of them strained, likewise.
    """

    names: list[str]
    frames: list[Atoms]
    velocities: np.ndarray
    rates: np.ndarray
    images: list[Atoms]

    @classmethod
    def of(cls, frames_by_name):
        frames = list(frames_by_name.values())
        rng = np.random.default_rng(0)
        ends = np.cumsum([len(atoms) for atoms in frames])
        velocities = without_small_entries(rng, (ends[-1], 3))
        rates = without_small_entries(rng, (len(frames), 3, 3)) / 2
        images = []
        for step in STENCIL:
            images += map(moved_by, frames, np.split(step * STEP * velocities, ends[:-1]))
        for step in STENCIL:
            images += map(strained, frames, step * STEP * (rates + rates.transpose(0, 2, 1)) / 2)
        return cls(list(frames_by_name), frames, velocities, rates, images)


def without_small_entries(rng, shape):
    """Random signs and sizes, 0.25 to 0.5, so that no entry of a gradient counts for little."""
    return rng.uniform(0.25, 0.5, shape) * rng.choice([-1.0, 1.0], shape)


def moved_by(atoms, displacements):
    moved = atoms.copy()
    moved.positions += displacements
    return moved


@dataclass(frozen=True)
class Derivatives:
    """What a descriptor gives for a batch.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features)
    along_velocities, along_rates : ndarray of shape (n_rows, n_features)
        From jvp.
    gradients : Gradients
        From vjp with ``cotangent``, shape (n_rows, n_features).
    """

    X: np.ndarray
    frame_of_row: np.ndarray
    cotangent: np.ndarray
    along_velocities: np.ndarray
    along_rates: np.ndarray
    gradients: Gradients
    jacobian: Jacobian

    @classmethod
    def of(cls, descriptor, batch, centers):
        X = descriptor.transform(batch.frames, centers=centers)
        cotangent = without_small_entries(np.random.default_rng(1), X.shape)
        return cls(
            dense(X),
            descriptor.samples(batch.frames, centers=centers)["frame"],
            cotangent,
            dense(descriptor.jvp(batch.frames, positions=batch.velocities, centers=centers)),
            dense(descriptor.jvp(batch.frames, strain=batch.rates, centers=centers)),
            descriptor.vjp(batch.frames, sp.csr_array(cotangent) if sp.issparse(X) else cotangent, centers=centers),
            descriptor.jacobian(batch.frames, centers=centers),
        )

    def jacobian_along(self, velocities):
        J = self.jacobian
        result = np.zeros((J.n_rows, J.n_features))
        for group in J.groups:
            moving = velocities[J.atom_offsets[group.frame] + group.atom]
            for row, part in zip(group.row, (moving[:, None, :] @ group.values)[:, 0], strict=True):
                result[row, group.columns] += part
        return result

    def jacobian_along_strain(self, rates):
        J = self.jacobian
        return (rates[self.frame_of_row].reshape(-1, 1, 9) @ J.strain.reshape(J.n_rows, 9, J.n_features))[:, 0]

    def jacobian_pulled_back(self):
        """Return cotangent @ Jacobian, as vjp does."""
        J, cotangent = self.jacobian, self.cotangent
        positions, strain = np.zeros_like(self.gradients.positions), np.zeros_like(self.gradients.strain)
        for group in J.groups:
            chosen = cotangent[group.row][:, group.columns]
            np.add.at(positions, J.atom_offsets[group.frame] + group.atom, (group.values @ chosen[:, :, None])[:, :, 0])
        of_rows = J.strain.reshape(J.n_rows, 9, J.n_features) @ cotangent[:, :, None]
        np.add.at(strain, self.frame_of_row, of_rows.reshape(-1, 3, 3))
        return positions, strain


def numerical_slopes(descriptor, batch, centers):
    """Extrapolated central differences of all rows, along the velocities and along the rates of strain."""
    copies = len(batch.images) // len(batch.frames)
    rows = dense(descriptor.transform(batch.images, centers=None if centers is None else copies * centers))
    return slopes(rows.reshape(2, len(STENCIL), -1, rows.shape[1]))


def assert_derivatives_agree(descriptor, batch, centers=None):
    """For every row: jvp = central differences = Jacobian @ tangent; for every frame: vjp = cotangent @ Jacobian.

    Returns
    -------
    Derivatives
    """
    found = Derivatives.of(descriptor, batch, centers)
    close = partial(
        assert_rows_close,
        floors=1e-3 * max_abs_of_rows(found.X),  # per Å: for rows that do not change, as normalized ones of one feature
        names=[f"row {row}, of frame {batch.names[frame]}" for row, frame in enumerate(found.frame_of_row)],
    )
    along_velocities, along_rates = numerical_slopes(descriptor, batch, centers)
    close(found.along_velocities, along_velocities, 1e-7, what="jvp, positions")
    close(found.along_rates, along_rates, 1e-7, what="jvp, strain")
    close(found.jacobian_along(batch.velocities), found.along_velocities, 1e-11, what="Jacobian, positions")
    close(found.jacobian_along_strain(batch.rates), found.along_rates, 1e-11, what="Jacobian, strain")
    for group in found.jacobian.groups:
        assert (group.frame == found.frame_of_row[group.row]).all(), "a row depends on atoms of another frame"
    assert_pulled_back_alike(found, batch)
    return found


def assert_pulled_back_alike(found, batch):
    positions, strain = found.jacobian_pulled_back()
    offsets = found.jacobian.atom_offsets
    for frame, name in enumerate(batch.names):
        own = slice(offsets[frame], offsets[frame + 1])
        floor = 1e-3 * max_abs(found.X[found.frame_of_row == frame])
        assert_close(found.gradients.positions[own], positions[own], 1e-11, floor, f"vjp, positions of frame {name}")
        assert_close(found.gradients.strain[frame], strain[frame], 1e-11, floor, f"vjp, strain of frame {name}")


def assert_same_derivatives(a, b):
    """Equal, bit for bit; only zeros may differ in sign, which sparse results do not store."""
    for name in ("X", "frame_of_row", "cotangent", "along_velocities", "along_rates"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), f"{name} differs"
    for name in ("positions", "strain"):
        assert same_bits(getattr(a.gradients, name), getattr(b.gradients, name)), f"vjp, {name} differs"
    assert np.array_equal(a.jacobian.strain, b.jacobian.strain), "Jacobian, strain differs"
    assert np.array_equal(a.jacobian.to_dense(), b.jacobian.to_dense()), "Jacobian differs"
