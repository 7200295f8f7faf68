"""The values of a timed queue: what it hands out, what it shows, and its records.

Only the core (`queueactors.cores.timed`) changes a record.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, NamedTuple

import attrs
import msgspec

from ._statistics import QueueStatistics
from ._unwritten import Resumable, Unwritten

# A word and no enum: on CPython 3.11 a look-up of a member costs 0.15 us, several an operation.
State = Literal["ready", "delayed", "reserved", "buried", "dead", "gone"]
"""Where a message is in its life; ``dead``: exhausted, and on its way to another queue."""

PeekState = Literal["ready", "delayed", "reserved", "buried"]


class Reservation(NamedTuple):
    """A message that is yours until ``deadline_at``.

    Args:
      id: The message's number: stable, unique in its queue.
      key: Proves the reservation; every reservation has its own.
      value: What was inserted.
      deadline_at: Epoch nanoseconds at which it ends by itself.
      attempt: The how-manieth reservation of this message it is, from 1.
      inserted_at: Epoch nanoseconds of the insert.
    """

    id: int
    key: int
    value: object
    deadline_at: int
    attempt: int
    inserted_at: int


@attrs.frozen
class TimedMessage:
    """A message as `peek` shows it.

    Args:
      id: Its number.
      value: What was inserted.
      state: Where it is in its life.
      attempts: How often it was reserved.
      priority: Smaller comes first.
      inserted_at: Epoch nanoseconds of the insert.
      ready_at: Epoch nanoseconds at which it became ready, or will.
      error: What its last attempt failed with; None: nothing was said.
    """

    id: int
    value: object
    state: str
    attempts: int
    priority: int
    inserted_at: int
    ready_at: int
    error: str | None


@attrs.frozen
class DeadLetter:
    """What a queue named by ``on_exhausted`` gets.

    Args:
      value: What was inserted.
      queue: Where it was exhausted.
      id: Its number there.
      attempts: How often it was reserved.
      error: What its last attempt failed with; None: nothing was said.
      inserted_at: Epoch nanoseconds of the original insert.
    """

    value: object
    queue: str
    id: int
    attempts: int
    error: str | None
    inserted_at: int


@attrs.frozen(kw_only=True)
class TimedStatistics(QueueStatistics):
    """A timed queue's numbers: gauges now, counters since the process opened the queue.

    Args:
      ready: Messages that can be reserved now.
      delayed: Those that will be ready later.
      reserved: Those that somebody has.
      buried: Those that were put aside.
      dead: Exhausted ones on their way to another queue.
      set_aside: Those that the store keeps and cannot decode.
      oldest_age: Seconds that the first ready message has been ready; None without one.
      inserted: Values that went in.
      duplicates: Values that did not, because they were there already.
      dropped: Values of an `insert_nowait` that a full or closed queue did not take.
      reserved_total: Reservations given out.
      expired: Reservations that ended by their deadline.
      released: Messages given back.
      deleted: Messages finished.
      exhausted: Messages whose last allowed reservation ended, or that `fail` gave up.
      refills: Refills begun.
      refill_errors: Refills that failed.
      left_out: Values that a refill brought and that found no room.
      refilling: Whether one runs now.
      last_refill: How many values the last one put in; None: none has ended yet.
      closed: Whether the queue takes nothing in any more.
      paused: Whether it hands nothing out at present.
      waiting: Takers that wait for a message.
      inserting: Inserts that wait for room.
      mailbox: Operations that wait for the actor.
      restarts: How often the actor was restarted.
    """

    ready: int = 0
    delayed: int = 0
    reserved: int = 0
    buried: int = 0
    dead: int = 0
    set_aside: int = 0
    oldest_age: float | None = None
    inserted: int = 0
    duplicates: int = 0
    dropped: int = 0
    reserved_total: int = 0
    expired: int = 0
    released: int = 0
    deleted: int = 0
    exhausted: int = 0
    refills: int = 0
    refill_errors: int = 0
    left_out: int = 0
    refilling: bool = False
    last_refill: int | None = None
    closed: bool = False
    paused: bool = False
    waiting: int = 0
    inserting: int = 0
    mailbox: int = 0
    restarts: int = 0

    @property
    def at_hand(self) -> int:
        """Messages that can be taken now."""
        return self.ready

    @property
    def in_hand(self) -> int:
        """Messages that somebody has."""
        return self.reserved

    @property
    def through(self) -> int:
        """Messages that are done with."""
        return self.deleted

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left that would be handled some day."""
        return not (self.ready or self.delayed or self.reserved or self.dead or self.mailbox)


class Message(msgspec.Struct, gc=False, eq=False):
    """The record of one message. Only the core changes it.

    The garbage collector does not look into it: with a million of them it would stop the loop for
    half a second at each full collection. So a value that leads back to its own queue keeps both
    alive until the message goes; `Store.close` lets all go.
    """

    id: int
    value: object
    state: State
    priority: int
    inserted_at: int
    ready_at: int
    attempt: int = 0  # reservations so far
    key: int = 0  # of the reservation, live or expired; 0: none
    deadline_at: int = 0  # of that reservation
    error: str | None = None  # of the last release, bury or fail


@attrs.define(eq=False)
class Counters:
    """What happened since the process opened the queue."""

    inserted: int = 0
    duplicates: int = 0
    dropped: int = 0
    reserved_total: int = 0
    expired: int = 0
    released: int = 0
    deleted: int = 0
    exhausted: int = 0
    refills: int = 0
    refill_errors: int = 0
    left_out: int = 0


COUNTS: Final = Unwritten.all_of(Counters)


@attrs.define(eq=False)
class TimedRecords(Resumable[Counters]):
    """All that a timed queue is; it belongs to the store and outlives the actor."""

    messages: dict[int, Message] = attrs.field(factory=dict)
    set_aside: int = 0  # messages that cannot be decoded; they stay in the store
    initial: tuple[object, ...] = ()  # values that go in as soon as the queue knows the time
    next_id: int = 1
    last_key: int = 0  # the highest key ever given out
    synced_at: int | None = None  # when the last refill began, or ended
    refill_wanted: bool = False  # a taker found nothing and the interval was over, or by `sync`
    refilling: bool = False
    last_refill: int | None = None
    synced: bool = False  # a refill has ended since the first of those who wait in `sync` began
    sync_error: Exception | None = None  # what it failed with, for those who wait
    closed: bool = False
    paused_until: int | None = None  # epoch nanoseconds; -1: until `resume`
    counters: Counters = attrs.field(factory=Counters)

    _unwritten: ClassVar = Unwritten(
        "refill_wanted", "refilling", "last_refill", "synced", "sync_error", "closed"
    )
    _counts: ClassVar = COUNTS

    def head(self) -> dict[str, int | None]:
        """Return what outlives the process, beside the messages.

        It is not closed any more then, and a refill that ran is over.
        """
        return {
            "next_id": self.next_id,
            "last_key": self.last_key,
            "synced_at": self.synced_at,
            "paused_until": self.paused_until,
        }
