"""Capacity and log queues as lists: slow and plain, the measure of their cores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from queueactors import PositionError, QueueClosedError, QueueFullError
from queueactors.cores.capacity import CapacityStatistics
from queueactors.cores.log import LogStatistics, Read

if TYPE_CHECKING:
    from collections.abc import Sequence

FOR_EVER = float("inf")


@attrs.define(eq=False)
class Naive:
    """What both have: a pause, an end, and counters that end with the process."""

    closed: bool = False
    paused_until: float = 0
    counts: dict[str, int] = attrs.field(factory=dict)

    def count(self, name: str, by: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def close(self, _now: int) -> None:
        self.closed = True

    def pause(self, now: int, duration: int | None = None) -> None:
        self.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        self.paused_until = 0


@attrs.define(eq=False)
class NaiveCapacity(Naive):
    """What `CapacityCore` must look like from outside."""

    max_elements: int = 10
    items: list[bytes] = attrs.field(factory=list)
    inserters: list[object] = attrs.field(factory=list)

    def copy(self) -> NaiveCapacity:
        return attrs.evolve(self, items=[*self.items], counts={**self.counts})

    def push(
        self, _now: int, items: Sequence[bytes], _sizes: object, *, in_turn: bool = False
    ) -> int:
        if self.closed:
            raise QueueClosedError("capacity")
        room = max(self.max_elements - len(self.items), 0)
        crowded = bool(items and self.inserters and not in_turn)
        if crowded or len(items) > room:
            number = None if crowded else room
            raise QueueFullError("capacity", len(items), number, self.max_elements, "max_elements")
        self.items += items
        self.count("pushed", len(items))
        return len(items)

    def wait_push(self, now: int, items: Sequence[bytes], sizes: object) -> int | None:
        try:
            return self.push(now, items, sizes, in_turn=True)
        except QueueFullError:
            if len(items) > self.max_elements:
                raise
            return None

    def pop(self, now: int, limit: int = 1) -> list[bytes]:
        if self.closed and not self.items:
            raise QueueClosedError("capacity")
        if now < self.paused_until:
            return []
        found, self.items = self.items[:limit], self.items[limit:]
        self.count("popped", len(found))
        return found

    def clear(self, _now: int) -> int:
        count, self.items = len(self.items), []
        self.count("cleared", count)
        return count

    def resize(self, _now: int, max_elements: int) -> None:
        self.max_elements = max_elements

    def length(self, _now: int) -> int:
        return len(self.items)

    def is_empty(self, _now: int) -> bool:
        return not self.items

    def payload_size(self, _now: int) -> int:
        return sum(map(len, self.items))

    def statistics(self, now: int) -> CapacityStatistics:
        return CapacityStatistics(
            length=len(self.items),
            max_elements=self.max_elements,
            payload_size=sum(map(len, self.items)),
            closed=self.closed,
            paused=now < self.paused_until,
            **self.counts,
        )


@attrs.define(eq=False)
class NaiveLog(Naive):
    """What `LogCore` must look like from outside: items never go, they only get old."""

    ttl: float = FOR_EVER
    items: list[tuple[int, bytes]] = attrs.field(factory=list)  # all that ever were
    begin: int = 0  # of those that are there, as far as anybody has looked
    marks: dict[str, int] = attrs.field(factory=dict)

    def copy(self) -> NaiveLog:
        counts = {**self.counts}
        return attrs.evolve(self, items=[*self.items], marks={**self.marks}, counts=counts)

    def expire(self, now: int) -> None:
        while self.begin < len(self.items) and self.items[self.begin][0] + self.ttl <= now:
            self.begin += 1
            self.count("expired", 1)

    def add(self, now: int, items: Sequence[bytes], _sizes: object) -> int:
        if self.closed:
            raise QueueClosedError("log")
        self.items += [(now, item) for item in items]
        self.count("added", len(items))
        return len(items)

    def look(
        self, now: int, name: str, start: Literal["oldest", "newest"], limit: int
    ) -> tuple[list[object], int, int, int]:
        end = len(self.items)
        first = self.begin if start == "oldest" else max(self.begin, end - 1)
        position = self.marks.get(name, first)
        if now < self.paused_until:
            return [], 0, position, position
        at = max(position, self.begin)
        items: list[object] = [item for _, item in self.items[at : at + limit]]
        return items, at - position, position, at + len(items)

    def next(
        self, now: int, name: str, start: Literal["oldest", "newest"] = "oldest", limit: int = 1
    ) -> tuple[list[object], int]:
        items, expired, _, after = self.look(now, name, start, limit)
        self.marks[name] = after
        self.count("read", len(items))
        return items, expired

    def read(
        self, now: int, name: str, start: Literal["oldest", "newest"] = "oldest", limit: int = 1
    ) -> Read:
        items, expired, position, after = self.look(now, name, start, limit)
        self.marks[name] = position
        self.count("read", len(items))
        return Read(items, expired, after)

    def waits(self, now: int, name: str, start: Literal["oldest", "newest"], limit: int) -> bool:
        items, _, position, _ = self.look(now, name, start, limit)
        if not items:
            if self.closed and max(position, self.begin) == len(self.items):
                raise QueueClosedError("log")
            self.marks[name] = position
        return not items

    def wait_next(
        self, now: int, name: str, start: Literal["oldest", "newest"] = "oldest", limit: int = 1
    ) -> object:
        return None if self.waits(now, name, start, limit) else self.next(now, name, start, limit)

    def wait_read(
        self, now: int, name: str, start: Literal["oldest", "newest"] = "oldest", limit: int = 1
    ) -> object:
        return None if self.waits(now, name, start, limit) else self.read(now, name, start, limit)

    def commit(self, _now: int, name: str, position: int) -> int:
        there = self.marks.get(name)
        if there is None or not there <= position <= len(self.items):
            raise PositionError("log", name, position, there, len(self.items))
        self.marks[name] = position
        return position - there

    def labels(self, _now: int) -> list[str]:
        return list(self.marks)

    def remove_label(self, _now: int, name: str) -> bool:
        return self.marks.pop(name, None) is not None

    def clear(self, _now: int) -> int:
        count = len(self.items) - self.begin
        self.begin = len(self.items)
        self.count("cleared", count)
        return count

    def length(self, _now: int) -> int:
        return len(self.items) - self.begin

    def statistics(self, now: int) -> LogStatistics:
        end = len(self.items)
        slowest = min(self.marks.values(), default=None)
        return LogStatistics(
            length=end - self.begin,
            end=end,
            labels=len(self.marks),
            behind=None if slowest is None else end - max(slowest, self.begin),
            closed=self.closed,
            paused=now < self.paused_until,
            **self.counts,
        )
