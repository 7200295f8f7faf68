"""The durable engine: a core in this process, and a journal that writes what it changes.

Decide as the local engine does, write what a whole batch changed in one go, and only then answer.
A batch that could not be written is undone: the records are read again. That is no crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import trio
from trio.lowlevel import checkpoint

from queueactors._errors import StoreError

from ._local import LocalEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisors import Operation

    from ._local import Method
    from ._protocol import Core, Parked, Records


class Journal(Protocol):
    """Keeps the records of one queue for all incarnations of its actor."""

    @property
    def records(self) -> Records | None:
        """What the core works on; None: to be read again."""

    def forget(self, unwritten: tuple[object, ...]) -> None:
        """Let the records be read again, and take over what is never written."""

    @property
    def works(self) -> bool:
        """Whether the store can be read and written at present, as far as is known."""

    def new_records(self) -> Records:
        """Return the records of an empty queue."""

    waits: bool
    """While the store fails: let callers wait. False: they get `StoreError`."""

    async def load(self) -> Records:
        """Read the records, which are ``records`` from now on.

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
        return self.parked.next_timeout() if self._stale else LocalEngine.next_deadline(self)

    def advance(self, now: int) -> bool:
        """Let some of what has become due happen; return whether that was all."""
        return self._stale or LocalEngine.advance(self, now)

    async def execute(
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> None:
        """Carry out a batch and write it, see `Engine.execute`.

        Raises nothing when the store fails: then the callers get `StoreError`, or the batch is
        carried out once it works again.
        """
        again = True
        while again:
            if self._stale and not await self._reload(batch, now, resolved):
                return
            before = self.core.records.snapshot()
            decided: list[Operation] = []
            try:
                await LocalEngine.execute(self, batch, now, decided)
            finally:  # also when one of them crashed it: the others have happened
                failure = await self._write(now, decided)
                again = False
                if failure is not None:
                    self._stale = True  # what the core has decided did not happen
                    self._journal.forget(before)
                    again = self._journal.waits and failure.outcome == "not applied"
                    if again:
                        self._take_back(batch, decided)
                    else:
                        self._refuse(decided, failure)
                if not again:
                    resolved += decided

    async def _write(self, now: int, decided: list[Operation]) -> StoreError | None:
        """Make what was decided durable; return what went wrong."""
        changes = self._journal.changes(now, decided)
        if changes is None:
            return None
        for operation in decided:
            operation.state = "firm"  # its caller waits for the outcome
        with trio.CancelScope(shield=True):
            try:
                await self._journal.write(changes)
            except StoreError as error:
                return error
        return None

    def _take_back(self, batch: Sequence[Operation], decided: list[Operation]) -> None:
        """Let operations be carried out once more: those of the batch, and those that waited."""
        own = set(map(id, batch))
        for operation in reversed(decided):
            operation.value = operation.error = None
            if id(operation) in own:
                operation.state = "queued"
            else:
                self.parked.park_again(operation)

    def _refuse(self, operations: list[Operation], failure: StoreError) -> None:
        """Let operations end with the store's failure."""
        casts = 0
        for operation in operations:
            if not isinstance(operation.error, trio.TooSlowError):
                operation.value = None
                operation.error = error = StoreError(failure.store, failure.outcome, failure.reason)
                error.__cause__ = failure.__cause__
                casts += operation.task is None
        if casts:  # perhaps nobody looks at their replies
            self._notice("casts_refused", operations=casts, outcome=failure.outcome)

    def _notice(self, event: str, **facts: object) -> None:
        self.core.notices.append((event, facts))

    async def _reload(
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> bool:
        """Read the records again; return whether operations can be carried out."""
        while True:
            try:
                core = await _core(self._journal)
            except StoreError as error:
                if self._journal.waits:
                    await self._journal.recovered()
                    continue
                self.parked.time_out(now, resolved)
                queued = [operation for operation in batch if operation.state == "queued"]
                self._refuse(queued, error)
                resolved += queued
                return False
            self.core = core
            self.connect()
            if self._wrapper is not None:
                LocalEngine.wrap(self, self._wrapper)
            self._stale = False
            while not self.advance(now):
                await checkpoint()
            return True


async def _core(journal: Journal) -> Core:
    records = journal.records
    if records is None:
        records = await journal.load()
    core = journal.core(records)
    for _ in core.rebuild():
        await checkpoint()
    return core
