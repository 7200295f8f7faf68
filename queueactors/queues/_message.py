"""The message queue's handle: arguments are checked here, in the caller, before anything happens.

What the operations do is decided by `queueactors.cores.message`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, TypeVar, cast, get_args
from uuid import uuid4

import attrs

from queueactors._options import is_text, nanoseconds
from queueactors.cores.message import (
    Claimed,
    Enqueued,
    Ids,
    MessageInfo,
    MessageStatistics,
    QueueStatus,
    Result,
    Status,
)
from queueactors.engines import ROOM, TAKERS

from ._claim import Claim
from ._handle import QueueHandle, SubmitView
from ._operations import Ask, AskStatistics, TakeOver, check_id, check_limit, operation, submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from queueactors._codecs import Values
    from queueactors.cores.timed import DeadLetter

    from ._actor import QueueActor
    from ._options import MessageOptions

PAGE: Final = 1000  # messages that are shown at a time: some 2 ms of work

T = TypeVar("T")


class MessageQueue(QueueHandle["MessageOptions"]):
    """A queue whose messages have names and are locked while somebody handles them.

    Cheap; valid across restarts. While the queue's actor restarts, calls wait. Every operation can
    end with `supervisors.ActorCrashedError` (it did not happen) or `supervisors.ActorDownError`
    (the queue was stopped, parked, or is gone with its runtime).

    Cancelling a call: as long as the queue has not taken it up, or it waits for a message or for
    room, it is withdrawn and nothing happened; otherwise it happened and returns. So an enqueue
    that raised ``Cancelled`` enqueued nothing, and a claim that raised it took nothing.

    Source: seed 001, Carmine's message queue.
    """

    kind = "message"

    def __init__(
        self, actor: QueueActor, options: MessageOptions, values: Values | None = None
    ) -> None:
        super().__init__(actor, options)
        self._values = values  # how they are encoded; None: they are not

    @property
    def submit(self) -> MessageSubmit:
        """The same operations, sent without waiting for their answers."""
        return MessageSubmit(self)

    # -- taking in -----------------------------------------------------------------------------

    @operation
    def enqueue(  # noqa: PLR0913 - seed 001's, all by name
        self,
        message: object,
        mid: str | None = None,
        *,
        init_backoff: float = 0,
        lock_time: float | None = None,
        can_update: bool = False,
        can_requeue: bool = False,
        reset_init_backoff: bool = False,
    ) -> Ask[Enqueued]:
        """Add a message, if its ``mid`` is not there; or change what is there.

        Args:
          message: Anything; the memory store keeps the object itself.
          mid: The message's name. None: a new one.
          init_backoff: Seconds (>= 0) before it can be claimed.
          lock_time: Seconds (> 0) that it is locked for whoever claims it. None: the queue's.
          can_update: If a message of that mid is queued, give it this content and this
            ``lock_time``, in its place; if one waits as a requeue: likewise, with
            ``can_requeue``.
          can_requeue: If one of that mid is locked, or is remembered because of its backoff: let
            this one be queued when that has ended. ``init_backoff`` does not count then.
          reset_init_backoff: If one of that mid is queued, let it be claimed ``init_backoff``
            from now.

        Returns:
          Whether it went in, and how; or why not: ``"already-queued"``, ``"locked"`` or
          ``"backoff"``. All of it is a table in docs/message-queue.md.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If it would be one more and does not fit into ``max_length``, or if
            others wait for room (`wait_enqueue`): they come first.
          CodecError: If the message cannot be encoded, in a durable queue.
          ValueError: If a time is out of its range, or the mid is empty.
          TypeError: If the mid is no str, or a flag no bool.
        """
        return Ask(
            "enqueue",
            self._message(
                message,
                mid,
                init_backoff,
                lock_time,
                (can_update, can_requeue, reset_init_backoff),
            ),
        )

    @operation
    def wait_enqueue(  # noqa: PLR0913 - seed 001's, all by name
        self,
        message: object,
        mid: str | None = None,
        *,
        init_backoff: float = 0,
        lock_time: float | None = None,
        can_update: bool = False,
        can_requeue: bool = False,
        reset_init_backoff: bool = False,
        timeout: float | None = None,
    ) -> Ask[Enqueued]:
        """Add a message as `enqueue` does; wait until there is room for it.

        Those who wait are served in the order in which they began to wait, and nobody who comes
        later overtakes them. Arguments and result as for `enqueue`.

        Args:
          message: As for `enqueue`.
          mid: As for `enqueue`.
          init_backoff: As for `enqueue`; it counts from the instant at which the message goes in.
          lock_time: As for `enqueue`.
          can_update: As for `enqueue`.
          can_requeue: As for `enqueue`.
          reset_init_backoff: As for `enqueue`.
          timeout: Seconds (>= 0) to wait for room at most. None: without limit. While the
            queue's actor restarts, it is not looked at.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing went in.
          QueueClosedError: If the queue is closed, before or during the wait.
          CodecError: If the message cannot be encoded, in a durable queue.
          ValueError: If a time is out of its range, or the mid is empty.
          TypeError: If the mid is no str, or a flag no bool.
        """
        flags = can_update, can_requeue, reset_init_backoff
        arguments = self._message(message, mid, init_backoff, lock_time, flags)
        deadline_at = self._deadline(timeout)
        return Ask(
            "wait_enqueue", arguments, waits=ROOM, deadline_at=deadline_at, timeout=timeout or 0
        )

    # -- handing out ---------------------------------------------------------------------------

    @operation
    def claim(self, *, timeout: float | None = None) -> Ask[Claim]:
        """Lock the first message; wait until there is one.

        Those who wait are served in the order in which they began to wait.

        Args:
          timeout: Seconds (>= 0) to wait for a message at most. None: without limit. While the
            queue's actor restarts, it is not looked at.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing was taken.
          QueueClosedError: If the queue is closed, and nothing is left to be handled.
          ValueError: If ``timeout`` is out of its range.
        """
        return _AskClaim(
            self._made,
            "claim",
            waits=TAKERS,
            deadline_at=self._deadline(timeout),
            timeout=timeout or 0,
        )

    @operation
    def try_claim(self) -> Ask[Claim | None]:
        """Lock the first message, or return None if there is none now.

        Raises:
          QueueClosedError: If the queue is closed, and nothing is left to be handled.
        """
        return _AskClaim(self._made, "claim")

    @operation
    def claim_many(self, limit: int, *, timeout: float | None = None) -> Ask[list[Claim]]:
        """Lock what is there, at least one message and at most ``limit``; wait for the first.

        Args:
          limit: >= 1.
          timeout: As for `claim`.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing was taken.
          QueueClosedError: If the queue is closed, and nothing is left to be handled.
          ValueError: If an argument is out of its range.
        """
        limits = (check_limit(limit),)
        deadline_at = self._deadline(timeout)
        return _AskClaims(
            self._made,
            "claim_many",
            limits,
            waits=TAKERS,
            deadline_at=deadline_at,
            timeout=timeout or 0,
        )

    # -- what the holder of a claim does ---------------------------------------------------------

    @operation
    def finish(
        self, claim: Claim | int, result: Result = "success", backoff: float | None = None
    ) -> Ask[None]:
        """End a claim.

        Args:
          claim: The claim, or its key.
          result: ``"success"``: the message is done with, and goes. ``"retry"``: it comes back.
            ``"error"``: it goes, though it was not handled.
          backoff: Seconds (>= 0). Of a success: its mid is refused so long
            (``done-with-backoff``). Of a retry: so long until it comes back. An error has none:
            it is not looked at. None: 0.

        Raises:
          ClaimLostError: If the lock has ended. Nothing has changed.
          ValueError: If an argument is out of its range, or the claim is another queue's.
        """
        if result not in get_args(Result):
            known = ", ".join(map(repr, get_args(Result)))
            raise ValueError(f"expected result to be one of {known}, got {result!r}")
        seconds = nanoseconds("backoff", 0 if backoff is None else backoff, positive=False)
        return Ask("finish", (self._key_of(claim), result, seconds))

    @operation
    def extend(self, claim: Claim | int, seconds: float | None = None) -> Ask[int]:
        """Let a claim's lock last ``seconds`` from now.

        Args:
          claim: The claim, or its key; that stays the same.
          seconds: > 0. None: the time that it was locked for at first.

        Returns:
          The epoch nanoseconds at which it ends by itself.

        Raises:
          ClaimLostError: If the lock has ended.
          ValueError: If ``seconds`` is out of its range.
        """
        duration = None if seconds is None else nanoseconds("seconds", seconds)
        return Ask("extend", (self._key_of(claim), duration))

    @operation
    def snooze(self, claim: Claim | int, seconds: float = 0) -> Ask[None]:
        """Give a message back as if it had not been claimed: the attempt does not count.

        Args:
          claim: The claim, or its key.
          seconds: >= 0, until it comes back.

        Raises:
          ClaimLostError: If the lock has ended.
          ValueError: If ``seconds`` is out of its range.
        """
        return Ask("snooze", (self._key_of(claim), nanoseconds("seconds", seconds, positive=False)))

    # -- what an operator does -----------------------------------------------------------------

    @operation
    def message_status(self, mid: str) -> Ask[str | None]:
        """Return what the message of that mid is; None: there is none.

        Returns:
          One of ``"queued"``, ``"queued-with-backoff"``, ``"locked"``,
          ``"locked-with-requeue"``, ``"done-with-backoff"`` and ``"done-with-requeue"``.
        """
        return Ask("message_status", (_check_mid(mid),))

    @operation
    def queue_status(self) -> Ask[QueueStatus]:
        """Return how many messages there are, by what they wait for: exact, and in O(1)."""
        return Ask("queue_status")

    @operation
    def queue_size(self) -> Ask[int]:
        """Return how many messages can be claimed now (or when a pause has ended)."""
        return Ask("queue_size")

    async def queue_content(self) -> dict[str, MessageInfo]:
        """Return all messages, by mid; those that wait as requeues are not among them.

        It is read by some at a time, so that others have their turn: what changes meanwhile may
        be in it or not. It costs time and memory with the queue's length.
        """
        return await self._look(None, inf)

    async def peek(self, status: Status | None = None, limit: int = 1) -> dict[str, MessageInfo]:
        """Look at the first messages without taking them, by mid; requeues are not among them.

        The first are those that were enqueued first; on a server, see docs/scaling-out.md, those
        that can be claimed first.

        It is read by some at a time, as `queue_content` is, and no more of it than is needed.

        Args:
          status: What they are, see `message_status`. None: whatever they are.
          limit: How many at most (>= 1).
        """
        check_limit(limit)
        if status is not None and status not in get_args(Status):
            known = ", ".join(map(repr, get_args(Status)))
            raise ValueError(f"expected status to be one of {known}, got {status!r}")
        return await self._look(status, limit)

    async def _look(self, status: Status | None, limit: float) -> dict[str, MessageInfo]:
        """Return the first messages of a status, a page at a time."""
        found: dict[str, MessageInfo] = {}
        some = Ids([], after=0)
        while some.after is not None:
            some = await self._ids(some.after)
            for first in range(0, len(some.ids), PAGE):
                page = await self._content(some.ids[first : first + PAGE])
                for mid, info in page.items():
                    if status in {None, info.status}:
                        found[mid] = info
                    if len(found) == limit:
                        return found
        return found

    @operation
    def _ids(self, after: object) -> Ask[Ids]:
        return Ask("ids", (after,))

    @operation
    def _content(self, ids: list[int]) -> Ask[dict[str, MessageInfo]]:
        return _AskContent(self._values, ids)

    @operation
    def remove(self, *ids: int) -> Ask[int]:
        """Take messages out, whatever they are; return how many there were.

        Whoever has one claimed gets `ClaimLostError` when finishing it. What waits as the
        requeue of one is queued.

        Args:
          *ids: Their numbers, as claims, `queue_content` and the log have them.
        """
        return Ask("remove", (tuple(map(check_id, ids)),))

    # -- the whole queue ---------------------------------------------------------------------

    @operation
    def len(self) -> Ask[int]:
        """Return how many messages the queue holds, whatever they wait for."""
        return Ask("length")

    @operation
    def statistics(self) -> Ask[MessageStatistics]:
        """Return the queue's numbers; counters are kept across restarts of the actor."""
        return AskStatistics(self._actor, "enqueueing")

    @operation
    def clear(self) -> Ask[int]:
        """Remove all messages; claims are void. Return how many there were."""
        return Ask("clear")

    @operation
    def close(self) -> Ask[None]:
        """Take nothing in any more; what is there can still be claimed and finished.

        Takers who wait are woken once nothing is left for them, those who wait for room at
        once. A second time: nothing happens.
        """
        return Ask("close")

    # -- helpers -------------------------------------------------------------------------------

    def _key_of(self, claim: object) -> int:
        """Return the key of a claim.

        Raises:
          TypeError: If it is neither a claim nor a key.
          ValueError: If it is a claim of another queue, where the same key may prove another one.
        """
        if isinstance(claim, Claim):
            if claim.queue.name != self.name:
                raise ValueError(f"expected a claim of queue {self.name!r}, got {claim!r}")
            return claim.key
        if isinstance(claim, int) and not isinstance(claim, bool):
            return claim
        raise TypeError(f"expected a claim or its key, got {claim!r}")

    def _made(self, taken: Claimed) -> Claim:
        message = taken.message
        return Claim(self, taken, message if self._values is None else self._values.decode(message))

    def _accept(self, value: object) -> Coroutine[object, object, Enqueued]:
        """Add a value that another part of the runtime hands on; wait until there is room."""
        return self.wait_enqueue(value)

    @operation
    def _take_over(self, letter: DeadLetter, queue: str) -> Ask[Enqueued]:
        """Add a dead letter that leaves another queue of the same store by this.

        Args:
          letter: The dead letter.
          queue: The other queue's name. What it has of the message goes in the same transaction.

        Returns, and raises, what `wait_enqueue` does.
        """
        arguments = self._message(letter, None, 0, None, (False, False, False))
        return TakeOver("wait_enqueue", queue, letter.id, arguments)

    def _message(
        self,
        message: object,
        mid: str | None,
        init_backoff: float,
        lock_time: float | None,
        flags: tuple[bool, ...],
    ) -> tuple[object, ...]:
        for flag in flags:
            if not isinstance(flag, bool):
                raise TypeError(
                    f"expected can_update, can_requeue and reset_init_backoff to be bools, "
                    f"got {flag!r}"
                )
        return (
            str(uuid4()) if mid is None else _check_mid(mid),
            message if self._values is None else self._values.encode(message),
            nanoseconds("init_backoff", init_backoff, positive=False),
            None if lock_time is None else nanoseconds("lock_time", lock_time),
            *flags,
        )


class MessageSubmit(SubmitView["MessageQueue"]):
    """The operations of a `MessageQueue`, sent without waiting, see `SubmitView`."""

    enqueue = submitted(MessageQueue.enqueue)
    wait_enqueue = submitted(MessageQueue.wait_enqueue)
    claim = submitted(MessageQueue.claim)
    try_claim = submitted(MessageQueue.try_claim)
    claim_many = submitted(MessageQueue.claim_many)
    finish = submitted(MessageQueue.finish)
    extend = submitted(MessageQueue.extend)
    snooze = submitted(MessageQueue.snooze)
    message_status = submitted(MessageQueue.message_status)
    queue_status = submitted(MessageQueue.queue_status)
    queue_size = submitted(MessageQueue.queue_size)
    remove = submitted(MessageQueue.remove)
    len = submitted(MessageQueue.len)
    statistics = submitted(MessageQueue.statistics)
    clear = submitted(MessageQueue.clear)
    close = submitted(MessageQueue.close)


class _Claims(Ask[T]):
    """An operation that claims: its answer becomes claims, decoded, in the caller's task."""

    __slots__ = ("_make",)

    def __init__(  # noqa: PLR0913 - an operation's, and one more
        self,
        make: Callable[[Claimed], Claim],
        method: str,
        args: tuple[object, ...] = (),
        *,
        waits: str | None = None,
        deadline_at: int | None = None,
        timeout: float = 0,
    ) -> None:
        super().__init__(method, args, waits=waits, deadline_at=deadline_at, timeout=timeout)
        self._make = make


class _AskClaim(_Claims[T]):
    __slots__ = ()

    def unwrap(self) -> object:
        taken = super().unwrap()
        return None if taken is None else self._make(cast("Claimed", taken))


class _AskClaims(_Claims[list[Claim]]):
    __slots__ = ()

    def unwrap(self) -> object:
        return [self._make(taken) for taken in cast("list[Claimed]", super().unwrap())]


class _AskContent(Ask[dict[str, MessageInfo]]):
    __slots__ = ("_values",)

    def __init__(self, values: Values | None, ids: list[int]) -> None:
        super().__init__("content", (ids,))
        self._values = values

    def unwrap(self) -> object:
        found = cast("dict[str, MessageInfo]", super().unwrap())
        if self._values is None:
            return found
        decode = self._values.decode
        return {
            mid: attrs.evolve(info, message=decode(info.message)) for mid, info in found.items()
        }


def _check_mid(mid: object) -> str:
    if not isinstance(mid, str):
        raise TypeError(f"expected mid to be a str, got {mid!r}")
    if not mid:
        raise ValueError("expected mid not to be empty; leave it out for a new one")
    if not is_text(mid):
        raise ValueError(f"expected mid to be text that can be encoded, got {mid!r}")
    return mid
