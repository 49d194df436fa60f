import re
from collections import Counter

import numpy as np
import pytest

from castile import datasets
from castile.errors import InputError


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_every_structure_has_labels_and_a_group(name):
    frames = datasets.load(name)
    for atoms in frames:
        assert np.isfinite(atoms.get_potential_energy())
        assert atoms.get_forces().shape == (len(atoms), 3)
        assert atoms.get_stress().shape == (6,)
        assert atoms.info["group"]


def test_the_default_is_the_set_of_the_demo():
    frames = datasets.load()
    assert 80 <= len(frames) <= 150
    assert {symbol for atoms in frames for symbol in atoms.symbols} == {"Al", "Si", "P"}
    assert max(map(len, frames)) <= 8


def test_forces_of_a_structure_sum_to_zero():
    for atoms in datasets.load():
        np.testing.assert_allclose(atoms.get_forces().sum(axis=0), 0.0, atol=2e-3)


def test_the_description_counts_the_structures():
    text = datasets.description()
    for group, count in Counter(atoms.info["group"] for atoms in datasets.load()).items():
        assert re.search(rf"\| {group} \| {count} \|", text)


def test_the_level_of_theory_is_one_line_that_names_functional_and_code():
    line = datasets.level_of_theory()
    assert "PBE" in line
    assert "GPAW" in line
    assert "\n" not in line


@pytest.mark.parametrize("call", [datasets.load, datasets.description, datasets.level_of_theory])
def test_an_unknown_name_lists_the_known_ones(call):
    with pytest.raises(InputError, match="silicon_aluminium_phosphide"):
        call("gold")
