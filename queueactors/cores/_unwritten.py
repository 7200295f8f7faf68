"""What of a queue's records is never written, because it ends with the process."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

CountersT = TypeVar("CountersT")


class Unwritten:
    """Some fields of an object, as one value: taken at each batch, put back if that is undone.

    Args:
      fields: Their names.
    """

    def __init__(self, *fields: str) -> None:
        self._fields = fields
        self._get = cast("Callable[[object], object]", attrgetter(*fields))

    @classmethod
    def all_of(cls, type_: type[attrs.AttrsInstance]) -> Self:
        """Return all fields of a class."""
        return cls(*(field.name for field in attrs.fields(type_)))

    def of(self, owner: object) -> object:
        """Return the fields' values."""
        return self._get(owner)

    def named(self, owner: object) -> dict[str, object]:
        """Return the fields' values by name; a third of what `attrs.asdict` takes."""
        return {name: getattr(owner, name) for name in self._fields}

    def put(self, owner: object, values: object) -> None:
        """Set the fields to values that `of` returned."""
        each = (values,) if len(self._fields) == 1 else cast("tuple[object, ...]", values)
        for name, value in zip(self._fields, each, strict=True):
            setattr(owner, name, value)


class Resumable(Generic[CountersT]):
    """Records of which some fields are never written: a new incarnation takes those over."""

    __slots__ = ()

    _unwritten: ClassVar[Unwritten]
    _counts: ClassVar[Unwritten]
    counters: CountersT
    messages: dict[int, Any]  # type: ignore[explicit-any] # each kind has its own

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be lost with them but counters."""
        return not self.messages

    def snapshot(self) -> tuple[object, ...]:
        """Return what is never written, because it ends with the process."""
        return self._unwritten.of(self), self._counts.of(self.counters)

    def resume(self, snapshot: tuple[object, ...]) -> None:
        """Take over a snapshot."""
        unwritten, counts = snapshot
        self._unwritten.put(self, unwritten)
        self._counts.put(self.counters, counts)  # in place: a core counts there
