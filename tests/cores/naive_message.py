"""A message queue as a list: slow and plain, the measure of the core.

Written from the reference's tables, case by case, and not from ours: `status` is its precedence of
what is done, locked or backed off, and `enqueue` its cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from queueactors import ClaimLostError, QueueClosedError, QueueFullError
from queueactors.cores.message import (
    Claimed,
    Enqueued,
    MessageInfo,
    MessageStatistics,
    QueueStatus,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueactors.cores.message import Result, Status

FOR_EVER = float("inf")


@attrs.define(eq=False)
class Item:
    """One message, or what waits as the requeue of one."""

    id: int
    mid: str
    value: object
    enqueued_at: int
    ready_at: int
    lock_time: int | None
    place: Literal["queued", "locked", "done", "requeue"]
    attempts: int = 0
    key: int = 0
    until: int = 0  # of the lock, or of what it is remembered for


@attrs.define(eq=False)
class NaiveMessages:
    """What `MessageCore` must look like from outside."""

    lock_time: int
    max_length: int | None = None
    name: str = "message"
    items: list[Item] = attrs.field(factory=list)
    now: int = 0
    next_id: int = 1
    last_key: int = 0
    closed: bool = False
    paused_until: float | None = None
    inserters: list[object] = attrs.field(factory=list)  # who waits, in the shell
    syncers: list[object] = attrs.field(factory=list)  # nobody
    counts: dict[str, int] = attrs.field(factory=dict)

    # -- what there is ---------------------------------------------------------------------------

    def main(self, mid: str) -> Item | None:
        return next((i for i in self.items if i.mid == mid and i.place != "requeue"), None)

    def requeue(self, mid: str) -> Item | None:
        return next((i for i in self.items if i.mid == mid and i.place == "requeue"), None)

    def status(self, now: int, mid: str) -> Status | None:
        item, again = self.main(mid), self.requeue(mid) is not None
        if item is None:
            return None
        if item.place == "done":
            return "done-with-requeue" if again else "done-with-backoff"
        if item.place == "locked":
            return "locked-with-requeue" if again else "locked"
        return "queued-with-backoff" if now < item.ready_at else "queued"

    def ready(self, now: int) -> list[Item]:
        found = [i for i in self.items if i.place == "queued" and i.ready_at <= now]
        return sorted(found, key=lambda item: (item.ready_at, item.id))

    def unhandled(self) -> int:
        return len([item for item in self.items if item.place != "done"])

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    # -- time ------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        self.now = now
        for item in list(self.items):
            if item.place == "locked" and item.until <= now:
                item.place, item.ready_at, item.key = "queued", item.until, 0
                self.count("expired")
            elif item.place == "done" and item.until <= now:
                self.drop(item, item.until)

    def drop(self, item: Item, now: int) -> None:
        self.items.remove(item)
        heir = self.requeue(item.mid)
        if heir is not None:
            heir.place, heir.enqueued_at, heir.ready_at = "queued", now, now

    def next_deadline(self, *, waiting: bool) -> int | None:
        now = self.now
        instants: list[float] = [i.until for i in self.items if i.place in {"locked", "done"}]
        instants += [i.ready_at for i in self.items if i.place == "queued" and i.ready_at > now]
        if waiting and self.paused_until is not None and self.paused_until != FOR_EVER:
            instants.append(self.paused_until)
        return int(min(instants)) if instants else None

    # -- operations ------------------------------------------------------------------------------

    def enqueue(  # noqa: PLR0911, PLR0917
        self,
        now: int,
        mid: str,
        value: object,
        init_backoff: int = 0,
        lock_time: int | None = None,
        can_update: bool = False,  # noqa: FBT001, FBT002
        can_requeue: bool = False,  # noqa: FBT001, FBT002
        reset_init_backoff: bool = False,  # noqa: FBT001, FBT002
        in_turn: bool = False,  # noqa: FBT001, FBT002
    ) -> Enqueued:
        if self.closed:
            raise QueueClosedError(self.name)
        item, again = self.main(mid), self.requeue(mid)
        if item is None:
            self.check_room(in_turn=in_turn)
            return self.add(mid, value, now, now + init_backoff, lock_time, "queued")
        if item.place == "queued":
            if not can_update and not reset_init_backoff:
                return self.refuse(mid, "already-queued")
            if can_update:
                item.value, item.lock_time = value, lock_time
            if reset_init_backoff and (init_backoff or item.ready_at > now):
                item.ready_at = now + init_backoff
            return self.updated(mid)
        if not can_requeue:
            return self.refuse(mid, "locked" if item.place == "locked" else "backoff")
        if again is None:
            self.check_room(in_turn=in_turn)
            return self.add(mid, value, now, now, lock_time, "requeue")
        if not can_update:
            return self.refuse(mid, "already-queued")
        again.value, again.lock_time = value, lock_time
        return self.updated(mid)

    def wait_enqueue(self, now: int, *arguments: object) -> Enqueued | None:
        try:
            return self.enqueue(now, *arguments, in_turn=True)  # type: ignore[arg-type, misc]
        except QueueFullError:
            return None

    def add(  # noqa: PLR0917
        self,
        mid: str,
        value: object,
        now: int,
        ready_at: int,
        lock_time: int | None,
        place: Literal["queued", "requeue"],
    ) -> Enqueued:
        self.items.append(Item(self.next_id, mid, value, now, ready_at, lock_time, place))
        self.next_id += 1
        self.count("added")
        return Enqueued(True, mid, "added")

    def updated(self, mid: str) -> Enqueued:
        self.count("updated")
        return Enqueued(True, mid, "updated")

    def refuse(self, mid: str, error: Literal["already-queued", "locked", "backoff"]) -> Enqueued:
        self.count("refused")
        return Enqueued(False, mid, None, error)

    def check_room(self, *, in_turn: bool) -> None:
        if self.max_length is not None:
            crowded = bool(self.inserters) and not in_turn
            room = max(self.max_length - self.unhandled(), 0)
            if crowded or not room:
                raise QueueFullError(self.name, 1, None if crowded else room, self.max_length)

    def claim(self, now: int) -> Claimed | None:
        return next(iter(self.claim_many(now, 1)), None)

    def claim_many(self, now: int, limit: int) -> list[Claimed]:
        if self.paused_until is not None and self.paused_until <= now:
            self.paused_until = None
        taken = [] if self.paused_until is not None else self.ready(now)[:limit]
        if not taken and self.closed and not self.unhandled():
            raise QueueClosedError(self.name)
        self.count("claimed", len(taken))
        return [self.lock(now, item) for item in taken]

    def lock(self, now: int, item: Item) -> Claimed:
        lock_time = self.lock_time if item.lock_time is None else item.lock_time
        item.place, item.until = "locked", now + lock_time
        item.key = self.last_key = max(now, self.last_key + 1)
        item.attempts += 1
        facts = item.attempts, lock_time, now - item.enqueued_at, item.key, item.until
        return Claimed(item.id, item.mid, item.value, *facts)

    def held(self, key: int) -> Item:
        for item in self.items:
            if item.place == "locked" and item.key == key:
                return item
        raise ClaimLostError(self.name, key)

    def extend(self, now: int, key: int, duration: int | None) -> int:
        item = self.held(key)
        own = self.lock_time if item.lock_time is None else item.lock_time
        item.until = now + (own if duration is None else duration)
        return item.until

    def finish(self, now: int, key: int, result: Result, backoff: int) -> None:
        item = self.held(key)
        item.key = 0
        if result == "retry":
            item.place, item.ready_at = "queued", now + backoff
        elif result == "success" and backoff:
            item.place, item.until = "done", now + backoff
        else:
            self.drop(item, now)
        self.count({"success": "succeeded", "retry": "retried", "error": "failed"}[result])

    def snooze(self, now: int, key: int, delay: int) -> None:
        item = self.held(key)
        item.place, item.ready_at, item.key = "queued", now + delay, 0
        item.attempts -= 1
        self.count("snoozed")

    # -- what an operator does -------------------------------------------------------------------

    def message_status(self, now: int, mid: str) -> Status | None:
        return self.status(now, mid)

    def queue_status(self, now: int) -> QueueStatus:
        found = [self.status(now, i.mid) for i in self.items if i.place != "requeue"]
        backoffs: tuple[Status, ...] = (
            "queued-with-backoff",
            "done-with-backoff",
            "done-with-requeue",
        )
        return QueueStatus(
            found.count("queued"),
            found.count("locked") + found.count("locked-with-requeue"),
            sum(found.count(each) for each in backoffs),
            len(found),
        )

    def queue_size(self, now: int) -> int:
        return len(self.ready(now))

    def length(self, _now: int) -> int:
        return len([item for item in self.items if item.place != "requeue"])

    def content(self, now: int, ids: Sequence[int]) -> dict[str, MessageInfo]:
        found = {}
        for item in self.items:
            status = self.status(now, item.mid)
            if item.id in ids and item.place != "requeue" and status is not None:
                backoff = None
                if item.place == "done":
                    backoff = (item.until - now) / 1e9
                elif status == "queued-with-backoff":
                    backoff = (item.ready_at - now) / 1e9
                age = (now - item.enqueued_at) / 1e9
                found[item.mid] = MessageInfo(
                    item.value, status, item.attempts, backoff, age, item.id
                )
        return found

    def remove(self, now: int, ids: Sequence[int]) -> int:
        gone = [item for item in self.items if item.id in ids]
        for item in sorted(gone, key=lambda item: item.place != "requeue"):
            if item.place == "requeue":
                self.items.remove(item)
            else:
                self.drop(item, now)
        return len(gone)

    def clear(self, now: int) -> int:
        held = self.length(now)
        self.items.clear()
        return held

    def close(self, _now: int) -> None:
        self.closed = True

    def pause(self, now: int, duration: int | None) -> None:
        self.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        self.paused_until = None

    def statistics(self, now: int) -> MessageStatistics:
        places = [item.place for item in self.items]
        ready = self.ready(now)
        return MessageStatistics(
            queued=len(ready),
            backoff=places.count("queued") - len(ready),
            locked=places.count("locked"),
            done=places.count("done"),
            requeues=places.count("requeue"),
            oldest_age=(now - ready[0].ready_at) / 1e9 if ready else None,
            closed=self.closed,
            paused=self.paused_until is not None and now < self.paused_until,
            **self.counts,
        )
