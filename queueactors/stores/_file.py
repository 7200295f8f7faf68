"""A store's file: an SQLite database with the heads and the messages of queues. Synchronous.

Nothing is written but in a transaction: `begin`, some `apply`, then `commit` or `rollback`. Who
may open it is decided by `_owner`, when and in which thread by `_actor`.

Source: https://sqlite.org/wal.html.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

import attrs
import msgspec

from ._table import BITS, MOST, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
Durability = Literal["process", "power"]

APPLICATION: Final = 0x71756163  # PRAGMA application_id: "quac"
SLICE: Final = 500  # rows that are written or read between two turns of others: 1 to 2 ms
WAL_HEADER: Final = 32  # bytes of the write-ahead log's header
FRAME_HEADER: Final = 24  # and of the header of each page in it
LONGEST_LOG: Final = 64 << 20  # bytes that its file keeps when it begins anew
BUSY: Final = 100  # milliseconds to wait for a reader's lock; nobody else should have one

# What leads from each version of the schema to the next. Version 0 is an empty file.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE store (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        """
        CREATE TABLE queue (
          number INTEGER PRIMARY KEY,
          name TEXT NOT NULL UNIQUE,
          kind TEXT NOT NULL,
          head TEXT NOT NULL,  -- JSON: what the queue is beside its messages
          at INTEGER NOT NULL  -- epoch nanoseconds of the last change
        ) STRICT
        """,
        """
        CREATE TABLE timed (
          id INTEGER PRIMARY KEY,  -- queue.number << 40 | the message's id
          codec TEXT NOT NULL,
          state TEXT NOT NULL,
          priority INTEGER NOT NULL,
          inserted_at INTEGER NOT NULL,
          ready_at INTEGER NOT NULL,
          attempt INTEGER NOT NULL DEFAULT 0,
          key INTEGER NOT NULL DEFAULT 0,
          deadline_at INTEGER NOT NULL DEFAULT 0,
          error TEXT,
          value BLOB NOT NULL
        ) STRICT
        """,
    ),
    (
        """
        CREATE TABLE message (
          id INTEGER PRIMARY KEY,  -- queue.number << 40 | the message's id
          codec TEXT NOT NULL,
          state TEXT NOT NULL,
          mid TEXT NOT NULL,
          enqueued_at INTEGER NOT NULL,
          ready_at INTEGER NOT NULL,
          lock_time INTEGER,  -- nanoseconds; NULL: the queue's
          attempt INTEGER NOT NULL DEFAULT 0,
          key INTEGER NOT NULL DEFAULT 0,
          deadline_at INTEGER NOT NULL DEFAULT 0,
          value BLOB NOT NULL
        ) STRICT
        """,
    ),
    (
        """
        CREATE TABLE batch (
          id INTEGER PRIMARY KEY,  -- queue.number << 40 | the batch's id
          codec TEXT NOT NULL,
          state TEXT NOT NULL,
          size INTEGER NOT NULL,  -- items
          pushed_at INTEGER NOT NULL,
          ready_at INTEGER NOT NULL,
          claims INTEGER NOT NULL DEFAULT 0,
          attempt INTEGER NOT NULL DEFAULT 0,
          key INTEGER NOT NULL DEFAULT 0,
          deadline_at INTEGER NOT NULL DEFAULT 0,
          error TEXT,
          value BLOB NOT NULL  -- a list of items
        ) STRICT
        """,
    ),
    tuple(
        f"""
        CREATE TABLE {name} (
          id INTEGER PRIMARY KEY,  -- queue.number << 40 | the chunk's id
          codec TEXT NOT NULL,
          state TEXT NOT NULL DEFAULT 'kept',
          first INTEGER NOT NULL,  -- the number of its first item, or of what a label reads next
          count INTEGER NOT NULL,  -- items
          size INTEGER NOT NULL,  -- of all of them, in bytes
          at INTEGER NOT NULL,
          value BLOB NOT NULL  -- a list of items, or the label's name as one
        ) STRICT
        """
        for name in ("capacity", "log")
    ),
)


class Connection(Protocol):
    """What is used of a connection: `sqlite3` and `apsw` have it alike."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, sql: str, values: Sequence[object] = ..., /) -> Iterable[Row]:
        """Run a statement; return its rows."""

    def executemany(self, sql: str, rows: Iterable[Row], /) -> object:
        """Run a statement once for each row."""

    def close(self) -> None:
        """Close the connection."""


class Driver(Protocol):
    """The library that opens the file."""

    Error: type[Exception]

    def connect(self, path: str) -> Connection:
        """Open a file, which is made if it is not there."""


class StandardDriver:
    """That of the standard library."""

    Error: type[Exception] = sqlite3.Error

    @staticmethod
    def connect(path: str) -> Connection:
        """Open a file, which is made if it is not there."""
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        return cast("Connection", connection)


class SnapshotDriver(StandardDriver):
    """Python's own, for a file that somebody else writes."""

    @staticmethod
    def connect(path: str) -> Connection:
        """Open a file for reading."""
        uri = f"{Path(path).absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        return cast("Connection", connection)


class NotAStoreError(Exception):
    """The file is there, and is not what can be used."""


@attrs.frozen
class StoredQueue:
    """A queue in the file.

    Args:
      number: Its number there.
      name: Its name.
      kind: Its kind.
      head: What it is beside its messages.
      at: Epoch nanoseconds of its last change.
    """

    number: int
    name: str
    kind: str
    head: Mapping[str, int | None]
    at: int

    @property
    def base(self) -> int:
        """What its messages' ids are added to, to become rows' ids."""
        return self.number << BITS


@attrs.define(eq=False)
class Changes:
    """What one queue has to write, all or none.

    Args:
      queue: Its name.
      table: Where its messages stand.
      number: Its number in the file.
      is_new: Whether it is not there yet.
      head: What it is beside its messages, as JSON.
      at: Epoch nanoseconds.
      cleared: Remove all messages first, but for those in ``kept``.
      kept: The ids of messages that cannot be decoded.
      fresh: Rows of messages that were not there, for `Table.insert_fresh`.
      new: Others that were not, for `Table.insert`.
      updated: Rows of those that were, for `Table.update`.
      gone: Rows of those that are not any more, for `Table.delete`.
      handed_over: Messages that other queues lose by this, if they are in the same file: the
        queue's name, and their id.
      most: How many heavy rows are cleared at most.
    """

    queue: str
    table: Table
    number: int
    is_new: bool
    head: bytes
    at: int
    cleared: bool
    kept: Sequence[int]
    fresh: Sequence[Row]
    new: Sequence[Row]
    updated: Sequence[Row]
    gone: Sequence[Row]
    handed_over: Sequence[tuple[str, int]]
    most: int = 0

    @property
    def rows(self) -> int:
        """How many rows it concerns; a heavy one counts as many."""
        rows = len(self.fresh) + len(self.new) + len(self.updated) + len(self.gone)
        return (rows + self.most) * self.table.weight + len(self.handed_over)

    @property
    def is_small(self) -> bool:
        """Whether nobody has to run while they are written."""
        return not self.cleared and self.rows <= SLICE


class StoreFile:
    """An open file.

    Args:
      path: Where it is; made if it is not there.
      durability: ``"process"``: a commit outlasts the process; ``"power"``: a power cut, too.
      driver: What opens it.
      identity: What it must be: that of a file that was opened before. None: any store.

    Raises:
      NotAStoreError: If it is something else, or of a newer version.
      Exception: The driver's ``Error``, and `OSError`.
    """

    def __init__(
        self,
        path: Path,
        durability: Durability,
        driver: Driver,
        identity: str | None = None,
    ) -> None:
        self.path = path
        self.driver = driver
        self.busy = False  # a thread uses it
        self.abandoned = False  # nobody else does any more: that thread closes it
        self._durability = durability
        self._wal = path.with_name(path.name + "-wal")
        self._log: tuple[int, int] | None = None
        if identity is not None and not path.exists():
            raise NotAStoreError(f"{path} was deleted")
        self._connection = driver.connect(str(path))
        try:
            self._prepare()
            self.identity = self._identify()
            self._check_identity(identity)
            self._inode = _inode(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        self._pragma(f"busy_timeout = {BUSY}")
        version = cast("int", self._pragma("user_version"))
        application = self._pragma("application_id")
        if version > len(MIGRATIONS) and application == APPLICATION:
            raise NotAStoreError(
                f"{self.path} has schema version {version}, and this program knows "
                f"{len(MIGRATIONS)} at most: it was written by a newer one"
            )
        empty = not list(self._connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1"))
        if application != APPLICATION and not empty:
            raise NotAStoreError(f"{self.path} is a database, but no store of queueactors")
        self._pragma("journal_mode = WAL")
        self._pragma("wal_autocheckpoint = 0")  # never in the loop: `checkpoint` in a thread
        # It begins anew in the same file: cutting 8 MiB off would keep the loop waiting for 20 ms.
        self._pragma(f"journal_size_limit = {LONGEST_LOG}")
        self._pragma(f"synchronous = {'FULL' if self._durability == 'power' else 'NORMAL'}")
        self._pragma("cache_size = -16000")  # kB
        if version < len(MIGRATIONS):
            self._migrate(version)

    def _migrate(self, version: int) -> None:
        self.begin()
        try:
            for step in MIGRATIONS[version:]:
                for statement in step:
                    self._connection.execute(statement)
            self._pragma(f"application_id = {APPLICATION}")
            self._pragma(f"user_version = {len(MIGRATIONS)}")
            if version == 0:
                identity = "INSERT INTO store VALUES ('identity', ?)"
                self._connection.execute(identity, (secrets.token_hex(16),))
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def _identify(self) -> str:
        rows = self._connection.execute("SELECT value FROM store WHERE key = 'identity'")
        return str(next(iter(rows))[0])

    def _check_identity(self, expected: str | None) -> None:
        if expected not in {None, self.identity}:
            raise NotAStoreError(f"{self.path} was replaced by another store's file")

    def _pragma(self, text: str) -> object:
        return next(iter(self._connection.execute(f"PRAGMA {text}")), (None,))[0]

    def close(self) -> None:
        """Close the file; a transaction that is open is rolled back."""
        self._connection.close()

    def freeze(self) -> None:
        """See the file as it is at the next read, from then on, whatever others write."""
        self._connection.execute("BEGIN")

    # -- reading -------------------------------------------------------------------------------

    def queues(self) -> list[StoredQueue]:
        """Return the queues in the file, by number."""
        return read_queues(self._connection)

    def names(self) -> list[str]:
        """Return the names of the queues in the file, by number."""
        rows = self._connection.execute("SELECT name FROM queue ORDER BY number")
        return [str(row[0]) for row in rows]

    def queue(self, name: str) -> StoredQueue | None:
        """Return a queue in the file."""
        rows = self._connection.execute(f"SELECT {_QUEUE} FROM queue WHERE name = ?", (name,))
        return next(map(_stored, rows), None)

    def last_number(self) -> int:
        """Return the highest number of a queue in the file; 0: there is none."""
        rows = self._connection.execute("SELECT coalesce(max(number), 0) FROM queue")
        return cast("int", next(iter(rows))[0])

    def newest(self) -> int:
        """Return the newest instant in the file, epoch nanoseconds."""
        rows = self._connection.execute("SELECT coalesce(max(at), 0) FROM queue")
        return cast("int", next(iter(rows))[0])

    def count(self, queue: StoredQueue) -> int:
        """Return how many messages a queue has in the file."""
        sql = f"SELECT count(*) FROM {queue.kind} WHERE id BETWEEN ? AND ?"
        return cast("int", next(iter(self._connection.execute(sql, _span(queue.base))))[0])

    def messages(
        self, queue: StoredQueue, table: Table, after: int = 0, *, light: bool = False
    ) -> Iterator[Row]:
        """Yield the rows of a queue's messages, by id, as `Table.messages` takes them.

        Args:
          queue: Whose they are.
          table: Where they stand.
          after: An id: only those with a higher one.
          light: Without the values that can be asked for later.
        """
        first, last = _span(queue.base)
        sql = table.select_light if light else table.select
        return iter(self._connection.execute(sql, (MOST, first + after + 1, last)))

    def value(self, table: Table, row: int) -> tuple[bytes, str] | None:
        """Return what a row holds, and the name of its codec; None: there is no such row."""
        rows = self._connection.execute(table.select_value, (row,))
        return cast("tuple[bytes, str] | None", next(iter(rows), None))

    def mids(self, queue: StoredQueue) -> Iterator[str]:
        """Yield the names of a queue's messages, if they have names."""
        sql = f"SELECT mid FROM {queue.kind} WHERE id BETWEEN ? AND ?"
        return (str(row[0]) for row in self._connection.execute(sql, _span(queue.base)))

    def noted(self, key: str) -> str | None:
        """Return what `note` has written."""
        rows = self._connection.execute("SELECT value FROM store WHERE key = ?", (key,))
        return next((str(row[0]) for row in rows), None)

    def is_leaving(self, queue: StoredQueue) -> bool:
        """Return whether a queue is on its way to another store, see `hold`."""
        return self.noted(f"moving:{queue.number}") is not None

    # -- writing -------------------------------------------------------------------------------

    def hold(self, queue: StoredQueue) -> None:
        """Let nobody use a queue: it is on its way to another store."""
        self.note(f"moving:{queue.number}", "")

    def let_go(self, queue: StoredQueue) -> None:
        """Let others use a queue again."""
        key = f"moving:{queue.number}"
        self._connection.execute("DELETE FROM store WHERE key = ?", (key,))

    def begin(self) -> None:
        """Open a transaction."""
        self._connection.execute("BEGIN IMMEDIATE")

    def apply(self, changes: Changes) -> Iterator[None]:
        """Write what one queue changed; yield whenever others may run."""
        connection, table = self._connection, changes.table
        slice_ = SLICE // table.weight
        if changes.is_new:
            sql = "INSERT INTO queue (number, name, kind, head, at) VALUES (?, ?, ?, '{}', 0)"
            connection.execute(sql, (changes.number, changes.queue, table.name))
        if changes.cleared:
            base = changes.number << BITS
            kept = msgspec.json.encode([base | each for each in changes.kept]).decode()
            yield from self._repeat(table.clear, (*_span(base), kept, slice_))
        for sql, rows in (
            (table.delete, changes.gone),  # first: one that is rewritten comes back
            (table.insert_fresh, changes.fresh),
            (table.insert, changes.new),
            (table.update, changes.updated),
        ):
            for first in range(0, len(rows), slice_):
                connection.executemany(sql, rows[first : first + slice_])
                yield
        for name, message in changes.handed_over:
            source = self.queue(name)
            if source is not None:
                sql = f"DELETE FROM {source.kind} WHERE id = ?"
                connection.execute(sql, (source.base | message,))
        connection.execute(
            "UPDATE queue SET head = ?, at = ? WHERE number = ?",
            (changes.head.decode(), changes.at, changes.number),
        )

    def forget(self, name: str) -> Iterator[None]:
        """Remove a queue and all that is of it; yield whenever others may run."""
        queue = self.queue(name)
        if queue is not None:
            some = f"SELECT id FROM {queue.kind} WHERE id BETWEEN ? AND ? LIMIT ?"
            sql = f"DELETE FROM {queue.kind} WHERE id IN ({some})"
            yield from self._repeat(sql, (*_span(queue.base), SLICE))
            self._connection.execute("DELETE FROM queue WHERE number = ?", (queue.number,))
            notes = f"import:{queue.number}:*"  # see `_transfer`: another queue may get the number
            self._connection.execute("DELETE FROM store WHERE key GLOB ?", (notes,))
            self.let_go(queue)

    def _repeat(self, sql: str, values: Row) -> Iterator[None]:
        """Run a statement as long as it changes something; yield whenever others may run."""
        changed = 1
        while changed:
            self._connection.execute(sql, values)
            rows = list(self._connection.execute("SELECT changes()"))
            changed = cast("int", rows[0][0])
            yield

    def note(self, key: str, value: str) -> None:
        """Keep a fact about the file itself."""
        sql = "INSERT INTO store VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        self._connection.execute(sql, (key, value))

    def touch(self) -> None:
        """Write something that says nothing: to see that, and how fast, it can be done."""
        sql = "INSERT INTO store VALUES ('touched', '') ON CONFLICT DO UPDATE SET value = ?"
        self._connection.execute(sql, (secrets.token_hex(8),))

    def commit(self) -> None:
        """Make the transaction durable."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        with suppress(self.driver.Error):  # what cannot be undone goes with the connection
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    # -- keeping -------------------------------------------------------------------------------

    def is_in_place(self) -> bool:
        """Return whether the path still leads to this file, and its log is there."""
        return _inode(self.path) == self._inode and self._log_is_there()

    def _log_is_there(self) -> bool:
        """Return whether the log is where it was; before the first commit there may be none."""
        log = _inode(self._wal)
        if self._log is None:
            self._log = log
        return self._log == log

    def is_replaced(self) -> bool:
        """Return whether the path leads to another file."""
        return _inode(self.path) not in {None, self._inode}

    def put_back(self) -> None:
        """Write a copy of the file to where it was: somebody has deleted it, or its log."""
        copy = self.path.with_name(self.path.name + ".copy")
        copy.unlink(missing_ok=True)
        self._connection.execute("VACUUM INTO ?", (str(copy),))
        for leftover in ("-wal", "-shm"):  # of the deleted one: not this copy's
            self.path.with_name(self.path.name + leftover).unlink(missing_ok=True)
        inode = _inode(copy)
        if _inode(self.path) == self._inode:
            copy.rename(self.path)
        else:
            os.link(copy, self.path)  # unlike a rename, it replaces nothing that came meanwhile
            copy.unlink()
        self._inode = inode

    def log_size(self) -> int:
        """Return how many bytes of the write-ahead log are in use; the file may be longer.

        Those are its frames with the salt of its header: behind them are some that are left from
        before it began anew. Source: https://sqlite.org/fileformat2.html#walformat.
        """
        try:
            log = self._wal.open("rb", buffering=0)
        except FileNotFoundError:
            return 0
        with log:
            header = log.read(WAL_HEADER)
            if len(header) < WAL_HEADER:
                return 0
            frame = FRAME_HEADER + int.from_bytes(header[8:12], "big")

            def is_left(number: int) -> bool:
                log.seek(WAL_HEADER + number * frame)
                return log.read(FRAME_HEADER)[8:16] != header[16:24]

            frames = (os.fstat(log.fileno()).st_size - WAL_HEADER) // frame
            return WAL_HEADER + bisect_left(range(frames), True, key=is_left) * frame

    def checkpoint(self) -> None:
        """Move the log into the database, in a thread of its own.

        Readers and writers go on meanwhile. When all of it is there and nobody reads, the next
        commit begins the log anew. If the path does not lead to this file any more nothing happens:
        to open it would make an empty one there, or mix the log with another's.
        """
        if not self.is_in_place():
            return
        connection = self.driver.connect(str(self.path))
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY}")
            list(connection.execute("PRAGMA wal_checkpoint(PASSIVE)"))
        finally:
            connection.close()

    def faults(self) -> list[str]:
        """Return what is wrong with the file, as SQLite's own check finds it."""
        rows = self._connection.execute("PRAGMA integrity_check")
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def vacuum(self) -> None:
        """Give back the space that nothing needs."""
        self._connection.execute("VACUUM")
        self._pragma("wal_checkpoint(TRUNCATE)")


_QUEUE: Final = "number, name, kind, head, at"


def read_queues(connection: Connection) -> list[StoredQueue]:
    """Return the queues in a file, by number.

    Raises:
      msgspec.DecodeError: If the head of one cannot be read.
    """
    return [
        _stored(row) for row in connection.execute(f"SELECT {_QUEUE} FROM queue ORDER BY number")
    ]


def _stored(row: Row) -> StoredQueue:
    number, name, kind, head, at = cast("tuple[int, str, str, str, int]", row)
    return StoredQueue(number, name, kind, msgspec.json.decode(head), at)


def _span(base: int) -> tuple[int, int]:
    return base, base | MOST


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - at each commit; a `Path` is slower
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
