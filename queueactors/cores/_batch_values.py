"""The values of a batch queue: what it hands out, what it shows, and its records.

Only the core (`queueactors.cores.batch`) changes a record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import attrs
import msgspec

from ._statistics import QueueStatistics
from ._unwritten import Resumable, Unwritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BatchState: TypeAlias = Literal["ready", "cooling", "retry", "claimed", "buried", "dead"]
"""Where a stored batch is in its life.

``ready``: it can be claimed. ``cooling``: it was released, and rests until it can be claimed
again. ``retry``: with those that it was claimed with, it waits for the next attempt. ``claimed``:
the process function has it. ``buried``: it was claimed too often, and waits for an operator.
``dead``: it was claimed too often, and is on its way to the queue for dead letters.
"""

Trigger: TypeAlias = Literal["size", "pushes", "timeout", "manual", "stored", "close"]
"""Why a buffer was flushed: its size, the pushes, its age, `flush`, a push that is to be stored or
that waits for the buffer's room, or the end of the queue.
"""

TRIGGERS: tuple[Trigger, ...] = ("size", "pushes", "timeout", "manual", "stored", "close")


class Buffer(Protocol):
    """Where items are until they are flushed: write your own with these three methods.

    One buffer serves for the items of one flush, or of one claim; after that another one is made.
    """

    def push(self, item: object, /) -> None:
        """Take in an item. If it raises, the item must not be in it."""

    def __len__(self) -> int:
        """Return how many items it would hand out now: what ``flush_size`` is compared with."""

    def __iter__(self) -> Iterator[object]:
        """Yield the items; they are not pushed to this buffer any more after that."""


class Pack(Protocol):
    """Makes of a buffer's items what a batch keeps."""

    def __call__(self, items: list[object], /) -> Sequence[tuple[object, int]]:
        """Return the content of one batch or more, in order, each with its number of items.

        What cannot be kept is left out; `lost` has it then.
        """

    @property
    def lost(self) -> list[BaseException]:
        """Why items were left out, since the caller emptied it."""


class Claimed(NamedTuple):
    """Batches that are to be processed together.

    Args:
      key: Proves the claim; each has its own.
      ids: The batches' numbers: stable, unique in their queue.
      values: What they hold.
      attempt: The how-manieth call for these batches since they were last released, from 1.
      claims: How often the first of them was claimed, this time included.
    """

    key: int
    ids: tuple[int, ...]
    values: tuple[object, ...]
    attempt: int
    claims: int


@attrs.frozen
class StoredBatch:
    """A stored batch, as `peek` shows it.

    Args:
      id: Its number.
      state: Where it is in its life.
      items: What it holds.
      size: How many items.
      pushed_at: Epoch nanoseconds at which it was flushed.
      ready_at: Epoch nanoseconds since, or from, when it can be claimed.
      claims: How often it was claimed.
      attempt: How often it was tried since it was last released.
      error: What the process function raised last.
    """

    id: int
    state: BatchState
    items: list[object]
    size: int
    pushed_at: int
    ready_at: int
    claims: int
    attempt: int
    error: str | None


@attrs.frozen(kw_only=True)
class BatchStatistics(QueueStatistics):
    """A batch queue's numbers. Gauges are of now; counters run since the process opened it.

    Args:
      buffered: Items in the buffer.
      batches: Batches that are stored, buried and dead ones included.
      items: The items in them.
      ready: Batches that can be claimed now.
      cooling: Those that rest since they were released.
      retrying: Those that wait for their next attempt.
      claimed: Those that the process function has.
      buried: Those that wait for an operator.
      dead: Those on their way to the queue for dead letters.
      set_aside: Those that the store keeps and cannot decode.
      oldest_age: Seconds that the first batch has been ready; None without one.
      pushed: Items that came.
      flushed: Items that were stored, by what caused it.
      processed: Items that the process function is through with; merged ones count once.
      process_errors: Calls of the process function that failed.
      released: Batches whose attempts were over, and which can be claimed again.
      exhausted: Batches that were claimed ``max_claims`` times in vain.
      lost: Items that could not be encoded when they were flushed.
      closed: Whether the queue takes nothing in any more.
      paused: Whether it hands nothing out at present.
      waiting: Process workers that wait for a batch.
      pushing: Pushes that wait for room.
      mailbox: Operations that wait for the actor.
      restarts: How often the actor was restarted.
    """

    buffered: int = 0
    batches: int = 0
    items: int = 0
    ready: int = 0
    cooling: int = 0
    retrying: int = 0
    claimed: int = 0
    buried: int = 0
    dead: int = 0
    set_aside: int = 0
    oldest_age: float | None = None
    pushed: int = 0
    flushed: Mapping[str, int]
    processed: int = 0
    process_errors: int = 0
    released: int = 0
    exhausted: int = 0
    lost: int = 0
    closed: bool = False
    paused: bool = False
    waiting: int = 0
    pushing: int = 0
    mailbox: int = 0
    restarts: int = 0

    @property
    def at_hand(self) -> int:
        """Batches that can be taken now."""
        return self.ready

    @property
    def in_hand(self) -> int:
        """Batches that the process function has."""
        return self.claimed

    @property
    def through(self) -> int:
        """Items that are done with."""
        return self.processed

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left that would be processed some day; the buffer aside."""
        # Once it is closed, nobody processes what is left.
        unprocessed = self.claimed + self.dead if self.closed else self.batches - self.buried
        return not (unprocessed or self.pushing or self.mailbox)


class Batch(msgspec.Struct, gc=False, eq=False):
    """The record of one stored batch. Only the core changes it.

    The garbage collector does not look into it, see `queueactors.cores.timed.Message`.
    """

    id: int
    value: object  # a list of items; or as a store keeps it
    state: BatchState
    size: int  # items
    pushed_at: int
    ready_at: int
    claims: int = 0
    attempt: int = 0  # calls since it was last released
    key: int = 0  # of its claim; 0: it was not claimed since it was last released
    deadline_at: int = 0  # of a claim: `NEVER`, until the process ends that has it
    error: str | None = None  # what the process function raised last


NEVER = (1 << 63) - 1  # what a claim's deadline is: nobody else may have it while the process lives


@attrs.define(eq=False)
class BatchCounters:
    """What happened since the process opened the queue."""

    processed: int = 0
    process_errors: int = 0
    released: int = 0
    exhausted: int = 0
    whole: int = 0  # items that were stored past the buffer: both pushed and flushed


@attrs.define(eq=False)
class Intake:
    """What was pushed and is not known to be written: it ends with the process.

    It goes on as it is when a commit fails: its items were acknowledged, and are tried again.

    Args:
      buffer: The items that wait to be flushed.
      pushes: How many pushes have gone into it.
      first_at: Epoch nanoseconds of the first of them; None: it is empty.
      pushed: How many items were ever pushed: the last one's number.
      sealed: The number of the last one that was flushed.
      unwritten: Batches that were flushed and are perhaps not written, by id, as they were then.
      flushed: How many items were flushed, by what caused it.
      lost: How many could not be encoded.
      asked: Somebody waits for a flush.
      after: What has come in its place, by a `clear` that may be undone; None: nothing.
    """

    buffer: Buffer
    pushes: int = 0
    first_at: int | None = None
    pushed: int = 0
    sealed: int = 0
    unwritten: dict[int, tuple[object, int, int]] = attrs.field(factory=dict)
    flushed: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(TRIGGERS, 0))
    lost: int = 0
    asked: bool = False
    after: Intake | None = None

    def take_over(self, other: Intake) -> None:
        """Go on with what has come in its place: that has not happened, but for its items."""
        lost = other.lost
        for item in other.buffer:
            try:
                self.buffer.push(item)
            except Exception:  # noqa: BLE001 - it goes with nothing that is there
                lost += 1
        if self.first_at is None:
            self.first_at = other.first_at
        self.pushes += other.pushes
        self.unwritten |= other.unwritten
        self.pushed, self.flushed, self.lost = other.pushed, other.flushed, lost
        self.asked = self.asked or other.asked
        self.after = other.after


@attrs.define(eq=False)
class BatchRecords(Resumable[BatchCounters]):
    """All that a batch queue is; it belongs to the store and outlives the actor.

    Args:
      new_buffer: Makes an empty buffer.
    """

    new_buffer: Callable[[], Buffer]
    messages: dict[int, Batch] = attrs.field(factory=dict)  # the batches, by id
    set_aside: int = 0  # batches that cannot be decoded; they stay in the store
    next_id: int = 1
    last_key: int = 0  # the highest key ever given out
    closed: Literal["no", "closing", "closed"] = "no"
    paused_until: int | None = None  # epoch nanoseconds, or `FOR_EVER`
    intake: Intake = attrs.field(init=False)
    counters: BatchCounters = attrs.field(factory=BatchCounters)

    _unwritten: ClassVar = Unwritten("closed")
    _counts: ClassVar = Unwritten.all_of(BatchCounters)

    _written: int = attrs.field(init=False)  # batches with lower numbers have been

    _restored: list[int] = attrs.field(factory=list, init=False)  # a commit of these has failed

    @_written.default
    def _read(self) -> int:
        return self.next_id

    @intake.default
    def _new_intake(self) -> Intake:
        return Intake(self.new_buffer())

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be lost with them but counters."""
        return super().is_empty and self.intake.first_at is None

    def snapshot(self) -> tuple[object, ...]:
        """Return what is never written, because it ends with the process.

        Whoever asks has written all that was there when he asked before; but what was flushed by
        itself since then is still to be written.
        """
        unwritten = self.intake.unwritten
        for number in [each for each in unwritten if each < self._written]:
            del unwritten[number]
        self._written = self.next_id
        return self.intake, *super().snapshot()

    def resume(self, snapshot: tuple[object, ...]) -> None:
        """Take over a snapshot, and what was pushed since; of a commit that failed, that counts."""
        intake, *others = snapshot
        self.intake = intake  # type: ignore[assignment] # that of `snapshot`
        while self.intake.after is not None:
            self.intake.take_over(self.intake.after)
        super().resume(tuple(others))
        self._restored = self.unwritten()
        for number in self._restored:
            if number not in self.messages:
                value, size, at = self.intake.unwritten[number]
                self.messages[number] = Batch(number, value, "ready", size, at, at)
            self.next_id = max(self.next_id, number + 1)

    def items_restored(self) -> int:
        """Return how many items a commit that failed was to write, and no other has since."""
        unwritten = self.intake.unwritten
        return sum(unwritten[each][1] for each in self._restored if each in unwritten)

    def unwritten(self) -> list[int]:
        """Return the numbers of the flushed batches that are in no file yet.

        If the answer of a commit was lost, they are in the file; or were, and have been processed.
        """
        return [number for number in self.intake.unwritten if number >= self._written]

    def head(self) -> dict[str, int | None]:
        """Return what outlives the process, beside the batches. It is not closed any more then."""
        return {
            "next_id": self.next_id,
            "last_key": self.last_key,
            "paused_until": self.paused_until,
        }
