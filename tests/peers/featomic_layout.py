"""Featomic's parameters, factors and orders, in terms of ours.

The definitions are those of featomic 0.6.7 (SphericalExpansion, SoapRadialSpectrum and
SoapPowerSpectrum); test_featomic.py, which sees all columns, confirms every factor.

- Its Gaussians are exp(-x²/2σ²) / (πσ²)^(3/4), whose square has unit integral; ours have unit
  height. So each coefficient c carries (πσ²)^(-3/4), and each product of two (πσ²)^(-3/2).
- ``max_radial`` is the largest n, counted from zero: n_max - 1 in our words.
- Coefficients: blocks (l, 1, center species, neighbor species), components m, columns n.
- Radial spectrum: blocks (center species, neighbor species), columns n: the coefficient c_n00
  itself, without the √4π that would make it the integral over the sphere.
- Power spectrum: p_f = (-1)^l (πσ²)^(-3/2) (2l+1)^(-1/2) Σ_m c c, times √2 in blocks of two
  different species a < a'; columns l, n, n' with all n, n' even if a = a'. Ours keeps n <= n'
  there, and multiplies all off-diagonal products by √2, be it the species or n that differ.
- A block has rows only for the centers that see its species; what is absent is zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

import castile


def parameters(descriptor: castile.SOAP, spline_accuracy: float | None = 1e-12) -> dict:
    """Return the keyword arguments of featomic's calculator for one of our descriptors."""
    smoothing = {"type": "Step"}
    if descriptor.cutoff_function == "cosine":
        smoothing = {"type": "ShiftedCosine", "width": descriptor.cutoff_width}
    radial = {"type": "Gto", "max_radial": descriptor.n_max - 1}
    basis = {"radial": radial, "spline_accuracy": spline_accuracy}
    if not isinstance(descriptor, castile.RadialSpectrum):
        basis |= {"type": "TensorProduct", "max_angular": descriptor.l_max}
    return {
        "cutoff": {"radius": descriptor.cutoff, "smoothing": smoothing},
        "density": {
            "type": "Gaussian",
            "width": descriptor.sigma,
            "center_atom_weight": descriptor.center_weight,
        },
        "basis": basis,
    }


@dataclass(frozen=True)
class _Part:
    """The columns of one of featomic's blocks: their places in it and in ours, and a factor."""

    block: Any
    chosen: np.ndarray  # index into the block's flattened components and properties
    columns: np.ndarray
    factor: np.ndarray  # ours = factor * theirs


def _parts(tensor, descriptor: castile.SOAP) -> Iterator[_Part]:
    species = [atomic_numbers[symbol] for symbol in descriptor.species]
    column = {name: index for index, name in enumerate(descriptor.get_feature_names_out())}
    area = np.pi * descriptor.sigma**2
    for key, block in tensor.items():
        names, factors, chosen = [], [], []
        if isinstance(descriptor, castile.SOAP):
            a, b = (descriptor.species[species.index(key[f"neighbor_{k}_type"])] for k in (1, 2))
            for index, (degree, n, k) in enumerate(block.properties.values):
                if a == b and n > k:
                    continue
                chosen.append(index)
                names.append(f"{a}-{b}_l{degree}_n{n}_n{k}")
                packing = np.sqrt(2.0) if a == b and n != k else 1.0
                factors.append((-1.0) ** degree * area**1.5 * packing)
        else:
            a = descriptor.species[species.index(key["neighbor_type"])]
            if isinstance(descriptor, castile.SphericalExpansion):
                degree, m = key["o3_lambda"], block.components[0].values[:, 0]
                n = block.properties.values[:, 0]
                names = [f"{a}_n{k}_l{degree}_m{mu}" for mu in m for k in n]
            else:
                names = [f"{a}_n{k}" for k in block.properties.values[:, 0]]
            chosen = range(len(names))
            factors = [area**0.75] * len(names)
        columns = np.array([column[name] for name in names])
        yield _Part(block, np.array(chosen), columns, np.array(factors))


def _flat(values: np.ndarray, n_leading: int) -> np.ndarray:
    return values.reshape(*values.shape[:n_leading], -1)


def features(tensor, descriptor: castile.SOAP, frames: list[Atoms]) -> np.ndarray:
    """Return featomic's result as our feature matrix, (n_centers, n_features)."""
    first_atom = np.cumsum([0, *map(len, frames)])
    result = np.zeros((first_atom[-1], len(descriptor.get_feature_names_out())))
    for part in _parts(tensor, descriptor):
        block = part.block
        row = first_atom[block.samples["system"]] + block.samples["atom"]
        values = _flat(block.values, 1)[:, part.chosen] * part.factor
        result[row[:, None], part.columns] += values
    return result


def jacobian(tensor, descriptor: castile.SOAP, frames: list[Atoms]) -> np.ndarray:
    """Return featomic's gradients as our dense Jacobian, (n_centers, n_atoms, 3, n_features)."""
    first_atom = np.cumsum([0, *map(len, frames)])
    n_atoms = first_atom[-1]
    result = np.zeros((n_atoms, n_atoms, 3, len(descriptor.get_feature_names_out())))
    for part in _parts(tensor, descriptor):
        block = part.block
        row = first_atom[block.samples["system"]] + block.samples["atom"]
        gradient = block.gradient("positions")
        sample, atom = gradient.samples["sample"], gradient.samples["atom"]
        moving = first_atom[gradient.samples["system"]] + atom
        values = _flat(gradient.values, 2)[:, :, part.chosen] * part.factor
        for index, (center, other) in enumerate(zip(row[sample], moving, strict=True)):
            result[center, other][:, part.columns] += values[index]
    return result


def strain(tensor, descriptor: castile.SOAP, frames: list[Atoms]) -> np.ndarray:
    """Return featomic's strain gradients as ours, (n_centers, 3, 3, n_features).

    Featomic moves one entry of the strain at a time; our strain is symmetric, and its gradient
    the symmetric part.
    """
    first_atom = np.cumsum([0, *map(len, frames)])
    result = np.zeros((first_atom[-1], 3, 3, len(descriptor.get_feature_names_out())))
    for part in _parts(tensor, descriptor):
        block = part.block
        row = first_atom[block.samples["system"]] + block.samples["atom"]
        gradient = block.gradient("strain")
        values = _flat(gradient.values, 3)[..., part.chosen] * part.factor
        for index, center in enumerate(row[gradient.samples["sample"]]):
            result[center][:, :, part.columns] += values[index]
    return (result + result.swapaxes(1, 2)) / 2
