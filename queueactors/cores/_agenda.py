"""An agenda: what happens by itself, and when; each entry at most once, and it may be taken off."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

from ._lazy_heap import LazyHeap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")


class Agenda(Generic[Item]):
    """Items by number, and in the order of their instants; numbers break ties."""

    __slots__ = ("_count", "_entries", "_heap")

    def __init__(self) -> None:
        # A number may come again, at the same instant, while its dead entry is still there; so
        # each entry has a number of its own, and items are never compared.
        entries = self._entries = dict[int, tuple[int, int, int, Item]]()
        self._heap = LazyHeap[tuple[int, int, int, Item]](
            lambda entry: entries.get(entry[1]) is entry
        )
        self._count = count()

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._entries)

    @property
    def kept(self) -> int:
        """How many entries there are, dead ones included."""
        return self._heap.kept

    def get(self, number: int) -> Item | None:
        """Return the item of that number; None: there is none."""
        entry = self._entries.get(number)
        return None if entry is None else entry[3]

    def put(self, number: int, at: int, item: Item) -> None:
        """Add an item, or give it another instant."""
        entry = (at, number, next(self._count), item)
        if number in self._entries:
            self._entries[number] = entry
            self._heap.died()
        else:
            self._entries[number] = entry
        self._heap.push(entry)

    def take(self, number: int) -> Item | None:
        """Remove and return the item of that number; None: there is none."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return None
        self._heap.died()
        return entry[3]

    def first(self) -> tuple[int, int, Item] | None:
        """Return the first instant with its number and item; None: there is nothing."""
        entry = self._heap.first()
        return None if entry is None else (entry[0], entry[1], entry[3])

    def pop(self) -> tuple[int, int, Item] | None:
        """Remove and return the first."""
        entry = self._heap.pop()
        if entry is None:
            return None
        del self._entries[entry[1]]
        return entry[0], entry[1], entry[3]

    def in_order(self) -> Iterator[Item]:
        """Yield the items, first things first; the first few cost little."""
        return (entry[3] for entry in self._heap.in_order())

    def containers(self) -> Iterator[Callable[[], object]]:
        """Return what empties it bit by bit, for whoever throws it away."""
        yield self._entries.popitem
        for each in self._heap.containers():
            yield each.pop
