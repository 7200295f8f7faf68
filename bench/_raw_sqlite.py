"""The standard library's sqlite3 on our table: a plain loop, without an actor or a core.

What our store has at least to do, a statement in a transaction of its own, or a hundred of them
in one. The file is made by our store, so it is the same table; SQLite moves its log into the
database itself, every 1,000 pages. ``python -m bench._raw_sqlite MEASURE COUNT``.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from bench._durable import fill, stored
from bench.peers._embedded import BATCH, MODES, values
from bench.peers._jobs import quantile
from bench.peers._measured import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}
RESERVE = "UPDATE timed SET state = 'reserved', attempt = 1, key = ?, deadline_at = ? WHERE id = ?"
DELETE = "DELETE FROM timed WHERE id = ?"
HOUR = 3_600_000_000_000  # nanoseconds

Row = tuple[object, ...]


class Table:
    """The table of timed messages in a new file of our store, empty."""

    def __init__(self, path: Path, mode: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[mode]}")
        found = self.connection.execute("SELECT * FROM timed")
        columns = [column[0] for column in found.description]
        self._one = list(found.fetchone())
        self._id, self._value = columns.index("id"), columns.index("value")
        self._first = self._one[self._id]
        self.connection.execute("DELETE FROM timed")
        marks = ", ".join("?" for _ in columns)
        self.insert = f"INSERT INTO timed VALUES ({marks})"  # noqa: S608 - only question marks

    def rows(self, count: int) -> list[Row]:
        """Return what to insert: rows like the store's, with our values."""
        found: list[Row] = []
        for number, value in zip(self._ids(count), values(), strict=False):
            row = self._one.copy()
            row[self._id], row[self._value] = number, value
            found.append(tuple(row))
        return found

    def reserved(self, count: int) -> list[Row]:
        """Return what to reserve."""
        now = time.time_ns()
        return [(now + key, now + HOUR, number) for key, number in enumerate(self._ids(count))]

    def deleted(self, count: int) -> list[Row]:
        """Return what to delete."""
        return [(number,) for number in self._ids(count)]

    def _ids(self, count: int) -> range:
        return range(self._first, self._first + count)

    def together(self, sql: str, rows: Iterable[Row]) -> None:
        """Run a statement for many rows, in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(sql, rows)
        self.connection.execute("COMMIT")


@contextmanager
def opened(mode: str) -> Iterator[Table]:
    """Open a new table."""

    async def make(folder: Path) -> None:
        async with stored(folder, mode) as queue:
            await fill(queue, 1)

    with tempfile.TemporaryDirectory() as folder:
        trio.run(make, Path(folder))
        (path,) = Path(folder).glob("*.sqlite")
        table = Table(path, mode)
        yield table
        table.connection.close()


def one_by_one(table: Table, sql: str, rows: list[Row]) -> float:
    """Return the seconds for one statement a transaction."""
    execute = table.connection.execute
    begin = time.perf_counter()
    for row in rows:
        execute(sql, row)
    return time.perf_counter() - begin


def inserts(mode: str, count: int) -> float:
    with opened(mode) as table:
        return count / one_by_one(table, table.insert, table.rows(count))


def reserves(mode: str, count: int) -> float:
    with opened(mode) as table:
        table.together(table.insert, table.rows(count))
        return count / one_by_one(table, RESERVE, table.reserved(count))


def deletes(mode: str, count: int) -> float:
    with opened(mode) as table:
        table.together(table.insert, table.rows(count))
        table.together(RESERVE, table.reserved(count))
        return count / one_by_one(table, DELETE, table.deleted(count))


def insert_batches(mode: str, count: int) -> float:
    with opened(mode) as table:
        rows = iter(table.rows(count))
        begin = time.perf_counter()
        for _ in range(count // BATCH):
            table.together(table.insert, islice(rows, BATCH))
        return count // BATCH * BATCH / (time.perf_counter() - begin)


def cycles(mode: str, count: int) -> float:
    """Return the messages a second that are inserted, reserved and deleted."""
    with opened(mode) as table:
        execute = table.connection.execute
        steps = table.rows(count), table.reserved(count), table.deleted(count)
        begin = time.perf_counter()
        for row, reserved, deleted in zip(*steps, strict=True):
            execute(table.insert, row)
            execute(RESERVE, reserved)
            execute(DELETE, deleted)
        return count / (time.perf_counter() - begin)


def batches(mode: str, count: int) -> float:
    with opened(mode) as table:
        steps = (
            (table.insert, iter(table.rows(count))),
            (RESERVE, iter(table.reserved(count))),
            (DELETE, iter(table.deleted(count))),
        )
        begin = time.perf_counter()
        for _ in range(count // BATCH):
            for sql, rows in steps:
                table.together(sql, islice(rows, BATCH))
        return count // BATCH * BATCH / (time.perf_counter() - begin)


def latency(mode: str, percentile: int, count: int) -> float:
    """Return a percentile of how long an insert takes, in microseconds."""
    spent: list[float] = []
    with opened(mode) as table:
        execute = table.connection.execute
        for row in table.rows(count):
            begin = time.perf_counter()
            execute(table.insert, row)
            spent.append(time.perf_counter() - begin)
    return quantile(spent, percentile) * 1e6


MEASURES: dict[str, Callable[[int], float]] = {
    f"{mode}_{name}": measure
    for mode in MODES
    for name, measure in {
        "inserts": partial(inserts, mode),
        "reserves": partial(reserves, mode),
        "deletes": partial(deletes, mode),
        "insert_batches": partial(insert_batches, mode),
        "cycles": partial(cycles, mode),
        "batches": partial(batches, mode),
        "p50": partial(latency, mode, 50),
        "p99": partial(latency, mode, 99),
    }.items()
}

if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer(MEASURES)
