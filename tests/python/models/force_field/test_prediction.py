import numpy as np
from tiny_force_fields import copper, fitted

from castile.models.force_field import Prediction
from castile.models.force_field.prediction import Uncertainty


def test_a_prediction_shows_what_it_holds_in_one_line():
    found = fitted().predict(copper(3))
    low, high = found.energy.min(), found.energy.max()
    assert repr(found).startswith(f"<Prediction for 3 frames, 12 atoms: energy {low:.4g} to {high:.4g} eV, forces ")
    assert "uncertainty" not in repr(found)
    found = fitted().predict(copper(3), uncertainty=True, committee=4)
    assert repr(found).endswith("eV/Å, with uncertainty, committee of 4>")
    assert repr(found.uncertainty).startswith("<Uncertainty of 3 frames, 12 atoms: energy_std ")
    assert all(len(repr(one)) < 160 for one in (found, found.uncertainty))


def test_what_holds_nothing_can_be_shown():
    nothing = Uncertainty(np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)))
    assert "0 frames" in repr(nothing)
    empty = Prediction(np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)), np.zeros(0), np.array([0]), nothing)
    assert "0 frames, 0 atoms" in repr(empty)
