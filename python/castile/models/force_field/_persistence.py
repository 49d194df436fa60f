"""A fitted force field in a model file, and back."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from castile.data import Dataset
from castile.errors import CastileError, FileReadError
from castile.models.force_field._baseline import Baseline
from castile.models.force_field._calibration import Calibration
from castile.models.force_field._fitted_terms import FittedTerm, restore_term
from castile.models.force_field._lengths import Lengths
from castile.models.force_field._model_file import read_model, write_model
from castile.models.force_field._repulsion import RepulsionRadii
from castile.models.force_field._solution import Solution
from castile.models.force_field._training import Foundation
from castile.models.force_field._whitening import Whitening

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["fingerprint", "load", "save"]

Arrays = dict[str, npt.NDArray[Any]]

_MODEL = "ForceField"
_UNITS = {"length": "Å", "energy": "eV", "force": "eV/Å", "stress": "eV/Å³"}
_PARAMETERS = ("noise", "prior", "species", "baseline", "repulsion", "calibration", "max_memory", "seed")


def fingerprint(dataset: Dataset) -> str:
    """Return a digest of structures, labels and weights."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("numbers", "offsets", "energies", "forces", "stresses", "energy_weights", "force_weights",
                 "stress_weights", "energy_sigmas", "force_sigmas", "stress_sigmas"):  # fmt: skip
        digest.update(np.ascontiguousarray(getattr(dataset, name)).tobytes())
    for atoms in dataset.frames:
        digest.update(atoms.positions.tobytes() + atoms.cell.array.tobytes() + atoms.pbc.tobytes())
    return digest.hexdigest()


def save(model: ForceField, path: str | os.PathLike[str]) -> None:
    """Write a fitted force field."""
    foundation = model.foundation_
    arrays: Arrays = {}
    terms = []
    for number, term in enumerate(foundation.terms):
        metadata, own = term.describe()
        terms.append(metadata)
        arrays.update({f"term_{number}/{name}": array for name, array in own.items()})
    whitening, own = foundation.whitening.to_arrays()
    arrays.update({f"whitening/{name}": array for name, array in own.items()})
    solution, own = model.solution_.to_arrays()
    arrays.update({f"solution/{name}": array for name, array in own.items()})
    arrays["weights"] = model.weights_
    metadata = {
        "model": _MODEL,
        "units": _UNITS,
        "parameters": {name: _plain(getattr(model, name)) for name in _PARAMETERS},
        "has_reference": model.reference is not None,
        "species": list(foundation.species),
        "scale": foundation.scale,
        "noise": dict(foundation.noise),
        "fitted_noise": dict(model.noise_),
        "prior": model.prior_,
        "lengths": {"neighbor": foundation.lengths.neighbor, "spacing": foundation.lengths.spacing},
        "baseline": foundation.baseline.to_metadata(),
        "shortest_distances": [[d if np.isfinite(d) else None for d in row] for row in foundation.shortest.tolist()],
        "repulsion": None if foundation.repulsion is None else foundation.repulsion.to_metadata(),
        "terms": terms,
        "whitening": whitening,
        "solution": solution,
        "calibration": None if model.calibration_ is None else model.calibration_.to_metadata(),
        "training": model.training_,
    }
    write_model(path, metadata, arrays)


def load(model: ForceField, path: str | os.PathLike[str]) -> ForceField:
    """Fill a new force field from a file."""
    metadata, arrays = read_model(path)
    if metadata.get("model") != _MODEL:
        raise FileReadError(
            f"{os.fspath(path)} holds a {metadata.get('model', 'model without a name')}, no force field"
        )
    if metadata.get("has_reference") and model.reference is None:
        raise FileReadError(
            f"{os.fspath(path)} was fitted to differences from a reference calculator, which files do not hold; "
            "give it: castile.load(path, reference=...)"
        )
    try:
        _restore(model, metadata, arrays)
    except (CastileError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FileReadError(
            f"{os.fspath(path)} does not hold all that a force field needs ({error}); save it again with the version "
            "that wrote it"
        ) from error
    return model


def _restore(model: ForceField, metadata: dict[str, Any], arrays: Arrays) -> None:
    terms = tuple(
        restore_term(description, _under(arrays, f"term_{number}"))
        for number, description in enumerate(metadata["terms"])
    )
    repulsion = metadata["repulsion"]
    model.foundation_ = Foundation(
        tuple(metadata["species"]),
        float(metadata["scale"]),
        {str(kind): float(sigma) for kind, sigma in metadata["noise"].items()},
        Lengths(float(metadata["lengths"]["neighbor"]), float(metadata["lengths"]["spacing"])),
        Baseline.from_metadata(metadata["baseline"]),
        np.array([[np.inf if d is None else float(d) for d in row] for row in metadata["shortest_distances"]]),
        None if repulsion is None else RepulsionRadii.from_metadata(repulsion),
        terms,
        Whitening.from_arrays(metadata["whitening"], _under(arrays, "whitening")),
    )
    for name in _PARAMETERS:
        setattr(model, name, metadata["parameters"][name])
    model.terms = tuple(term.specification() for term in terms)
    model.species_ = model.foundation_.species
    model.noise_ = {str(kind): float(sigma) for kind, sigma in metadata["fitted_noise"].items()}
    model.prior_ = float(metadata["prior"])
    model.solution_ = Solution.from_arrays(metadata["solution"], _under(arrays, "solution"))
    calibration = metadata["calibration"]
    model.calibration_ = None if calibration is None else Calibration(**calibration)
    model.training_ = metadata["training"]
    model.weights_ = _checked_weights(arrays["weights"], terms)
    model._make_potential()


def _checked_weights(weights: npt.NDArray[Any], terms: tuple[FittedTerm, ...]) -> npt.NDArray[np.float64]:
    n_columns = sum(term.n_columns for term in terms)
    if weights.shape != (n_columns,) or weights.dtype != np.float64 or not np.isfinite(weights).all():
        raise ValueError(f"weights must be {n_columns} finite numbers")
    return weights


def _under(arrays: Arrays, folder: str) -> Arrays:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(folder + "/")}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, dict) else value
