"""The capacity queue's handle: arguments are checked here, in the caller, before anything happens.

What the operations do is decided by `queueactors.cores.capacity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueactors._options import check_integer
from queueactors.cores.capacity import CapacityStatistics  # noqa: TC001 - as in its signature
from queueactors.engines import ROOM, TAKERS

from ._chunk_handle import ChunkHandle, Item, decoded, encoded
from ._chunk_options import CapacityOptions
from ._handle import SubmitView
from ._operations import Ask, AskStatistics, Decoded, TakeOver, check_limit, operation, submitted

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from queueactors.cores.timed import DeadLetter


class CapacityQueue(ChunkHandle[CapacityOptions]):
    """A first-in, first-out queue of bytes with a capacity: in whole batches, out in batches.

    Cheap; valid across restarts. While the queue's actor restarts, calls wait. Every operation can
    end with `supervisors.ActorCrashedError` (it did not happen) or `supervisors.ActorDownError`
    (the queue was stopped, parked, or is gone with its runtime).

    An item that was popped is gone: who needs it to come back when something fails uses a timed
    queue.

    Cancelling a call: as long as the queue has not taken it up, or it waits for room or for an
    item, it is withdrawn and nothing happened; otherwise it happened and returns. So a push that
    raised ``Cancelled`` pushed nothing, and a pop that raised it took nothing.

    Source: seed 004, RocksQ's ``PersistentQueueWithCapacity``.
    """

    kind = "capacity"

    @property
    def submit(self) -> CapacitySubmit:
        """The same operations, sent without waiting for their answers: RocksQ's other flavour."""
        return CapacitySubmit(self)

    # -- taking in -----------------------------------------------------------------------------

    @operation
    def push(self, *items: object) -> Ask[int]:
        """Add items, all or none; return how many.

        Args:
          *items: Bytes; or, with another ``codec``, what it encodes.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If there is no room for all of them, or if others wait for room
            (`wait_push`): they come first.
          CodecError: If an item cannot be encoded; with the codec ``"bytes"``, if it is no bytes.
        """
        return Ask("push", encoded(self._values, items))

    @operation
    def wait_push(self, *items: object, timeout: float | None = None) -> Ask[int]:
        """Add items, all at once; wait until there is room for all of them. Return how many.

        Those who wait are served in the order in which they began to wait, and nobody who comes
        later overtakes them.

        Args:
          *items: As for `push`.
          timeout: Seconds (>= 0) to wait for room at most. None: without limit. While the
            queue's actor restarts, it is not looked at.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing went in.
          QueueFullError: If there can never be room for so many.
          QueueClosedError: If the queue is closed, before or during the wait.
          CodecError: As for `push`.
          ValueError: If ``timeout`` is out of its range.
        """
        arguments, deadline_at = encoded(self._values, items), self._deadline(timeout)
        waits = ROOM if items else None
        return Ask(
            "wait_push", arguments, waits=waits, deadline_at=deadline_at, timeout=timeout or 0
        )

    def push_nowait(self, *items: object) -> None:
        """Add items without waiting, not even for an answer: a cast.

        What a full or closed queue refuses is not heard of; use `push` where that matters.

        Raises:
          trio.WouldBlock: If the mailbox is full: let others have their turn. Nothing was sent.
          CodecError: As for `push`.
        """
        self._mailbox.cast(Ask("push", encoded(self._values, items)))

    # -- handing out ---------------------------------------------------------------------------

    @operation
    def pop(self, limit: int = 1) -> Ask[list[Item]]:  # type: ignore[misc] # any items
        """Remove and return what is there, at most ``limit`` items, oldest first; perhaps none.

        Args:
          limit: >= 1.

        Raises:
          QueueClosedError: If the queue is closed, and nothing is left in it.
          StoreError: If they cannot be read from the store. Nothing was taken.
          CodecError: If one cannot be decoded: all of them are gone; ``__notes__`` says which.
          ValueError: If ``limit`` is out of its range.
        """
        return Decoded(self._values, decoded, "pop", (check_limit(limit),))

    @operation
    def wait_pop(self, limit: int = 1, *, timeout: float | None = None) -> Ask[list[Item]]:  # type: ignore[misc] # any items
        """Remove and return what is there, at least one item; wait for the first.

        Those who wait are served in the order in which they began to wait.

        Args:
          limit: >= 1; how many at most.
          timeout: Seconds (>= 0) to wait at most. None: without limit.

        Raises what `pop` does, and `trio.TooSlowError` if ``timeout`` passed: nothing was taken.
        """
        return Decoded(
            self._values,
            decoded,
            "pop",
            (check_limit(limit),),
            waits=TAKERS,
            deadline_at=self._deadline(timeout),
            timeout=timeout or 0,
        )

    # -- the whole queue -----------------------------------------------------------------------

    @operation
    def len(self) -> Ask[int]:
        """Return how many items are in it."""
        return Ask("length")

    @operation
    def is_empty(self) -> Ask[bool]:
        """Return whether no item is in it."""
        return Ask("is_empty")

    @operation
    def payload_size(self) -> Ask[int]:
        """Return how many bytes its items have, as the codec made them."""
        return Ask("payload_size")

    @operation
    def disk_size(self) -> Ask[int]:
        """Return how many bytes of items its store keeps: also some that were popped already."""
        return Ask("disk_size")

    @operation
    def statistics(self) -> Ask[CapacityStatistics]:
        """Return the queue's numbers; counters are kept across restarts of the actor."""
        return AskStatistics(self._actor, "pushing")

    @operation
    def resize(self, max_elements: int) -> Ask[None]:
        """Let it hold so many items from now on; the store keeps that.

        What is in it stays, also if that is more; then nothing goes in until there is room.

        Args:
          max_elements: >= 1.

        Raises:
          TypeError: If it is no int.
          ValueError: If it is < 1.
        """
        check_integer("max_elements", max_elements, least=1)
        return Ask("resize", (max_elements,))

    @operation
    def clear(self) -> Ask[int]:
        """Throw all items away; return how many there were."""
        return Ask("clear")

    @operation
    def close(self) -> Ask[None]:
        """Take nothing in any more; what is there can still be popped.

        Who waits for an item is woken once nothing is left, who waits for room at once. A second
        time: nothing happens.
        """
        return Ask("close")

    # -- helpers ---------------------------------------------------------------------------------

    def _accept(self, value: object) -> Coroutine[object, object, int]:
        """Add a value that another part of the runtime hands on; wait until there is room."""
        return self.wait_push(value)

    @operation
    def _take_over(self, letter: DeadLetter, queue: str) -> Ask[int]:
        """Add a dead letter that leaves another queue of the same store by this."""
        return TakeOver("wait_push", queue, letter.id, encoded(self._values, (letter,)))


class CapacitySubmit(SubmitView["CapacityQueue"]):
    """The operations of a `CapacityQueue`, sent without waiting, see `SubmitView`."""

    push = submitted(CapacityQueue.push)
    wait_push = submitted(CapacityQueue.wait_push)
    pop = submitted(CapacityQueue.pop)
    wait_pop = submitted(CapacityQueue.wait_pop)
    peek = submitted(CapacityQueue.peek)
    len = submitted(CapacityQueue.len)
    is_empty = submitted(CapacityQueue.is_empty)
    payload_size = submitted(CapacityQueue.payload_size)
    disk_size = submitted(CapacityQueue.disk_size)
    statistics = submitted(CapacityQueue.statistics)
    resize = submitted(CapacityQueue.resize)
    clear = submitted(CapacityQueue.clear)
    close = submitted(CapacityQueue.close)
