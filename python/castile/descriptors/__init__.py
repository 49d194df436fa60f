"""Descriptors; ``DESCRIPTORS`` lists them all, and tests, benchmarks and the command line go through it."""

from castile.descriptors.jacobian import Gradients, Jacobian, JacobianGroup, MemoryEstimate
from castile.descriptors.soap import SOAP, RadialSpectrum, SphericalExpansion

__all__ = [
    "DESCRIPTORS",
    "SOAP",
    "Gradients",
    "Jacobian",
    "JacobianGroup",
    "MemoryEstimate",
    "RadialSpectrum",
    "SphericalExpansion",
]

DESCRIPTORS = (SOAP, SphericalExpansion, RadialSpectrum)
