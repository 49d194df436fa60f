"""Descriptors; ``DESCRIPTORS`` lists them all, and tests, benchmarks and the command line go through it."""

from castile.descriptors._streaming import FeatureChunk
from castile.descriptors.bispectrum import Bispectrum
from castile.descriptors.jacobian import Gradients, Jacobian, JacobianGroup, MemoryEstimate, StrainGroup
from castile.descriptors.products import Products
from castile.descriptors.soap import SOAP, RadialSpectrum, SphericalExpansion
from castile.descriptors.tabulated import TabulatedBasis

__all__ = [
    "DESCRIPTORS",
    "SOAP",
    "Bispectrum",
    "FeatureChunk",
    "Gradients",
    "Jacobian",
    "JacobianGroup",
    "MemoryEstimate",
    "Products",
    "RadialSpectrum",
    "SphericalExpansion",
    "StrainGroup",
    "TabulatedBasis",
]

DESCRIPTORS = (SOAP, SphericalExpansion, RadialSpectrum, Products, Bispectrum)
