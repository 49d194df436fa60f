"""What the commands of force fields read and write, checked before the work begins."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from castile.cli._console import errors, output
from castile.errors import InputError
from castile.io import atomic_write, check_folder, check_output, read_frames
from castile.models.force_field import ForceField, load
from castile.structures import as_structure_arrays, trained_species_table

__all__ = [
    "Pictures",
    "bytes_of",
    "check_frames_file",
    "frames_text",
    "label_keys",
    "print_json",
    "read_model",
    "read_structure",
    "repetitions",
    "require_crystal",
    "warn",
    "write_frames",
]

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_XYZ = (".xyz", ".extxyz")


def bytes_of(text: str) -> int:
    """Return the number of bytes that ``2GiB``, ``500 MB`` or ``1e9`` stand for."""
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        number, prefix, binary = match.groups()
        return int(float(number) * (1024 if binary else 1000) ** _POWERS[prefix.lower()])
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise InputError(f"--max-memory must be a size such as 2GiB or 500MB, got {text!r}") from None


def warn(text: str) -> None:
    """Print a warning as one line on the error stream."""
    errors.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def label_keys(**keys: str | None) -> dict[str, Any]:
    """Return what options say about where labels are, as :func:`castile.data.read` takes it."""
    return {name: False if key == "none" else key for name, key in keys.items() if key is not None}


def read_model(path: Path) -> ForceField:
    """Return the force field of a file."""
    with errors.status(f"reading {path}"):
        return load(path)


def read_structure(
    path: Path, model: ForceField, *, index: str, file_format: str | None, supercell: str | None
) -> Atoms:
    """Return the one structure that is asked for, with the calculator of a model that knows its species."""
    frames = read_frames(path, index, file_format)
    if len(frames) != 1:
        raise InputError(f"--index {index} selects {len(frames)} structures of {path}; name one, as in --index 0")
    atoms = frames[0]
    trained_species_table(model.species_, as_structure_arrays([atoms]).numbers)
    if supercell is not None:
        atoms = atoms.repeat(repetitions(supercell, "--supercell"))
    atoms.calc = model.calculator()
    return atoms


def repetitions(text: str, option: str) -> tuple[int, int, int]:
    """Return the three numbers of ``2,2,2``, ``2x2x2`` or ``2``."""
    numbers = re.split(r"[x,\s]+", text.strip())
    if not all(number.isdecimal() and int(number) > 0 for number in numbers) or len(numbers) not in (1, 3):
        raise InputError(f"{option} must be one or three positive integers, as in 2 or 2x2x1, got {text!r}")
    a, b, c = (int(number) for number in (numbers * 3)[:3])
    return a, b, c


def require_crystal(atoms: Atoms, what: str) -> None:
    """Raise InputError for structures that are not periodic in three directions."""
    if not atoms.pbc.all():
        raise InputError(
            f"{what} need a crystal, periodic along three axes; pbc of the structure is {atoms.pbc.tolist()}"
        )


def check_frames_file(path: Path | None, overwrite: bool) -> None:
    """Check that structures may be written."""
    if path is None:
        return
    if path.suffix.lower() not in _XYZ:
        raise InputError(f"--output must end in .xyz or .extxyz, as extended XYZ is what is written, got {str(path)!r}")
    check_output(path, overwrite)


def frames_text(frames: Iterable[Atoms]) -> bytes:
    """Return structures as extended XYZ, with energies, forces and stresses that they carry."""
    from ase.io.extxyz import write_xyz

    text = io.StringIO()
    write_xyz(text, list(frames))
    return text.getvalue().encode("utf-8")


def write_frames(path: Path, frames: Sequence[Atoms], overwrite: bool) -> None:
    """Write structures as a whole."""
    with atomic_write(path, overwrite) as file:
        file.write(frames_text(frames))


def print_json(data: Mapping[str, Any]) -> None:
    """Print results as JSON; what is no finite number is null."""
    print(json.dumps(_plain(data), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


class Pictures:
    """Pictures that are drawn into a folder at the end, if one was named.

    A picture that cannot be drawn is a warning: it must not cost the results that it shows.

    Parameters
    ----------
    folder : Path or None
    names : sequence of str
        Of the files that may be written.
    overwrite : bool
    """

    def __init__(self, folder: Path | None, names: Sequence[str], overwrite: bool) -> None:
        self._folder, self._overwrite = folder, overwrite
        self.written: list[Path] = []
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the directory {folder} ({error.strerror}); name another") from error
        check_folder(folder)
        for name in names:
            check_output(folder / name, overwrite)

    @property
    def wanted(self) -> bool:
        """Whether a folder was named."""
        return self._folder is not None

    def draw(self, name: str, make: Callable[[], Any]) -> None:
        """Draw what ``make`` returns, axes or a figure, if pictures are wanted."""
        if self._folder is None:
            return
        path = self._folder / name
        with self._problems_as_warnings(path):
            drawn = make()
            figure = drawn if hasattr(drawn, "savefig") else drawn.figure
            with atomic_write(path, self._overwrite) as file:
                figure.savefig(file, format="png")
            self.written.append(path)

    @contextmanager
    def _problems_as_warnings(self, path: Path) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            warn(f"{path} was not drawn, as matplotlib cannot be imported ({error}); pip install matplotlib")
        except (ValueError, OSError) as error:
            warn(f"{path} was not drawn: {error}")

    def list(self) -> None:
        """Print where the pictures are."""
        for path in self.written:
            output.print(f"  {path}", markup=False, soft_wrap=True)
