"""Kernels between environments and between structures, on the power spectra of the workloads."""

import pytest

import castile
from cases import CASES, parameters_for
from castile import kernels


@pytest.fixture(scope="module", params=["silicon_1000", "molecules_1000"])
def rows_and_samples(request, tiny):
    case = CASES[request.param]
    frames = case.make(tiny)
    soap = castile.SOAP(**parameters_for(castile.SOAP, case))
    return soap.transform(frames)[:4000], soap.samples(frames)[:4000]


@pytest.mark.parametrize("zeta", [1, 2, 4, 2.5])
def test_soap_kernel_with_sparse_points(benchmark, rows_and_samples, zeta):
    rows, _ = rows_and_samples
    kernel = benchmark(kernels.soap_kernel, rows, rows[:500].copy(), zeta)
    assert kernel.shape == (len(rows), len(rows[:500]))


def test_soap_kernel_of_all_pairs(benchmark, rows_and_samples):
    rows = rows_and_samples[0][:2000]
    kernel = benchmark(kernels.soap_kernel, rows)
    assert kernel.shape == (len(rows), len(rows))


def test_average_kernel(benchmark, rows_and_samples):
    rows, samples = rows_and_samples
    kernel = benchmark(kernels.average_kernel, rows, samples)
    assert kernel.shape[0] == len(set(samples["frame"]))


def test_species_kernel(benchmark, rows_and_samples):
    rows, samples = rows_and_samples
    kernel = benchmark(kernels.species_kernel, rows, samples)
    assert kernel.shape[0] == len(set(samples["frame"]))
