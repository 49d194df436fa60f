"""Arrays of a model file: .npy members of four types of numbers, with no way to say anything else."""

from __future__ import annotations

import ast
import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from castile.errors import InputError, InputTypeError

__all__ = ["HEADER_LIMIT", "ArrayHeader", "array_header", "checked_array"]

# Type as the file has it, whatever the machine.
_TYPES = {name: np.dtype(name) for name in ("<f8", "<f4", "<i8", "<i4")}
_TYPE_NAMES = "float64, float32, int64 or int32"
_LARGEST_DIMENSIONS = 8
_PREFIX = bytes(np.lib.format.magic(1, 0))
_ALIGNMENT = 64  # of what follows the header, as the format asks for
HEADER_LIMIT = 1024  # bytes; eight dimensions take far less


def checked_array(name: str, value: Any) -> npt.NDArray[Any]:
    """Return an array as it is stored, in C order and with the lowest byte first; copied only if need be."""
    array = np.asarray(value)
    stored = array.dtype.newbyteorder("<") if array.dtype.kind in "fi" else array.dtype
    if stored.str not in _TYPES:
        raise InputTypeError(
            f"arrays[{name!r}] must be of type {_TYPE_NAMES}, got {array.dtype}; convert it with astype, "
            "or put text and flags into the metadata"
        )
    if array.ndim > _LARGEST_DIMENSIONS:
        raise InputError(f"arrays[{name!r}] must have at most {_LARGEST_DIMENSIONS} dimensions, got {array.ndim}")
    return np.asarray(array, dtype=stored, order="C")


class ArrayHeader:
    """Type and shape of a stored array, and how long its header is.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
    n_bytes : int
        Of the numbers alone.
    """

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape
        self.n_bytes = dtype.itemsize * math.prod(shape)

    def to_bytes(self) -> bytes:
        """Return what stands before the numbers, in version 1.0 of NumPy's format.

        NumPy's own writer would do, but how much it pads has changed between its versions.
        """
        text = repr({"descr": self.dtype.str, "fortran_order": False, "shape": self.shape})
        length = len(_PREFIX) + 2 + len(text) + 1
        text += " " * (-length % _ALIGNMENT) + "\n"
        return _PREFIX + struct.pack("<H", len(text)) + text.encode("ascii")


def array_header(start: bytes) -> ArrayHeader:
    """Read the header at the start of a member.

    Parameters
    ----------
    start : bytes
        The first bytes, ``HEADER_LIMIT`` of them if there are as many.

    Returns
    -------
    ArrayHeader

    Raises
    ------
    ValueError
        If it is not, byte for byte, what :meth:`ArrayHeader.to_bytes` writes.
    """
    if not start.startswith(_PREFIX) or len(start) < len(_PREFIX) + 2:
        raise ValueError("not a .npy array of version 1.0")
    (length,) = struct.unpack_from("<H", start, len(_PREFIX))
    text = start[len(_PREFIX) + 2 : len(_PREFIX) + 2 + length]
    fields = ast.literal_eval(text.decode("ascii").strip())
    dtype, shape = _TYPES.get(fields["descr"]), fields["shape"]
    if dtype is None:
        raise ValueError(f"type {fields['descr']!r} instead of {_TYPE_NAMES}")
    if not isinstance(shape, tuple) or len(shape) > _LARGEST_DIMENSIONS:
        raise ValueError(f"shape {shape!r}")
    if not all(type(size) is int and 0 <= size < 2**48 for size in shape):
        raise ValueError(f"shape {shape!r}")
    header = ArrayHeader(dtype, shape)
    if not start.startswith(header.to_bytes()):
        raise ValueError("a header that Castile does not write")
    return header
