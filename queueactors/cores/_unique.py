"""Which values are in a queue, by Python's equality: also values that cannot be hashed."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import final


@final
class _Wrapped:
    """Makes an unhashable value usable in a set, equal to what the value equals.

    Its hash is taken once: a value that its owner changes later is still found.
    """

    __slots__ = ("_hash", "_value")

    def __init__(self, value: object) -> None:
        self._value = value
        self._hash = _hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return bool(self._value == (other._value if isinstance(other, _Wrapped) else other))


def _hash(value: object) -> int:  # noqa: PLR0911 - one line a type
    """Return a hash that is the same for equal values of the built-in types."""
    try:
        return hash(value)
    except (TypeError, ValueError):  # a writable memoryview says ValueError
        pass
    match value:
        case AbstractSet():
            return hash(frozenset(map(_Wrapped, value)))
        case bytearray() | memoryview():
            return hash(bytes(value))
        case Mapping():
            return hash(frozenset(_hash(key) for key in value))
        case tuple():
            return hash(tuple(_Wrapped(item) for item in value))
        case list():
            return hash((list, *(_hash(item) for item in value)))
        case _:
            return 0  # an unknown type: right, but slow in large numbers


class UniqueValues:
    """The values of the messages in a queue.

    They are counted: a message that was on its way to another queue and comes back finds that
    an equal one may have taken its place.
    """

    def __init__(self) -> None:
        self._counts: dict[object, int] = {}
        self._wrapped: dict[int, _Wrapped] = {}  # by message id, the unhashable ones

    def __contains__(self, value: object) -> bool:
        try:
            return value in self._counts
        except (TypeError, ValueError):
            return _Wrapped(value) in self._counts

    def add(self, id: int, value: object) -> None:
        """Add the value of message ``id``."""
        counts = self._counts
        try:
            counts[value] = counts.get(value, 0) + 1
        except (TypeError, ValueError):
            wrapped = self._wrapped[id] = _Wrapped(value)
            counts[wrapped] = counts.get(wrapped, 0) + 1

    def discard(self, id: int, value: object) -> None:
        """Remove the value of message ``id``."""
        key = (self._wrapped.pop(id, None) or value) if self._wrapped else value
        count = self._counts.pop(key, 0)
        if count > 1:
            self._counts[key] = count - 1

    def clear(self) -> None:
        """Remove all."""
        self._counts.clear()
        self._wrapped.clear()
