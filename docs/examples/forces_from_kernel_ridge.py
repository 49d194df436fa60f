"""Fit energies as sums over atoms with the SOAP kernel, then check forces against differences of the energy."""

import numpy as np

import castile
from castile import datasets

frames = datasets.load()
train, test = frames[:-1], frames[-1]
n_atoms = np.array([len(atoms) for atoms in train])
energies = np.array([atoms.get_potential_energy() for atoms in train])
mean = np.mean(energies / n_atoms)

soap = castile.SOAP(cutoff=4.0, n_max=6, l_max=4, sigma=0.6, cutoff_width=2.0)
X, rows = soap.fit_transform(train), soap.samples(train)
model = castile.KernelRidge(alpha=1e-4, zeta=2).fit(X, energies - n_atoms * mean, groups=rows)


def energy(atoms):
    """Return the energy of one structure: the sum of what its atoms contribute."""
    return len(atoms) * mean + model.predict(soap.transform(atoms)).sum()


# How each row changes its contribution, pulled back to positions and strain by the descriptor.
gradients = soap.vjp(test, model.gradient(soap.transform(test)))
forces = -gradients.positions
stress = gradients.strain[0] / test.get_volume()

step = 1e-4  # Å
differences = np.empty_like(forces)
for atom, axis in np.ndindex(forces.shape):
    ahead, behind = test.copy(), test.copy()
    ahead.positions[atom, axis] += step
    behind.positions[atom, axis] -= step
    differences[atom, axis] = -(energy(ahead) - energy(behind)) / (2 * step)

deviation = np.abs(forces - differences).max() / np.abs(forces).max()
print(f"energy: {energy(test):.2f} eV, reference {test.get_potential_energy():.2f} eV")
print(f"largest force: {np.abs(forces).max():.2f} eV/Å, off the central differences by {deviation:.0e} of it")
print(f"pressure: {-np.trace(stress) / 3:.4f} eV/Å³")
