"""Prior and noise for which the training data are the most probable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from castile.models.force_field._normal import IllConditionedError, NormalEquations, Solution

__all__ = ["NOISE_FACTORS", "Widths", "log_evidence", "most_probable"]

FloatArray = npt.NDArray[np.float64]

_PRIORS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # eV, for typical forces
_SHARES = (1.0, 0.3, 0.1, 0.03)
NOISE_FACTORS = (1.0, 0.45, 0.2, 0.1)
"""What noise may be multiplied by; more than one would trade energies, which are few, for forces."""


@dataclass(frozen=True)
class Widths:
    """How wide priors and noise are.

    Attributes
    ----------
    prior : float
        In eV.
    noise_factor : float
    shares : tuple of float
        Of the prior, for each term: one, or less for terms whose functions the data do not need.
    """

    prior: float
    noise_factor: float
    shares: tuple[float, ...]

    def precision(self, sizes: Sequence[int]) -> FloatArray:
        """Return that of the whitened coefficients over the prior's, for terms of so many."""
        return np.repeat(np.array(self.shares) ** -2.0, sizes)


def most_probable(
    state: NormalEquations,
    noise: Mapping[str, float],
    scale: float,
    prior: float | None,
    *,
    factors: Sequence[float],
    sizes: Sequence[int],
) -> Widths:
    """Return the prior in eV, its shares and the factor of the noise with the largest evidence, of a few.

    Parameters
    ----------
    state : NormalEquations
    noise : mapping
        Standard deviation by kind.
    scale : float
        What priors are in proportion to.
    prior : float or None
        In eV, if it is given; then that of all terms.
    factors : sequence of float
        Of the noise; the first is the safest.
    sizes : sequence of int
        Whitened columns of each term.
    """
    priors = [factor * scale for factor in _PRIORS] if prior is None else [prior]
    known: dict[Widths, float] = {}

    def evidence(at: Widths) -> float:
        if at not in known:
            known[at] = _evidence(state, noise, at, sizes)
        return known[at]

    best = Widths(priors[0], factors[0], (1.0,) * len(sizes))
    for _ in range(2):  # one after the other, twice: they hardly depend on each other
        best = max((replace(best, prior=p) for p in priors), key=evidence)
        best = max((replace(best, noise_factor=f) for f in factors), key=evidence)
        for term in range(len(sizes) if prior is None and len(sizes) > 1 else 0):
            best = max((_with_share(best, term, share) for share in _SHARES), key=evidence)
    return best


def _with_share(widths: Widths, term: int, share: float) -> Widths:
    shares = list(widths.shares)
    shares[term] = share
    return replace(widths, shares=tuple(shares))


def _evidence(state: NormalEquations, noise: Mapping[str, float], at: Widths, sizes: Sequence[int]) -> float:
    precision = at.precision(sizes)
    try:
        solution = state.solve({kind: at.noise_factor * sigma / at.prior for kind, sigma in noise.items()}, precision)
    except IllConditionedError:
        return -np.inf
    return log_evidence(state, solution, at.prior, precision)


def log_evidence(state: NormalEquations, solution: Solution, prior: float, precision: FloatArray) -> float:
    """Return the evidence of a solution whose noise was divided by the prior, but not its targets."""
    n_rows = state.n_rows
    twice_log_factor = 2.0 * float(np.log(solution.factor.diagonal()).sum()) - float(np.log(precision).sum())
    divided = sum(n_rows[kind] * np.log(2.0 * np.pi * sigma**2) for kind, sigma in solution.noise.items())
    misfit = -2.0 * solution.log_evidence - twice_log_factor - divided
    undivided = divided + 2.0 * sum(n_rows.values()) * np.log(prior)
    return float(-0.5 * (misfit / prior**2 + twice_log_factor + undivided))
