"""Pickles that say which version of Castile wrote them."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from castile._core import __version__
from castile.errors import InputError

__all__ = ["VersionedPickle"]

_VERSION = "_castile_version"


class VersionedPickle:
    """Mixin of estimators, before ``BaseEstimator``: a pickle is read if all that it holds is understood.

    Its state is the parameters and what ``fit`` learned, under names that are part of the public interface. A parameter
    that the writer did not have yet gets its default, with which this version does what that one did. What this version
    does not know, it refuses, as leaving it out would change results.
    """

    _fitted_names: ClassVar[tuple[str, ...]]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the version."""
        return {**super().__getstate__(), _VERSION: __version__}  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state that may be of another version."""
        state = dict(state)
        version = state.pop(_VERSION, None)
        if version != __version__:
            state = self._understood(state, version)
        super().__setstate__(state)  # type: ignore[misc]

    def _understood(self, state: dict[str, Any], version: str | None) -> dict[str, Any]:
        parameters = inspect.signature(type(self).__init__).parameters
        defaults = {name: parameters[name].default for name in self._get_param_names()}  # type: ignore[attr-defined]
        known = self._known_names()
        # What scikit-learn keeps is its own affair.
        unknown = [name for name in state if name not in known and not name.startswith(("_sklearn", "_metadata"))]
        if unknown:
            writer = f"Castile {version}" if version else "another version of Castile"
            raise InputError(
                f"this {type(self).__name__} was pickled by {writer} with {', '.join(unknown)}, which Castile "
                f"{__version__} does not know; read it with that version, or make it anew"
            )
        return {**defaults, **state}

    @classmethod
    def _known_names(cls) -> set[str]:
        """Return the parameters, also those that a subclass hides and its base stores, and what ``fit`` learns."""
        constructors = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
        parameters = [p for init in constructors for p in inspect.signature(init).parameters.values()]
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {*cls._fitted_names, *(p.name for p in parameters if p.kind in named)} - {"self"}
