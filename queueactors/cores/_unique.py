"""Which values are in a queue, by Python's equality: also values that cannot be hashed.

A value's own ``__hash__`` and ``__eq__`` are foreign code. Nothing that they do later harms the
queue: the hash is taken once, and a comparison that raises says "different".
"""

from __future__ import annotations

from collections import UserList
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import TYPE_CHECKING, final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# What needs no wrapping: their hashing and comparing is Python's own.
_PLAIN = frozenset({str, bytes, int, float, bool, NoneType})


@final
class _Wrapped:
    """Makes any value usable in a dict, equal to what the value equals.

    Its hash is taken once: a value that its owner changes later is still found.
    """

    __slots__ = ("_hash", "_value")

    def __init__(self, value: object) -> None:
        self._value = value
        self._hash = _hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        value = other._value if isinstance(other, _Wrapped) else other
        try:
            return self._value is value or bool(self._value == value)
        except Exception:  # noqa: BLE001 - foreign code; the queue must go on
            return False


def _hash(value: object) -> int:  # noqa: PLR0911 - one line a type
    """Return a hash that is the same for equal values."""
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
            return hash(frozenset((_hash(key), _hash(item)) for key, item in value.items()))
        case tuple():
            return hash(tuple(_Wrapped(item) for item in value))
        case list() | UserList():
            return hash((list, *(_hash(item) for item in value)))
        case _:
            return _hash_of_unknown(value)


def _hash_of_unknown(value: object) -> int:
    cls = type(value)
    names = _compared(cls)
    if names is not None:
        return hash((cls, *(_hash(getattr(value, name)) for name in names)))
    if not isinstance(value == value, bool):  # noqa: PLR0124 - an array compares to an array
        raise TypeError(f"== of {cls.__name__} answers neither True nor False")
    # Right, but slow in large numbers: all values of the class, or of its subclasses, collide.
    return hash(next(base for base in cls.__mro__ if "__eq__" in vars(base)))


def _compared(cls: type) -> list[str] | None:
    """Return the fields that a class's generated ``==`` compares; None: it is written by hand."""
    code = getattr(cls.__eq__, "__code__", None)
    if code is None:  # in C: that of msgspec, which cannot be told to leave a field out
        return list(getattr(cls, "__struct_fields__", ())) or None
    if attrs.has(cls):
        names = [field.name for field in attrs.fields(cls) if field.eq]
    elif is_dataclass(cls):
        names = [field.name for field in fields(cls) if field.compare]
    else:
        return None
    reads = {*code.co_names} - {"__class__", "NotImplemented"}
    return names if code.co_filename.startswith("<") and reads == {*names} else None


def check_unique(values: Iterable[object]) -> None:
    """Refuse values that cannot be told apart, and so cannot go into a unique queue.

    Raises:
      TypeError: If the hash of one cannot be taken, or ``==`` does not answer with a bool; the
        cause says why.
    """
    for value in values:
        if type(value) not in _PLAIN:
            try:
                _hash(value)
            except Exception as error:
                raise TypeError(
                    "expected values of a unique queue to be comparable, "
                    f"got a {type(value).__name__}: {error}"
                ) from error


class UniqueValues:
    """The values of the messages in a queue.

    They are counted: a message that was on its way to another queue and comes back finds that
    an equal one may have taken its place.

    Args:
      decode: Makes the values to compare from those that come in; None: they are these.
    """

    def __init__(self, decode: Callable[[object], object] | None = None) -> None:
        self._decode = decode
        self._counts: dict[object, int] = {}
        self._wrapped: dict[int, _Wrapped] = {}  # by message id, those that are not plain

    def add(self, id: int, value: object) -> bool:
        """Add the value of message ``id``; False: one that equals it is there."""
        if self._decode is not None:
            value = self._decode(value)
        plain = type(value) in _PLAIN
        key = value if plain else _Wrapped(value)
        if key in self._counts:
            return False
        self._counts[key] = 1
        if not plain:
            self._wrapped[id] = key  # type: ignore[assignment] # mypy does not narrow by `plain`
        return True

    def count_new(self, values: Iterable[object]) -> int:
        """Return how many of some values are not there, each counted once."""
        return len({key for key in map(self._key, values) if key not in self._counts})

    def count_fitting(self, values: Iterable[object], room: int) -> int:
        """Return how many values from the first on bring at most ``room`` new ones."""
        new: set[object] = set()
        count = 0
        for key in map(self._key, values):
            if key not in self._counts:
                new.add(key)
                if len(new) > room:
                    break
            count += 1
        return count

    def restore(self, id: int, value: object) -> Exception | None:
        """Add a value that was in the queue before, whatever is there by now.

        Returns:
          Why it cannot be added: it cannot be hashed any more. Equal ones may go in then.
        """
        try:
            if self._decode is not None:
                value = self._decode(value)
            key = value if type(value) in _PLAIN else _Wrapped(value)
        except Exception as error:  # noqa: BLE001 - foreign code; the queue must start
            return error
        if isinstance(key, _Wrapped):
            self._wrapped[id] = key
        self._counts[key] = self._counts.get(key, 0) + 1
        return None

    def discard(self, id: int, value: object) -> None:
        """Remove the value of message ``id``."""
        if self._decode is not None:
            value = self._decode(value)
        key = value if type(value) in _PLAIN else self._wrapped.pop(id, None)
        if key is None and value is not None:
            return  # it could not be restored
        count = self._counts.pop(key, 0)
        if count > 1:
            self._counts[key] = count - 1

    def clear(self) -> tuple[Callable[[], object], ...]:
        """Remove all; return what takes the old ones out of memory, one by one."""
        pops = self._counts.popitem, self._wrapped.popitem
        self._counts = {}
        self._wrapped = {}
        return pops

    def _key(self, value: object) -> object:
        if self._decode is not None:
            value = self._decode(value)
        return value if type(value) in _PLAIN else _Wrapped(value)
