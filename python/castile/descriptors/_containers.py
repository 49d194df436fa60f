"""The forms in which frames come and rows go: pandas and scipy.sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn import get_config

from castile._memory import require_memory
from castile._optional import import_optional

__all__ = ["is_series", "output_container", "require_container", "require_memory_for_rest", "stack_sparse"]


def is_series(frames: Any) -> bool:
    """Return True for a pandas Series."""
    # "pandas.core.series" before version 3, "pandas" since.
    return type(frames).__module__.partition(".")[0] == "pandas" and hasattr(frames, "index")


def output_container(estimator: Any) -> str:
    """Return the container that set_output asked for: default, pandas or polars."""
    own = getattr(estimator, "_sklearn_output_config", {})
    return str(own["transform"] if "transform" in own else get_config()["transform_output"])


def require_container(estimator: Any) -> None:
    """Raise MissingPackageError, before anything is computed, if set_output asked for what is not installed."""
    container = output_container(estimator)
    if container in ("pandas", "polars"):
        install = "castile[pandas]" if container == "pandas" else container
        import_optional(container, f"set_output(transform={container!r})", install, "set_output(transform='default')")


def require_memory_for_rest(parts: list[Any], n_done: int, n_rows: int) -> None:
    """Refuse sparse rows that will not fit, judged by those that are done; the joined copy needs as much again."""
    done = sum(array.nbytes for part in parts for array in part)
    if n_done:
        require_memory(
            done + 2 * done * (n_rows - n_done) // n_done,
            f"the rest of the {n_rows} sparse rows",
            "transform fewer frames at a time, choose centers, or use average=",
        )


def stack_sparse(parts: list[Any], n_rows: int, n_features: int, dtype: str) -> sp.csr_array:
    """Join the rows of all chunks."""
    n_stored = sum(len(values) for values, _, _ in parts)
    # Many estimators of scikit-learn accept 32-bit indices only.
    index_type = np.int32 if max(n_stored, n_features) < 2**31 else np.int64
    offsets = [np.zeros(1, dtype=index_type)]
    stored = 0
    for values, _, row_offsets in parts:
        offsets.append((row_offsets[1:] + stored).astype(index_type))
        stored += len(values)
    if len(parts) == 1:  # which needs no copy
        values, columns = parts[0][0], parts[0][1].astype(index_type, copy=False)
    else:
        values = np.concatenate([np.zeros(0, dtype), *(part[0] for part in parts)])
        columns = np.concatenate([np.zeros(0, index_type), *(part[1] for part in parts)]).astype(index_type, copy=False)
    return sp.csr_array((values, columns, np.concatenate(offsets)), shape=(n_rows, n_features))
