"""Featomic's blocks as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from castile.errors import InputTypeError

__all__ = ["FeatomicBlock", "FeatomicGradient", "plain_blocks"]

IntArray = npt.NDArray[np.integer[Any]]

_KEY_NAMES = (
    ("o3_lambda", "o3_sigma", "center_type", "neighbor_type"),
    ("center_type", "neighbor_type"),
    ("center_type", "neighbor_1_type", "neighbor_2_type"),
)


@dataclass(frozen=True, eq=False)
class FeatomicGradient:
    """Derivatives of a block's values.

    Attributes
    ----------
    samples : ndarray of shape (n, 3), or (n, 1) for strain
        Row of the block; and, for positions, the moving atom: system and atom.
    values : ndarray of shape (n, 3, [n_components,] n_properties), or (n, 3, 3, ...) for strain
    """

    samples: IntArray
    values: npt.NDArray[Any]

    def __repr__(self) -> str:
        return f"<FeatomicGradient: values {self.values.shape}>"


@dataclass(frozen=True, eq=False)
class FeatomicBlock:
    """One of featomic's blocks, as plain arrays.

    Attributes
    ----------
    samples : ndarray of shape (n_rows, 2)
        System (frame) and atom of each row.
    components : ndarray of shape (2l + 1,), or None
        m, from -l to l; density coefficients alone have them.
    properties : ndarray of shape (n_properties, 1) or (n_properties, 3)
        n; or l, n and n' of a power spectrum.
    values : ndarray of shape (n_rows, [n_components,] n_properties)
    gradients : dict of FeatomicGradient
        By ``positions`` and ``strain``, if there are any.
    """

    samples: IntArray
    components: IntArray | None
    properties: IntArray
    values: npt.NDArray[Any]
    gradients: Mapping[str, FeatomicGradient] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<FeatomicBlock: values {self.values.shape}, gradients {list(self.gradients)}>"


def plain_blocks(tensor: Any) -> dict[tuple[int, ...], FeatomicBlock]:
    """Return the blocks of a TensorMap, or of a dict of blocks, by keys that are tuples of integers."""
    if isinstance(tensor, Mapping):
        return dict(tensor)
    names = tuple(getattr(getattr(tensor, "keys", None), "names", ()))
    if names not in _KEY_NAMES:
        raise InputTypeError(
            "tensor must be the TensorMap of a featomic calculator, with its keys as they were, or a dict of "
            f"FeatomicBlock, got {type(tensor).__name__}" + (f" with keys {', '.join(names)}" if names else "")
        )
    return {tuple(int(entry) for entry in key.values): _plain_block(block) for key, block in tensor.items()}


def _plain_block(block: Any) -> FeatomicBlock:
    components = [labels.values[:, 0] for labels in block.components]
    gradients = {
        name: FeatomicGradient(gradient.samples.values, gradient.values) for name, gradient in block.gradients()
    }
    return FeatomicBlock(
        samples=block.samples.values,
        components=components[0] if components else None,
        properties=block.properties.values,
        values=block.values,
        gradients=gradients,
    )
