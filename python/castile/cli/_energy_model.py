"""The model of ``castile demo``: energies of the composition, plus kernel ridge regression on SOAP rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from castile.descriptors import SOAP, Gradients
from castile.models import KernelRidge

__all__ = ["CrossValidation", "EnergyModel", "cross_validate"]

FloatArray = npt.NDArray[np.float64]

ZETAS = (1, 2, 4)
ALPHAS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


def composition(frames: Sequence[Atoms], soap: SOAP) -> FloatArray:
    """Return the number of atoms of each of the descriptor's species, shape (n_frames, n_species)."""
    return np.array([[atoms.symbols.count(symbol) for symbol in soap.species or ()] for atoms in frames], float)


@dataclass(frozen=True, eq=False)
class EnergyModel:
    """Energy of a structure: one energy per species, plus a sum over atoms of a function of their rows.

    Attributes
    ----------
    soap : SOAP
        With ``normalize=True``, so that the kernel need not normalize.
    species_energies : ndarray of shape (n_species,)
    ridge : KernelRidge
    """

    soap: SOAP
    species_energies: FloatArray
    ridge: KernelRidge

    @classmethod
    def fit(cls, soap: SOAP, frames: Sequence[Atoms], energies: FloatArray) -> EnergyModel:
        """Fit, with zeta and alpha of the least leave-one-out error of the energy per atom."""
        counts = composition(frames, soap)
        species_energies = np.asarray(np.linalg.lstsq(counts, energies, rcond=None)[0], dtype=np.float64)
        n_atoms = counts.sum(axis=1)
        rows, samples = soap.transform(frames), soap.samples(frames)
        fits = []
        for zeta, alpha in product(ZETAS, ALPHAS):
            ridge = KernelRidge(alpha, zeta=zeta, normalize=False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an ill-conditioned candidate loses by its error
                ridge.fit(rows, energies - counts @ species_energies, n_atoms**-2.0, groups=samples)
            fits.append((float(np.sqrt(np.mean((ridge.loo_residuals_ / n_atoms) ** 2))), ridge))
        return cls(soap, species_energies, min(fits, key=lambda fit: fit[0])[1])

    def energies(self, frames: Sequence[Atoms]) -> FloatArray:
        """Return the energy of each structure, shape (n_frames,), in eV."""
        rows, samples = self.soap.transform(frames), self.soap.samples(frames)
        local = self.ridge.predict(rows, groups=samples, n_groups=len(frames))
        return np.asarray(composition(frames, self.soap) @ self.species_energies + local)

    def gradients(self, frames: Sequence[Atoms]) -> Gradients:
        """Return the exact derivatives of the energies; forces are minus those by positions."""
        return self.soap.vjp(frames, self.ridge.gradient(self.soap.transform(frames)))


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Predictions for each structure by models that were fitted without it.

    Attributes
    ----------
    mean, composition, model : ndarray of shape (n_frames,)
        Energies per atom in eV: the mean of the training part, a fit to the composition, and the model.
    forces : ndarray of shape (n_atoms, 3)
        Minus the gradient of the model, eV/Å.
    choices : list of (zeta, alpha), one per fold
    """

    mean: FloatArray
    composition: FloatArray
    model: FloatArray
    forces: FloatArray
    choices: list[tuple[float, float]]


def cross_validate(
    soap: SOAP, frames: Sequence[Atoms], energies: FloatArray, *, n_folds: int, seed: int, steps: Any
) -> CrossValidation:
    """Leave out one part after the other; all that is fitted or chosen is so on the other parts alone.

    Parameters
    ----------
    soap, frames, energies
        As for ``EnergyModel.fit``.
    n_folds, seed : int
        Number of parts, and the seed that shuffles the structures.
    steps : callable
        Called with the list of folds; returns an iterator over them (a progress bar).
    """
    n_atoms = np.array([len(atoms) for atoms in frames])
    first_atom = np.concatenate([[0], np.cumsum(n_atoms)])
    mean, by_composition, model = (np.empty(len(frames)) for _ in range(3))
    forces = np.empty((first_atom[-1], 3))
    choices = []
    for train, test in steps(list(_folds(len(frames), n_folds, seed))):
        fitted = EnergyModel.fit(soap, [frames[i] for i in train], energies[train])
        choices.append((fitted.ridge.zeta, fitted.ridge.alpha))
        left_out = [frames[i] for i in test]
        counts = composition(left_out, soap)
        mean[test] = np.mean(energies[train] / n_atoms[train])
        by_composition[test] = counts @ fitted.species_energies / n_atoms[test]
        model[test] = fitted.energies(left_out) / n_atoms[test]
        atoms = np.concatenate([np.arange(first_atom[i], first_atom[i + 1]) for i in test])
        forces[atoms] = -fitted.gradients(left_out).positions
    return CrossValidation(mean, by_composition, model, forces, choices)


def _folds(n: int, n_folds: int, seed: int) -> Iterator[tuple[Any, Any]]:
    shuffled = np.random.default_rng(seed).permutation(n)
    for part in range(n_folds):
        yield np.sort(np.delete(shuffled, np.s_[part::n_folds])), np.sort(shuffled[part::n_folds])
