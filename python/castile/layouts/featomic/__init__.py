"""Featomic's blocks, from our rows and back."""

from castile.layouts.featomic.blocks import FeatomicBlock, FeatomicGradient
from castile.layouts.featomic.from_blocks import from_featomic, jacobian_from_featomic, strain_from_featomic
from castile.layouts.featomic.to_blocks import featomic_parameters, to_featomic

__all__ = [
    "FeatomicBlock",
    "FeatomicGradient",
    "featomic_parameters",
    "from_featomic",
    "jacobian_from_featomic",
    "strain_from_featomic",
    "to_featomic",
]
