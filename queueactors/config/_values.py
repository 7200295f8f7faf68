"""Converts one value as an annotation says: strictly, and without reporting anything.

Own code rather than cattrs: each fault must stand at its own key and line, text from variables is
converted more freely than other text, and secrets stay out of messages. With cattrs that was a
hook for each of these rules, and a walk over its errors to find the keys again.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from math import isfinite
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

import attrs

from queueactors._codecs import BUILT_IN
from queueactors._options import Means
from queueactors.retry import Exponential, RetryPolicy
from supervisors import Backoff

from ._durations import SPELLING, parse_duration
from ._faults import or_text

if TYPE_CHECKING:
    from ._targets import Targets

_ARRAYS = (tuple, list)
_NAMES: Mapping[object, str] = {
    bool: "true or false",
    int: "an int",
    float: "a number",
    str: "a string",
    pathlib.Path: "a path",
    Means.SECONDS: f"seconds >= 0 or a duration such as {SPELLING}",
    Means.TARGET: "a target 'module:attr'",
    Means.CODEC: f"one of {', '.join(map(repr, BUILT_IN))}, or a target 'module:Class'",
    Means.PACE: f"seconds >= 0, a duration such as {SPELLING}, a target 'module:attr', or a table",
    Means.RETRY: "a table with policy = 'fixed', 'linear' or 'exponential', or a target",
}
_STAND_INS: Mapping[object, object] = {
    bool: False,
    int: 1,
    float: 1.0,
    str: "x",
    Means.SECONDS: 1.0,
    Means.TARGET: callable,
    Means.CODEC: "msgpack",
    Means.PACE: 1.0,
    Means.RETRY: Exponential(),
    Backoff: Backoff(),
}


class MismatchError(Exception):
    """A value is not what its annotation says."""


def split(hint: object) -> tuple[object, tuple[object, ...]]:
    """Return what sort of annotation it is, and its parts; for our own, what it means."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        meaning = next((each for each in args[1:] if isinstance(each, Means)), None)
        return split(args[0]) if meaning is None else (meaning, ())
    if origin in {Union, UnionType}:
        return Union, args
    return (hint, ()) if origin is None else (origin, args)


def describe(hint: object) -> str:
    """Return what an annotation accepts, in words."""
    sort, args = split(hint)
    if sort is Union:
        return or_text([describe(arg) for arg in args if arg is not NoneType])
    if sort is Literal:
        return or_text([repr(arg) for arg in args])
    if sort in _ARRAYS:
        return "an array"
    if sort in {dict, Mapping} or is_attrs(sort):
        return "a table"
    return _NAMES.get(sort) or str(getattr(sort, "__name__", sort))


def choices(hint: object) -> list[str]:
    """Return the words that an annotation lists."""
    sort, args = split(hint)
    if sort is Union:
        return [word for arg in args for word in choices(arg)]
    return [str(arg) for arg in args] if sort is Literal else []


def stand_in(hint: object) -> object:
    """Return any value that an annotation accepts, in place of one that it refused."""
    sort, args = split(hint)
    if sort is Union:
        return stand_in(next(arg for arg in args if arg is not NoneType))
    if sort is Literal:
        return args[0]
    return () if sort in _ARRAYS else _STAND_INS.get(sort)


def is_attrs(sort: object) -> bool:
    """Whether an annotation is an attrs class."""
    return isinstance(sort, type) and attrs.has(sort)


def scalar(sort: object, value: object, targets: Targets, *, loose: bool) -> object:
    """Convert a value that is no table, array or choice.

    Args:
      sort: What to convert it to, from `split`.
      value: The value.
      targets: For those that are targets.
      loose: It came from a variable, so that text may stand for a number.

    Raises:
      MismatchError: If the value is of another sort.
      TargetError: If it is a target that leads nowhere.
    """
    if isinstance(sort, Means):
        return _meant(sort, value, targets, loose=loose)
    if sort in {object, Any} or not isinstance(sort, type):
        return value
    return _plain(sort, value, loose=loose)


def _meant(sort: Means, value: object, targets: Targets, *, loose: bool) -> object:
    """Convert a value that stands for something beyond its type."""
    if sort is Means.SECONDS:
        return _seconds(value, loose=loose)
    if isinstance(value, str) and (sort is Means.TARGET or ":" in value):
        return targets.load(value, call=sort in {Means.TARGET, Means.CODEC})
    if sort is Means.TARGET:
        return _checked(value, callable(value))
    if sort is Means.PACE and not (callable(value) or isinstance(value, RetryPolicy)):
        return _seconds(value, loose=loose)
    return value


def _seconds(value: object, *, loose: bool) -> float:
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        seconds = cast("float", _plain(float, value, loose=loose))
    _checked(seconds, isfinite(seconds) and seconds >= 0)
    return seconds


def _plain(sort: type, value: object, *, loose: bool) -> object:
    if loose and isinstance(value, str) and sort in _READ:
        return _read(sort, value)
    if sort is float and type(value) is int:
        return _read(float, value)
    if sort is pathlib.Path and isinstance(value, str):
        return pathlib.Path(value)
    is_bool = isinstance(value, bool) and sort is not bool
    return _checked(value, isinstance(value, sort) and not is_bool)


def _read(sort: type, value: object) -> object:
    try:
        return _READ[sort](value)
    except (ValueError, KeyError, OverflowError):
        raise MismatchError from None


def _checked(value: object, right: bool) -> object:  # noqa: FBT001 - the check's result
    if not right:
        raise MismatchError
    return value


_READ: Mapping[type, Callable[[Any], object]] = {  # type: ignore[explicit-any] # text or a number
    bool: {"true": True, "false": False}.__getitem__,
    int: int,
    float: float,
}
