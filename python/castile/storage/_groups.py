"""What HDF5 and zarr have in common: arrays with names in groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from castile import _optional
from castile.descriptors._base import sample_dtype
from castile.storage._arrays import GrowingArray

__all__ = ["Column", "columns", "import_optional", "read_rows"]

_BLOCK_BYTES = 1 << 24


class Column(NamedTuple):
    """An array of the file, and where its rows come from."""

    name: str
    """Such as ``features``, or ``features/data`` of sparse ones, or ``samples/frame``."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    block: int
    """Rows that are copied at a time."""
    read: Callable[[int, int], npt.NDArray[Any]]

    def copy_to(self, target: Any) -> None:
        """Write all rows to an array of the file, in its dtype."""
        for start in range(0, self.shape[0], self.block):
            stop = min(start + self.block, self.shape[0])
            target[start:stop] = self.read(start, stop).astype(target.dtype, copy=False)


def columns(arrays: Mapping[str, GrowingArray]) -> Iterator[Column]:
    """Yield what a file is made of."""
    for name, array in arrays.items():
        block = max(_BLOCK_BYTES // array.type.row_bytes, 1)
        if name == "samples":
            for field in array.type.dtype.names or ():
                yield Column(
                    f"samples/{field}", array.type.dtype[field], (array.n_rows,), block, _field_reader(array, field)
                )
        else:
            place = name if name == "features" else f"features/{name}"
            yield Column(place, array.type.dtype, (array.n_rows, *array.type.row_shape), block, array.read)


def _field_reader(array: GrowingArray, field: str) -> Callable[[int, int], npt.NDArray[Any]]:
    return lambda start, stop: array.read(start, stop)[field]


def read_rows(group: Any, name: str, start: int, stop: int) -> npt.NDArray[Any]:
    """Return rows of an array by the name that it had in :func:`columns`'s argument."""
    if name == "samples":
        samples = np.empty(stop - start, dtype=sample_dtype("group" in group["samples"]))
        for field in samples.dtype.names or ():
            samples[field] = group[f"samples/{field}"][start:stop]
        return samples
    rows: npt.NDArray[Any] = group[name if name == "features" else f"features/{name}"][start:stop]
    return rows


def import_optional(package: str) -> ModuleType:
    """Import a package of the extra ``storage``."""
    return _optional.import_optional(
        package, "this format", "castile[storage]", "write format='npy', which needs nothing"
    )
