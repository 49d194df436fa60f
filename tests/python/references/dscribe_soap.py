"""DScribe 2.1's SOAP from its formulas: slow, and shares no code with the library or with DScribe.

Every atom within reach of a center adds w(r) exp(-|x - r|^2 / 2 sigma^2) to the density of its species a; c_{a,n,lm} is
the integral of g_nl(|x|) Y_lm(x) over it. There is no cutoff function. The basis is made orthonormal in extended
precision.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import mpmath
import numpy as np
from scipy.special import ive

from references.density_expansion import real_harmonics

EXTENDED = np.longdouble


@dataclass(frozen=True)
class Settings:
    """DScribe's constructor, but for ``gto_l`` and ``polynomial`` being what Castile calls its bases.

    ``weighting`` is a dict as DScribe takes it (function, r0, c, d, m, w0), ``species_weights`` a dict by symbol.
    """

    r_cut: float
    n_max: int
    l_max: int
    sigma: float
    radial_basis: str = "gto_l"
    weighting: dict | None = None
    species_weights: dict | None = None
    average: str = "off"
    compression: str | None = None

    @property
    def reach(self):
        """Distance up to which DScribe sees atoms, itself included: where the Gaussian at r_cut is at 1/1000."""
        return self.r_cut + self.sigma * np.sqrt(2 * np.log(1000))


# ---------------------------------------------------------------- radial basis


def gto_exponents(r_cut, n_max, degree):
    """alpha_k = (ln 1000 + l ln a_k) / a_k^2: x^l exp(-alpha_k x^2) is 1/1000 at a_k, evenly from 1 Å to r_cut."""
    points = [mpmath.mpf(1) + (mpmath.mpf(r_cut) - 1) * k / max(n_max - 1, 1) for k in range(n_max)]
    return [(mpmath.log(1000) + degree * mpmath.log(a)) / a**2 for a in points]


@lru_cache
def basis_coefficients(radial_basis, r_cut, n_max, degree):
    """beta: rows are the orthonormal g_nl in the primitives; the symmetric inverse root of their overlap."""
    with mpmath.workdps(80):
        overlap = mpmath.matrix(n_max, n_max)
        if radial_basis == "gto_l":
            alphas = gto_exponents(r_cut, n_max, degree)
            power = mpmath.mpf(2 * degree + 3) / 2
            for i, j in itertools.product(range(n_max), repeat=2):
                overlap[i, j] = mpmath.gamma(power) / 2 * (alphas[i] + alphas[j]) ** -power
        else:
            for i, j in itertools.product(range(n_max), repeat=2):
                s = i + j + 2
                overlap[i, j] = 2 * mpmath.mpf(r_cut) ** (s + 7) / ((s + 5) * (s + 6) * (s + 7))
        values, vectors = mpmath.eigsy(overlap)
        root = vectors * mpmath.diag([1 / mpmath.sqrt(value) for value in values]) * vectors.T
        return np.array([[EXTENDED(mpmath.nstr(root[i, j], 25)) for j in range(n_max)] for i in range(n_max)])


def primitives(x, radial_basis, r_cut, n_max, degree):
    """x^l exp(-alpha_k x^2), or (r_cut - x)^(k + 2) for k = 1..n_max up to r_cut; shape (n_max, len(x))."""
    x = np.asarray(x, dtype=EXTENDED)
    if radial_basis == "gto_l":
        with mpmath.workdps(40):
            alphas = [EXTENDED(mpmath.nstr(a, 25)) for a in gto_exponents(r_cut, n_max, degree)]
        return np.array([x**degree * np.exp(-a * x**2) for a in alphas])
    return np.array([np.maximum(EXTENDED(r_cut) - x, 0) ** (k + 2) for k in range(1, n_max + 1)])


def basis_functions(x, radial_basis, r_cut, n_max, degree):
    """g_nl(x), shape (n_max, len(x))."""
    beta = basis_coefficients(radial_basis, r_cut, n_max, degree)
    return np.asarray(beta @ primitives(x, radial_basis, r_cut, n_max, degree), dtype=np.float64)


def radial_by_quadrature(r, settings):
    """4 pi times the integral of x^2 g_nl(x) exp(-(x^2 + r^2) / 2 sigma^2) i_l(x r / sigma^2), without w(r).

    Shape (len(r), l_max + 1, n_max).
    """
    # The polynomials end at r_cut; no gto_l is above 1e-30 at 4 times r_cut.
    end = settings.r_cut if settings.radial_basis == "polynomial" else 4 * settings.r_cut
    nodes, weights = np.polynomial.legendre.leggauss(60 + int(np.ceil(10 * end / settings.sigma)))
    x, weights = end * (nodes + 1) / 2, weights * end / 2
    result = np.empty((len(r), settings.l_max + 1, settings.n_max))
    for degree in range(settings.l_max + 1):
        g = basis_functions(x, settings.radial_basis, settings.r_cut, settings.n_max, degree)
        for row, distance in enumerate(r):
            y = np.maximum(x * distance / settings.sigma**2, 1e-300)
            bessel = np.sqrt(np.pi / (2 * y)) * ive(degree + 0.5, y)  # exp(-y) i_l(y)
            density = np.exp(-((x - distance) ** 2) / (2 * settings.sigma**2)) * bessel
            result[row, degree] = 4 * np.pi * g @ (weights * x**2 * density)
    return result


def radial_in_closed_form(r, settings):
    """The same integral for gto_l, where it has a closed form; its sum over primitives cancels digits."""
    r = np.asarray(r, dtype=EXTENDED)
    eta = 1 / (2 * EXTENDED(settings.sigma) ** 2)
    result = np.empty((len(r), settings.l_max + 1, settings.n_max))
    for degree in range(settings.l_max + 1):
        with mpmath.workdps(40):
            exponents = gto_exponents(settings.r_cut, settings.n_max, degree)
            alpha = np.array([EXTENDED(mpmath.nstr(a, 25)) for a in exponents])[:, None]
        total = alpha + eta
        terms = total ** EXTENDED(-1.5) * (eta * r / total) ** degree * np.exp(-alpha * eta * r**2 / total)
        beta = basis_coefficients("gto_l", settings.r_cut, settings.n_max, degree)
        result[:, degree] = (EXTENDED(mpmath.nstr(mpmath.pi**1.5, 25)) * beta @ terms).T
    return result


def radial_functions(r, settings):
    """R_nl(r) without w(r), shape (len(r), l_max + 1, n_max)."""
    closed = settings.radial_basis == "gto_l"
    return (radial_in_closed_form if closed else radial_by_quadrature)(np.atleast_1d(r), settings)


# ---------------------------------------------------------------- weights and neighbors


def weight(r, weighting):
    """w(r) of DScribe's ``weighting``; ``w0`` replaces it at r = 0."""
    r = np.asarray(r, dtype=np.float64)
    options = weighting or {}
    x = r / options.get("r0", 1.0)
    function = options.get("function")
    if function == "poly":
        w = np.where(x <= 1, options["c"] * np.maximum(1 + 2 * x**3 - 3 * x**2, 0) ** options["m"], 0.0)
    elif function == "pow":
        w = options["c"] / (options["d"] + x ** options["m"])
    elif function == "exp":
        w = options["c"] / (options["d"] + np.exp(-x))
    else:
        w = np.ones_like(r)
    return np.where(r == 0, options["w0"], w) if "w0" in options else w


def atoms_within(atoms, point, reach):
    """Vectors from a point to all atoms and images no farther than ``reach``, and the atoms' indices."""
    cell = atoms.cell.array
    ranges = []
    for axis in range(3):
        count = 0
        if atoms.pbc[axis]:  # cells as DScribe takes them: three vectors, whatever is periodic
            height = 1 / np.linalg.norm(np.linalg.inv(cell)[:, axis])
            scaled = (np.vstack([atoms.positions, point])) @ np.linalg.inv(cell)[:, axis]
            count = int(np.ceil(reach / height + np.ptp(scaled))) + 1
        ranges.append(range(-count, count + 1))
    shifts = np.array(list(itertools.product(*ranges))) @ cell
    vectors = (atoms.positions - point)[None] + shifts[:, None]
    near = np.linalg.norm(vectors, axis=2) <= reach
    return vectors[near], np.nonzero(near)[1]


# ---------------------------------------------------------------- features


def coefficients(atoms, species, settings, points=None):
    """c_{a,n,lm} around every atom, or around points in space; shape (n_centers, n_species, n_max, (l_max + 1)^2)."""
    points = atoms.positions if points is None else np.asarray(points, dtype=np.float64)
    symbols = np.array(atoms.get_chemical_symbols())
    degree_of = np.repeat(np.arange(settings.l_max + 1), 2 * np.arange(settings.l_max + 1) + 1)
    weights = {symbol: (settings.species_weights or {}).get(symbol, 1.0) for symbol in species}
    result = np.zeros((len(points), len(species), settings.n_max, len(degree_of)))
    for row, point in enumerate(points):
        vectors, indices = atoms_within(atoms, point, settings.reach)
        r = np.linalg.norm(vectors, axis=1)
        # Without a direction, an atom at the center has l = 0 only: R_nl(0) = 0 for the others.
        Y = real_harmonics(settings.l_max, np.where(r[:, None] > 0, vectors, [0.0, 0.0, 1.0]))
        R = radial_functions(r, settings)[:, degree_of] * weight(r, settings.weighting)[:, None, None]
        for a, symbol in enumerate(species):
            own = symbols[indices] == symbol
            result[row, a] = weights[symbol] * np.einsum("jmn,jm->nm", R[own], Y[own])
    return result


def power_spectrum(c, l_max, compression=None):
    """DScribe's rows of coefficients (..., n_species, n_max, lm): pi sqrt(8 / (2l + 1)) sum_m c c', by loops.

    None: species a <= a', then l, n, n' (n <= n' if a = a'); mu2: species added, l, n <= n'; mu1nu1: a with the sum
    over all species, l, n, n'; crossover: a = a' only.
    """
    n_species, n_max = c.shape[-3:-1]
    total = c.sum(axis=-3)
    one_of_each = [(c[..., a, :, :], c[..., a, :, :], True) for a in range(n_species)]
    pairs = {
        None: [(c[..., a, :, :], c[..., b, :, :], a == b) for a in range(n_species) for b in range(a, n_species)],
        "mu2": [(total, total, True)],
        "mu1nu1": [(c[..., a, :, :], total, False) for a in range(n_species)],
        "crossover": one_of_each,
    }[compression]
    columns = []
    for left, right, same in pairs:
        for degree in range(l_max + 1):
            own = slice(degree**2, (degree + 1) ** 2)
            factor = np.pi * np.sqrt(8 / (2 * degree + 1))
            for n in range(n_max):
                for k in range(n if same else 0, n_max):
                    columns.append(factor * np.sum(left[..., n, own] * right[..., k, own], axis=-1))
    return np.stack(columns, axis=-1)


def features(atoms, species, settings, points=None):
    """DScribe's rows of one structure, one per center; or a single row if they are averaged."""
    c = coefficients(atoms, species, settings, points)
    if settings.average == "inner":
        return power_spectrum(c.mean(axis=0), settings.l_max, settings.compression)
    rows = power_spectrum(c, settings.l_max, settings.compression)
    return rows.mean(axis=0) if settings.average == "outer" else rows
