"""Clebsch-Gordan coefficients of real harmonics, from SymPy's of complex ones."""

from functools import lru_cache
from itertools import product

import numpy as np
from sympy.physics.quantum.cg import CG


def to_complex(degree):
    """Rows: real harmonics by complex ones."""
    U = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    U[degree, degree] = 1
    for m in range(1, degree + 1):
        U[degree + m, degree + m], U[degree + m, degree - m] = (-1) ** m / np.sqrt(2), 1 / np.sqrt(2)
        U[degree - m, degree - m], U[degree - m, degree + m] = 1j / np.sqrt(2), -1j * (-1) ** m / np.sqrt(2)
    return U


@lru_cache
def coupling(l1, l2, degree):
    """Shape (2 degree + 1, 2 l1 + 1, 2 l2 + 1): m, m1, m2."""
    complex_ones = np.zeros((2 * degree + 1, 2 * l1 + 1, 2 * l2 + 1))
    for m1, m2 in product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        if abs(m1 + m2) <= degree:
            value = float(CG(l1, m1, l2, m2, degree, m1 + m2).doit())
            complex_ones[degree + m1 + m2, l1 + m1, l2 + m2] = value
    real = np.einsum(
        "Mm,mab,Aa,Bb->MAB", to_complex(degree), complex_ones, to_complex(l1).conj(), to_complex(l2).conj()
    )
    return real.real if (l1 + l2 + degree) % 2 == 0 else real.imag
