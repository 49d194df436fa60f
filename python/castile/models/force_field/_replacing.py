"""Files that are there completely or not at all, whatever goes wrong while they are written."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from castile.errors import CastileError, FileWriteError
from castile.io import check_output
from castile.storage._arrays import sync_folder

__all__ = ["replacing"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends, and only once it is on the disk.

    A symbolic link stays, and what it points to is replaced. The permissions of an existing file are kept; its owner
    and group too, where the system allows it.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    binary file

    Raises
    ------
    InputError
        If this name cannot be written to: no such directory, a directory itself, no permission.
    FileWriteError
        If the disk is full or fails; what was there before is untouched.
    """
    with _errors_explained(path):
        target = check_output(path, overwrite=True)
        if target.exists() and not os.access(target, os.W_OK):
            raise FileWriteError(f"{path} is read-only; make it writable, or choose another name")
        # Short, as the whole name must stay below 255 bytes.
        temporary = target.parent / f".castile-{secrets.token_hex(6)}.tmp"
        try:
            with _new_file(temporary, target) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            with suppress(OSError):  # it has its final name, or was never made
                temporary.unlink()


@contextmanager
def _errors_explained(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except CastileError:
        raise
    except OSError as error:
        remedy = "make room or write elsewhere" if error.errno in _FULL else "write elsewhere"
        raised = FileWriteError(f"cannot write {path} ({error.strerror or error}); {remedy}")
        raised.errno = error.errno
        raise raised from error


def _new_file(temporary: Path, target: Path) -> BinaryIO:
    """Create a file with the permissions of the one that it will replace, else those of the umask."""
    file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "w+b")
    try:
        if target.exists():
            old = target.stat()
            with suppress(OSError):  # only the administrator may give files away
                os.chown(temporary, old.st_uid, old.st_gid)
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
    except BaseException:
        file.close()
        raise
    return file
