"""Targets: ``"module:attr"`` in a configuration stands for an object of your program."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, cast

from supervisors import did_you_mean

from ._faults import error_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


class TargetError(ValueError):
    """A target does not lead to a callable; the message says why."""


class Targets:
    """Imports targets; a module that fails to import is tried once, not once a target."""

    def __init__(self) -> None:
        self._failed: dict[str, str] = {}

    def load(  # type: ignore[explicit-any] # user's own
        self, target: str, *, call: bool = True
    ) -> Callable[..., object]:
        """Return the callable that ``module:attr`` names; ``attr`` may be dotted.

        Args:
          target: The target.
          call: Whether it must be callable.

        Raises:
          TargetError: If there is none, or its module does not import.
        """
        module, colon, attr = target.partition(":")
        if not (module and colon and attr):
            raise TargetError(f"expected a target 'module:attr', got {target!r}")
        found: object = self._import(module)
        for part in attr.split("."):
            found = _attribute(found, part, target)
        if call and not callable(found):
            raise TargetError(f"{target!r} is not callable, it is a {type(found).__name__}")
        return cast("Callable[..., object]", found)  # type: ignore[explicit-any] # likewise

    def _import(self, name: str) -> ModuleType:
        if name not in self._failed:
            try:
                return importlib.import_module(name)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the module does
                self._failed[name] = f"module {name!r} does not import: {error_text(error)}"
        raise TargetError(self._failed[name])


def _attribute(owner: object, name: str, target: str) -> object:
    try:
        return getattr(owner, name)
    except AttributeError:
        hint = did_you_mean(name, [each for each in dir(owner) if not each.startswith("__")])
        raise TargetError(f"{target!r}: there is no {name!r}{hint}") from None
    except Exception as error:  # noqa: BLE001 - a module's own __getattr__
        raise TargetError(f"{target!r}: {name!r} fails: {error_text(error)}") from None


def target_text(found: object) -> str | None:
    """Return the target that leads to an object; None: no target does (a lambda, a method)."""
    name = f"{getattr(found, '__module__', '')}:{getattr(found, '__qualname__', '')}"
    try:
        return name if Targets().load(name) is found else None
    except TargetError:
        return None


def make_importable(directory: str) -> None:
    """Let modules beside the configuration be imported, now and later.

    For good: a handler may import its siblings when it first runs.
    """
    directory = os.path.abspath(directory)  # noqa: PTH100 - Path would resolve links
    if directory not in sys.path:
        sys.path.insert(0, directory)
    importlib.invalidate_caches()
