"""What the terms of a force field are to describe: labels without all that is known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from castile import _core
from castile.data import Dataset
from castile.models.force_field._evaluation import evaluate
from castile.models.force_field._training import Foundation, compositions
from castile.structures import as_structure_arrays, trained_species_table

__all__ = ["learned_part"]


def learned_part(dataset: Dataset, foundation: Foundation) -> Dataset:
    """Return the data, which a reference calculator was taken off already, without baseline and repulsion."""
    table = trained_species_table(foundation.species, dataset.numbers)
    counts = compositions(dataset, foundation.species)
    rest = replace(dataset, energies=foundation.baseline.subtract(counts, dataset.energies))
    if foundation.repulsion is None:
        return rest
    structures = as_structure_arrays(dataset.frames)
    repelled = evaluate(_core.Potential([foundation.repulsion.part(foundation.species)]), structures, table)
    return replace(
        rest,
        energies=rest.energies - repelled.energy,
        forces=rest.forces - repelled.forces,
        stresses=rest.stresses - np.nan_to_num(repelled.stress),
    )
