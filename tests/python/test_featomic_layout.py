"""Blocks in featomic's layout against its definitions, written as loops; tests/peers compares them with featomic."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from checks import assert_close
from named_structures import several_frames

import castile
from castile.descriptors import SOAP, RadialSpectrum, SphericalExpansion
from castile.errors import InputError, InputTypeError, MemoryLimitError
from castile.layouts import (
    FeatomicBlock,
    FeatomicGradient,
    featomic_parameters,
    from_featomic,
    jacobian_from_featomic,
    strain_from_featomic,
    to_array,
    to_featomic,
)

SIZES = {"cutoff": 3.4, "n_max": 3, "l_max": 2, "sigma": 0.45, "cutoff_width": 0.6}
AREA = np.pi * SIZES["sigma"] ** 2
descriptors = pytest.mark.parametrize("cls", [SOAP, SphericalExpansion, RadialSpectrum])


def make(cls, frames, **options):
    sizes = {**SIZES, **options}
    descriptor = cls(**{name: value for name, value in sizes.items() if name in cls._get_param_names()})
    return descriptor.fit(frames)


def expected_values(cls, key, c, species):
    """One row of a block: (πσ²)^(-3/4) c, or (-1)^l (πσ²)^(-3/2) (2l + 1)^(-1/2) Σ_m c c', √2 if a differs from a'."""
    if cls is castile.SphericalExpansion:
        degree, _, _, a = key
        own = c[species.index(a), :, degree**2 : (degree + 1) ** 2]
        return AREA**-0.75 * own.T
    if cls is castile.RadialSpectrum:
        return AREA**-0.75 * c[species.index(key[1]), :, 0]
    a, b = (species.index(number) for number in key[1:])
    row = []
    for degree in range(SIZES["l_max"] + 1):
        own = slice(degree**2, (degree + 1) ** 2)
        product = c[a, :, own] @ c[b, :, own].T / np.sqrt(2 * degree + 1)
        row.append((-1) ** degree * AREA**-1.5 * product * (1 if a == b else np.sqrt(2)))
    return np.array(row).ravel()


@descriptors
def test_blocks_hold_featomics_products_of_the_coefficients(cls):
    frames = several_frames()
    descriptor = make(cls, frames)
    expansion = make(castile.SphericalExpansion, frames, l_max=0 if cls is castile.RadialSpectrum else SIZES["l_max"])
    c = to_array(expansion.transform(frames), expansion)
    samples = descriptor.samples(frames)
    species = [atomic_numbers[symbol] for symbol in descriptor.species_]
    blocks = to_featomic(descriptor.transform(frames), descriptor, samples)
    row_of = {(sample["frame"], sample["atom"]): row for row, sample in enumerate(samples)}
    n_rows = 0
    for key, block in blocks.items():
        center = key[2 if cls is castile.SphericalExpansion else 0]
        rows = [row_of[tuple(place)] for place in block.samples]
        assert (np.diff(rows) > 0).all()
        assert {samples["species"][row] for row in rows} == {chemical_symbols[center]}
        expected = [expected_values(cls, key, c[row], species) for row in rows]
        assert_close(block.values, np.array(expected), 1e-13, what=str(key))
        n_rows += len(rows)
    assert n_rows > len(blocks) > len(species)


@descriptors
def test_labels_of_a_block_are_featomics(cls):
    blocks = to_featomic(*rows_of(make(cls, Atoms("CO")), Atoms("CO", [[0, 0, 0], [0, 0, 1.1]])))
    key = {castile.SphericalExpansion: (2, 1, 6, 8), castile.RadialSpectrum: (6, 8), castile.SOAP: (6, 6, 8)}[cls]
    block = blocks[key]
    assert block.samples.tolist() == [[0, 0]]
    if cls is castile.SOAP:
        assert block.properties.tolist() == [[k, n, m] for k in range(3) for n in range(3) for m in range(3)]
    else:
        assert block.properties.tolist() == [[0], [1], [2]]
    if cls is castile.SphericalExpansion:
        assert block.components.tolist() == [-2, -1, 0, 1, 2]
        assert block.values.shape == (1, 5, 3)
    else:
        assert block.components is None
    assert repr(block).startswith("<FeatomicBlock: values (1, ")


def rows_of(descriptor, frames):
    return descriptor.transform(frames), descriptor, descriptor.samples(frames)


@descriptors
def test_a_block_leaves_out_centers_that_do_not_see_its_species(cls):
    frames = [Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), Atoms("C")]
    blocks = to_featomic(*rows_of(make(cls, frames), frames))
    own, other = {
        castile.SphericalExpansion: [(0, 1, 6, 6), (0, 1, 6, 8)],
        castile.RadialSpectrum: [(6, 6), (6, 8)],
        castile.SOAP: [(6, 6, 6), (6, 6, 8)],
    }[cls]
    assert blocks[own].samples.tolist() == [[0, 0], [1, 0]]
    assert blocks[other].samples.tolist() == [[0, 0]]


@pytest.mark.parametrize("center_weight", [0.0, 1.0])
@descriptors
def test_rows_and_gradients_come_back(cls, center_weight):
    frames = several_frames()
    descriptor = make(cls, frames, center_weight=center_weight)
    X, _, samples = rows_of(descriptor, frames)
    J = descriptor.jacobian(frames)
    blocks = to_featomic(X, descriptor, samples, J)
    assert_close(from_featomic(blocks, descriptor, samples), X, 1e-14)
    back = jacobian_from_featomic(blocks, descriptor, samples, J.atom_offsets)
    assert_close(back, J.to_dense(), 1e-14)
    for block in blocks.values():
        gradient = block.gradients["positions"]
        assert gradient.values.shape[2:] == block.values.shape[1:]
        assert len(np.unique(gradient.samples, axis=0)) == len(gradient.samples)
        assert np.array_equal(np.lexsort(gradient.samples.T[::-1]), np.arange(len(gradient.samples)))
        assert gradient.values.any(axis=tuple(range(1, gradient.values.ndim))).all()
        assert repr(gradient).startswith("<FeatomicGradient")


@descriptors
def test_samples_choose_the_rows(cls, frames):
    descriptor = make(cls, frames)
    X, _, samples = rows_of(descriptor, frames)
    J = descriptor.jacobian(frames)
    blocks = to_featomic(X, descriptor, samples, J)
    some = np.random.default_rng(0).permutation(len(X))[::2]
    assert_close(from_featomic(blocks, descriptor, samples[some]), X[some], 1e-14)
    back = jacobian_from_featomic(blocks, descriptor, samples[some], J.atom_offsets)
    assert_close(back, J.to_dense()[some], 1e-14)


@descriptors
def test_single_precision_is_kept(cls, molecule):
    descriptor = make(cls, molecule, dtype="float32")
    X, _, samples = rows_of(descriptor, molecule)
    for block in to_featomic(X, descriptor, samples, descriptor.jacobian(molecule)).values():
        assert block.values.dtype == block.gradients["positions"].values.dtype == np.float32


@descriptors
def test_strain_gradients_are_made_symmetric(cls, molecule):
    """Featomic's, of a strain with nine entries, each of which converts like a row."""
    descriptor = make(cls, molecule)
    samples = descriptor.samples(molecule)
    T = np.random.default_rng(0).normal(size=(3, 3, len(samples), len(descriptor.get_feature_names_out())))
    entries = [[to_featomic(T[a, b], descriptor, samples) for b in range(3)] for a in range(3)]
    blocks = {}
    for key, block in entries[0][0].items():
        values = np.array([[entries[a][b][key].values for b in range(3)] for a in range(3)])
        rows = np.arange(len(block.samples))[:, None]
        gradient = FeatomicGradient(rows, np.moveaxis(values, 2, 0))
        blocks[key] = replace(block, gradients={"strain": gradient})
    expected = np.moveaxis(T + T.swapaxes(0, 1), 2, 0) / 2
    assert_close(strain_from_featomic(blocks, descriptor, samples), expected, 1e-14)
    assert_close(strain_from_featomic(blocks, descriptor, samples[::2]), expected[::2], 1e-14)


# ---------------------------------------------------------------- parameters


def test_parameters_are_those_of_the_same_descriptor():
    soap = castile.SOAP(cutoff=4.5, n_max=7, l_max=5, sigma=0.3, cutoff_width=0.7, center_weight=0.2)
    assert featomic_parameters(soap, spline_accuracy=None) == {
        "cutoff": {"radius": 4.5, "smoothing": {"type": "ShiftedCosine", "width": 0.7}},
        "density": {"type": "Gaussian", "width": 0.3, "center_atom_weight": 0.2},
        "basis": {
            "type": "TensorProduct",
            "max_angular": 5,
            "radial": {"type": "Gto", "max_radial": 6},
            "spline_accuracy": None,
        },
    }
    radial = featomic_parameters(castile.RadialSpectrum(n_max=2, cutoff_function=None))
    assert radial["cutoff"]["smoothing"] == {"type": "Step"}
    assert radial["basis"] == {"radial": {"type": "Gto", "max_radial": 1}, "spline_accuracy": 1e-8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff_function": "polynomial"}, "cutoff_function='polynomial' is not in featomic"),
        ({"average": "inner"}, "average='inner' has no counterpart in featomic; use 'off'"),
        ({"normalize": True}, "normalize=True has no counterpart"),
        ({"cutoff": {"H": 2.0}}, "cutoff=.* has no counterpart in featomic, where species share it"),
        ({"sigma": {"H": 0.4}}, "sigma=.* has no counterpart"),
        ({"sigma": 0}, "sigma must be a positive length"),
        ({"n_max": 0}, "n_max must be 1 or more"),
        ({"density_weighting": {"function": "exp", "r0": 2.0, "d": 1.0}}, "'exp'.* is not in featomic; use 'willatt'"),
    ],
)
def test_what_featomic_lacks_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        featomic_parameters(castile.SOAP(**options))


def test_parameters_of_something_else_are_refused():
    with pytest.raises(InputTypeError, match="descriptor must be"):
        featomic_parameters("SOAP")


# ---------------------------------------------------------------- errors


@pytest.fixture
def converted(molecule):
    soap = make(castile.SOAP, molecule)
    X, _, samples = rows_of(soap, molecule)
    return to_featomic(X, soap, samples), soap, samples


def test_blocks_of_other_parameters_are_refused(converted, molecule):
    blocks, _, samples = converted
    with pytest.raises(InputError, match="featomic_parameters"):
        from_featomic(blocks, make(castile.SOAP, molecule, n_max=4), samples)
    with pytest.raises(InputError, match=r"block \(1, 1, 8\) does not belong to SOAP with species H, C"):
        from_featomic({(1, 1, 8): blocks[1, 1, 8]}, castile.SOAP(**SIZES, species=["H", "C"]), samples)
    with pytest.raises(InputError, match="does not belong to SphericalExpansion"):
        from_featomic(blocks, make(castile.SphericalExpansion, molecule), samples)
    expansion = make(castile.SphericalExpansion, molecule)
    block = next(iter(blocks.values()))
    with pytest.raises(InputError, match="components"):
        from_featomic({(0, 1, 1, 1): block}, expansion, samples)


def test_a_tensor_must_be_featomics(converted):
    blocks, soap, samples = converted
    with pytest.raises(InputTypeError, match="tensor must be the TensorMap"):
        from_featomic(list(blocks.values()), soap, samples)


def test_missing_gradients_are_named(converted, molecule):
    blocks, soap, samples = converted
    with pytest.raises(InputError, match="no gradients by positions"):
        jacobian_from_featomic(blocks, soap, samples, [0, len(molecule)])
    with pytest.raises(InputError, match="no gradients by strain"):
        strain_from_featomic(blocks, soap, samples)


def test_a_dense_jacobian_that_does_not_fit_is_refused(converted):
    blocks, soap, samples = converted
    with pytest.raises(MemoryLimitError, match="dense Jacobian"):
        jacobian_from_featomic(blocks, soap, samples, [0, 10**12])


def test_rows_samples_and_jacobian_must_belong_together(converted, molecule):
    _, soap, samples = converted
    X = soap.transform(molecule)
    with pytest.raises(InputError, match="one row for each of the 8 samples"):
        to_featomic(X, soap, samples[:-1])
    with pytest.raises(InputError, match="jacobian is of"):
        to_featomic(X, soap, samples, soap.jacobian(molecule, centers=[0]))
    with pytest.raises(InputTypeError, match="samples must be"):
        to_featomic(X, soap, np.arange(len(X)))
    averaged = make(castile.SOAP, molecule, average="inner")
    with pytest.raises(InputError, match="average='off' and atoms"):
        to_featomic(averaged.transform(molecule), averaged, averaged.samples(molecule))


def test_compressed_power_spectra_are_refused(converted, molecule):
    _, soap, samples = converted
    soap.compression = "mu2"
    with pytest.raises(InputError, match="compression='mu2' has no counterpart"):
        to_featomic(np.zeros((8, 18)), soap, samples)


def test_blocks_are_plain_arrays(converted):
    blocks, _, _ = converted
    assert all(isinstance(block, FeatomicBlock) and type(block.values) is np.ndarray for block in blocks.values())
