"""float32 against float64: the bounds that docs/conventions.md states, over all options and at large sizes.

Errors count relative to the largest value or derivative of a row (of a frame, for vjp); derivatives also to the row's
largest value per Å. The largest seen are 1e-6 for values and 2.4e-5 for derivatives, the medians 2e-7 and 2e-6.
Entries of the table are rounded, and slopes come from their differences, over steps of some tenths of σ: hence the
second bound.
"""

import copy
import pickle
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from ase import Atoms
from checks import dense, same_bits
from directional import without_small_entries
from named_structures import STRUCTURES, frames_of_five_species
from options import make_descriptor
from pairwise import CLASSES, label, make_centers, pairwise_cases, without
from sklearn.base import clone

import castile

VALUES_BOUND, DERIVATIVES_BOUND = 3e-6, 7e-5


def largest_by(index, n, magnitudes):
    """Largest magnitude of what belongs to each of n rows or frames."""
    largest = np.zeros(n)
    np.maximum.at(largest, index, magnitudes.reshape(len(index), -1).max(axis=1, initial=0.0))
    return largest


def assert_within(bound, what, actual, expected, *, of, scales):
    """The error of every row or frame is at most ``bound`` times its scale."""
    errors = largest_by(of, len(scales), np.abs(actual.astype(float) - expected))
    worst = np.divide(errors, scales, out=np.where(errors > 0, np.inf, 0.0), where=scales > 0).max(initial=0.0)
    assert worst <= bound, f"{what}: {worst:.1e}"


def assert_single_precision_within_bounds(double, frames, centers=None):
    single = copy.deepcopy(double).set_params(dtype="float32")
    X = dense(double.transform(frames, centers=centers))
    rows, frame = np.arange(len(X)), double.samples(frames, centers=centers)["frame"]
    largest_values = np.abs(X).max(axis=1)
    found = single.transform(frames, centers=centers)
    assert found.dtype == np.float32
    assert_within(VALUES_BOUND, "values", dense(found), X, of=rows, scales=largest_values)

    J, found = double.jacobian(frames, centers), single.jacobian(frames, centers)
    blocks = [group for group in J.groups if len(group.row)]
    scales, strain_scales = largest_values.copy(), largest_values.copy()
    for group in blocks:
        scales = np.maximum(scales, largest_by(group.row, len(X), np.abs(group.values)))
    for group in J.strain_groups:
        strain_scales = np.maximum(strain_scales, largest_by(group.row, len(X), np.abs(group.values)))
    for group, own in zip(blocks, (group for group in found.groups if len(group.row)), strict=True):
        assert own.values.dtype == np.float32
        assert_within(DERIVATIVES_BOUND, "Jacobian", own.values, group.values, of=group.row, scales=scales)
    for group, own in zip(J.strain_groups, found.strain_groups, strict=True):
        what = "Jacobian, strain"
        assert_within(DERIVATIVES_BOUND, what, own.values, group.values, of=group.row, scales=strain_scales)

    rng = np.random.default_rng(1)
    velocities = without_small_entries(rng, (sum(map(len, frames)), 3))
    rates = without_small_entries(rng, (len(frames), 3, 3))
    for tangents, scale in [({"positions": velocities}, scales), ({"strain": rates}, strain_scales)]:
        expected, found = (dense(d.jvp(frames, **tangents, centers=centers)) for d in (double, single))
        assert_within(DERIVATIVES_BOUND, f"jvp, {next(iter(tangents))}", found, expected, of=rows, scales=scale)

    cotangent = without_small_entries(rng, X.shape)
    given = sp.csr_array(cotangent) if double.sparse else cotangent
    expected, found = (d.vjp(frames, given, centers=centers) for d in (double, single))
    assert found.positions.dtype == np.float64
    of_atoms = np.repeat(np.arange(len(frames)), [len(atoms) for atoms in frames])
    values_of_frames = largest_by(frame, len(frames), X)
    for name, index in [("positions", of_atoms), ("strain", np.arange(len(frames)))]:
        exact = getattr(expected, name)
        scales = np.maximum(values_of_frames, largest_by(index, len(frames), np.abs(exact)))
        assert_within(DERIVATIVES_BOUND, f"vjp, {name}", getattr(found, name), exact, of=index, scales=scales)


@pytest.mark.parametrize("case", pairwise_cases(without("frames")), ids=label)
def test_all_options_keep_the_documented_bounds(case):
    frames = list(frames_of_five_species().values())
    descriptor = make_descriptor(CLASSES[case["descriptor"]], case, frames).fit(frames)
    assert_single_precision_within_bounds(descriptor, frames, make_centers(case["centers"], frames))


@pytest.mark.parametrize("radial_basis", ["gto", "gto_l", "polynomial", "laplacian"])
@pytest.mark.parametrize(("n_max", "l_max"), [(12, 9), (16, 3), (4, 14)])
@pytest.mark.parametrize(("sigma", "cutoff"), [(0.2, 3.4), (0.5, 8.0), (0.0, 8.0)])
def test_large_sizes_keep_the_documented_bounds(sigma, cutoff, n_max, l_max, radial_basis):
    frames = [STRUCTURES["tiny_cell"](), STRUCTURES["molecule"]()]
    soap = castile.SOAP(cutoff, n_max, l_max, sigma, radial_basis=radial_basis, cutoff_width=0.6)
    assert_single_precision_within_bounds(soap.fit(frames), frames)


@pytest.mark.parametrize("n_points", [1001, 4001, 16001, 64001])
def test_fine_tables_of_ones_own_keep_the_documented_bounds(n_points):
    def functions(r):
        return np.cos(r[:, None] * [0.3, 0.5, 0.7])

    basis = castile.TabulatedBasis.from_function(functions, 4.0, n_points, "R")
    frames = [STRUCTURES["tiny_cell"](), STRUCTURES["molecule"]()]
    assert_single_precision_within_bounds(castile.SOAP(3.4, 3, 2, radial_basis=basis).fit(frames), frames)


def test_coordinates_far_from_the_origin_lose_nothing():
    near = STRUCTURES["five_species"]()
    far = near.copy()
    far.positions += 16384.0  # Å: coordinates in double precision keep 12 digits behind the point
    soap = castile.SOAP(cutoff=3.4, dtype="float32").fit(near)
    X, Y = soap.transform(near), soap.transform(far)
    assert np.abs(X - Y).max() <= VALUES_BOUND * np.abs(X).max()


def test_the_bounds_would_be_missed_by_a_wrong_number(monkeypatch):
    frames = [Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]])]
    descriptor = castile.SOAP(cutoff=3.4, n_max=3, l_max=2).fit(frames)
    right = castile.SOAP.transform

    def slightly_wrong(self, *args, **kwargs):
        rows = right(self, *args, **kwargs)
        return rows if self.dtype == "float64" else np.float32(1 + 1e-5) * rows

    monkeypatch.setattr(castile.SOAP, "transform", slightly_wrong)
    with pytest.raises(AssertionError, match="values: 1"):
        assert_single_precision_within_bounds(descriptor, frames)


@pytest.mark.parametrize("given", [np.float32, np.dtype("float32"), float, np.float64, np.dtype(float), np.double])
@pytest.mark.parametrize("sparse", [False, True])
def test_types_say_the_precision_too_and_stay_as_they_were_given(given, sparse):
    frames = list(frames_of_five_species().values())
    name = np.dtype(given).name
    options = {"cutoff": 3.4, "n_max": 3, "l_max": 2, "sparse": sparse}
    soap, expected = castile.SOAP(**options, dtype=given), castile.SOAP(**options, dtype=name).fit(frames)
    assert clone(soap).dtype is given or clone(soap).dtype == given
    assert soap.fit(frames).get_params()["dtype"] is given
    X = soap.transform(frames)
    assert X.dtype == np.dtype(given)
    assert same_bits(dense(X), dense(expected.transform(frames)))
    J, g = soap.jacobian(frames), soap.vjp(frames, X)
    assert {group.values.dtype for group in (*J.groups, *J.strain_groups)} == {np.dtype(given)}
    assert soap.jvp(frames, np.ones_like(g.positions)).dtype == np.dtype(given)
    assert g.positions.dtype == g.strain.dtype == np.float64
    assert same_bits(g.positions, expected.vjp(frames, X).positions)
    again = pickle.loads(pickle.dumps(soap))
    assert again.dtype == given
    assert soap.estimate_memory(frames) == expected.estimate_memory(frames)


def test_types_and_names_find_the_same_remembered_descriptor():
    species = ("H", "O")
    of_names = [castile.SOAP(2.9, 3, 2, dtype=name)._core(species) for name in ("float32", "float64")]
    with mock.patch("castile.descriptors._base.core_parameters", side_effect=AssertionError("checked again")):
        assert castile.SOAP(2.9, 3, 2, dtype=np.float32)._core(species) is of_names[0]
        assert castile.SOAP(2.9, 3, 2, dtype=np.dtype("float32"))._core(species) is of_names[0]
        assert castile.SOAP(2.9, 3, 2, dtype=float)._core(species) is of_names[1]
