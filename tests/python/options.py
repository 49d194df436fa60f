"""The values of every parameter that tests of all descriptors go through, by names that read well in a test's id."""

import numpy as np
from named_structures import CUTOFF, CUTOFF_WIDTH

import castile
from castile import _core

# The first of each is what stands where a factor is not varied.
VALUES = {
    "radial_basis": [name for name in _core.radial_basis_names() if name != "tabulated"] + ["own_g", "own_R"],
    "n_max": [3, 1, 4, 6, 9],
    "l_max": [2, 0, 1, 5, 7],
    "cutoff": ["one", "by_species"],
    "sigma": ["one", "by_species", "zero"],
    "cutoff_function": ["cosine", "polynomial", None],
    "neighbor_radius": [None, "beyond"],
    "density_weighting": [None, "poly", "pow", "exp", "willatt"],
    "species_weights": [None, "given"],
    "center_weight": [1.0, 0.0, 0.5],
    "n_primitives": [None, "more"],
    "compression": [None, "mu2", "mu1nu1", "crossover", "mixed", "learned_svd", "learned_cur", "tensor_reduced"],
    "average": ["off", "inner", "outer", "inner_per_species", "outer_per_species"],
    "normalize": [False, True],
    "sparse": [False, True],
    "accuracy": [1e-8, 1e-10],
    "degrees": [(3, 5, 5), (4,), (0, 6), (5, 6, 6, 6), (1, 3, 5, 6, 6)],
    "neighbor_distance": [None, 1.4],
    "degree": [6, 5, None],
    "most_species": [None, 1, 2],
    "species_degrees": [None, "given"],
}
FIXED = {
    "cutoff_width": "sets the scale; the structures are chosen for it",
    "species": "learned by fit",
    "dtype": "central differences need float64; float32 is compared with it",
}
SHORT_CUTOFF, NEIGHBOR_RADIUS = 0.92 * CUTOFF, 1.06 * CUTOFF
EDGES = [edge - width for edge in (CUTOFF, SHORT_CUTOFF, NEIGHBOR_RADIUS) for width in (0.0, CUTOFF_WIDTH)]
WEIGHTINGS = {
    "poly": {"function": "poly", "r0": 1.3 * NEIGHBOR_RADIUS, "m": 2, "c": 0.8},
    "pow": {"function": "pow", "r0": 2.0, "d": 1.2, "m": 3},
    "exp": {"function": "exp", "r0": 1.5, "d": 0.7, "c": 1.1},
    "willatt": {"function": "willatt", "rate": 1.3, "scale": 2.0, "exponent": 4.0},
}


def varied(cls):
    """Names of the factors that a descriptor has."""
    return [name for name in VALUES if name in cls._get_param_names()]


def make_descriptor(cls, case, frames):
    """The descriptor of a case, whose names become what they stand for.

    Products of coefficients are SOAP's alone: elsewhere, what compresses them becomes a mixing of species.
    """
    species = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    options = {name: case[name] for name in varied(cls)}
    options["radial_basis"] = radial_basis(options["radial_basis"], case, options)
    options["cutoff"] = {
        "one": CUTOFF,
        "by_species": {symbol: (CUTOFF, SHORT_CUTOFF)[k % 2] for k, symbol in enumerate(species)},
    }[case["cutoff"]]
    options["sigma"] = {
        "one": 0.5,
        "by_species": {symbol: (0.5, 0.4)[k % 2] for k, symbol in enumerate(species)},
        "zero": 0.0,
    }[case["sigma"]]
    options["neighbor_radius"] = None if case["neighbor_radius"] is None else NEIGHBOR_RADIUS
    options["density_weighting"] = WEIGHTINGS.get(case["density_weighting"])
    if case["species_weights"] is not None:
        options["species_weights"] = {symbol: 0.6 + 0.3 * k for k, symbol in enumerate(species)}
    if case["n_primitives"] is not None:
        options["n_primitives"] = n_primitives(case)
    options["compression"] = compression(cls, case, len(species))
    if "degree" in options:
        options["degree"] = degree(case)
    if "species_degrees" in options:
        options["species_degrees"] = species_degrees(case, options, species)
    return cls(cutoff_width=CUTOFF_WIDTH, **options)


def degree(case):
    """No bound only where that leaves few products."""
    return case["degree"] or (None if case["n_max"] * (case["l_max"] + 1) <= 9 else 7)


def species_degrees(case, options, species):
    """Of species, not of mixtures, and where there is a bound that they add to."""
    if case["species_degrees"] is None or options["compression"] is not None or options.get("degree", 0) is None:
        return None
    return {symbol: k % 3 for k, symbol in enumerate(species)}


def n_primitives(case):
    return case["n_max"] + 2


def radial_basis(name, case, options):
    """Functions of one's own: smooth, different for each n and, as integrals, for each l."""
    if not name.startswith("own"):
        return name
    end = 1.2 * NEIGHBOR_RADIUS
    n = np.arange(case["n_max"] if case["n_primitives"] is None else n_primitives(case))
    if name == "own_g":
        return castile.TabulatedBasis.from_function(
            lambda r: np.exp(-(r[:, None] ** 2) / (1.0 + n)) * (end - r[:, None]) ** 3, end, 201
        )
    degree = np.arange(options.get("l_max", 0) + 1)[:, None]
    return castile.TabulatedBasis.from_function(
        lambda r: np.cos(r[:, None, None] * (0.3 + 0.1 * n)) * (r[:, None, None] / 3.0) ** degree, end, 201, "R"
    )


def compression(cls, case, n_species):
    name = case["compression"]
    if name in (None, "mu2"):
        return name
    if cls is castile.SOAP and name in ("mu1nu1", "crossover"):
        return name
    if cls is castile.SOAP and name == "tensor_reduced":
        return {"tensor_reduced": 5, "seed": 1}
    if name.startswith("learned"):
        return {"species": min(2, n_species), "radial": min(2, case["n_max"]), "method": name.removeprefix("learned_")}
    rng = np.random.default_rng(0)
    return {"species": rng.normal(size=(2, n_species)), "radial": rng.normal(size=(2, case["n_max"]))}
