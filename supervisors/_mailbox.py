"""The mailbox of an actor: operations in, replies out. The one place that owns replies.

It belongs to the actor's *name*: it survives restarts, so operations that arrive while the
actor is down wait for its next incarnation. A deque with one parked reader instead of trio's
memory channel: that costs 11-20 % more here, loses what is buffered when a reader dies, and
wakes a sender that has already been taken (`bench/`, row "actor calls").

An operation is its own outcome: the task that called is rescheduled with it, and trio asks it
to `Operation.unwrap`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar, cast

import attrs
import trio
from trio.lowlevel import (
    Abort,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._checks import integer
from ._errors import ActorCrashedError, ActorDownError, DownReason
from ._spec import MAILBOX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import outcome


_COMPACT_ABOVE = 32  # withdrawn operations that a mailbox may keep, whatever its length

T = TypeVar("T")


# Words and no enum: on CPython 3.11 looking up a member costs 0.15 us, ten times an operation.
OperationState = Literal["queued", "parked", "taken", "firm", "done", "withdrawn"]
"""Where an operation is in its life.

``queued``: in the mailbox, or in a batch that is not decided yet. ``parked``: it waits inside the
actor for something to happen. ``taken``: being carried out; its caller can leave, and it goes on.
``firm``: being committed; its caller cannot leave. ``withdrawn``: its caller was cancelled before
anything happened.
"""


class Home(Protocol):
    """Where an operation that can be withdrawn is kept."""

    def withdrawn(self, operation: Operation) -> None:
        """Forget an operation whose caller has left."""


class Operation:
    """One message to an actor, and the place where its outcome arrives.

    Args:
      method: What the actor is to do; looked up by each incarnation.
      args: The arguments.
      waits: An empty answer means "not yet": it is parked in the lane of this name. None: it does
        not wait.
      deadline_at: Epoch nanoseconds at which a parked operation ends with `trio.TooSlowError`.
      timeout: How many seconds that was ahead, for the error.
    """

    __slots__ = (
        "args",
        "crashes",
        "deadline_at",
        "error",
        "home",
        "leaving",
        "lot",
        "method",
        "state",
        "task",
        "timeout",
        "value",
        "waits",
    )

    def __init__(
        self,
        method: str,
        args: tuple[object, ...] = (),
        *,
        waits: str | None = None,
        deadline_at: int | None = None,
        timeout: float = 0.0,
    ) -> None:
        self.method = method
        self.args = args
        self.waits = waits
        self.deadline_at = deadline_at
        self.timeout = timeout
        self.state: OperationState = "queued"
        self.value: object = None
        self.error: BaseException | None = None
        self.crashes = 0  # how many incarnations died with it in hand, by no fault of its own
        self.task: trio.lowlevel.Task | None = None
        self.home: Home | None = None
        self.leaving: Callable[[], object] | None = None  # its caller wants to, while it is firm
        self.lot: trio.lowlevel.ParkingLot | None = None

    def __repr__(self) -> str:
        return f"<Operation {self.method} {self.state}>"

    def unwrap(self) -> object:
        """Return the answer, or raise the error. trio calls this in the caller's task."""
        error = self.error
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error, self  # no cycle through the traceback

    def take(self) -> None:
        """Begin to carry it out: its caller can leave from now on, but not withdraw it."""
        self.state = "taken"
        self.home = None

    @enable_ki_protection
    def resolve(self) -> None:
        """Wake whoever waits for the outcome, which is in ``value`` or ``error``."""
        self.state = "done"
        self.home = None
        task = self.task
        if task is not None:
            self.task = None
            reschedule(task, cast("outcome.Outcome[object]", self))
        elif self.lot is not None:
            self.lot.unpark_all()

    def fail(self, error: BaseException) -> None:
        """Resolve with an error."""
        self.error = error
        self.resolve()

    def crashed(self, actor: str, cause: BaseException) -> None:
        """Resolve with `ActorCrashedError`: this operation was the culprit."""
        error = ActorCrashedError(actor)
        error.__cause__ = cause
        self.fail(error)

    def stay(self, state: Literal["queued", "parked"]) -> bool:
        """Let a firm operation wait on, because nothing has come of it.

        Returns:
          Whether it does. False: its caller was cancelled meanwhile, and it is withdrawn.
        """
        self.state = state
        leaving, task = self.leaving, self.task
        if leaving is None or task is None:
            return True
        self.leaving = self.task = None
        self.state = "withdrawn"
        if self.home is not None:
            self.home.withdrawn(self)
            self.home = None
        reschedule(task, cast("outcome.Outcome[object]", _Leaving(leaving)))
        return False

    def abort(self, raise_cancel: Callable[[], object]) -> Abort:
        """Withdraw the operation, if it is not too late: trio's abort function."""
        if self.state == "firm":
            self.leaving = raise_cancel  # trio does not ask again
            return Abort.FAILED
        self.task = None
        if self.state != "taken":
            self.state = "withdrawn"
            if self.home is not None:
                self.home.withdrawn(self)
                self.home = None
        return Abort.SUCCEEDED


@attrs.frozen
class _Leaving:
    """What a task is rescheduled with that was cancelled.

    Args:
      unwrap: Raises that, in the task.
    """

    unwrap: Callable[[], object]


class PendingReply(Generic[T]):
    """The answer to an operation that was submitted without waiting.

    It may be dropped at any time without harm: the operation is carried out all the same.
    """

    __slots__ = ("_operation",)

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def __repr__(self) -> str:
        return f"<PendingReply to {self._operation.method}, ready: {self.is_ready}>"

    @property
    def is_ready(self) -> bool:
        """Whether the answer, or the error, is here."""
        return self._operation.state == "done"

    def get_nowait(self) -> T:
        """Return the answer.

        Raises:
          trio.WouldBlock: If it is not here yet.
          Exception: What the operation ended with, as from the awaited call.
        """
        if not self.is_ready:
            raise trio.WouldBlock
        if self._operation.error is not None:
            # The same error may be raised many times: each time with a traceback of its own.
            self._operation.error = self._operation.error.with_traceback(None)
        return cast("T", self._operation.unwrap())

    try_get = get_nowait  # seed 004's word

    async def get(self) -> T:
        """Wait for the answer and return it; as often as you like.

        If the wait is cancelled, the operation goes on.

        Raises:
          Exception: What the operation ended with, as from the awaited call.
        """
        operation = self._operation
        if operation.state == "done":
            await trio.lowlevel.checkpoint()
        else:
            if operation.lot is None:
                operation.lot = trio.lowlevel.ParkingLot()
            await operation.lot.park()
        return self.get_nowait()


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Mailbox:
    """What was sent to one named actor and not taken yet.

    Args:
      name: The actor's, for its errors.
      bound: How many casts and submitted operations may wait, >= 1. A waiting call is bounded
        by its own task and does not count.
    """

    name: str
    bound: int = attrs.field(default=MAILBOX)
    down: DownReason | None = attrs.field(default=None, init=False)
    owner: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    _queue: deque[Operation] = attrs.field(factory=deque, init=False)
    _reader: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    _woken: bool = attrs.field(default=False, init=False)
    _casts: int = attrs.field(default=0, init=False)  # in the queue, without a calling task
    _dead: int = attrs.field(default=0, init=False)  # withdrawn ones still in the queue

    @bound.validator
    def _check_bound(self, _attribute: object, value: int) -> None:
        for fault in integer("mailbox", value, least=1):
            raise ValueError(fault)

    def __len__(self) -> int:
        return len(self._queue) - self._dead

    @property
    def casts(self) -> int:
        """How many casts and submitted operations wait: the gauge of ``bound``."""
        return self._casts

    # -- senders -----------------------------------------------------------------------------

    @enable_ki_protection
    async def call(self, operation: Operation) -> object:
        """Send, wait for the outcome, and return it.

        Cancelled before the actor took the operation, or while it is parked: it is withdrawn
        and nothing happened. While it is carried out: it goes on without its caller; while it
        is committed: the caller waits for the outcome.

        Raises:
          ActorDownError: If the actor does not run and nobody will restart it.
          ActorCrashedError: If it crashed over this operation, which did not happen.
          RuntimeError: If an actor calls itself: it would wait for ever.
        """
        task = current_task()
        if task is self.owner:
            raise RuntimeError(f"actor {self.name!r} calls itself; it would wait for ever")
        down = self.down
        if down is not None:
            await trio.lowlevel.checkpoint()  # meanwhile it may be started again
            raise ActorDownError(self.name, down)
        operation.task = task
        operation.home = self
        self._queue.append(operation)
        self._wake_reader()
        return await wait_task_rescheduled(operation.abort)

    @enable_ki_protection
    def cast(self, operation: Operation) -> None:
        """Send and do not wait. Also the half of `submit` that sends.

        Raises:
          trio.WouldBlock: If ``bound`` casts wait already. Nothing was sent.
          ActorDownError: If the actor does not run and nobody will restart it.
          RuntimeError: If this is not trio's thread; ``trio.from_thread.run_sync`` gets there.
        """
        if self.down is not None:
            raise ActorDownError(self.name, self.down)
        if self._casts >= self.bound:
            raise trio.WouldBlock
        self._wake_reader()  # first: in another thread it raises
        self._casts += 1
        self._queue.append(operation)

    def withdrawn(self, _operation: Operation) -> None:
        """Count an operation whose caller has left, and drop those before they pile up."""
        self._dead += 1
        if self._dead > _COMPACT_ABOVE and self._dead * 2 > len(self._queue):
            # In place: a batch is a copy, but a reader may hold this very deque.
            live = [each for each in self._queue if each.state != "withdrawn"]
            self._queue.clear()
            self._queue.extend(live)
            self._dead = 0

    # -- the actor ---------------------------------------------------------------------------

    @enable_ki_protection
    def take(self, limit: int) -> list[Operation]:
        """Return up to ``limit`` operations, oldest first, without waiting.

        Their callers can still withdraw them: look at the state before carrying one out.
        """
        queue = self._queue
        if len(queue) <= limit:
            batch = list(queue)
            queue.clear()
        else:
            batch = [queue.popleft() for _ in range(limit)]
        if self._dead:
            live = [operation for operation in batch if operation.state != "withdrawn"]
            self._dead -= len(batch) - len(live)
            batch = live
        casts = 0
        for operation in batch:
            operation.home = None  # withdrawn from now on, it is no longer in the queue
            casts += operation.task is None
        self._casts -= casts
        return batch

    @enable_ki_protection
    def put_back(self, operations: Iterable[Operation]) -> None:
        """Return operations that were taken and not carried out, in their order.

        A closed mailbox answers them: nobody would.
        """
        for operation in reversed(list(operations)):
            if operation.state == "withdrawn":
                continue
            if self.down is not None:
                operation.fail(ActorDownError(self.name, self.down))
                continue
            operation.state = "queued"
            operation.home = self
            self._casts += operation.task is None
            self._queue.appendleft(operation)

    @enable_ki_protection
    async def wait(self) -> None:
        """Wait until there is an operation, or until `wake`. A checkpoint in any case.

        Raises:
          trio.BusyResourceError: If another task is reading this mailbox.
        """
        if self._queue or self._woken:
            self._woken = False
            await trio.lowlevel.checkpoint()
            return
        if self._reader is not None:
            raise trio.BusyResourceError(f"another task reads the mailbox of {self.name!r}")
        self._reader = current_task()
        await wait_task_rescheduled(self._abort_wait)
        self._woken = False

    @enable_ki_protection
    def wake(self) -> None:
        """End the present `wait`, or the next one."""
        self._woken = True
        self._wake_reader()

    def reopen(self) -> None:
        """Take messages again: the actor is starting."""
        self.down = None

    @enable_ki_protection
    def close(self, reason: DownReason) -> None:
        """Answer everything that waits, and all that is sent from now on: nobody is coming.

        Raises nothing; later calls and casts raise `ActorDownError` until `reopen`.
        """
        self.down = reason
        for operation in self.take(len(self._queue)):
            operation.fail(ActorDownError(self.name, reason))

    def _wake_reader(self) -> None:
        reader = self._reader
        if reader is not None:
            reschedule(reader)
            self._reader = None

    def _abort_wait(self, _raise_cancel: Callable[[], object]) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED
