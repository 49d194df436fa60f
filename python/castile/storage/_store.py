"""Reading what ``transform_to`` wrote, without loading all of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castile._memory import require_memory
from castile.descriptors._containers import stack_sparse
from castile.errors import FileReadError
from castile.storage._formats import recognize_format
from castile.storage._staging import staging_folder

__all__ = ["FORMAT_VERSION", "FeatureStore", "open_features", "read_metadata"]

FORMAT_VERSION = 1


class FeatureStore:
    """Features in a file; get it from :func:`open_features` or ``descriptor.transform_to``.

    It holds no open file: it may be pickled, and used by several threads or processes.

    Attributes
    ----------
    path : Path
    format : {"npy", "hdf5", "zarr"}
    shape : tuple of int
        ``(n_rows, n_features)``.
    dtype : numpy.dtype
    sparse : bool
        Whether rows are stored, and returned, in CSR form.
    n_frames : int
    feature_names : ndarray of shape (n_features,)
    descriptor : dict
        ``name`` of the class, ``parameters``, ``species`` that the columns are laid out for, and what ``fit``
        ``learned``; :func:`castile.io.restore_descriptor` makes an equal one of it.
    castile_version : str
        That wrote the file.
    """

    def __init__(self, path: Path, metadata: dict[str, Any]) -> None:
        self.path = path
        self.format = str(metadata["format"])
        self.shape = (int(metadata["n_rows"]), int(metadata["n_features"]))
        self.dtype = np.dtype(metadata["dtype"])
        self.sparse = bool(metadata["sparse"])
        self.n_frames = int(metadata["n_frames"])
        self.feature_names = np.array(metadata["feature_names"], dtype=object)
        self.descriptor: dict[str, Any] = metadata["descriptor"]
        self.castile_version = str(metadata["castile_version"])

    def __repr__(self) -> str:
        form = f"{self.dtype}{', sparse' if self.sparse else ''}"
        return f"<FeatureStore {self.path}: {self.shape[0]} rows x {self.shape[1]} columns, {form}>"

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int | None = None, stop: int | None = None) -> Any:
        """Return the features of rows ``start`` to ``stop``, as in a slice.

        Parameters
        ----------
        start, stop : int, optional
            By default all rows.

        Returns
        -------
        ndarray or scipy.sparse.csr_array of shape (stop - start, n_features)
            Dense rows of format ``npy`` are mapped into memory and read-only; all others are read.

        Raises
        ------
        MemoryLimitError
            If they would not fit into memory.
        FileReadError
            If the file is missing or damaged.
        """
        first, last = self._range(start, stop)
        if not self.sparse:
            if self.format != "npy":
                self._require_memory((last - first) * self.shape[1] * self.dtype.itemsize)
            return self._read("features", first, last)
        offsets = np.asarray(self._read("indptr", first, last + 1))
        begin, end = (int(offsets[0]), int(offsets[-1]))
        self._require_memory(2 * (end - begin) * (self.dtype.itemsize + 4))
        stored = (self._read("data", begin, end), self._read("indices", begin, end), offsets - begin)
        return stack_sparse([stored], last - first, self.shape[1], str(self.dtype))

    def samples(self, start: int | None = None, stop: int | None = None) -> npt.NDArray[Any]:
        """Say what rows ``start`` to ``stop`` are: their ``frame``, ``atom``, ``species`` and, with groups, ``group``.

        Parameters
        ----------
        start, stop : int, optional
            By default all rows.

        Returns
        -------
        structured ndarray of shape (stop - start,)
            As from the descriptor's ``samples``.
        """
        return self._read("samples", *self._range(start, stop))

    def _range(self, start: int | None, stop: int | None) -> tuple[int, int]:
        first, last, _ = slice(start, stop).indices(self.shape[0])
        return first, max(first, last)

    def _require_memory(self, n_bytes: int) -> None:
        require_memory(n_bytes, "these rows", "read fewer at a time: rows(start, stop)")

    def _read(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        kind = recognize_format(self.path)
        try:
            return kind.read(self.path, name, start, stop)
        except (OSError, KeyError, ValueError) as error:
            raise FileReadError(f"cannot read {name} of {self.path}: {error}") from error


def open_features(path: str | os.PathLike[str]) -> FeatureStore:
    """Open what a descriptor's ``transform_to`` wrote.

    Parameters
    ----------
    path : str or path-like
        The file, or the folder of a zarr store.

    Returns
    -------
    FeatureStore

    Raises
    ------
    FileReadError
        If it is missing, unfinished, damaged, or something else.
    MissingPackageError
        If h5py or zarr is needed and not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ase.build import molecule
    >>> import castile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "water.npy"
    >>> soap = castile.SOAP(cutoff=3.0, n_max=4, l_max=3, species=["H", "O"])
    >>> store = soap.transform_to(path, (molecule("H2O") for _ in range(1000)), chunk_size=200)
    >>> castile.storage.open_features(path).rows(5, 8).shape
    (3, 144)
    >>> store.samples(5, 8)["species"].tolist()
    ['H', 'O', 'H']
    """
    target = Path(os.path.realpath(path))
    metadata = read_metadata(target)
    try:
        return FeatureStore(target, metadata)
    except (KeyError, ValueError, TypeError) as error:
        raise FileReadError(f"cannot read {path}: its metadata are damaged ({error!r})") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what is known of a finished file."""
    if not path.exists():
        if staging_folder(path).exists():
            raise FileReadError(
                f"{path} is not finished: {staging_folder(path)} holds what is done; "
                "continue transform_to with resume=True"
            )
        raise FileReadError(f"{path} does not exist; check the spelling and the current directory")
    kind = recognize_format(path)
    try:
        metadata = kind.read_metadata(path)
        if metadata["castile_format"] > FORMAT_VERSION:
            raise FileReadError(f"{path} was written by Castile {metadata['castile_version']}; update Castile")
    except FileReadError:
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FileReadError(
            f"cannot read {path}: it is damaged, or transform_to did not write it ({error!r})"
        ) from error
    return metadata
