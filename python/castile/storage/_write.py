"""The work of ``descriptor.transform_to``: frames in, a complete file out, or something to go on from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castile import _checks
from castile.descriptors._input import DescriptorInput
from castile.descriptors._streaming import FrameStream, checked_chunk_size, feature_chunk
from castile.errors import CastileError, FileReadError, FileWriteError, InputError
from castile.io import check_folder
from castile.progress import track
from castile.storage._fingerprint import Fingerprint
from castile.storage._formats import Format, choose_format
from castile.storage._header import array_types, check_header, make_header
from castile.storage._journal import Commit
from castile.storage._staging import Staging, staging_folder
from castile.storage._store import FeatureStore, open_features, read_metadata

__all__ = ["write_features"]


def write_features(
    descriptor: Any,
    path: str | os.PathLike[str],
    frames: Any,
    centers: Any,
    groups: Any,
    *,
    format: str | None,
    chunk_size: int | None,
    overwrite: bool,
    resume: bool,
    progress: bool,
) -> FeatureStore:
    """Do the work of :meth:`castile.SOAP.transform_to`."""
    kind = choose_format(Path(path), format)
    kind.require()
    overwrite, resume = _checks.flag("overwrite", overwrite), _checks.flag("resume", resume)
    size = checked_chunk_size(chunk_size)
    stream = FrameStream(descriptor, frames, centers, groups)
    header = make_header(descriptor, kind.name, groups is not None)
    target = Path(os.path.realpath(path))
    if resume and (_was_just_finished(target) or (_is_finished(target) and not overwrite)):
        _check_finished(descriptor, stream, header, target, progress)
        return open_features(target)
    _check_target(kind, target, overwrite=overwrite, resume=resume)
    with _errors_of_the_system(target):
        staging = Staging(staging_folder(target), forget=overwrite and not resume)
    try:
        _open(staging, header, target, resume)
        fingerprint = _fill(descriptor, stream, staging, size, progress)
        metadata = _metadata(descriptor, staging, fingerprint)
        with _errors_of_the_system(target, staging):
            kind.publish(staging.seal(), metadata, target, staging.work_folder())
        staging.remove()
    except BaseException:
        if staging.n_frames == 0:
            staging.remove()
        raise
    finally:
        staging.close()
    return open_features(target)


# ---------------------------------------------------------------- before


def _is_finished(target: Path) -> bool:
    """Tell whether the target is there and no later run has begun."""
    return target.exists() and not staging_folder(target).exists()


def _was_just_finished(target: Path) -> bool:
    """Tell whether the run was killed after its target got its name, and tidy up behind it."""
    folder = staging_folder(target)
    if not (target.exists() and folder.exists()):
        return False
    staging = Staging(folder)
    try:
        if staging.header is None:  # nothing to go on from
            staging.remove()
            return False
        finished: bool = staging.header["run"] == read_metadata(target)["run"]
        if finished:
            staging.remove()
        return finished
    except FileReadError:  # the target is something else
        return False
    finally:
        staging.close()


def _check_finished(
    descriptor: Any, stream: FrameStream, header: dict[str, Any], target: Path, progress: bool
) -> None:
    """Raise unless the target holds what this call would compute."""
    metadata = read_metadata(target)
    check_header(header, metadata, target)
    fingerprint = Fingerprint()
    weighted = ((given.structures.n_frames, given) for given in stream.chunks(None))
    digest, first = "", None
    for given in track(weighted, stream.total, f"comparing frames with {target.name}", progress):
        digest = fingerprint.add(given)
        first = given if first is None else first
    if digest != metadata["fingerprint"]:
        raise InputError(
            f"{target} is finished, but holds the features of other frames or centers ({metadata['n_frames']} frames; "
            f"now {stream.n_taken}); write elsewhere, or replace it with overwrite=True"
        )
    if first is not None:
        store = open_features(target)
        features, samples, _ = feature_chunk(descriptor, first)
        _require_same(features, store.rows(0, len(samples)), first.structures.n_frames - 1, target)
        _require_same(samples, store.samples(0, len(samples)), first.structures.n_frames - 1, target)


def _require_same(now: Any, then: Any, last: int, where: Path) -> None:
    """Catch what no parameter tells: a function of the user's that has changed, another compiler."""
    names = ("data", "indices", "indptr") if hasattr(now, "indptr") else (None,)
    for name in names:
        a, b = (np.asarray(rows if name is None else getattr(rows, name)) for rows in (now, then))
        if a.shape != b.shape or a.astype(b.dtype).tobytes() != b.tobytes():
            raise InputError(
                f"frames 0 to {last} have other features now than in {where}, though all parameters agree; "
                "start again with overwrite=True"
            )


def _check_target(kind: Format, target: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise if the output could not get its name in the end, before anything is computed."""
    check_folder(target.parent)
    # What is beside the target may be from the run that is resumed.
    for file in [target] if resume else kind.files(target):
        if file.exists() and not overwrite:
            raise InputError(f"{file} exists; choose another name, or replace it with overwrite=True")
    kind.check_overwritten(target)


def _open(staging: Staging, header: dict[str, Any], target: Path, resume: bool) -> None:
    """Go on from what is there, or start anew."""
    if staging.header is None:
        with _errors_of_the_system(target):
            staging.begin(header, array_types(header))
        return
    if not resume:
        raise InputError(
            f"{staging.folder} holds the features of {staging.n_frames} frames, from a run that did not end; "
            "continue it with resume=True, or discard it with overwrite=True"
        )
    check_header(header, staging.header, staging.folder)
    with _errors_of_the_system(target, staging):
        staging.resume(array_types(header))


# ---------------------------------------------------------------- during


def _fill(descriptor: Any, stream: FrameStream, staging: Staging, size: int | None, progress: bool) -> str:
    """Write the rows of all frames that are not there yet; return the fingerprint of all frames."""
    fingerprint = Fingerprint()
    digest = ""
    inputs = track(_inputs(stream, staging, size), stream.total, type(descriptor).__name__, progress)
    for given, commit in inputs:
        digest = fingerprint.add(given)
        if commit is not None:
            _check_written(descriptor, given, staging, commit, digest)
            continue
        arrays = _arrays(descriptor, given, staging.n_rows)
        with _errors_of_the_system(staging.folder, staging):
            staging.append(arrays, given.structures.n_frames, digest)
    if stream.n_taken == 0:
        raise InputError("frames is empty; give at least one ase.Atoms (an iterator gives its frames only once)")
    return digest


def _inputs(
    stream: FrameStream, staging: Staging, size: int | None
) -> Iterator[tuple[int, tuple[DescriptorInput, Commit | None]]]:
    """Yield (frames, (input, commit)): first what is written, cut as it was then, with its commit; then the rest."""
    for commit in list(staging.commits):
        given = stream.take(commit.frames - stream.n_taken)
        if stream.n_taken < commit.frames or given is None:
            raise InputError(
                f"frames ended after {stream.n_taken}, but {staging.n_frames} are written to {staging.folder}; "
                "give the same frames, from the first one on (an iterator gives its frames only once)"
            )
        yield given.structures.n_frames, (given, commit)
    for given in stream.chunks(size):
        yield given.structures.n_frames, (given, None)


def _check_written(descriptor: Any, given: DescriptorInput, staging: Staging, commit: Commit, digest: str) -> None:
    """Raise unless these are the frames that were written, with the values that they would get now."""
    last = commit.frames - 1
    if digest != commit.fingerprint:
        raise InputError(
            f"frames {given.structures.first_frame} to {last}, or their centers, differ from those that were written "
            f"to {staging.folder}; give the same frames, or start again with overwrite=True"
        )
    if commit is not staging.commits[0]:
        return
    empty = dict.fromkeys(staging.n_rows, 0)
    for name, values in _arrays(descriptor, given, empty).items():
        _require_same(values, staging.read(name, commit.rows[name]), last, staging.folder)


def _arrays(descriptor: Any, given: DescriptorInput, n_rows: dict[str, int]) -> dict[str, npt.NDArray[Any]]:
    """Compute rows to append, where the arrays have ``n_rows`` already."""
    features, samples, _ = feature_chunk(descriptor, given)
    if not descriptor.sparse:
        return {"features": features, "samples": samples}
    offsets = features.indptr.astype(np.int64) + n_rows["data"]
    parts = {"data": features.data, "indices": features.indices.astype(np.int32, copy=False)}
    return {**parts, "indptr": offsets[min(n_rows["indptr"], 1) :], "samples": samples}


def _metadata(descriptor: Any, staging: Staging, fingerprint: str) -> dict[str, Any]:
    header = staging.header or {}
    return {
        **header,
        "n_frames": staging.n_frames,
        "n_rows": staging.n_rows["samples"],
        "fingerprint": fingerprint,
        "feature_names": [str(name) for name in descriptor.get_feature_names_out()],
    }


@contextmanager
def _errors_of_the_system(target: Path, staging: Staging | None = None) -> Iterator[None]:
    """Turn a full disk and the like into an error that says what is safe."""
    try:
        yield
    except CastileError:
        raise
    except OSError as error:
        reason = " ".join((error.strerror or str(error)).split())
        remedy = "make room or write elsewhere"
        if staging is not None and staging.n_frames:
            remedy = (
                f"the first {staging.n_frames} frames are safe in {staging.folder}: when the cause is removed, "
                "call again with resume=True"
            )
        raised = FileWriteError(f"cannot write {error.filename or target} ({reason}); {remedy}")
        raised.errno = error.errno
        raise raised from error
