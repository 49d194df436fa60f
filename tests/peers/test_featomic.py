"""Coefficients, radial and power spectra and their gradients, against featomic.

Featomic evaluates its closed form here (``spline_accuracy`` None), so that two things keep the
libraries apart:

- the interpolation error of our radial table, which ``accuracy`` bounds;
- rounding in featomic's closed form, which no setting shrinks. It takes Ô^(-1/2) in double
  precision, from an overlap matrix whose condition number is 3e4 for n_max = 8 and 4e7 for 12;
  and its radial integral loses digits where a high l meets a short distance (1e-9 of the value
  for l = 12, σ = 0.4 Å, r = 0.5 Å). Our table at accuracy=1e-13 is within 4e-14 of the closed form
  in 40 digits (mpmath), relative to the largest value, up to n_max = 12.
"""

from functools import lru_cache

import numpy as np
import pytest
from ase.data import atomic_numbers
from peer_structures import STRUCTURES

import castile
from castile.layouts import (
    featomic_parameters,
    from_featomic,
    jacobian_from_featomic,
    strain_from_featomic,
    to_featomic,
)

featomic = pytest.importorskip("featomic", reason="featomic is not installed")

pytestmark = pytest.mark.peers

CALCULATORS = {
    castile.SOAP: featomic.SoapPowerSpectrum,
    castile.SphericalExpansion: featomic.SphericalExpansion,
    castile.RadialSpectrum: featomic.SoapRadialSpectrum,
}

PARAMETERS = {
    "7_5": {"cutoff": 4.5, "n_max": 7, "l_max": 5, "sigma": 0.4},
    "8_6_no_center": {
        "cutoff": 5.0,
        "n_max": 8,
        "l_max": 6,
        "sigma": 0.3,
        "center_weight": 0.0,
        "cutoff_width": 1.5,
    },
    "4_9_light_center": {
        "cutoff": 3.5,
        "n_max": 4,
        "l_max": 9,
        "sigma": 0.5,
        "center_weight": 0.3,
        "cutoff_width": 0.1,
    },
    "1_0": {"cutoff": 4.0, "n_max": 1, "l_max": 0, "sigma": 0.4},
    "2_12_hard": {"cutoff": 4.0, "n_max": 2, "l_max": 12, "sigma": 0.4, "cutoff_function": None},
    "6_3_smooth_everywhere": {
        "cutoff": 4.0,
        "n_max": 6,
        "l_max": 3,
        "sigma": 0.4,
        "cutoff_width": 3.999,
    },
    "6_4_willatt": {
        "cutoff": 4.5,
        "n_max": 6,
        "l_max": 4,
        "sigma": 0.4,
        "density_weighting": {"function": "willatt", "rate": 1.2, "scale": 2.0, "exponent": 5},
    },
    "12_3": {"cutoff": 4.0, "n_max": 12, "l_max": 3, "sigma": 0.4, "center_weight": 0.3},
}

# Bounds of values and of gradients, relative to a row's largest: about three times the largest
# differences seen. These are rounding in featomic, but for gradients below 1e-10, where it is the
# slope of our table.
BOUNDS = {
    "7_5": (1.5e-11, 1e-10),
    "8_6_no_center": (1.5e-10, 2e-9),
    "4_9_light_center": (3e-13, 1e-10),
    "1_0": (5e-14, 1e-12),
    "2_12_hard": (1e-10, 4e-9),
    "6_3_smooth_everywhere": (2e-13, 1e-10),
    "6_4_willatt": (1.5e-11, 1e-10),
    "12_3": (5e-9, 2e-8),
}


@pytest.fixture(params=list(STRUCTURES))
def name(request):
    return request.param


@pytest.fixture(params=list(CALCULATORS), ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


@pytest.fixture(params=list(PARAMETERS))
def case(request):
    return request.param


def species_of(*frames):
    return sorted({symbol for atoms in frames for symbol in atoms.symbols}, key=atomic_numbers.get)


def make(cls, case, *frames, accuracy):
    parameters = {key: PARAMETERS[case][key] for key in PARAMETERS[case] if key in cls().get_params()}
    return cls(**parameters, species=species_of(*frames), accuracy=accuracy)


@lru_cache
def peer(cls, case, name):
    """Return featomic's result with gradients; strain exists for periodic structures only."""
    atoms = STRUCTURES[name]()
    ours = make(cls, case, atoms, accuracy=1e-10)
    gradients = ["positions", "strain"] if atoms.pbc.all() else ["positions"]
    calculator = CALCULATORS[cls](**featomic_parameters(ours, spline_accuracy=None))
    return calculator.compute(atoms, gradients=gradients)


def difference(actual, expected):
    """Return the largest difference over the largest value, each row by itself."""
    assert actual.shape == expected.shape
    actual, expected = (array.reshape(len(array), -1) for array in (actual, expected))
    return (np.abs(actual - expected).max(axis=1) / np.abs(expected).max(axis=1)).max()


def test_features_equal_featomics_closed_form(cls, case, name):
    atoms = STRUCTURES[name]()
    ours = make(cls, case, atoms, accuracy=1e-13)
    expected = from_featomic(peer(cls, case, name), ours, ours.samples(atoms))
    assert difference(ours.transform(atoms), expected) < BOUNDS[case][0]


def test_position_gradients_equal_featomics(cls, case, name):
    atoms = STRUCTURES[name]()
    ours = make(cls, case, atoms, accuracy=1e-13)
    expected = jacobian_from_featomic(peer(cls, case, name), ours, ours.samples(atoms), [0, len(atoms)])
    assert difference(ours.jacobian(atoms, strain=False).to_dense(), expected) < BOUNDS[case][1]


@pytest.mark.parametrize("name", [name for name in STRUCTURES if STRUCTURES[name]().pbc.all()])
def test_strain_gradients_equal_featomics(cls, case, name):
    atoms = STRUCTURES[name]()
    ours = make(cls, case, atoms, accuracy=1e-13)
    expected = strain_from_featomic(peer(cls, case, name), ours, ours.samples(atoms))
    assert difference(ours.jacobian(atoms).strain, expected) < BOUNDS[case][1]


@pytest.mark.parametrize(
    ("accuracy", "bounds"),
    # A quintic and a cubic table, which the values' bounds tell apart. The slope's error times σ
    # is 40 to 100 times the value's.
    [(1e-10, (2e-10, 1e-8)), (1e-8, (2e-8, 1e-5))],
)
@pytest.mark.parametrize("case", ["7_5", "8_6_no_center", "4_9_light_center"])
def test_accuracy_bounds_the_tables_share(cls, case, name, accuracy, bounds):
    atoms = STRUCTURES[name]()
    ours = make(cls, case, atoms, accuracy=accuracy)
    tensor = peer(cls, case, name)
    samples = ours.samples(atoms)
    assert difference(ours.transform(atoms), from_featomic(tensor, ours, samples)) < bounds[0]
    dense = ours.jacobian(atoms, strain=False).to_dense()
    expected = jacobian_from_featomic(tensor, ours, samples, [0, len(atoms)])
    assert difference(dense, expected) < bounds[1]


def test_features_agree_when_both_use_their_default_tables(cls, name):
    atoms = STRUCTURES[name]()
    ours = make(cls, "7_5", atoms, accuracy=1e-8)
    calculator = CALCULATORS[cls](**featomic_parameters(ours))
    expected = from_featomic(calculator.compute(atoms), ours, ours.samples(atoms))
    assert difference(ours.transform(atoms), expected) < 2e-7


def test_rows_of_many_frames_come_in_the_same_order(cls):
    frames = [make_structure() for make_structure in STRUCTURES.values()]
    ours = make(cls, "7_5", *frames, accuracy=1e-13)
    calculator = CALCULATORS[cls](**featomic_parameters(ours, spline_accuracy=None))
    expected = from_featomic(calculator.compute(frames), ours, ours.samples(frames))
    assert difference(ours.transform(frames), expected) < BOUNDS["7_5"][0]


def test_kernel_equals_that_of_featomics_full_tensor(name):
    atoms = STRUCTURES[name]()
    ours = make(castile.SOAP, "7_5", atoms, accuracy=1e-13)
    tensor = peer(castile.SOAP, "7_5", name)
    tensor = tensor.keys_to_samples("center_type")
    tensor = tensor.keys_to_properties(["neighbor_1_type", "neighbor_2_type"])
    block = tensor.block()
    theirs = block.values[np.argsort(block.samples["atom"])]
    kernel = theirs @ theirs.T * (np.pi * ours.sigma**2) ** 3
    rows = ours.transform(atoms)
    assert difference(rows @ rows.T, kernel) < BOUNDS["7_5"][0]


# ---------------------------------------------------------------- from ours to theirs


def test_our_rows_become_featomics_blocks(cls, case, name):
    atoms = STRUCTURES[name]()
    ours = make(cls, case, atoms, accuracy=1e-13)
    J = ours.jacobian(atoms, strain=False)
    blocks = to_featomic(ours.transform(atoms), ours, ours.samples(atoms), J)
    theirs = {tuple(key.values): block for key, block in peer(cls, case, name).items()}
    largest = max(np.abs(block.values).max() for block in theirs.values())
    for key, block in blocks.items():
        expected = theirs[key]
        labels = [component.values[:, 0].tolist() for component in expected.components]
        assert labels == ([] if block.components is None else [block.components.tolist()])
        assert np.array_equal(block.properties, expected.properties.values)
        rows = [expected.samples.position(sample) for sample in block.samples.tolist()]
        np.testing.assert_allclose(block.values, expected.values[rows], rtol=1e-7, atol=1e-9 * largest)
        if ours.center_weight != 0.0:
            assert rows == list(range(len(expected.samples)))
        gradient, expected_gradient = block.gradients["positions"], expected.gradient("positions")
        # Samples count through the rows of the block, some of which we leave out.
        samples = [(rows[sample], *atom) for sample, *atom in gradient.samples.tolist()]
        rows = [expected_gradient.samples.position(sample) for sample in samples]
        np.testing.assert_allclose(gradient.values, expected_gradient.values[rows], rtol=1e-6, atol=1e-8 * largest)
    if ours.center_weight != 0.0:  # else a center sees its own species there, be it with a row of zeros
        assert set(blocks) == set(theirs)


def test_laplacian_eigenstates_are_featomics(name):
    """Featomic keeps, for each degree, the functions below a common eigenvalue: the first of ours."""
    atoms = STRUCTURES[name]()
    expansion = castile.SphericalExpansion(
        cutoff=4.0, n_max=5, l_max=3, sigma=0.5, radial_basis="laplacian", species=species_of(atoms), accuracy=1e-10
    )
    smoothing = featomic.cutoff.ShiftedCosine(width=expansion.cutoff_width)
    spliner = featomic.splines.SoapSpliner(
        cutoff=featomic.cutoff.Cutoff(radius=4.0, smoothing=smoothing),
        density=featomic.density.Gaussian(width=0.5),
        basis=featomic.basis.LaplacianEigenstate(radius=4.0, max_radial=4, max_angular=3),
        n_spline_points=2000,
    )
    theirs = featomic.SphericalExpansion(**spliner.get_hypers()).compute(atoms)
    samples = expansion.samples(atoms)
    numbers = [atomic_numbers[symbol] for symbol in expansion.species]
    ours = castile.layouts.to_array(expansion.transform(atoms), expansion) / (np.pi * 0.5**2) ** 0.75
    scale = np.abs(ours).max()
    n_functions = set()
    for key, block in theirs.items():
        degree, neighbor = key["o3_lambda"], numbers.index(key["neighbor_type"])
        rows = [int(np.flatnonzero(samples["atom"] == atom)[0]) for atom in block.samples.column("atom")]
        n = len(block.properties)
        own = ours[rows, neighbor, :n, degree**2 : (degree + 1) ** 2].transpose(0, 2, 1)
        assert np.abs(own - np.asarray(block.values)).max() < 1e-8 * scale
        n_functions.add((degree, n))
    assert (0, 5) in n_functions
    assert min(n for _, n in n_functions) >= 3
