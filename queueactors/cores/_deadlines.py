"""An agenda for entries that mostly come in the order of their instants, as locks do.

Then an ordered dict is all that is needed: nothing is sorted, and nothing dead stays behind. What
comes out of order goes to an `Agenda`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from ._agenda import Agenda

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")


class Deadlines(Generic[Item]):
    """Items by number, and in the order of their instants; numbers break ties.

    Args:
      at: Returns an item's instant, once it is in: an entry of our own for each would be work for
        the garbage collector.
    """

    __slots__ = ("_at", "_growing", "_last_at", "_last_number", "_others")

    def __init__(self, at: Callable[[Item], int]) -> None:
        self._at = at
        self._growing: OrderedDict[int, Item] = OrderedDict()
        self._last_at = self._last_number = 0  # of the newest in _growing
        self._others = Agenda[Item]()

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._growing) + len(self._others)

    @property
    def kept(self) -> int:
        """How many entries there are, dead ones included."""
        return len(self._growing) + self._others.kept

    def get(self, number: int) -> Item | None:
        """Return the item of that number; None: there is none."""
        item = self._growing.get(number)
        return self._others.get(number) if item is None else item

    def put(self, number: int, at: int, item: Item) -> None:
        """Add an item, or give it another instant."""
        growing = self._growing
        if growing:
            growing.pop(number, None)
        if self._others:
            self._others.take(number)
        last_at = self._last_at
        if at > last_at or (at == last_at and number > self._last_number) or not growing:
            growing[number] = item
            self._last_at, self._last_number = at, number
        else:
            self._others.put(number, at, item)

    def take(self, number: int) -> Item | None:
        """Remove and return the item of that number; None: there is none."""
        item = self._growing.pop(number, None)
        return self._others.take(number) if item is None else item

    def first(self) -> tuple[int, int, Item] | None:
        """Return the first instant with its number and item; None: there is nothing."""
        first = None
        if self._growing:
            number, item = next(iter(self._growing.items()))
            first = self._at(item), number, item
        if self._others:
            other = self._others.first()
            if other is not None and (first is None or other[:2] < first[:2]):
                return other
        return first

    def pop(self) -> tuple[int, int, Item] | None:
        """Remove and return the first."""
        first = self.first()
        if first is not None:
            self.take(first[1])
        return first

    def containers(self) -> Iterator[Callable[[], object]]:
        """Return what empties it bit by bit, for whoever throws it away."""
        yield self._growing.popitem
        yield from self._others.containers()
