"""A fitted force field in a model file, and back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile import _checks
from castile.data import Dataset
from castile.descriptors._species import checked_species
from castile.errors import CastileError, FileReadError, InputError
from castile.models.force_field._baseline import Baseline
from castile.models.force_field._columns import positive
from castile.models.force_field._domain import Domain
from castile.models.force_field._evaluation import evaluate
from castile.models.force_field._fitted_terms import restore_term
from castile.models.force_field._lengths import Lengths
from castile.models.force_field._model_checks import (
    check_arrays,
    check_radii,
    check_solution,
    check_terms,
    check_whitening,
    checked_calibration,
    checked_distances,
    checked_noise,
    checked_shares,
)
from castile.models.force_field._model_file import read_model, write_model
from castile.models.force_field._noise import KINDS
from castile.models.force_field._parameters import check_parameters
from castile.models.force_field._repulsion import RepulsionRadii
from castile.models.force_field._solution import Solution
from castile.models.force_field._training import Foundation
from castile.models.force_field._whitening import Whitening
from castile.structures import as_structure_arrays, species_table

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["fingerprint", "load", "save"]

Arrays = dict[str, npt.NDArray[Any]]

_MODEL = "ForceField"
_UNITS = {"length": "Å", "energy": "eV", "force": "eV/Å", "stress": "eV/Å³"}
_PARAMETERS = (
    "noise",
    "noise_factor",
    "prior",
    "species",
    "baseline",
    "repulsion",
    "calibration",
    "max_memory",
    "seed",
)


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
    domain = None
    if foundation.domain is not None:
        domain, own = foundation.domain.describe()
        arrays.update({f"domain/{name}": array for name, array in own.items()})
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
        "prior_shares": list(model.prior_shares_),
        "lengths": {"neighbor": foundation.lengths.neighbor, "spacing": foundation.lengths.spacing},
        "baseline": foundation.baseline.to_metadata(),
        "shortest_distances": [[d if np.isfinite(d) else None for d in row] for row in foundation.shortest.tolist()],
        "repulsion": None if foundation.repulsion is None else foundation.repulsion.to_metadata(),
        "terms": terms,
        "whitening": whitening,
        "domain": domain,
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
    if metadata.get("has_reference") is True and model.reference is None:
        raise FileReadError(
            f"{os.fspath(path)} was fitted to differences from a reference calculator, which files do not hold; "
            "give it: castile.load(path, reference=...)"
        )
    try:
        _restore(model, metadata, arrays)
    except (CastileError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise FileReadError(
            f"{os.fspath(path)} does not hold all that a force field needs ({error}); save it again with the version "
            "that wrote it"
        ) from error
    return model


def _restore(model: ForceField, metadata: dict[str, Any], arrays: Arrays) -> None:
    check_arrays(arrays)
    _checks.flag("has_reference", metadata["has_reference"])
    if metadata["units"] != _UNITS:
        raise InputError(f"units must be {_UNITS}, got {metadata['units']}")
    model.foundation_ = _restored_foundation(metadata, arrays)
    foundation = model.foundation_
    for name in _PARAMETERS:
        setattr(model, name, metadata["parameters"][name])
    check_parameters(model)
    model.terms = tuple(term.specification() for term in foundation.terms)
    model.species_ = foundation.species
    model.noise_ = checked_noise(metadata["fitted_noise"], KINDS)
    model.prior_ = positive("prior", metadata["prior"])
    model.prior_shares_ = checked_shares(metadata.get("prior_shares"), len(foundation.terms))
    model.solution_ = Solution.from_arrays(metadata["solution"], _under(arrays, "solution"))
    model.weights_ = arrays["weights"]
    check_solution(model.solution_, foundation.whitening, model.weights_)
    calibration = metadata["calibration"]
    model.calibration_ = None if calibration is None else checked_calibration(calibration)
    model.training_ = dict(metadata["training"])
    model._plan(model.foundation_)
    model._make_potential()
    _try_out(model)


def _try_out(model: ForceField) -> None:
    """Raise InputError if numbers that are each possible give none together."""
    neighbor = model.foundation_.lengths.neighbor
    chain = Atoms(model.species_, positions=[[number * neighbor, 0.0, 0.0] for number in range(len(model.species_))])
    arrays = as_structure_arrays([chain])
    table = species_table(model.species_, arrays.numbers, "ForceField")
    found = evaluate(model.potential_, arrays, table)
    if not np.isfinite(found.forces).all() or not np.isfinite(model._posterior().energy_std([chain])).all():
        raise InputError("energies and their standard deviations are not finite")


def _restored_foundation(metadata: dict[str, Any], arrays: Arrays) -> Foundation:
    species = checked_species(metadata["species"])
    terms = tuple(
        restore_term(description, _under(arrays, f"term_{number}"))
        for number, description in enumerate(metadata["terms"])
    )
    check_terms(terms, species)
    whitening = Whitening.from_arrays(metadata["whitening"], _under(arrays, "whitening"))
    check_whitening(whitening, terms)
    baseline = Baseline.from_metadata(metadata["baseline"])
    if baseline.species != species:
        raise InputError(f"reference energies must be of {', '.join(species)}, got {baseline.species}")
    repulsion = None if metadata["repulsion"] is None else RepulsionRadii.from_metadata(metadata["repulsion"])
    if repulsion is not None:
        check_radii(repulsion, species)
    described = metadata.get("domain")  # which older files have not
    domain = None if described is None else Domain.restored(described, _under(arrays, "domain"), terms)
    return Foundation(
        species,
        positive("scale", metadata["scale"]),
        checked_noise(metadata["noise"], KINDS),
        Lengths(*(positive(name, metadata["lengths"][name]) for name in ("neighbor", "spacing"))),
        baseline,
        checked_distances(metadata["shortest_distances"], species),
        repulsion,
        terms,
        whitening,
        domain,
    )


def _under(arrays: Arrays, folder: str) -> Arrays:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(folder + "/")}


def _plain(value: Any) -> Any:
    """Return a parameter as JSON has it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (tuple, set)):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
