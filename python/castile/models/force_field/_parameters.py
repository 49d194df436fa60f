"""Parameters of a force field, checked and with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from castile import _checks
from castile.descriptors import SOAP
from castile.errors import InputError, InputTypeError
from castile.models.force_field._evidence import NOISE_FACTORS
from castile.models.force_field.terms import DEFAULT_PRESET, PRESETS, PairTerm, ProductTerm, SoapTerm, Term

if TYPE_CHECKING:
    from castile.models.force_field.force_field import ForceField

__all__ = ["OF_PRESETS", "check_parameters", "checked_share", "noise_factors", "repels", "terms_of"]

OF_PRESETS = ("descriptor", "zeta", "n_sparse", "cutoff")
"""Parameters that change the terms of a preset."""


def terms_of(model: ForceField) -> tuple[Term, ...]:
    """Return the terms that are given, or those of a preset."""
    given = {name: value for name in OF_PRESETS if (value := getattr(model, name)) is not None}
    if model.terms is None or isinstance(model.terms, str):
        preset = _checks.choice("terms", DEFAULT_PRESET if model.terms is None else model.terms, tuple(PRESETS))
        return _changed(preset, given)
    if given:
        raise InputError(f"give either terms or {', '.join(given)}, which change those of a preset")
    if not isinstance(model.terms, (list, tuple)):
        raise InputTypeError(
            f"terms must be {', '.join(map(repr, PRESETS))}, or a list or tuple of SoapTerm, ProductTerm and PairTerm, "
            f"got {type(model.terms).__name__}"
        )
    terms = tuple(model.terms)
    for term in terms:
        if not isinstance(term, (SoapTerm, PairTerm, ProductTerm)):
            raise InputTypeError(f"terms must be SoapTerm, PairTerm or ProductTerm, got {type(term).__name__}")
    if not terms:
        raise InputError("terms is empty; leave it out for the default ones")
    return terms


def _changed(preset: str, given: dict[str, Any]) -> tuple[Term, ...]:
    """Return the terms of a preset with what is given instead of their own."""
    own = {name: value for name, value in given.items() if name != "cutoff"}
    if own and not any(isinstance(term, SoapTerm) for term in PRESETS[preset]):
        raise InputError(f"{', '.join(own)} cannot be given with terms={preset!r}, which has no SOAP term")
    cutoff = given.get("cutoff")
    if cutoff is None and isinstance(given.get("descriptor"), SOAP):
        cutoff = _farthest(given["descriptor"].cutoff)
    terms: list[Term] = []
    for term in PRESETS[preset]:
        changes = own if isinstance(term, SoapTerm) else {}
        if cutoff is not None and "descriptor" not in changes:
            changes = {**changes, "cutoff": cutoff}
        terms.append(replace(term, **changes))
    return tuple(terms)


def _farthest(cutoff: Any) -> Any:
    """Return the largest of the cutoffs of several species."""
    return max(cutoff.values()) if isinstance(cutoff, Mapping) and cutoff else cutoff


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
