"""Checks of arguments: each returns the faults it found, as sentences."""

from __future__ import annotations

from math import inf
from typing import get_args


def one_of(name: str, value: object, choices: object) -> list[str]:
    """Check that a value is one of a ``Literal``'s."""
    known = get_args(choices)
    if value in known:
        return []
    return [f"expected {name} to be one of {', '.join(known)}, got {value!r}"]


def integer(name: str, value: object, *, least: int) -> list[str]:
    """Check that a value is an int, and at least ``least``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return []
    return [f"expected {name} to be an int >= {least}, got {value!r}"]


def boolean(name: str, value: object) -> list[str]:
    """Check that a value is True or False."""
    return [] if isinstance(value, bool) else [f"expected {name} to be a bool, got {value!r}"]


def seconds(name: str, value: object, *, positive: bool, or_else: str = "") -> list[str]:
    """Check that a value is a finite number of seconds, > 0 or >= 0.

    Args:
      name: Of the argument.
      value: What was given.
      positive: Whether 0 is refused.
      or_else: What else may stand there, for the message.
    """
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (0 < value < inf if positive else 0 <= value < inf)  # NaN is neither
    ):
        return []
    rule = "> 0" if positive else ">= 0"
    return [f"expected {name} to be seconds {rule}{or_else}, got {value!r}"]


def instance(name: str, value: object, kind: type, told: str) -> list[str]:
    """Check that a value is of a type; ``told`` says which in words."""
    return [] if isinstance(value, kind) else [f"expected {name} to be {told}, got {value!r}"]


def text(name: str, value: object) -> list[str]:
    """Check that a value is a string, and not an empty one."""
    if isinstance(value, str) and value:
        return []
    return [f"expected {name} to be a non-empty string, got {value!r}"]


def function(name: str, value: object) -> list[str]:
    """Check that a value can be called (whether it is async shows when it is)."""
    return [] if callable(value) else [f"expected {name} to be an async function, got {value!r}"]
