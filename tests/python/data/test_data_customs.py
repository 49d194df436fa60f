"""Files as programs of the field write them, letter by letter."""

import numpy as np
import pytest
from labeled import crystal, message_of

from castile import data

GAP = """\
2
Lattice="3.0 0.0 0.0 0.0 3.0 0.0 0.0 0.0 4.0" Properties=species:S:1:pos:R:3:force:R:3:force_mask:L:1 \
virial="3.6 0.36 0.0 0.36 -7.2 -1.8 0.0 -1.8 10.8" energy=-20.5 config_type=bulk energy_sigma=0.004 virial_sigma=0.72
W 0.0 0.0 0.0 0.1 0.2 0.3 F
W 1.5 1.5 2.0 -0.1 -0.2 -0.3 T
1
Lattice="20.0 0.0 0.0 0.0 20.0 0.0 0.0 0.0 20.0" Properties=species:S:1:pos:R:3 energy=-4.5 config_type=isolated_atom
W 0.0 0.0 0.0
"""

MACE = """\
1
Properties=species:S:1:pos:R:3:REF_forces:R:3 config_type=IsolatedAtom REF_energy=-13.6 pbc="F F F"
H 0.0 0.0 0.0 0.0 0.0 0.0
2
Lattice="9.0 0.0 0.0 0.0 9.0 0.0 0.0 0.0 9.0" Properties=species:S:1:pos:R:3:REF_forces:R:3:forces:R:3 \
REF_energy=-31.7 REF_stress="0.001 0.002 0.003 0.0 0.0 0.0004" config_type=water config_weight=4.0 \
config_stress_weight=0.0 energy=-31.5 pbc="T T T"
H 0.0 0.0 0.0 0.0 0.0 0.5 0.0 0.0 0.6
H 0.0 0.0 0.8 0.0 0.0 -0.5 0.0 0.0 -0.6
"""

GPUMD = """\
2
lattice="3 0 0 0 3 0 0 0 4" energy=-3.5 virial="0 0 0 0 0 0 0 0 1.8" properties=species:S:1:pos:R:3:force:R:3
W 0.0 0.0 0.0 0.1 0.2 0.3
W 1.5 1.5 2.0 -0.1 -0.2 -0.3
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "train.xyz"
        path.write_text(text)
        return path

    return write


def test_files_of_gap(written):
    dataset = data.read(written(GAP))
    assert dataset.energies.tolist() == [-20.5, -4.5]
    np.testing.assert_allclose(dataset.stresses[0], [-0.1, 0.2, -0.3, 0.05, 0.0, -0.01], atol=1e-12)
    assert dataset.has_stress.tolist() == [True, False]
    np.testing.assert_array_equal(dataset.forces[0], [0.1, 0.2, 0.3])
    assert dataset.has_forces.tolist() == [True, False, False]
    assert dataset.groups.tolist() == ["bulk", "isolated_atom"]
    assert dataset.isolated.tolist() == [False, True]
    np.testing.assert_allclose(dataset.energy_sigmas, [0.004, np.nan])
    np.testing.assert_allclose(dataset.stress_sigmas, [0.02, np.nan])


def test_files_of_mace_that_hold_predictions_too(written):
    path = written(MACE)
    assert "frame 1 of" in message_of(data.read, path)
    dataset = data.read(path, energy_key="REF_energy", forces_key="REF_forces")
    assert dataset.energies.tolist() == [-13.6, -31.7]
    np.testing.assert_array_equal(dataset.forces[1:, 2], [0.5, -0.5])
    np.testing.assert_allclose(dataset.stresses[1], [0.001, 0.002, 0.003, 0.0, 0.0, 0.0004])
    assert dataset.isolated_atom_energies() == {"H": -13.6}
    assert dataset.energy_weights.tolist() == [1.0, 2.0]
    assert dataset.stress_weights.tolist() == [1.0, 0.0]


def test_headers_that_ase_passes_over_are_refused(written):
    assert "info['lattice'] was not understood" in message_of(data.read, written(GPUMD))
    text = GPUMD.replace("lattice", "Lattice")
    assert "info['properties'] was not understood" in message_of(data.read, written(text))


def test_notes_of_ones_own_are_no_headers():
    atoms = crystal(energy=-1.0)
    atoms.info.update(lattice="fcc", properties={"gap": 1.0})
    assert data.read(atoms).has_energy.all()


def test_files_of_gpumd(written):
    dataset = data.read(written(GPUMD.replace("lattice", "Lattice").replace("properties", "Properties")))
    np.testing.assert_allclose(dataset.stresses, [[0.0, 0.0, -0.05, 0.0, 0.0, 0.0]])
    assert dataset.energies.tolist() == [-3.5]
    np.testing.assert_array_equal(dataset.forces[1], [-0.1, -0.2, -0.3])
