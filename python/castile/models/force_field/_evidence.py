"""Prior and noise for which the training data are the most probable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from castile.models.force_field._normal import IllConditionedError, NormalEquations, Solution

__all__ = ["NOISE_FACTORS", "log_evidence", "most_probable"]

_PRIORS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # eV, for typical forces
NOISE_FACTORS = (1.0, 0.45, 0.2, 0.1)
"""What noise may be multiplied by; more than one would trade energies, which are few, for forces."""


def most_probable(
    state: NormalEquations, noise: Mapping[str, float], scale: float, prior: float | None, factors: Sequence[float]
) -> tuple[float, float]:
    """Return the prior in eV and the factor of the noise with the largest evidence, of a few.

    Parameters
    ----------
    state : NormalEquations
    noise : mapping
        Standard deviation by kind.
    scale : float
        What priors are in proportion to.
    prior : float or None
        In eV, if it is given.
    factors : sequence of float
        Of the noise; the first is the safest.
    """
    priors = [factor * scale for factor in _PRIORS] if prior is None else [prior]
    known: dict[tuple[float, float], float] = {}

    def evidence(at: tuple[float, float]) -> float:
        if at not in known:
            known[at] = _evidence(state, noise, *at)
        return known[at]

    best = (priors[0], factors[0])
    for _ in range(2):  # one after the other, twice: they hardly depend on each other
        best = _best([(p, best[1]) for p in priors], evidence)
        best = _best([(best[0], f) for f in factors], evidence)
    return best


def _best(candidates: Sequence[tuple[float, float]], evidence: object) -> tuple[float, float]:
    return max(candidates, key=evidence)  # type: ignore[call-overload, no-any-return]


def _evidence(state: NormalEquations, noise: Mapping[str, float], prior: float, factor: float) -> float:
    try:
        solution = state.solve({kind: factor * sigma / prior for kind, sigma in noise.items()})
    except IllConditionedError:
        return -np.inf
    return log_evidence(state, solution, prior)


def log_evidence(state: NormalEquations, solution: Solution, prior: float) -> float:
    """Return the evidence of a solution whose noise was divided by the prior, but not its targets."""
    n_rows, twice_log_factor = state.n_rows, 2.0 * float(np.log(solution.factor.diagonal()).sum())
    divided = sum(n_rows[kind] * np.log(2.0 * np.pi * sigma**2) for kind, sigma in solution.noise.items())
    misfit = -2.0 * solution.log_evidence - twice_log_factor - divided
    undivided = divided + 2.0 * sum(n_rows.values()) * np.log(prior)
    return float(-0.5 * (misfit / prior**2 + twice_log_factor + undivided))
