"""What all descriptors made of a density expansion share: the scikit-learn contract and the derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from ase.data import chemical_symbols
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from castile import _checks, _core
from castile._memory import require_memory
from castile.descriptors._containers import (
    is_series,
    output_container,
    require_memory_for_rest,
    stack_sparse,
)
from castile.descriptors._input import DescriptorInput, prepare_input
from castile.descriptors._jacobian_builder import JacobianBuilder
from castile.descriptors._species import checked_species
from castile.descriptors.jacobian import Gradients, Jacobian, MemoryEstimate
from castile.errors import InputError, NotFittedError
from castile.progress import track
from castile.structures import (
    StructureArrays,
    as_frames,
    as_structure_arrays,
    is_single_frame,
    species_table,
)

__all__ = ["SAMPLE_DTYPE", "DensityDescriptor"]

_DENSE_BYTES = 1 << 26

SAMPLE_DTYPE = np.dtype([("frame", np.int64), ("atom", np.int64), ("species", "U2")])

@lru_cache(maxsize=32)
def _core_descriptor(dtype: str, **parameters: Any) -> Any:
    """Return the compiled descriptor; it holds no state of a call, so that equal parameters share one."""
    cls = _core.DensityDescriptor if dtype == "float64" else _core.DensityDescriptorF32
    return cls(**parameters)


class DensityDescriptor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the descriptors; see :class:`castile.SOAP` for the parameters."""

    _kind: ClassVar[str]

    def __init__(
        self,
        cutoff: float = 5.0,
        n_max: int = 8,
        l_max: int = 6,
        sigma: float = 0.4,
        species: Sequence[str] | None = None,
        *,
        radial_basis: str = "gto",
        cutoff_function: str | None = "cosine",
        cutoff_width: float = 0.5,
        center_weight: float = 1.0,
        average: str = "off",
        normalize: bool = False,
        sparse: bool = False,
        dtype: str = "float64",
        accuracy: float = 1e-8,
        **unknown: Any,
    ) -> None:
        _checks.reject_unknown(unknown, self._get_param_names(), type(self).__name__)
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.species = species
        self.radial_basis = radial_basis
        self.cutoff_function = cutoff_function
        self.cutoff_width = cutoff_width
        self.center_weight = center_weight
        self.average = average
        self.normalize = normalize
        self.sparse = sparse
        self.dtype = dtype
        self.accuracy = accuracy

    # ------------------------------------------------------------------ scikit-learn's contract

    def fit(self, frames: Any, y: Any = None) -> DensityDescriptor:
        """Check the parameters and learn the species, if they were not given.

        Parameters
        ----------
        frames : ase.Atoms or a sequence of them
        y : ignored

        Returns
        -------
        self
            With the attribute ``species_``: chemical symbols sorted by atomic number.

        Raises
        ------
        InputError
            For a parameter out of range, or no frames.
        UnknownSpeciesError
            If frames hold a species that is not in ``species``.
        """
        structures = as_structure_arrays(frames)
        if structures.n_frames == 0:
            raise InputError("frames is empty; give at least one ase.Atoms")
        self._fit_species(structures)
        return self

    def _fit_species(self, structures: StructureArrays) -> None:
        if self.species is None:
            species = tuple(chemical_symbols[number] for number in np.unique(structures.numbers))
            if not species:
                raise InputError("frames hold no atoms to learn the species from; give species=")
        else:
            species = checked_species(self.species)
            species_table(species, structures.numbers, type(self).__name__)
        self._core(species)
        self.species_ = species

    def fit_transform(
        self, frames: Any, y: Any = None, *, centers: Any = None, progress: bool = False
    ) -> Any:
        """Fit, then return the features of the same frames; see :meth:`fit` and :meth:`transform`."""
        frames = frames if is_series(frames) or is_single_frame(frames) else as_frames(frames)
        self.fit(frames, y)
        self._check_targets(frames, y)
        return self.transform(frames, centers=centers, progress=progress)

    def _check_targets(self, frames: Any, y: Any) -> None:
        """Refuse targets per structure for rows per atom, as a Pipeline would otherwise pass them on."""
        if y is None or self.average != "off":
            return
        atoms_list = as_frames(frames)
        n_atoms = sum(len(atoms) for atoms in atoms_list)
        if len(y) == len(atoms_list) != n_atoms:
            raise InputError(
                f"y has {len(y)} targets, one per structure, but {type(self).__name__} with average='off' "
                f"gives {n_atoms} rows, one per atom; use average='inner' or 'outer', or fit "
                "castile.KernelRidge on the rows with groups=descriptor.samples(frames)['frame']"
            )

    def transform(self, frames: Any, centers: Any = None, *, progress: bool = False) -> Any:
        """Compute the features.

        Parameters
        ----------
        frames : ase.Atoms or a sequence of them
        centers : optional
            None: all atoms. A chemical symbol: all atoms of that species. Otherwise one entry per frame (the
            entry itself for a single Atoms): atom indices, a boolean mask, or a list of chemical symbols.
        progress : bool
            Show a progress bar.

        Returns
        -------
        ndarray (or scipy.sparse.csr_array if ``sparse``) of shape (n_rows, n_features)
            One row per center, frames in order, or one per frame if averaged. See :meth:`samples`.

        Raises
        ------
        NotFittedError
            If ``species`` is None and ``fit`` was not called.
        InputError, InputTypeError, UnknownSpeciesError
            For frames or centers that cannot be used.
        MemoryLimitError
            If the result would not fit into memory.
        """
        given = self._input(frames, centers)
        core = self._core(given.species)
        # Averages and sparse rows are made dense on the way, chunk by chunk.
        max_rows = max(_DENSE_BYTES // (8 * core.n_features), 1) if self.sparse or given.per_frame else None
        chunks = track(given.chunks(max_rows), given.n_rows, type(self).__name__, progress)
        if self.sparse:
            parts = []
            for chunk in chunks:
                parts.append(core.transform_sparse(*chunk.arguments))
                require_memory_for_rest(parts, chunk.rows.stop, given.n_rows)
            return stack_sparse(parts, given.n_rows, core.n_features, self.dtype)
        require_memory(
            given.n_rows * core.n_features * np.dtype(self.dtype).itemsize,
            f"the {given.n_rows} x {core.n_features} feature matrix",
            "transform fewer frames at a time, choose centers, or use average= or sparse=True",
        )
        features = np.empty((given.n_rows, core.n_features), dtype=self.dtype)
        for chunk in chunks:
            core.transform(*chunk.arguments, out=features[chunk.rows])
        return self._as_table(features, frames, given)

    def _as_table(self, features: Any, frames: Any, given: DescriptorInput) -> Any:
        """Keep the index of a pandas Series, repeated per center, if pandas output is set."""
        if not is_series(frames) or output_container(self) != "pandas":
            return features
        import pandas as pd

        frame = np.arange(given.n_rows) if given.per_frame else given.frame_of_centers()
        return pd.DataFrame(features, index=frames.index[frame], columns=self.get_feature_names_out())

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return a name for every column, shape (n_features,).

        Parameters
        ----------
        input_features : ignored
        """
        species = self._species_or_raise()
        self._core(species)  # checks the parameters
        return np.array(self._feature_names(species), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that the input is a list of structures and that given species need no fit."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        tags.requires_fit = self.species is None
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return True if calls work without ``fit``."""
        return self.species is not None or hasattr(self, "species_")

    # ------------------------------------------------------------------ rows

    def samples(self, frames: Any, centers: Any = None) -> npt.NDArray[Any]:
        """Say what each row of the features is.

        Parameters
        ----------
        frames, centers
            As for :meth:`transform`.

        Returns
        -------
        structured ndarray of shape (n_rows,)
            Fields ``frame``, ``atom`` (index within the frame) and ``species`` (symbol). Averaged rows have
            atom -1 and no species.
        """
        given = self._input(frames, centers)
        samples = np.zeros(given.n_rows, dtype=SAMPLE_DTYPE)
        if given.per_frame:
            samples["frame"] = np.arange(given.n_rows)
            samples["atom"] = -1
            return samples
        samples["frame"] = given.frame_of_centers()
        samples["atom"] = given.centers.atoms
        atoms = given.structures.atom_offsets[samples["frame"]] + given.centers.atoms
        samples["species"] = np.array(chemical_symbols)[given.structures.numbers[atoms]]
        return samples

    # ------------------------------------------------------------------ derivatives

    def vjp(self, frames: Any, cotangent: Any, centers: Any = None, *, progress: bool = False) -> Gradients:
        """Pull a scalar's gradient back from the features to positions and strain (reverse mode).

        Parameters
        ----------
        frames, centers
            As for :meth:`transform`.
        cotangent : array or sparse matrix of shape (n_rows, n_features)
            Derivative of the scalar with respect to the features.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Gradients
            ``positions`` (n_atoms, 3) and ``strain`` (n_frames, 3, 3). The Jacobian is never formed.
        """
        given = self._input(frames, centers)
        core = self._core(given.species)
        cotangent = cotangent.tocsr() if sp.issparse(cotangent) else _checks.real_array("cotangent", cotangent)
        if sp.issparse(cotangent):
            _checks.real_array("cotangent", cotangent.data)
        if cotangent.shape != (given.n_rows, core.n_features):
            raise InputError(
                f"cotangent must have shape {(given.n_rows, core.n_features)}, that of the features, "
                f"got {cotangent.shape}"
            )
        positions = np.zeros((given.structures.n_atoms, 3))
        strain = np.zeros((given.structures.n_frames, 3, 3))
        for chunk in track(given.chunks(), given.n_rows, "gradients", progress):
            rows = cotangent[chunk.rows]
            dense = rows.toarray() if sp.issparse(rows) else rows
            parts = core.vjp(*chunk.arguments, np.ascontiguousarray(dense, dtype=self.dtype))
            positions[chunk.atoms] += parts[0]
            strain[chunk.frames] += parts[1]
        return Gradients(positions, strain, given.structures.atom_offsets)

    def jvp(
        self,
        frames: Any,
        positions: Any = None,
        strain: Any = None,
        centers: Any = None,
        *,
        progress: bool = False,
    ) -> npt.NDArray[Any]:
        """Compute the derivative of the features along given changes of positions and strain (forward mode).

        Parameters
        ----------
        frames, centers
            As for :meth:`transform`.
        positions : array of shape (n_atoms, 3), optional
            Rate of change of the positions of all frames' atoms.
        strain : array of shape (n_frames, 3, 3), optional
            Rate of the strain e in r -> (1 + e) r, cell -> cell (1 + e)^T; its symmetric part counts.
        progress : bool
            Show a progress bar.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
        """
        given = self._input(frames, centers)
        core = self._core(given.species)
        velocities = _tangent("positions", positions, (given.structures.n_atoms, 3))
        rates = _tangent("strain", strain, (given.structures.n_frames, 3, 3))
        require_memory(
            given.n_rows * core.n_features * np.dtype(self.dtype).itemsize,
            f"the {given.n_rows} x {core.n_features} matrix of derivatives",
            "take fewer frames at a time, choose centers, or use average=",
        )
        features_dot = np.empty((given.n_rows, core.n_features), dtype=self.dtype)
        for chunk in track(given.chunks(), given.n_rows, "derivatives", progress):
            features_dot[chunk.rows] = core.jvp(
                *chunk.arguments, velocities[chunk.atoms], rates[chunk.frames]
            )
        return features_dot

    def jacobian(self, frames: Any, centers: Any = None, *, strain: bool = True, progress: bool = False) -> Jacobian:
        """Compute the explicit gradient of every feature, block sparse.

        Parameters
        ----------
        frames, centers
            As for :meth:`transform`.
        strain : bool
            Also compute the derivative with respect to strain.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Jacobian

        Raises
        ------
        MemoryLimitError
            If it would not fit into memory; :meth:`estimate_memory` tells beforehand, :meth:`vjp` never
            forms it.
        """
        builder = self._jacobian_builder(frames, centers, strain)
        estimate = builder.estimate()
        require_memory(
            estimate.jacobian + estimate.strain,
            "the Jacobian",
            "use vjp or jvp, which never form it, choose centers, or set strain=False",
        )
        return builder.build(progress)

    def estimate_memory(self, frames: Any, centers: Any = None, *, strain: bool = True) -> MemoryEstimate:
        """Tell how many bytes features and Jacobian will take, without computing them.

        Parameters
        ----------
        frames, centers, strain
            As for :meth:`jacobian`.

        Returns
        -------
        MemoryEstimate
        """
        return self._jacobian_builder(frames, centers, strain).estimate()

    def _jacobian_builder(self, frames: Any, centers: Any, strain: bool) -> JacobianBuilder:
        given = self._input(frames, centers)
        return JacobianBuilder(self._core(given.species), given, self.dtype, _checks.flag("strain", strain))

    # ------------------------------------------------------------------ the radial functions

    def radial_functions(self, distances: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Evaluate R_nl(r) times the cutoff function, as tabulated, and its derivative.

        Parameters
        ----------
        distances : array of shape (n,)
            In Å.

        Returns
        -------
        values, derivatives : ndarray of shape (n, l_max + 1, n_max)
        """
        core = self._core(checked_species(self.species) if self.species is not None else ("X",))
        values, derivatives = core.radial_functions(np.ascontiguousarray(distances, dtype=np.float64))
        return values, derivatives

    def radial_table_error(self) -> float:
        """Return the radial table's largest interpolation error, relative to the largest radial value."""
        core = self._core(checked_species(self.species) if self.species is not None else ("X",))
        return float(core.table_error)

    # ------------------------------------------------------------------ parameters

    def _feature_names(self, species: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def _angular_limit(self) -> int:
        return _checks.integer("l_max", self.l_max, 0)

    def _core(self, species: Sequence[str]) -> Any:
        """Return the compiled descriptor, with all parameters checked."""
        _checks.flag("sparse", self.sparse)
        function = self.cutoff_function
        return _core_descriptor(
            _checks.choice("dtype", self.dtype, ("float64", "float32")),
            kind=self._kind,
            n_species=len(species),
            radial_basis=_checks.choice("radial_basis", self.radial_basis, _core.radial_basis_names()),
            cutoff=_checks.positive_length("cutoff", self.cutoff),
            n_max=_checks.integer("n_max", self.n_max, 1),
            l_max=self._angular_limit(),
            sigma=_checks.positive_length("sigma", self.sigma),
            cutoff_function=_checks.choice("cutoff_function", function, ("cosine", "polynomial", None)) or "hard",
            cutoff_width=_checks.positive_length("cutoff_width", self.cutoff_width),
            center_weight=_checks.real("center_weight", self.center_weight),
            accuracy=_checks.real("accuracy", self.accuracy),
            normalize=_checks.flag("normalize", self.normalize),
            average=_checks.choice("average", self.average, ("off", "inner", "outer")),
        )

    def _species_or_raise(self) -> tuple[str, ...]:
        if self.species is not None:
            return checked_species(self.species)
        if not hasattr(self, "species_"):
            name = type(self).__name__
            raise NotFittedError(
                f"this {name} does not know its species yet; call fit(frames) first, or give species= to {name}"
            )
        return self.species_

    def _input(self, frames: Any, centers: Any) -> DescriptorInput:
        average = _checks.choice("average", self.average, ("off", "inner", "outer"))
        species = self._species_or_raise()
        return prepare_input(frames, centers, species, type(self).__name__, per_frame=average != "off")


def _tangent(name: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if value is None:
        return np.zeros(shape)
    tangent = np.ascontiguousarray(_checks.real_array(name, value), dtype=np.float64)
    if tangent.shape != shape:
        raise InputError(f"{name} must have shape {shape}, got {tangent.shape}")
    return tangent
