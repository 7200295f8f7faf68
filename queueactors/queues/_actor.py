r"""The one loop: every queue actor, whatever its kind and store, is this.

    drain    take what is in the mailbox, up to a bound, without waiting between messages
    decide   \
    commit    }  the engine's `execute`: one batch, one clock reading, one commit
    reply    wake the callers

and then wait for a message, for the engine's next deadline, or for a wake-up.

The actor object belongs to the queue's *name*: with the mailbox and the parked operations it
survives restarts. Each incarnation gets a new engine, whose indexes are rebuilt from the
store's records; so a restart continues with every message, reservation and waiting caller.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio
from trio.lowlevel import checkpoint, enable_ki_protection

from queueactors._errors import StoreError
from queueactors._insist import insist
from queueactors.engines import Parked
from supervisors import ActorDownError, Mailbox, Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queueactors._clock import Clock
    from queueactors._histogram import Doubling, Histogram
    from queueactors.cores import QueueStatistics
    from queueactors.engines import Core, Engine
    from supervisors import ChildStatus, DownReason

BATCH: Final = 256  # operations between two checkpoints; 100,000 casts delay others by 2.3 ms
RETRY_AFTER: Final = 5.0  # seconds until a queue that is down is asked again
CRASHES: Final = 3  # incarnations that may die with an operation in hand before it is given up


@attrs.define(eq=False)
class QueueActor:
    """What a queue is, apart from its records: a child's start function with a mailbox.

    Args:
      name: The queue's.
      clock: The runtime's.
      mailbox: The bound of the mailbox, in casts and submitted operations.
      open_engine: Makes the engine of an incarnation.
      turns: Counts the operations of each turn that had any. None: nobody does.
    """

    name: str
    clock: Clock
    mailbox: Mailbox
    _open_engine: Callable[[Parked], Awaitable[Engine]]
    turns: Doubling | None = None
    parked: Parked = attrs.field(init=False)
    starts: int = attrs.field(default=0, init=False)
    turned: int = attrs.field(default=0, init=False)  # turns so far: what tells of a change
    on_errand: Callable[[], None] | None = attrs.field(default=None, init=False)
    durations: Histogram | None = attrs.field(default=None, init=False)  # of a process function
    _drains: bool = attrs.field(default=False, init=False)  # it takes nothing in any more
    _turning: bool = attrs.field(default=False, init=False)  # a batch is being carried out
    _engine: Engine | None = attrs.field(default=None, init=False)  # None: it is down
    _last: QueueStatistics | None = attrs.field(default=None, init=False)  # known last

    @parked.default
    def _park(self) -> Parked:
        return Parked(self.mailbox.wake, self.name)

    @property
    def restarts(self) -> int:
        """How often the actor was started again."""
        return max(self.starts - 1, 0)

    @property
    def is_up(self) -> bool:
        """Whether there is an incarnation that serves."""
        return self._engine is not None

    @property
    def drains(self) -> bool:
        """Whether it takes nothing in any more, and hands out what it has: see `Engine.drain`."""
        return self._drains

    @drains.setter
    def drains(self, drains: bool) -> None:
        self._drains = drains
        if self._engine is not None:
            self._engine.drain(drains)
            self.mailbox.wake()  # those who wait for room have waited in vain
            if not drains and self.on_errand is not None:
                self.on_errand()  # a refill may be wanted that could not begin

    def configure(self, change: Callable[[Core], None]) -> None:
        """Let a function change what the present incarnation goes by, if there is one."""
        if self._engine is not None:
            self._engine.configure(change)
            self.mailbox.wake()  # there may be room, or another deadline

    async def ask(self, method: str, *args: object) -> object:
        """Call it from beside it; while it, or its store, is down, wait for it to come back.

        The operation must be one that may be repeated.

        Raises:
          ActorCrashedError: If it crashed the actor again and again.
        """
        while True:
            try:
                return await insist(lambda: self.mailbox.call(Operation(method, args)))
            except (ActorDownError, StoreError):
                await trio.sleep(RETRY_AFTER)

    def statistics(self) -> QueueStatistics | None:
        """Return what its engine tells of the queue, without asking it; last known if it is down.

        Who waits, the mailbox and restarts are the actor's own, and not in it. None: nothing was
        ever known.
        """
        if self._engine is not None:
            known = self._engine.statistics(self.clock.now_ns())
            self._last = self._last if known is None else known
        return self._last

    @enable_ki_protection  # Ctrl-C must not land inside a core; it waits for a checkpoint
    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Be one incarnation: serve until cancelled, or until the engine crashes."""
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        log = log.bind(queue=self.name)
        engine = await self._open_engine(self.parked)
        engine.drain(self._drains)
        self._turning = False
        self.mailbox.reopen()
        self.starts += 1
        task_status.started(self)
        self._engine = engine
        try:
            await self._serve(engine, log)
        except trio.Cancelled:
            operation = None if self._turning else engine.parting()
            if operation is not None:
                with task_status.shield():
                    await self._turn(engine, [operation], log)
            raise
        finally:
            with suppress(Exception):  # a core that has crashed may not even know its numbers
                self.statistics()
            self._engine = None

    async def _serve(self, engine: Engine, log: structlog.typing.FilteringBoundLogger) -> None:
        """Take batches, until cancelled."""
        mailbox = self.mailbox
        while True:
            with trio.CancelScope() as timer:  # a new one each time it fires
                while True:
                    batch = mailbox.take(BATCH)
                    await self._turn(engine, batch, log)
                    if len(mailbox):
                        await checkpoint()
                        continue
                    deadline = self.clock.deadline(engine.next_deadline())
                    if deadline < inf:  # setting it costs trio 1 us
                        timer.deadline = deadline
                    await mailbox.wait()
                    if deadline < inf:
                        timer.deadline = inf  # it must not fire in a turn
                    if timer.cancel_called:
                        break  # it fired together with a message: it would end the next await

    async def _turn(
        self,
        engine: Engine,
        batch: list[Operation],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Carry out one batch and answer it."""
        resolved: list[Operation] = []
        self.turned += 1
        if batch and self.turns is not None:
            self.turns.observe(len(batch))
        try:
            now = self.clock.now_ns()
            while not engine.advance(now):
                self._tell(engine, log)
                await checkpoint()
                now = self.clock.now_ns()
            self._turning = True
            await engine.execute(batch, now, resolved)
        except BaseException as error:  # also an exit: nobody may be left waiting
            self._recover(engine.culprit, batch, resolved, error)
            raise
        finally:
            for operation in resolved:
                operation.resolve()
            self._tell(engine, log)
        if engine.new_errands() and self.on_errand is not None:
            self.on_errand()
        self._turning = False

    @staticmethod
    def _tell(engine: Engine, log: structlog.typing.FilteringBoundLogger) -> None:
        """Log what the engine has to tell: it has happened, whatever comes next."""
        for event, facts in engine.notices:
            log.warning(event, **facts)
        engine.notices.clear()

    def _recover(
        self,
        culprit: Operation | None,
        batch: list[Operation],
        resolved: list[Operation],
        error: BaseException,
    ) -> None:
        """Answer the operation that crashed the engine; keep the rest for the next incarnation."""
        done = set(map(id, resolved))
        rest = [
            operation
            for operation in batch
            if operation.state == "queued" and id(operation) not in done
        ]
        if culprit is not None:
            if culprit.state == "parked" and culprit.home is not None:
                culprit.home.withdrawn(culprit)
            culprit.crashed(self.name, error)
        elif isinstance(error, Exception):  # neither cancelled nor told to exit
            for operation in rest:
                operation.crashes += 1
                if operation.crashes > CRASHES:
                    operation.crashed(self.name, error)
        rest = [operation for operation in rest if operation.state == "queued"]
        self.mailbox.put_back(rest)

    def child_down(self, reason: DownReason) -> None:
        """Answer everybody who waits: nobody will serve this queue any more."""
        self.mailbox.close(reason)
        for operation in self.parked.take_all():
            operation.fail(ActorDownError(self.name, reason))
