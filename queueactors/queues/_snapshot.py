"""Snapshots of values: what a channel keeps is nobody else's to change.

Containers are copied, at any depth. What cannot be meant to be sent is refused. Objects of other
classes are handed over as they are: a message may well carry an event, or a channel to answer on.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from copy import copy, deepcopy
from functools import partial
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import TYPE_CHECKING, Final

import trio

from ._handle import QueueHandle

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_REFUSED: Final[Mapping[str, tuple[type, ...]]] = {
    "a function": (FunctionType, BuiltinFunctionType, MethodType, partial),
    "a coroutine": (CoroutineType,),
    "a generator": (GeneratorType, AsyncGeneratorType),
    "a queue": (QueueHandle,),
    "a lock": (
        type(threading.Lock()),
        type(threading.RLock()),
        threading.Condition,
        threading.Semaphore,
        trio.Lock,
        trio.Condition,
        trio.Semaphore,
        trio.CapacityLimiter,
    ),
    "an open file": (io.IOBase,),
}
_REFUSED_TYPES: Final = tuple(type_ for types in _REFUSED.values() for type_ in types)


def snapshot(value: object) -> object:
    """Return a value that its sender cannot change any more.

    Raises:
      TypeError: If it is, or contains, what cannot be sent.
    """
    return value if type(value) in _PLAIN else _copied(value, {})


def _copied(value: object, known: dict[int, object]) -> object:  # noqa: C901, PLR0911 - a table of types
    """Return a copy of a value; ``known``: those of the containers that it stands in, by id."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, _REFUSED_TYPES):
        _refuse(value)
    if id(value) in known:
        return known[id(value)]
    match value:
        case list() | deque():
            known[id(value)] = new = copy(value)
            new.clear()
            new.extend(_copied(each, known) for each in value)
            return new
        case dict():
            known[id(value)] = fresh = copy(value)
            for key, each in value.items():
                _copied(key, known)  # it cannot be changed, but may be what cannot be sent
                fresh[key] = _copied(each, known)
            return fresh
        case tuple():
            each_one = [_copied(each, known) for each in value]
            if all(map(_is, each_one, value)):
                return value
            make = getattr(type(value), "_make", type(value))  # a named tuple's
            return make(each_one)
        case set() | frozenset():
            for each in value:
                _copied(each, known)
            return copy(value)
        case bytearray():
            return copy(value)
    return deepcopy(value) if hasattr(type(value), "__deepcopy__") else value


def _is(one: object, other: object) -> bool:
    return one is other


def _refuse(value: object) -> None:
    what = next(what for what, types in _REFUSED.items() if isinstance(value, types))
    raise TypeError(
        f"{what} cannot be sent, got {value!r}; a channel with snapshot=False takes anything"
    )
