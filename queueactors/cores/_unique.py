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
    except TypeError:
        pass
    match value:
        case AbstractSet():
            return hash(frozenset(value))
        case bytearray():
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
    """The values of the messages in a queue."""

    def __init__(self) -> None:
        self._values: set[object] = set()
        self._wrapped: dict[int, _Wrapped] = {}  # by message id, the unhashable ones

    def __contains__(self, value: object) -> bool:
        try:
            return value in self._values
        except TypeError:
            return _Wrapped(value) in self._values

    def add(self, id: int, value: object) -> None:
        """Add the value of message ``id``."""
        try:
            self._values.add(value)
        except TypeError:
            wrapped = self._wrapped[id] = _Wrapped(value)
            self._values.add(wrapped)

    def discard(self, id: int, value: object) -> None:
        """Remove the value of message ``id``."""
        self._values.discard(self._wrapped.pop(id, None) or value)

    def clear(self) -> None:
        """Remove all."""
        self._values.clear()
        self._wrapped.clear()
