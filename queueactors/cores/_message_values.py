"""The values of a message queue: what it hands out, what it shows, and its records.

Only the core (`queueactors.cores.message`) changes a record.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

import attrs
import msgspec

from ._message_table import MessageState, Refusal, Status  # noqa: TC001 - msgspec reads them
from ._statistics import QueueStatistics
from ._unwritten import Resumable, Unwritten


@attrs.frozen
class Enqueued:
    """What became of an enqueue; true when it went in.

    Args:
      success: Whether it went in.
      mid: The message's: the one that was given, or a new one.
      action: What was done; None: nothing.
      error: Why nothing was done; None: something was.
    """

    success: bool
    mid: str
    action: str | None = None
    error: Refusal | None = None

    def __bool__(self) -> bool:
        return self.success


class Claimed(NamedTuple):
    """A message that is locked for its taker.

    Args:
      id: The message's number: stable, unique in its queue.
      mid: Its name: unique among what is in the queue.
      message: What was enqueued.
      attempt: The how-manieth lock of it this is, from 1.
      lock_time: How long it is locked, in nanoseconds.
      age: Nanoseconds since it was enqueued, or requeued.
      key: Proves the lock; each has its own.
      deadline_at: Epoch nanoseconds at which the lock ends by itself.
    """

    id: int
    mid: str
    message: object
    attempt: int
    lock_time: int
    age: int
    key: int
    deadline_at: int


@attrs.frozen
class QueueStatus:
    """How many messages a message queue has; exact at the instant of the answer.

    Args:
      nqueued: Those that can be claimed now.
      nlocked: Those that somebody handles, with or without a requeue.
      nbackoff: Those that wait for the end of a backoff, before they are handled or after.
      ntotal: All.
    """

    nqueued: int
    nlocked: int
    nbackoff: int
    ntotal: int


class Ids(NamedTuple):
    """Numbers of messages, to look at them.

    Args:
      ids: All of them, or the next ones: what many share is not read in one go.
      after: What to ask with for those that come next, at first 0; None: there are no more.
    """

    ids: list[int]
    after: object = None


@attrs.frozen
class MessageInfo:
    """A message as `queueactors.MessageQueue.queue_content` shows it.

    Args:
      message: What was enqueued.
      status: See `queueactors.MessageQueue.message_status`.
      attempts: How often it was locked.
      backoff: Seconds until its backoff is over; None: it has none.
      age: Seconds since it was enqueued, or requeued.
      id: Its number.
    """

    message: object
    status: Status
    attempts: int
    backoff: float | None
    age: float
    id: int


@attrs.frozen(kw_only=True)
class MessageStatistics(QueueStatistics):
    """A message queue's numbers: gauges now, counters since the process opened the queue.

    Args:
      queued: Messages that can be claimed now.
      backoff: Those that wait for the end of a backoff before they can be.
      locked: Those that somebody handles.
      done: Those that are finished, and whose mid is refused until a backoff is over.
      requeues: Those that wait for the end of another message of their mid.
      set_aside: Those that the store keeps and cannot decode.
      oldest_age: Seconds that the first message has been ready; None without one.
      added: Messages that went in, requeues included.
      updated: Messages that were given another content, or another backoff.
      refused: Enqueues that changed nothing, because of what their mid was.
      claimed: Locks given out.
      expired: Locks that ended by their deadline.
      succeeded: Messages finished with success.
      retried: Messages given back to be tried again.
      failed: Messages finished with an error.
      snoozed: Messages given back without counting the attempt.
      closed: Whether the queue takes nothing in any more.
      paused: Whether it hands nothing out at present.
      waiting: Takers that wait for a message.
      enqueueing: Enqueues that wait for room.
      mailbox: Operations that wait for the actor.
      restarts: How often the actor was restarted.
    """

    queued: int = 0
    backoff: int = 0
    locked: int = 0
    done: int = 0
    requeues: int = 0
    set_aside: int = 0
    oldest_age: float | None = None
    added: int = 0
    updated: int = 0
    refused: int = 0
    claimed: int = 0
    expired: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    snoozed: int = 0
    closed: bool = False
    paused: bool = False
    waiting: int = 0
    enqueueing: int = 0
    mailbox: int = 0
    restarts: int = 0

    @property
    def at_hand(self) -> int:
        """Messages that can be taken now."""
        return self.queued

    @property
    def in_hand(self) -> int:
        """Messages that somebody has."""
        return self.locked

    @property
    def through(self) -> int:
        """Messages that are done with."""
        return self.succeeded + self.failed

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left that would be handled some day."""
        return not (
            self.queued
            or self.backoff
            or self.locked
            or self.requeues
            or self.enqueueing
            or self.mailbox
        )


class QueuedMessage(msgspec.Struct, gc=False, eq=False):
    """The record of one message. Only the core changes it.

    The garbage collector does not look into it, see `queueactors.cores.timed.Message`.
    """

    id: int
    value: object
    state: MessageState
    mid: str
    enqueued_at: int
    ready_at: int  # when it became ready, or will
    lock_time: int | None = None  # nanoseconds; None: the queue's
    attempt: int = 0  # locks so far
    key: int = 0  # of the lock; 0: there is none
    deadline_at: int = 0  # of the lock, or of what it is remembered for


@attrs.define(eq=False)
class MessageCounters:
    """What happened since the process opened the queue."""

    added: int = 0
    updated: int = 0
    refused: int = 0
    claimed: int = 0
    expired: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    snoozed: int = 0


COUNTS: Final = Unwritten.all_of(MessageCounters)


@attrs.define(eq=False)
class MessageRecords(Resumable[MessageCounters]):
    """All that a message queue is; it belongs to the store and outlives the actor."""

    messages: dict[int, QueuedMessage] = attrs.field(factory=dict)
    set_aside: int = 0  # messages that cannot be decoded; they stay in the store
    next_id: int = 1
    last_key: int = 0  # the highest key ever given out
    closed: bool = False
    paused_until: int | None = None  # epoch nanoseconds, or `FOR_EVER`
    counters: MessageCounters = attrs.field(factory=MessageCounters)

    _unwritten: ClassVar = Unwritten("closed")
    _counts: ClassVar = COUNTS

    def head(self) -> dict[str, int | None]:
        """Return what outlives the process, beside the messages. It is not closed any more then."""
        return {
            "next_id": self.next_id,
            "last_key": self.last_key,
            "paused_until": self.paused_until,
        }
