"""Parameters of a force field, checked and with their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castile import _checks
from castile.errors import InputError, InputTypeError
from castile.models.force_field._evidence import NOISE_FACTORS
from castile.models.force_field.terms import PairTerm, SoapTerm, Term

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["check_parameters", "checked_share", "noise_factors", "repels", "terms_of"]


def terms_of(model: ForceField) -> tuple[Term, ...]:
    """Return the terms that are given, or the default ones."""
    given = {name: value for name in ("descriptor", "zeta", "n_sparse") if (value := getattr(model, name)) is not None}
    if model.terms is None:
        return (SoapTerm(**given), PairTerm(cutoff=given["descriptor"].cutoff if "descriptor" in given else None))
    if given:
        raise InputError(f"give either terms or {', '.join(given)}, which are those of the default SOAP term")
    if not isinstance(model.terms, (list, tuple)):
        raise InputTypeError(
            f"terms must be a list or tuple of SoapTerm and PairTerm, got {type(model.terms).__name__}"
        )
    terms = tuple(model.terms)
    for term in terms:
        if not isinstance(term, (SoapTerm, PairTerm)):
            raise InputTypeError(f"terms must be SoapTerm or PairTerm, got {type(term).__name__}")
    if not terms:
        raise InputError("terms is empty; leave it out for the default ones")
    return terms


def check_parameters(model: ForceField) -> None:
    """Raise unless those that concern no data can be used."""
    if model.prior is not None and _checks.real("prior", model.prior, " in eV") <= 0.0:
        raise InputError(f"prior must be above 0, in eV, got {model.prior!r}")
    if model.repulsion is not None:
        _checks.flag("repulsion", model.repulsion)
    _checks.integer("seed", model.seed, 0)
    _checks.integer("max_memory", model.max_memory, 1, 1 << 60)
    checked_share(model)
    factor = model.noise_factor
    if factor is not None and factor != "evidence" and _checks.real("noise_factor", factor) <= 0.0:
        raise InputError(f"noise_factor must be above 0, or 'evidence', got {factor!r}")


def checked_share(model: ForceField) -> float:
    """Return which share of the frames is held out to calibrate."""
    share = _checks.real("calibration", model.calibration)
    if not 0.0 <= share < 1.0:
        raise InputError(f"calibration must be a share of the frames, 0 up to below 1, got {model.calibration!r}")
    return share


def repels(model: ForceField) -> bool:
    """Return whether the repulsion of nuclei is added."""
    return model.reference is None if model.repulsion is None else bool(model.repulsion)


def noise_factors(model: ForceField) -> tuple[float, ...]:
    """Return the factors of the noise that the evidence may choose from."""
    if model.noise_factor == "evidence" or (model.noise_factor is None and model.noise is None):
        return NOISE_FACTORS
    return (1.0,) if model.noise_factor is None else (float(model.noise_factor),)
