"""The density expansion from its definition, by quadrature: slow, and shares no code with the library.

rho_a(x) = sum over neighbors j of species a of w(r_j) exp(-|x - r_j|^2 / 2 sigma^2), the center itself among them with
weight ``center_weight``; c_{a,n,lm} = integral of g_n(|x|) Y_lm(x) rho_a(x).
"""

import itertools
from functools import lru_cache

import mpmath
import numpy as np
from scipy.integrate import quad_vec
from scipy.special import factorial, ive, lpmv


@lru_cache
def gto_coefficients(cutoff, n_max):
    """Rows: the orthonormal g_n in the primitives x^k exp(-x^2 / 2 s_k^2), s_k = cutoff max(sqrt k, 1) / n_max."""
    with mpmath.workdps(60):
        widths = [mpmath.mpf(cutoff) * max(mpmath.sqrt(k), 1) / n_max for k in range(n_max)]
        overlap = mpmath.matrix(n_max, n_max)
        for i, j in itertools.product(range(n_max), repeat=2):
            half_power = mpmath.mpf(i + j + 3) / 2
            exponent = (widths[i] ** -2 + widths[j] ** -2) / 2
            overlap[i, j] = mpmath.gamma(half_power) / 2 / exponent**half_power
        norms = mpmath.diag([1 / mpmath.sqrt(overlap[k, k]) for k in range(n_max)])
        values, vectors = mpmath.eigsy(norms * overlap * norms)
        roots = mpmath.diag([1 / mpmath.sqrt(value) for value in values])
        rows = vectors * roots * vectors.T * norms
        text = [[mpmath.nstr(rows[i, j], 25) for j in range(n_max)] for i in range(n_max)]
    return np.array([[np.longdouble(entry) for entry in row] for row in text])


def gto(x, cutoff, n_max):
    """g_n(x), shape (n_max, len(x))."""
    x = np.asarray(x, dtype=np.longdouble)
    k = np.arange(n_max, dtype=np.longdouble)[:, None]
    widths = np.longdouble(cutoff) * np.maximum(np.sqrt(k), 1) / n_max
    primitives = x**k * np.exp(-(x**2) / (2 * widths**2))
    return np.asarray(gto_coefficients(cutoff, n_max) @ primitives, dtype=np.float64)


def real_harmonics(l_max, directions):
    """Orthonormal, without Condon-Shortley phase, at index l^2 + l + m; shape (..., (l_max + 1)^2)."""
    u = np.asarray(directions, dtype=np.float64)
    z = u[..., 2] / np.linalg.norm(u, axis=-1)
    phi = np.arctan2(u[..., 1], u[..., 0])
    result = np.empty((*u.shape[:-1], (l_max + 1) ** 2))
    for degree in range(l_max + 1):
        for order in range(degree + 1):
            norm = (2 * degree + 1) / (4 * np.pi) * factorial(degree - order) / factorial(degree + order)
            legendre = (-1) ** order * lpmv(order, degree, z) * np.sqrt(norm * (2 if order else 1))
            middle = degree * degree + degree
            result[..., middle + order] = legendre * np.cos(order * phi)
            if order:
                result[..., middle - order] = legendre * np.sin(order * phi)
    return result


def cutoff_weight(r, cutoff, function, width):
    t = np.clip((np.asarray(r, dtype=np.float64) - cutoff + width) / width, 0.0, 1.0)
    if function == "cosine":
        smooth = (1 + np.cos(np.pi * t)) / 2
    elif function == "polynomial":
        smooth = 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
    else:
        smooth = np.ones_like(t)
    return np.where(np.asarray(r) < cutoff, smooth, 0.0)


def neighbors(atoms, center, cutoff):
    """Vectors to, and indices of, all atoms and images within the cutoff, but not the center itself."""
    cell = atoms.cell.array
    ranges = []
    for axis in range(3):
        reach = 0
        if atoms.pbc[axis]:
            others = [cell[k] for k in range(3) if k != axis and atoms.pbc[k]]
            height = cell[axis]
            if others:  # the part of the cell vector that is normal to the other periodic ones
                basis = np.linalg.qr(np.array(others).T)[0]
                height = height - basis @ (basis.T @ height)
            spread = np.ptp(atoms.positions @ np.linalg.pinv(cell), axis=0)[axis]
            reach = int(np.ceil(cutoff / np.linalg.norm(height) + spread)) + 1
        ranges.append(range(-reach, reach + 1))
    vectors, indices = [], []
    for shift in itertools.product(*ranges):
        for j in range(len(atoms)):
            D = atoms.positions[j] - atoms.positions[center] + np.array(shift) @ cell
            if np.linalg.norm(D) < cutoff and (j != center or any(shift)):
                vectors.append(D)
                indices.append(j)
    return np.array(vectors).reshape(-1, 3), np.array(indices, dtype=int)


def radial_integrals(r, *, cutoff, n_max, l_max, sigma, adaptive=False):
    """4 pi times the integral of x^2 g_n(x) exp(-(x^2 + r^2) / 2 sigma^2) i_l(x r / sigma^2), no cutoff function.

    Gauss-Legendre, or adaptive quadrature (slower). Shape (len(r), l_max + 1, n_max).
    """

    def kernel(x, distance):
        y = np.maximum(x * distance / sigma**2, 1e-300)
        order = np.arange(l_max + 1)[:, None] + 0.5
        # exp(-y) i_l(y) = sqrt(pi / 2y) exp(-y) I_{l+1/2}(y); the exponential completes the square.
        bessel = np.sqrt(np.pi / (2 * y)) * ive(order, y)
        return 4 * np.pi * x**2 * np.exp(-((x - distance) ** 2) / (2 * sigma**2)) * bessel

    result = []
    nodes, weights = np.polynomial.legendre.leggauss(400)
    reach = cutoff + 10 * sigma
    nodes = reach * (nodes + 1) / 2
    weighted = (gto(nodes, cutoff, n_max) * weights * reach / 2).T
    for distance in np.atleast_1d(np.asarray(r, dtype=np.float64)):
        if not adaptive:
            result.append(kernel(nodes, distance) @ weighted)
            continue

        def integrand(x, distance=distance):
            return kernel(np.array([x]), distance) * gto([x], cutoff, n_max).T

        ends = max(distance - 10 * sigma, 0.0), distance + 10 * sigma
        result.append(quad_vec(integrand, *ends, epsabs=1e-14, epsrel=1e-14)[0])
    return np.array(result)


def coefficients_by_quadrature(atoms, center, species, *, cutoff, n_max, l_max, sigma, **options):
    """c_{a,n,lm} of one center from the density on a product grid; shape (n_species, n_max, (l_max + 1)^2)."""
    n_radial, n_polar = 140, 72
    reach = cutoff + 8 * sigma
    x, x_weights = np.polynomial.legendre.leggauss(n_radial)
    x, x_weights = reach * (x + 1) / 2, x_weights * reach / 2
    z, z_weights = np.polynomial.legendre.leggauss(n_polar)
    phi = np.arange(2 * n_polar) * np.pi / n_polar
    sine = np.sqrt(1 - z**2)
    u = np.stack(
        [sine[:, None] * np.cos(phi), sine[:, None] * np.sin(phi), np.broadcast_to(z[:, None], (n_polar, len(phi)))],
        axis=-1,
    ).reshape(-1, 3)
    u_weights = np.repeat(z_weights * np.pi / n_polar, len(phi))

    vectors, indices = neighbors(atoms, center, cutoff)
    weights = cutoff_weight(
        np.linalg.norm(vectors, axis=1), cutoff, options["cutoff_function"], options["cutoff_width"]
    )
    # The center is a neighbor at distance zero.
    vectors = np.vstack([vectors, np.zeros(3)])
    weights = np.append(weights, options["center_weight"])
    symbols = np.array(atoms.get_chemical_symbols())[np.append(indices, center)]

    Y = real_harmonics(l_max, u)
    result = np.zeros((len(species), n_max, (l_max + 1) ** 2))
    g = gto(x, cutoff, n_max) * (x_weights * x**2)
    for a, symbol in enumerate(species):
        projected = np.zeros((n_radial, (l_max + 1) ** 2))
        for row, radius in enumerate(x):
            rho = np.zeros(len(u))
            for D, weight in zip(vectors[symbols == symbol], weights[symbols == symbol], strict=True):
                rho += weight * np.exp(-np.sum((radius * u - D) ** 2, axis=1) / (2 * sigma**2))
            projected[row] = (rho * u_weights) @ Y
        result[a] = g @ projected
    return result


def power_spectrum(c, l_max):
    """One row from the coefficients of one center, by loops: pairs a <= a', then l, n, n' (n <= n' if a = a')."""
    n_species, n_max, _ = c.shape
    row = []
    for a in range(n_species):
        for b in range(a, n_species):
            for degree in range(l_max + 1):
                own = slice(degree**2, (degree + 1) ** 2)
                for n in range(n_max):
                    for k in range(n if a == b else 0, n_max):
                        value = np.sum(c[a, n, own] * c[b, k, own]) / np.sqrt(2 * degree + 1)
                        row.append(value if (a, n) == (b, k) else np.sqrt(2) * value)
    return np.array(row)


def full_power_spectrum(c, l_max):
    """All of p_{(a,n),(a',n'),l}, shape (n_channels, n_channels, l_max + 1)."""
    channels = c.reshape(-1, c.shape[-1])
    parts = []
    for degree in range(l_max + 1):
        own = channels[:, degree**2 : (degree + 1) ** 2]
        parts.append(own @ own.T / np.sqrt(2 * degree + 1))
    return np.stack(parts, axis=-1)
