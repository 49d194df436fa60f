"""Columns as arrays with an axis for each index, and rows in DScribe's order, against formulas written as loops."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from ase import Atoms
from checks import assert_close
from references import density_expansion, dscribe_soap

import castile
from castile.descriptors import SOAP, RadialSpectrum, SphericalExpansion
from castile.errors import InputError, InputTypeError, NotFittedError
from castile.layouts import (
    degree_slice,
    from_array,
    from_dscribe,
    join_degrees,
    lm_index,
    split_degrees,
    to_array,
    to_dscribe,
)

SIZES = {"cutoff": 3.4, "n_max": 3, "l_max": 2, "sigma": 0.5}
SPECIES = ["H", "C", "O"]
COMPRESSIONS = [None, "mu2", "mu1nu1", "crossover"]
compressions = pytest.mark.parametrize("compression", COMPRESSIONS)
descriptors = pytest.mark.parametrize("cls", [SOAP, SphericalExpansion, RadialSpectrum])


def make(cls, **options):
    sizes = {**SIZES, "species": SPECIES, **options}
    return cls(**{name: value for name, value in sizes.items() if name in cls._get_param_names()})


def soap_with(compression, **options):
    soap = make(castile.SOAP, **options)
    soap.compression = compression
    return soap


def random_coefficients(*leading, n_species=3, n_max=3, l_max=2):
    return np.random.default_rng(0).normal(size=(*leading, n_species, n_max, (l_max + 1) ** 2))


def packed(c, l_max, compression):
    """One row as Castile orders it, by loops: products of unlike channels that stand for two carry √2."""
    if compression is None:
        return density_expansion.power_spectrum(c, l_max)
    total = c.sum(axis=0)
    if compression == "mu2":
        return density_expansion.power_spectrum(total[None], l_max)
    if compression == "crossover":
        return np.concatenate([density_expansion.power_spectrum(channel[None], l_max) for channel in c])
    row = []
    for channel in c:
        for degree in range(l_max + 1):
            own = slice(degree**2, (degree + 1) ** 2)
            row += list((channel[:, own] @ total[:, own].T).ravel() / np.sqrt(2 * degree + 1))
    return np.array(row)


# ---------------------------------------------------------------- arrays


@descriptors
def test_every_element_stands_where_the_name_of_its_column_says(cls):
    descriptor = make(cls)
    names = descriptor.get_feature_names_out()
    array = to_array(np.arange(len(names)) + 1.0, descriptor)
    for column, name in enumerate(names):
        symbols, *indices = name.split("_")
        a, b = (SPECIES.index(symbol) for symbol in (symbols.split("-") * 2)[:2])
        number = {part.rstrip("-0123456789"): int(re.search(r"-?\d+", part)[0]) for part in indices[:-1]}
        last = int(re.search(r"-?\d+", indices[-1])[0])
        if cls is castile.SOAP:
            places = [(a, number["n"], b, last, number["l"]), (b, last, a, number["n"], number["l"])]
            scale = 1.0 if places[0] == places[1] else np.sqrt(2.0)
        else:
            places = [(a, last) if cls is castile.RadialSpectrum else (a, number["n"], lm_index(number["l"], last))]
            scale = 1.0
        for place in places:
            np.testing.assert_allclose(array[place] * scale, column + 1.0, rtol=1e-15)


def test_coefficients_are_a_view_with_named_axes(molecule):
    expansion = make(castile.SphericalExpansion)
    X = expansion.transform(molecule)
    c = to_array(X, expansion)
    assert c.shape == (len(molecule), 3, 3, 9)
    assert np.shares_memory(c, X)
    flat = from_array(c, expansion)
    assert np.shares_memory(flat, X)
    assert np.array_equal(flat, X)


def test_the_tensor_of_a_power_spectrum_is_made_of_the_coefficients(structure):
    soap, expansion = castile.SOAP(**SIZES).fit(structure), castile.SphericalExpansion(**SIZES).fit(structure)
    c = to_array(expansion.transform(structure), expansion)
    p = to_array(soap.transform(structure), soap)
    n_species = len(soap.species_)
    assert p.shape == (len(structure), n_species, 3, n_species, 3, 3)
    full = [density_expansion.full_power_spectrum(row, 2).reshape(p.shape[1:]) for row in c]
    assert_close(p, np.array(full), 1e-13)
    assert np.array_equal(p, p.transpose(0, 3, 4, 1, 2, 5))


@compressions
def test_tensors_of_compressed_power_spectra_are_products_of_coefficients(compression):
    soap = soap_with(compression)
    c = random_coefficients(4)
    X = np.array([packed(row, 2, compression) for row in c])
    total = c.sum(axis=1)
    left, right, subscripts = {
        None: (c, c, "ianm,ibkm->ianbk"),
        "mu2": (total, total, "inm,ikm->ink"),
        "mu1nu1": (c, total, "ianm,ikm->iank"),
        "crossover": (c, c, "ianm,iakm->iank"),
    }[compression]
    p = to_array(X, soap)
    for degree in range(3):
        own = degree_slice(degree)
        product = np.einsum(subscripts, left[..., own], right[..., own]) / np.sqrt(2 * degree + 1)
        assert_close(p[..., degree], product, 1e-14)
    assert_close(from_array(p, soap), X, 1e-15)


@compressions
def test_flattening_is_the_transpose_of_expanding(compression):
    """So that gradients by the tensor become gradients by the columns."""
    soap = soap_with(compression)
    rng = np.random.default_rng(0)
    X = rng.normal(size=packed(random_coefficients(), 2, compression).shape)
    p = to_array(X, soap)
    gradient = rng.normal(size=p.shape)
    np.testing.assert_allclose(np.vdot(gradient, p), np.vdot(from_array(gradient, soap), X), rtol=1e-13)


@compressions
@pytest.mark.parametrize("sizes", [(1, 0, 1), (2, 3, 1), (1, 2, 4)], ids=str)
def test_dot_products_of_rows_are_those_of_tensors(compression, sizes):
    n_max, l_max, n_species = sizes
    soap = soap_with(compression, n_max=n_max, l_max=l_max, species=["H", "C", "O", "S"][:n_species])
    c = random_coefficients(2, n_species=n_species, n_max=n_max, l_max=l_max)
    X = np.array([packed(row, l_max, compression) for row in c])
    p = to_array(X, soap).reshape(2, -1)
    assert_close(p @ p.T, X @ X.T, 1e-13)


@descriptors
def test_derivatives_convert_like_rows(cls, molecule):
    descriptor = make(cls)
    J = descriptor.jacobian(molecule)
    dense, velocities = J.to_dense(), np.random.default_rng(0).normal(size=(len(molecule), 3))
    expected = to_array(descriptor.jvp(molecule, velocities), descriptor)
    array = to_array(dense, descriptor)
    assert array.shape[:3] == dense.shape[:3]
    assert_close(np.einsum("iax...,ax->i...", array, velocities), expected, 1e-12)
    assert np.array_equal(array[1, 2, 0], to_array(dense[1, 2, 0], descriptor))
    strain = to_array(J.strain, descriptor)
    assert strain.shape[:3] == (len(molecule), 3, 3)
    for given in (dense, J.strain):
        assert_close(from_array(to_array(given, descriptor), descriptor), given, 1e-15)


@descriptors
def test_precision_strides_and_arguments_are_kept(cls, molecule):
    descriptor = make(cls)
    X = descriptor.transform(molecule)
    single = to_array(X.astype(np.float32), descriptor)
    assert single.dtype == from_array(single, descriptor).dtype == np.float32
    X.setflags(write=False)
    array = to_array(X, descriptor)
    for given in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X.tolist()):
        assert np.array_equal(to_array(given, descriptor), array)
    assert np.array_equal(from_array(np.asfortranarray(array), descriptor), from_array(array, descriptor))
    assert to_array(np.ones(X.shape[1], dtype=int), descriptor).dtype == np.float64
    empty = to_array(X[:0], descriptor)
    assert empty.shape == (0, *array.shape[1:])
    assert from_array(empty, descriptor).shape == (0, X.shape[1])


def test_learned_and_unsorted_species_are_those_of_the_columns(molecule):
    learned = castile.SOAP(**SIZES).fit(molecule)
    unsorted = castile.SOAP(**SIZES, species=["O", "H", "C"])
    X = learned.transform(molecule)
    assert np.array_equal(to_array(X, learned), to_array(X, unsorted))


# ---------------------------------------------------------------- degrees


def test_lm_counts_through_degrees_and_orders():
    pairs = [(degree, m) for degree in range(5) for m in range(-degree, degree + 1)]
    assert [lm_index(degree, m) for degree, m in pairs] == list(range(25))


def test_degrees_split_into_views_and_join_again():
    c = random_coefficients(4)
    parts = split_degrees(c)
    assert [part.shape for part in parts] == [(4, 3, 3, 1), (4, 3, 3, 3), (4, 3, 3, 5)]
    for degree, part in enumerate(parts):
        assert np.shares_memory(part, c)
        assert np.array_equal(part[..., 0], c[..., lm_index(degree, -degree)])
        assert np.array_equal(part, c[..., degree_slice(degree)])
    assert np.array_equal(join_degrees(parts), c)


# ---------------------------------------------------------------- DScribe's rows


@compressions
@pytest.mark.parametrize("sizes", [(3, 2, 3), (1, 0, 1), (2, 4, 2)], ids=str)
def test_rows_are_dscribes(compression, sizes):
    n_max, l_max, n_species = sizes
    soap = soap_with(compression, n_max=n_max, l_max=l_max, species=SPECIES[:n_species])
    c = random_coefficients(5, n_species=n_species, n_max=n_max, l_max=l_max)
    X = np.array([packed(row, l_max, compression) for row in c])
    expected = dscribe_soap.power_spectrum(c, l_max, compression)
    assert_close(to_dscribe(X, soap), expected, 1e-14)
    assert_close(from_dscribe(expected, soap), X, 1e-14)


@compressions
def test_derivatives_and_single_precision_convert_to_dscribe_too(compression):
    soap = soap_with(compression)
    n_columns = len(packed(random_coefficients(), 2, compression))
    J = np.random.default_rng(0).normal(size=(2, 4, 3, n_columns))
    converted = to_dscribe(J, soap)
    assert np.array_equal(converted[1, 2, 0], to_dscribe(J[1, 2, 0], soap))
    assert_close(from_dscribe(converted, soap), J, 1e-15)
    assert to_dscribe(J.astype(np.float32), soap).dtype == np.float32


# ---------------------------------------------------------------- errors


CONVERSIONS = [to_array, to_dscribe, from_dscribe]


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_rows_of_another_width_are_refused_with_the_width_that_is_right(convert):
    soap = make(castile.SOAP)
    with pytest.raises(InputError, match=r"X must have 135 columns .* SOAP with species H, C, O, n_max=3, l_max=2"):
        convert(np.zeros((2, 134)), soap)
    with pytest.raises(InputError, match=r"got shape \(\)"):
        convert(1.0, soap)
    soap.compression = "mu2"
    with pytest.raises(InputError, match=r"X must have 18 columns .* compression='mu2'"):
        convert(np.zeros((2, 135)), soap)


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_sparse_rows_and_what_is_no_number_are_refused(convert):
    soap = make(castile.SOAP)
    with pytest.raises(InputTypeError, match="toarray"):
        convert(sp.csr_array((2, 135)), soap)
    with pytest.raises(InputTypeError, match="X must hold real numbers"):
        convert(np.full((2, 135), "a"), soap)


@pytest.mark.parametrize("convert", [*CONVERSIONS, from_array])
def test_the_descriptor_must_be_one_that_knows_its_species(convert):
    with pytest.raises(NotFittedError, match="fit"):
        convert(np.zeros((2, 135)), castile.SOAP(**SIZES))
    with pytest.raises(InputTypeError, match="descriptor must be"):
        convert(np.zeros((2, 135)), Atoms("H"))
    with pytest.raises(InputError, match="compression must be one of"):
        convert(np.zeros((2, 135)), soap_with("mu3"))


@pytest.mark.parametrize("convert", [to_dscribe, from_dscribe])
def test_dscribe_has_power_spectra_only(convert):
    with pytest.raises(InputTypeError, match="DScribe"):
        convert(np.zeros((2, 81)), make(castile.SphericalExpansion))


@pytest.mark.parametrize(
    ("cls", "axes"),
    [
        (castile.SphericalExpansion, r"\(species, n, lm\) of shape \(3, 3, 9\)"),
        (castile.RadialSpectrum, r"\(species, n\) of shape \(3, 3\)"),
        (castile.SOAP, r"\(species, n, species, n, l\) of shape \(3, 3, 3, 3, 3\)"),
    ],
)
def test_arrays_must_end_in_the_axes_of_the_descriptor(cls, axes):
    for shape in [(3,), (2, 3, 3, 3, 3, 3, 4)]:
        with pytest.raises(InputError, match=axes):
            from_array(np.zeros(shape), make(cls))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lm_index(2, 3), InputError, "m must be between -2 and 2 for degree 2, got 3"),
        (lambda: lm_index(2, -3), InputError, "m must be"),
        (lambda: lm_index(-1, 0), InputError, "degree must be 0 or more"),
        (lambda: degree_slice(1.0), InputTypeError, "degree must be an integer"),
        (lambda: split_degrees(np.zeros((4, 8))), InputError, r"\(4, 8\)"),
        (lambda: split_degrees(3.0), InputError, r"\(\)"),
        (lambda: split_degrees(np.zeros((4, 0))), InputError, r"\(4, 0\)"),
        (lambda: join_degrees([]), InputError, "parts is empty"),
        (lambda: join_degrees([np.zeros((2, 1)), np.zeros((2, 2))]), InputError, r"\(2, 3\), got \(2, 2\)"),
        (lambda: join_degrees([np.zeros((2, 1)), np.zeros((3, 3))]), InputError, r"parts\[1\]"),
    ],
)
def test_bad_degrees_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
