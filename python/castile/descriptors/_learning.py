"""What ``fit`` learns from the coefficients of the user's structures: contractions and mixtures that keep variance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from castile import _core
from castile._blas_threads import one_thread
from castile.descriptors._core_cache import core_descriptor
from castile.descriptors._input import last_within
from castile.descriptors._parameters import Learned, expansion_parameters, number_of_primitives
from castile.errors import InputError
from castile.progress import track
from castile.structures import StructureArrays, species_table

__all__ = ["accumulate_covariances", "leading_mixtures", "learn", "learns", "optimal_contraction"]

FloatArray = npt.NDArray[np.float64]


_CHUNK_BYTES = 1 << 25  # of coefficients, of which a few copies are made


@dataclass(frozen=True, eq=False)
class Covariances:
    """Second moments of density coefficients, summed over centers and m.

    Attributes
    ----------
    radial : ndarray of shape (n_species, l_max + 1, n_max, n_max)
        Between radial functions, for each species and degree.
    species : ndarray of shape (n_species, n_species)
        Between species, summed over radial functions and degrees too.
    """

    radial: FloatArray
    species: FloatArray


def accumulate_covariances(chunks: Iterable[FloatArray], l_max: int) -> Covariances:
    """Sum over chunks of coefficients, each (n_centers, n_species, n_max, (l_max + 1)²)."""
    radial: FloatArray | None = None
    species: FloatArray | None = None
    n_centers = 0
    for c in chunks:
        parts = []
        for degree in range(l_max + 1):
            own = c[..., degree**2 : (degree + 1) ** 2]
            parts.append(np.einsum("ianm,iakm->ank", own, own, optimize=True))
        part = np.stack(parts, axis=1)
        flat = c.transpose(1, 0, 2, 3).reshape(c.shape[1], -1)
        between = flat @ flat.T
        radial = part if radial is None else radial + part
        species = between if species is None else species + between
        n_centers += len(c)
    if n_centers == 0 or radial is None or species is None:
        raise InputError("frames hold no centers to learn from; give frames with atoms to fit")
    return Covariances(radial, species)


def optimal_contraction(covariance: FloatArray, n_max: int) -> tuple[FloatArray, FloatArray]:
    """Find the combinations of radial functions that carry the variance of each species and degree.

    Parameters
    ----------
    covariance : ndarray of shape (n_species, l_max + 1, n_primitives, n_primitives)
    n_max : int
        Number of combinations to keep.

    Returns
    -------
    contraction : ndarray of shape (n_species, l_max + 1, n_max, n_primitives)
    variance_kept : ndarray of shape (n_species, l_max + 1)
        Share of the variance, 1 where there is none.

    References
    ----------
    Goscinski, Musil, Pozdnyakov, Nigam, Ceriotti, J. Chem. Phys. 155, 104106 (2021), doi:10.1063/5.0057229.
    """
    contraction = np.zeros((*covariance.shape[:2], n_max, covariance.shape[-1]))
    kept = np.ones(covariance.shape[:2])
    for index in np.ndindex(*covariance.shape[:2]):
        contraction[index], kept[index] = leading_mixtures(covariance[index], n_max)
    return contraction, kept


def leading_mixtures(covariance: FloatArray, n_mixtures: int, method: str = "svd") -> tuple[FloatArray, float]:
    """Return the mixtures (n_mixtures, n) of n functions that keep most variance, and its share.

    Parameters
    ----------
    covariance : ndarray of shape (n, n)
    n_mixtures : int
    method : {"svd", "cur"}
        Principal components, or functions themselves, chosen by CUR; of these, the share is what is explained of all.
    """
    size = len(covariance)
    total = float(np.trace(covariance))
    if total <= 0.0:  # nothing was seen: the first functions, as good as any
        return np.eye(n_mixtures, size), 1.0
    variances, vectors = np.linalg.eigh(covariance)
    if method == "svd":
        mixtures = vectors[:, ::-1][:, :n_mixtures].T
        # Signs are arbitrary: the largest entry is made positive, so that every machine finds the same.
        largest = np.take_along_axis(mixtures, np.argmax(np.abs(mixtures), axis=1)[:, None], axis=1)
        return mixtures * np.sign(largest), float(np.clip(variances[::-1][:n_mixtures].sum() / total, 0.0, 1.0))
    root = np.sqrt(np.clip(variances, 0.0, None))[:, None] * vectors.T  # covariance = rootᵀ root
    # By leverage scores, each choice projected out of the rest: a pivoted QR of the leading singular vectors.
    _, _, order = scipy.linalg.qr(vectors[:, ::-1][:, :n_mixtures].T, mode="economic", pivoting=True)
    chosen = np.sort(order[:n_mixtures])
    explained = root[:, chosen] @ np.linalg.lstsq(root[:, chosen], root, rcond=None)[0]
    return np.eye(size)[chosen], float(np.clip(np.sum(explained**2) / total, 0.0, 1.0))


def learns(descriptor: Any) -> bool:
    """Return True if the descriptor's parameters ask ``fit`` for more than the species."""
    compression = descriptor.compression
    mixes = isinstance(compression, Mapping) and any(
        isinstance(compression.get(key), Integral) for key in ("species", "radial")
    )
    return descriptor.n_primitives is not None or mixes


def learn(
    descriptor: Any, structures: StructureArrays, species: tuple[str, ...], progress: bool
) -> tuple[Learned, dict[str, FloatArray | float]]:
    """Find what the descriptor's parameters ask for, and the share of the variance that it keeps.

    Functions that are shared by all species, or whose species are summed, are found from all species together.
    """
    if not learns(descriptor):
        return Learned(), {}
    with one_thread():  # several threads change bits
        return _learn(descriptor, structures, species, progress)


def _learn(
    descriptor: Any, structures: StructureArrays, species: tuple[str, ...], progress: bool
) -> tuple[Learned, dict[str, FloatArray | float]]:
    compression = descriptor._checked_compression(len(species))
    n_max = descriptor._radial_limit()
    l_max = descriptor._angular_limit()
    n_primitives = number_of_primitives(descriptor, n_max)
    coefficients = _coefficients(descriptor, structures, species, n_primitives or n_max)
    covariances = accumulate_covariances(track(coefficients, structures.n_atoms, "learning", progress), l_max)
    radial = covariances.radial
    kept: dict[str, FloatArray | float] = {}
    contraction = None
    if n_primitives is not None:
        shared = compression.species is not None or compression.products == "mu1nu1"
        source = np.broadcast_to(radial.sum(axis=0), radial.shape) if shared else radial
        contraction, kept["contraction"] = optimal_contraction(source, n_max)
        radial = np.einsum("alnp,alpq,alkq->alnk", contraction, radial, contraction, optimize=True)
    species_mixing = radial_mixing = None
    if isinstance(compression.species, int):
        wanted = min(compression.species, len(species))
        species_mixing, kept["species"] = leading_mixtures(covariances.species, wanted, compression.method)
    if isinstance(compression.radial, int):
        wanted = min(compression.radial, n_max)
        radial_mixing, kept["radial"] = leading_mixtures(radial.sum(axis=(0, 1)), wanted, compression.method)
    return Learned(contraction, species_mixing, radial_mixing), kept


def _coefficients(
    descriptor: Any, structures: StructureArrays, species: tuple[str, ...], n: int
) -> Iterator[tuple[int, FloatArray]]:
    """Yield centers' number and coefficients of the primitive functions, (n_centers, n_species, n, (l_max + 1)²)."""
    l_max = descriptor._angular_limit()
    core = core_descriptor("float64", expansion_parameters(descriptor, species, n))
    table = species_table(species, structures.numbers, type(descriptor).__name__)
    most = max(_CHUNK_BYTES // (8 * core.n_features), 1)
    start = 0
    while start < structures.n_frames:
        stop = max(last_within(structures.atom_offsets, start, most), start + 1)
        part = structures.slice(start, stop)
        atoms = np.arange(part.n_atoms) - np.repeat(part.atom_offsets[:-1], np.diff(part.atom_offsets))
        # Centers of a frame that is too large alone are cut, too.
        for first in range(0, max(part.n_atoms, 1), most):
            own = atoms[first : first + most] if part.n_frames == 1 else atoms
            offsets = np.array([0, len(own)]) if part.n_frames == 1 else part.atom_offsets
            X = core.transform(part.to_core(table), _core.Centers(np.ascontiguousarray(own), offsets))
            yield len(X), X.reshape(len(X), len(species), n, (l_max + 1) ** 2)
        start = stop
