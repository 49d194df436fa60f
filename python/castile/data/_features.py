"""One row of features per frame, for distances between structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from castile._checks import finite_array
from castile.data.dataset import Dataset
from castile.errors import InputError

__all__ = ["features_of"]

_MANY_SPECIES = 4  # from here on, species are mixed in pairs only with the sum of all


def features_of(dataset: Dataset, features: Any) -> npt.NDArray[np.float64]:
    """Return features of shape (n_frames, n_features), the given ones or averages of SOAP."""
    if features is None or hasattr(features, "fit_transform"):
        descriptor = _default(len(dataset.species)) if features is None else features
        rows = np.asarray(descriptor.fit_transform(dataset.frames), dtype=np.float64)
    else:
        rows = np.asarray(finite_array("features", features), dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(dataset):
        raise InputError(
            f"features must have one row per frame, {len(dataset)}, got shape {rows.shape}; a descriptor needs "
            "average='outer' or 'inner'"
        )
    return rows


def _default(n_species: int) -> Any:
    from castile.descriptors import SOAP

    compression = "mu1nu1" if n_species >= _MANY_SPECIES else None
    return SOAP(cutoff=5.0, n_max=6, l_max=4, sigma=0.5, average="outer", compression=compression)
