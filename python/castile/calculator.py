"""The ASE calculator of a force field: energies, forces and stress for molecular dynamics, relaxation and phonons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator as _AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes

from castile import _core
from castile._checks import length, reject_unknown
from castile._ghosts import GhostNeighbors
from castile.errors import InputError
from castile.structures import StructureArrays, as_structure_arrays, trained_species_table

__all__ = ["Calculator", "Model", "Uncertainty"]

FloatArray = npt.NDArray[np.float64]

_ENERGIES = frozenset(("energy", "free_energy", "energies"))
_UNCERTAINTIES = ("energy_std", "forces_std", "stress_std")
_VOIGT = (0, 4, 8, 5, 2, 1)  # xx yy zz yz xz xy of a flat 3x3 matrix
_SMALLEST_VOLUME_RATIO = 1e-10  # to the product of the cell vectors' lengths; below, there is no stress


class Uncertainty(Protocol):
    """Standard deviations of what a model predicts for some frames."""

    @property
    def energy_std(self) -> FloatArray:
        """Of the energies, shape (n_frames,), eV."""

    @property
    def forces_std(self) -> FloatArray:
        """Of the forces, shape (n_atoms, 3), eV/Å."""

    @property
    def stress_std(self) -> FloatArray:
        """Of the stress, shape (n_frames, 6), eV/Å³; NaN without a cell."""


class Model(Protocol):
    """What a calculator needs of a force field."""

    @property
    def species_(self) -> tuple[str, ...]:
        """Chemical symbols, sorted by atomic number."""

    @property
    def potential_(self) -> _core.Potential:
        """A sum over atoms, without the baseline."""

    @property
    def baseline_energies_(self) -> FloatArray:
        """Added to the energy of each atom of a species, shape (n_species,), eV."""

    def uncertainty(self, frames: Any) -> Uncertainty:
        """Return standard deviations of what is predicted for ``frames``."""


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """What the potential gave for the last atoms; None for what was not asked of it."""

    energies: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None  # (6,), eV/Å³
    stresses: FloatArray | None  # (n_atoms, 6), eV/Å³


class Calculator(_AseCalculator):  # type: ignore[misc]
    """Energies, forces and stress of a force field for ASE: ``atoms.calc = ff.calculator()``.

    Parameters
    ----------
    model : Model
        A fitted force field, taken as it is now: fitting it again changes uncertainties alone; make another calculator.
    skin : float
        Å. Neighbors are looked for that much beyond the cutoff, and their list is used until atoms and cell have moved
        so far that it could miss some. A bound that holds for any change of both decides, so that with any skin results
        are those of a new list up to rounding. With 0 every step makes a new one, which is slower.

    Attributes
    ----------
    results : dict
        ``energy`` and the equal ``free_energy``, eV; ``energies`` (n_atoms,), which add up to it; ``forces``
        (n_atoms, 3), eV/Å; with a cell of three vectors ``stress`` (6,), eV/Å³, in the order xx, yy, zz, yz, xz, xy
        with ASE's sign, whatever axes are periodic; and, when asked for, ``stresses`` (n_atoms, 6): what the energy of
        each atom adds to the stress, divided by the volume of the whole cell, so that they sum to ``stress``.

    Notes
    -----
    If only energies are asked for, only these are computed; everything else comes together.

    Standard deviations are no properties in the sense of ASE and never get into ``results``, but
    ``get_property("energy_std")``, ``"forces_std"`` and ``"stress_std"`` return them, too; see :attr:`uncertainty`.

    Results have the same bits for any number of threads. Which step made the list may change the last ones, since sums
    follow its order.

    Raises
    ------
    UnknownSpeciesError
        When asked for atoms of species that the model was not fitted on.
    InputError
        When asked for atoms whose positions or cell cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from castile import _core
    >>> from castile.calculator import Calculator
    >>> class Repelling:  # in place of a fitted force field
    ...     species_ = ("Ar",)
    ...     potential_ = _core.Potential([_core.Repulsion([18.0], [2.0], [6.0])])
    ...     baseline_energies_ = np.array([-1.0])
    >>> atoms = bulk("Ar", a=5.3)
    >>> atoms.calc = Calculator(Repelling())
    >>> bool(atoms.get_potential_energy() > -1.0), atoms.get_forces().shape
    (True, (1, 3))
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress", "stresses"]
    default_parameters: ClassVar[dict[str, Any]] = {"skin": 0.5}
    ignored_changes: ClassVar[set[str]] = {"initial_charges", "initial_magmoms"}

    def __init__(self, model: Model, skin: float = 0.5) -> None:
        self.model = model
        self._take_potential()
        self._forget()
        self._neighbors: GhostNeighbors | None = None
        super().__init__(skin=skin)

    def _take_potential(self) -> None:
        self._potential = self.model.potential_
        self._species = tuple(self.model.species_)
        self._baseline = np.array(self.model.baseline_energies_, dtype=np.float64)

    def _get_name(self) -> str:
        return "castile"

    def __getstate__(self) -> dict[str, Any]:
        # The potential comes again from the model; the list is found again.
        return {**self.__dict__, "_potential": None, "_neighbors": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take_potential()

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Set the skin; return what has changed."""
        reject_unknown({name: kwargs[name] for name in kwargs if name != "skin"}, ["skin"], "Calculator")
        changed: dict[str, Any] = super().set(**{name: length(name, value) for name, value in kwargs.items()})
        if changed:
            self._neighbors = None
        return changed

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation: as ASE does, but faster where nothing has."""
        last = self.atoms
        if last is not None and all(
            np.array_equal(now, before)
            for now, before in (
                (atoms.positions, last.positions),
                (atoms.numbers, last.numbers),
                (atoms.cell.array, last.cell.array),
                (atoms.pbc, last.pbc),
            )
        ):
            return []
        return list(super().check_state(atoms, tol))

    def reset(self) -> None:
        """Forget the last atoms and what was computed for them."""
        super().reset()
        self._forget()

    def _forget(self) -> None:
        self._evaluation: _Evaluation | None = None
        self._uncertainty: Uncertainty | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute properties, all if none are named, and put them into ``results``; ASE calls this."""
        wanted = self.implemented_properties if properties is None else properties
        super().calculate(atoms, wanted, system_changes)
        if self.atoms is None:
            raise InputError("atoms is None, and there are none of an earlier calculation; give a structure")
        if system_changes:
            self.results: dict[str, Any] = {}
            self._forget()
        with_gradients = not _ENERGIES.issuperset(wanted)
        done = self._evaluation
        if done is None or (with_gradients and done.forces is None):
            self._evaluation = self._evaluate(with_gradients)
        self._write_results("stresses" in wanted)

    def _evaluate(self, with_gradients: bool) -> _Evaluation:
        arrays = as_structure_arrays(self.atoms)
        table = trained_species_table(self._species, arrays.numbers)
        species = table[arrays.numbers]
        neighbors = self._updated_neighbors(arrays)
        volume = _volume(arrays.cells[0])
        with_stress = with_gradients and volume is not None
        energies, forces, strain, strains = self._potential.evaluate(
            neighbors.positions(arrays),
            neighbors.with_ghosts(species),
            None,
            neighbors.offsets,
            neighbors.neighbors,
            forces=with_gradients,
            strain=with_stress,
            strains=with_stress,
        )
        return _Evaluation(
            energies + self._baseline[species],
            None if forces is None else neighbors.fold(forces),
            None if strain is None else _voigt(strain, volume)[0],
            None if strains is None else _voigt(strains, volume),
        )

    def _updated_neighbors(self, arrays: StructureArrays) -> GhostNeighbors:
        """Return the list in use or, if it does not serve any more, a new one."""
        skin = self.parameters["skin"]
        neighbors = self._neighbors
        if neighbors is None or skin == 0.0 or not neighbors.serve(arrays):
            neighbors = GhostNeighbors(self.atoms, arrays, self._potential.cutoff, skin)
        self._neighbors = neighbors
        return neighbors

    def _write_results(self, with_stresses: bool) -> None:
        done = self._evaluation
        assert done is not None
        energy = float(done.energies.sum())
        self.results.update(energy=energy, free_energy=energy, energies=done.energies)
        if done.forces is not None:
            self.results["forces"] = done.forces
        if done.stress is not None:
            self.results["stress"] = done.stress
        if done.stresses is not None and with_stresses:
            self.results["stresses"] = done.stresses

    @property
    def uncertainty(self) -> Uncertainty:
        """Standard deviations ``energy_std``, ``forces_std`` and ``stress_std`` of the last atoms, on demand."""
        if self.atoms is None:
            raise InputError("uncertainty is that of the last atoms, but there are none yet; ask for an energy first")
        if self._uncertainty is None:
            self._uncertainty = self.model.uncertainty(self.atoms)
        return self._uncertainty

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Return a property, or one of the standard deviations, of ``atoms``: by default the last ones.

        Returns
        -------
        float or ndarray
            None if it would have to be computed without ``allow_calculation``. ``"energy_std"`` is a number in eV,
            ``"forces_std"`` has the shape of the forces, ``"stress_std"`` that of the stress.
        """
        if name not in _UNCERTAINTIES:
            return super().get_property(name, atoms, allow_calculation)
        changed = atoms is not None and bool(self.check_state(atoms))
        if not allow_calculation and (changed or self._uncertainty is None):
            return None
        if atoms is not None and changed:
            self.reset()
            self.atoms = atoms.copy()
        return self._standard_deviation(name)

    def _standard_deviation(self, name: str) -> Any:
        values = getattr(self.uncertainty, name)
        if name == "energy_std":
            return float(values[0])
        if name == "stress_std":
            if _volume(self.atoms.cell.array) is None:
                raise PropertyNotImplementedError("stress_std needs a cell of three vectors, as the stress does")
            values = values[0]
        return np.array(values)


def _voigt(strains: FloatArray, volume: float | None) -> FloatArray:
    """Return the stresses (n, 6) of dE/dstrain (n, 3, 3)."""
    assert volume is not None
    return strains.reshape(-1, 9)[:, _VOIGT] / volume


def _volume(cell: FloatArray) -> float | None:
    """Return the volume of three cell vectors in Å³, None if they span none."""
    volume = abs(float(np.linalg.det(cell)))
    box = float(np.prod(np.linalg.norm(cell, axis=1)))
    return volume if volume > _SMALLEST_VOLUME_RATIO * box else None
