"""What is in a store's file, and what is wrong with it. Synchronous; writes nothing.

The file may be in use meanwhile: what is reported is what was there at one instant. A queue's
values are decoded where its codec is known.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Final, cast

import attrs
import msgspec

from queueactors._codecs import ChunkValues, Encoded, ItemValues, Values, make_codec
from queueactors._errors import CodecError

from ._chunk_lines import LineError, Positions, check_chunk
from ._file import APPLICATION, MIGRATIONS, NotAStoreError, StoredQueue, read_queues
from ._lines import count_items
from ._owner import OwnedError, Owner
from ._table import BITS, MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ._table import Row, Table

SHOWN: Final = 10  # ids of messages that cannot be decoded
TELL: Final = 1000  # messages between two reports of progress
KNOWN: Final = ("msgpack", "json", "bytes")  # codecs that are no code of anybody's


@attrs.define
class QueueReport:
    """A queue in a store's file.

    Args:
      name: Its name.
      kind: Its kind.
      messages: How many it has.
      states: How many are in which state.
      codecs: How many are in which codec.
      bytes: What their values take.
      undecodable: How many cannot be decoded.
      undecodable_ids: The first of them.
      unchecked: How many are in a codec that only the program knows.
    """

    name: str
    kind: str
    messages: int = 0
    states: dict[str, int] = attrs.field(factory=Counter)
    codecs: dict[str, int] = attrs.field(factory=Counter)
    bytes: int = 0
    undecodable: int = 0
    undecodable_ids: list[int] = attrs.field(factory=list)
    unchecked: int = 0


@attrs.define
class FileReport:
    """A store's file.

    Args:
      path: Where it is.
      version: Of its schema.
      owner: Who has it now; None: nobody.
      bytes: Its size.
      log_bytes: That of its write-ahead log.
      free_bytes: What `vacuum` would give back.
      queues: What is in it.
      faults: What is wrong with it.
    """

    path: str
    version: int = 0
    owner: dict[str, object] | None = None
    bytes: int = 0
    log_bytes: int = 0
    free_bytes: int = 0
    queues: list[QueueReport] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)


def inspect_file(
    path: Path,
    tables: Mapping[str, Table],
    values: Mapping[str, Values],
    progress: Callable[[int], None],
) -> FileReport:
    """Return what is in a store's file, and what is wrong with it.

    Args:
      path: The file's.
      tables: By kind.
      values: How the values of queues are encoded, where that is known.
      progress: Is told how many messages have been looked at.

    Raises:
      NotAStoreError: If it is no store.
      OSError: If it cannot be read.
    """
    report = FileReport(str(path))
    try:
        Owner(path).check()
    except OwnedError as owner:
        report.owner = {"pid": owner.pid, "started_at": owner.started_at}
    report.bytes = path.stat().st_size
    log = path.with_name(path.name + "-wal")
    report.log_bytes = log.stat().st_size if log.exists() else 0
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            _Inspection(connection, report, tables, values, progress).run()
    except sqlite3.Error as error:
        report.faults.append(f"it cannot be read: {error}")
    for queue in report.queues:
        if queue.undecodable:
            ids = ", ".join(map(str, queue.undecodable_ids))
            more = ", ..." if queue.undecodable > SHOWN else ""
            report.faults.append(
                f"queue {queue.name!r}: {queue.undecodable} messages cannot be decoded: {ids}{more}"
            )
    return report


class _Inspection:
    def __init__(
        self,
        connection: sqlite3.Connection,
        report: FileReport,
        tables: Mapping[str, Table],
        values: Mapping[str, Values],
        progress: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._report = report
        self._tables = tables
        self._values = values
        self._progress = progress
        self._done = 0

    def run(self) -> None:
        report, pragma = self._report, self._pragma
        self._connection.execute("BEGIN")  # all of it at one instant
        if pragma("application_id") != APPLICATION:
            raise NotAStoreError(f"{report.path} is a database, but no store of queueactors")
        report.version = pragma("user_version")
        report.free_bytes = pragma("freelist_count") * pragma("page_size")
        rows = self._connection.execute("PRAGMA integrity_check")
        report.faults += [str(row[0]) for row in rows if row[0] != "ok"]
        if report.version != len(MIGRATIONS):
            if report.version > len(MIGRATIONS):
                told = f"its schema version, {report.version}, is of a newer program"
                report.faults.append(told)
            return
        for queue in self._queues():
            table = self._tables.get(queue.kind)
            if table is None:
                report.faults.append(f"queue {queue.name!r} is of an unknown kind, {queue.kind!r}")
            else:
                self._inspect(queue, table)
        for name in self._tables:
            sql = (
                f"SELECT count(*) FROM {name} WHERE id >> {BITS} NOT IN (SELECT number FROM queue)"
            )
            (count,) = self._connection.execute(sql).fetchone()
            if count:
                report.faults.append(f"{count} messages of kind {name} belong to no queue")
        self._progress(self._done)

    def _queues(self) -> list[StoredQueue]:
        try:
            return read_queues(self._connection)
        except msgspec.DecodeError as error:
            self._report.faults.append(f"the queues cannot be read: {error}")
            return []

    def _inspect(self, stored: StoredQueue, table: Table) -> None:
        queue = QueueReport(stored.name, stored.kind)
        self._report.queues.append(queue)
        fields = table.message.__struct_fields__
        positions = Positions(None, "record")
        plain = _CHUNKS if table.lazy else _ITEMS if table.together else _ANY
        state = fields.index("state") if "state" in fields else None
        highest, wrong = 0, 0
        for row in self._connection.execute(table.select, (MOST, stored.base, stored.base | MOST)):
            highest, data, codec = row[0], row[1], row[-1]
            queue.messages += 1
            queue.bytes += len(data)
            queue.codecs[codec] += 1
            if state is not None:
                queue.states[row[state]] += 1
            self._decode(queue, row[0], codec, data, plain)
            told = _wrong(table, row, positions)
            if told is not None:
                wrong += 1
                if wrong <= SHOWN:
                    self._report.faults.append(f"queue {queue.name!r} has {told}")
            self._done += 1
            if self._done % TELL == 0:
                self._progress(self._done)
        if table.second is not None:
            self._check_names(stored, table)
        if wrong > SHOWN:
            self._report.faults.append(f"queue {queue.name!r} has {wrong - SHOWN} more of these")
        self._check_number(stored, "message", highest, "next_id")
        if table.lazy:
            self._check_number(stored, "position", positions.last() - 1, "end")

    def _check_number(self, stored: StoredQueue, what: str, last: int, key: str) -> None:
        """Find numbers that are not given away yet."""
        limit = stored.head.get(key) or 0
        if last >= limit:
            words = key.replace("_", " ")
            told = f"queue {stored.name!r} has {what} {last}, and its {words} is {limit}"
            self._report.faults.append(told)

    def _check_names(self, stored: StoredQueue, table: Table) -> None:
        """Find messages that have the same name; and those that wait for one that is not there."""
        found = f"FROM {table.name} WHERE id BETWEEN ? AND ?"
        firsts = f"SELECT mid {found} AND state != ?"
        seconds = f"SELECT mid {found} AND state = ?"
        span, second = (stored.base, stored.base | MOST), table.second
        doubled = f"SELECT mid {found} GROUP BY mid, state = ? HAVING count(*) > 1"
        alone = f"{seconds} AND mid NOT IN ({firsts}) ORDER BY id"
        for what, sql, values in (
            ("mids twice", doubled, (*span, second)),
            (f"mids that are {second} only", alone, (*span, second, *span, second)),
        ):
            mids = [mid for (mid,) in self._connection.execute(sql, values)]
            if mids:
                shown = ", ".join(map(repr, mids[:SHOWN])) + (", ..." if mids[SHOWN:] else "")
                told = f"queue {stored.name!r} has {len(mids)} {what}: {shown}"
                self._report.faults.append(told)

    def _decode(
        self, queue: QueueReport, message: int, codec: str, data: bytes, plain: Values
    ) -> None:
        """Try to decode a value, as its queue would; ``plain``: if nobody knows how that does."""
        values = self._values.get(queue.name)
        if values is None:
            if codec.rpartition(":")[2] not in KNOWN:  # before it: that it is a dead letter
                queue.unchecked += 1
                return
            values = plain
        try:
            values.decode(data if codec == values.codec.name else Encoded(codec, data))
        except CodecError:
            queue.undecodable += 1
            if len(queue.undecodable_ids) < SHOWN:
                queue.undecodable_ids.append(message)

    def _pragma(self, name: str) -> int:
        return cast("int", self._connection.execute(f"PRAGMA {name}").fetchone()[0])


_ANY: Final = Values(make_codec("msgpack"))
_ITEMS: Final = ItemValues(make_codec("msgpack"))
_CHUNKS: Final = ChunkValues(make_codec("msgpack"))


def _wrong(table: Table, row: Row, positions: Positions) -> str | None:
    """Return what is wrong with a batch, its size or its key, or with a chunk, if anything is."""
    if table.lazy:
        return _wrong_chunk(table, row, positions)
    if not table.together:
        return None
    fields = table.message.__struct_fields__
    size, key, state = (row[fields.index(each)] for each in ("size", "key", "state"))
    count = count_items(cast("str", row[-1]), cast("bytes", row[1]))
    if count not in {None, size}:
        return f"batch {row[0]} of {count} items, and its size is {size}"
    if bool(key) != (state in table.together):
        return f"batch {row[0]} in state {state!r} with key {key}"
    return None


def _wrong_chunk(table: Table, row: Row, positions: Positions) -> str | None:
    """Return what is wrong with a chunk or a label, if anything is: as an import would."""
    fields: dict[str, object] = dict(zip(table.message.__struct_fields__, row[:-1], strict=True))
    codec, data = cast("str", row[-1]), cast("bytes", row[1])
    try:
        check_chunk(fields, codec, data, raw=True, labels="begin" not in table.head)
        positions.place(fields)
        positions.note(cast("int", row[0]), fields, codec, data)
    except LineError as error:
        return f"{fields['state']} {row[0]}: {error}"
    return None
