"""Force fields: potentials fitted to energies, forces and stresses."""

from castile.models.force_field.error_table import ErrorTable
from castile.models.force_field.force_field import ForceField
from castile.models.force_field.learning import LearningCurve
from castile.models.force_field.loading import load
from castile.models.force_field.prediction import Prediction, Uncertainty
from castile.models.force_field.terms import PairTerm, ProductTerm, SoapTerm
from castile.models.force_field.tuning import Settings, Trial, Tuning

__all__ = [
    "ErrorTable",
    "ForceField",
    "LearningCurve",
    "PairTerm",
    "Prediction",
    "ProductTerm",
    "Settings",
    "SoapTerm",
    "Trial",
    "Tuning",
    "Uncertainty",
    "load",
]
