"""A descriptor and frames for the tests that stream, in any number."""

import os
import subprocess
import sys

import pytest
from ase.build import molecule
from checks import same_bits

import castile
from castile import storage
from castile.storage._staging import staging_folder

SPECIES = ["H", "C", "N", "O", "Mg", "Si", "S", "Cu", "Zn", "Mo"]
N_FRAMES = 11
NAMES = ["H2O", "CH4", "CH3OH", "NH3", "CO2", "H2", "C2H6"]
ENDINGS = {"npy": ".npy", "hdf5": ".h5", "zarr": ".zarr"}
PACKAGES = {"npy": "numpy", "hdf5": "h5py", "zarr": "zarr"}


def make(cls=castile.SOAP, **options):
    """A small descriptor; options that the class does not have are left out."""
    sizes = {"cutoff": 3.0, "n_max": 3, "l_max": 2, "sigma": 0.5, "species": ["H", "C", "N", "O"]}
    names = cls._get_param_names()
    return cls(**{name: value for name, value in {**sizes, **options}.items() if name in names})


def molecules(n=7):
    """Frames of different sizes and species."""
    return [molecule(NAMES[k % len(NAMES)]) for k in range(n)]


def content(folder):
    """All files below a folder, with their bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def run_script(text):
    """Run Python code in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    command = [sys.executable, "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)


class BreakError(RuntimeError):
    """What ends a run in these tests."""


def stream(n=N_FRAMES, stop=None):
    """The first ``n`` frames; with ``stop``, only so many before an error."""
    for k, atoms in enumerate(molecules(n)):
        if k == stop:
            raise BreakError
        yield atoms


def break_off(path, stop, descriptor=None, **options):
    """Leave an unfinished run behind."""
    with pytest.raises(BreakError):
        (descriptor or make()).transform_to(path, stream(stop=stop), **{"chunk_size": 3, **options})
    assert not path.exists()
    assert staging_folder(path).exists()


def assert_complete(path, descriptor, centers=None, n_frames=N_FRAMES):
    frames = molecules(n_frames)
    store = storage.open_features(path)
    assert same_bits(store.rows(), descriptor.transform(frames, centers))
    assert same_bits(store.samples(), descriptor.samples(frames, centers))
    assert store.n_frames == n_frames
    assert not staging_folder(path).exists()
