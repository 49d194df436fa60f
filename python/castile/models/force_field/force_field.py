"""The force field: energies, forces and stresses from one sum of terms, fitted together."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.mixing import SumCalculator
from sklearn.base import BaseEstimator, clone

from castile import _checks, _core, data
from castile._pickling import VersionedPickle
from castile.data import Dataset
from castile.descriptors import SOAP
from castile.errors import InputError, InputTypeError, NotFittedError
from castile.models.force_field._assembly import Columns, require_rows, row_chunks
from castile.models.force_field._calibration import Calibration, calibrate, held_out
from castile.models.force_field._checkpointing import Checkpoint
from castile.models.force_field._evaluation import evaluate
from castile.models.force_field._evidence import log_evidence, most_probable
from castile.models.force_field._label_check import label_notes, size_notes
from castile.models.force_field._memory_plan import MemoryPlan, plan_memory
from castile.models.force_field._noise import KINDS
from castile.models.force_field._normal import IllConditionedError, NormalEquations, Solution
from castile.models.force_field._parameters import (
    OF_PRESETS,
    check_parameters,
    checked_share,
    noise_factors,
    repels,
    terms_of,
)
from castile.models.force_field._persistence import fingerprint, load, save
from castile.models.force_field._posterior import Posterior
from castile.models.force_field._reference import reference_labels, subtract_reference
from castile.models.force_field._targets import learned_part
from castile.models.force_field._training import (
    Foundation,
    lay_foundation,
    survey,
)
from castile.models.force_field._triangular import TriangularState
from castile.models.force_field.compression import compress
from castile.models.force_field.error_table import ErrorTable, error_table, residuals
from castile.models.force_field.learning import LearningCurve, learning_curve
from castile.models.force_field.prediction import Prediction, Uncertainty
from castile.models.force_field.terms import Term
from castile.models.force_field.tuning import Tuning, tune
from castile.progress import track
from castile.structures import as_frames, as_structure_arrays, trained_species_table

if TYPE_CHECKING:
    from castile.calculator import Calculator

__all__ = ["ForceField"]

FloatArray = npt.NDArray[np.float64]

_DEFAULT_MEMORY = 1 << 32


class ForceField(VersionedPickle, BaseEstimator):  # type: ignore[misc]
    r"""A conservative potential fitted to energies, forces and stresses by sparse Gaussian process regression.

    The energy is a sum over atoms of reference energies and of functions of their neighborhoods: the kernel
    :math:`(p \cdot p')^\zeta` of SOAP environments with sparse points, and products of up to five density coefficients
    (an atomic cluster expansion), which see several neighbors at a time. All weights come from one linear problem with
    Gaussian priors, which gives their posterior, too. Forces and stresses are exact derivatives.

    Parameters
    ----------
    terms : {"fast", "balanced", "accurate"} or sequence of SoapTerm, ProductTerm and PairTerm, optional
        "fast": products alone, about 500 functions. "balanced", the default: these and a SOAP term of zeta 2.
        "accurate": as many as 2 500 functions and the SOAP term. Lengths follow from the data, unless they are given.
    descriptor : SOAP, optional
        Of the SOAP term of a preset.
    zeta, n_sparse : optional
        Of the SOAP term of a preset.
    cutoff : float, optional
        Of the terms of a preset, Å; not of a ``descriptor`` that is given.
    noise : dict, optional
        Standard deviations ``{"energy": eV/atom, "force": eV/Å, "stress": eV/Å³}`` of the labels, or some of these; by
        default 0.0006, 0.06 and 0.0023 times the root mean square of the forces in eV/Å. Labels with sigmas of their
        own and weights: see :func:`castile.data.read`.
    noise_factor : float or "evidence", optional
        Of all noise. "evidence": the one out of 0.1, 0.2, 0.45 and 1 for which the training data are the most probable;
        this is the default unless ``noise`` is given, which is then taken as it is.
    prior : float, optional
        Prior standard deviation in eV of what each term adds to an atom's energy; by default the one for which the
        training data are the most probable, for each term.
    species : sequence of str, optional
        By default those of the training data.
    baseline : dict, optional
        Energies per atom in eV of some species; by default those of isolated atoms, else least squares. With a
        reference calculator, what that leaves of them.
    repulsion : bool, optional
        Add the repulsion of nuclei at distances shorter than those of the training data. By default yes, unless a
        reference calculator is there to do that.
    reference : ASE calculator, optional
        Its energies, forces and stresses are subtracted before the fit and added to predictions. It is not saved.
    calibration : float, default=0.1
        Share of the frames of ``fit`` that are held out at first, three or more, to see how large errors are beside
        their standard deviations; these are then scaled. Zero, or fewer than nine frames: none are, and standard
        deviations are those of the posterior, far too small as a rule. ``partial_fit`` keeps the factors of ``fit``.
    max_memory : int, default=2**32
        Bytes that fitting may take beyond the data and the compiled core, whatever the number of frames. With little
        of it, sparse points are chosen from fewer environments.
    seed : int, default=0

    Attributes
    ----------
    species_ : tuple of str
    foundation_ : Foundation
        Lengths, reference energies, repulsion, sparse points.
    noise_ : dict
    prior_ : float
        In eV.
    prior_shares_ : tuple of float
        Of it, for each term: 1, 0.3, 0.1 or 0.03, those for which the training data are the most probable.
    state_ : NormalEquations
        Sums over all rows; more can be added.
    weights_ : ndarray of shape (n_columns,)
        Of all terms.
    solution_ : Solution
        The posterior of the whitened weights, over ``prior_`` as far as its width is concerned.
    potential_ : _core.Potential
    calibration_ : Calibration or None
        Factors of standard deviations, and rank correlations with errors, of held-out frames.
    notes_ : list of str
        What ``fit`` warned of: kinds of labels that contradict the others, and fewer labels than columns.
    training_ : dict
        Numbers of frames, rows and columns; ranks of the columns, and effective rank: how many coefficients the data
        determine; condition, evidence.

    References
    ----------
    Bartók et al., Phys. Rev. Lett. 104, 136403 (2010), doi:10.1103/PhysRevLett.104.136403; Bartók, Kondor and Csányi,
    Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115; Foster et al., J. Mach. Learn. Res. 10, 857 (2009)
    for the whitened solution.

    Examples
    --------
    >>> import castile
    >>> from castile import data, datasets
    >>> train, test = data.split(data.read(datasets.load()), 0.2, stratify=True)
    >>> ff = castile.ForceField(n_sparse=100).fit(train)
    >>> table = ff.evaluate(test)
    >>> bool(table["force"]["mae"] < 0.2)
    True
    """

    def __init__(
        self,
        terms: str | Sequence[Term] | None = None,
        *,
        descriptor: SOAP | None = None,
        zeta: float | None = None,
        n_sparse: int | None = None,
        cutoff: float | None = None,
        noise: Mapping[str, float] | None = None,
        noise_factor: float | str | None = None,
        prior: float | None = None,
        species: Sequence[str] | None = None,
        baseline: Mapping[str, float] | None = None,
        repulsion: bool | None = None,
        reference: Any = None,
        calibration: float = 0.1,
        max_memory: int = _DEFAULT_MEMORY,
        seed: int = 0,
        **unknown: Any,
    ) -> None:
        _checks.reject_unknown(unknown, self._get_param_names(), type(self).__name__)
        self.terms = terms
        self.descriptor = descriptor
        self.zeta = zeta
        self.n_sparse = n_sparse
        self.cutoff = cutoff
        self.noise = noise
        self.noise_factor = noise_factor
        self.prior = prior
        self.species = species
        self.baseline = baseline
        self.repulsion = repulsion
        self.reference = reference
        self.calibration = calibration
        self.max_memory = max_memory
        self.seed = seed

    _committee: tuple[tuple[int, int], _core.Potential] | None = None
    _columns_of: tuple[Foundation, Columns] | None = None
    foundation_: Foundation
    calibration_: Calibration | None
    notes_: list[str]
    tuning_: Tuning

    _fitted_names = (
        "species_",
        "foundation_",
        "noise_",
        "prior_",
        "prior_shares_",
        "state_",
        "weights_",
        "solution_",
        "potential_",
        "calibration_",
        "training_",
        "tuning_",
        "compression_",
        "notes_",
    )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what is compiled, which follows from the rest."""
        state = super().__getstate__()
        for name in ("potential_", "_committee", "_columns_of"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "weights_"):
            self._make_potential()

    # ------------------------------------------------------------------ fitting

    def fit(
        self, frames: Any, y: Any = None, *, progress: bool = False, checkpoint: str | os.PathLike[str] | None = None
    ) -> ForceField:
        """Fit to labeled frames.

        Parameters
        ----------
        frames : anything that :func:`castile.data.read` takes
            A path, structures with labels as ASE leaves them, or a :class:`castile.data.Dataset`.
        y : ignored
        progress : bool
            Show progress bars.
        checkpoint : path, optional
            Where the sums over rows are kept from time to time; a fit of the same frames that was broken off goes on
            from there. The file is removed when the fit is done.

        Returns
        -------
        self

        Raises
        ------
        InputError
            For data without labels, and parameters that cannot be used.
        MemoryLimitError
            If ``max_memory`` does not hold the sums over rows and some rows.
        """
        given = self._read(frames)
        dataset = self._learnable(given)
        self._prepare(dataset)
        # Frames are numbered here as they were given.
        require_rows(self._columns(), dataset, self.foundation_.noise, self._plan(self.foundation_))
        out = held_out(dataset, checked_share(self), int(self.seed))
        # The rows of held-out frames come last, so that a model without them is had on the way.
        order = np.concatenate([np.flatnonzero(~out), np.flatnonzero(out)])
        dataset = dataset.subset(order)
        n_rest = int(np.count_nonzero(~out))
        rest, others = dataset.subset(slice(0, n_rest)), dataset.subset(slice(n_rest, None))
        keeper = self._checkpoint(checkpoint, given.subset(order[:n_rest]), rest)
        self._accumulate(rest, keeper, progress)
        keeper.keep_all(self.state_, n_rest)
        held: ErrorTable | None = None
        if out.any():
            self._solve(lambda: rest, progress)
            prediction = self._predict(others.frames, progress=progress)
            stds = self._posterior().uncertainty(others.frames, progress)
            self.calibration_ = calibrate(others, prediction, stds)
            held = error_table(residuals(others, prediction), by_group=False)
            self._accumulate(others, Checkpoint(None, ""), progress)
        self._solve(lambda: dataset, progress)
        found = residuals(dataset, self._predict(dataset.frames, progress=progress))
        trained = error_table(found, by_group=False)
        self.training_["errors"] = {
            "training": _storable(trained.rows),
            "held out": [] if held is None else _storable(held.rows),
        }
        keeper.remove()
        self.notes_ = [*label_notes(self, dataset, found), *size_notes(self)]
        for note in self.notes_:
            warnings.warn(note, stacklevel=2)
        return self

    def partial_fit(self, frames: Any, y: Any = None, *, progress: bool = False) -> ForceField:
        """Add frames to those of earlier calls, and solve anew; the first call also chooses the sparse points."""
        if hasattr(self, "potential_") and not hasattr(self, "state_"):
            raise InputError(
                "this ForceField is from a file, which holds no sums over rows to add to; fit all frames anew, or "
                "pickle force fields that are to take in more"
            )
        dataset = self._learnable(frames)
        if not hasattr(self, "state_"):
            self._prepare(dataset)
        self._accumulate(dataset, Checkpoint(None, ""), progress)
        return self._solve(None, progress)

    def prepare(self, frames: Any) -> ForceField:
        """Choose sparse points, references and scales, without looking at what they give: the first step of a fit."""
        return self._prepare(self._learnable(frames))

    def _prepare(self, dataset: Dataset) -> ForceField:
        check_parameters(self)
        found = survey(dataset, self.species, self.noise, self.baseline)
        foundation = lay_foundation(
            dataset,
            terms_of(self),
            found,
            repulsion=repels(self),
            seed=int(self.seed),
            max_memory=int(self.max_memory),
        )
        self._plan(foundation)
        # Nothing is changed before all that can fail is done; then nothing of an earlier fit stays.
        for name in ("solution_", "weights_", "potential_", "prior_", "prior_shares_", "noise_", "training_"):
            if hasattr(self, name):
                delattr(self, name)
        self.foundation_, self.species_ = foundation, foundation.species
        self.state_ = NormalEquations(foundation.whitening.n_whitened)
        self.calibration_, self._columns_of, self._committee = None, None, None
        self.notes_ = []
        return self

    def accumulate(
        self, frames: Any, *, progress: bool = False, checkpoint: str | os.PathLike[str] | None = None
    ) -> ForceField:
        """Add the rows of frames to the sums: the second step of a fit, in pieces or by several workers."""
        self._require_prepared()
        given = self._read(frames)
        dataset = self._learnable(given)
        keeper = self._checkpoint(checkpoint, given, dataset)
        self._accumulate(dataset, keeper, progress)
        keeper.remove()
        return self

    def merge(self, other: ForceField) -> ForceField:
        """Add the sums of a copy of this force field, which took in other frames after the same ``prepare``."""
        if not isinstance(other, ForceField):
            raise InputTypeError(f"other must be a ForceField, got {type(other).__name__}")
        if other is self:
            raise InputError("other must be another force field: merging with itself would count every row twice")
        self._require_prepared()
        other._require_prepared()
        if other.foundation_.digest() != self.foundation_.digest():
            raise InputError("other was prepared otherwise; send copies of one prepared force field to the workers")
        self._take_in(other.state_, shared=True)
        return self

    def solve(self, frames: Any = None, *, progress: bool = False) -> ForceField:
        """Find the weights for the sums so far: the last step of a fit.

        Parameters
        ----------
        frames : as of :meth:`fit`, optional
            All frames that were added, for the slower and more stable way that ill-conditioned data need.
        progress : bool
        """
        self._require_prepared()
        return self._solve(None if frames is None else lambda: self._learnable(frames), progress)

    def _solve(self, dataset: Callable[[], Dataset] | None, progress: bool) -> ForceField:
        if sum(self.state_.n_rows.values()) == 0:
            raise InputError("there are no rows yet; call accumulate with labeled frames first")
        foundation = self.foundation_
        given = None if self.prior is None else float(self.prior)
        sizes = foundation.whitened_sizes()
        widths = most_probable(
            self.state_,
            foundation.noise,
            foundation.scale,
            given,
            factors=noise_factors(self),
            sizes=sizes,
        )
        prior, precision = widths.prior, widths.precision(sizes)
        fitted_noise = {kind: widths.noise_factor * sigma for kind, sigma in foundation.noise.items()}
        # A prior wider than one is as good as noise that is narrower by as much; the mean is that of the weights.
        noise = {kind: sigma / prior for kind, sigma in fitted_noise.items()}
        try:
            solution = self.state_.solve(noise, precision)
        except IllConditionedError as error:
            if dataset is None:
                raise InputError(
                    f"{error}; call solve(frames) with all frames that were added, which factorizes their rows"
                ) from error
            solution = self._solve_by_rows(dataset(), noise, precision, progress)
        # All together: a solution that fails leaves the earlier model as it was.
        self.prior_, self.noise_, self.solution_ = prior, fitted_noise, solution
        self.prior_shares_ = widths.shares
        self.weights_ = self.foundation_.whitening.coefficients(self.solution_.mean)
        self.training_ = {
            "frames": int(self.state_.notes.get("frames", 0)),
            "fingerprints": list(self.state_.notes.get("fingerprints", [])),
            "rows": self.state_.n_rows,
            "columns": self.foundation_.whitening.n_columns,
            "rank": sum(self.foundation_.whitening.ranks),
            "effective_rank": float(f"{self.solution_.effective_rank(precision):.1f}"),
            "condition": float(f"{self.solution_.condition:.1e}"),  # an estimate
            "log_evidence": log_evidence(self.state_, self.solution_, self.prior_, precision),
        }
        self._make_potential()
        return self

    # ------------------------------------------------------------------ predictions

    def predict(
        self,
        frames: Any,
        *,
        uncertainty: bool = False,
        committee: int = 0,
        seed: int = 0,
        progress: bool = False,
    ) -> Prediction:
        """Predict energies, forces and stresses.

        Parameters
        ----------
        frames : ase.Atoms or a sequence of them
        uncertainty : bool
            Also standard deviations of all of them, which costs about as much as the frames' part of a fit.
        committee : int
            Also the energies of so many models drawn from the posterior, which cost little beside the prediction.
        seed : int
            Of the committee.
        progress : bool

        Returns
        -------
        Prediction

        Raises
        ------
        NotFittedError
            Before ``fit``.
        UnknownSpeciesError
            If the training data had no such species.
        """
        atoms_list = self._known_frames(frames)
        found = self._predict(atoms_list, committee=committee, seed=seed, progress=progress)
        if uncertainty:
            found = replace(found, uncertainty=self._posterior().uncertainty(atoms_list, progress))
        if self.reference is None:
            return found
        labels = reference_labels(self.reference, atoms_list)
        return replace(
            found,
            energy=found.energy + labels.energy,
            forces=found.forces + labels.forces,
            stress=found.stress + labels.stress,
            committee=None if found.committee is None else found.committee + labels.energy,
        )

    def _predict(
        self, atoms_list: list[Atoms], *, committee: int = 0, seed: int = 0, progress: bool = False
    ) -> Prediction:
        """Predict without the reference calculator."""
        structures = as_structure_arrays(atoms_list)
        table = trained_species_table(self.species_, structures.numbers)
        potential = self.potential_
        if committee:
            potential = self._committee_potential(committee, seed)
        found = evaluate(potential, structures, table, self.baseline_energies_, progress)
        return Prediction(
            found.energy,
            found.forces,
            found.stress,
            found.energies,
            structures.atom_offsets,
            committee=found.committee if committee else None,
        )

    def uncertainty(self, frames: Any, *, progress: bool = False) -> Uncertainty:
        """Return standard deviations of energies, forces and stresses."""
        return self._posterior().uncertainty(self._known_frames(frames), progress)

    def extrapolation_grade(self, frames: Any) -> FloatArray:
        """Return how far the neighborhood of each atom is from those of the training data.

        Parameters
        ----------
        frames : ase.Atoms or a sequence of them

        Returns
        -------
        ndarray of shape (n_atoms_total,)
            At most one for the frames that were given to ``fit`` or ``prepare``; far above one, the model is a guess.

        Raises
        ------
        InputError
            Without a term of products, whose functions tell neighborhoods apart.

        Notes
        -----
        D-optimality of the products of lowest degrees, of each species, up to 500: how large the coefficients are in a
        combination of neighborhoods from the training data. Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171
        (2017), doi:10.1016/j.commatsci.2017.08.031.
        """
        known = self._known_frames(frames)
        domain = self.foundation_.domain
        if domain is None:
            raise InputError("grades of extrapolation need a term of products; fit with terms='balanced', for example")
        return domain.grades(self.foundation_.terms, self.species_, known)

    def covariance(self, frames: Any, others: Any = None, *, quantity: str = "energy") -> FloatArray:
        """Return the posterior covariance of total energies between frames, or of all forces or stresses.

        Parameters
        ----------
        frames, others : ase.Atoms or sequences of them
            By default the covariance of the frames with themselves.
        quantity : {"energy", "force", "stress"}

        Returns
        -------
        ndarray of shape (n, m)
            Of energies, one for each frame, in eV²; of force components, three for each atom, in (eV/Å)²; of stress
            components, six for each frame with a cell, in (eV/Å³)².

        Raises
        ------
        MemoryLimitError
            If the rows of all of them would not fit into memory.
        """
        known = self._known_frames(frames)
        other = None if others is None else self._known_frames(others)
        return self._posterior().covariance(known, other, _checks.choice("quantity", quantity, KINDS))

    def evaluate(self, frames: Any, *, progress: bool = False) -> ErrorTable:
        """Compare predictions with labels, by group.

        Parameters
        ----------
        frames : anything that :func:`castile.data.read` takes
        progress : bool

        Returns
        -------
        ErrorTable
            Mean absolute and root mean square errors and R² of energies per atom, force components and stress
            components; ``print`` it. Isolated atoms do not count.
        """
        dataset = self._read(frames)
        return error_table(residuals(dataset, self.predict(dataset.frames, progress=progress)))

    def learning_curve(
        self, train: Any, test: Any, sizes: Sequence[int] | None = None, *, progress: bool = False
    ) -> LearningCurve:
        """Return errors on test frames after more and more training frames; the force field is not changed.

        Parameters
        ----------
        train, test : anything that :func:`castile.data.read` takes
        sizes : sequence of int, optional
            Numbers of training frames, rising; by default five up to all.
        progress : bool

        Notes
        -----
        Sparse points and lengths are those of all training frames; only labels are taken in bit by bit, so that the
        whole curve costs one fit.
        """
        own, dataset = self._without_reference(train)
        return learning_curve(own, dataset, self._learnable(test), sizes, progress)

    def tune(self, frames: Any, *, budget: float = 600.0, progress: bool = False) -> ForceField:
        """Set ``terms``, and the noise of energies, to what predicts held-out frames best; does not fit.

        Parameters
        ----------
        frames : anything that :func:`castile.data.read` takes
        budget : float
            In seconds; of what is tried in that time, the best is taken.
        progress : bool
            Print each trial.

        Returns
        -------
        self
            With the attribute ``tuning_``, a table of the trials.
        """
        self.tuning_, parameters = tune(*self._without_reference(frames), budget, progress)
        return self.set_params(**parameters)  # type: ignore[no-any-return]

    def compress(self, frames: Any, *, tolerance: float = 0.05, progress: bool = False) -> ForceField:
        """Fit a faster force field with fewer features.

        Tried are projections of the features (principal components, and features chosen by CUR), fewer but optimal
        radial functions, lower degrees and a quadratic kernel.

        Parameters
        ----------
        frames : anything that :func:`castile.data.read` takes
            The training data; a fifth is held out to compare, the result is fitted to all of it.
        tolerance : float
            By how much mean absolute errors may grow, as a share, on average over energies, forces and stresses.
        progress : bool
            Print each candidate.

        Returns
        -------
        ForceField
            Another one, with the attribute ``compression_``, a table of what each candidate costs and gives.
        """
        self._require_fitted()
        own, dataset = self._without_reference(frames)
        table = compress(own, dataset, tolerance, progress)
        faster = clone(own).set_params(terms=table.chosen.terms, **dict.fromkeys(OF_PRESETS))
        faster.fit(dataset, progress=progress)
        faster.set_params(reference=self.reference, repulsion=self.repulsion)
        faster.compression_ = table
        return faster  # type: ignore[no-any-return]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted force field to one file; an older one is replaced when all of it is on the disk.

        Sums over rows are not in the file: what is loaded predicts, but takes in no further frames. The file is
        described in ``docs/model_file.md``; loading it never runs code.

        Raises
        ------
        FileWriteError
            If the disk is full or fails.
        """
        self._require_fitted()
        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, reference: Any = None) -> ForceField:
        """Read what :meth:`save` wrote; ``castile.load`` does the same.

        Parameters
        ----------
        path : str or path-like
        reference : ASE calculator, optional
            That of the fit, if there was one.

        Raises
        ------
        FileReadError
            If the file is missing, damaged, something else, or of a newer version.
        """
        return load(cls(reference=reference), path)

    def calculator(self, **options: Any) -> Calculator | SumCalculator:
        """Return an ASE calculator; options are those of :class:`castile.calculator.Calculator`.

        With a reference calculator the two are summed, by ASE's ``SumCalculator``.
        """
        from castile.calculator import Calculator

        self._require_fitted()
        own = Calculator(self, **options)
        return own if self.reference is None else SumCalculator([own, self.reference])

    # ------------------------------------------------------------------ steps

    @property
    def baseline_energies_(self) -> FloatArray:
        """Reference energy of each species in eV."""
        return np.asarray(self.foundation_.baseline.energies)

    def _read(self, frames: Any) -> Dataset:
        return frames if isinstance(frames, Dataset) else data.read(frames)

    def _learnable(self, frames: Any) -> Dataset:
        """Return labeled frames without what the reference calculator says about them."""
        dataset = self._read(frames)
        if self.reference is not None:
            # A reference may take hours: what is wrong beside it is said before.
            check_parameters(self)
            terms_of(self)
            survey(dataset, self.species, self.noise, self.baseline)
        return subtract_reference(self.reference, dataset)

    def _without_reference(self, frames: Any) -> tuple[ForceField, Dataset]:
        """Return this force field and data as if there were no reference calculator, which is asked just once."""
        dataset = self._learnable(frames)
        if self.reference is None:
            return self, dataset
        own = copy.copy(self)
        own.repulsion, own.reference = repels(self), None
        return own, dataset

    def _plan(self, foundation: Foundation) -> MemoryPlan:
        """Return the memory that rows may take."""
        limit = _checks.integer("max_memory", self.max_memory, 1, 1 << 60)
        return plan_memory(limit, foundation.whitening.n_columns, foundation.whitening.n_whitened)

    def _columns(self) -> Columns:
        """Return what makes rows; it packs the sparse points, and is kept."""
        if self._columns_of is None or self._columns_of[0] is not self.foundation_:
            self._columns_of = (self.foundation_, self.foundation_.columns())
        return self._columns_of[1]

    def _checkpoint(self, path: str | os.PathLike[str] | None, given: Dataset, dataset: Dataset) -> Checkpoint:
        """Return what keeps the sums over a dataset, which is known by the labels that were given."""
        return Checkpoint(path, "" if path is None else f"{fingerprint(given)}/{self._digest(dataset)}")

    def _accumulate(self, dataset: Dataset, keeper: Checkpoint, progress: bool) -> None:
        """Add rows to the sums, all or, if that is broken off, none."""
        state = keeper.resume(NormalEquations(self.state_.n_columns))
        done = int(state.notes.pop("frames_of_this", 0))
        rest = learned_part(dataset.subset(slice(done, None)), self.foundation_)
        for n_frames, rows in self._tracked(self._chunks(rest), len(rest), progress):
            for part in rows:
                state.add(part.kind, part.rows, part.targets)
            done += n_frames
            keeper.keep(state, done)
        state.notes.update(frames=len(dataset), fingerprints=[fingerprint(dataset)])
        self._take_in(state)

    def _take_in(self, state: NormalEquations, *, shared: bool = False) -> None:
        """Add sums and what they are of; those that are shared with another force field stay as they are."""
        notes = self.state_.notes
        frames = int(notes.get("frames", 0)) + int(state.notes.get("frames", 0))
        known, new = notes.get("fingerprints", []), state.notes.get("fingerprints", [])
        if set(known) & set(new):
            raise InputError("frames holds data that are in the sums already; each set of frames must be added once")
        fingerprints = [*known, *new]
        if sum(self.state_.n_rows.values()) == 0 and not shared:
            self.state_ = state
        else:
            self.state_.merge(state)
        self.state_.notes.update(frames=frames, fingerprints=fingerprints)

    def _digest(self, dataset: Dataset) -> str:
        """Return what tells rows of this force field from those of others."""
        first = learned_part(dataset.subset(slice(0, 1)), self.foundation_)
        return f"{self.foundation_.digest()}/{fingerprint(first)}"

    def _chunks(self, dataset: Dataset) -> Iterator[tuple[int, Any]]:
        return row_chunks(self._columns(), dataset, self.foundation_.noise, self._plan(self.foundation_))

    def _solve_by_rows(
        self, dataset: Dataset, noise: dict[str, float], precision: FloatArray, progress: bool
    ) -> Solution:
        state = TriangularState(self.foundation_.whitening.n_whitened, noise)
        rest = learned_part(dataset, self.foundation_)
        for _, rows in self._tracked(self._chunks(rest), len(rest), progress):
            for part in rows:
                state.add(part.kind, part.rows, part.targets)
        return state.solve(precision)

    def _posterior(self) -> Posterior:
        self._require_fitted()
        factors = {} if self.calibration_ is None else self.calibration_.factors
        plan = self._plan(self.foundation_)
        return Posterior(self._columns(), self.solution_, self.prior_, factors, plan.usual)

    def _make_potential(self) -> None:
        self.potential_ = self.foundation_.potential(self.weights_)
        self._committee = None

    def _committee_potential(self, n: int, seed: int) -> _core.Potential:
        """Return the potential with members drawn from the posterior; the last one is kept."""
        if self._committee is None or self._committee[0] != (n, seed):
            members = self._posterior().members(n, seed)
            self._committee = ((n, seed), self.foundation_.potential(self.weights_, members))
        return self._committee[1]

    def _known_frames(self, frames: Any) -> list[Atoms]:
        """Return frames of species that are known."""
        self._require_fitted()
        atoms_list = as_frames(frames)
        trained_species_table(self.species_, as_structure_arrays(atoms_list).numbers)
        return atoms_list

    @staticmethod
    def _tracked(chunks: Iterator[tuple[int, Any]], total: int, progress: bool) -> Iterator[tuple[int, Any]]:
        return track(((n, (n, rows)) for n, rows in chunks), total, "rows", progress)

    def _require_prepared(self) -> None:
        if not hasattr(self, "state_"):
            raise NotFittedError("this ForceField has no sums over rows; call prepare (or fit) first")

    def _require_fitted(self) -> None:
        if not hasattr(self, "potential_"):
            raise NotFittedError("this ForceField is not fitted; call fit with labeled frames first")


def _storable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of a table of errors with None for what is no number: R² of labels that are all the same."""

    def stored(value: Any) -> Any:
        return None if isinstance(value, float) and np.isnan(value) else value

    return [{name: stored(value) for name, value in row.items()} for row in rows]
