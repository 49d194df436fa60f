"""What test_instruction_sets.py computes in a process for each instruction set. Arguments: its name and a file.

Everything is computed on one thread and then again on three; prints, as JSON, the names of results with other bits.
"""

import itertools
import json
import pickle
import sys

import numpy as np
from ase.build import bulk
from checks import dense, max_abs, same_bits
from named_structures import CUTOFF, CUTOFF_WIDTH, STRUCTURES
from options import make_descriptor
from pairwise import CLASSES, FACTORS, make_centers, make_frames, pairwise_cases

import castile
from castile import _core, kernels
from castile.descriptors import DESCRIPTORS
from castile.neighbors import neighbor_list

# Below, at and beyond whole registers of every width, and degrees that are done by loops of their own.
SIZES = [(1, 0), (4, 0), (5, 9), (9, 3), (8, 6), (3, 12), (16, 1)]
DTYPES = ("float64", "float32")
# What `fit` learns comes from decompositions, which magnify rounding; their results are given to no kernel of the core.
LEARNED = {"compression": ("learned_svd", "learned_cur"), "n_primitives": ("more",)}


def without_learning(factors):
    return {name: [v for v in values if v not in LEARNED.get(name, ())] for name, values in factors.items()}


def derivatives(descriptor, frames, centers=None):
    """A descriptor's features and what is derived from them: names, values, and what their rounding is relative to.

    That is the largest value, but for products with the Jacobian, where terms may cancel, their largest sum of
    magnitudes.
    """
    X = descriptor.transform(frames, centers=centers)
    n_atoms = sum(map(len, frames))
    velocities = np.sin(np.arange(3.0 * n_atoms)).reshape(n_atoms, 3)
    rates = np.cos(np.arange(9.0 * len(frames))).reshape(len(frames), 3, 3)
    cotangent = np.cos(np.arange(float(np.prod(X.shape)))).reshape(X.shape)
    g = descriptor.vjp(frames, cotangent, centers=centers)
    t = descriptor.jvp(frames, velocities, rates, centers=centers)
    J = descriptor.jacobian(frames, centers=centers)
    by_positions, by_strain = abs(J.to_dense()), abs(J.strain)
    rates = rates[descriptor.samples(frames, centers=centers)["frame"]]
    terms = np.einsum("rakf,ak->rf", by_positions, abs(velocities)) + np.einsum("rabf,rab->rf", by_strain, abs(rates))
    yield "X", dense(X), max_abs(dense(X))
    for k, group in enumerate(J.groups):
        yield f"jacobian {k}", group.values, max_abs(by_positions)
    yield "jacobian strain", J.strain, max_abs(by_strain)
    yield "vjp", g.positions, max_abs(np.einsum("rf,rakf->ak", abs(cotangent), by_positions))
    yield "vjp strain", g.strain, max_abs(np.einsum("rf,rabf->ab", abs(cotangent), by_strain))
    yield "jvp", dense(t), max_abs(terms)


def descriptors():
    """Names, descriptors, frames and centers."""
    frames = [STRUCTURES["wire"](), STRUCTURES["tiny_cell"]()]
    for cls, (n_max, l_max), dtype in itertools.product(DESCRIPTORS, SIZES, DTYPES):
        sizes = {"n_max": n_max, "l_max": l_max, "degree": 7}
        sizes = {name: size for name, size in sizes.items() if name in cls._get_param_names()}
        descriptor = cls(cutoff=CUTOFF, cutoff_width=CUTOFF_WIDTH, sigma=0.5, dtype=dtype, **sizes).fit(frames)
        yield f"{dtype} {cls.__name__} n_max={n_max} l_max={l_max}", descriptor, frames, None
    for k, case in enumerate(pairwise_cases(without_learning(FACTORS))):
        frames = make_frames(case["frames"])
        dtype = DTYPES[k % 4 == 0]
        descriptor = make_descriptor(CLASSES[case["descriptor"]], case, frames).set_params(dtype=dtype).fit(frames)
        yield f"{dtype} {case}", descriptor, frames, make_centers(case["centers"], frames)


def neighbor_lists():
    """Distances of crystals lie on the cutoff, where a last bit decides."""
    for name, make in STRUCTURES.items():
        yield name, make(), 4.0
    for a, squares in (4.05, 8), (3.3, 11), (5.43, 4):
        yield f"fcc {a}", bulk("Al", "fcc", a=a, cubic=True) * (2, 2, 1), a * np.sqrt(squares / 2)
        yield f"primitive fcc {a}", bulk("Al", "fcc", a=a), a * np.sqrt(squares / 2)


def kernel_matrices():
    frames = [make() for make in STRUCTURES.values()]
    soap = castile.SOAP(cutoff=CUTOFF, n_max=5, l_max=3, normalize=False)
    X = soap.fit_transform(frames)
    samples = soap.samples(frames)
    few = X[::3]
    for zeta, normalize in itertools.product((1, 2, 2.5), (False, True)):
        options = {"zeta": zeta, "normalize": normalize}
        yield f"soap_kernel {options}", kernels.soap_kernel(X, few, **options)
        yield f"soap_kernel of itself {options}", kernels.soap_kernel(X, **options)
        yield f"average_kernel {options}", kernels.average_kernel(X, groups=samples, **options)
        yield f"species_kernel {options}", kernels.species_kernel(X, samples, **options)


def everything():
    """Names, values, and what their rounding is relative to: None where all bits are to be equal."""
    for name, descriptor, frames, centers in descriptors():
        for part, values, scale in derivatives(descriptor, frames, centers):
            yield f"{name}, {part}", values, scale
    for name, matrix in kernel_matrices():
        yield name, matrix, max_abs(matrix)
    for name, atoms, cutoff in neighbor_lists():
        for quantity, values in zip("ijSDd", neighbor_list("ijSDd", atoms, cutoff), strict=True):
            yield f"{name}, {quantity}", values, None


def main(instruction_set, path):
    with castile.threads(1):
        results = {name: (values, scale) for name, values, scale in everything()}
    with castile.threads(3):
        changed = [name for name, values, _ in everything() if not same_bits(values, results[name][0])]
    if _core.instruction_set() != instruction_set:
        raise SystemExit(f"{_core.instruction_set()} was used")
    with open(path, "wb") as file:
        pickle.dump(results, file)
    print(json.dumps(changed))


if __name__ == "__main__":
    main(*sys.argv[1:])
