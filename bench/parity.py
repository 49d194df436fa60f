"""Castile with the settings of the other libraries, and checks that equal settings give equal values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import featomic
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from dscribe.descriptors import SOAP as DScribeSOAP  # noqa: N811
from quippy.descriptors import Descriptor as QuippyDescriptor
from scipy.special import erf, spherical_in

import castile
from cases import Case, parameters_for
from castile.layouts import featomic_parameters, from_dscribe, from_featomic, jacobian_from_featomic, to_array

__all__ = [
    "Quippy",
    "dscribe_soap",
    "featomic_width",
    "quippy_soap",
    "require_equal_dscribe",
    "require_equal_featomic",
    "require_equal_featomic_gradients",
    "require_equal_quippy",
    "require_equal_quippy_gradients",
]

# DScribe's Gaussians reach so many σ past r_cut, where they have fallen to a thousandth.
REACH = np.sqrt(2 * np.log(1000))


def require_close(ours: np.ndarray, theirs: np.ndarray, bound: float) -> None:
    """Raise if the largest difference is above ``bound`` times the largest value."""
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    if not difference < bound:
        raise RuntimeError(f"values differ by {difference:.1e} of the largest, bound {bound}")


# ---------------------------------------------------------------- featomic


def featomic_width(tensor: Any) -> int:
    """Return how many numbers featomic gives for a center: those of its blocks for one species of centers, at most."""
    widths: dict[int, int] = {}
    for key, block in tensor.items():
        center = int(key["center_type"])
        widths[center] = widths.get(center, 0) + len(block.properties)
    return max(widths.values())


def require_equal_featomic(soap: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless featomic's power spectrum is ours, at the settings timed and at tight ones."""
    for accuracy, spline_accuracy, bound in ((1e-8, 1e-8, 1e-6), (1e-10, 1e-12, 1e-9)):
        ours = soap.__class__(**{**soap.get_params(), "accuracy": accuracy})
        parameters = featomic_parameters(ours, spline_accuracy)
        tensor = featomic.SoapPowerSpectrum(**parameters).compute(frames)
        theirs = from_featomic(tensor, ours, ours.samples(frames))
        require_close(ours.transform(frames), theirs, bound)


def require_equal_featomic_gradients(soap: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless featomic's gradients are ours, at tight settings."""
    ours = soap.__class__(**{**soap.get_params(), "accuracy": 1e-10})
    parameters = featomic_parameters(ours, 1e-12)
    tensor = featomic.SoapPowerSpectrum(**parameters).compute(frames, gradients=["positions"])
    jacobian = ours.jacobian(frames, strain=False)
    theirs = jacobian_from_featomic(tensor, ours, ours.samples(frames), jacobian.atom_offsets)
    require_close(jacobian.to_dense(), theirs, 1e-7)


# ---------------------------------------------------------------- DScribe


def dscribe_soap(case: Case, periodic: bool) -> tuple[Any, castile.SOAP]:
    """Return DScribe's descriptor and ours with its settings."""
    p = case.parameters
    sizes = {"n_max": p["n_max"], "l_max": p["l_max"], "sigma": p["sigma"], "species": list(case.species)}
    theirs = DScribeSOAP(r_cut=p["cutoff"], periodic=periodic, **sizes)
    ours = castile.SOAP(
        cutoff=p["cutoff"],
        neighbor_radius=p["cutoff"] + p["sigma"] * REACH,
        radial_basis="gto_l",
        cutoff_function=None,
        **sizes,
    )
    return theirs, ours


def require_equal_dscribe(theirs: Any, ours: castile.SOAP, frames: list[Atoms]) -> None:
    """Raise unless DScribe's rows are ours; atoms outside of the cell, where it misses neighbors, are moved into it."""
    for atoms in frames[:20]:
        inside = atoms.copy()
        inside.wrap(eps=0.0)
        require_close(ours.transform(inside), from_dscribe(theirs.create(inside), ours), 1e-6)


# ---------------------------------------------------------------- QUIP


@dataclass(frozen=True)
class Quippy:
    """QUIP's descriptor for one structure at a time.

    Attributes
    ----------
    descriptor : quippy.descriptors.Descriptor
    cutoff : float
        Å; given to each call, or else neighbors are sought up to 1 Å beyond it.
    """

    descriptor: Any
    cutoff: float

    @property
    def width(self) -> int:
        """Numbers in a row, without the one that is no part of the power spectrum (covariance_sigma0)."""
        return int(self.descriptor.dimensions()) - 1

    def values(self, atoms: Atoms) -> Any:
        """Return the rows."""
        return self.descriptor.calc(atoms, cutoff=self.cutoff)["data"]

    def gradients(self, atoms: Atoms) -> Any:
        """Return rows and gradients with their indices."""
        return self.descriptor.calc(atoms, grad=True, cutoff=self.cutoff)


def quippy_soap(case: Case, n_points: int = 1001, accuracy: float = 1e-8) -> tuple[Quippy, castile.SOAP]:
    """Return QUIP's descriptor and ours with its radial functions, which Castile takes as a table of some points."""
    p = parameters_for(castile.SOAP, case)
    width = 0.5  # of the cutoff function
    numbers = " ".join(str(atomic_numbers[symbol]) for symbol in case.species)
    n = len(case.species)
    theirs = QuippyDescriptor(
        f"soap cutoff={p['cutoff']} cutoff_transition_width={width} n_max={p['n_max']} l_max={p['l_max']} "
        f"atom_sigma={p['sigma']} normalise=F n_species={n} species_Z={{{numbers}}} n_Z={n} Z={{{numbers}}}"
    )

    def radial(r: np.ndarray) -> np.ndarray:
        return quip_radial_functions(r, p["cutoff"], p["n_max"], p["l_max"], p["sigma"])

    basis = castile.TabulatedBasis.from_function(radial, p["cutoff"], n_points, "R")
    return Quippy(theirs, p["cutoff"]), castile.SOAP(**p, radial_basis=basis, cutoff_width=width, accuracy=accuracy)


def quip_radial_functions(r: np.ndarray, cutoff: float, n_max: int, l_max: int, sigma: float) -> np.ndarray:
    """Return R_nl(r) of a neighbor's Gaussian, (n_r, l_max + 1, n_max), without the cutoff function.

    The density is matched at radii r_k, evenly spaced from 0 on, with Gaussians of the same width in r, which are
    then made orthonormal over r² dr.
    """
    a = 0.5 / sigma**2
    error = 1e-10  # QUIP's basis_error_exponent: how far the Gaussians have fallen where the radii end
    radii = np.arange(n_max) / n_max * (cutoff + sigma * np.sqrt(-2 * np.log(error)))
    values = np.exp(-a * (radii[:, None] - radii) ** 2)
    total = radii[:, None] + radii
    near_zero = np.sqrt(2 * a) * a * total * np.exp(-a * (radii[:, None] ** 2 + radii**2))
    beyond = np.sqrt(np.pi) * a * (1 + a * total**2) * (1 + erf(np.sqrt(a / 2) * total)) * np.sqrt(values)
    overlap = (near_zero + beyond) / np.sqrt(128 * a**5)
    transform = np.linalg.solve(values, np.linalg.cholesky(overlap))
    argument = 2 * a * r[:, None] * radii
    decay = np.exp(-a * (r[:, None] ** 2 + radii**2))
    return np.stack([decay * spherical_in(degree, argument) @ transform for degree in range(l_max + 1)], axis=1)


def quip_columns(features: np.ndarray, soap: castile.SOAP) -> np.ndarray:
    """Return our columns in QUIP's order: pairs of channels (species, n), the later one first, then l."""
    tensor = to_array(features, soap)
    n_channels = tensor.shape[-5] * tensor.shape[-4]
    tensor = tensor.reshape(*features.shape[:-1], n_channels, n_channels, -1)
    first, second = np.tril_indices(n_channels)
    factor = np.where(first == second, 1.0, np.sqrt(2))[:, None]
    return (tensor[..., first, second, :] * factor).reshape(*features.shape[:-1], -1)


def require_equal_quippy(theirs: Quippy, ours: castile.SOAP, frames: Sequence[Atoms]) -> None:
    """Raise unless QUIP's rows are ours."""
    for atoms in frames[:20]:
        require_close(quip_columns(ours.transform(atoms), ours), theirs.values(atoms)[:, :-1], 1e-7)


def require_equal_quippy_gradients(case: Case, atoms: Atoms) -> None:
    """Raise unless QUIP's gradients are ours, at tight settings."""
    theirs, ours = quippy_soap(case, 4001, 1e-10)
    result = theirs.gradients(atoms)
    dense = np.zeros((len(atoms), len(atoms), 3, theirs.width))
    center, moved = result["grad_index_0based"].T
    np.add.at(dense, (center, moved), result["grad_data"][..., :-1])  # images of an atom count together
    jacobian = ours.jacobian(atoms, strain=False).to_dense()
    require_close(quip_columns(jacobian, ours), dense, 1e-7)
