"""What a force field should find, from features and their Jacobians by plain NumPy, all in one dense matrix."""

import numpy as np

from castile import data

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
JITTER = 1e-10


class Dense:
    """Design matrix, targets, standard deviations and prior precision of a force field on labeled frames.

    Of the force field, only sparse points, scales of pair functions, reference energies, repulsion and noise are taken.
    """

    def __init__(self, ff, frames):
        self.ff = ff
        foundation = ff.foundation_
        dataset = data.read(frames)
        blocks = [self._of_frame(atoms) for atoms in dataset.frames]
        known = self._references(dataset.frames)
        repelled = self._repulsion(dataset.frames)
        y = {
            "energy": dataset.energies - known - repelled.energy,
            "force": dataset.forces - repelled.forces,
            "stress": dataset.stresses - np.nan_to_num(repelled.stress),
        }
        sigmas = dict(dataset.noise(**foundation.noise)._asdict())
        A, targets, noise, kinds = [], [], [], []
        for k, kind in enumerate(("energy", "force", "stress")):
            rows = np.concatenate([block[k] for block in blocks])
            sigma = np.repeat(sigmas[kind], rows.shape[1])
            rows, values = rows.reshape(-1, rows.shape[-1]), y[kind].reshape(-1)
            used = np.isfinite(sigma)
            A.append(rows[used])
            targets.append(values[used])
            noise.append(sigma[used])
            kinds += [kind] * int(used.sum())
        self.A, self.y, self.sigma, self.kinds = (*map(np.concatenate, (A, targets, noise)), np.array(kinds))
        self.precision = self._precision()

    def solve(self, prior, factor=1.0):
        """Return weights and a root of their covariance, for a prior in eV and a factor of all noise."""
        sigma = factor * self.sigma
        scaled = self.A / sigma[:, None]
        # By QR of the rows and the root of the prior, which squares no condition number.
        root = np.linalg.cholesky(self.precision).T / prior
        Q, R = np.linalg.qr(np.vstack([scaled, root]))
        right = np.concatenate([self.y / sigma, np.zeros(len(root))])
        return np.linalg.solve(R, Q.T @ right), np.linalg.inv(R)

    def prior_covariance(self, prior):
        """Return the covariance of the labels without noise."""
        root = np.linalg.solve(np.linalg.cholesky(self.precision), self.A.T)
        return prior**2 * root.T @ root

    def energy_rows(self, frames):
        return np.concatenate([self._of_frame(atoms)[0][0] for atoms in frames])

    def derivative_rows(self, atoms):
        """Return rows of forces, shape (n_atoms, 3, n_columns), and stress (1, 6, n_columns)."""
        return self._of_frame(atoms)[1:]

    def _precision(self):
        blocks = []
        for term, share in zip(self.ff.foundation_.terms, self.ff.prior_shares_, strict=True):
            factor = share * term.prior_factor
            if hasattr(term, "points"):
                for points in term.points:
                    K = (points @ points.T) ** term.zeta
                    blocks.append((K + JITTER * np.mean(np.diag(K)) * np.eye(len(K))) / factor**2)
            else:
                scales = np.tile(term.scales, len(self.ff.species_))
                blocks.append(np.diag((scales / factor) ** 2))
        n = sum(map(len, blocks))
        total, first = np.zeros((n, n)), 0
        for block in blocks:
            total[first : first + len(block), first : first + len(block)] = block
            first += len(block)
        return total

    def _repulsion(self, frames):
        alone = self.ff.foundation_.potential(np.zeros_like(self.ff.weights_))
        twin = type(self.ff)()
        twin.foundation_, twin.species_, twin.potential_ = self.ff.foundation_, self.ff.species_, alone
        found = twin.predict(frames)
        energy = found.energy - self._references(frames)
        return type(found)(energy, found.forces, found.stress, found.energies, found.offsets)

    def _references(self, frames):
        energies = dict(zip(self.ff.species_, self.ff.baseline_energies_, strict=True))
        return np.array([sum(energies[symbol] for symbol in atoms.symbols) for atoms in frames])

    def _of_frame(self, atoms):
        """Return rows of energy (1, 1, n), forces (n_atoms, 3, n) and stress (1, 6, n)."""
        parts = [self._of_term(term, atoms) for term in self.ff.foundation_.terms]
        return [np.concatenate([part[k] for part in parts], axis=-1) for k in range(3)]

    def _of_term(self, term, atoms):
        p = term.descriptor.transform(atoms)
        jacobian = term.descriptor.jacobian(atoms)
        dp, strain = jacobian.to_dense(), jacobian.strain  # (centers, atoms, 3, features), (centers, 3, 3, features)
        center = np.array([self.ff.species_.index(symbol) for symbol in atoms.symbols])
        if not hasattr(term, "points"):
            values = [np.eye(p.shape[1])] * len(self.ff.species_)
            parts = [(p[center == k] @ M, dp[center == k] @ M, strain[center == k] @ M) for k, M in enumerate(values)]
        else:
            parts = [
                self._kernels(p[center == k], dp[center == k], strain[center == k], points, term.zeta)
                for k, points in enumerate(term.points)
            ]
        energy, positions, strains = (
            np.concatenate([part[k].sum(axis=0) for part in parts], axis=-1) for k in range(3)
        )
        stress = np.array([0.5 * (strains[a, b] + strains[b, a]) for a, b in VOIGT]) / max(atoms.cell.volume, 1e-300)
        return energy[None, None], -positions, stress[None]

    @staticmethod
    def _kernels(p, dp, strain, points, zeta):
        """Return (p̂·s)^zeta and its derivatives, by the chain rule."""
        norm = np.linalg.norm(p, axis=1)
        unit = p / norm[:, None]
        dot = unit @ points.T
        slope = zeta * dot ** (zeta - 1.0) / norm[:, None]

        def derivative(d):  # of p along anything: d p̂·s = (d p·s - (p̂·d p) (p̂·s)) / |p|
            along = np.einsum("c...f,cf->c...", d, unit)
            extra = (slice(None), *[None] * (d.ndim - 2))
            return ((d @ points.T) - along[..., None] * dot[extra]) * slope[extra]

        return dot**zeta, derivative(dp), derivative(strain)
