"""Force fields: energies, forces and stresses as sums of local terms."""

__all__: list[str] = []
