"""A heap whose entries may die: who removes something from a queue does not search for it.

A dead entry is skipped when it comes to the top. So that dead ones do not pile up, they are
swept out once they are more than half: by rebuilding the heap, a slice at each change, because
rebuilding a heap of a million at once would stop the loop for half a second.
"""

from __future__ import annotations

from heapq import heappop, heappush, merge
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEW: Final = 64  # dead entries that may stay, whatever the length
SLICE: Final = 16  # entries that one change sweeps; at least 3, to be through before the next

Entry = TypeVar("Entry", bound="tuple[object, ...]")


class LazyHeap(Generic[Entry]):
    """Entries in order, smallest first.

    Args:
      is_live: Whether an entry still counts; once it does not, it never does again.
    """

    __slots__ = ("_dead", "_heap", "_is_live", "_old")

    def __init__(self, is_live: Callable[[Entry], bool]) -> None:
        self._is_live = is_live
        self._heap: list[Entry] = []
        self._old: list[Entry] = []  # a heap too: what a sweep has still to move
        self._dead = 0  # in both

    def __len__(self) -> int:
        """Return how many live entries there are."""
        return self.kept - self._dead

    @property
    def kept(self) -> int:
        """How many entries there are, dead ones included."""
        return len(self._heap) + len(self._old)

    def push(self, entry: Entry) -> None:
        """Add an entry."""
        heappush(self._heap, entry)
        if self._dead > FEW:
            self._sweep()

    def died(self) -> None:
        """Note that an entry is dead from now on."""
        self._dead += 1
        if self._dead > FEW:
            self._sweep()

    def first(self) -> Entry | None:
        """Return the smallest live entry; None: there is none."""
        first = self._top(self._heap)
        if self._old:
            old = self._top(self._old)
            if first is None or (old is not None and old < first):
                return old
        return first

    def pop(self) -> Entry | None:
        """Remove and return the smallest live entry; None: there is none."""
        entry = self.first()
        if entry is not None:
            heappop(self._heap if self._heap and self._heap[0] is entry else self._old)
        return entry

    def in_order(self) -> Iterator[Entry]:
        """Yield the live entries, smallest first: the first k of them in O(k log k)."""
        return filter(self._is_live, merge(_in_order(self._heap), _in_order(self._old)))

    def containers(self) -> tuple[list[Entry], list[Entry]]:
        """Return what the entries are in, for whoever throws the heap away."""
        return self._heap, self._old

    def _top(self, heap: list[Entry]) -> Entry | None:
        while heap and not self._is_live(heap[0]):
            heappop(heap)
            self._dead -= 1
        return heap[0] if heap else None

    def _sweep(self) -> None:
        if not self._old:
            if self._dead * 2 <= len(self._heap):
                return
            self._heap, self._old = self._old, self._heap
        for _ in range(min(SLICE, len(self._old))):
            entry = self._old.pop()  # the last of a heap: the rest still is one
            if self._is_live(entry):
                heappush(self._heap, entry)
            else:
                self._dead -= 1


def _in_order(heap: list[Entry]) -> Iterator[Entry]:
    """Yield a heap's entries, smallest first, and leave it as it is."""
    frontier = [(heap[0], 0)] if heap else []
    while frontier:
        entry, index = heappop(frontier)
        yield entry
        for child in range(2 * index + 1, min(2 * index + 3, len(heap))):
            heappush(frontier, (heap[child], child))
