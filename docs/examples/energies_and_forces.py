"""Fit energies with kernel ridge regression, then get forces as the exact gradient of the fitted energy."""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

import castile

rng = np.random.default_rng(0)
frames = []
for _ in range(40):
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array * (1 + rng.normal(0, 0.02)), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.08, (len(atoms), 3))
    atoms.calc = EMT()
    frames.append(atoms)
energies = np.array([atoms.get_potential_energy() for atoms in frames])

soap = castile.SOAP(cutoff=4.5, n_max=6, l_max=4, sigma=0.5, species=["Cu"], average="outer")
features = soap.transform(frames)
scale = 1.0 / features.std()
ridge = castile.KernelRidge(kernel="linear", alpha=1e-8)
train, test = slice(0, 30), slice(30, None)
mean = energies[train].mean()
ridge.fit(features[train] * scale, energies[train] - mean)
errors = ridge.predict(features[test] * scale) + mean - energies[test]
print(f"energy error: {1e3 * np.abs(errors).mean() / len(frames[0]):.2f} meV/atom")

# By the chain rule: from the energy to the scaled features, and from the features to the positions.
gradients = soap.vjp(frames[test], scale * ridge.gradient(features[test] * scale))
forces = -gradients.positions
reference = np.concatenate([atoms.get_forces() for atoms in frames[test]])
print(f"force error: {np.abs(forces - reference).mean():.3f} eV/Å of {reference.std():.3f}")
