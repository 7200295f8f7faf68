"""The SQLite store: queues in one file, and one actor that commits for all of them.

The store's actor takes what its queues have to write, as many as wait, and commits it in one
transaction: so it gets faster under load. Nothing is answered before its commit.

Where the commit runs matters more than how: a thread needs 60 us to hear of it and competes for
the interpreter's lock, a commit in the loop keeps everything else waiting. In the loop, unless
the disk is slow; the write-ahead log is moved into the database by a thread in any case.

A medium that fails is no crash: whoever has to write is told so, or waits, and the file is opened
again, for ever.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeVar, cast

import attrs
import msgspec
import structlog
import trio
from trio.lowlevel import checkpoint

from queueactors._errors import CodecError, StoreError, StoreLockedError
from queueactors._options import Checks, Seconds
from queueactors.cores import Changed
from queueactors.engines import DurableEngine, Handover
from supervisors import (
    ActorDownError,
    ActorError,
    Backoff,
    ChildSpec,
    Mailbox,
    Operation,
    bare_nursery,
    describe,
)

from ._file import (
    SLICE,
    Changes,
    Driver,
    Durability,
    NotAStoreError,
    StandardDriver,
    StoreFile,
)
from ._owner import OwnedError, Owner
from ._table import BITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from queueactors._codecs import Values
    from queueactors.engines import Core, Engine, Parked, Records
    from supervisors import ChildStatus, DownReason

    from ._protocol import Kind, Place, StoredRecords
    from ._table import StoredMessage

CommitIn = Literal["auto", "loop", "thread"]
OnFailure = Literal["error", "wait"]
Outcome = Literal["not applied", "unknown"]

BATCH: Final = 1000  # queues whose changes go into one transaction
FAST: Final = 0.000_5  # seconds: a commit that takes longer has to leave the loop
TRIES: Final = 5  # commits that are measured at start
LARGE: Final = 20_000  # rows: a transaction of more is written by a thread in any case
LOG: Final = 8 << 20  # bytes of write-ahead log, from which on it is moved into the database
WATCH: Final = 1000  # rows and commits between two looks at it
SWITCH: Final = 0.000_1  # seconds; with the default of 5 ms a thread that commits is starved
PROGRESS: Final = 100_000  # messages between two events while a queue is read
PACE: Final = Backoff()

T = TypeVar("T")


@attrs.define(eq=False)
class SqliteStore:
    """Keeps queues in an SQLite file: what it acknowledged outlasts the process.

    In a configuration: ``type = "sqlite"``. One process at a time owns the file.

    Args:
      path: The file, relative to where the process was started. None: ``<name>.sqlite`` in the
        runtime's ``data_dir``.
      durability: ``"process"``: what was acknowledged outlasts the process, and the last of it may
        be lost in a power cut. ``"power"``: it outlasts that, too; each commit waits for the disk.
      commit: Where a commit runs. ``"loop"``: it keeps everything else in the program waiting,
        some 10 us with a fast disk. ``"thread"``: it does not, and takes longer. ``"auto"``: in
        the loop, if what is measured at start takes less than 0.5 ms.
      timeout: Seconds (> 0) after which a commit in a thread is given up. Its outcome is unknown.
      on_failure: While the file cannot be written: ``"error"``: operations end with
        `StoreError`; ``"wait"``: they wait until it can. The timeout of one that the queue has not
        taken up yet, because others wait before it, is not looked at until then.
      release_on_start: Whether reservations of a former process end when the queue is opened.
        Otherwise they are valid until their deadlines: a consumer elsewhere may have them.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    path: str | None = None
    durability: Durability = "process"
    commit: CommitIn = "auto"
    timeout: Seconds = 10.0
    on_failure: OnFailure = "error"
    release_on_start: bool = False
    durable: ClassVar[bool] = True
    driver: ClassVar[Driver] = StandardDriver()
    _name: str = attrs.field(default="sqlite", init=False)
    _actor: _Actor | None = attrs.field(default=None, init=False)
    _journals: dict[str, _Journal] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if self.path is not None:
            checks.string("path", self.path)
        checks.choice("durability", self.durability, Durability)
        checks.choice("commit", self.commit, CommitIn)
        checks.seconds("timeout", self.timeout, positive=True)
        checks.choice("on_failure", self.on_failure, OnFailure)
        checks.boolean("release_on_start", self.release_on_start)
        checks.done()

    def child(self, place: Place) -> ChildSpec:
        """Return the store's actor as a child."""
        self._name = place.name
        self._actor = _Actor(self, place, self.file(place.name, place.directory))
        return ChildSpec(id=f"store.{place.name}", start=self._actor)

    def file(self, name: str, directory: Path) -> Path:
        """Return where its file is, in a runtime.

        Args:
          name: The store's.
          directory: The runtime's ``data_dir``.
        """
        return Path(self.path) if self.path else directory / f"{name}.sqlite"

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        """Return an engine for a new incarnation of a queue's actor.

        Raises:
          StoreError: If the queue cannot be read; or if the file has one of another kind.
        """
        if self._actor is None:
            raise RuntimeError(f"store {self._name!r} is in no runtime")
        journal = self._journals.get(queue)
        if journal is None or journal.kind is not kind:  # another definition of it has failed
            journal = self._journals[queue] = _Journal(queue, kind, self, self._actor, parked)
        return await DurableEngine.open(journal, parked)

    async def forget(self, queue: str) -> None:
        """Remove a queue from the file.

        Raises:
          StoreError: If it is still there, or nobody knows.
        """
        self._journals.pop(queue, None)
        if self._actor is not None:
            self._actor.on_recovery.pop(queue, None)
            await self._actor.write(queue)

    def close(self) -> None:
        """Let go of what is in memory, and of the file."""
        self._journals.clear()
        if self._actor is not None:
            self._actor.release()


class _Journal:
    """The journal of one queue."""

    def __init__(
        self, queue: str, kind: Kind, store: SqliteStore, actor: _Actor, parked: Parked
    ) -> None:
        self.queue = queue
        self.kind = kind
        self._codec = cast("Values", kind.values).codec.name  # a durable queue has one
        self.clock = actor.clock
        self.records: Records | None = None
        self.changed = Changed()
        self.unwritten: tuple[int, tuple[object, ...]] | None = None
        self.waits = store.on_failure == "wait"
        self._release = store.release_on_start
        self._actor = actor
        self._number = 0
        self._is_new = True  # it is not in the file
        self._next_id = 1  # messages from this one on are not in the file
        self._head: dict[str, int | None] | None = None  # as in the file
        self._kept: list[int] = []  # messages that cannot be decoded
        actor.on_recovery[queue] = parked.wake or (lambda: None)

    def core(self, records: object) -> Core:
        return self.kind.core(records, self.changed)

    async def load(self) -> StoredRecords:
        """Read the queue; a slice at a time, as others have to run meanwhile."""
        return await self._actor.read(self._load)

    @property
    def works(self) -> bool:
        """Whether the file can be read and written at present, as far as is known."""
        return self._actor.works.is_set()

    def new_records(self) -> StoredRecords:
        """Return the records of an empty queue."""
        return self.kind.new_records()

    async def _load(self, file: StoreFile) -> StoredRecords:
        kind = self.kind
        self.changed.clear()
        self.changed.cleared = False
        self._kept.clear()
        self._head, self._next_id = None, 1
        stored = file.queue(self.queue)
        self._is_new = stored is None
        if stored is None:
            self._number = self._number or self._actor.new_number()
            return kind.new_records()
        if stored.kind != kind.table.name:
            raise NotAStoreError(
                f"queue {self.queue!r} in {file.path} is of kind {stored.kind!r}, "
                f"not {kind.table.name!r}"
            )
        self._number = stored.number
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        log = log.bind(queue=self.queue)
        decode = cast("Values", kind.values).decode
        rows = file.messages(stored, kind.table)
        messages: dict[int, StoredMessage] = {}
        told = 0
        while some := list(islice(rows, SLICE)):
            for message in kind.table.messages(some, self._codec):
                try:
                    decode(message.value)
                except CodecError as error:
                    self._kept.append(message.id)
                    facts = {"id": message.id, "codec": error.codec, "error": error.error}
                    log.error("message_set_aside", **facts)  # noqa: TRY400 - no more to say
                else:
                    messages[message.id] = message
            if len(messages) >= told + PROGRESS:
                told = len(messages)
                log.info("queue_loading", messages=told)
            await checkpoint()
        self._next_id = cast("int", stored.head["next_id"])
        self._head = dict(stored.head)
        if not self._release:
            return kind.stored_records(stored.head, messages, len(self._kept), None)
        base, row = self._number << BITS, kind.table.changed_row
        before = {each: row(base, message) for each, message in messages.items()}
        records = kind.stored_records(stored.head, messages, len(self._kept), stored.at)
        # To be written: should the queue be read again, it must not be as if they had gone on.
        self.changed.update(each for each in before if row(base, messages[each]) != before[each])
        return records

    def changes(self, now: int, operations: Sequence[Operation]) -> Changes | None:
        """Return what has to be written since the last time; None: nothing."""
        records = cast("StoredRecords", self.records)  # the engine works on them
        head = records.head()
        handed_over = [
            (each.queue, each.id)
            for each in operations
            if isinstance(each, Handover) and each.error is None
        ]
        changed = self.changed
        if head == self._head and not changed and not changed.cleared and not handed_over:
            return None
        table, base, codec = self.kind.table, self._number << BITS, self._codec
        messages, next_id = records.messages, 1 if changed.cleared else self._next_id
        fresh, new, updated, gone = [], [], [], []
        for each in sorted(messages if changed.cleared else changed):
            message = messages.get(each)
            if message is None:
                if each < next_id:
                    gone.append((base | each,))
            elif each < next_id:
                updated.append(table.changed_row(base, message))
            elif table.is_fresh(message):
                fresh.append(table.fresh_row(base, codec, message))
            else:
                new.append(table.new_row(base, codec, message))
        return Changes(
            queue=self.queue,
            table=table,
            number=self._number,
            is_new=self._is_new,
            head=msgspec.json.encode(head),
            at=now,
            cleared=changed.cleared,
            kept=self._kept,
            fresh=fresh,
            new=new,
            updated=updated,
            gone=gone,
            handed_over=handed_over,
        )

    async def write(self, changes: object) -> None:
        """Hand changes to the store's actor, and wait until they are durable."""
        changes = cast("Changes", changes)
        await self._actor.write(changes)
        self._is_new = self._release = False  # from now on the living may have reservations
        self._head = msgspec.json.decode(changes.head)
        self._next_id = cast("int", self._head["next_id"])
        self.changed.clear()
        self.changed.cleared = False

    async def recovered(self) -> None:
        """Wait until the store works again."""
        await self._actor.works.wait()


class _Actor:
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
        self._reader: StoreFile | None = None  # sees what is committed, all the time
        self._failure: StoreError | None = None
        self._in_thread = store.commit == "thread"
        self._moving = False  # a thread moves the log into the database
        self._hold = False  # it cannot come to an end while others commit
        self._unwatched = 0  # rows and commits since the log was looked at
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        self._log = self._log.bind(store=place.name)

    # -- what journals ask ---------------------------------------------------------------------

    async def write(self, changes: Changes | str) -> None:
        """Make changes durable; or remove the queue of that name.

        Raises:
          StoreError: If they were not, or if nobody knows.
        """
        try:
            await self._mailbox.call(Operation("write", (changes,)))
        except ActorError as error:  # it crashed, or does not run
            outcome: Outcome = "not applied" if isinstance(error, ActorDownError) else "unknown"
            raise StoreError(self._place.name, outcome, describe(error)) from error

    async def read(self, reading: Callable[[StoreFile], Awaitable[T]]) -> T:
        """Read from the file.

        Raises:
          StoreError: If it cannot be read.
        """
        if self._failure is not None:
            raise self._refusal(self._failure)
        if self._reader is None:
            raise StoreError(self._place.name, "not applied", "it does not run")
        try:
            return await reading(self._reader)
        except (self._driver.Error, NotAStoreError, OSError, msgspec.DecodeError) as error:
            raise StoreError(self._place.name, "not applied", describe(error)) from error

    # -- the actor -----------------------------------------------------------------------------

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Open the file, and commit until cancelled."""
        try:
            self._open()
        except (self._driver.Error, NotAStoreError, OSError) as error:
            raise StoreError(self._place.name, "not applied", describe(error)) from error
        switch = sys.getswitchinterval()
        if self._in_thread:
            sys.setswitchinterval(min(switch, SWITCH))
        try:
            self._mailbox.reopen()
            task_status.started(self)
            async with bare_nursery() as nursery:
                while True:
                    await self._serve(nursery)
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
                self._place.name, str(self._path), error.pid, error.started_at
            ) from None
        self._connect()

    def _connect(self) -> None:
        """Open the file, see whether it can be written, and let everybody go on."""
        options = self._options
        file = StoreFile(self._path, options.durability, self._driver, self._identity)
        try:
            seconds, names = _measure(file), file.names()
            reader = StoreFile(self._path, "process", self._driver, file.identity)
        except BaseException:
            file.close()
            raise
        self._close()
        self._file, self._reader = file, reader
        self._identity = file.identity
        self._last_number = max(self._last_number, file.last_number())
        self._place.clock.start_at(file.newest())
        if options.commit == "auto":
            self._in_thread = seconds > FAST
        self._log.info(
            "store_opened",
            path=str(self._path),
            commit="thread" if self._in_thread else "loop",
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
        for file in (self._reader, self._file):
            if file is not None:
                file.abandoned = True
                if not file.busy:
                    file.close()
        self._file = self._reader = None

    async def _serve(self, nursery: trio.Nursery) -> None:
        """Commit until the medium fails."""
        while self._failure is None:
            batch = self._mailbox.take(BATCH)
            if not batch:
                await self._mailbox.wait()
                continue
            for operation in batch:
                operation.state = "firm"
            with trio.CancelScope(shield=True):
                await self._commit(batch)
                await self._watch_log(nursery)
            await checkpoint()

    async def _commit(self, batch: list[Operation]) -> None:
        """Write what some queues changed in one transaction, and answer them."""
        file = cast("StoreFile", self._file)
        parts = [cast("Changes | str", each.args[0]) for each in batch]
        transaction = _Transaction(file, parts)
        self._unwatched += 1 + transaction.rows
        try:
            if not file.is_in_place():
                raise NotAStoreError(f"{self._path} was deleted or replaced")  # noqa: TRY301
            if self._in_thread or transaction.rows > LARGE:
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
            for operation in batch:
                operation.resolve()

    async def _commit_in_thread(self, transaction: _Transaction) -> None:
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
        self._failure = StoreError(self._place.name, outcome, describe(cause))
        self._failure.__cause__ = cause
        self.works = trio.Event()
        self._log.error("store_failed", error=describe(cause), outcome=outcome)
        for operation in batch:
            operation.fail(self._refusal(self._failure))
        self._failure.outcome = "not applied"  # for whoever comes from now on

    async def _recover(self) -> None:
        """Open the file again, as often as it takes; refuse everybody meanwhile."""
        tries = 0
        while self._failure is not None:
            tries += 1
            with trio.move_on_after(PACE.delay(tries, self._place.random)):
                while True:
                    for operation in self._mailbox.take(BATCH):
                        operation.fail(self._refusal(self._failure))
                    await self._mailbox.wait()
            try:
                self._put_in_place()
                self._connect()
            except (self._driver.Error, NotAStoreError, OSError) as error:
                if describe(error) != self._failure.reason:
                    self._log.error("store_failed", error=describe(error), outcome="not applied")
                self._failure = StoreError(self._place.name, "not applied", describe(error))
                self._failure.__cause__ = error

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

    def _refusal(self, failure: StoreError) -> StoreError:
        """Return a failure as an error of its own: each has a traceback."""
        error = StoreError(failure.store, failure.outcome, failure.reason)
        error.__cause__ = failure.__cause__
        return error

    # -- the write-ahead log -------------------------------------------------------------------

    async def _watch_log(self, nursery: trio.Nursery) -> None:
        """See that the log does not grow without end."""
        if self._failure is not None:
            return
        if self._hold:
            self._hold = False
            await self._move_log()
        elif self._unwatched > WATCH and not self._moving:
            self._unwatched = 0
            if cast("StoreFile", self._file).log_size() > LOG:
                self._moving = True
                nursery.start_soon(self._move_log_meanwhile)

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


class _Transaction:
    """What some queues have to write, in one transaction.

    Args:
      file: Where.
      parts: What: changes, or the name of a queue that is to be removed.
    """

    def __init__(self, file: StoreFile, parts: list[Changes | str]) -> None:
        self.rows = sum(0 if isinstance(part, str) else part.rows for part in parts)
        self._file = file
        self._parts = parts
        self._committing = False
        self.given_up = False  # it must not begin any more

    def steps(self) -> Iterator[None]:
        """Carry it out; yield whenever others may run."""
        file = self._file
        file.begin()
        if self.given_up:  # others may have written since; from here on they cannot
            raise TimeoutError("it was given up")
        for part in self._parts:
            steps = file.forget(part) if isinstance(part, str) else file.apply(part)
            next(steps, None)  # a small part is no reason to let others run
            for _ in steps:
                yield
        self._committing = True
        file.commit()

    def run(self) -> None:
        """Carry it out at once, in a thread."""
        file = self._file
        file.busy = True
        try:
            for _ in self.steps():
                pass
        except BaseException:
            file.rollback()  # if it was given up, nobody else does it
            raise
        finally:
            file.busy = False
            if file.abandoned:
                file.close()

    def outcome(self, error: BaseException) -> Outcome:
        """Return what has become of it, now that it failed with ``error``."""
        if self._file.busy:
            return "unknown"  # a thread is still at it
        if not self._committing:
            return "not applied"
        return "not applied" if _REFUSED.search(describe(error)) else "unknown"


# What SQLite says when a commit has not begun to write, or has undone it: no room, no right.
_REFUSED: Final = re.compile("full|locked|busy|readonly|read-only", re.IGNORECASE)


async def _in_thread(work: Callable[[], None]) -> None:
    """Run in a thread of our own: the program may keep all of trio's busy."""
    limiter = trio.CapacityLimiter(1)  # a new one: an abandoned thread would keep its place
    await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)


def _measure(file: StoreFile) -> float:
    """Return the seconds that a small commit takes, the median of some."""
    seconds = []
    for _ in range(TRIES):
        start = perf_counter()
        file.begin()
        file.touch()
        file.commit()
        seconds.append(perf_counter() - start)
    return median(seconds)
