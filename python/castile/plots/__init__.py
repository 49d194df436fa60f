"""Pictures of models, features and what force fields give; made without pyplot, so that nothing global changes."""

from castile.plots._compression import compression
from castile.plots._errors import errors_by_group, learning_curve, parity_density, parity_panels
from castile.plots._physics import conservation, dimer_curves, energy_volume, phonon_bands
from castile.plots._points import feature_map, parity_plot

__all__ = [
    "compression",
    "conservation",
    "dimer_curves",
    "energy_volume",
    "errors_by_group",
    "feature_map",
    "learning_curve",
    "parity_density",
    "parity_panels",
    "parity_plot",
    "phonon_bands",
]
