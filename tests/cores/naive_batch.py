"""A batch queue as lists: slow and plain, the measure of the core.

The file is over 500 lines because it is one model, with what a restart or a failed commit leaves.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Literal

import attrs

from queueactors._errors import ItemRefusedError, QueueFullError
from queueactors._state_errors import QueueClosedError
from queueactors.cores._batch_values import TRIGGERS
from queueactors.cores.batch import BatchStatistics, Claimed, StoredBatch
from queueactors.cores.timed import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueactors.cores.batch import BatchState, Trigger

FOR_EVER = float("inf")
UNTOLD = "the process ended that had it"

Merge = tuple["Callable[[int], int]", "Callable[[int, int], int]"]


@attrs.define(eq=False)
class Lot:
    """One stored batch."""

    id: int
    value: object
    size: int
    pushed_at: int
    ready_at: int
    state: BatchState = "ready"
    claims: int = 0
    attempt: int = 0
    error: str | None = None


@attrs.define(eq=False)
class Party:
    """Batches that go together: one, or those of a claim."""

    number: int  # a batch's, or a claim's key, negative
    lots: list[Lot]
    at: int = 0  # while it waits, until when
    ended: bool = False  # with the process that had it

    @property
    def key(self) -> int:
        return max(-self.number, 0)


@attrs.define(eq=False)
class NaiveBatches:
    """What `BatchCore` must look like from outside.

    Args:
      merge: A key function and a merge function; None: the buffer is a list.
      pack: What is kept of items, and how many could not be.
    """

    flush_size: int = 1
    flush_pushes: int = 0
    flush_timeout: int = 0
    max_claims: int | None = None
    on_exhausted: str = "drop"
    max_length: int | None = None
    merge: Merge | None = None
    pack: Callable[[list[object]], tuple[list[tuple[object, int]], int]] | None = None
    name: str = "batch"
    line: list[Party] = attrs.field(factory=list)  # what can be claimed, in order
    waiting: list[Party] = attrs.field(factory=list)
    groups: list[Party] = attrs.field(factory=list)  # all with a key, wherever
    aside: list[Lot] = attrs.field(factory=list)  # buried and dead
    next_id: int = 1
    last_key: int = 0
    closed: Literal["no", "closing", "closed"] = "no"
    paused_until: float | None = None
    counts: dict[str, int] = attrs.field(factory=dict)
    # what goes on if a commit fails
    buffer: list[int] = attrs.field(factory=list)
    pushes: int = 0
    first_at: int | None = None
    pushed: int = 0
    sealed: int = 0
    asked: bool = False
    lost: int = 0
    flushed: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(TRIGGERS, 0))
    fresh: list[Lot] = attrs.field(factory=list)  # flushed since the snapshot, as they were then
    restored: int = 0  # items that a commit failed to write, and no other has written
    cleared: list[NaiveBatches] = attrs.field(factory=list)  # as it was before, since then
    inserters: list[object] = attrs.field(factory=list)  # who waits, in the shell

    # -- what there is ---------------------------------------------------------------------------

    def lots(self) -> list[Lot]:
        parties = [*self.line, *self.waiting, *self.groups]
        found = [lot for party in parties for lot in party.lots] + self.aside
        return sorted({lot.id: lot for lot in found}.values(), key=lambda lot: lot.id)

    def length(self, _now: int) -> int:
        return len(self.buffer) + sum(lot.size for lot in self.lots())

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def claim_of(self, key: int) -> Party | None:
        for party in self.groups:
            if party.key == key and party.lots[0].state == "claimed" and not party.ended:
                return party
        return None

    # -- time ------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        for party in sorted(self.waiting, key=lambda each: (each.at, each.number)):
            if party.at > now:
                continue
            self.waiting.remove(party)
            if party.ended:
                self.release(party, party.at, 0, UNTOLD)
            else:
                self.line.append(party)
                if not party.key:
                    party.lots[0].state, party.lots[0].ready_at = "ready", party.at
        self.flush_if_due(now)

    def flush_if_due(self, now: int) -> None:
        first_at = self.first_at
        if not self.pushes:
            return
        if self.flush_size and len(self.buffer) >= self.flush_size:
            self.store(now, "size")
        elif self.flush_pushes and self.pushes >= self.flush_pushes:
            self.store(now, "pushes")
        elif self.asked:
            self.store(now, "stored")
        elif self.flush_timeout and first_at is not None and first_at + self.flush_timeout <= now:
            self.store(now, "timeout")

    def next_deadline(self, *, waiting: bool) -> int | None:
        instants: list[float] = [party.at for party in self.waiting]
        if self.flush_timeout and self.first_at is not None:
            instants.append(self.first_at + self.flush_timeout)
        if waiting and self.paused_until is not None and self.paused_until != FOR_EVER:
            instants.append(self.paused_until)
        return int(min(instants)) if instants else None

    # -- taking in -------------------------------------------------------------------------------

    def push(
        self,
        now: int,
        items: Sequence[int],
        inside: bool = False,  # noqa: FBT001, FBT002
        in_turn: bool = False,  # noqa: FBT001, FBT002
    ) -> int:
        self.check_open(inside=inside)
        self.check_room(len(items), in_turn=in_turn)
        for done, item in enumerate(items):
            self.flush_if_due(now)
            error = self.put(item)
            if error is not None:
                raise ItemRefusedError(self.name, error, done)
            self.first_at = now if self.first_at is None else self.first_at
            self.pushes += 1
            self.pushed += 1
        return self.pushed

    def put(self, item: int) -> str | None:
        """Put an item into the buffer; return why not."""
        if self.merge is None:
            self.buffer.append(item)
            return None
        key, merge = self.merge
        for place, there in enumerate(self.buffer):
            if key(there) == key(item):
                merged = merge(there, item)
                if merged > 500:
                    return f"ValueError: {merged} is too much"
                self.buffer[place] = merged
                return None
        self.buffer.append(item)
        return None

    def wait_push(self, now: int, items: Sequence[int], inside: bool = False) -> int | None:  # noqa: FBT001, FBT002
        try:
            return self.push(now, items, inside, in_turn=True)
        except QueueFullError as error:
            self.wait(error, len(items))
            return None

    def wait(self, error: QueueFullError, count: int) -> None:
        """Wait for room, unless that is in vain."""
        if count > error.max_length:
            raise error
        self.asked = self.asked or len(self.buffer) + count > error.max_length

    def push_whole(self, now: int, value: object, in_turn: bool = False) -> int:  # noqa: FBT001, FBT002
        self.check_open(inside=False)
        self.check_room(1, in_turn=in_turn)
        self.flush_if_due(now)
        self.count("whole")
        return self.add(now, value, 1).id

    def wait_push_whole(self, now: int, value: object) -> int | None:
        try:
            return self.push_whole(now, value, in_turn=True)
        except QueueFullError as error:
            self.wait(error, 1)
            return None

    def add(self, now: int, value: object, size: int) -> Lot:
        lot = Lot(self.next_id, value, size, now, now)
        self.next_id += 1
        self.line.append(Party(lot.id, [lot]))
        return lot

    def stored(self, _now: int, number: int) -> bool | None:
        if self.sealed >= number or not self.pushes:
            return True
        self.asked = True
        return None

    def flush(self, now: int) -> int:
        if self.closed == "closed":
            raise QueueClosedError(self.name)
        return self.restored + (self.store(now, "manual") if self.pushes else 0)

    def store(self, now: int, trigger: Trigger) -> int:
        parts: list[tuple[object, int]] = [([*self.buffer], len(self.buffer))]
        lost = 0
        if self.pack is not None:
            parts, lost = self.pack([*self.buffer])
        for value, size in parts:
            self.fresh.append(deepcopy(self.add(now, value, size)))
        flushed = len(self.buffer) - lost
        self.flushed[trigger] += flushed
        self.lost += lost
        self.buffer, self.pushes, self.first_at, self.asked = [], 0, None, False
        self.sealed = self.pushed
        return flushed

    def check_open(self, *, inside: bool) -> None:
        if self.closed == "closed" or (self.closed == "closing" and not inside):
            raise QueueClosedError(self.name)

    def check_room(self, count: int, *, in_turn: bool) -> None:
        if self.max_length is not None:
            crowded = bool(self.inserters) and not in_turn
            room = max(self.max_length - self.length(0), 0)
            if crowded or count > room:
                raise QueueFullError(self.name, count, None if crowded else room, self.max_length)

    # -- handing out -----------------------------------------------------------------------------

    def claim(
        self, now: int, limit: int = 1, ended: tuple[int, int] | None = None
    ) -> Claimed | None:
        self.advance(now)
        if ended is not None:
            self.done(*ended)
        if self.closed != "no":
            raise QueueClosedError(self.name)
        if self.paused_until is not None:
            if now < self.paused_until:
                return None
            self.paused_until = None
        if not self.line:
            return None
        taken = [self.line.pop(0)]
        while len(taken) < limit and self.line and all(map(is_new, [*taken, self.line[0]])):
            taken.append(self.line.pop(0))
        lots = [lot for party in taken for lot in party.lots]
        self.last_key = max(now, self.last_key + 1)
        self.groups = [party for party in self.groups if party is not taken[0]]
        self.groups.append(Party(-self.last_key, lots))
        for lot in lots:
            lot.state = "claimed"
            lot.attempt += 1
            lot.claims += lot.attempt == 1
        return Claimed(
            self.last_key,
            tuple(lot.id for lot in lots),
            tuple(lot.value for lot in lots),
            lots[0].attempt,
            lots[0].claims,
        )

    def done(self, key: int, items: int) -> None:
        party = self.claim_of(key)
        if party is not None:
            self.groups.remove(party)
            self.count("processed", items)

    def failed(
        self, now: int, key: int, error: str, delay: int | None = None, cooldown: int = 0
    ) -> bool:
        party = self.claim_of(key)
        if party is None:
            return False
        self.count("process_errors")
        if delay is None:
            self.release(party, now, cooldown, error)
            return True
        party.at = now + delay
        self.waiting.append(party)
        for lot in party.lots:
            lot.state, lot.error, lot.ready_at = "retry", error, now + delay
        return True

    def release(self, party: Party, now: int, cooldown: int, error: str) -> None:
        self.groups.remove(party)
        for lot in party.lots:
            lot.error, lot.attempt = error, 0
            if self.max_claims is not None and lot.claims >= self.max_claims:
                self.count("exhausted")
                lot.state = "buried" if self.on_exhausted == "bury" else "dead"
                if self.on_exhausted != "drop":
                    self.aside.append(lot)
                continue
            self.count("released")
            lot.state, lot.ready_at = "cooling" if cooldown else "ready", now + cooldown
            place = self.waiting if cooldown else self.line
            place.append(Party(lot.id, [lot], now + cooldown))

    def give_back(self, now: int, key: int) -> bool:
        party = self.claim_of(key)
        if party is None:
            return False
        for lot in party.lots:
            lot.attempt -= 1
            lot.state = "retry" if lot.attempt else "ready"
            if lot.attempt:
                lot.ready_at = now
            else:
                lot.claims -= 1
        if party.lots[0].attempt:
            self.line.insert(0, party)
        else:
            self.groups.remove(party)
            self.line[:0] = [Party(lot.id, [lot]) for lot in party.lots]
        return True

    def keep(self, now: int, keys: Sequence[int] = ()) -> int:
        held = [party.key for party in self.groups if self.claim_of(party.key) is not None]
        lost = [key for key in held if key not in keys]
        for key in reversed(lost):
            self.give_back(now, key)
        return len(lost)

    # -- what an operator does -------------------------------------------------------------------

    def peek(self, now: int, state: BatchState, limit: int) -> list[StoredBatch]:
        self.advance(now)
        match state:
            case "ready":
                found = [each.lots[0] for each in self.line if not each.key]
            case "cooling":
                in_order = sorted(self.waiting, key=lambda each: (each.at, each.number))
                found = [each.lots[0] for each in in_order if not each.key]
            case "buried" | "dead":
                found = self.aside
            case _:
                found = [lot for each in self.groups for lot in each.lots]
        found = [lot for lot in found if lot.state == state]
        return [
            StoredBatch(
                lot.id,
                lot.state,
                lot.value,  # type: ignore[arg-type]
                lot.size,
                lot.pushed_at,
                lot.ready_at,
                lot.claims,
                lot.attempt,
                lot.error,
            )
            for lot in found[:limit]
        ]

    def kick(self, now: int, limit: int) -> int:
        chosen = [lot for lot in self.aside if lot.state == "buried"][:limit]
        for lot in chosen:
            self.aside.remove(lot)
            lot.state, lot.ready_at, lot.claims = "ready", now, 0
            self.line.append(Party(lot.id, [lot]))
        return len(chosen)

    def remove(self, _now: int, ids: Sequence[int]) -> int:
        gone = [lot for lot in self.lots() if lot.id in ids]
        for party in {id(each): each for each in self.line + self.waiting + self.groups}.values():
            party.lots = [lot for lot in party.lots if lot not in gone]
        self.line = [party for party in self.line if party.lots]
        self.waiting = [party for party in self.waiting if party.lots]
        self.groups = [party for party in self.groups if party.lots]
        self.aside = [lot for lot in self.aside if lot not in gone]
        return len(gone)

    def dead_letters(self, _now: int, limit: int) -> list[DeadLetter]:
        dead = [lot for lot in self.aside if lot.state == "dead"]
        return [
            DeadLetter(lot.value, self.name, lot.id, lot.claims, lot.error, lot.pushed_at)
            for lot in dead[:limit]
        ]

    def bury_dead(self, _now: int, id: int) -> None:
        for lot in [lot for lot in self.aside if lot.id == id and lot.state == "dead"]:
            self.aside.remove(lot)
            lot.state = "buried"
            self.aside.append(lot)

    # -- the whole queue -------------------------------------------------------------------------

    def close(self, now: int) -> None:
        if self.pushes:
            self.store(now, "close")
        self.closed = "closing" if self.closed == "no" else self.closed

    def shut(self, now: int) -> None:
        self.keep(now)
        if self.pushes:
            self.store(now, "close")
        self.closed = "closed"

    def clear(self, now: int) -> int:
        held = self.length(now)
        if held or self.lots():
            self.cleared.append(self.copy())
            self.line, self.waiting, self.groups, self.aside, self.fresh = [], [], [], [], []
            self.buffer, self.pushes, self.first_at, self.asked = [], 0, None, False
            self.sealed = self.pushed
            self.restored = 0
        return held

    def pause(self, now: int, duration: int | None) -> None:
        self.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        self.paused_until = None

    def statistics(self, now: int) -> BatchStatistics:
        self.advance(now)
        states = [lot.state for lot in self.lots()]
        counts = self.counts | {}
        whole = counts.pop("whole", 0)
        return BatchStatistics(
            buffered=len(self.buffer),
            batches=len(states),
            items=sum(lot.size for lot in self.lots()),
            ready=states.count("ready"),
            cooling=states.count("cooling"),
            retrying=states.count("retry"),
            claimed=states.count("claimed"),
            buried=states.count("buried"),
            dead=states.count("dead"),
            oldest_age=(now - self.line[0].lots[0].ready_at) / 1e9 if self.line else None,
            pushed=self.pushed + whole,
            flushed=self.flushed | {"stored": self.flushed["stored"] + whole},
            lost=self.lost,
            closed=self.closed != "no",
            paused=self.paused_until is not None and now < self.paused_until,
            **counts,
        )

    # -- what becomes of it ----------------------------------------------------------------------

    def copy(self) -> NaiveBatches:
        earlier, self.cleared = self.cleared, []
        copied = deepcopy(self)
        self.cleared = earlier
        return copied

    def restart(self) -> None:
        """Sort everything anew: by instant, then number."""
        passed = max((lot.ready_at for lot in self.lots() if lot.state == "ready"), default=0)
        for party in self.groups:
            party.lots.sort(key=lambda lot: lot.id)
        self.groups.sort(key=lambda party: party.lots[0].id)
        self.aside.sort(key=lambda lot: lot.id)
        self.waiting += [party for party in self.line if party.key]
        self.line = [party for party in self.line if not party.key]
        for party in [*self.waiting]:
            party.at = party.at if party.ended else party.lots[0].ready_at
            if party.at <= passed and not party.ended:
                self.waiting.remove(party)
                self.line.append(party)
                if not party.key:
                    party.lots[0].state = "ready"
        self.line.sort(key=lambda party: (party.lots[0].ready_at, party.number))

    def end(self, at: int) -> None:
        """Be what a new process finds."""
        for party in self.groups:
            if party.lots[0].state == "claimed" and not party.ended:
                party.ended, party.at = True, at
                self.waiting.append(party)
        self.closed, self.counts = "no", {}
        self.buffer, self.pushes, self.first_at, self.asked = [], 0, None, False
        self.pushed = self.sealed = self.lost = 0
        self.flushed = dict.fromkeys(TRIGGERS, 0)
        self.fresh, self.cleared, self.restored = [], [], 0
        self.restart()

    def undone(self, before: NaiveBatches, *, written: bool) -> NaiveBatches:
        """Return what there is after a commit failed; or was said to have failed."""
        again = self.copy() if written else before.copy()
        again.closed, again.counts = before.closed, before.counts.copy()
        kept = [*self.cleared, self]
        if not written:
            for each in kept:
                again.next_id = max([again.next_id, *(lot.id + 1 for lot in each.fresh)])
                again.line += [Party(lot.id, [deepcopy(lot)]) for lot in each.fresh]
            failed = [lot.size for each in (before, *kept) for lot in each.fresh]
            again.restored = before.restored + sum(failed)
        else:
            again.restored = 0
        first = kept[0]
        again.fresh, again.cleared, again.inserters = [], [], self.inserters
        again.buffer, again.lost = [], self.lost
        for each in kept:
            again.lost += sum(again.put(item) is not None for item in each.buffer)
        again.pushes = sum(each.pushes for each in kept)
        again.first_at = next((e.first_at for e in kept if e.first_at is not None), None)
        again.asked = any(each.asked for each in kept)
        again.pushed, again.sealed, again.flushed = self.pushed, first.sealed, {**self.flushed}
        again.restart()
        return again


def is_new(party: Party) -> bool:
    """Return whether it may be claimed together with others."""
    lot = party.lots[0]
    return not party.key and not lot.claims and lot.error is None
