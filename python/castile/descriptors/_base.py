"""What all descriptors made of a density expansion share: the scikit-learn contract and the derivatives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from ase.data import chemical_symbols
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from castile import _checks
from castile._memory import require_memory
from castile._pages import new_array
from castile._pickling import VersionedPickle
from castile.descriptors._compression import Compression, checked_compression
from castile.descriptors._containers import (
    is_series,
    output_container,
    require_container,
    require_memory_for_rest,
    stack_sparse,
)
from castile.descriptors._core_cache import core_descriptor, remembered_descriptor
from castile.descriptors._input import Chunk, DescriptorInput, prepare_input
from castile.descriptors._jacobian_builder import JacobianBuilder
from castile.descriptors._learning import learn, learns
from castile.descriptors._parameters import Learned, core_parameters
from castile.descriptors._rows import AVERAGES
from castile.descriptors._species import checked_species
from castile.descriptors._streaming import FeatureChunk, iterate_chunks
from castile.descriptors.jacobian import Gradients, Jacobian, MemoryEstimate
from castile.descriptors.tabulated import TabulatedBasis
from castile.errors import InputError, InputTypeError, NotFittedError
from castile.progress import track
from castile.structures import (
    StructureArrays,
    as_frames,
    as_structure_arrays,
    is_single_frame,
    species_table,
)

if TYPE_CHECKING:
    from castile.storage import FeatureStore

__all__ = ["DensityDescriptor", "sample_dtype"]

_DENSE_BYTES = 1 << 26
_CONSTANT = frozenset((int, float, bool, str, type(None), TabulatedBasis))

_SAMPLE_DTYPE = np.dtype([("frame", np.int64), ("atom", np.int64), ("species", "U2")])
_GROUPED_SAMPLE_DTYPE = np.dtype([*_SAMPLE_DTYPE.descr, ("group", np.int64)])


def sample_dtype(groups: bool) -> np.dtype[Any]:
    """Return the fields that say what a row is."""
    return _GROUPED_SAMPLE_DTYPE if groups else _SAMPLE_DTYPE


class DensityDescriptor(_checks.CheckedParameters, VersionedPickle, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the descriptors; see :class:`castile.SOAP` for the parameters."""

    _kind: ClassVar[str]
    _fitted_names = ("species_", "contraction_", "species_mixing_", "radial_mixing_", "variance_kept_")

    cutoff: float | Mapping[str, float]
    n_max: int
    sigma: float | Mapping[str, float]
    species: Sequence[str] | None
    radial_basis: str | TabulatedBasis
    cutoff_function: str | None
    cutoff_width: float
    neighbor_radius: float | None
    density_weighting: Mapping[str, Any] | None
    species_weights: Mapping[str, float] | None
    center_weight: float
    average: str
    normalize: bool
    n_primitives: int | None
    compression: str | Mapping[str, Any] | None
    sparse: bool
    dtype: npt.DTypeLike
    accuracy: float

    species_: tuple[str, ...]

    def _store(self, given: Mapping[str, Any]) -> None:
        """Keep the parameters of ``__init__`` untouched, as scikit-learn asks for; ``given`` are its locals."""
        _checks.reject_unknown(given["unknown"], self._get_param_names(), type(self).__name__)
        for name in self._get_param_names():
            setattr(self, name, given[name])

    # ------------------------------------------------------------------ scikit-learn's contract

    def fit(self, frames: Any, y: Any = None, *, progress: bool = False) -> DensityDescriptor:
        """Check the parameters and learn the species, if they were not given.

        Parameters
        ----------
        frames : ase.Atoms or a sequence of them
        y : ignored
        progress : bool
            Show a progress bar while combinations are learned.

        Returns
        -------
        self
            With the attributes ``species_``, chemical symbols sorted by atomic number; ``contraction_`` (n_species,
            l_max + 1, n_max, n_primitives), ``species_mixing_`` (n_mixtures, n_species) and ``radial_mixing_``
            (n_mixtures, n_max), learned combinations, None where none were asked for; and ``variance_kept_``, the
            share of the coefficients' variance that these keep: by "contraction" (n_species, l_max + 1), "species" and
            "radial".

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
        species = self._found_species(structures)
        learned, variance_kept = learn(self, structures, species, progress)
        self._core(species, learned)  # checks the parameters
        self.species_ = species
        for name in Learned.__dataclass_fields__:
            setattr(self, f"{name}_", getattr(learned, name))
        self.variance_kept_ = variance_kept
        return self

    def _product_rule(self, species: Sequence[str]) -> dict[str, Any] | None:
        """Return what the core takes to tell which products of coefficients there are; None where there are none."""
        return None

    def _radial_functions(self, cutoff: float) -> str | TabulatedBasis:
        """Return the radial basis for neighbors with a cutoff."""
        return self.radial_basis

    def _radial_limit(self) -> int:
        """Return the number of radial functions."""
        return _checks.integer("n_max", self.n_max, 1)

    def _found_species(self, structures: StructureArrays) -> tuple[str, ...]:
        if self.species is not None:
            species = checked_species(self.species)
            species_table(species, structures.numbers, type(self).__name__)
            return species
        species = tuple(chemical_symbols[number] for number in np.unique(structures.numbers))
        if not species:
            raise InputError("frames hold no atoms to learn the species from; give species=")
        return species

    def fit_transform(
        self, frames: Any, y: Any = None, *, centers: Any = None, groups: Any = None, progress: bool = False
    ) -> Any:
        """Fit, then return the features of the same frames; see :meth:`fit` and :meth:`transform`."""
        frames = frames if is_series(frames) or is_single_frame(frames) else as_frames(frames)
        self.fit(frames, y, progress=progress)
        self._check_targets(frames, y)
        return self.transform(frames, centers=centers, groups=groups, progress=progress)

    def _check_targets(self, frames: Any, y: Any) -> None:
        """Refuse targets per structure for rows per atom, as a Pipeline would otherwise pass them on."""
        if y is None or self.average != "off":
            return
        if not hasattr(y, "__len__"):
            raise InputTypeError(f"y must be a sequence of targets, got {y!r}")
        atoms_list = as_frames(frames)
        n_atoms = sum(len(atoms) for atoms in atoms_list)
        if len(y) == len(atoms_list) != n_atoms:
            raise InputError(
                f"y has {len(y)} targets, one per structure, but {type(self).__name__} with average='off' "
                f"gives {n_atoms} rows, one per atom; use average='inner' or 'outer', or fit "
                "castile.KernelRidge on the rows with groups=descriptor.samples(frames)['frame']"
            )

    def transform(self, frames: Any, centers: Any = None, *, groups: Any = None, progress: bool = False) -> Any:
        """Compute the features.

        Parameters
        ----------
        frames : ase.Atoms or a sequence of them
        centers : optional
            None: all atoms. A chemical symbol: all atoms of that species. Otherwise one entry per frame (for a single
            Atoms the entry itself, or a list of it): atom indices (negative ones from the end), a boolean mask, a list
            of chemical symbols, or points in space, Å, which have no density of their own: *floats* of shape (n, 3).
            Integers are indices, so that ``[[0, 1, 2]]`` are three atoms and ``[[0.0, 1.0, 2.0]]`` is a point.
        groups : optional
            With ``average`` "inner" or "outer", one entry per frame (the entry itself for a single Atoms): an integer
            label of 0 or more for each center. Averages then run over the centers of a label, labels ascending.
        progress : bool
            Show a progress bar.

        Returns
        -------
        ndarray (or scipy.sparse.csr_array if ``sparse``) of shape (n_rows, n_features)
            One row per center, frames in order, or, if averaged, per frame, per species of a frame or per group of a
            frame. See :meth:`samples`.

        Raises
        ------
        NotFittedError
            If ``species`` is None and ``fit`` was not called.
        InputError, InputTypeError, UnknownSpeciesError
            For frames or centers that cannot be used.
        MemoryLimitError
            If the result would not fit into memory.
        MissingPackageError
            If ``set_output`` asked for pandas or polars, and that is not installed.
        """
        require_container(self)
        given = self._input(frames, centers, groups)
        features = self._features(given, progress)
        return features if self.sparse else self._as_table(features, frames, given)

    def _features(self, given: DescriptorInput, progress: bool = False) -> Any:
        """Return the rows of input that is checked, see :meth:`transform`."""
        core = self._core(given.species)
        chunks = track(given.chunks(), given.n_rows, type(self).__name__, progress)
        if self.sparse:
            return self._stacked(given, core.n_features, (core.transform_sparse(*chunk.arguments) for chunk in chunks))
        require_memory(
            given.n_rows * core.n_features * np.dtype(self._precision()).itemsize,
            f"the {given.n_rows} x {core.n_features} feature matrix",
            "transform fewer frames at a time, choose centers, or use average= or sparse=True",
        )
        features, zeroed = new_array((given.n_rows, core.n_features), self._precision())
        for chunk in chunks:
            core.transform(*chunk.arguments, out=features[chunk.rows], zeroed=zeroed)
        return features

    def _stacked(self, given: DescriptorInput, n_features: int, rows_of_chunks: Iterable[Any]) -> sp.csr_array:
        """Join sparse rows as they come, unless the rest will not fit into memory."""
        parts: list[Any] = []
        n_done = 0
        for rows in rows_of_chunks:
            parts.append(rows)
            n_done += len(rows[2]) - 1
            require_memory_for_rest(parts, n_done, given.n_rows)
        return stack_sparse(parts, given.n_rows, n_features, self._precision())

    def iter_transform(
        self,
        frames: Any,
        centers: Any = None,
        *,
        groups: Any = None,
        chunk_size: int | None = None,
        progress: bool = False,
    ) -> Iterator[FeatureChunk]:
        """Compute the features of a stream of frames chunk by chunk, so that they need not fit into memory together.

        Parameters
        ----------
        frames : ase.Atoms or an iterable of them
            Such as a generator; taken as the chunks are asked for, and never kept.
        centers, groups : optional
            As for :meth:`transform`; the entries per frame may come from an iterator, too.
        chunk_size : int, optional
            Frames in a chunk. By default as many as keep all threads busy, in some 64 MiB of features.
        progress : bool
            Show a progress bar.

        Yields
        ------
        FeatureChunk
            Named tuple ``(features, samples, frames)``: the rows of consecutive frames, what each of them is
            (:meth:`samples`, with ``frame`` counted from the beginning of the stream), and the range of the
            frames' numbers. Put together they are what :meth:`transform` returns, bit for bit, however they are
            cut.

        Raises
        ------
        NotFittedError
            If ``species`` is None and ``fit`` was not called: a stream cannot be read twice.
        InputError, InputTypeError, UnknownSpeciesError
            As :meth:`transform`; frames are named by their number in the stream. Those before are computed first,
            up to the last full chunk.

        Examples
        --------
        >>> from ase.build import molecule
        >>> import castile
        >>> soap = castile.SOAP(cutoff=3.0, n_max=4, l_max=3, species=["H", "O"])
        >>> stream = (molecule("H2O") for _ in range(5))
        >>> for X, rows, frames in soap.iter_transform(stream, chunk_size=2):
        ...     print(X.shape, rows["frame"], frames)
        (6, 144) [0 0 0 1 1 1] range(0, 2)
        (6, 144) [2 2 2 3 3 3] range(2, 4)
        (3, 144) [4 4 4] range(4, 5)
        """
        return iterate_chunks(self, frames, centers, groups, chunk_size=chunk_size, progress=progress)

    def transform_to(
        self,
        path: str | os.PathLike[str],
        frames: Any,
        centers: Any = None,
        *,
        groups: Any = None,
        format: str | None = None,
        chunk_size: int | None = None,
        overwrite: bool = False,
        resume: bool = False,
        progress: bool = False,
    ) -> FeatureStore:
        """Compute the features of any number of frames and write them to disk, in little memory.

        Parameters
        ----------
        path : str or path-like
            What to write. Until all is done there is only a folder ``path + ".partial"``.
        frames, centers, groups
            As for :meth:`iter_transform`.
        format : {"npy", "hdf5", "zarr"}, optional
            By default what ``path`` ends in: ``.npy``, ``.h5``, ``.hdf5`` or ``.zarr``. The last two formats need
            the extra ``castile[storage]``, and room for the features twice while they are being finished.
        chunk_size : int, optional
            Frames that are computed, and secured on disk, at a time.
        overwrite : bool
            Whether what exists may be replaced (in the end) and an unfinished run be discarded (at once).
        resume : bool
            Go on with an unfinished run, if there is one: with equal parameters and the same frames, which are
            taken from the first one on and compared. The result is that of a run without a break, bit for bit.
            If the output is finished it is compared and returned.
        progress : bool
            Show a progress bar.

        Returns
        -------
        FeatureStore
            To read rows and samples; later :func:`castile.storage.open_features` gives it.

        Raises
        ------
        InputError
            If the output exists, was begun with other parameters or frames, or as :meth:`iter_transform`.
        FileWriteError
            If the disk is full, or for other reasons of the system; what was written before is safe.
        MissingPackageError
            If h5py or zarr is needed and not installed.
        """
        from castile.storage._write import write_features

        return write_features(
            self,
            path,
            frames,
            centers,
            groups,
            format=format,
            chunk_size=chunk_size,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )

    def _as_table(self, features: Any, frames: Any, given: DescriptorInput) -> Any:
        """Keep the index of a pandas Series, repeated per center, if pandas output is set."""
        if not is_series(frames) or output_container(self) != "pandas":
            return features
        import pandas as pd

        return pd.DataFrame(features, index=frames.index[given.rows.frame()], columns=self.get_feature_names_out())

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return a name for every column, shape (n_features,).

        Parameters
        ----------
        input_features : ignored
        """
        species = self._species_or_raise()
        core = self._core(species)
        return np.array(self._feature_names(species, core), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that the input is a list of structures and that given species need no fit."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        tags.requires_fit = self.species is None or learns(self)
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return True if calls work without ``fit``."""
        return hasattr(self, "species_") or (self.species is not None and not learns(self))

    # ------------------------------------------------------------------ rows

    def samples(self, frames: Any, centers: Any = None, *, groups: Any = None) -> npt.NDArray[Any]:
        """Say what each row of the features is.

        Parameters
        ----------
        frames, centers, groups
            As for :meth:`transform`.

        Returns
        -------
        structured ndarray of shape (n_rows,)
            Fields ``frame``, ``atom`` (index within the frame; -1 for averages and points), ``species`` (symbol; empty
            for points and for averages over more than one); with groups also ``group``, the label.
        """
        return self._samples(self._input(frames, centers, groups))

    def _samples(self, given: DescriptorInput) -> npt.NDArray[Any]:
        """Say what each row of input that is checked is, with the frames counted from 0."""
        rows = given.rows
        samples = np.zeros(rows.n_rows, dtype=sample_dtype(rows.groups is not None))
        samples["frame"] = rows.frame()
        samples["atom"] = -1
        if rows.groups is not None:
            samples["group"] = rows.groups
        numbers = rows.numbers
        if rows.center_offsets is None:
            samples["atom"] = rows.centers.atoms
            numbers = rows.centers.numbers(given.structures)
        if numbers is not None:
            symbols = np.array([*chemical_symbols, ""])  # the last for points
            samples["species"] = symbols[numbers]
        return samples

    # ------------------------------------------------------------------ derivatives

    def vjp(
        self, frames: Any, cotangent: Any, centers: Any = None, *, groups: Any = None, progress: bool = False
    ) -> Gradients:
        """Pull a scalar's gradient back from the features to positions and strain (reverse mode).

        Parameters
        ----------
        frames, centers, groups
            As for :meth:`transform`.
        cotangent : array or sparse matrix of shape (n_rows, n_features)
            Derivative of the scalar with respect to the features.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Gradients
            ``positions`` (n_atoms, 3), ``strain`` (n_frames, 3, 3) and, if centers are points, ``centers``
            (n_centers, 3), always float64: what the kernels of ``dtype="float32"`` give is summed in float64. The
            Jacobian is never formed.
        """
        given = self._input(frames, centers, groups)
        core = self._core(given.species)
        if cotangent is None:
            raise InputTypeError(
                "cotangent must be an array, the derivative of a scalar with respect to the features; None is no "
                "cotangent (np.ones(X.shape) is that of the sum of all features X)"
            )
        cotangent = cotangent.tocsr() if sp.issparse(cotangent) else _checks.finite_array("cotangent", cotangent)
        if sp.issparse(cotangent):
            _checks.finite_array("cotangent", cotangent.data)
        if cotangent.shape != (given.n_rows, core.n_features):
            raise InputError(
                f"cotangent must have shape {(given.n_rows, core.n_features)}, that of the features, "
                f"got {cotangent.shape}"
            )
        positions = np.zeros((given.structures.n_atoms, 3))
        strain = np.zeros((given.structures.n_frames, 3, 3))
        points = None if given.centers.points is None else np.zeros((len(given.centers), 3))
        # Cotangents of averaged rows are made dense on the way.
        averages = given.rows.center_offsets is not None
        precision = self._precision()
        max_rows = max(_DENSE_BYTES // (8 * core.n_features), 1) if sp.issparse(cotangent) and averages else None
        for chunk in track(given.chunks(max_rows), given.n_rows, "gradients", progress):
            parts = core.vjp(*chunk.arguments, *_core_rows(cotangent[chunk.rows], precision))
            positions[chunk.atoms] = parts[0]
            if points is not None:
                points[chunk.centers] = parts[1]
            strain[chunk.frames] = parts[2]
        return Gradients(positions, strain, given.structures.atom_offsets, given.rows.as_given(points))

    def jvp(
        self,
        frames: Any,
        positions: Any = None,
        strain: Any = None,
        centers: Any = None,
        *,
        points: Any = None,
        groups: Any = None,
        progress: bool = False,
    ) -> Any:
        """Compute the derivative of the features along given changes of positions and strain (forward mode).

        Parameters
        ----------
        frames, centers, groups
            As for :meth:`transform`.
        positions : array of shape (n_atoms, 3), optional
            Rate of change of the positions of all frames' atoms.
        strain : array of shape (n_frames, 3, 3), optional
            Rate of the strain e in r -> (1 + e) r, cell -> cell (1 + e)^T; its symmetric part counts. Centers that
            are points are strained too.
        points : array of shape (n_centers, 3), optional
            Rate of change of the centers that are points; the rows of atoms do not count.
        progress : bool
            Show a progress bar.

        Returns
        -------
        ndarray (or scipy.sparse.csr_array if ``sparse``) of shape (n_rows, n_features)
            Of the descriptor's ``dtype``, as the features.
        """
        given = self._input(frames, centers, groups)
        core = self._core(given.species)
        velocities = _tangent("positions", positions, (given.structures.n_atoms, 3))
        rates = _tangent("strain", strain, (given.structures.n_frames, 3, 3))
        of_points = _tangent("points", points, (len(given.centers), 3))
        if given.rows.order is not None:
            of_points = np.ascontiguousarray(of_points[given.rows.order])

        def rates_of(chunk: Chunk) -> tuple[Any, ...]:
            return *chunk.arguments, velocities[chunk.atoms], of_points[chunk.centers], rates[chunk.frames]

        chunks = track(given.chunks(), given.n_rows, "derivatives", progress)
        if self.sparse:
            return self._stacked(given, core.n_features, (core.jvp_sparse(*rates_of(chunk)) for chunk in chunks))
        require_memory(
            given.n_rows * core.n_features * np.dtype(self._precision()).itemsize,
            f"the {given.n_rows} x {core.n_features} matrix of derivatives",
            "take fewer frames at a time, choose centers, or use average= or sparse=True",
        )
        features_dot = np.empty((given.n_rows, core.n_features), dtype=self._precision())
        for chunk in chunks:
            features_dot[chunk.rows] = core.jvp(*rates_of(chunk))
        return features_dot

    def jacobian(
        self,
        frames: Any,
        centers: Any = None,
        *,
        groups: Any = None,
        strain: bool = True,
        progress: bool = False,
        out: Jacobian | None = None,
    ) -> Jacobian:
        """Compute the explicit gradient of every feature, block sparse.

        Parameters
        ----------
        frames, centers, groups
            As for :meth:`transform`.
        strain : bool
            Also compute the derivative with respect to strain.
        progress : bool
            Show a progress bar.
        out : Jacobian, optional
            An earlier result that is not needed any more: its memory is written anew where it is large enough, as in
            the steps of a trajectory. It is empty afterwards, and raises InputError wherever it is used. Arrays that
            were taken from it before (such as ``out.groups[0].values``) share the memory, and hold values of the new
            result: copy what is to stay. It is left as it was if the arguments are refused.

        Returns
        -------
        Jacobian
            Its values are of the descriptor's ``dtype``, as the features; :meth:`vjp` gives float64.

        Raises
        ------
        InputTypeError
            If ``out`` is something else.
        InputError
            If ``out`` is read-only, or its memory was given away before, perhaps by another thread.
        MemoryLimitError
            If it would not fit into memory; :meth:`estimate_memory` tells beforehand, :meth:`vjp` never
            forms it.
        """
        if out is not None and not isinstance(out, Jacobian):
            raise InputTypeError(f"out must be a Jacobian, got {type(out).__name__}")

        def require(estimate: MemoryEstimate, reused: int) -> None:
            remedy = "use vjp or jvp, which never form it, choose centers, or set strain=False"
            require_memory(estimate.total - reused, "the Jacobian", remedy)

        return self._jacobian_builder(frames, centers, groups, strain, check=require, out=out).build(progress)

    def estimate_memory(
        self, frames: Any, centers: Any = None, *, groups: Any = None, strain: bool = True
    ) -> MemoryEstimate:
        """Tell how many bytes features and Jacobian will take, without computing them.

        Parameters
        ----------
        frames, centers, groups, strain
            As for :meth:`jacobian`.

        Returns
        -------
        MemoryEstimate
        """
        return self._jacobian_builder(frames, centers, groups, strain, check=None).estimate()

    def _jacobian_builder(
        self,
        frames: Any,
        centers: Any,
        groups: Any,
        strain: bool,
        *,
        check: Callable[[MemoryEstimate, int], None] | None,
        out: Jacobian | None = None,
    ) -> JacobianBuilder:
        given = self._input(frames, centers, groups)
        core = self._core(given.species)
        strain = _checks.flag("strain", strain)
        return JacobianBuilder(core, given, self._precision(), strain=strain, sparse=self.sparse, check=check, out=out)

    # ------------------------------------------------------------------ the radial functions

    def radial_functions(self, distances: Any, species: str | None = None) -> tuple[Any, Any]:
        """Evaluate R_nl(r) times the weight of a neighbor at r, as tabulated, and its derivative.

        Parameters
        ----------
        distances : array of shape (n,)
            In Å.
        species : str, optional
            Of the neighbor; by default the first.

        Returns
        -------
        values, derivatives : ndarray of shape (n, l_max + 1, n_max)
        """
        known = self._species_or_any()
        if species is not None and species not in known:
            raise InputError(f"species must be one of {list(known)}, got {species!r}")
        index = 0 if species is None else known.index(species)
        r = np.ascontiguousarray(_checks.real_array("distances", distances), dtype=np.float64)
        values, derivatives = self._core(known).radial_functions(r, index)
        return values, derivatives

    def radial_table_error(self) -> float:
        """Return the radial tables' largest interpolation error, relative to the largest radial value."""
        return float(self._core(self._species_or_any()).table_error)

    def _species_or_any(self) -> tuple[str, ...]:
        """Return the species, or one that stands for all where they are not known yet."""
        return self._species_or_raise() if self.__sklearn_is_fitted__() else ("X",)

    # ------------------------------------------------------------------ parameters

    def _feature_names(self, species: Sequence[str], core: Any) -> list[str]:
        raise NotImplementedError

    def _channel_names(self, species: Sequence[str], core: Any) -> list[str]:
        """Return the species, or names for what they are mixed to."""
        if core.n_channels == len(species) and not core.mixes_species:
            return list(species)
        return [f"mix{k}" for k in range(core.n_channels)]

    def _angular_limit(self) -> int:
        raise NotImplementedError

    def _checked_compression(self, n_species: int) -> Compression:
        compression = checked_compression(self.compression, n_species)
        if compression.products != "all":
            raise InputError(
                f"compression={self.compression!r} is about products of coefficients, which {type(self).__name__} has "
                "none of; use SOAP, 'mu2', or mix with {'species': ..., 'radial': ...}"
            )
        return compression

    def _core(self, species: Sequence[str], learned: Learned | None = None) -> Any:
        """Return the compiled descriptor, with all parameters checked."""
        # Checking takes longer than small structures do, so what was checked is known by its values, if they are of
        # kinds that cannot change.
        precision = self._precision()
        name = None
        if learned is None and not learns(self):
            name = _plain_values(self, tuple(species), precision)
            known = None if name is None else remembered_descriptor(name)
            if known is not None:
                return known
        _checks.flag("sparse", self.sparse)
        if learned is None:
            learned = Learned(*(getattr(self, f"{name}_", None) for name in Learned.__dataclass_fields__))
            if learns(self) and hasattr(self, "species_") and tuple(species) != self.species_:
                raise NotFittedError(
                    f"species changed from {list(self.species_)} to {list(species)} since fit learned from frames; "
                    "call fit again"
                )
        return core_descriptor(precision, core_parameters(self, tuple(species), learned), name)

    def _precision(self) -> str:
        """Return "float64" or "float32", in whatever form ``dtype`` says it."""
        return _checks.precision("dtype", self.dtype)

    def _species_or_raise(self) -> tuple[str, ...]:
        if self.species is not None:
            return checked_species(self.species)
        if not hasattr(self, "species_"):
            name = type(self).__name__
            raise NotFittedError(
                f"this {name} does not know its species yet; call fit(frames) first"
                + ("" if learns(self) else f", or give species= to {name}")
            )
        return self.species_

    def _input(self, frames: Any, centers: Any, groups: Any, first_frame: int = 0) -> DescriptorInput:
        average = _checks.choice("average", self.average, AVERAGES)
        species = self._species_or_raise()
        owner = type(self).__name__
        return prepare_input(frames, centers, groups, species, owner=owner, average=average, first_frame=first_frame)


@lru_cache
def _parameter_names(cls: Any) -> tuple[str, ...]:
    return tuple(name for name in cls._get_param_names() if name not in ("species", "dtype"))


def _plain_values(descriptor: Any, species: tuple[str, ...], precision: str) -> tuple[Any, ...] | None:
    """Return all parameters with their types (1 is not True), or None if one is of a kind that can change.

    Also None for classes of others, whose results may depend on more than their parameters.
    """
    cls: Any = type(descriptor)
    if not cls.__module__.startswith("castile."):
        return None
    values = [getattr(descriptor, name) for name in _parameter_names(cls)]
    types = tuple(map(type, values))
    return (cls, species, precision, *values, *types) if _CONSTANT.issuperset(types) else None


def _core_rows(rows: Any, dtype: str) -> tuple[Any, ...]:
    """Return rows of features as the core takes them."""
    if not sp.issparse(rows):
        return (np.ascontiguousarray(rows, dtype=dtype),)
    kinds: tuple[Any, ...] = (dtype, np.int32, np.int64)
    return tuple(np.ascontiguousarray(a, k) for a, k in zip((rows.data, rows.indices, rows.indptr), kinds, strict=True))


def _tangent(name: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if value is None:
        return np.zeros(shape)
    tangent = np.ascontiguousarray(_checks.finite_array(name, value), dtype=np.float64)
    if tangent.shape != shape:
        raise InputError(f"{name} must have shape {shape}, got {tangent.shape}")
    return tangent
