"""The seam between the one loop and whatever keeps a queue's state.

An engine gets a batch of operations and says which are resolved now: also waits that earlier
batches parked. A refusal is a `QueueActorsError`, kept as the operation's outcome; any other
exception is a crash of the actor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, Protocol, cast

import trio

from supervisors import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Sized

    from queueactors.cores import QueueStatistics

# The lanes, in the order in which they are served: what goes in can be handed out.
ROOM: Final = "room"
TAKERS: Final = "takers"
SYNCS: Final = "syncs"

Method = Callable[..., object]  # type: ignore[explicit-any] # each operation has its own

SLICE: Final = 1000  # messages that become due, between two turns of others: some 3 ms


class Records(Protocol):
    """All that a queue is, apart from what can be rebuilt."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be lost with them but counters."""

    def snapshot(self) -> tuple[object, ...]:
        """Return what is never written, because it ends with the process."""

    def resume(self, snapshot: tuple[object, ...]) -> None:
        """Take over a snapshot."""


class Core(Protocol):
    """What a local engine needs of a core."""

    @property
    def records(self) -> Records:
        """What it works on."""

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the methods that an operation may call."""

    @property
    def one_taker(self) -> bool:
        """Whether a taker that would wait is refused while another waits."""

    @property
    def independent(self) -> bool:
        """Whether takers wait each for what its first argument names.

        So none stands behind one that waits for something else.
        """

    @property
    def parting(self) -> tuple[str, tuple[object, ...]] | None:
        """The operation to be carried out before its actor stops, and its arguments; None: none."""

    notices: list[tuple[str, dict[str, object]]]
    inserters: Sized  # who waits for room, and
    syncers: Sized  # for a refill; the engine sets them

    def new_errands(self) -> bool:
        """Return whether something has come up since the last question for the shell to do."""

    def rebuild(self) -> Iterator[None]:
        """Build what is derived from the records; yields whenever others may run."""

    def advance(self, now: int, limit: int | None = None) -> bool:
        """Let what has become due happen, at most ``limit`` steps; return whether that was all."""

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself."""

    def statistics(self, now: int) -> QueueStatistics:
        """Return the queue's numbers, after what has become due by then."""


class IndependentCore(Core, Protocol):
    """A core whose takers wait each for something of its own: their first argument."""

    begun_anew: set[object]
    """What was forgotten: for those who wait for it, and nobody else. The engine empties it."""

    def news(self, now: int) -> object:
        """Return what is equal as long as nothing has come that anybody may wait for."""


class Engine(Protocol):
    """Carries out batches for one incarnation of a queue actor."""

    culprit: Operation | None

    def drain(self, drains: bool) -> None:  # noqa: FBT001 - a state
        """Take nothing in any more, and hand out what there is; or take in again.

        It is not closed by that: see `_refusing`.
        """

    def configure(self, change: Callable[[Core], None]) -> None:
        """Let a function change what the queue goes by, if that is in this process."""

    @property
    def notices(self) -> list[tuple[str, dict[str, object]]]:
        """What the log is to be told: event and facts. The loop empties it."""

    def new_errands(self) -> bool:
        """Return whether something has come up since the last question for the shell to do."""

    def advance(self, now: int) -> bool:
        """Let some of what has become due happen; return whether that was all.

        Only then may operations be carried out. Until then others have their turn in between: a
        million reservations may end at one instant.
        """

    async def execute(
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> None:
        """Carry out a batch, and whatever it or the passing of time makes possible.

        `advance` has said that there is nothing left to do at ``now``.
        Appends the operations that are resolved and committed to ``resolved``, also when it
        raises. Then ``culprit`` is the operation that crashed it, or None.
        """

    def next_deadline(self) -> int | None:
        """Return the epoch nanoseconds at which `execute` must run next, with or without work."""

    def parting(self) -> Operation | None:
        """Return what is to be carried out before the actor stops; None: nothing."""

    def statistics(self, now: int) -> QueueStatistics | None:
        """Return the queue's numbers without asking it: nothing happens by that.

        Args:
          now: Epoch nanoseconds.

        Returns:
          As they are, or as they were when the queue last looked at the clock. None: it has not
          done so, or they are not known at present.
        """


class Handover(Operation):
    """An operation that brings a message from another queue.

    It leaves that queue in the same transaction.
    """

    __slots__ = ()

    queue: str  # the name of the queue that it comes from
    id: int  # its number there


class Kept(Operation):
    """An operation that no store has to write: it holds also if its batch could not be written."""

    __slots__ = ()


class Lane(OrderedDict[Operation, None]):
    """Operations that wait for the same thing, in the order in which they began to wait.

    An `OrderedDict`, because taking from the front of a dict is quadratic.
    """

    wake: Callable[[], None] | None = None

    def withdrawn(self, operation: Operation) -> None:
        """Forget an operation whose caller has left. Whoever stood behind it may have its turn."""
        self.pop(operation, None)
        if self.wake is not None:
            self.wake()

    def first(self) -> Operation | None:
        """Return the one that has waited longest."""
        return next(iter(self), None)


class Parked:
    """The operations that wait inside a queue. They belong to its name: they survive restarts.

    Args:
      wake: Lets the engine execute, with or without work: whoever waits for room may be served
        because somebody before it, who needed more, has left.
      queue: The queue's name, for errors.
    """

    def __init__(self, wake: Callable[[], None] | None = None, queue: str = "") -> None:
        self.queue = queue
        self._lanes = {name: Lane() for name in (ROOM, TAKERS, SYNCS)}
        self._lanes[ROOM].wake = self.wake = wake
        self._timeouts: list[tuple[int, int, Operation]] = []  # a heap; stale once not parked
        self._count = 0  # breaks ties in the heap

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def __iter__(self) -> Iterator[Lane]:
        """Yield the lanes in which somebody waits."""
        return filter(None, self._lanes.values())

    def __bool__(self) -> bool:
        return any(self._lanes.values())

    def lane(self, name: str) -> Lane:
        """Return the lane of that name."""
        return self._lanes[name]

    def park(self, operation: Operation, lane: Lane) -> None:
        """Let an operation wait at the end of a lane."""
        lane[operation] = None
        operation.state = "parked"
        operation.home = lane
        if operation.deadline_at is not None:
            self._count += 1
            heappush(self._timeouts, (operation.deadline_at, self._count, operation))
            if len(self._timeouts) > 2 * len(self) + 64:
                self._timeouts = [entry for entry in self._timeouts if _waits(entry[2])]
                heapify(self._timeouts)

    def park_again(self, operation: Operation) -> None:
        """Let an operation that was served in vain wait again, before all others of its lane."""
        lane = self._lanes[cast("str", operation.waits)]
        self.park(operation, lane)
        lane.move_to_end(operation, last=False)

    def time_out(
        self, now: int, resolved: list[Operation], queued: Sequence[Operation] = ()
    ) -> None:
        """End the waits whose time is up, with `trio.TooSlowError`.

        Args:
          now: Epoch nanoseconds.
          resolved: Where to add them.
          queued: Others, that do not wait in a lane: those that nobody has looked at yet.
        """
        while self._timeouts and self._timeouts[0][0] <= now:
            operation = heappop(self._timeouts)[2]
            if _waits(operation) and operation.home is not None:
                operation.home.withdrawn(operation)
                operation.home = None
                self._end(operation, resolved)
        for operation in queued:
            at = operation.deadline_at
            if at is not None and at <= now and operation.state == "queued":
                self._end(operation, resolved)

    def _end(self, operation: Operation, resolved: list[Operation]) -> None:
        operation.error = trio.TooSlowError(
            f"queue {self.queue!r}: {operation.method} waited {operation.timeout:g} s in vain"
        )
        resolved.append(operation)

    def next_timeout(self) -> int | None:
        """Return the epoch nanoseconds at which the next wait ends by itself."""
        while self._timeouts and not _waits(self._timeouts[0][2]):
            heappop(self._timeouts)
        return self._timeouts[0][0] if self._timeouts else None

    def take_all(self) -> list[Operation]:
        """Remove and return all of them."""
        taken = [operation for lane in self._lanes.values() for operation in lane]
        for lane in self._lanes.values():
            lane.clear()
        self._timeouts.clear()
        return taken


def _waits(operation: Operation) -> bool:
    return operation.state == "parked"
