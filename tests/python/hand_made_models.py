"""Force fields made by hand, for what takes a fitted one."""

from types import SimpleNamespace

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import atomic_numbers

from castile import SOAP, _core
from castile.descriptors._parameters import Learned
from castile.structures import as_structure_arrays, species_table


class HandMadeModel:
    """What ``castile.calculator.Model`` asks for; counts how often its uncertainty is asked for."""

    def __init__(self, species, make_terms, baseline):
        self.species_ = tuple(species)
        self.baseline_energies_ = np.asarray(baseline, dtype=float)
        self.n_uncertainties = 0
        self._make_terms = make_terms
        self._connect()

    def _connect(self):
        self.potential_ = _core.Potential(self._make_terms())

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "potential_"}

    def __setstate__(self, state):
        vars(self).update(state)
        self._connect()

    def structures(self, frames):
        arrays = as_structure_arrays(frames)
        return arrays.to_core(species_table(self.species_, arrays.numbers, "the model"))

    def uncertainty(self, frames):
        """Numbers that can be told apart."""
        self.n_uncertainties += 1
        arrays = as_structure_arrays(frames)
        stress = np.where(np.linalg.det(arrays.cells)[:, None] != 0.0, np.arange(6.0), np.nan)
        return SimpleNamespace(
            energy_std=0.5 * np.diff(arrays.atom_offsets), forces_std=np.abs(arrays.positions), stress_std=stress
        )


class _Terms:
    """Makes terms anew, as the compiled ones do not pickle."""

    def __init__(self, soap, zeta, points, weights, repulsion):
        self.soap, self.zeta, self.points, self.weights, self.repulsion = soap, zeta, points, weights, repulsion

    def __call__(self):
        core = self.soap._core(self.soap.species_, Learned())
        terms = [_core.DescriptorTerm(core, self.zeta, True, self.points, self.weights)]
        return terms if self.repulsion is None else [*terms, _core.Repulsion(*self.repulsion)]


def _unit_rows(soap, frames):
    rows = soap.fit_transform(frames)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_model(atoms, zeta=4.0, cutoff=3.4, seed=0, repulsion_end=2.2):
    """Random weights of the atoms' own environments, and a repulsion that ends before the cutoff."""
    rng = np.random.default_rng(seed)
    numbers = sorted(set(atoms.numbers.tolist()))
    species = sorted(set(atoms.symbols), key=atomic_numbers.__getitem__)
    soap = SOAP(cutoff=cutoff, cutoff_width=0.6, n_max=4, l_max=3, sigma=0.4, species=species)
    shaken = atoms.copy()
    shaken.rattle(0.2, seed=seed)
    rows = _unit_rows(soap, [atoms, shaken])
    of_atoms = np.tile(atoms.numbers, 2)
    points = [np.ascontiguousarray(rows[of_atoms == number]) for number in numbers]
    weights = [rng.normal(size=len(own)) for own in points]
    n = len(numbers)
    repulsion = ([float(z) for z in numbers], [0.7] * n**2, [repulsion_end] * n**2)
    return HandMadeModel(species, _Terms(soap, zeta, points, weights, repulsion), rng.normal(size=n))


def copper_model():
    """A smooth potential with a crystal that is stable: fitted to energies, forces and stress of ASE's EMT."""
    rng = np.random.default_rng(1)
    frames = []
    for k in range(24):
        atoms = bulk("Cu", cubic=True, a=3.6 + 0.02 * (k % 5 - 2)) * (2, 1, 1)
        if k >= 16:  # an atom on its way to a vacancy
            atoms.positions[1] += (k - 16) / 14 * (atoms.positions[0] - atoms.positions[1])
            del atoms[0]
        atoms.rattle(0.02 + 0.01 * (k % 16), rng=rng)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.calc = EMT()
        frames.append(atoms)
    soap = SOAP(cutoff=4.0, cutoff_width=1.0, n_max=4, l_max=3, sigma=0.5, species=["Cu"])
    points = [np.ascontiguousarray(_unit_rows(soap, frames)[::3])]
    columns = _core.DescriptorColumns(soap._core(soap.species_, Learned()), 3.0, True, points)
    n_frames, n_atoms = len(frames), sum(map(len, frames))
    offsets = n_frames + 3 * n_atoms
    rows = np.zeros((offsets + 6 * n_frames, columns.n_columns))
    arrays = as_structure_arrays(frames)
    columns.write(
        arrays.to_core(species_table(("Cu",), arrays.numbers, "the model")),
        rows,
        0,
        np.arange(n_frames),
        n_frames + 3 * np.arange(n_atoms),
        offsets + 6 * np.arange(n_frames),
        np.ones(len(rows)),
    )
    targets = [atoms.get_potential_energy() for atoms in frames]
    targets += [-force for atoms in frames for force in atoms.get_forces().ravel()]
    targets += [virial for atoms in frames for virial in atoms.get_stress() * atoms.get_volume()]
    ridge = 1e-3 * np.eye(columns.n_columns)
    weights = np.linalg.lstsq(np.vstack([rows, ridge]), np.r_[targets, np.zeros(len(ridge))], rcond=None)[0]
    return HandMadeModel(["Cu"], _Terms(soap, 3.0, points, [weights], None), [0.0])
