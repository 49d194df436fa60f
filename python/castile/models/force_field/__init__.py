"""Force fields: energies, forces and stresses as sums of local terms."""
