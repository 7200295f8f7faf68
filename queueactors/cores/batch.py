"""The batch queue's core: items are buffered, flushed as batches, claimed, and tried again.

Pure: every operation takes the instant ``now`` (epoch nanoseconds) and answers at once; nothing
here waits, reads a clock, logs or writes. It validates first, then changes its indexes, and
changes the records last, by plain assignments and deletions that cannot fail: so an operation
that raises in the middle has not happened, and the indexes are rebuilt from the records. (A
user's buffer is trusted to take an item or to raise, not both; it cannot give one back, so items
that are pushed together go in one after the other. And the claim that ends as another one begins
has ended whatever comes of that.)

A flush that a trigger causes is no part of the push that pulled it: it passes by itself, before
whatever comes next. So a push needs no store, and a store that fails undoes none.

Order: the instant at which a batch can be claimed, then its number. What has failed comes behind
all that can be claimed already: so a batch that always fails starves nobody. It is also claimed
alone, once its attempts were over: so it spoils no other, and none goes down with it.

Source: seed 003, ``liq``.

The file is over 500 lines because it is one table of operations over one set of records.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

import attrs

from queueactors._errors import ItemRefusedError, QueueFullError
from queueactors._state_errors import QueueClosedError
from supervisors import describe

from ._batch_indexes import SLICE, BatchIndexes
from ._batch_values import (
    NEVER,
    TRIGGERS,
    Batch,
    BatchCounters,
    BatchRecords,
    BatchState,
    BatchStatistics,
    Buffer,
    Claimed,
    Intake,
    Pack,
    StoredBatch,
    Trigger,
)
from ._buffers import Appending, Merging
from ._pause import FOR_EVER, is_paused
from ._timed_values import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence, Sized

    from ._changed import Changed

__all__ = [
    "NEVER",
    "TRIGGERS",
    "Appending",
    "Batch",
    "BatchCore",
    "BatchCounters",
    "BatchRecords",
    "BatchState",
    "BatchStatistics",
    "Buffer",
    "Claimed",
    "Intake",
    "Merging",
    "Pack",
    "StoredBatch",
    "Trigger",
]


class Whole:
    """What packs items as they are: for a store that keeps the objects themselves."""

    lost: list[BaseException] = []  # noqa: RUF012 - nothing is ever in it

    def __call__(self, items: list[object]) -> Sequence[tuple[object, int]]:
        return [(items, len(items))]


class BatchCore(BatchIndexes):
    """The state machine of one batch queue.

    Every method takes ``now`` first: epoch nanoseconds, never smaller than before. Durations
    are nanoseconds. A refusal is a `QueueActorsError` and has changed nothing.

    Args:
      flush_size: Flush when the buffer has so many items; 0: never for that.
      flush_pushes: Flush when so many items were pushed to it; 0: never for that.
      flush_timeout: Flush so long after the first item; 0: never for that.
      max_claims: How often a batch may be claimed in vain; None: without limit.
      on_exhausted: Then ``"drop"`` it, ``"bury"`` it, or hand it to another queue.
      max_length: How many items it may hold, stored or not; None: without limit.
      name: The queue's, for errors.
      records: What a former incarnation left; None: an empty queue with an `Appending` buffer.
      pack: Makes of a buffer's items what is kept. None: they are kept as they are.
      changed: Where to note what a store has to write; None: it writes nothing.
      ready: Build the indexes at once. False: whoever made it runs through `rebuild`.
    """

    operations: tuple[str, ...] = (
        "bury_dead",
        "claim",
        "clear",
        "close",
        "dead_letters",
        "done",
        "failed",
        "flush",
        "give_back",
        "keep",
        "kick",
        "length",
        "pause",
        "peek",
        "push",
        "push_whole",
        "remove",
        "resume",
        "shut",
        "statistics",
        "stored",
        "wait_push",
        "wait_push_whole",
    )
    one_taker = False
    independent = False
    parting = ("flush", ("close",))  # the operation that is carried out when the actor stops

    def __init__(  # noqa: PLR0913 - all keyword-only, all with defaults
        self,
        *,
        flush_size: int = 1,
        flush_pushes: int = 0,
        flush_timeout: int = 0,
        max_claims: int | None = None,
        on_exhausted: str = "drop",
        max_length: int | None = None,
        name: str = "batch",
        records: BatchRecords | None = None,
        pack: Pack | None = None,
        changed: Changed | None = None,
        ready: bool = True,
    ) -> None:
        super().__init__(BatchRecords(Appending) if records is None else records, changed)
        self.name = name
        self.inserters: Sized = ()  # who waits in `wait_push`; the shell sets it
        self.syncers: Sized = ()  # who waits in `stored`; likewise
        self.configure(
            flush_size=flush_size,
            flush_pushes=flush_pushes,
            flush_timeout=flush_timeout,
            max_claims=max_claims,
            on_exhausted=on_exhausted,
            max_length=max_length,
        )
        self._pack: Pack = Whole() if pack is None else pack
        self._new_errands = True  # former incarnations may have left some
        if ready:
            for _ in self.rebuild():
                pass

    def configure(  # noqa: PLR0913 - all keyword-only
        self,
        *,
        flush_size: int,
        flush_pushes: int,
        flush_timeout: int,
        max_claims: int | None,
        on_exhausted: str,
        max_length: int | None,
    ) -> None:
        """Go by other limits from now on; arguments as for a new core."""
        self._flush_size = flush_size
        self._flush_pushes = flush_pushes
        self._flush_timeout = flush_timeout
        self._max_claims = max_claims
        self._on_exhausted = on_exhausted
        self._max_length = max_length

    # -- what the shell asks between operations ------------------------------------------------

    def new_errands(self) -> bool:
        """Return whether something has come up, since the last question: a dead letter."""
        new, self._new_errands = self._new_errands, False
        return new

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself; None: never.

        Args:
          waiting: Whether takers wait: then the end of a pause counts.
        """
        if self._trash or self._due_flush(-1) is not None:
            return 0
        instants = []
        intake = self.records.intake
        if self._flush_timeout and intake.first_at is not None:
            instants.append(intake.first_at + self._flush_timeout)
        due = self._cooling.first()
        if due is not None:
            instants.append(due[0])
        until = self.records.paused_until
        if waiting and until is not None and until != FOR_EVER:
            instants.append(until)
        return min(instants, default=None)

    def advance(self, now: int, limit: int | None = None) -> bool:
        """Let what has become due happen: flushes, and ends of waits.

        Args:
          now: Epoch nanoseconds.
          limit: How much of it at most; None: all.

        Returns:
          Whether that was all.
        """
        steps = 0
        while (due := self._cooling.first()) is not None and due[0] <= now:
            if steps == limit:
                return False
            steps += 1
            self._end_wait(due[1], due[0])
        self._flush_if_due(now)
        if self._trash:
            self._trash.sweep(SLICE)
        return not self._trash

    def _end_wait(self, number: int, at: int) -> None:
        """Let what waited until an instant be claimed again."""
        if number > 0:
            batch = self._messages[number]
            self._cooling.pop()
            self._ready[number] = None
            self._resting -= 1
            batch.state = "ready"
        elif self._groups[-number][0].state == "retry":
            self._cooling.pop()
            self._ready[number] = None
        else:
            self._cooling.pop()
            self._release(-number, at, 0, "the process ended that had it")

    def _flush_if_due(self, now: int) -> None:
        trigger = self._due_flush(now)
        if trigger is not None:
            self._flush(now, trigger)

    def _due_flush(self, now: int) -> Trigger | None:
        """Return what causes a flush at an instant; None: nothing does."""
        intake = self.records.intake
        if not intake.pushes:
            return None
        if 0 < self._flush_size <= len(intake.buffer):
            return "size"
        if 0 < self._flush_pushes <= intake.pushes:
            return "pushes"
        if intake.asked:
            return "stored"
        first_at = intake.first_at
        if self._flush_timeout and first_at is not None and first_at + self._flush_timeout <= now:
            return "timeout"
        return None

    # -- taking in -----------------------------------------------------------------------------

    def push(
        self,
        now: int,
        items: Sequence[object],
        inside: bool = False,  # noqa: FBT001, FBT002 - an engine passes positions
        in_turn: bool = False,  # noqa: FBT001, FBT002
        stored: bool = False,  # noqa: FBT001, FBT002
    ) -> int:
        """Add items to the buffer; return the number of the last one that was ever pushed.

        Args:
          now: Epoch nanoseconds.
          items: In order.
          inside: It is the process function that pushes: it may while the queue is closing.
          in_turn: The caller is the first of those who wait for room; all others stand behind it.
          stored: Flush them soon, whatever else the buffer is flushed for.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If there is no room for them: none went in.
          ItemRefusedError: If the buffer did not take one: those before it went in.
        """
        self._check_open(inside=inside)
        self._check_room(len(items), in_turn=in_turn)
        done, count = 0, len(items)
        while done < count:
            self._flush_if_due(now)
            done += self._push_some(now, items, done)
        if stored:
            self.records.intake.asked = True
        return self.records.intake.pushed

    def _push_some(self, now: int, items: Sequence[object], done: int) -> int:
        """Push one or more items, up to where a flush is due; return how many."""
        intake = self.records.intake
        buffer = intake.buffer
        count = 1
        if type(buffer) is Appending and len(items) > 1:
            count = len(items) - done
            if self._flush_size:
                count = min(count, self._flush_size - len(buffer))
            if self._flush_pushes:
                count = min(count, self._flush_pushes - intake.pushes)
            some = items[done : done + count]
            buffer.extend(some)
        else:
            try:
                buffer.push(items[done])
            except Exception as error:
                raise ItemRefusedError(self.name, describe(error), done) from error
        if intake.first_at is None:
            intake.first_at = now
        intake.pushes += count
        intake.pushed += count
        return count

    def wait_push(
        self,
        now: int,
        items: Sequence[object],
        inside: bool = False,  # noqa: FBT001, FBT002 - an engine passes positions
    ) -> int | None:
        """Add items, as `push` does; None while there is no room for them.

        If what is in the buffer takes up that room, it is flushed: nothing else would make any.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If even an empty queue has no room for them.
          ItemRefusedError: If the buffer did not take one: those before it went in.
        """
        try:
            return self.push(now, items, inside, True)
        except QueueFullError as error:
            if error.never_fits:
                raise
            intake = self.records.intake
            if len(intake.buffer) + len(items) > error.max_length:
                intake.asked = True
            return None

    def push_whole(self, now: int, value: object, in_turn: bool = False) -> int:  # noqa: FBT001, FBT002
        """Store an item as a batch of its own, past the buffer; return the batch's number.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If there is no room for it.
        """
        self._check_open(inside=False)
        self._check_room(1, in_turn=in_turn)
        self._flush_if_due(now)
        records = self.records
        batch = Batch(records.next_id, value, "ready", 1, now, now)
        self._add([batch])
        self._messages[batch.id] = batch
        records.next_id += 1
        self._counters.whole += 1
        return batch.id

    def wait_push_whole(self, now: int, value: object) -> int | None:
        """Store an item as `push_whole` does; None while there is no room for it.

        Raises:
          QueueClosedError: If the queue is closed.
        """
        try:
            return self.push_whole(now, value, True)
        except QueueFullError as error:
            if len(self.records.intake.buffer) >= error.max_length:
                self.records.intake.asked = True
            return None

    def stored(self, _now: int, number: int) -> bool | None:
        """Return True if the item of that number was flushed; None if not: then it soon is."""
        intake = self.records.intake
        if intake.sealed >= number or not intake.pushes:
            return True
        intake.asked = True
        return None

    def flush(self, now: int, trigger: Trigger = "manual") -> int:
        """Store what is in the buffer; return how many items that were.

        Those count that were flushed in a commit that failed: they are stored by this.

        Raises:
          QueueClosedError: If the queue is closed, and not any more about to be.
        """
        records = self.records
        if records.closed == "closed" and trigger == "manual":
            raise QueueClosedError(self.name)
        again = records.items_restored()
        return again + (self._flush(now, trigger) if records.intake.pushes else 0)

    def _flush(self, now: int, trigger: Trigger) -> int:
        records = self.records
        intake = records.intake
        errors: list[BaseException] = []
        try:
            items = list(intake.buffer)
        except Exception as caught:  # noqa: BLE001 - a buffer of the user's
            items, lost = [], intake.pushes
            errors.append(caught)
        else:
            lost = 0
        buffer = records.new_buffer()
        parts = self._pack(items) if items else ()
        if self._pack.lost:
            errors += self._pack.lost
            lost += len(self._pack.lost)
            self._pack.lost.clear()
        if lost:
            self._notice("items_lost", items=lost, error=describe(errors[0]))
        batches = [
            Batch(number, value, "ready", size, now, now)
            for number, (value, size) in enumerate(parts, records.next_id)
        ]
        flushed = len(items) - len(errors) if items else 0
        counts = intake.flushed.copy()
        counts[trigger] += flushed
        new = {batch.id: batch for batch in batches}
        next_id = records.next_id + len(batches)
        self._add(batches)
        if self._changed is not None:
            intake.unwritten.update(
                (batch.id, (batch.value, batch.size, batch.pushed_at)) for batch in batches
            )
        self._messages.update(new)
        records.next_id = next_id
        intake.buffer = buffer
        intake.pushes = 0
        intake.first_at = None
        intake.asked = False
        intake.sealed = intake.pushed
        intake.flushed = counts
        intake.lost += lost
        return flushed

    def _check_open(self, *, inside: bool) -> None:
        closed = self.records.closed
        if closed != "no" and not (inside and closed == "closing"):
            raise QueueClosedError(self.name)

    def _check_room(self, count: int, *, in_turn: bool) -> None:
        """Refuse items if there is no room for them."""
        if self._max_length is None:
            return
        room = max(self._max_length - self._length(), 0)
        crowded = not in_turn and bool(self.inserters)
        if count > room or crowded:
            raise QueueFullError(self.name, count, None if crowded else room, self._max_length)

    # -- handing out ---------------------------------------------------------------------------

    def claim(
        self, now: int, limit: int = 1, ended: tuple[int, int] | None = None
    ) -> Claimed | None:
        """Claim the next batches; None if there are none.

        Those that were never released come up to ``limit`` at a time; those that wait for another
        attempt, as they were before; what was released, alone.

        Args:
          now: Epoch nanoseconds.
          limit: How many batches at most (>= 1).
          ended: The key of a claim that is to end with success before that, and how many items
            were processed. Doing it again does nothing.

        Raises:
          QueueClosedError: If the queue is closed, or about to be; ``ended`` has happened.
        """
        self.advance(now)
        if ended is not None:
            self.done(now, *ended)
        records = self.records
        if records.closed != "no":
            raise QueueClosedError(self.name)
        if is_paused(records.paused_until, now):
            return None
        records.paused_until = None
        chosen = self._choose(limit)
        if not chosen:
            return None
        first = chosen[0]
        key = max(now, records.last_key + 1)
        attempt = first.attempt + 1
        claims = first.claims + (attempt == 1)
        claimed = Claimed(
            key,
            tuple([batch.id for batch in chosen]),
            tuple([batch.value for batch in chosen]),
            attempt,
            claims,
        )
        self._note(chosen)
        if first.key:
            del self._ready[-first.key], self._groups[first.key]
            self._retrying -= len(chosen)
        else:
            for batch in chosen:
                del self._ready[batch.id]
        self._groups[key] = chosen
        self._claimed += len(chosen)
        records.last_key = key
        for batch in chosen:
            batch.key = key
            batch.attempt = attempt
            batch.claims = claims
            batch.deadline_at = NEVER
            batch.state = "claimed"
        return claimed

    def _choose(self, limit: int) -> list[Batch]:
        """Return the batches that are to be claimed next, together."""
        chosen: list[Batch] = []
        for number in self._ready:
            if number < 0:
                return chosen or self._groups[-number]
            batch = self._messages[number]
            if batch.claims or batch.error is not None:
                return chosen or [batch]
            chosen.append(batch)
            if len(chosen) == limit:
                break
        return chosen

    def done(self, _now: int, key: int, items: int) -> None:
        """End a claim with success, if it is one still; so many items were processed."""
        group = self._claim_of(key)
        if group is None:
            return
        self._note(group)
        del self._groups[key]
        self._claimed -= len(group)
        for batch in group:
            self._items -= batch.size
        self._counters.processed += items
        for batch in group:
            del self._messages[batch.id]

    def failed(
        self, now: int, key: int, error: str, delay: int | None = None, cooldown: int = 0
    ) -> bool:
        """End a claim whose call failed; return whether it was one still.

        Args:
          now: Epoch nanoseconds.
          key: The claim's.
          error: What was raised.
          delay: How long its batches wait for the next attempt, together. None: there is none,
            and they are released.
          cooldown: How long they rest then.
        """
        group = self._claim_of(key)
        if group is None:
            return False
        if delay is None:
            self._release(key, now, cooldown, error)
        else:
            self._note(group)
            self._cooling.put(-key, now + delay, -key)
            self._claimed -= len(group)
            self._retrying += len(group)
            for batch in group:
                batch.error = error
                batch.ready_at = now + delay
                batch.deadline_at = 0
                batch.state = "retry"
        self._counters.process_errors += 1
        return True

    def _release(self, key: int, now: int, cooldown: int, error: str) -> None:
        """Let batches that were claimed together be claimed again, each by itself; or give up."""
        group = self._groups[key]
        self._note(group)
        exhausted = self._is_exhausted(group[0])  # they have all been claimed as often
        del self._groups[key]
        self._claimed -= len(group)
        if exhausted:
            self._give_up(group, error)
            return
        for batch in group:
            if cooldown:
                self._cooling.put(batch.id, now + cooldown, batch.id)
                self._resting += 1
            else:
                self._ready[batch.id] = None
        count = len(group)
        for batch in group:
            batch.error = error
            batch.ready_at = now + cooldown
            batch.attempt = batch.key = batch.deadline_at = 0
            batch.state = "cooling" if cooldown else "ready"
        self._counters.released += count

    def _is_exhausted(self, batch: Batch) -> bool:
        return self._max_claims is not None and batch.claims >= self._max_claims

    def _give_up(self, group: list[Batch], error: str) -> None:
        """Let batches be claimed no more."""
        drop, bury = (self._on_exhausted == each for each in ("drop", "bury"))
        what: BatchState = "buried" if bury else "dead"
        for batch in group:
            told = {"id": batch.id, "items": batch.size, "claims": batch.claims, "error": error}
            if drop:
                self._notice("batch_dropped", **told)
                self._items -= batch.size
            elif bury:
                self._notice("batch_buried", **told)
                self._buried[batch.id] = batch
            else:
                self._notice("batch_dead", **told)
                self._dead[batch.id] = batch
                self._new_errands = True
        count = len(group)
        if drop:
            for batch in group:
                del self._messages[batch.id]
        else:
            for batch in group:
                batch.error = error
                batch.attempt = batch.key = batch.deadline_at = 0
                batch.state = what
        self._counters.exhausted += count

    def give_back(self, now: int, key: int) -> bool:
        """End a claim as if it had not been; return whether it was one still.

        Its batches come before all others.
        """
        group = self._claim_of(key)
        if group is None:
            return False
        self._give_back(now, {key: group})
        return True

    def keep(self, now: int, keys: Collection[int] = ()) -> int:
        """Give back all claims but these, which somebody knows of; return how many that were."""
        lost = {
            key: group
            for key in self._groups
            if key not in keys and (group := self._claim_of(key)) is not None
        }
        count = len(lost)
        self._give_back(now, lost)
        return count

    def _give_back(self, now: int, groups: dict[int, list[Batch]]) -> None:
        """End claims as if they had not been: all, or none."""
        for key, group in reversed(groups.items()):
            self._note(group)
            self._claimed -= len(group)
            if group[0].attempt > 1:
                self._retrying += len(group)
                self._ready[-key] = None
                self._ready.move_to_end(-key, last=False)
            else:
                del self._groups[key]
                for batch in reversed(group):
                    self._ready[batch.id] = None
                    self._ready.move_to_end(batch.id, last=False)
        given_back = list(chain.from_iterable(groups.values()))
        for batch in given_back:
            batch.deadline_at = 0
            batch.attempt -= 1
            if batch.attempt:
                batch.ready_at = now
                batch.state = "retry"
            else:
                batch.claims -= 1
                batch.key = 0
                batch.state = "ready"

    # -- what an operator does -------------------------------------------------------------------

    def peek(self, now: int, state: BatchState = "ready", limit: int = 1) -> list[StoredBatch]:
        """Return some of the batches in a state, first things first."""
        self.advance(now)
        found: list[Batch] = []
        match state:
            case "ready":
                numbers = (number for number in self._ready if number > 0)
                found = [self._messages[number] for number in islice(numbers, limit)]
            case "cooling":
                numbers = (number for number in self._cooling.in_order() if number > 0)
                found = [self._messages[number] for number in islice(numbers, limit)]
            case "buried" | "dead":
                some = self._buried if state == "buried" else self._dead
                found = list(islice(some.values(), limit))
            case _:
                those = (
                    batch
                    for group in self._groups.values()
                    for batch in group
                    if batch.state == state
                )
                found = list(islice(those, limit))
        return [
            StoredBatch(
                batch.id,
                batch.state,
                batch.value,  # type: ignore[arg-type] # the shell decodes it
                batch.size,
                batch.pushed_at,
                batch.ready_at,
                batch.claims,
                batch.attempt,
                batch.error,
            )
            for batch in found
        ]

    def kick(self, now: int, limit: int = 1) -> int:
        """Let up to ``limit`` buried batches be claimed again, as if never before; return how many.

        Each comes alone.
        """
        chosen = list(islice(self._buried.values(), limit))
        self._note(chosen)
        for batch in chosen:
            del self._buried[batch.id]
            self._ready[batch.id] = None
        count = len(chosen)
        for batch in chosen:
            batch.ready_at = now
            batch.claims = 0
            batch.state = "ready"
        return count

    def remove(self, _now: int, ids: Sequence[int]) -> int:
        """Take batches out, whatever they are; return how many there were."""
        gone = {each: self._messages[each] for each in ids if each in self._messages}
        self._note(gone.values())
        for batch in gone.values():
            self._take_out(batch)
        count = len(gone)
        for number in gone:
            del self._messages[number]
        return count

    def dead_letters(self, _now: int, limit: int = 16) -> list[DeadLetter]:
        """Return some batches that another queue must get; then `remove` them."""
        return [
            DeadLetter(
                value=batch.value,
                queue=self.name,
                id=batch.id,
                attempts=batch.claims,
                error=batch.error,
                inserted_at=batch.pushed_at,
            )
            for batch in islice(self._dead.values(), limit)
        ]

    def bury_dead(self, _now: int, id: int) -> None:
        """Put a batch aside that the other queue does not take."""
        batch = self._dead.get(id)
        if batch is not None:
            self._note([batch])
            del self._dead[id]
            self._buried[id] = batch
            batch.state = "buried"

    # -- the whole queue -------------------------------------------------------------------------

    def close(self, now: int) -> None:
        """Take nothing in and hand nothing out any more, but for what processing brings back."""
        if self.records.intake.pushes:
            self._flush(now, "close")
        if self.records.closed == "no":
            self.records.closed = "closing"

    def shut(self, now: int) -> None:
        """End a queue that was closed: nobody processes anything any more. What is left stays."""
        self.keep(now)
        if self.records.intake.pushes:
            self._flush(now, "close")
        self.records.closed = "closed"

    def clear(self, now: int) -> int:
        """Remove all items, stored or not; claims are void. Return how many there were."""
        held = self.length(now)
        records = self.records
        intake = records.intake
        if not held and not self._messages:
            return 0
        buffer = records.new_buffer()
        fresh = attrs.evolve(
            intake,
            buffer=buffer,
            pushes=0,
            first_at=None,
            sealed=intake.pushed,
            unwritten={},
            flushed=intake.flushed.copy(),
            asked=False,
        )
        self._throw_away()
        intake.after = fresh
        records.intake = fresh
        return held

    def pause(self, now: int, duration: int | None = None) -> None:
        """Hand nothing out, for ``duration`` or until `resume`."""
        self.records.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        """Hand out again."""
        self.records.paused_until = None

    def length(self, _now: int) -> int:
        """Return how many items the queue holds, stored or not."""
        return self._length()

    def statistics(self, now: int) -> BatchStatistics:
        """Return the queue's numbers; who waits, and the actor's, are for the shell to fill in."""
        self.advance(now)
        records = self.records
        intake = records.intake
        counts = attrs.asdict(self._counters)
        whole = counts.pop("whole")
        return BatchStatistics(
            buffered=len(intake.buffer),
            batches=len(self._messages),
            items=self._items,
            ready=self._claimable(),
            cooling=self._resting,
            retrying=self._retrying,
            claimed=self._claimed,
            buried=len(self._buried),
            dead=len(self._dead),
            set_aside=records.set_aside,
            oldest_age=self._oldest_age(now),
            pushed=intake.pushed + whole,
            flushed=intake.flushed | {"stored": intake.flushed["stored"] + whole},
            lost=intake.lost,
            closed=records.closed != "no",
            paused=is_paused(records.paused_until, now),
            **counts,
        )
