"""Features of all descriptors on all workloads, and the derivatives of those that have them."""

import numpy as np
import pytest

import castile
from cases import CASES, parameters_for
from castile.descriptors import DESCRIPTORS

# Explicit Jacobians of whole workloads take gigabytes; this many of the centers show the speed.
JACOBIAN_CENTERS = 100
FEW_SPECIES = 4


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture
def frames(case, tiny):
    return case.make(tiny)


def n_centers(frames):
    return sum(len(atoms) for atoms in frames)


@pytest.mark.parametrize("cls", DESCRIPTORS, ids=lambda cls: cls.__name__)
def test_transform(measure, cls, case, frames):
    parameters = parameters_for(cls, case)
    if cls is castile.Products and len(parameters["species"]) > FEW_SPECIES:
        parameters["degrees"] = (4, 4, 4)  # whose default leaves too many functions of many species
    if cls is castile.Bispectrum:
        parameters["degree"] = 5  # without a bound, sizes that suit SOAP leave too many
    features = measure(case, cls(**parameters).transform, frames)
    assert len(features) == n_centers(frames)


@pytest.mark.parametrize("dtype", ["float32"])
def test_soap_in_single_precision(measure, dtype, case, frames):
    soap = castile.SOAP(**parameters_for(castile.SOAP, case), dtype=dtype)
    features = measure(case, soap.transform, frames)
    assert features.dtype == dtype


def test_soap_averaged(measure, case, frames):
    soap = castile.SOAP(**parameters_for(castile.SOAP, case), average="inner")
    features = measure(case, soap.transform, frames)
    assert len(features) == len(frames)


def test_soap_vjp(measure, case, frames):
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    shape = n_centers(frames), len(soap.get_feature_names_out())
    cotangent = np.random.default_rng(0).normal(size=shape)
    gradients = measure(case, soap.vjp, frames, cotangent)
    assert np.isfinite(gradients.positions).all()


def test_soap_jvp(measure, case, frames):
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    velocities = np.random.default_rng(0).normal(size=(n_centers(frames), 3))
    rates = measure(case, soap.jvp, frames, positions=velocities)
    assert len(rates) == n_centers(frames)


def test_soap_jacobian_of_some_centers(measure, case, frames):
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    if len(frames) == 1:
        centers = [np.arange(min(JACOBIAN_CENTERS, len(frames[0])))]
    else:
        frames = frames[: JACOBIAN_CENTERS // 8]
        centers = None
    jacobian = measure(case, soap.jacobian, frames, centers=centers, strain=False)
    assert jacobian.nbytes > 0
