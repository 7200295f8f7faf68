"""The batch queue's handle: arguments are checked here, in the caller, before anything happens.

What the operations do is decided by `queueactors.cores.batch`, when the process function is called
by `_processing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, get_args

import attrs
import trio

from queueactors._errors import StoreError
from queueactors._insist import insist
from queueactors._options import check_seconds
from queueactors.cores.batch import BatchState, BatchStatistics, StoredBatch
from queueactors.cores.timed import DeadLetter
from queueactors.engines import ROOM, SYNCS, Kept
from supervisors import PendingReply

from ._handle import QueueHandle, SubmitView
from ._operations import Ask, AskStatistics, TakeOver, check_id, check_limit, operation, submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from queueactors._codecs import ItemValues
    from supervisors import StartFunction

    from ._actor import QueueActor
    from ._batch_kind import BatchKind
    from ._batch_options import BatchOptions
    from ._processing import Processing

GRACE: Final = 5.0  # seconds that calls have to end when the queue is closed
TELL: Final = 1.0  # seconds that the queue has at least to answer: it takes none, if all is well


class BatchQueue(QueueHandle["BatchOptions"]):
    """A queue that collects items and hands them to a function in batches.

    Cheap; valid across restarts. While the queue's actor restarts, calls wait. Every operation can
    end with `supervisors.ActorCrashedError` (it did not happen) or `supervisors.ActorDownError`
    (the queue was stopped, parked, or is gone with its runtime).

    An item that was pushed is in memory until its buffer is flushed: it survives every crash of an
    actor, and an orderly end, but not the end of the process by a crash. `push` with ``stored``
    returns when it is on disk.

    Cancelling a call: as long as the queue has not taken it up, or it waits for room, it is
    withdrawn and nothing happened; otherwise it happened and returns.

    Source: seed 003, ``liq``.

    Args:
      actor: The queue's.
      options: The queue's.
      kind: How its items are encoded.
      processing: What calls the process function.
      inside: It is the handle that the process function gets.
    """

    kind = "batch"

    def __init__(
        self,
        actor: QueueActor,
        options: BatchOptions,
        kind: BatchKind,
        processing: Processing,
        *,
        inside: bool = False,
    ) -> None:
        super().__init__(actor, options)
        self._values: ItemValues | None = kind.values
        self._encode = kind.encodes
        self._check = kind.checks
        self._processing = processing
        self._inside = inside

    def _reconfigure(self, options: BatchOptions) -> None:
        super()._reconfigure(options)
        if not self._inside:
            self._processing.inside._reconfigure(options)  # noqa: SLF001 - its own class
            self._processing.reconfigure(options)

    @property
    def submit(self) -> BatchSubmit:
        """The same operations, sent without waiting for their answers; but for `close`."""
        return BatchSubmit(self)

    @property
    def companions(self) -> dict[str, StartFunction]:
        """What calls the process function."""
        return {"process": self._processing}

    # -- taking in -----------------------------------------------------------------------------

    def push(self, item: object, *, stored: bool = False) -> Coroutine[object, object, None]:
        """Add an item to the buffer.

        Args:
          item: Anything; the memory store keeps the object itself.
          stored: Return when it is on disk; the buffer is flushed with it, and with what else is
            pushed meanwhile. If that wait is cancelled, or ends with an error, the item was
            pushed all the same. (In memory: when it was flushed.)

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If it does not fit into ``max_length``, or if others wait for room
            (`wait_push`): they come first.
          ItemRefusedError: If a function of a merging buffer, or a buffer of yours, raises.
          CodecError: If the item cannot be encoded, in a durable queue.
          StoreError: If the queue cannot be read: it was not pushed. Or if it is to be stored and
            the store fails: then its outcome is ``"unknown"``, as it stays in the buffer, and is
            stored when the store works again.
        """
        return self._pushed([self._taken_in(item)], stored=stored)

    def push_many(
        self, items: Iterable[object], *, stored: bool = False
    ) -> Coroutine[object, object, None]:
        """Add items to the buffer, in order; all, or none if they do not fit.

        It is flushed whenever it is full, so that no batch gets larger than by single pushes.
        (`ItemRefusedError` says how many went in before that one.)

        Args:
          items: The items.
          stored: As for `push`.

        Raises what `push` does.
        """
        return self._pushed([self._taken_in(item) for item in items], stored=stored)

    def push_nowait(self, *items: object) -> None:
        """Add items to the buffer without waiting, not even for an answer: a cast.

        What is refused later (by a queue that is closed or full, or by its buffer) is not heard
        of; use `push` where that matters.

        Raises:
          trio.WouldBlock: If the mailbox is full: let others have their turn. Nothing was sent.
          CodecError: If an item cannot be encoded, in a durable queue.
        """
        self._mailbox.cast(self._ask_push([self._taken_in(item) for item in items]))

    @operation
    def wait_push(self, *items: object, timeout: float | None = None) -> Ask[None]:
        """Add items to the buffer, all at once; wait until there is room for them.

        Those who wait are served in the order in which they began to wait, and nobody who comes
        later overtakes them.

        Args:
          *items: As for `push`.
          timeout: Seconds (>= 0) to wait for room at most. None: without limit. While the
            queue's actor restarts, it is not looked at.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing went in.
          ValueError: If there can never be room for so many; or ``timeout`` is out of its range.
          QueueClosedError: If the queue is closed, before or during the wait.
          ItemRefusedError: As for `push`.
          CodecError: As for `push`.
        """
        most = self.options.max_length
        if most is not None and len(items) > most:
            raise ValueError(f"expected at most {most} items (max_length), got {len(items)}")
        taken_in = [self._taken_in(item) for item in items]
        deadline_at = self._deadline(timeout)
        return _Push(
            "wait_push",
            (taken_in, self._inside),
            waits=ROOM,
            deadline_at=deadline_at,
            timeout=timeout or 0,
        )

    def _ask_push(self, items: list[object], *, stored: bool = False) -> _Push:
        return _Push("push", (items, self._inside, False, stored))

    def _pushed(self, items: list[object], *, stored: bool) -> Coroutine[object, object, None]:
        ask = self._ask_push(items, stored=stored)
        if stored:
            return self._push_stored(ask)
        return cast("Coroutine[object, object, None]", self._mailbox.call(ask))

    async def _push_stored(self, ask: _Push) -> None:
        await self._mailbox.call(ask)
        arguments = (ask.value,)
        try:
            await insist(lambda: self._mailbox.call(Ask("stored", arguments, waits=SYNCS)))
        except StoreError as failure:
            raise StoreError(failure.store, "unknown", failure.reason) from failure

    def _taken_in(self, item: object) -> object:
        """Return what of an item goes into the buffer."""
        if self._encode is not None:
            return self._encode(item)
        if self._check is not None:
            self._check(item)
        return item

    # -- flushing --------------------------------------------------------------------------------

    @operation
    def flush(self) -> Ask[int]:
        """Store what is in the buffer; return how many items that were, when they are on disk.

        Raises:
          QueueClosedError: If the queue is closed: then everything was flushed.
          StoreError: If the store fails: they stay in the buffer, and are stored when it works
            again.
        """
        return Ask("flush")

    async def close(self, grace: float = GRACE) -> None:
        """Take nothing in any more, cancel the calls of the process function, flush, and return.

        What a call pushes back while it is being cancelled is stored, too. What was not processed
        stays in its store; of a memory queue it is never processed. A second time: it waits for
        the same end. Cancelled: it may go on closing; call it again to wait for the end.

        Args:
          grace: Seconds (>= 0) that the calls have to end after they were cancelled; the batches
            of those that have not are given back all the same, and come again.

        Raises:
          RuntimeError: If the process function closes its own queue: it would wait for itself.
          StoreError: If the store fails. It is not closed then, or not to its end: call it again
            when the store works. What was stored is there; what was not, goes with the process
            unless the store works again before that.
          trio.TooSlowError: If the queue has not answered in time: its actor restarts, or it waits
            for its store (``on_failure = "wait"``). Call it again.
          ValueError: If ``grace`` is out of its range.
        """
        check_seconds("grace", grace)
        if self._inside:
            raise RuntimeError(
                f"the process function of queue {self.name!r} cannot close it: it would wait for "
                "itself; let another task do it"
            )
        deadline = trio.current_time() + grace
        try:
            with trio.fail_after(max(grace, TELL)):
                await self._closing()
            await self._processing.end(max(0.0, deadline - trio.current_time()))
            with trio.fail_after(max(deadline - trio.current_time(), TELL)):
                await self._shut()
        except trio.TooSlowError:
            told = "is not closed in time: its actor restarts, or waits for its store"
            raise trio.TooSlowError(f"queue {self.name!r} {told}; call close again") from None

    @operation
    def _closing(self) -> Ask[None]:
        return Ask("close")

    @operation
    def _shut(self) -> Ask[None]:
        return Ask("shut")

    # -- what an operator does -------------------------------------------------------------------

    @operation
    def peek(self, state: BatchState = "ready", limit: int = 1) -> Ask[list[StoredBatch]]:
        """Return some of the stored batches in a state, first things first; nothing changes.

        Args:
          state: ``"ready"``, ``"cooling"``, ``"retry"``, ``"claimed"``, ``"buried"`` or ``"dead"``.
          limit: How many at most (>= 1).

        Raises:
          CodecError: If one of them cannot be decoded.
          ValueError: If an argument is out of its range.
        """
        if state not in get_args(BatchState):
            known = ", ".join(map(repr, get_args(BatchState)))
            raise ValueError(f"expected state to be one of {known}, got {state!r}")
        return _AskBatches(self._values, (state, check_limit(limit)))

    @operation
    def kick(self, limit: int = 1) -> Ask[int]:
        """Let up to ``limit`` buried batches be claimed again, as if never before; return how many.

        Args:
          limit: >= 1.

        Raises:
          ValueError: If ``limit`` is out of its range.
        """
        return Ask("kick", (check_limit(limit),))

    @operation
    def remove(self, *ids: int) -> Ask[int]:
        """Take batches out, whatever they are; return how many there were.

        A call that has one goes on; it does not come back after that.

        Args:
          *ids: Their numbers, as `peek` and the log have them.
        """
        return Ask("remove", (tuple(map(check_id, ids)),))

    # -- the whole queue -------------------------------------------------------------------------

    @operation
    def len(self) -> Ask[int]:
        """Return how many items the queue holds, in its buffer and in batches."""
        return Ask("length")

    @operation
    def statistics(self) -> Ask[BatchStatistics]:
        """Return the queue's numbers; counters are kept across restarts of the actor."""
        return AskStatistics(self._actor, "pushing")

    @operation
    def clear(self) -> Ask[int]:
        """Remove all items, in the buffer and in batches; return how many there were.

        Calls of the process function go on; what they have does not come back.
        """
        return Ask("clear")

    # -- helpers ---------------------------------------------------------------------------------

    def _accept(self, value: object) -> Coroutine[object, object, object]:
        """Add a value that another part of the runtime hands on; wait until there is room.

        A dead letter is a batch of its own, stored when this returns.
        """
        if not isinstance(value, DeadLetter):
            return self.wait_push(value)
        ask = Ask[int]("wait_push_whole", (self._whole(value),), waits=ROOM)
        return cast("Coroutine[object, object, object]", self._mailbox.call(ask))

    @operation
    def _take_over(self, letter: DeadLetter, queue: str) -> Ask[int]:
        """Add a dead letter that leaves another queue of the same store by this."""
        return TakeOver("wait_push_whole", queue, letter.id, (self._whole(letter),))

    def _whole(self, letter: DeadLetter) -> object:
        return [letter] if self._values is None else self._values.encode(letter)


class BatchSubmit(SubmitView["BatchQueue"]):
    """The operations of a `BatchQueue`, sent without waiting, see `SubmitView`."""

    def push(self, item: object) -> PendingReply[None]:
        """Send what `BatchQueue.push` does."""
        return self.push_many([item])

    def push_many(self, items: Iterable[object]) -> PendingReply[None]:
        """Send what `BatchQueue.push_many` does."""
        queue = self._queue
        ask = queue._ask_push([queue._taken_in(item) for item in items])  # noqa: SLF001 - the two are one thing
        queue._mailbox.cast(ask)  # noqa: SLF001
        return PendingReply(ask)

    wait_push = submitted(BatchQueue.wait_push)
    flush = submitted(BatchQueue.flush)
    peek = submitted(BatchQueue.peek)
    kick = submitted(BatchQueue.kick)
    remove = submitted(BatchQueue.remove)
    len = submitted(BatchQueue.len)
    statistics = submitted(BatchQueue.statistics)
    clear = submitted(BatchQueue.clear)


class _Push(Ask[None], Kept):
    """The core answers with the item's number, which is for `push` to know."""

    __slots__ = ()

    def unwrap(self) -> object:
        super().unwrap()
        return None


class _AskBatches(Ask[list[StoredBatch]]):
    __slots__ = ("_values",)

    def __init__(self, values: ItemValues | None, args: tuple[object, ...]) -> None:
        super().__init__("peek", args)
        self._values = values

    def unwrap(self) -> object:
        found = cast("list[StoredBatch]", super().unwrap())
        if self._values is None:
            return found
        decode = cast("Callable[[object], list[object]]", self._values.decode)
        return [attrs.evolve(each, items=decode(each.items)) for each in found]
