"""Make the model file, and what it must predict, that ``test_force_field_file.py`` reads for ever.

Run it once for each version of the format, and keep what earlier ones made::

    python tests/python/models/force_field/make_force_field_file.py
"""

import json
from pathlib import Path

import numpy as np
from tiny_force_fields import alloy, slab, small, tiny_cell

from castile.models.force_field._model_file import FORMAT_VERSION

STORED = Path(__file__).with_name("stored")
NAMES = ("energy", "forces", "stress", "energies", "committee", "energy_std", "forces_std", "stress_std")


def structures():
    """Return frames, without labels, by numbers alone: the set that the force field is asked about."""
    frames = [tiny_cell(), *alloy(2, seed=5), slab()]
    for atoms in frames:
        atoms.calc = None
    return frames


def described(atoms):
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def main():
    STORED.mkdir(exist_ok=True)
    ff = small(calibration=0.2).fit(alloy(20))
    ff.save(STORED / f"version_{FORMAT_VERSION}.castile")
    frames = structures()
    found = ff.predict(frames, uncertainty=True, committee=2, seed=1)
    numbers = {name: np.asarray(getattr(found, name)).tolist() for name in NAMES}
    numbers["stress"] = [row if np.isfinite(row).all() else None for row in numbers["stress"]]
    numbers["stress_std"] = [row if np.isfinite(row).all() else None for row in numbers["stress_std"]]
    text = {"structures": [described(atoms) for atoms in frames], "predictions": numbers}
    (STORED / f"version_{FORMAT_VERSION}.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
