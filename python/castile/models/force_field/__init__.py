"""Force fields: potentials fitted to energies, forces and stresses."""

from castile.models.force_field.error_table import ErrorTable
from castile.models.force_field.force_field import ForceField
from castile.models.force_field.prediction import Prediction, Uncertainty
from castile.models.force_field.terms import PairTerm, SoapTerm

__all__ = ["ErrorTable", "ForceField", "PairTerm", "Prediction", "SoapTerm", "Uncertainty"]
