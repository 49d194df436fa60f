"""Force fields: linear in their coefficients, fitted to energies, forces and stresses in one solve."""

__all__: list[str] = []
