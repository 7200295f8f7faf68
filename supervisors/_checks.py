"""Checks of arguments: each returns the faults it found, as sentences."""

from __future__ import annotations

from math import inf, isnan
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
        and not isnan(value)
        and value < inf
        and (value > 0 if positive else value >= 0)
    ):
        return []
    rule = "> 0" if positive else ">= 0"
    return [f"expected {name} to be seconds {rule}{or_else}, got {value!r}"]


def instance(name: str, value: object, kind: type | Callable[..., object], told: str) -> list[str]:
    """Check that a value is of a type; ``told`` says which in words."""
    return [] if isinstance(value, kind) else [f"expected {name} to be {told}, got {value!r}"]
