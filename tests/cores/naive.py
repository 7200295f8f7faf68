"""A timed queue as a list: slow and plain, the measure of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from queueactors import (
    QueueClosedError,
    QueueFullError,
    RefillError,
    ReservationError,
    ReservationExpiredError,
    ReservationNotFoundError,
)
from queueactors.cores.timed import (
    MIN_REFILL_NS,
    DeadLetter,
    Reservation,
    TimedMessage,
    TimedStatistics,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueactors.cores.timed import PeekState

Place = Literal["ready", "delayed", "reserved", "buried", "dead"]


@attrs.define(eq=False)
class Item:
    """One message."""

    id: int
    value: object
    inserted_at: int
    ready_at: int
    priority: int
    place: Place
    attempts: int = 0
    key: int | None = None  # of the reservation, also when it has expired
    deadline_at: int = 0
    error: str | None = None


@attrs.define(eq=False)
class NaiveQueue:
    """What `TimedCore` must look like from outside."""

    unique: bool
    max_reservations: int | None
    on_exhausted: str
    interval: int | None
    max_length: int | None = None
    name: str = "timed"
    items: list[Item] = attrs.field(factory=list)
    next_id: int = 1
    last_key: int = 0
    closed: bool = False
    paused_until: float | None = None
    refill_wanted: bool = False
    refilling: bool = False
    synced_at: int | None = None
    last_refill: int | None = None
    synced: bool = False
    sync_failed: bool = False
    inserters: list[object] = attrs.field(factory=list)  # who waits, in the shell
    syncers: list[object] = attrs.field(factory=list)
    counts: dict[str, int] = attrs.field(factory=dict)
    refused_casts: int = 0

    # -- time ----------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        for item in list(self.items):
            if item.place == "reserved" and item.deadline_at <= now:
                self.count("expired")
                if not self.exhausted(item):
                    item.place = "ready"
                    item.ready_at = item.deadline_at
            elif item.place == "delayed" and item.ready_at <= now:
                item.place = "ready"

    def next_deadline(self, *, waiting: bool) -> int | None:
        instants = [item.deadline_at for item in self.items if item.place == "reserved"]
        instants += [item.ready_at for item in self.items if item.place == "delayed"]
        if waiting and self.paused_until is not None:
            if self.paused_until != float("inf"):
                instants.append(int(self.paused_until))
        elif waiting and self.may_refill() and not self.refill_wanted:
            instants.append(self.refill_at())
        return min(instants, default=None)

    # -- operations ----------------------------------------------------------------------------

    def insert(
        self, now: int, values: Sequence[object], delay: int = 0, priority: int = 0, at: int = 0
    ) -> int:
        return self.add(now, values, now + delay, priority, at, in_turn=False)

    def insert_nowait(
        self, now: int, values: Sequence[object], delay: int, priority: int, at: int
    ) -> int:
        try:
            return self.insert(now, values, delay, priority, at)
        except (QueueClosedError, QueueFullError):
            self.count("dropped", len(values))
            self.refused_casts += 1
            return 0

    def wait_insert(
        self, now: int, values: Sequence[object], delay: int = 0, priority: int = 0, at: int = 0
    ) -> int | None:
        try:
            return self.add(now, values, now + delay, priority, at, in_turn=True)
        except QueueFullError as error:
            if self.max_length is not None and error.new > self.max_length:
                raise
            return None

    def add(
        self,
        now: int,
        values: Sequence[object],
        ready_at: int,
        priority: int,
        at: int,
        *,
        in_turn: bool,
    ) -> int:
        if self.closed:
            raise QueueClosedError(self.name)
        new = self.new(values)
        if self.max_length is not None and new:
            crowded = bool(self.inserters) and not in_turn
            if crowded or len(new) > self.room():
                room = None if crowded else self.room()
                raise QueueFullError(self.name, len(new), room, self.max_length)
        ready_at = max(ready_at, at)
        for value in new:
            place: Place = "delayed" if ready_at > now else "ready"
            self.items.append(Item(self.next_id, value, now, ready_at, priority, place))
            self.next_id += 1
        self.count("inserted", len(new))
        self.count("duplicates", len(values) - len(new))
        return len(new)

    def new(self, values: Sequence[object]) -> list[object]:
        """Return the values that would go in if there were room."""
        if not self.unique:
            return list(values)
        there = [item.value for item in self.items if item.place != "dead"]
        new: list[object] = []
        for value in values:
            if value not in [*there, *new]:
                new.append(value)
        return new

    def room(self) -> int:
        """Return how many may go in."""
        assert self.max_length is not None
        held = [item for item in self.items if item.place != "dead"]
        return max(self.max_length - len(held), 0)

    def reserve(self, now: int, duration: int) -> Reservation | None:
        return next(iter(self.reserve_many(now, 1, duration)), None)

    def reserve_many(self, now: int, limit: int, duration: int) -> list[Reservation]:
        if self.paused_until is not None:
            if now < self.paused_until:
                self.check_drained()
                return []
            self.paused_until = None
        taken = []
        for item in self.first("ready")[:limit]:
            item.place = "reserved"
            item.attempts += 1
            taken.append(self.reservation(item, now, now + duration))
            self.count("reserved_total")
        if not taken:
            self.check_drained()
            if self.may_refill() and now >= self.refill_at():
                self.refill_wanted = True
        return taken

    def prolongate(self, now: int, key: int, duration: int) -> Reservation:
        item = self.live(key)
        return self.reservation(item, now, item.deadline_at + duration)

    def touch(self, now: int, key: int, duration: int) -> Reservation:
        return self.reservation(self.live(key), now, now + duration)

    def release(
        self, now: int, key: int, delay: int, priority: int | None, error: str | None
    ) -> None:
        item = self.live(key)
        self.count("released")
        item.error = item.error if error is None else error
        if not self.exhausted(item):
            item.priority = item.priority if priority is None else priority
            item.place, item.key = ("delayed" if delay else "ready"), None
            item.ready_at = now + delay

    def snooze(self, now: int, key: int, delay: int) -> None:
        item = self.live(key)
        self.count("released")
        item.attempts -= 1
        item.place, item.key = ("delayed" if delay else "ready"), None
        item.ready_at = now + delay

    def fail(self, _now: int, key: int, error: str | None) -> None:
        item = self.live(key)
        item.error = item.error if error is None else error
        self.exhaust(item)

    def delete(self, _now: int, keys: Sequence[int], expired_ok: bool) -> int:  # noqa: FBT001
        stale: list[int] = []
        for key in dict.fromkeys(keys):
            item = self.owner(key)
            if item is not None and (item.place == "reserved" or expired_ok):
                self.items.remove(item)
                self.count("deleted")
            else:
                stale.append(key)
        if stale:
            raise self.refusal(stale)
        return len(set(keys))

    def bury(self, _now: int, key: int, error: str | None) -> None:
        item = self.live(key)
        item.error = item.error if error is None else error
        item.place, item.key = "buried", None

    def kick(self, now: int, limit: int) -> int:
        kicked = self.first("buried")[:limit]
        for item in kicked:
            item.place, item.ready_at, item.attempts = "ready", now, 0
        return len(kicked)

    def remove(self, _now: int, ids: Sequence[int]) -> int:
        held = len(self.items)
        self.items = [item for item in self.items if item.id not in ids]
        return held - len(self.items)

    def clear(self, _now: int) -> int:
        held = len(self.items)
        self.items = [item for item in self.items if item.place == "dead"]
        return held - len(self.items)

    def close(self, _now: int) -> None:
        self.closed = True

    def pause(self, now: int, duration: int | None) -> None:
        self.paused_until = float("inf") if duration is None else now + duration

    def resume(self, _now: int) -> None:
        self.paused_until = None

    # -- errands -------------------------------------------------------------------------------

    def begin_refill(self, now: int) -> bool:
        if not self.refill_wanted:
            return False
        self.refill_wanted, self.refilling, self.synced_at = False, True, now
        self.count("refills")
        return True

    def refilled(self, now: int, values: Sequence[object] | None, error: Exception | None) -> int:
        if values is None:
            self.count("refill_errors")
        added = 0
        if values is not None and not self.closed:
            fitting = list(values)
            if self.max_length is not None:
                room = 0 if self.inserters else self.room()
                while len(self.new(fitting)) > room:
                    fitting.pop()
            self.count("left_out", len(values) - len(fitting))
            added = self.insert(now, fitting)
        self.refilling, self.synced_at, self.last_refill = False, now, added
        self.synced, self.sync_failed = True, error is not None
        return added

    def sync(self, _now: int) -> int | None:
        if self.closed:
            raise QueueClosedError(self.name)
        if not self.syncers:
            self.synced = False
            self.refill_wanted = self.refill_wanted or not self.refilling
        if not self.synced:
            return None
        if self.sync_failed:
            raise RefillError(self.name, "Boom: no")
        return self.last_refill

    def refill_lost(self, _now: int) -> None:
        self.count("refill_errors", int(self.refilling))
        if self.refilling and self.syncers:
            self.refill_wanted = True
        self.refilling = False

    def bury_dead(self, _now: int, id: int) -> None:
        for item in self.items:
            if item.id == id and item.place == "dead":
                item.place = "buried"

    def dead_letters(self, _now: int) -> list[DeadLetter]:
        return [
            DeadLetter(item.value, self.name, item.id, item.attempts, item.error, item.inserted_at)
            for item in self.first("dead")
        ]

    # -- looking -------------------------------------------------------------------------------

    def first(self, place: Place) -> list[Item]:
        def order(item: Item) -> tuple[int, ...]:
            match place:
                case "ready":
                    return item.priority, item.ready_at, item.id
                case "delayed":
                    return item.ready_at, item.id
                case "reserved":
                    return item.deadline_at, item.key or 0
                case _:
                    return (item.id,)

        return sorted((item for item in self.items if item.place == place), key=order)

    def peek(self, state: PeekState) -> list[TimedMessage]:
        return [
            TimedMessage(
                id=item.id,
                value=item.value,
                state=state,
                attempts=item.attempts,
                priority=item.priority,
                inserted_at=item.inserted_at,
                ready_at=item.ready_at,
                error=item.error,
            )
            for item in self.first(state)
        ]

    def statistics(self, now: int) -> TimedStatistics:
        ready = self.first("ready")
        return TimedStatistics(
            ready=len(ready),
            delayed=len(self.first("delayed")),
            reserved=len(self.first("reserved")),
            buried=len(self.first("buried")),
            dead=len(self.first("dead")),
            oldest_age=(now - ready[0].ready_at) / 1e9 if ready else None,
            refilling=self.refilling,
            last_refill=self.last_refill,
            closed=self.closed,
            paused=self.paused_until is not None and now < self.paused_until,
            **self.counts,
        )

    # -- helpers -------------------------------------------------------------------------------

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def owner(self, key: int) -> Item | None:
        return next((item for item in self.items if item.key == key), None)

    def live(self, key: int) -> Item:
        item = self.owner(key)
        if item is None or item.place != "reserved":
            raise self.refusal([key])
        return item

    def refusal(self, keys: list[int]) -> ReservationError:
        expired = self.owner(keys[0]) is not None
        return (ReservationExpiredError if expired else ReservationNotFoundError)(keys)

    def reservation(self, item: Item, now: int, deadline_at: int) -> Reservation:
        self.last_key = item.key = max(now, self.last_key + 1)
        item.deadline_at = deadline_at
        return Reservation(
            item.id, item.key, item.value, deadline_at, item.attempts, item.inserted_at
        )

    def exhausted(self, item: Item) -> bool:
        """Send a message away if it had its last reservation."""
        if self.max_reservations is None or item.attempts < self.max_reservations:
            return False
        self.exhaust(item)
        return True

    def exhaust(self, item: Item) -> None:
        self.count("exhausted")
        item.key = None
        if self.on_exhausted == "drop":
            self.items.remove(item)
        else:
            item.place = "buried" if self.on_exhausted == "bury" else "dead"

    def check_drained(self) -> None:
        if self.closed and all(item.place in {"dead", "buried"} for item in self.items):
            raise QueueClosedError(self.name)

    def may_refill(self) -> bool:
        return self.interval is not None and not self.refilling and not self.closed

    def refill_at(self) -> int:
        if self.synced_at is None:
            return 0
        return self.synced_at + max(self.interval or 0, MIN_REFILL_NS)
