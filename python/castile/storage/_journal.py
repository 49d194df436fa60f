"""The record of a run that writes features: what it computes, and how much of its output is safely on disk."""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from castile.errors import FileReadError, InputError
from castile.storage._arrays import write_all

__all__ = ["Commit", "Journal"]


class Commit(NamedTuple):
    """A state of the output that a later run can go on from."""

    frames: int
    """Frames whose rows are written, from the first one on."""
    rows: dict[str, int]
    """Rows that each array has by then."""
    fingerprint: str
    """Of those frames, see :class:`castile.storage._fingerprint.Fingerprint`."""


class Journal:
    """A file of lines ``JSON, tab, checksum``: first the header, then one line per commit.

    A line is written after everything that it speaks of is on disk. A power failure can tear the last line only; one
    that is incomplete, or whose checksum is wrong, is dropped. The file is locked while it is open.
    """

    def __init__(self, path: Path, *, forget: bool = False) -> None:
        """Open the file and lock it; with ``forget`` without a look at what it says."""
        self.path = path
        self._file = path.open("a+b", buffering=0)
        try:
            _lock(self._file, path)
            records = [] if forget else self._read()
            self.header: dict[str, Any] | None = records[0] if records else None
            self.commits = [Commit(**record) for record in records[1:]]
        except BaseException:
            self._file.close()
            raise

    def begin(self, header: dict[str, Any]) -> None:
        """Start anew."""
        self._file.truncate(0)
        self._append(header)
        self.header, self.commits = header, []

    def commit(self, commit: Commit) -> None:
        """Add a state; everything that it speaks of must be on disk."""
        self._append(commit._asdict())
        self.commits.append(commit)

    def close(self) -> None:
        """Close the file, which unlocks it."""
        self._file.close()

    def _append(self, record: dict[str, Any]) -> None:
        text = json.dumps(record).encode()
        write_all(self._file, b"%s\t%08x\n" % (text, zlib.crc32(text)))
        os.fsync(self._file.fileno())

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        records = []
        for number, line in enumerate(lines, start=1):
            text, _, checksum = line.partition(b"\t")
            if checksum != b"%08x\n" % zlib.crc32(text):
                if number < len(lines):
                    raise FileReadError(f"line {number} of {self.path} is damaged; start again with overwrite=True")
                self._file.truncate(sum(map(len, lines[:-1])))
                break
            records.append(json.loads(text))
        return records


def _lock(file: Any, path: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"another run is writing to {path.parent}; wait for it, or write elsewhere") from None
    except OSError:
        pass  # some network file systems have no locks
