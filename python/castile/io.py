"""Structure files in, feature files out: clear errors, and never half a file."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.sparse
from ase import Atoms

from castile._core import __version__
from castile.descriptors import DESCRIPTORS, Jacobian, JacobianGroup, StrainGroup
from castile.descriptors._base import sample_dtype
from castile.descriptors._species import checked_species
from castile.descriptors.tabulated import TabulatedBasis
from castile.errors import FileReadError, InputError, MissingPackageError

__all__ = [
    "FeatureFile",
    "atomic_write",
    "check_folder",
    "check_output",
    "describe_descriptor",
    "load_features",
    "read_frames",
    "restore_descriptor",
    "save_features",
]

_COMPRESSED = (".gz", ".bz2", ".xz")  # as ASE has them
_FORMAT_VERSION = 1
_LEARNED = ("contraction_", "species_mixing_", "radial_mixing_")
_BLOCK_ARRAYS = ("columns", "values", "row", "frame", "atom")
_STRAIN_ARRAYS = ("columns", "values", "row")
_FORMAT_HINT = "name the format (format=, or --format); `ase info --formats` lists those that ASE reads"


def read_frames(path: str | os.PathLike[str], index: str = ":", format: str | None = None) -> list[Atoms]:
    """Read structures from a file of any format that ASE reads.

    Parameters
    ----------
    path : str or path-like
        The file; ``.gz``, ``.bz2`` and ``.xz`` are unpacked on the way.
    index : str
        Which frames, as a Python slice or an integer: ``":"`` (all), ``"-1"``, ``"::10"``, ``":100"``.
    format : str, optional
        ASE's name of the format; by default guessed from the file's name and beginning.

    Returns
    -------
    list of ase.Atoms
        At least one.

    Raises
    ------
    FileReadError
        If the file is missing, empty, cut off or of an unknown format; the message says which, and the remedy.
    InputError
        If ``index`` is no slice, or selects nothing.
    MissingPackageError
        If ASE needs another package for the format.

    Warns
    -----
    UserWarning
        If an xyz file does not end with a newline, so that its last number may be cut.

    Examples
    --------
    >>> from castile.io import read_frames
    >>> frames = read_frames("trajectory.xyz.gz", index="::10")  # doctest: +SKIP
    """
    path = Path(path)
    wanted = _parse_index(index)
    _check_input(path)
    frames = _read_with_ase(path, wanted, format)
    if not frames:
        if index == ":":
            raise FileReadError(f"{path} holds no structures; check that the file is complete, or {_FORMAT_HINT}")
        raise InputError(f"index {index!r} selects no structure of {path}; ':' selects all")
    return frames


def _parse_index(index: str) -> slice:
    parts = str(index).split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and numbers[0] is not None:
        return slice(numbers[0], (numbers[0] + 1) or None)
    if len(numbers) in (2, 3) and numbers[2:] != [0]:
        return slice(*numbers)
    raise InputError(f"index must be an integer or a slice such as ':', '-1', ':100' or '::10', got {index!r}")


def _check_input(path: Path) -> None:
    if path.is_dir():
        if (path / "metadata.json").exists():  # ASE's bundle trajectories are directories
            return
        raise FileReadError(f"{path} is a directory; give a file with structures")
    if not path.exists():
        nearby = "" if path.parent.is_dir() else f" (nor does the directory {path.parent})"
        raise FileReadError(f"{path} does not exist{nearby}; check the spelling and the current directory")
    if path.is_file() and path.stat().st_size == 0:
        raise FileReadError(f"{path} is empty (0 bytes); was it written completely?")


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Give a plain file to read: in a compressed one, ASE goes back for every frame and unpacks all again."""
    if path.suffix not in _COMPRESSED:
        yield path
        return
    from ase.io.formats import open_with_compression

    with tempfile.TemporaryDirectory(prefix="castile-") as folder:
        plain = Path(folder) / path.stem
        with open_with_compression(str(path), "rb") as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        yield plain


def _read_with_ase(path: Path, wanted: slice, format: str | None) -> list[Atoms]:
    from ase.io import iread
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    name = format
    try:
        with _unpacked(path) as plain:
            name = format or filetype(str(plain))
            if name not in ioformats or not ioformats[name].can_read:
                raise UnknownFileTypeError(name)
            # Formats that hold one structure do not take an index.
            single = ioformats[name].single
            frames = list(iread(str(plain), slice(None) if single else wanted, name, do_not_split_by_at_sign=True))
            _warn_if_cut(path, plain, len(frames))
            return frames[wanted] if single else frames
    except ImportError as error:
        raise _missing(path, name, error) from error
    except UnknownFileTypeError as error:
        if isinstance(error.__context__, ImportError):
            raise _missing(path, name, error.__context__) from error
        what = f"ASE reads no format {format!r}" if format else "ASE does not know its format"
        raise FileReadError(f"cannot read {path}: {what}; {_FORMAT_HINT}") from error
    except (MemoryError, FileReadError):
        raise
    except Exception as error:  # whatever the reader of the format stumbles over
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        reason = " ".join(reason.split())
        guessed = "" if format else ", as ASE guesses"
        raise FileReadError(
            f"cannot read {path} as {name}{guessed} ({reason}); the file may be damaged or cut off: "
            f"check its end, or {_FORMAT_HINT}"
        ) from error


def _missing(path: Path, format: str | None, error: ImportError) -> MissingPackageError:
    package = (error.name or "").partition(".")[0] or "with what is named here"
    return MissingPackageError(f"ASE lacks a package to read {path} as {format} ({error}): pip install {package}")


def _warn_if_cut(path: Path, plain: Path, n_frames: int) -> None:
    if n_frames == 0 or plain.suffix not in (".xyz", ".extxyz") or not plain.is_file():
        return
    with plain.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) not in b"\r\n":
            warnings.warn(
                f"{path} does not end with a newline: if it was cut off, the last number of the last of its "
                f"{n_frames} frames is wrong",
                stacklevel=4,
            )


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Check that a file may be written, before hours are spent on its contents.

    Parameters
    ----------
    path : str or path-like
        The file that will be written.
    overwrite : bool
        Whether it may exist.

    Returns
    -------
    Path
        Where to write: with symbolic links followed.

    Raises
    ------
    InputError
        If the file exists and must not be overwritten, is not a regular file, or its directory is missing or
        cannot be written to.
    """
    target = Path(os.path.realpath(path))
    if target.exists():
        if not target.is_file():
            raise InputError(f"{path} exists and is not a regular file; choose another name")
        if not overwrite:
            raise InputError(f"{path} exists; choose another name, or allow overwriting (--overwrite)")
    check_folder(target.parent)
    return target


def check_folder(folder: Path) -> None:
    """Raise InputError if no file can be written into a directory."""
    if not folder.is_dir():
        raise InputError(f"the directory {folder} does not exist; create it, or write elsewhere")
    if not os.access(folder, os.W_OK):
        raise InputError(f"no permission to write into the directory {folder}; write elsewhere")


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when all of it has been written.

    The bytes go to a temporary file in the same directory, which is renamed at the end, or removed if the block
    raises.

    Parameters
    ----------
    path : str or path-like
    overwrite : bool
        Whether a file of that name may be replaced.

    Yields
    ------
    binary file

    Raises
    ------
    InputError
        As :func:`check_output`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from castile.io import atomic_write
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "answer"
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"42")
    >>> path.read_bytes()
    b'42'
    """
    target = check_output(path, overwrite)
    # Short, as the whole name must stay below 255 bytes; mode 666 leaves the permissions to the umask.
    temporary = target.parent / f".castile-{secrets.token_hex(6)}.tmp"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        check_output(path, overwrite)  # another process may have been faster
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """What :func:`load_features` returns.

    Attributes
    ----------
    features : ndarray or scipy.sparse.csr_array of shape (n_rows, n_features)
    samples : structured ndarray of shape (n_rows,)
        Fields ``frame``, ``atom`` and ``species``, with groups also ``group``, as from ``descriptor.samples(frames)``.
    feature_names : ndarray of shape (n_features,)
    descriptor : dict
        ``name`` of the class, ``parameters``, ``species`` that the columns are laid out for, and what ``fit``
        ``learned``; :func:`restore_descriptor` makes an equal one of it.
    jacobian : Jacobian or None
    """

    features: Any
    samples: npt.NDArray[Any]
    feature_names: npt.NDArray[np.str_]
    descriptor: dict[str, Any]
    jacobian: Jacobian | None

    def __repr__(self) -> str:
        rows, columns = self.features.shape
        form = f"{self.features.dtype}{', sparse' if scipy.sparse.issparse(self.features) else ''}"
        jacobian = "no Jacobian" if self.jacobian is None else repr(self.jacobian).partition("\n")[0]
        species = " ".join(self.descriptor.get("species", []))
        name = self.descriptor.get("name", "descriptor")
        return f"<FeatureFile: {rows} rows x {columns} features ({form}) of {name} for {species}, {jacobian}>"


def save_features(
    path: str | os.PathLike[str],
    features: Any,
    samples: npt.NDArray[Any],
    descriptor: Any,
    jacobian: Jacobian | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write features to an ``.npz`` file, which ``numpy.load`` reads without pickle.

    Parameters
    ----------
    path : str or path-like
        Written under exactly this name, and only when complete.
    features : ndarray or SciPy sparse matrix of shape (n_rows, n_features)
        Stored as ``features``; a sparse one so that ``scipy.sparse.load_npz`` reads it.
    samples : structured ndarray of shape (n_rows,)
        Of ``descriptor.samples(frames)``; its fields become the arrays ``frame``, ``atom``, ``species`` and, if there
        are groups, ``group``.
    descriptor : fitted descriptor
        Its parameters are stored as JSON, its column names as ``feature_names``.
    jacobian : Jacobian, optional
        Stored as ``jacobian_species`` (one entry per group), for group ``k`` the arrays ``jacobian_k_columns``,
        ``_values``, ``_row``, ``_frame`` and ``_atom``, ``jacobian_atom_offsets``, and for strain group ``k``, of
        which dense rows have one, ``jacobian_strain_k_columns``, ``_values`` and ``_row``. The species of blocks of
        centers that are points is empty.
    overwrite : bool
        Whether a file of that name may be replaced.

    Raises
    ------
    InputError
        If the file cannot be written under this name.
    """
    arrays: dict[str, Any] = {"castile_version": __version__, "castile_format": _FORMAT_VERSION}
    arrays["descriptor"] = json.dumps(describe_descriptor(descriptor))
    arrays["feature_names"] = descriptor.get_feature_names_out().astype(str)
    arrays |= {name: samples[name] for name in samples.dtype.names or ()}
    if scipy.sparse.issparse(features):
        rows = scipy.sparse.csr_array(features)
        arrays |= {"format": np.array(b"csr"), "shape": rows.shape, "_is_array": True}
        arrays |= {"data": rows.data, "indices": rows.indices, "indptr": rows.indptr}
    else:
        arrays["features"] = features
    if jacobian is not None:
        arrays |= _jacobian_arrays(jacobian)
    with atomic_write(path, overwrite) as file:
        np.savez(file, **arrays)  # no objects among them, hence no pickle


def describe_descriptor(descriptor: Any) -> dict[str, Any]:
    """Return a descriptor's name, its parameters, the species of its columns, and what it learned, by attribute."""
    parameters = descriptor.get_params()
    known = parameters.get("species") is not None
    species = checked_species(parameters["species"]) if known else descriptor.species_
    return {
        "name": type(descriptor).__name__,
        "parameters": _plain({**parameters, "species": list(species), "dtype": descriptor._precision()}),
        "species": list(species),
        "learned": {name: _plain(value) for name in _LEARNED if (value := getattr(descriptor, name, None)) is not None},
    }


def restore_descriptor(description: Mapping[str, Any]) -> Any:
    """Make the descriptor that features were computed with, fitted as it was.

    Parameters
    ----------
    description : mapping
        The attribute ``descriptor`` of :class:`FeatureFile` or :class:`castile.storage.FeatureStore`.

    Returns
    -------
    SOAP, SphericalExpansion or RadialSpectrum

    Raises
    ------
    InputError
        If it does not describe a descriptor that this version has.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from ase.build import molecule
    >>> import castile
    >>> soap = castile.SOAP(cutoff=3.0, n_max=2, l_max=2, n_primitives=5).fit(molecule("H2O"))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "water.npy"
    >>> store = soap.transform_to(path, [molecule("H2O")])
    >>> again = castile.io.restore_descriptor(store.descriptor)
    >>> bool((again.transform(molecule("H2O")) == store.rows()).all())
    True
    """
    classes = {cls.__name__: cls for cls in DESCRIPTORS}
    try:
        cls = classes[description["name"]]
        parameters = dict(description["parameters"])
        basis = parameters.get("radial_basis")
        if isinstance(basis, Mapping):
            parameters["radial_basis"] = TabulatedBasis(basis["r"], basis["values"], basis["quantity"])
        descriptor = cls(**parameters)
        descriptor.species_ = tuple(description["species"])
        for name in _LEARNED:
            values = description["learned"].get(name)
            setattr(descriptor, name, None if values is None else np.array(values))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"description does not describe a descriptor of Castile {__version__}: {error!r}") from error
    return descriptor


def _plain(value: Any) -> Any:
    """Return parameters as JSON has them: arrays and tables of functions as lists of numbers."""
    if isinstance(value, TabulatedBasis):
        return {"r": value.r.tolist(), "values": value.values.tolist(), "quantity": value.quantity}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _jacobian_arrays(jacobian: Jacobian) -> dict[str, Any]:
    arrays: dict[str, Any] = {"jacobian_atom_offsets": jacobian.atom_offsets}
    groups = [*jacobian.groups, *jacobian.center_groups]
    arrays["jacobian_species"] = np.array([group.species for group in groups], dtype="U2")
    for k, group in enumerate(groups):
        for name in _BLOCK_ARRAYS:
            arrays[f"jacobian_{k}_{name}"] = getattr(group, name)
    for k, part in enumerate(jacobian.strain_groups or []):
        for name in _STRAIN_ARRAYS:
            arrays[f"jacobian_strain_{k}_{name}"] = getattr(part, name)
    return arrays


def load_features(path: str | os.PathLike[str]) -> FeatureFile:
    """Read a file that :func:`save_features` or ``castile describe`` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    FeatureFile

    Raises
    ------
    FileReadError
        If the file is missing, damaged, or something else.
    """
    path = Path(path)
    _check_input(path)
    try:
        # Opened here, as NumPy leaves a damaged file open.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile) or "castile_format" not in file:
                raise FileReadError(f"{path} was not written by castile describe; numpy.load may read it")
            if int(file["castile_format"]) > _FORMAT_VERSION:
                raise FileReadError(f"{path} was written by Castile {file['castile_version']}; update Castile")
            return _feature_file(file)
    except FileReadError:
        raise
    except OSError as error:
        raise FileReadError(f"cannot read {path} ({error.strerror or error}); check its permissions") from error
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy's own words would advise to allow pickle, which runs code from the file.
        raise FileReadError(
            f"cannot read {path}: it is not an .npz file that castile describe wrote, or it is damaged or cut off; "
            f"write it again with castile describe or castile.io.save_features"
        ) from error


def _feature_file(file: Any) -> FeatureFile:
    samples = np.empty(len(file["frame"]), dtype=sample_dtype("group" in file))
    for name in samples.dtype.names or ():
        samples[name] = file[name]
    if "features" in file:
        features = file["features"]
    else:
        parts = (file["data"], file["indices"], file["indptr"])
        features = scipy.sparse.csr_array(parts, shape=tuple(file["shape"]))
    jacobian = None
    if "jacobian_species" in file:
        groups = [
            JacobianGroup(str(species), *(file[f"jacobian_{k}_{name}"] for name in _BLOCK_ARRAYS))
            for k, species in enumerate(file["jacobian_species"])
        ]
        n_strain = sum(name.startswith("jacobian_strain_") and name.endswith("_row") for name in file)
        strain = [
            StrainGroup(*(file[f"jacobian_strain_{k}_{name}"] for name in _STRAIN_ARRAYS)) for k in range(n_strain)
        ]
        n_rows, n_features = features.shape
        of_points = [group for group in groups if not group.species]
        jacobian = Jacobian(
            groups[: len(groups) - len(of_points)],
            strain or None,
            n_rows,
            n_features,
            file["jacobian_atom_offsets"],
            of_points,
        )
    return FeatureFile(features, samples, file["feature_names"], json.loads(str(file["descriptor"])), jacobian)
