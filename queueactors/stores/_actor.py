"""The actor of an SQLite store: it commits what all queues of a file have to write.

As many as wait in one transaction: so it gets faster under load. Nothing is answered before its
commit. A medium that fails is no crash: whoever has to write is told so, and the file is opened
again, for ever.

Where the commit runs matters more than how: a thread needs 60 us to hear of it and competes for
the interpreter's lock, a commit in the loop keeps everything else waiting. In the loop, unless
the disk is slow; the write-ahead log is moved into the database by a thread in any case. And
inline, in the turn of the queue that writes, while this actor has nothing else to do: that is
cheaper than two switches of tasks, if the disk is fast and few queues write. How many do shows in
what comes to this actor in one turn; so now and then an inline commit is left to it.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar, cast

import msgspec
import structlog
import trio
from trio.lowlevel import checkpoint

from queueactors._errors import CodecError, StoreError, StoreLockedError
from queueactors._histogram import Histogram
from supervisors import (
    ActorDownError,
    ActorError,
    Backoff,
    Mailbox,
    Operation,
    bare_nursery,
    describe,
)

from ._file import Changes, NotAStoreError, StoreFile
from ._owner import OwnedError, Owner
from ._protocol import StoreStatistics
from ._transaction import Outcome, Transaction, measure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from supervisors import ChildStatus, DownReason

    from ._protocol import Place
    from ._sqlite import CommitIn, SqliteStore
    from ._table import Table


BATCH: Final = 1000  # queues whose changes go into one transaction
LARGE: Final = 20_000  # rows: a transaction of more is written by a thread in any case
FAST: Final = 0.000_5  # seconds: a commit that takes longer has to leave the loop
PROMPT: Final = 0.000_05  # seconds: what it costs to wake this actor, and to be woken by it
CROWD: Final = 2  # queues that write at the same time: with more, one commit for all is faster
LOOK: Final = 50  # commits inline between two looks at how many do
LOG: Final = 16 << 20  # bytes of write-ahead log, from which on it is moved into the database
WATCH: Final = 1000  # rows and commits between two looks at it
SWITCH: Final = 0.000_1  # seconds; with the default of 5 ms a thread that commits is starved
PACE: Final = Backoff()
# Seconds: a commit in the loop takes 10 us, one that waits for a disk milliseconds, `timeout` 10 s.
COMMIT_BOUNDS: Final = (
    *(0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

T = TypeVar("T")


class StoreActor:
    """The store's actor: a child's start function with a mailbox.

    Args:
      store: Whose it is.
      place: Where that is.
      path: The file.
    """

    def __init__(self, store: SqliteStore, place: Place, path: Path) -> None:
        self.works = trio.Event()
        self.clock = place.clock
        self.on_recovery: dict[str, Callable[[], None]] = {}  # by queue
        self._options = store
        self._place = place
        self._path = path.resolve()  # the program may change its directory
        self._driver = store.driver
        self._owner = Owner(path)
        self._mailbox = Mailbox(f"store.{place.name}")
        self._identity: str | None = None
        self._last_number = 0  # of a queue
        self._file: StoreFile | None = None  # writes
        self._reader: StoreFile | None = None  # sees what was committed when a queue began to read
        self._values: StoreFile | None = None  # sees what is committed, all the time
        self._failure: StoreError | None = None
        self._way = store.commit
        self._waits = False  # for something to do
        self._crowd = 1  # queues in the last transaction of this actor
        self._prompt = 0  # commits inline since that
        self._moving = False  # a thread moves the log into the database
        self._hold = False  # it cannot come to an end while others commit
        self._unwatched = 0  # rows and commits since the log was looked at
        self._commit_seconds = Histogram(COMMIT_BOUNDS)
        self._failures = 0  # of commits
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        self._log = self._log.bind(store=place.name)

    @property
    def name(self) -> str:
        """The store's name."""
        return self._place.name

    def statistics(self) -> StoreStatistics:
        """Return its numbers."""
        commit_seconds = self._commit_seconds.buckets()
        return StoreStatistics(
            works=self.works.is_set(),
            commits=commit_seconds.n,
            failures=self._failures,
            commit_seconds=commit_seconds,
        )

    # -- what journals ask ---------------------------------------------------------------------

    def write_promptly(self, changes: Changes) -> bool:
        """Make changes durable at once, if nothing else is to be done and they are few.

        Returns:
          Whether they are durable. False: `write` them.

        Raises:
          StoreError: If they were not written, or if nobody knows.
        """
        if (
            self._way != "inline"
            or not self._waits
            or len(self._mailbox)
            or self._crowd > CROWD
            or self._prompt >= LOOK
            or self._is_log_due()
            or not changes.is_small
        ):
            return False
        transaction = Transaction(cast("StoreFile", self._file), [changes])
        start = perf_counter()
        try:
            self._begin(transaction)
            for _ in transaction.steps():
                pass
        except BaseException as error:
            outcome = transaction.outcome(error)
            self._fail([], error, outcome)
            self._waits = False  # for whoever comes before its turn
            self._mailbox.wake()  # to open the file again
            raise self._failed(error, outcome) from error
        self._commit_seconds.observe(perf_counter() - start)
        self._prompt += 1
        return True

    async def write(self, changes: Changes | str) -> None:
        """Make changes durable; or remove the queue of that name.

        Raises:
          StoreError: If they were not, or if nobody knows.
        """
        try:
            await self._mailbox.call(Operation("write", (changes,)))
        except ActorError as error:  # it crashed, or does not run
            outcome: Outcome = "not applied" if isinstance(error, ActorDownError) else "unknown"
            raise self._failed(error, outcome) from error

    async def read(self, reading: Callable[[StoreFile], Awaitable[T]]) -> T:
        """Read from the file.

        Raises:
          StoreError: If it cannot be read.
        """
        if self._failure is not None:
            raise self._failure.anew()
        if self._reader is None:
            raise StoreError(self._place.name, "not applied", "it does not run")
        try:
            return await reading(self._reader)
        except (self._driver.Error, NotAStoreError, OSError, msgspec.DecodeError) as error:
            self._log.error("store_not_read", error=describe(error))
            raise self._failed(error) from error

    def value(self, table: Table, row: int) -> tuple[bytes, str]:
        """Read what a row holds, and the name of its codec: at once.

        Raises:
          CodecError: If there is no such row.
          StoreError: If it cannot be read.
        """
        if self._failure is not None:
            raise self._failure.anew()
        if self._values is None:
            raise StoreError(self._place.name, "not applied", "it does not run")
        try:
            found = self._values.value(table, row)
        except (self._driver.Error, OSError) as error:
            self._log.error("store_not_read", error=describe(error))
            raise self._failed(error) from error
        if found is None:
            raise CodecError(table.name, f"row {row} is gone")
        return found

    # -- the actor -----------------------------------------------------------------------------

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Open the file, and commit until cancelled."""
        try:
            self._open()
        except (self._driver.Error, NotAStoreError, OSError) as error:
            raise self._failed(error) from error
        switch = sys.getswitchinterval()
        if self._way == "thread":
            sys.setswitchinterval(min(switch, SWITCH))
        try:
            self._mailbox.reopen()
            task_status.started(self)
            async with bare_nursery() as nursery:
                while True:
                    await self._serve(nursery)
                    self._raise_defect()
                    await self._recover()
        finally:
            sys.setswitchinterval(switch)
            if self.works.is_set():  # otherwise somebody waits for it: the next incarnation sets it
                self.works = trio.Event()
            self._close()

    def release(self) -> None:
        """Let others have the file.

        Not when the actor ends: while queues have in memory what is in it, nobody may change it.
        """
        self._owner.release()

    def new_number(self) -> int:
        """Return a number for a queue that is not in the file yet."""
        self._last_number += 1
        return self._last_number

    def child_down(self, reason: DownReason) -> None:
        """Answer everybody who waits: nobody will commit any more."""
        self._mailbox.close(reason)

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._owner.take()
        except OwnedError as error:
            raise StoreLockedError(
                self._place.name, str(self._path), error.pid, error.started_at, error.host
            ) from None
        self._connect()

    def _connect(self) -> None:
        """Open the file, see whether it can be written, and let everybody go on."""
        options = self._options
        file = StoreFile(self._path, options.durability, self._driver, self._identity)
        opened = [file]
        try:
            seconds, names = measure(file), file.names()
            opened.append(StoreFile(self._path, "process", self._driver, file.identity))
            opened.append(StoreFile(self._path, "process", self._driver, file.identity))
        except BaseException:
            for each in opened:
                each.close()
            raise
        self._close()
        self._file, self._reader, self._values = opened
        self._identity = file.identity
        self._last_number = max(self._last_number, file.last_number())
        self._place.clock.start_at(file.newest())
        if options.commit == "auto":
            self._way = _way(seconds)
        self._log.info(
            "store_opened",
            path=str(self._path),
            commit=self._way,
            seconds=round(seconds, 6),
            queues=len(names),
        )
        if self._failure is None:
            for name in names:
                if name not in self._place.queues:
                    self._log.info("store_queue_not_configured", queue=name)
        self._failure = None
        self.works.set()
        for wake in self.on_recovery.values():
            wake()

    def _close(self) -> None:
        for file in (self._values, self._reader, self._file):
            if file is not None:
                file.abandoned = True
                if not file.busy:
                    file.close()
        self._file = self._reader = self._values = None

    async def _serve(self, nursery: trio.Nursery) -> None:
        """Commit until the medium fails."""
        while self._failure is None:
            batch = self._mailbox.take(BATCH)
            if not batch:
                self._waits = True
                try:
                    await self._mailbox.wait()
                finally:
                    self._waits = False
                continue
            for operation in batch:
                operation.state = "firm"
            with trio.CancelScope(shield=True):
                await self._commit(batch)
                await self._watch_log(nursery)
            await checkpoint()

    async def _commit(self, batch: list[Operation]) -> None:
        """Write what some queues changed in one transaction, and answer them."""
        self._crowd, self._prompt = len(batch), 0
        parts = [cast("Changes | str", each.args[0]) for each in batch]
        transaction = Transaction(cast("StoreFile", self._file), parts)
        start = perf_counter()
        try:
            self._begin(transaction)
            if self._way == "thread" or transaction.rows > LARGE:
                await self._commit_in_thread(transaction)
            else:
                for _ in transaction.steps():
                    await checkpoint()
        except (self._driver.Error, NotAStoreError, OSError) as error:
            self._fail(batch, error, transaction.outcome(error))
        except BaseException as error:  # a defect of ours: it restarts the actor
            self._fail(batch, error, transaction.outcome(error))
            raise
        else:
            self._commit_seconds.observe(perf_counter() - start)
            for operation in batch:
                operation.resolve()

    def _begin(self, transaction: Transaction) -> None:
        """Count a transaction, and see that it goes where it should.

        Raises:
          NotAStoreError: If it would not.
        """
        self._unwatched += 1 + transaction.rows
        if not cast("StoreFile", self._file).is_in_place():
            raise NotAStoreError(f"{self._path} was deleted or replaced")

    async def _commit_in_thread(self, transaction: Transaction) -> None:
        """Commit, and leave it to itself when that takes too long.

        Raises:
          TimeoutError: If it did; the thread goes on.
        """
        timeout = self._options.timeout
        with trio.move_on_after(timeout):
            await _in_thread(transaction.run)
            return
        transaction.given_up = True
        raise TimeoutError(f"it was not committed within {timeout} s")

    def _fail(self, batch: list[Operation], cause: BaseException, outcome: Outcome) -> None:
        """Answer those whose changes were not committed, and stop until the file is well."""
        file = cast("StoreFile", self._file)
        if not file.busy:
            file.rollback()
        self._failure = self._failed(cause)  # for whoever comes from now on
        self.works = trio.Event()
        self._failures += 1
        self._log.error("store_failed", error=describe(cause), outcome=outcome)
        failure = self._failed(cause, outcome)
        for operation in batch:
            operation.fail(failure.anew())

    def _raise_defect(self) -> None:
        """Raise what a commit inline has met, if it is a defect of ours: it restarts this actor."""
        cause = cast("StoreError", self._failure).__cause__
        if not isinstance(cause, (self._driver.Error, NotAStoreError, OSError)):
            raise cast("BaseException", cause)

    async def _recover(self) -> None:
        """Open the file again, as often as it takes; refuse everybody meanwhile."""
        tries = 0
        while self._failure is not None:
            tries += 1
            with trio.move_on_after(PACE.delay(tries, self._place.random)):
                while True:
                    for operation in self._mailbox.take(BATCH):
                        operation.fail(self._failure.anew())
                    await self._mailbox.wait()
            try:
                self._put_in_place()
                self._connect()
            except (self._driver.Error, NotAStoreError, OSError) as error:
                if describe(error) != self._failure.reason:
                    self._log.error("store_failed", error=describe(error), outcome="not applied")
                self._failure = self._failed(error)

    def _put_in_place(self) -> None:
        """See that the path leads to the file that was open.

        Nothing else is opened there, not even to look what it is: SQLite would take the log that
        lies beside it for its own, and mix the two.
        """
        file = self._file
        if file is None or file.is_in_place():
            return
        if file.is_replaced():
            raise NotAStoreError(f"{self._path} was replaced by another file")
        if file.busy:
            raise NotAStoreError(f"{self._path} was deleted, and a thread still writes it")
        file.put_back()

    def _failed(self, cause: BaseException, outcome: Outcome = "not applied") -> StoreError:
        """Return the error that says what the file, or its driver, has failed with."""
        failure = StoreError(self._place.name, outcome, describe(cause))
        failure.__cause__ = cause
        return failure

    # -- the write-ahead log -------------------------------------------------------------------

    def _is_log_due(self) -> bool:
        """Return whether somebody has to look at the log."""
        return self._hold or (self._unwatched > WATCH and not self._moving)

    async def _watch_log(self, nursery: trio.Nursery) -> None:
        """See that the log does not grow without end."""
        if self._failure is not None or not self._is_log_due():
            return
        if self._hold:
            self._hold = False
            await self._move_log()
        else:
            self._unwatched = 0
            if self._log_size() > LOG:
                self._moving = True
                nursery.start_soon(self._move_log_meanwhile)

    def _log_size(self) -> int:
        """Return how much of the log is in use, as far as that can be found out."""
        try:
            return cast("StoreFile", self._file).log_size()
        except OSError as error:  # no file can be opened, say: the next look may find more
            self._log.warning("store_log_not_moved", error=describe(error))
            return 0

    async def _move_log_meanwhile(self) -> None:
        try:
            await self._move_log()
        finally:
            # What was committed meanwhile is still there: once more, while commits wait, so that
            # the log begins anew. It is little.
            self._hold = True
            self._moving = False

    async def _move_log(self) -> None:
        """Move the log into the database, in a thread: as long as a commit may take."""
        file = self._file
        if file is None:
            return
        try:
            with trio.move_on_after(self._options.timeout):
                await _in_thread(file.checkpoint)
        except (self._driver.Error, OSError) as error:  # the next commit shows what it means
            self._log.warning("store_log_not_moved", error=describe(error))


def _way(seconds: float) -> CommitIn:
    """Return where commits should run that take so long."""
    if seconds <= PROMPT:
        return "inline"
    return "loop" if seconds <= FAST else "thread"


async def _in_thread(work: Callable[[], None]) -> None:
    """Run in a thread of our own: the program may keep all of trio's busy."""
    limiter = trio.CapacityLimiter(1)  # a new one: an abandoned thread would keep its place
    await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
