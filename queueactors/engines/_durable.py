"""The durable engine: a core in this process, and a journal that writes what it changes.

Decide as the local engine does, write what a whole batch changed in one go, and only then answer.
A batch that could not be written is undone: the records are read again. That is no crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio
from trio.lowlevel import checkpoint

from queueactors._errors import StoreError
from supervisors import describe

from ._local import LocalEngine
from ._protocol import SLICE, Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueactors._clock import Clock
    from queueactors.cores import QueueStatistics
    from supervisors import Operation

    from ._protocol import Core, Method, Parked, Records


READ_AGAIN: Final = 5_000_000_000  # nanoseconds, if a queue cannot be read in a store that works


class Journal(Protocol):
    """Keeps the records of one queue for all incarnations of its actor."""

    store: str
    """The store's name."""

    clock: Clock
    """The runtime's."""

    records: Records | None
    """What the core works on; None: to be read again. The engine sets it."""

    unwritten: tuple[int, tuple[object, ...]] | None
    """What is never written, after the epoch nanoseconds at which it was so; the engine sets it.

    It goes on when the records are read again.
    """

    @property
    def works(self) -> bool:
        """Whether the store can be read and written at present, as far as is known."""

    def new_records(self) -> Records:
        """Return the records of an empty queue."""

    @property
    def waits(self) -> bool:
        """While the store fails: let callers wait. False: they get `StoreError`."""

    async def load(self) -> Records:
        """Read the records.

        Raises:
          StoreError: If the store fails.
        """

    def core(self, records: Records) -> Core:
        """Return a core over the records; its indexes are still to be rebuilt."""

    def changes(self, now: int, operations: Sequence[Operation]) -> object | None:
        """Return what has to be written since the last time; None: nothing.

        Args:
          now: Epoch nanoseconds.
          operations: Those that have been carried out.
        """

    def write_promptly(self, changes: object) -> bool:
        """Make changes durable at once, all or none, if that takes no longer than to ask for it.

        Returns:
          Whether they are durable. False: `write` them.

        Raises:
          StoreError: If they were not written; or if nobody knows.
        """

    async def write(self, changes: object) -> None:
        """Make changes durable, all or none.

        Raises:
          StoreError: If they were not written; or if nobody knows.
        """

    async def recovered(self) -> None:
        """Wait until the store works again."""


@attrs.define(eq=False)
class DurableEngine(LocalEngine):
    """Runs a core whose records a journal keeps. Make it with `open`."""

    _journal: Journal
    _stale: bool = attrs.field(default=False, init=False)  # the records are to be read again
    _read_at: int | None = attrs.field(default=None, init=False)  # when that is tried by itself
    _wrapper: Callable[[Method], Method] | None = attrs.field(default=None, init=False)

    @classmethod
    async def open(cls, journal: Journal, parked: Parked) -> DurableEngine:
        """Return an engine for a new incarnation of a queue's actor.

        While the store fails it has nothing, and reads the records when they can be read.

        Raises:
          StoreError: If the store works, and the records cannot be read.
        """
        try:
            return cls(await _core(journal), parked, journal)
        except StoreError:
            if journal.works:
                raise
        engine = cls(journal.core(journal.new_records()), parked, journal)
        engine._stale = True
        return engine

    def wrap(self, wrapper: Callable[[Method], Method]) -> None:
        """Put something around each of the core's operations: the injection of faults."""
        self._wrapper = wrapper
        LocalEngine.wrap(self, wrapper)

    def new_errands(self) -> bool:
        """Return whether something has come up since the last question for the shell to do."""
        return not self._stale and self.core.new_errands()

    def next_deadline(self) -> int | None:
        """Return the next instant at which something happens by itself."""
        if not self._stale:
            return LocalEngine.next_deadline(self)
        if not self.parked:
            return None  # the next operation reads the records
        instants = self._read_at, self.parked.next_timeout()
        return min((at for at in instants if at is not None), default=None)

    def advance(self, now: int) -> bool:
        """Let some of what has become due happen; return whether that was all."""
        return self._stale or LocalEngine.advance(self, now)

    def statistics(self, now: int) -> QueueStatistics | None:
        """Return the queue's numbers without asking it; None while they are to be read again."""
        return None if self._stale else LocalEngine.statistics(self, now)

    async def execute(
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> None:
        """Carry out a batch and write it, see `Engine.execute`.

        Raises nothing when the store fails: then the callers get `StoreError`, or the batch is
        carried out once it works again.
        """
        rest: Sequence[Operation] | None = batch
        while rest is not None:
            if self._stale:
                read_at = await self._reload(rest, resolved)
                if read_at is None:
                    return
                now = read_at
            rest = await self._attempt(rest, now, resolved)
            if rest is not None and not self._stale:
                now = await self._read_later(rest)

    async def _attempt(
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> Sequence[Operation] | None:
        """Carry out a batch and write it; return what of it is to be carried out again."""
        before = self.core.records.snapshot()
        decided: list[Operation] = []
        again = False
        try:
            await LocalEngine.execute(self, batch, now, decided)
        finally:  # also when one of them crashed it: the others have happened
            try:
                failure = await self._write(now, decided)
            except BaseException as error:  # a defect: it crashes the actor, and nobody waits on
                failure = StoreError(self._journal.store, "unknown", describe(error))
                failure.__cause__ = error
                self._forget(now, before)
                self._refuse(decided, failure)
                resolved += decided
                raise
            if failure is not None:
                self._forget(now, before)
                again = self._journal.waits and failure.outcome == "not applied"
                if again:
                    self._take_back(batch, decided)
                else:
                    self._refuse(decided, failure)
            if not again:
                resolved += decided
        return batch if again else self._unread(batch, resolved)

    def _unread(
        self, batch: Sequence[Operation], resolved: list[Operation]
    ) -> Sequence[Operation] | None:
        """Take back what was to read from a store that fails, if it waits; answer the rest."""
        if not self._journal.waits:
            return None
        failed = [each for each in resolved if _was_not_read(each)]
        if not failed:
            return None
        for operation in resolved:
            if not _was_not_read(operation):
                operation.resolve()
        resolved.clear()
        self._take_back(_among(batch, failed), failed)
        self._served = None  # those who waited are to be asked again, though nothing is new
        return _among(batch, failed)

    async def _read_later(self, batch: Sequence[Operation]) -> int:
        """Wait until what could not be read may be read again; return the instant then."""
        clock = self._journal.clock
        self._read_at = clock.now_ns() + READ_AGAIN if self._journal.works else None
        await self._recovered(batch)
        now = clock.now_ns()
        while not self.advance(now):
            await checkpoint()
            now = clock.now_ns()
        return now

    async def _write(self, now: int, decided: list[Operation]) -> StoreError | None:
        """Make what was decided durable; return what went wrong."""
        changes = self._journal.changes(now, decided)
        if changes is None:
            return None
        try:
            if not self._journal.write_promptly(changes):
                for operation in decided:
                    operation.state = "firm"  # its caller waits for the outcome
                with trio.CancelScope(shield=True):
                    await self._journal.write(changes)
        except StoreError as error:
            return error
        return None

    def _forget(self, now: int, before: tuple[object, ...]) -> None:
        """Let the records be read again: what the core has decided did not happen."""
        self._stale = True
        self._journal.records, self._journal.unwritten = None, (now, before)

    def _take_back(self, batch: Sequence[Operation], decided: list[Operation]) -> None:
        """Let operations be carried out once more: those of the batch, and those that waited."""
        own = set(map(id, batch))
        for operation in reversed(decided):
            if isinstance(operation, Kept):
                operation.resolve()
                continue
            operation.value = operation.error = None
            if id(operation) not in own:
                self.parked.park_again(operation)
                operation.stay("parked")
            else:
                operation.stay("queued")
        for operation in batch:  # nor may one that found nothing come before one that did
            if operation.state == "parked" and operation.home is not None:
                operation.home.withdrawn(operation)
                operation.home, operation.state = None, "queued"

    def _refuse(
        self, operations: list[Operation], failure: StoreError, *, decided: bool = True
    ) -> None:
        """Let operations end with the store's failure; but those that hold, if they are decided."""
        casts = 0
        for operation in operations:
            if decided and isinstance(operation, Kept):
                continue
            if not isinstance(operation.error, trio.TooSlowError):
                operation.value, operation.error = None, failure.anew()
                casts += operation.task is None
        if casts:  # perhaps nobody looks at their replies
            self._notice("casts_refused", operations=casts, outcome=failure.outcome)

    def _notice(self, event: str, **facts: object) -> None:
        self.core.notices.append((event, facts))

    async def _reload(self, batch: Sequence[Operation], resolved: list[Operation]) -> int | None:
        """Read the records again; return the instant then. None: operations cannot be done now."""
        journal, clock = self._journal, self._journal.clock
        core = None
        while core is None:
            try:
                core = await _core(journal)
            except StoreError as error:
                self._read_at = clock.now_ns() + READ_AGAIN if journal.works else None
                if not journal.waits:
                    self.parked.time_out(clock.now_ns(), resolved)
                    queued = [operation for operation in batch if operation.state == "queued"]
                    self._refuse(queued, error, decided=False)
                    resolved += queued
                    return None
                await self._recovered(batch)
        self.core = core
        self.connect()
        if self._wrapper is not None:
            LocalEngine.wrap(self, self._wrapper)
        self._stale = False
        now = clock.now_ns()
        while not self.advance(now):
            await checkpoint()
            now = clock.now_ns()
        return now

    async def _recovered(self, batch: Sequence[Operation]) -> None:
        """Wait until the records may be read again, or somebody's time is up."""
        clock, parked = self._journal.clock, self.parked
        queued = [operation for operation in batch if operation.state == "queued"]
        instants = [operation.deadline_at for operation in queued] + [parked.next_timeout()]
        first = min((at for at in instants if at is not None), default=None)
        with trio.CancelScope(deadline=clock.deadline(first)):
            if self._read_at is None:
                await self._journal.recovered()
            else:
                await trio.sleep_until(clock.deadline(self._read_at))
        late: list[Operation] = []
        parked.time_out(clock.now_ns(), late, queued)
        for operation in late:
            operation.resolve()


def _was_not_read(operation: Operation) -> bool:
    """Return whether a store could not be read for an operation, which has not happened."""
    error = operation.error
    return isinstance(error, StoreError) and error.outcome == "not applied"


def _among(batch: Sequence[Operation], failed: Sequence[Operation]) -> list[Operation]:
    """Return which operations of a batch have failed, in its order."""
    ids = set(map(id, failed))
    return [operation for operation in batch if id(operation) in ids]


async def _core(journal: Journal) -> Core:
    records = journal.records
    if records is not None:
        return await _rebuilt(journal.core(records))
    records = await journal.load()
    if journal.unwritten is None:
        core = await _rebuilt(journal.core(records))
    else:
        at, snapshot = journal.unwritten
        records.resume(snapshot)
        core = await _rebuilt(journal.core(records))
        while not core.advance(at, SLICE):
            await checkpoint()
        core.notices.clear()  # what has happened by itself until then was told,
        records.resume(snapshot)  # and counted
    journal.records = records
    return core


async def _rebuilt(core: Core) -> Core:
    for _ in core.rebuild():
        await checkpoint()
    return core
