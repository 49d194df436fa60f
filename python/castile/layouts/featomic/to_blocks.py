"""Featomic's blocks from our rows, and its parameters from ours."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from castile import _checks
from castile.descriptors import Jacobian, RadialSpectrum
from castile.errors import InputError
from castile.layouts._columns import checked_rows, kind_of
from castile.layouts.featomic.blocks import FeatomicBlock, FeatomicGradient
from castile.layouts.featomic.columns import BlockColumns, featomic_columns

__all__ = ["featomic_parameters", "to_featomic"]

IntArray = npt.NDArray[np.int64]

# Parameters that featomic has too, or that do not change what is computed.
_TRANSLATED = {
    "cutoff",
    "n_max",
    "l_max",
    "sigma",
    "cutoff_function",
    "cutoff_width",
    "density_weighting",
    "center_weight",
}
_OURS_ALONE = {"species", "sparse", "dtype", "accuracy"}


def featomic_parameters(descriptor: Any, spline_accuracy: float | None = 1e-8) -> dict[str, Any]:
    """Return the keyword arguments of featomic's calculator for one of our descriptors.

    Parameters
    ----------
    descriptor : SOAP, SphericalExpansion or RadialSpectrum
        For ``featomic.SoapPowerSpectrum``, ``SphericalExpansion`` or ``SoapRadialSpectrum``.
    spline_accuracy : float or None
        Error of featomic's radial tables; None is its closed form.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If the descriptor has something that featomic lacks.

    Examples
    --------
    >>> import castile
    >>> from castile.layouts import featomic_parameters
    >>> featomic_parameters(castile.RadialSpectrum(cutoff=4.0, n_max=6))["cutoff"]
    {'radius': 4.0, 'smoothing': {'type': 'ShiftedCosine', 'width': 0.5}}
    """
    kind = kind_of(descriptor)
    defaults = inspect.signature(type(descriptor)).parameters
    for name, value in descriptor.get_params(deep=False).items():
        if name not in _TRANSLATED | _OURS_ALONE and value != defaults[name].default:
            raise InputError(f"{name}={value!r} has no counterpart in featomic; use {defaults[name].default!r}")
    n_max = _checks.integer("n_max", descriptor.n_max, 1)
    for name in ("cutoff", "sigma"):
        value = getattr(descriptor, name)
        if isinstance(value, Mapping):
            raise InputError(f"{name}={value!r} has no counterpart in featomic, where species share it; use a number")
        _checks.positive_length(name, value)  # featomic has no delta densities
    smoothing = {
        "cosine": {"type": "ShiftedCosine", "width": descriptor.cutoff_width},
        None: {"type": "Step"},
    }.get(descriptor.cutoff_function)
    if smoothing is None:
        raise InputError(f"cutoff_function={descriptor.cutoff_function!r} is not in featomic; use 'cosine' or None")
    basis: dict[str, Any] = {
        "radial": {"type": "Gto", "max_radial": n_max - 1},  # the largest n, from 0
        "spline_accuracy": spline_accuracy,
    }
    if kind is not RadialSpectrum:
        basis |= {"type": "TensorProduct", "max_angular": _checks.integer("l_max", descriptor.l_max, 0)}
    density = {"type": "Gaussian", "width": descriptor.sigma, "center_atom_weight": descriptor.center_weight}
    weighting = descriptor.density_weighting
    if weighting is not None:
        if weighting.get("function") != "willatt" or weighting.get("w0") is not None:
            raise InputError(f"density_weighting={weighting!r} is not in featomic; use 'willatt' without 'w0'")
        density["scaling"] = {"type": "Willatt2018", **{key: weighting[key] for key in ("exponent", "rate", "scale")}}
    return {
        "cutoff": {"radius": descriptor.cutoff, "smoothing": smoothing},
        "density": density,
        "basis": basis,
    }


def to_featomic(
    X: Any, descriptor: Any, samples: Any, jacobian: Jacobian | None = None
) -> dict[tuple[int, ...], FeatomicBlock]:
    """Convert rows to the blocks that featomic returns for the same descriptor.

    Featomic's Gaussians have a square with unit integral, so that each coefficient carries (πσ²)^(-3/4), and

    - ``SphericalExpansion``: blocks (l, 1, center species, neighbor species), components m, columns n;
    - ``RadialSpectrum``: blocks (center species, neighbor species), columns n: c_n00 without √4π;
    - ``SOAP``: blocks (center species, a, a') with a <= a', columns l, n, n' with all n, n' even if a = a'. Products
      are (-1)^l (πσ²)^(-3/2) (2l + 1)^(-1/2) Σ_m c c, times √2 if a and a' differ.

    Species are atomic numbers.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        Rows of ``transform``, one per center.
    descriptor : SphericalExpansion, RadialSpectrum or SOAP
        That made them.
    samples : structured array of shape (n_rows,)
        What ``descriptor.samples(frames)`` returns: frame, atom and species of each row.
    jacobian : Jacobian, optional
        Of the same rows; becomes the gradients by positions. (Those by strain cannot be had: featomic moves entries of
        the strain one by one, Castile's strain is symmetric.)

    Returns
    -------
    dict of FeatomicBlock
        By key: the species of center and neighbors, after l and 1 for coefficients. A block leaves out centers that do
        not see its species, whose rows are zero, and is left out if none does.

    Raises
    ------
    InputError
        If the shapes do not fit each other, or the rows are averages.

    Notes
    -----
    Written for featomic 0.6.7. There, a block lists the centers that see its species, and centers always see their own;
    with ``center_weight=0`` that may be a row of zeros.

    Examples
    --------
    >>> from ase.build import molecule
    >>> import castile
    >>> from castile.layouts import to_featomic
    >>> soap = castile.SOAP(cutoff=3.0, n_max=4, l_max=2, species=["H", "O"])
    >>> water = molecule("H2O")
    >>> blocks = to_featomic(soap.transform(water), soap, soap.samples(water))
    >>> list(blocks)
    [(1, 1, 1), (1, 1, 8), (1, 8, 8), (8, 1, 1), (8, 1, 8), (8, 8, 8)]
    >>> blocks[8, 1, 1]
    <FeatomicBlock: values (1, 48), gradients []>
    """
    layout = featomic_columns(descriptor)
    X = checked_rows(X, layout.n_columns, layout.sizes)
    samples = layout.checked_samples(samples)
    if X.ndim != 2 or len(X) != len(samples):
        raise InputError(f"X must have one row for each of the {len(samples)} samples, got shape {X.shape}")
    if jacobian is not None and (jacobian.n_rows, jacobian.n_features) != X.shape:
        raise InputError(f"jacobian is of {jacobian.n_rows} rows and {jacobian.n_features} columns, X {X.shape}")
    numbers = np.array([atomic_numbers[symbol] for symbol in samples["species"]], dtype=np.int64)
    place = np.stack([samples["frame"], samples["atom"]], axis=1)
    blocks = {}
    for center in np.unique(numbers):
        for columns in layout.blocks:
            rows = np.flatnonzero((numbers == center) & X[:, columns.telling].any(axis=1))
            if not len(rows):
                continue
            values = X[np.ix_(rows, columns.columns)] * columns.factors.astype(X.dtype)
            key = (*columns.head, int(center), *columns.tail)
            blocks[key] = FeatomicBlock(
                samples=place[rows],
                components=columns.components,
                properties=columns.properties,
                values=values.reshape(-1, *columns.axes),
                gradients={} if jacobian is None else {"positions": _gradient(jacobian, rows, columns)},
            )
    return blocks


def _gradient(jacobian: Jacobian, rows: IntArray, columns: BlockColumns) -> FeatomicGradient:
    """Return the gradients by positions of some rows' entries of a block."""
    sample_of_row = np.full(jacobian.n_rows, -1)
    sample_of_row[rows] = np.arange(len(rows))
    dtype = jacobian.groups[0].values.dtype if jacobian.groups else np.dtype(np.float64)
    samples, values = [np.empty((0, 3), dtype=np.int64)], [np.empty((0, 3, len(columns.columns)), dtype=dtype)]
    for group in jacobian.groups:
        place = np.full(jacobian.n_features, -1)
        place[group.columns] = np.arange(len(group.columns))
        entries = np.flatnonzero(place[columns.columns] >= 0)
        own = np.flatnonzero(sample_of_row[group.row] >= 0)
        part = np.zeros((len(own), 3, len(columns.columns)), dtype=dtype)
        part[:, :, entries] = group.values[own][:, :, place[columns.columns[entries]]]
        part *= columns.factors.astype(dtype)
        kept = part.any(axis=(1, 2))
        own = own[kept]
        samples.append(np.stack([sample_of_row[group.row[own]], group.frame[own], group.atom[own]], axis=1))
        values.append(part[kept])
    joined = np.concatenate(samples)
    order = np.lexsort(joined.T[::-1])
    return FeatomicGradient(joined[order], np.concatenate(values)[order].reshape(-1, 3, *columns.axes))
