"""Reading structures with labels, wherever programs keep them, and checking them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from castile._checks import flag
from castile.data._collect import Keys, find_groups, find_isolated, find_labels, find_weights, mask_forces
from castile.data._labels import Frame
from castile.data._sources import load
from castile.data._weights import group_weights
from castile.data.dataset import Dataset
from castile.data.joining import concatenate
from castile.errors import InputError
from castile.structures import as_structure_arrays

__all__ = ["read"]


def read(
    source: Any,
    *,
    index: str = ":",
    format: str | None = None,
    energy_key: str | bool | None = None,
    forces_key: str | bool | None = None,
    stress_key: str | bool | None = None,
    virial_key: str | bool | None = None,
    group_key: str | bool | None = None,
    force_mask_key: str | bool | None = None,
    weights: Any = None,
    file_weights: bool = True,
    allow_nan: bool = False,
    allow_unlabeled: bool = False,
    progress: bool = False,
) -> Dataset:
    """Read structures with energies, forces and stresses, and check them.

    Parameters
    ----------
    source : path, list of paths, frames, Dataset, or list of Dataset
        A path of anything that ASE reads; frames are one ``ase.Atoms`` or a sequence of them. A Dataset is
        returned as it is, with ``weights`` multiplied into its own; what else it holds was decided when it was read.
    index : str, default=":"
        Which frames of each path, as in ``ase.io.read``: ``":100"``, ``"::10"``, ``"-1"``.
    format : str, optional
        ASE's name of the format; by default guessed.
    energy_key, forces_key, stress_key, virial_key : str or False, optional
        Where the labels are: a result of the calculator, or a key of ``atoms.info`` (of ``atoms.arrays`` for forces).
        False leaves that kind out. By default, whatever ASE's readers leave as results of a calculator, and the
        customary keys, in small or capital letters: ``REF_energy``, ``dft_energy``, ``energy`` and ``E``;
        ``REF_forces``, ``dft_forces``, ``forces``, and all of them without the s; ``REF_stress``, ``dft_stress``,
        ``stress``; ``REF_virial``, ``dft_virial``, ``virial``, and with an s. If a stress or a virial is named, the
        other is looked for only if it is named, too.
    group_key : str or False, optional
        Key of ``atoms.info`` that names the group of a frame; by default ``config_type``, else ``group``.
    force_mask_key : str or False, optional
        Key of ``atoms.arrays`` that is true for atoms whose force is left out (as in GAP); by default ``force_mask``.
    weights : dict, optional
        Factors of 1/sigma by group: ``{"liquid": 0.5}``, or ``{"liquid": {"energy": 0.5, "force": 0.1, "stress": 0}}``.
        Zero leaves the labels out; groups that are not named keep 1.
    file_weights : bool, default=True
        Use what ``info`` says: ``config_weight`` and ``config_energy_weight`` or ``energy_weight`` (``forces``,
        ``stress``, ``virials`` alike), which weigh squared errors, so that their roots are the factors of 1/sigma;
        ``energy_sigma``, ``force_sigma``, ``virial_sigma`` or ``stress_sigma``, and ``force_atom_sigma`` of
        ``atoms.arrays``: standard deviations of the labels themselves (of the total energy and the virial, not per
        atom).
    allow_nan : bool, default=False
        Take labels that are NaN or infinite as missing, instead of refusing them.
    allow_unlabeled : bool, default=False
        Accept frames none of which has a label.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    Dataset
        What is missing is NaN. ``print(dataset.table())`` shows what was found, with notes on what was decided.

    Raises
    ------
    FileReadError
        If a file is missing, damaged or cut off.
    InputError
        If two labels of a kind disagree (the message guesses at sign and units), a label has a wrong shape, is not
        finite or belongs to other positions, a virial is not symmetric, a named key or group does not exist, a weight
        is negative, a frame has no atoms, or nothing has labels.
    InputTypeError
        If the source holds something else than structures.

    Notes
    -----
    *Energy.* Forces and stresses are derivatives of what ASE calls ``free_energy``, which differs from ``energy``
    if occupations are smeared. It is taken if every frame with a calculator's energy has it; otherwise ``energy`` is,
    in all frames.

    *Stress and virial* may be 3x3, nine, or six numbers, which stand for xx, yy, zz, yz, xz, xy. Six numbers in the
    order of VASP's output (xx, yy, zz, xy, yz, zx) must be rearranged before. The stress is ASE's, dE/dstrain /
    volume in eV/Å³, positive under tension; the virial is minus stress times volume, in eV. Where both are present
    they must agree to 1e-3 of the largest component. Frames that are not periodic along three axes have no stress:
    labels are ignored, with a note.

    *Isolated atoms* are frames of one atom that is not periodic, or whose images are 10 Å away or more, or whose group
    is named ``isolated_atom``, ``IsolatedAtom`` or the like.

    Labels are taken as they are stored: constraints of ASE do not change forces.

    Examples
    --------
    >>> from castile import data, datasets
    >>> dataset = data.read(datasets.load())
    >>> dataset.energies.shape, dataset.forces.shape, dataset.stresses.shape
    ((140,), (1120, 3), (140, 6))
    >>> quick = data.read("train.xyz", index="::10", energy_key="REF_energy", weights={"liquid": 0.5})  # doctest: +SKIP
    """
    if isinstance(source, (list, tuple)) and source and all(isinstance(part, Dataset) for part in source):
        source = concatenate(source)
    keys = Keys(energy_key, forces_key, stress_key, virial_key, group_key, force_mask_key)
    if isinstance(source, Dataset):
        options = (index, format, file_weights, allow_nan)
        if any(key is not None for key in keys) or options != (":", None, True, False):
            raise InputError("a Dataset has its labels already; read them again in another way from dataset.frames")
        return _reweighted(source, weights)
    flags = {"file_weights": file_weights, "allow_nan": allow_nan, "allow_unlabeled": allow_unlabeled}
    for name, value in flags.items():
        flag(name, value)
    atoms_list, names = load(source, index, format)
    dataset = _labeled(atoms_list, names, keys, file_weights, allow_nan=allow_nan, progress=progress)
    if not allow_unlabeled and not (dataset.has_energy.any() or dataset.has_forces.any() or dataset.has_stress.any()):
        raise InputError(_nothing_found(dataset))
    return _reweighted(dataset, weights)


def _labeled(
    atoms_list: list[Atoms], names: list[str], keys: Keys, file_weights: bool, *, allow_nan: bool, progress: bool
) -> Dataset:
    for atoms, name in zip(atoms_list, names, strict=True):
        if len(atoms) == 0:
            raise InputError(f"{name} has no atoms; leave it out")
        _check_header(atoms, name)
    as_structure_arrays(atoms_list)  # checks positions and cells
    frames = [Frame.of(atoms, name) for atoms, name in zip(atoms_list, names, strict=True)]
    keys = keys.checked(frames)
    groups = find_groups(frames, keys.group)
    arrays, notes = find_labels(frames, keys, allow_nan=allow_nan, progress=progress)
    notes += mask_forces(arrays["forces"], frames, keys.force_mask)
    isolated, named_only = find_isolated(frames, groups)
    if file_weights:
        weights, about_weights = find_weights(frames)
        arrays |= weights
        notes += about_weights
    dataset = Dataset.from_arrays(atoms_list, groups=groups, isolated=isolated, **arrays)
    return replace(dataset, notes=(*notes, *named_only))


def _check_header(atoms: Atoms, name: str) -> None:
    """Raise if cell or columns of an extended XYZ file were passed over, which ASE does without a word."""
    for key, value in atoms.info.items():
        name_in_file = str(key).lower()
        lost_cell = name_in_file == "lattice" and np.size(value) == 9 and not atoms.cell.any()
        lost_columns = name_in_file == "properties" and str(value).startswith("species:")
        if lost_cell or lost_columns:
            lost = "cell" if lost_cell else "columns"
            raise InputError(
                f"{name}: info[{key!r}] was not understood by ASE, which knows it as {name_in_file.capitalize()!r} "
                f"only, so that the {lost} of the file went unread; spell it so in the file"
            )


def _reweighted(dataset: Dataset, weights: Any) -> Dataset:
    if weights is None:
        return dataset
    energy, force, stress = group_weights(weights, dataset.groups)
    return dataset.with_weights(
        energy=dataset.energy_weights * energy,
        force=dataset.force_weights * force,
        stress=dataset.stress_weights * stress,
    )


def _nothing_found(dataset: Dataset) -> str:
    if len(dataset) == 0:
        return "source holds no frames"
    info = dict.fromkeys(str(key) for atoms in dataset.frames for key in atoms.info)
    arrays = dict.fromkeys(key for atoms in dataset.frames for key in atoms.arrays)
    named = ", ".join(key for key in arrays if key not in ("numbers", "positions"))
    return (
        f"none of the {len(dataset)} frames has an energy, forces or a stress under a customary name; info holds "
        f"{', '.join(info) or 'nothing'}, arrays hold {named or 'nothing'}: name the labels with energy_key, "
        "forces_key and stress_key or virial_key, or give allow_unlabeled=True"
    )
