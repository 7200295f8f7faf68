"""Chunks: the items that came in one turn of the loop, kept as one record.

A chunk is one row of a store and one object in memory for up to `ITEMS` items: so a hundred pushes
that are committed together cost one insert, and a million items a few thousand objects. All of its
items are of one age, because a turn has one reading of the clock.

What a chunk holds may be in its store only. Then the core asks for it, before anything changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

import msgspec

from queueactors._errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._changed import Changed

ITEMS: Final = 256  # in a chunk
SIZE: Final = 1 << 18  # bytes of items in a chunk, unless one alone has more
KEPT: Final = 1 << 23  # bytes of a durable queue's newest items that stay in memory, too
MOST: Final = 1_000_000_000  # items in a capacity queue, as in seed 004
LOADED: Final = 8  # chunks that were read from the store and may be asked for again

State = Literal["kept", "label"]


class Chunk(msgspec.Struct, gc=False, eq=False):
    """The record of some items; or of a label, whose name ``value`` is. Only cores change it.

    The garbage collector does not look into it, see `queueactors.cores.timed.Message`.
    """

    id: int
    value: object  # a list of items; None: it is in the store only
    state: State
    first: int  # the number of its first item, from 0; of a label: of what it reads next
    count: int  # items
    size: int  # of all items together, in bytes, if they are bytes
    at: int  # epoch nanoseconds at which they came


class Load(Protocol):
    """Reads what a chunk holds from its store."""

    def __call__(self, id: int, /) -> list[object]:
        """Return its items.

        Raises:
          CodecError: If what is there is no list of items, or not in a codec that is known.
          StoreError: If the store fails.
        """


class Chunks:
    """The chunks of one queue, oldest first, whose items have successive numbers.

    Args:
      messages: The records: chunks and labels, by id.
      changed: Where to note what a store has to write; None: all is in memory.
      load: Reads what is in the store only.
      lost: Is told of a chunk that cannot be read, and why: it stays in the store, and is not among
        these any more.
    """

    def __init__(
        self,
        messages: dict[int, Chunk],
        changed: Changed | None,
        load: Load | None,
        lost: Callable[[Chunk, CodecError], None],
    ) -> None:
        self.messages = messages
        self._changed = changed
        self._load = load
        self._lost = lost
        self._order: list[Chunk] = []
        self._firsts: list[int] = []  # the number of the first item of each
        self._gone = 0  # how many at the beginning of it are
        self._loaded: OrderedDict[int, list[object]] = OrderedDict()
        self._fresh: list[Chunk] = []  # perhaps not written yet
        self._in_memory: OrderedDict[int, Chunk] = OrderedDict()  # written, and still there
        self._kept = 0  # bytes of these
        self.size = 0  # bytes of all items in all chunks
        self.count = 0  # items in all chunks

    def place(self, chunk: Chunk) -> None:
        """Take over a chunk that was there before, behind the others."""
        self._order.append(chunk)
        self._firsts.append(chunk.first)
        self.size += chunk.size
        self.count += chunk.count
        if self._changed is not None and chunk.value is not None:
            self._fresh.append(chunk)

    def __len__(self) -> int:
        """Return how many chunks there are."""
        return len(self._order) - self._gone

    def __getitem__(self, index: int) -> Chunk:
        """Return a chunk, 0 being the oldest."""
        return self._order[self._gone + index if index >= 0 else index]

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks, oldest first."""
        order = self._order
        return (order[index] for index in range(self._gone, len(order)))

    @property
    def first(self) -> Chunk | None:
        """The oldest; None: there is none."""
        order, gone = self._order, self._gone
        return order[gone] if gone < len(order) else None

    @property
    def last(self) -> Chunk | None:
        """The newest; None: there is none."""
        order = self._order
        return order[-1] if self._gone < len(order) else None

    # -- taking in -----------------------------------------------------------------------------

    def add(
        self, now: int, id: int, first: int, items: Sequence[object], sizes: Sequence[int]
    ) -> int:
        """Add items, the first of which has the number ``first``; return how many ids that took.

        Items that are no bytes, because they are in a codec of their own, get a chunk each.
        """
        count, size = len(items), sum(sizes)
        plain = set(map(type, items)) == {bytes}
        open_ = self.last if count else None
        if open_ is not None and not self._is_open(open_, now):
            open_ = None
        if (
            open_ is not None
            and plain
            and open_.count + count <= ITEMS
            and open_.size + size <= SIZE
        ):  # as mostly, if items come one by one: 1 us less
            self.size += size
            self.count += count
            self._extend(open_, items, size)
            return 0
        weights = sizes
        if not plain:
            pairs = zip(items, sizes, strict=True)
            weights = [own if type(item) is bytes else SIZE + 1 for item, own in pairs]
        joining = 0
        if open_ is not None:
            joining = self._fitting(weights, 0, ITEMS - open_.count, SIZE - open_.size)
        done = joining
        made: dict[int, Chunk] = {}
        while done < count:
            fitting = max(1, self._fitting(weights, done, ITEMS, SIZE))
            part, some = list(items[done : done + fitting]), sum(sizes[done : done + fitting])
            number = id + len(made)
            made[number] = Chunk(number, part, "kept", first + done, fitting, some, now)
            done += fitting
        ids = len(made)
        if self._changed is not None:
            self._changed.update(made)
            self._fresh += made.values()
        self._order += made.values()
        self._firsts += [chunk.first for chunk in made.values()]
        self.size += size
        self.count += count
        if open_ is not None and joining:
            self._extend(open_, items[:joining], sum(sizes[:joining]))
        messages = self.messages
        messages |= made
        return ids

    @staticmethod
    def _extend(chunk: Chunk, items: Sequence[object], size: int) -> None:
        """Put items into a chunk, or change nothing."""
        count = len(items)
        held = cast("list[object]", chunk.value)
        held += items
        chunk.count += count
        chunk.size += size

    @staticmethod
    def _fitting(weights: Sequence[int], done: int, items: int, room: int) -> int:
        """Return how many items from one on go into a chunk with that room."""
        some = weights[done : done + items]
        if sum(some) <= room:
            return len(some)
        count = 0
        for weight in some:
            room -= weight
            if room < 0:
                break
            count += 1
        return count

    def _is_open(self, chunk: Chunk, now: int) -> bool:
        """Whether items of this instant may join a chunk: nobody has written it yet."""
        return (
            chunk.at == now
            and chunk.value is not None
            and type(cast("list[object]", chunk.value)[0]) is bytes
            and (self._changed is None or chunk.id in self._changed)
        )

    # -- handing out ---------------------------------------------------------------------------

    def items(self, chunk: Chunk) -> list[object]:
        """Return what a chunk holds.

        Raises:
          CodecError: If it is in the store only, and cannot be read there.
          StoreError: If it is in the store only, and that fails.
        """
        value = chunk.value
        if value is not None:
            return cast("list[object]", value)
        found = self._loaded.get(chunk.id)
        if found is None:
            found = cast("Load", self._load)(chunk.id)
            if len(found) != chunk.count:
                rule = f"expected a list of {chunk.count} items, got {len(found)}"
                raise CodecError("items", rule)
            if chunk.size > SIZE:
                return found  # one item, perhaps of many megabytes
            if len(self._loaded) >= LOADED:
                self._loaded.popitem(last=False)
            self._loaded[chunk.id] = found
        else:
            self._loaded.move_to_end(chunk.id)
        return found

    def passed(self, number: int) -> int:
        """Return how many chunks have no item with that number, or a higher one."""
        index = bisect_right(self._firsts, number, self._gone) - 1
        if index < self._gone:
            return 0
        chunk = self._order[index]
        return index - self._gone + (chunk.first + chunk.count <= number)

    def gather(self, number: int, limit: int) -> tuple[list[object], int]:
        """Return up to ``limit`` items from a number on, and the number behind the last of them.

        A chunk that cannot be read is set aside, and passed over.

        Raises:
          StoreError: If one is in the store only, and that fails.
        """
        found: list[object] = []
        order = self._order
        index = self._gone + self.passed(number)
        while len(found) < limit and index < len(order):
            chunk = order[index]
            try:
                items = self.items(chunk)
            except CodecError as error:
                self._set_aside(index)
                self._lost(chunk, error)
                continue
            start = number - chunk.first if number > chunk.first else 0
            some = items[start : start + limit - len(found)]
            found += some
            number = chunk.first + start + len(some)
            index += 1
        return found, number

    # -- letting go ----------------------------------------------------------------------------

    def drop(self, count: int) -> None:
        """Forget so many of the oldest chunks."""
        if not count:
            return
        order, messages = self._order, self.messages
        gone = order[self._gone : self._gone + count]
        if self._changed is not None:
            self._changed.update([chunk.id for chunk in gone])
        self._gone += count
        if self._gone == len(order) or (self._gone > 64 and self._gone * 2 > len(order)):
            del order[: self._gone], self._firsts[: self._gone]
            self._gone = 0
        for chunk in gone:
            self.size -= chunk.size
            self.count -= chunk.count
            self._loaded.pop(chunk.id, None)
            if self._in_memory.pop(chunk.id, None) is not None:
                self._kept -= chunk.size
        for chunk in gone:  # from here on nothing fails
            del messages[chunk.id]
            chunk.value = None  # some may stay in the order for a while

    def _set_aside(self, index: int) -> None:
        """Let go of a chunk that is in the store only, and leave it there."""
        chunk = self._order[index]
        if self._changed is not None:
            self._changed.aside.add(chunk.id)
        del self._order[index], self._firsts[index]
        self.size -= chunk.size
        self.count -= chunk.count
        del self.messages[chunk.id]

    def written(self) -> None:
        """Let go of what has been written, but for the newest: whenever all has been."""
        if self._changed is None or self._changed or not self._fresh:
            return
        fresh, self._fresh = self._fresh, []
        for chunk in fresh:
            if chunk.id in self.messages:
                self._in_memory[chunk.id] = chunk
                self._kept += chunk.size
        while self._kept > KEPT:
            _, chunk = self._in_memory.popitem(last=False)
            self._kept -= chunk.size
            chunk.value = None

    def containers(self) -> Iterator[Callable[[], object]]:
        """Return what empties it bit by bit, for whoever throws it away."""
        yield self.messages.popitem
        yield self._order.pop
        yield self._firsts.pop
        yield self._in_memory.popitem
