"""A check that frames are those of an earlier run, which costs far less than their features."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

import numpy as np

from castile.descriptors._input import DescriptorInput

__all__ = ["Fingerprint"]


class Fingerprint:
    """Digest of all frames and centers seen so far; it does not depend on how they were cut into chunks."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = {}

    def add(self, given: DescriptorInput) -> str:
        """Take in the next frames; return the digest of everything so far."""
        for part in (given.structures, given.centers, given.rows):
            for field in fields(part):
                values = getattr(part, field.name)
                # The order is that of the atoms; its indices depend on the chunk.
                if not isinstance(values, np.ndarray) or field.name == "order":
                    continue
                if field.name.endswith("offsets"):  # they begin at 0 in every chunk
                    values = np.diff(values)
                if field.name == "points":  # there for all centers of a chunk that has any
                    values = values[given.centers.atoms < 0]
                if values.size == 0:
                    continue
                name = f"{type(part).__name__}.{field.name}"
                own = self._hashes.setdefault(name, hashlib.blake2b(name.encode(), digest_size=16))
                own.update(np.ascontiguousarray(values).tobytes())
        digests = (self._hashes[name].digest() for name in sorted(self._hashes))
        return hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()
